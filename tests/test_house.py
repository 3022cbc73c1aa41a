"""Rules for the whole package: what importing loads, what is public, what is logged."""

from __future__ import annotations

import ast
import inspect
import json
import logging
import re
import tomllib
from pathlib import Path

import child
import pytest

import chuk_artifacts
from chuk_artifacts import ArtifactStore, aio

PACKAGE = Path(chuk_artifacts.__file__).parent
PYPROJECT = child.PROJECT / "pyproject.toml"


def modules():
    """Yield the name of each module, relative to the package, and its syntax tree."""
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        name = ".".join(part for part in parts if part != "__init__")
        yield name, ast.parse(path.read_text("utf-8"))


MODULES = dict(modules())


def for_types(node):
    """Return whether a node is a block for type checkers only."""
    return isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)


# Architecture: import-linter checks which module imports which (pyproject.toml)


def test_no_import_for_types_only():
    """No import within the package is for type checkers only.

    Except that of the async store, which points upward, and that of the fixtures, which must load nothing.
    """
    hidden = {
        (name, node.module)
        for name, tree in MODULES.items()
        for block in ast.walk(tree)
        if for_types(block)
        for node in ast.walk(block)
        if isinstance(node, ast.ImportFrom) and node.module.startswith("chuk_artifacts")
    }
    assert hidden == {("store", "chuk_artifacts.aio"), ("testing", "chuk_artifacts")}


def test_one_reader_of_the_environment():
    """Only the settings read the environment."""
    readers = {
        name
        for name, tree in MODULES.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and node.attr in {"environ", "getenv", "environb"}
    }
    assert readers == {"settings"}


def test_no_error_is_caught_blindly():
    """No handler catches Exception, and one that catches BaseException raises it again.

    Two modules are exempt: one passes errors of a thread to its caller, and finalizers of the other can't raise.
    """
    for name, tree in MODULES.items():
        for node in ast.walk(tree):
            if not isinstance(node, ast.ExceptHandler):
                continue
            caught = "" if node.type is None else ast.unparse(node.type)
            assert "Exception" not in re.findall(r"\w+", caught), (name, node.lineno)
            if caught in {"", "BaseException"} and name not in {"filesystem.files", "threads"}:
                assert isinstance(node.body[-1], ast.Raise), (name, node.lineno)
                assert node.body[-1].exc is None, (name, node.lineno)


# Importing


def test_import_is_light():
    """Importing the package loads no driver and no filesystem; a memory store loads only its own."""
    code = """
        import json, sys
        heavy = {"boto3", "botocore", "ibm_boto3", "redis", "werkzeug", "sqlite3", "fsspec", "aiohttp", "requests",
                 "asyncio", "click", "http.server"} - set(sys.modules)  # coverage loads some
        import chuk_artifacts
        loaded = [sorted(heavy & set(sys.modules))]
        with chuk_artifacts.ArtifactStore() as store:
            store.retrieve(store.store(b"x"))
        loaded.append(sorted((heavy - {"fsspec", "asyncio"}) & set(sys.modules)))
        print(json.dumps(loaded))
        """
    assert json.loads(child.run(code)) == [[], []]


def test_typed():
    """The package is marked as typed."""
    assert (PACKAGE / "py.typed").is_file()


@pytest.mark.parametrize(("surface", "program"), [(ArtifactStore, "blocking.py"), (aio.ArtifactStore, "aio.py")])
def test_types_of_all_results(surface, program):
    """The program that type checkers read asserts the type of each public method's result, and of each property."""
    path = child.PROJECT / "tests" / "typing" / program
    asserted = {
        node.attr
        for call in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(call, ast.Call) and ast.unparse(call.func) == "assert_type"
        for node in ast.walk(call.args[0])
        if isinstance(node, ast.Attribute) and ast.unparse(node.value) in {"store", "ArtifactStore"}
    }
    assert {name for name in dir(surface) if name[0] != "_"} == asserted


# Public names


def test_public_names():
    """Each public name exists, and its docstring begins with a sentence."""
    assert chuk_artifacts.__all__ == sorted(chuk_artifacts.__all__)
    for name in chuk_artifacts.__all__:
        value = getattr(chuk_artifacts, name)
        if name != "__version__":
            assert value.__doc__.partition("\n")[0].endswith((".", ":")), name


