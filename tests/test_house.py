"""The house itself: which room knows which, what importing loads, what is public, what is logged."""

from __future__ import annotations

import ast
import functools
import inspect
import json
import logging
import re
import tomllib
from graphlib import TopologicalSorter
from pathlib import Path

import child
import pytest

import chuk_artifacts
from chuk_artifacts import ArtifactStore

PACKAGE = Path(chuk_artifacts.__file__).parent
PYPROJECT = child.PROJECT / "pyproject.toml"

LAYERS = [
    {"errors", "fields", "folders", "fork", "ownership", "redaction"},
    {"log"},
    {"arguments", "disposition", "grid", "signing", "threads"},
    {"source", "usual"},
    {"models"},
    {"settings"},
    {"catalog", "storage"},
    {"core"},
    {"operations", "operations.draft", "operations.identity", "operations.kept", "operations.scope"},
    {"operations.calls"},
    {"operations.reporting", "operations.sessions", "operations.writing"},
    {"operations.uploads"},
    {"operations.finding"},
    {"operations.cleanup", "operations.listing", "operations.presigning", "operations.reading"},
    {"operations.changing"},
    {"gateway"},
    {"store"},
    {""},
    {"aio", "filesystem"},
    {"cli", "path"},
    {"__main__"},
]
"""The rooms from the ground up: a room imports only those below it. The empty name is the package itself, which holds
the public names. The rooms that are planned have their place already."""

STRANGERS = {"storage": {"models", "catalog"}, "catalog": {"storage", "source"}}
"""Rooms that must not know each other though their layers would allow it: bytes never hear of artifacts, records never
of bytes."""

LAZY_UPWARD = {("store", "aio")}
"""Who may import from above, and only inside a function or for its type: ``async with`` on the blocking store."""


def modules():
    """Return the name of each module of the package, without that of the package, and its tree."""
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        name = ".".join(part for part in parts if part != "__init__")
        yield name, ast.parse(path.read_text("utf-8"))


MODULES = dict(modules())


def room(name):
    """Return the room of a module: its first name, and of an operation its own."""
    return name if name.startswith("operations.") else name.partition(".")[0]


def level(name):
    """Return the layer of a module's room."""
    return next(number for number, layer in enumerate(LAYERS) if room(name) in layer)


def for_types(node):
    """Say whether a node is a block that only type checkers see."""
    return isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)


def imports(tree):
    """Return each module of the package that a tree imports, and whether that is inside a function or for types."""
    inside = {
        id(node)
        for block in ast.walk(tree)
        if isinstance(block, (ast.FunctionDef, ast.AsyncFunctionDef)) or for_types(block)
        for node in ast.walk(block)
    }
    for node in ast.walk(tree):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute here"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        for name in names:
            if name.split(".")[0] == "chuk_artifacts":
                yield imported(name.removeprefix("chuk_artifacts").removeprefix(".")), id(node) in inside


def imported(name):
    """Return the module that ``from module import name`` means: it, or what it is a name of."""
    while name not in MODULES:
        name = name.rpartition(".")[0]
    return name


@functools.cache
def edges():
    """Return who imports whom."""
    return [(name, other, lazy) for name, tree in MODULES.items() for other, lazy in imports(tree)]


# Architecture


@pytest.mark.parametrize("name", sorted({room(name) for name in MODULES}))
def test_every_room_has_its_place(name):
    """Each room stands in the table of layers, once."""
    assert sum(name in layer for layer in LAYERS) == 1


def test_imports_point_down():
    """A module imports only rooms that stand below its own; the exceptions are few, lazy and named."""
    upward = {
        (name, other)
        for name, other, lazy in edges()
        if room(other) != room(name)
        and level(other) >= level(name)
        and not (lazy and (room(name), room(other)) in LAZY_UPWARD)
    }
    assert upward == set()


def test_no_circle():
    """No module imports itself by way of others, within a room neither; nor between rooms inside a function."""
    graph = {name: set() for name in MODULES}
    for name, other, lazy in edges():
        if not lazy or (room(name) != room(other) and (name, room(other)) not in LAZY_UPWARD):
            graph[name].add(other)
    TopologicalSorter(graph).prepare()


def test_the_table_sees_imports():
    """The test above would see an import that points up: it finds those that point down."""
    found = {(name, other) for name, other, _ in edges()}
    assert {("store", "core"), ("grid", "errors"), ("storage.local", "storage.files"), ("cli", "")} <= found


@pytest.mark.parametrize("name", STRANGERS)
def test_strangers(name):
    """Storage never hears of artifacts, catalogs never of bytes."""
    known = {room(other) for module, other, _ in edges() if room(module) == name}
    assert known & STRANGERS[name] == set()


