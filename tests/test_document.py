"""The examples of the documented async API run with only their import changed."""

from __future__ import annotations

import ast
import asyncio
import inspect
import os
import re
import types
import urllib.request
import uuid
from contextlib import nullcontext
from pathlib import Path

import pytest
from servers import buckets, rgw

from chuk_artifacts import AccessDeniedError, ArtifactStoreError, aio

EXAMPLES = Path(__file__).parent / "document" / "examples.md"
IMPORT = "from chuk_artifacts import"
BLOCK = re.compile(
    r"(?:<!-- raises: (?P<error>\w+) -->\n)?```python(?P<kind>| check| script)\n(?P<code>.*?)^```$",
    re.DOTALL | re.MULTILINE,
)
SECTIONS = dict(section.split("\n", 1) for section in EXAMPLES.read_text(encoding="utf-8").split("\n## ")[1:])

ON_SERVERS = {"Web Application File Uploads"}
"""The sections that use S3 and Redis, and not only name them."""

ERRORS = {"AccessDeniedError": AccessDeniedError}


def runnable(code):
    """Return code with its shell commands, which set the environment, as Python."""
    return re.sub(r"^export (\w+)=(\S*) *$", r'os.environ["\1"] = "\2"', code, flags=re.MULTILINE)


def download(url):
    """Return the body of a URL."""
    with urllib.request.urlopen(url) as response:
        return response.read()


def upload(url, data, mime):
    """Upload to a URL, as a client does."""
    request = urllib.request.Request(url, data, {"Content-Type": mime}, method="PUT")
    urllib.request.urlopen(request).close()


@pytest.fixture
def namespace(tmp_path, monkeypatch, capsys):
    """Return the names that the examples expect, in a folder of their own."""
    monkeypatch.setattr(os, "environ", os.environ.copy())
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file.txt").write_bytes(b"from a file")
    return {
        "ArtifactStore": aio.ArtifactStore,
        "ArtifactStoreError": ArtifactStoreError,
        "Path": Path,
        "os": os,
        "printed": lambda: capsys.readouterr().out,
        "download": download,
        "upload": upload,
        "file_bytes": b"bytes of a file",
        "file1_bytes": b"bytes of file 1",
        "file2_bytes": b"bytes of file 2",
        "data": b"bytes",
        "s3": types.SimpleNamespace(put_object=lambda **_: None),
        "user": types.SimpleNamespace(id=7),
        "org": types.SimpleNamespace(id=8),
        "project": types.SimpleNamespace(uuid=uuid.uuid4()),
    }


async def prepare(namespace):
    """Store the artifacts that the examples expect."""
    store = aio.ArtifactStore()
    options = {"filename": "docs/readme.md", "session_id": "user_123"}
    alice_file_id = await store.store(b"Alice's", session_id="user_alice")
    file_id = await store.store(namespace["file_bytes"], **options)
    namespace.update(store=store, file_id=file_id, alice_file_id=alice_file_id)


def run(name, namespace, origin):
    """Run the blocks of a section in order, with imports from *origin*."""
    with asyncio.Runner() as runner:
        runner.run(prepare(namespace))
        for block in BLOCK.finditer(SECTIONS[name]):
            with pytest.raises(ERRORS[block["error"]]) if block["error"] else nullcontext():
                run_block(runner, block, namespace, origin)
        runner.run(namespace["store"].close())


def run_block(runner, block, namespace, origin):
    """Run a block, on the event loop if it awaits."""
    code = runnable(block["code"])
    if block["kind"] != " check":
        code = code.replace(IMPORT, f"from {origin} import")
    compiled = compile(code, str(EXAMPLES), "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    result = eval(compiled, namespace)
    if inspect.iscoroutine(result):
        runner.run(result)


@pytest.mark.filterwarnings("ignore:a store on .* was not closed:ResourceWarning")  # the document closes none
@pytest.mark.filterwarnings("ignore:Exception ignored in:pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("name", SECTIONS)
def test_example(name, namespace, request):
    """Each example works with the async store imported."""
    if name in ON_SERVERS:
        bucket = buckets.s3_on_rgw(request)
        os.environ |= {
            "ARTIFACT_BUCKET": bucket["bucket"],
            "S3_ENDPOINT_URL": bucket["endpoint_url"],
            "AWS_ACCESS_KEY_ID": rgw.ACCESS_KEY,
            "AWS_SECRET_ACCESS_KEY": rgw.SECRET_KEY,
            "SESSION_REDIS_URL": request.getfixturevalue("redis_url"),
        }
    run(name, namespace, "chuk_artifacts.aio")


@pytest.mark.parametrize("name", ["30-Second Example", "Testing"])
def test_example_with_its_own_import(name, namespace):
    """The examples that begin with ``async with ArtifactStore()`` run with their own import too."""
    run(name, namespace, "chuk_artifacts")


def test_no_example_is_passed_over():
    """Every code fence of the file is a block of a section that runs."""
    text = EXAMPLES.read_text(encoding="utf-8")
    assert len(BLOCK.findall(text)) == text.count("\n```python") == (text.count("\n```")) / 2
    assert set(SECTIONS) >= ON_SERVERS