@pytest.mark.parametrize(
    "name", [name for name in dir(ArtifactStore) if callable(getattr(ArtifactStore, name)) and name[0] != "_"]
)
def test_methods_have_docstrings(name):
    """The docstring of each method has a sentence, and an entry for each argument."""
    method = getattr(ArtifactStore, name)
    doc = inspect.getdoc(method)
    assert doc.partition("\n")[0].endswith(".")
    if "Args:" in doc:
        for argument in list(inspect.signature(method).parameters)[1:]:
            assert f"\n    {argument}: " in doc


def test_grid_is_public():
    """The grid's documented functions exist."""
    for name in ("canonical_prefix", "artifact_key", "parse", "is_valid_grid_key", "validate_grid_key"):
        assert inspect.getdoc(getattr(chuk_artifacts.grid, name))


@pytest.mark.skipif(not PYPROJECT.is_file(), reason="the tests run without the project")
def test_version():
    """The version is the project's."""
    assert chuk_artifacts.__version__ == tomllib.loads(PYPROJECT.read_text("utf-8"))["project"]["version"]


# Logging


SECRET = b"content that must not be logged"


@pytest.fixture
def store(tmp_path):
    """Return a store on disk."""
    with ArtifactStore(storage_provider="filesystem", fs_root=tmp_path, signing_key="hunter2-hunter2-") as store:
        yield store


def use(store, folder):
    """Return a call of each method by its name."""
    one, two = store.store(SECRET, session_id="alice", filename="f"), store.store(SECRET, session_id="alice")
    return {
        "store": lambda: store.store(SECRET, session_id="alice"),
        "write_file": lambda: store.write_file(SECRET.decode(), filename="g", session_id="alice"),
        "store_batch": lambda: store.store_batch([{"data": SECRET}], session_id="alice"),
        "retrieve": lambda: store.retrieve(one),
        "read_file": lambda: store.read_file(one),
        "open": lambda: store.open(one).close(),
        "stream": lambda: list(store.stream(one)),
        "download": lambda: store.download(one, folder / "download"),
        "retrieve_batch": lambda: store.retrieve_batch([one, two]),
        "exists": lambda: store.exists(one),
        "metadata": lambda: store.metadata(one),
        "versions": lambda: store.versions(one),
        "display": lambda: store.display(store.write_file("text", filename="t.txt", session_id="alice")),
        "restore": lambda: store.restore(one, 1),
        "update_metadata": lambda: store.update_metadata(one, meta={"key": SECRET.decode()}),
        "update_file": lambda: store.update_file(one, data=SECRET),
        "move_file": lambda: store.move_file(one, new_filename="h"),
        "copy_file": lambda: store.copy_file(one),
        "extend_ttl": lambda: store.extend_ttl(one, 60),
        "list_by_session": lambda: store.list_by_session("alice"),
        "list_files": lambda: store.list_files("alice"),
        "get_directory_contents": lambda: store.get_directory_contents("alice", "docs"),
        "archive": lambda: list(store.archive("alice")),
        "list_directory": lambda: store.list_directory("alice", "docs"),
        "iter_session": lambda: list(store.iter_session("alice")),
        "create_session": lambda: store.create_session(custom_metadata={"key": SECRET.decode()}),
        "get_session_info": lambda: store.get_session_info("alice"),
        "validate_session": lambda: store.validate_session("alice"),
        "update_session_metadata": lambda: store.update_session_metadata("alice", {"key": SECRET.decode()}),
        "extend_session_ttl": lambda: store.extend_session_ttl("alice", 1),
        "cleanup": lambda: store.cleanup(orphans=True),
        "cleanup_expired_sessions": store.cleanup_expired_sessions,
        "validate_configuration": store.validate_configuration,
        "get_stats": store.get_stats,
        "get_sandbox_info": store.get_sandbox_info,
        "export_catalog": lambda: store.export_catalog(folder / "export"),
        "import_catalog": lambda: store.import_catalog(folder / "export"),
        "delete": lambda: store.delete(two),
        "delete_batch": lambda: store.delete_batch([two]),
        "delete_session": lambda: store.delete_session("alice"),
    }


def test_logger():
    """There is one logger, which prints nothing unless the application configures it."""
    logger = logging.getLogger("chuk_artifacts")
    assert [type(handler) for handler in logger.handlers] == [logging.NullHandler]
    assert logger.level == logging.NOTSET
    assert [name for name in logging.root.manager.loggerDict if name.startswith("chuk_artifacts.")] == []