def test_no_import_for_types_alone():
    """No import within the package hides behind TYPE_CHECKING but the named one, where it could point up unseen."""
    hidden = {
        (name, other)
        for name, tree in MODULES.items()
        for node in ast.walk(tree)
        if for_types(node)
        for other, _ in imports(node)
    }
    assert hidden == {("store", "aio")}


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
    """No handler takes every Exception, and one that takes BaseException raises it again.

    But for two modules: a call in another thread keeps what was raised for its caller, and a finalizer can't raise.
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
    """Importing the package loads no driver and no filesystem; a memory store loads its own and no more."""
    code = """
        import json, sys
        heavy = {"boto3", "botocore", "ibm_boto3", "redis", "werkzeug", "sqlite3", "fsspec", "aiohttp", "requests",
                 "asyncio", "click", "http.server"} - set(sys.modules)  # coverage loads some
        import chuk_artifacts
        told = [sorted(heavy & set(sys.modules))]
        with chuk_artifacts.ArtifactStore() as store:
            store.retrieve(store.store(b"x"))
        told.append(sorted((heavy - {"fsspec", "asyncio"}) & set(sys.modules)))
        print(json.dumps(told))
        """
    assert json.loads(child.run(code)) == [[], []]


def test_typed():
    """The package tells type checkers that it is typed."""
    assert (PACKAGE / "py.typed").is_file()


# Public names


def test_public_names():
    """Each public name exists, and has a docstring of its own that begins with a sentence."""
    assert chuk_artifacts.__all__ == sorted(chuk_artifacts.__all__)
    for name in chuk_artifacts.__all__:
        value = getattr(chuk_artifacts, name)
        if name != "__version__":
            assert value.__doc__.partition("\n")[0].endswith((".", ":")), name


@pytest.mark.parametrize("name", [name for name in dir(ArtifactStore) if not name.startswith("_")])
def test_verbs_have_docstrings(name):
    """Each verb tells what it does, and each of its arguments."""
    verb = getattr(ArtifactStore, name)
    told = inspect.getdoc(verb)
    assert told.partition("\n")[0].endswith(".")
    if "Args:" in told:
        for argument in list(inspect.signature(verb).parameters)[1:]:
            assert f"\n    {argument}: " in told


def test_grid_is_public():
    """The grid's functions can be had as the documentation says."""
    for name in ("canonical_prefix", "artifact_key", "parse", "is_valid_grid_key", "validate_grid_key"):
        assert inspect.getdoc(getattr(chuk_artifacts.grid, name))


@pytest.mark.skipif(not PYPROJECT.is_file(), reason="the tests run without the project")
def test_version():
    """The version is that of the project."""
    assert chuk_artifacts.__version__ == tomllib.loads(PYPROJECT.read_text("utf-8"))["project"]["version"]


# Logging


SECRET = b"the content that no log may tell"


@pytest.fixture
def store(tmp_path):
    """Return a store on the disk."""
    with ArtifactStore(storage_provider="filesystem", fs_root=tmp_path, signing_key="hunter2-hunter2-") as store:
        yield store


def use(store, folder):
    """Call every verb, and return a mapping of each to how it is called."""
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
        "update_metadata": lambda: store.update_metadata(one, meta={"key": SECRET.decode()}),
        "update_file": lambda: store.update_file(one, data=SECRET),
        "move_file": lambda: store.move_file(one, new_filename="h"),
        "copy_file": lambda: store.copy_file(one),
        "extend_ttl": lambda: store.extend_ttl(one, 60),
        "list_by_session": lambda: store.list_by_session("alice"),
        "list_files": lambda: store.list_files("alice"),
        "get_directory_contents": lambda: store.get_directory_contents("alice", "docs"),
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
        "delete": lambda: store.delete(two),
        "delete_batch": lambda: store.delete_batch([two]),
        "delete_session": lambda: store.delete_session("alice"),
    }


def test_logger():
    """There is one logger, which says nothing unless its user wants it."""
    logger = logging.getLogger("chuk_artifacts")
    assert [type(handler) for handler in logger.handlers] == [logging.NullHandler]
    assert logger.level == logging.NOTSET
    assert [name for name in logging.root.manager.loggerDict if name.startswith("chuk_artifacts.")] == []


def test_each_verb_is_logged(store, tmp_path, caplog):
    """Each verb is told at level debug, with neither content nor secret nor metadata."""
    caplog.set_level(logging.DEBUG)
    for verb, call in use(store, tmp_path).items():
        caplog.clear()
        call()
        records = [record for record in caplog.records if record.name == "chuk_artifacts"]
        assert records, verb
        assert {record.levelno for record in records} == {logging.DEBUG}
        assert SECRET.decode() not in caplog.text
        assert "hunter2" not in caplog.text


@pytest.mark.parametrize(
    ("verb", "word"),
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
def test_line_names_verb_and_subject(store, tmp_path, caplog, verb, word):
    """The line of a verb begins with its name and tells what it concerns."""
    call = use(store, tmp_path)[verb]
    caplog.set_level(logging.DEBUG, logger="chuk_artifacts")
    caplog.clear()
    call()
    message = caplog.records[0].getMessage()
    assert message.split()[0] == word
    assert len(message.split()) > 1


def test_failed_cleaning_up_is_logged(store, caplog, monkeypatch):
    """Bytes that could not be taken away again are told, with the reason, and the first error is what is raised."""
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
    """A line is handed to the logger as a pattern and plain values, so that it costs nothing where nobody listens."""
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
    """Where nobody listens no log record is made."""
    made = []
    before = logging.getLogRecordFactory()
    logging.setLogRecordFactory(lambda *arguments, **options: made.append(arguments) or before(*arguments, **options))
    try:
        for call in use(store, tmp_path).values():
            call()
    finally:
        logging.setLogRecordFactory(before)
    assert made == []
