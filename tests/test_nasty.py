"""Every public method with nonsense values: one of our errors, a short message, and nothing stored."""

from __future__ import annotations

import ast
import asyncio
import gc
import inspect
import logging
import re
import tracemalloc
from collections.abc import AsyncIterator, Iterator
from itertools import islice
from pathlib import Path

import pytest
from nasty import HUGE, VALUES, Impostor, Mute

import chuk_artifacts
from chuk_artifacts import (
    AccessDeniedError,
    ArtifactNotFoundError,
    ArtifactStore,
    ArtifactStoreError,
    InvalidInputError,
    aio,
    grid,
)
from chuk_artifacts.errors import shown
from chuk_artifacts.filesystem import ArtifactFileSystem

OF_STORE = {
    "additional_hours": 1,
    "additional_seconds": 1,
    "content": "x",
    "data": b"x",
    "filename": "f",
    "items": [{"data": b"x"}],
    "key": "grid/a/b/c",
    "metadata": {"a": 1},
    "revision": 1,
    "mime": "a/b",
    "session_id": "alice",
    "source": "no-export",
    "summary": "s",
}
OF_FILESYSTEM = {
    "ends": [1],
    "fn": "alice/f",
    "length": 1,
    "offset": 0,
    "path": "alice/f",
    "path1": "alice/f",
    "path2": "alice/g",
    "paths": ["alice/f"],
    "rpath": "alice/f",
    "starts": [0],
    "value": b"x",
}
TRUSTED = {"callback", "outfile"}  # objects of the application, which are called
OURS = (ArtifactStoreError, OSError, NotImplementedError)
METHODS = [
    name
    for name in dir(ArtifactStore)
    if not name.startswith("_") and name != "close" and inspect.isfunction(getattr(ArtifactStore, name))
    if inspect.signature(getattr(ArtifactStore, name)).parameters
]
NO_PATHS = {
    *("clear_instance_cache", "current", "end_transaction", "from_dict", "from_json", "get_mapper", "invalidate_cache"),
    *("start_transaction", "to_dict", "to_json", "transaction_type", "tree", "unstrip_protocol"),
}
FILE_METHODS = [
    name
    for name in dir(ArtifactFileSystem)
    if not name.startswith("_") and name not in NO_PATHS and inspect.isfunction(getattr(ArtifactFileSystem, name))
]


@pytest.fixture(params=["memory", "sqlite", "redis"])
def store(request, tmp_path):
    """Return a store on each catalog."""
    options = {"storage_provider": "filesystem", "fs_root": tmp_path} if request.param == "sqlite" else {}
    if request.param == "redis":
        options = {"session_provider": "redis", "redis_url": request.getfixturevalue("redis_url")}
    with ArtifactStore(gateway_url="http://x", signing_key="x" * 32, sandbox_id="box", **options) as store:
        yield store


def parameters(method):
    """Return the parameters of a method that can be passed by name."""
    found = inspect.signature(method).parameters.values()
    return [one for one in found if one.kind not in {one.VAR_KEYWORD, one.VAR_POSITIONAL}]


def calls(method, given):
    """Iterate over arguments of calls: each value for each parameter, with the other required ones."""
    for one in parameters(method):
        if one.name in TRUSTED or one.name == "self":
            continue
        for value in VALUES:
            needed = {
                other.name: given[other.name]
                for other in parameters(method)
                if other.name in given and (other.default is other.empty or other.name == "session_id")
            }
            yield one.name, value, {**needed, one.name: value}


def used(result):
    """Consume the result of a method."""
    if isinstance(result, Iterator):
        list(islice(result, 5))
    elif hasattr(result, "close"):
        result.close()


def check_message(error):
    """Check that a message is one short line, without a long argument."""
    if not isinstance(error, ArtifactStoreError):
        return
    message = str(error)
    assert message.isprintable(), ascii(message)
    assert len(message) < 800
    assert "x" * 201 not in message
    assert "ü" * 201 not in message
    assert message


