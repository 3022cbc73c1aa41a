"""The reference pages leave nothing out."""

from __future__ import annotations

import ast
import inspect
import json
import re
from pathlib import Path

import blocks
import pytest

import chuk_artifacts
from chuk_artifacts import ArtifactStore, aio, errors

REFERENCE = blocks.DOCS / "reference"
PACKAGE = Path(chuk_artifacts.__file__).parent


def table_rows(page):
    """Return the cells of each row of the tables of a page."""
    lines = page.read_text(encoding="utf-8").splitlines()
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("| `")]


def test_arguments():
    """Each argument of the store is on the page, and no other."""
    rows = re.findall(r"^\| ((?:[^|`]|`[^`]*`)*)\|", (REFERENCE / "configuration.md").read_text("utf-8"), re.MULTILINE)
    named = {match[1] for row in rows if (match := re.match(r"`([a-z_]+)`", row))}
    expected = {*inspect.signature(ArtifactStore).parameters, "max_workers"}
    assert named == expected


def test_variables():
    """Each variable that the settings read is on the page."""
    names = {
        node.value
        for node in ast.walk(ast.parse((PACKAGE / "settings.py").read_text("utf-8")))
        if isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and re.fullmatch(r"(ARTIFACT|SESSION|AWS|S3|IBM)_[A-Z0-9_]+", node.value)
    }
    assert len(names) > 15
    text = (REFERENCE / "configuration.md").read_text("utf-8")
    assert {name for name in names if f"`{name}`" not in text} == set()


def test_errors():
    """Each public error has a row with a remedy, and a place in the tree of the page."""
    public = {
        name
        for name in chuk_artifacts.__all__
        if inspect.isclass(one := getattr(chuk_artifacts, name)) and issubclass(one, errors.ArtifactStoreError)
    }
    page = REFERENCE / "errors.md"
    rows = {cells[0].strip("`"): cells for cells in table_rows(page)}
    assert rows.keys() == public
    assert all(len(cells) == 3 and all(cells) for cells in rows.values())
    tree = page.read_text("utf-8").partition("```text\n")[2].partition("```")[0]
    assert set(re.findall(r"\w+Error", tree)) - {"FileNotFoundError", "PermissionError", "ValueError"} == public


@pytest.mark.parametrize(("page", "module"), [("api.md", chuk_artifacts), ("aio.md", aio)])
def test_names(page, module):
    """Each public name is on a page of the reference."""
    text = "\n".join(path.read_text("utf-8") for path in REFERENCE.glob("*.md"))
    missing = {name for name in module.__all__ if not re.search(rf"\b{name}\b", text)}
    assert missing - {"__version__"} == set()
    assert (REFERENCE / page).is_file()


ACTIONS = {
    "put_object": {"s3:PutObject"},
    "get_object": {"s3:GetObject"},
    "get_object_acl": {"s3:GetObjectAcl"},
    "head_object": {"s3:GetObject"},
    "head_bucket": {"s3:ListBucket"},
    "copy_object": {"s3:GetObject", "s3:PutObject"},
    "delete_object": {"s3:DeleteObject"},
    "delete_objects": {"s3:DeleteObject"},
    "list_objects_v2": {"s3:ListBucket"},
    "list_multipart_uploads": {"s3:ListBucketMultipartUploads"},
    "create_multipart_upload": {"s3:PutObject"},
    "upload_part": {"s3:PutObject"},
    "upload_part_copy": {"s3:GetObject", "s3:PutObject"},
    "complete_multipart_upload": {"s3:PutObject"},
    "abort_multipart_upload": {"s3:AbortMultipartUpload"},
    "create_bucket": set(),  # only init, which the policy is not for
}
"""What each request of a bucket needs: the S3 API's *Actions, resources, and condition keys*."""


def test_policy():
    """The policy for buckets permits exactly what the library asks of S3."""
    sources = "\n".join(path.read_text("utf-8") for path in (PACKAGE / "storage" / "bucket").glob("*.py"))
    asked = set(re.findall(r'\.(?:call|ask|pages)\(\s*"(\w+)"', sources))
    assert asked <= ACTIONS.keys()
    needed = set().union(*(ACTIONS[operation] for operation in asked))
    page = blocks.DOCS / "production" / "buckets.md"
    policy = json.loads(next(one.code for one in blocks.blocks(page) if "Statement" in one.code))
    permitted = {action for statement in policy["Statement"] for action in statement["Action"]}
    assert permitted == needed


def test_compose_file():
    """The file for Docker Compose names variables that exist."""
    yaml = pytest.importorskip("yaml")
    services = yaml.safe_load((blocks.DOCS / "production" / "compose.yaml").read_text("utf-8"))["services"]
    configuration = (REFERENCE / "configuration.md").read_text("utf-8")
    for name in services["gateway"]["environment"]:
        assert f"`{name}`" in configuration