def test_each_method_is_logged(store, tmp_path, caplog):
    """Each method is logged at level DEBUG, without content, secrets or metadata."""
    caplog.set_level(logging.DEBUG)
    for method, call in use(store, tmp_path).items():
        caplog.clear()
        call()
        records = [record for record in caplog.records if record.name == "chuk_artifacts"]
        assert records, method
        assert {record.levelno for record in records} == {logging.DEBUG}
        assert SECRET.decode() not in caplog.text
        assert "hunter2" not in caplog.text


@pytest.mark.parametrize(
    ("method", "word"),
    [
        ("store", "store"),
        ("retrieve", "retrieve"),
        ("open", "open"),
        ("stream", "stream"),
        ("download", "download"),
        ("exists", "exists"),
        ("metadata", "metadata"),
        ("update_metadata", "update_metadata"),
        ("update_file", "update_file"),
        ("move_file", "move_file"),
        ("copy_file", "copy_file"),
        ("extend_ttl", "extend_ttl"),
        ("delete", "delete"),
        ("delete_session", "delete_session"),
    ],
)
def test_line_names_method_and_subject(store, tmp_path, caplog, method, word):
    """A log line begins with the name of the method, and names the artifact or session."""
    call = use(store, tmp_path)[method]
    caplog.set_level(logging.DEBUG, logger="chuk_artifacts")
    caplog.clear()
    call()
    message = caplog.records[0].getMessage()
    assert message.split()[0] == word
    assert len(message.split()) > 1


def test_errors_are_logged(store, caplog):
    """An error is one line at level debug, with the operation, the duration and the error."""
    caplog.set_level(logging.DEBUG, logger="chuk_artifacts")
    missing = "0" * 32
    with pytest.raises(chuk_artifacts.ArtifactNotFoundError):
        store.metadata(missing)
    (line,) = [record for record in caplog.records if "failed" in record.getMessage()]
    assert line.levelno == logging.DEBUG
    assert re.fullmatch(rf"metadata failed after \d+\.\d ms: ArtifactNotFoundError: .*{missing}.*", line.getMessage())


def test_errors_build_no_line_without_a_log(store, monkeypatch, caplog):
    """Where level debug is off, no line is built for an error: a program may look up many ids that are not there."""
    caplog.set_level(logging.INFO, logger="chuk_artifacts")
    only_begin = iter([0.0]).__next__  # only the line needs the time at the end
    monkeypatch.setattr("chuk_artifacts.operations.calls.perf_counter", only_begin)
    with pytest.raises(chuk_artifacts.ArtifactNotFoundError):
        store.metadata("0" * 32)


def test_failed_cleaning_up_is_logged(store, caplog, monkeypatch):
    """Bytes that could not be removed after a failure are logged with the reason, and the first error is raised."""
    storage = store.scope.core.storage

    def fail(*_, **__):
        raise chuk_artifacts.ProviderError("storage 'filesystem': out of order")

    store.store(b"x", session_id="alice")
    monkeypatch.setattr(storage, "put", fail)
    monkeypatch.setattr(storage, "delete", fail)
    caplog.set_level(logging.DEBUG, logger="chuk_artifacts")
    with pytest.raises(chuk_artifacts.ProviderError):
        store.store_batch([{"data": b"x"}] * 2, "alice")
    assert "left for cleanup" in caplog.text
    assert "out of order" in caplog.text


def test_lines_are_formatted_by_the_logger():
    """Log calls pass a pattern and plain values, so that they cost nothing when logging is off."""
    calls = [
        node
        for tree in MODULES.values()
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "_log.debug"
    ]
    assert len(calls) > 20
    for call in calls:
        assert isinstance(call.args[0], (ast.Constant, ast.Name))
        assert all(isinstance(value, (ast.Name, ast.Attribute)) for value in call.args[1:])


def test_no_record_is_made_when_logging_is_off(store, tmp_path):
    """No log record is created when logging is off."""
    made = []
    before = logging.getLogRecordFactory()
    logging.setLogRecordFactory(lambda *arguments, **options: made.append(arguments) or before(*arguments, **options))
    try:
        for call in use(store, tmp_path).values():
            call()
    finally:
        logging.setLogRecordFactory(before)
    assert made == []