def plain(value):
    """Return whether all strings in a value are plain ones."""
    if isinstance(value, dict):
        return all(plain(key) and plain(item) for key, item in value.items())
    if isinstance(value, list):
        return all(map(plain, value))
    return not isinstance(value, str) or type(value) is str


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    """Move a local path among the values into the folder of the test."""
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("name", METHODS)
def test_store(store, name, tmp_path):
    """Each argument of each method is accepted or raises one of our errors; stored values have plain types."""
    method = getattr(store, name)
    one = store.store(b"xy", session_id="alice", filename="f")
    given = {**OF_STORE, "artifact_id": one, "artifact_ids": [one], "path": tmp_path / "download"}
    for argument, _, arguments in calls(method, given):
        if not store.exists(one):
            one = store.store(b"xy", session_id="alice", filename="f")
        if "artifact_id" in arguments and argument != "artifact_id":
            arguments["artifact_id"] = one
        try:
            used(method(**arguments))
        except OURS as error:
            check_message(error)
    for record in store.list_files("alice"):
        assert all(plain(item) for item in dict(record).values())
    assert store.list_files("mallory") == [] or name in {"store", "write_file", "store_batch", "presign_upload"}


@pytest.mark.parametrize("name", METHODS)
def test_async_store(name, tmp_path):
    """The async store refuses the same values with the same errors."""
    (tmp_path / "folder").mkdir()

    async def use(store):
        one = await store.store(b"xy", session_id="alice", filename="f")
        given = {**OF_STORE, "artifact_id": one, "artifact_ids": [one], "path": tmp_path / "download"}
        for _, _, arguments in calls(getattr(aio.ArtifactStore, name), given):
            try:
                result = getattr(store, name)(**arguments)
                if isinstance(result, AsyncIterator):
                    await anext(result, None)
                elif inspect.isawaitable(result) or hasattr(result, "__await__"):
                    await result
            except OURS as error:
                check_message(error)

    async def main():
        async with aio.ArtifactStore(gateway_url="http://x", signing_key="x" * 32, max_workers=2) as store:
            await use(store)

    asyncio.run(main())


@pytest.mark.parametrize("name", FILE_METHODS)
def test_filesystem(name, tmp_path):
    """The filesystem refuses the same values, with errors that fsspec expects."""
    with ArtifactStore(gateway_url="http://x", signing_key="x" * 32) as store:
        fs = ArtifactFileSystem(store)
        given = {**OF_FILESYSTEM, "lpath": str(tmp_path / "local")}
        if name == "write_text":
            given["value"] = "x"
        for _, value, arguments in calls(getattr(fs, name), given):
            fs.pipe_file("alice/f", b"xy")
            (tmp_path / "local").write_bytes(b"x")
            if name in {"get", "get_file", "download"} and "lpath" in arguments and arguments["lpath"] is value:
                continue  # the operating system checks local paths
            try:
                used(getattr(fs, name)(**arguments))
            except OURS as error:
                check_message(error)


@pytest.mark.parametrize("number", [2**63, 2**64, HUGE, -HUGE, 1e300, float("inf"), True, Mute()], ids=range(8))
@pytest.mark.parametrize(
    "argument",
    [
        *("max_retries", "max_connections", "max_summary_bytes", "max_meta_bytes", "max_user_id_bytes"),
        *("keep_versions", "session_ttl_hours", "part_size", "connect_timeout", "read_timeout"),
    ],
)
def test_construction(argument, number):
    """The constructor refuses an absurdly large number before it makes that many locks."""
    options = {argument: number}
    if argument in {"part_size", "connect_timeout", "read_timeout"}:
        options = {"storage_provider": "s3", "storage_options": options}
    with pytest.raises(InvalidInputError, match=argument) as caught:
        ArtifactStore(**options)
    check_message(caught.value)


@pytest.mark.parametrize("timeout", [1e300, HUGE, float("inf"), -1, True], ids=range(5))
def test_close(timeout):
    """A timeout longer than a lock can wait is refused, in both stores."""
    with ArtifactStore() as store, pytest.raises(InvalidInputError, match="timeout"):
        store.close(timeout)

    async def main():
        async with aio.ArtifactStore() as store:
            with pytest.raises(InvalidInputError, match="timeout"):
                await store.close(timeout)

    asyncio.run(main())


@pytest.mark.parametrize(
    ("method", "arguments"),
    [
        ("stream", {"start": 2**63}),
        ("stream", {"end": 2**63}),
        ("stream", {"chunk_size": 2**63}),
        ("update_file", {"summary": "s", "if_revision": 2**63}),
        ("retrieve", {"revision": 2**63}),
        ("restore", {"revision": 2**63}),
        ("archive", {"chunk_size": 2**63}),
        ("iter_session", {"page_size": 2**63}),
        ("list_files", {"limit": 2**63}),
        ("list_by_session", {"limit": HUGE}),
        ("presign", {"expires": HUGE}),
        ("presign_upload", {"max_bytes": 2**63}),
        ("extend_ttl", {"additional_seconds": HUGE}),
        ("cleanup", {"older_than": HUGE}),
    ],
    ids=range(14),
)
def test_absurd_numbers(store, method, arguments):
    """An absurdly large number is an invalid argument; the message names it."""
    one = store.store(b"x", session_id="alice")
    call = getattr(store, method)
    needed = {"artifact_id": one, "session_id": "alice"}
    needed = {name: needed[name] for name in inspect.signature(call).parameters if name in needed}
    with pytest.raises(InvalidInputError, match=list(arguments)[-1]):
        call(**needed, **arguments)


@pytest.mark.parametrize("start", [3, 2**31, 2**62, 2**63 - 1])
def test_start_behind_the_end(store, start):
    """A stream from any position after the end is empty."""
    assert list(store.stream(store.store(b"xy"), start=start)) == []


def test_str_that_claims_to_be_the_session(store):
    """A str subclass that claims to equal the bound session is compared by its characters."""
    secret = store.store(b"secret", session_id="mallory", filename="f")
    bound = store.session("alice")
    for call in (bound.list_files, bound.get_session_info, bound.delete_session, bound.session):
        with pytest.raises(AccessDeniedError):
            call(Impostor("mallory", "alice"))
    with pytest.raises(AccessDeniedError):
        bound.copy_file(bound.store(b"x"), target_session_id=Impostor("mallory", "alice"))
    assert store.retrieve(secret) == b"secret"


def test_str_that_claims_to_be_the_id(store):
    """A str subclass that claims to equal the id of an artifact is compared by its characters."""
    one, other = store.store(b"one", session_id="alice"), store.store(b"other", session_id="alice")
    assert store.retrieve(Impostor(one, other)) == b"one"
    assert store.retrieve_batch([Impostor(one, other)]) == [b"one"]
    with pytest.raises(ArtifactNotFoundError):
        store.retrieve(Impostor("0" * 32, one))
    assert store.delete(Impostor(one, other))
    assert store.retrieve(other) == b"other"


def test_limits_of_a_record(store):
    """The fields of a record are limited in bytes, also after merging meta; a refused value changes nothing."""
    mib = 1024 * 1024
    one = store.store(b"x", session_id="alice", summary="ü" * 32_768, meta={"a": "x" * (mib - 8)}, user_id="x" * 255)
    before = store.metadata(one)
    for change in ({"summary": "x" * 65_537}, {"meta": {"b": 1}}, {"meta": {"a": "x" * (mib - 7)}, "merge": False}):
        with pytest.raises(InvalidInputError, match=r"longer than (65536|1048576) bytes"):
            store.update_metadata(one, **change)
    assert store.metadata(one) == before
    assert store.update_session_metadata("alice", {"a": "x" * (mib - 16)})
    with pytest.raises(InvalidInputError, match="metadata is longer than 1048576 bytes"):
        store.update_session_metadata("alice", {"b": "x" * 10})
    assert set(store.get_session_info("alice").custom_metadata) == {"a"}
    with pytest.raises(InvalidInputError, match="user_id is longer than 255 bytes"):
        store.create_session("ü" * 128)


def test_limits_are_configured():
    """The limits are arguments of both stores and of the filesystem."""
    options = {"max_summary_bytes": 3, "max_meta_bytes": 9, "max_user_id_bytes": 0}
    with ArtifactStore(**options) as store:
        one = store.store(b"x", summary="abc", meta={"a": 123}, user_id="")
        for bad in ({"summary": "abcd"}, {"meta": {"a": 1234}}, {"meta": {"a": "é"}, "user_id": "a"}):
            with pytest.raises(InvalidInputError):
                store.store(b"x", **bad)
        with pytest.raises(InvalidInputError):
            store.update_metadata(one, meta={"b": 1})
        with pytest.raises(InvalidInputError):
            store.create_session(custom_metadata={"a": 1234})
        with pytest.raises(InvalidInputError):
            store.register_uploaded_artifact(one, mime="a/b", summary="abcd")
    assert ArtifactFileSystem(**options).store.scope.core.settings.limits.summary == 3

    async def main():
        async with aio.ArtifactStore(**options) as store:
            with pytest.raises(InvalidInputError):
                await store.store(b"x", summary="abcd")

    asyncio.run(main())


def test_caches_keep_no_long_text(store):
    """Caches do not keep long strings of clients: paths, keys, ids and encodings."""
    fs = ArtifactFileSystem(store)
    record = store.metadata(store.store(b"x", session_id="alice"))

    def look(number):
        text = f"{number}{'x' * 200_000}"
        fs.exists(f"alice/{text}")
        fs.exists(f"{text}/a")
        fs.exists(f"{number}%20{text}/a")
        for ask in (store.exists, store.parse_grid_key, lambda key: store.parse_grid_key(f"grid/a/b/{key}")):
            ask(text)
        for refused in (
            lambda: store.list_files(text),
            lambda: store.retrieve(record.changed(key=text)),
            lambda: store.retrieve(record.changed(key=f"grid/box/alice/{text}")),
            lambda: store.write_file("x", filename="f", encoding=text),
            lambda: store.store(b"x", mime=f"a/{text}"),
            lambda: grid.validate_grid_key(text),
        ):
            with pytest.raises(ArtifactStoreError):
                refused()
        grid.slot_tag(text, text)

    look(0)
    tracemalloc.start()
    try:
        for number in range(1, 30):
            look(number)
        gc.collect()
        assert tracemalloc.get_traced_memory()[0] < 1_000_000
    finally:
        tracemalloc.stop()


FORGED = "a\nchuk_artifacts: DEBUG forged\r\x1b[2J" + "x" * 5000


@pytest.mark.parametrize(
    "name", [name for name in METHODS if "artifact" in str(parameters(getattr(ArtifactStore, name)))]
)
@pytest.mark.parametrize("value", [FORGED, [FORGED] * 50, HUGE, Mute(), Impostor(FORGED, "a")], ids=range(5))
def test_log_lines(caplog, name, value):
    """A log line shows an argument cut, on one line, without calling its methods."""
    caplog.set_level(logging.DEBUG, "chuk_artifacts")
    with ArtifactStore(gateway_url="http://x") as store:
        for argument in ("artifact_id", "artifact_ids", "session_id"):
            method = getattr(store, name)
            if argument in inspect.signature(method).parameters:
                names = [one.name for one in parameters(method)]
                needed = {key: OF_STORE[key] for key in names if key in OF_STORE} | {argument: value}
                needed |= {key: Path("x") for key in names if key == "path"}
                needed |= {key: "0" * 32 for key in names if key == "artifact_id" != argument}
                try:
                    used(method(**needed))
                except ArtifactStoreError as error:
                    check_message(error)
    for record in caplog.records:
        message = record.getMessage()
        assert message.isprintable(), ascii(message)
        assert len(message) < 400


def test_one_logger():
    """Only one module uses logging directly."""
    package = Path(chuk_artifacts.__file__).parent
    importing = {
        path.relative_to(package).as_posix()
        for path in package.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if (isinstance(node, ast.Import) and any(alias.name == "logging" for alias in node.names))
        or (isinstance(node, ast.ImportFrom) and node.module == "logging")
    }
    assert importing == {"log.py"}


def test_line_names_its_method(caplog):
    """A log record names the method that was called."""
    caplog.set_level(logging.DEBUG, "chuk_artifacts")
    with ArtifactStore() as store:
        store.exists("0" * 32)
    (record,) = caplog.records
    assert (record.method, record.outcome, record.artifact_id) == ("exists", "ok", "0" * 32)
    assert record.getMessage().startswith(f"exists '{'0' * 32}' took ")


@pytest.mark.parametrize("value", VALUES, ids=range(len(VALUES)))
def test_shown(value):
    """Any value is shown on one line of at most 200 characters."""
    text = shown(value)
    assert text.isprintable()
    assert len(text) <= 200


def test_shown_of_an_error():
    """An error is shown on one line, at useful length."""
    assert shown(ValueError("a\nb" * 100)) == repr("a\nb" * 100)
    assert len(shown(ValueError("a" * 5000))) == 1000


def test_messages_use_the_helper():
    """No message of the package contains the raw repr of an argument, which may be of any length."""
    package = Path(chuk_artifacts.__file__).parent
    names = ("arguments", "grid", "store", "source")
    folders = ("operations", "filesystem")
    modules = [path for folder in folders for path in (package / folder).glob("*.py")]
    for path in (*(package / f"{name}.py" for name in names), *modules):
        text = path.read_text("utf-8")
        for raised in re.findall(r"raise \w+Error\(.*", text) + re.findall(r"return \w+Error\(.*", text):
            assert "!r" not in raised
