"""Settings: an argument overrides the environment, which overrides the default."""

from __future__ import annotations

import inspect
import json
import os
import shutil
from pathlib import Path

import attrs
import child
import pytest

from chuk_artifacts import ArtifactStore, ArtifactStoreError, InvalidInputError
from chuk_artifacts.aio.options import Options
from chuk_artifacts.settings import StoreArguments, resolve

SECRET = "hunter2-hunter2-"


def kept(**options):
    """Return how many versions a store keeps by default."""
    with ArtifactStore(**options) as store:
        artifact_id = store.store(b"0")
        for number in range(20):
            store.update_file(artifact_id, data=b"x" * number)
        return sum(earlier.kept for earlier in store.scope.core.catalog.get((artifact_id,))[0].superseded)


def test_keep_versions(monkeypatch):
    """ARTIFACT_KEEP_VERSIONS is how many versions are kept; any argument overrides it, including 0."""
    assert kept() == 0
    monkeypatch.setenv("ARTIFACT_KEEP_VERSIONS", "3")
    assert kept() == 3
    assert kept(keep_versions=0) == 0
    assert kept(keep_versions=5) == 5
    for wrong in ("101", "-1", "many", "1.5", "9" * 30):
        monkeypatch.setenv("ARTIFACT_KEEP_VERSIONS", wrong)
        with pytest.raises(InvalidInputError, match="ARTIFACT_KEEP_VERSIONS"):
            ArtifactStore()
        assert kept(keep_versions=1) == 1


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run in a temporary folder, where the default root is made."""
    monkeypatch.chdir(tmp_path)


def info(**options):
    """Return the public settings of a store."""
    with ArtifactStore(**options) as store:
        return store.get_sandbox_info()


def providers(**options):
    """Return the names of the storage and the session provider of a store."""
    with ArtifactStore(**options) as store:
        stats = store.get_stats()
    return stats["storage_provider"], stats["session_provider"]


def files(folder):
    """Return the names of all files under a folder."""
    return {path.name for path in Path(folder).rglob("*") if path.is_file()}


def test_keywords():
    """Each keyword of the store but its clock is resolved, with one default, and typed for the async store."""
    keywords = {name: one.default for name, one in inspect.signature(ArtifactStore).parameters.items()}
    assert Options.__annotations__.keys() == keywords.keys()
    del keywords["clock"]
    assert attrs.asdict(StoreArguments(), recurse=False) == keywords
    with pytest.raises(TypeError, match="no_such"):
        resolve(now=0, no_such="setting")


def test_defaults():
    """By default, everything is in memory, and sessions live for a day."""
    assert providers() == ("memory", "memory")
    assert info()["session_ttl_hours"] == 24
    assert files(".") == set()


@pytest.mark.parametrize("name", ["filesystem", "fs"])
def test_storage_provider_by_argument(name):
    """The filesystem provider has two names, and reports the long one; its records persist like its bytes."""
    assert providers(storage_provider=name) == ("filesystem", "sqlite")


def test_storage_provider_by_environment(monkeypatch):
    """ARTIFACT_PROVIDER selects the storage; the argument overrides it."""
    monkeypatch.setenv("ARTIFACT_PROVIDER", "fs")
    assert providers() == ("filesystem", "sqlite")
    assert providers(storage_provider="memory") == ("memory", "memory")


def test_session_provider_by_environment(monkeypatch):
    """SESSION_PROVIDER selects the catalog; the argument overrides it."""
    monkeypatch.setenv("SESSION_PROVIDER", "sqlite")
    assert providers() == ("memory", "sqlite")
    assert providers(session_provider="memory") == ("memory", "memory")
    monkeypatch.setenv("SESSION_PROVIDER", "memory")
    assert providers(storage_provider="filesystem") == ("filesystem", "memory")


def test_root_by_environment(monkeypatch, tmp_path):
    """ARTIFACT_FS_ROOT is the folder of bytes and records; the argument overrides it."""
    monkeypatch.setenv("ARTIFACT_FS_ROOT", "from-environment")
    with ArtifactStore(storage_provider="fs") as store:
        artifact_id = store.store(b"x")
    assert files(tmp_path / "from-environment") >= {artifact_id, "catalog.sqlite3"}
    with ArtifactStore(storage_provider="fs", fs_root=tmp_path / "from-keyword") as store:
        artifact_id = store.store(b"x")
    assert artifact_id in files(tmp_path / "from-keyword")


def test_root_by_default(tmp_path):
    """The default folder is ./artifacts."""
    with ArtifactStore(storage_provider="fs") as store:
        artifact_id = store.store(b"x")
    assert artifact_id in files(tmp_path / "artifacts")


def test_root_in_the_home(tmp_path):
    """A root that begins with ~ is in the user's home."""
    with ArtifactStore(storage_provider="fs", fs_root="~/mine") as store:
        artifact_id = store.store(b"x")
    assert artifact_id in files(tmp_path / "mine")


def test_relative_root_is_resolved_once(monkeypatch, tmp_path):
    """A relative root is resolved once: a later change of the working folder does not move it."""
    with ArtifactStore(storage_provider="fs", fs_root="here") as store:
        (tmp_path / "elsewhere").mkdir()
        monkeypatch.chdir(tmp_path / "elsewhere")
        artifact_id = store.store(b"x")
    assert files(tmp_path / "here") >= {artifact_id, "catalog.sqlite3"}
    assert files(tmp_path / "elsewhere") == set()


@pytest.mark.parametrize("path", ["elsewhere/records.db", "~/elsewhere/records.db"])
def test_sqlite_path_by_environment(monkeypatch, tmp_path, path):
    """SESSION_SQLITE_PATH is the path of the database, which may be outside the root."""
    monkeypatch.setenv("SESSION_SQLITE_PATH", path)
    with ArtifactStore(storage_provider="fs", fs_root="bytes") as store:
        artifact_id = store.store(b"x")
    assert files(tmp_path / "bytes" / "grid") == {artifact_id}
    assert "records.db" in files(tmp_path / "elsewhere")


def test_sandbox_by_environment(monkeypatch):
    """ARTIFACT_SANDBOX_ID is the sandbox; the argument overrides it."""
    monkeypatch.setenv("ARTIFACT_SANDBOX_ID", "from-environment")
    assert info()["sandbox_id"] == "from-environment"
    assert info()["session_prefix_pattern"] == "grid/from-environment/"
    assert info(sandbox_id="from-keyword")["sandbox_id"] == "from-keyword"


def test_session_ttl_by_environment(monkeypatch, clock):
    """ARTIFACT_SESSION_TTL_HOURS is the life of a session; any argument overrides it, including 24 and None."""
    monkeypatch.setenv("ARTIFACT_SESSION_TTL_HOURS", "0.5")
    assert info()["session_ttl_hours"] == 0.5
    assert info(session_ttl_hours=24)["session_ttl_hours"] == 24
    assert info(session_ttl_hours=None)["session_ttl_hours"] is None
    with ArtifactStore(clock=clock) as store:
        artifact_id = store.store(b"x")
        assert store.metadata(artifact_id).ttl == 1800
        clock.advance(1800)
        assert not store.exists(artifact_id)


@pytest.mark.parametrize(
    "name",
    [
        "ARTIFACT_PROVIDER",
        "SESSION_PROVIDER",
        "ARTIFACT_FS_ROOT",
        "ARTIFACT_SANDBOX_ID",
        "ARTIFACT_SESSION_TTL_HOURS",
        "SESSION_SQLITE_PATH",
    ],
)
def test_empty_variable_counts_as_unset(monkeypatch, tmp_path, name):
    """An empty variable counts as unset."""
    expected = info(storage_provider="fs")
    monkeypatch.setenv(name, "")
    assert info(storage_provider="fs") == expected
    with ArtifactStore(storage_provider="fs") as store:
        artifact_id = store.store(b"x")
    assert files(tmp_path / "artifacts") >= {artifact_id, "catalog.sqlite3"}
    assert providers()[0] == "memory"


@pytest.mark.parametrize(
    ("text", "hours"), [("90", 90), ("36h", 36), ("7d", 168), ("90m", 1.5), ("1w", 168), ("never", None), (" 2D ", 48)]
)
def test_session_ttl_with_a_unit(monkeypatch, text, hours):
    """ARTIFACT_SESSION_TTL_HOURS is a number of hours, a number with a unit, or ``never``."""
    monkeypatch.setenv("ARTIFACT_SESSION_TTL_HOURS", text)
    assert info()["session_ttl_hours"] == hours


@pytest.mark.parametrize("hours", ["a day", "7y", "h", "1h30m", "nan", "inf", "0", "-1", "1e300"])
def test_bad_session_ttl_in_environment(monkeypatch, hours):
    """A time to live must be a finite number above 0, and must not end after the year 9999."""
    monkeypatch.setenv("ARTIFACT_SESSION_TTL_HOURS", hours)
    with pytest.raises(InvalidInputError):
        ArtifactStore()


def test_environment_is_read_when_a_store_is_built(monkeypatch):
    """A store keeps its settings when the environment changes; the next store uses the new values."""
    with ArtifactStore() as before:
        monkeypatch.setenv("ARTIFACT_SANDBOX_ID", "later")
        with ArtifactStore() as after:
            assert before.get_sandbox_info()["sandbox_id"] != "later"
            assert after.get_sandbox_info()["sandbox_id"] == "later"


def test_environment_is_not_read_at_import():
    """An invalid variable does not prevent importing the package."""
    child.run("import chuk_artifacts", env=child.environment(ARTIFACT_PROVIDER="nonsense", SESSION_PROVIDER="nonsense"))


@pytest.mark.parametrize(
    ("argument", "known"), [("storage_provider", ("memory", "filesystem", "fs")), ("session_provider", ("sqlite",))]
)
@pytest.mark.parametrize("name", ["nonsense", "Memory", " memory"])
def test_unknown_provider(argument, known, name):
    """The error for an unknown provider names it, and lists the known ones."""
    with pytest.raises(InvalidInputError, match=f"{argument} {name!r} is not known") as caught:
        ArtifactStore(**{argument: name})
    assert all(repr(one) in str(caught.value) for one in known)


def test_unknown_provider_in_environment(monkeypatch):
    """An unknown provider in the environment is refused like an argument."""
    monkeypatch.setenv("ARTIFACT_PROVIDER", "nonsense")
    with pytest.raises(InvalidInputError, match="'nonsense' is not known"):
        ArtifactStore()


@pytest.mark.parametrize("argument", ["storage_provider", "session_provider"])
def test_provider_url_is_not_shown(argument):
    """A message shows only the scheme of a URL, which may contain a password."""
    with pytest.raises(InvalidInputError, match="'redis://'") as caught:
        ArtifactStore(**{argument: f"redis://user:{SECRET}@host/0?password={SECRET}"})
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    "options",
    [
        {"storage_provider": 5},
        {"session_provider": 5},
        {"storage_provider": "\ud800"},
        {"fs_root": 5},
        {"fs_root": b"bytes"},
        {"fs_root": "nul\0"},
        {"fs_root": "\ud800"},
        {"session_ttl_hours": "24"},
        {"session_ttl_hours": True},
        {"session_ttl_hours": 0},
        {"session_ttl_hours": float("nan")},
        {"session_ttl_hours": 1e300},
        {"max_retries": -1},
        {"max_retries": 1.5},
        {"max_connections": 0},
        {"max_connections": True},
        {"storage_options": "fsync"},
        {"storage_options": {"fsync": True}},
        {"storage_provider": "fs", "storage_options": {"fsnyc": True}},
    ],
    ids=str,
)
def test_bad_argument(options):
    """The constructor refuses an invalid argument, and names it."""
    with pytest.raises(InvalidInputError, match=list(options)[-1]):
        ArtifactStore(**options)


def test_unknown_option_lists_the_known():
    """The error for an unknown storage option names it, and lists the known ones."""
    with pytest.raises(InvalidInputError, match=r"'filesystem' has no 'fsnyc'; known: 'fsync'"):
        ArtifactStore(storage_provider="fs", storage_options={"fsnyc": True})
    with pytest.raises(InvalidInputError, match=r"'memory' has no 'fsync'; known: none"):
        ArtifactStore(storage_options={"fsync": True})


def test_options_are_copied():
    """The caller may change a mapping of options later without changing the store."""
    options = {"fsync": False}
    with ArtifactStore(storage_provider="fs", storage_options=options) as store:
        options["fsync"] = True
        assert store.scope.core.settings.fsync is False


def test_derived_sandbox_is_stable():
    """Every path to a root leads to the same sandbox, in every process; another root has another sandbox."""
    Path("root").mkdir()
    Path("link").symlink_to("root")
    paths = ["root", "./root/", os.path.abspath("root"), "link", "root/../root"]
    names = {info(storage_provider="fs", fs_root=path)["sandbox_id"] for path in paths}
    other_process = child.run(
        """
        import json, sys
        from chuk_artifacts import ArtifactStore
        with ArtifactStore(storage_provider="fs", fs_root=sys.argv[1]) as store:
            print(json.dumps(store.get_sandbox_info()))
        """,
        os.path.abspath("root"),
        env=child.environment(PYTHONHASHSEED="1"),
    )
    assert names == {json.loads(other_process)["sandbox_id"]}
    assert info(storage_provider="fs", fs_root="other")["sandbox_id"] not in names


@pytest.mark.parametrize("change", [shutil.move, shutil.copytree])
def test_moved_folder_keeps_its_sandbox(change, tmp_path):
    """A root that was moved or copied is the same store at its new path, even when all its files are gone."""
    old, new = tmp_path / "old", tmp_path / "new"
    with ArtifactStore(storage_provider="fs", fs_root=old) as store:
        artifact_id = store.store(b"kept", session_id="alice")
        expected = store.sandbox_id
    change(old, new)
    with ArtifactStore(storage_provider="fs", fs_root=new) as store:
        assert store.retrieve(artifact_id) == b"kept"
        store.delete(artifact_id)
        shutil.rmtree(new / "grid")
    assert info(storage_provider="fs", fs_root=new)["sandbox_id"] == expected


@pytest.mark.parametrize("catalog", ["memory", "elsewhere"])
def test_copied_folder_with_records_elsewhere(catalog, tmp_path, monkeypatch):
    """A copy whose records are not in it is another store: it must not change the records of the original."""
    if catalog == "elsewhere":
        monkeypatch.setenv("SESSION_SQLITE_PATH", str(tmp_path / "catalog.db"))
    options = {"storage_provider": "fs", "session_provider": "sqlite" if catalog == "elsewhere" else catalog}
    with ArtifactStore(**options, fs_root=tmp_path / "old") as store:
        artifact_id = store.store(b"kept", session_id="alice")
        shutil.copytree(tmp_path / "old", tmp_path / "new")
        with ArtifactStore(**options, fs_root=tmp_path / "new") as copy:
            assert copy.sandbox_id != store.sandbox_id
            assert not copy.delete(artifact_id)
        assert store.retrieve(artifact_id) == b"kept"


def test_sandbox_of_several(tmp_path):
    """A name that was given is not taken for a derived one, and of several derived ones none is chosen but its own."""
    own = info(storage_provider="fs", fs_root=tmp_path)["sandbox_id"]
    (tmp_path / "grid" / "prod").mkdir(parents=True)
    assert info(storage_provider="fs", fs_root=tmp_path)["sandbox_id"] == own
    for digit in "12":
        (tmp_path / "grid" / f"fs-{digit * 16}").mkdir()
    assert info(storage_provider="fs", fs_root=tmp_path)["sandbox_id"] == own


def test_derived_sandbox_does_not_contain_the_path(tmp_path):
    """The derived sandbox, which is part of every key, does not contain the path."""
    sandbox_id = info(storage_provider="fs", fs_root=tmp_path / "secret")["sandbox_id"]
    assert "secret" not in sandbox_id


def test_sandbox_of_memory_is_random():
    """Two memory stores share nothing, and have different sandboxes."""
    assert info()["sandbox_id"] != info()["sandbox_id"]


def test_unused_arguments_are_harmless(monkeypatch):
    """Arguments and variables of other providers are ignored."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_REGION", "IBM_COS_APIKEY", "ARTIFACT_BUCKET", "SESSION_REDIS_URL"):
        monkeypatch.setenv(name, "unused")
    monkeypatch.setenv("SESSION_POSTGRES_URL", "unused")
    monkeypatch.setenv("SESSION_POSTGRES_SCHEMA", "un used")
    unused = {"bucket": "b", "endpoint_url": "https://e", "region": "r", "redis_url": "redis://h"}
    assert providers(**unused, postgres_url="postgresql://h", postgres_schema="?") == ("memory", "memory")


def test_postgres(monkeypatch):
    """The URL and the schema of PostgreSQL come from the argument, the environment or libpq."""
    pytest.importorskip("psycopg", reason="no driver here: pip install '.[postgres]'")

    def found(**options):
        with ArtifactStore(session_provider="postgres", **options) as store:
            settings = store.scope.core.settings
            return settings.postgres_url.text, settings.postgres_schema

    assert found() == ("postgresql://", "chuk_artifacts")
    monkeypatch.setenv("SESSION_POSTGRES_URL", "postgresql://h/db")
    monkeypatch.setenv("SESSION_POSTGRES_SCHEMA", "Files-1")
    assert found() == ("postgresql://h/db", "Files-1")
    assert found(postgres_url="postgres://i", postgres_schema="s") == ("postgres://i", "s")


@pytest.mark.parametrize(
    "options",
    [
        {"postgres_url": f"host=h password={SECRET}"},
        {"postgres_url": f"mysql://u:{SECRET}@h/db"},
        {"postgres_url": f"postgresql://u:{SECRET}%@h/db"},
        {"postgres_url": 5},
        {"postgres_schema": "pg_catalog"},
        {"postgres_schema": "a b"},
        {"postgres_schema": 'a"; DROP TABLE x'},
        {"postgres_schema": "s" * 64},
        {"postgres_schema": 5},
    ],
)
def test_bad_postgres(options):
    """A URL that is none, and the name of a schema that needs care, are refused without a look at the server."""
    pytest.importorskip("psycopg", reason="no driver here: pip install '.[postgres]'")
    with pytest.raises(InvalidInputError) as caught:
        ArtifactStore(session_provider="postgres", **options)
    assert SECRET not in str(caught.value)


def test_no_secret_in_messages(monkeypatch):
    """No repr, setting or error message contains a secret."""
    for name in ("AWS_SECRET_ACCESS_KEY", "ARTIFACT_SIGNING_KEY", "IBM_COS_APIKEY"):
        monkeypatch.setenv(name, SECRET)
    monkeypatch.setenv("SESSION_REDIS_URL", f"redis://:{SECRET}@host")
    with ArtifactStore(signing_key=SECRET, redis_url=f"redis://:{SECRET}@host") as store:
        words = [repr(store), repr(store.scope.core.settings), repr(store.scope.core), repr(store.get_stats())]
        words += [repr(store.validate_configuration()), repr(store.get_sandbox_info())]
    with pytest.raises(ArtifactStoreError) as caught:
        store.retrieve("0" * 32)
    assert SECRET not in " ".join([*words, str(caught.value)])


def test_no_option_value_in_an_error():
    """The error for an unknown option does not contain its value, and repr contains no option."""
    with pytest.raises(InvalidInputError) as caught:
        ArtifactStore(storage_provider="fs", storage_options={"secret_key": SECRET})
    assert SECRET not in str(caught.value)
    with ArtifactStore(storage_provider="fs", storage_options={"fsync": SECRET}) as store:
        assert SECRET not in repr(store) + repr(store.scope.core.settings)


def test_repr(tmp_path):
    """The repr of a store has its providers, folder, sandbox and, if bound, session; that of a closed store says so."""
    with ArtifactStore(storage_provider="fs", fs_root=tmp_path, sandbox_id="box") as store:
        shown = f"<ArtifactStore filesystem+sqlite at {str(tmp_path)!r} sandbox='box'"
        assert repr(store) == f"{shown}>"
        assert repr(store.session("alice")) == f"{shown} session='alice'>"
    assert repr(store) == "<ArtifactStore closed>"


@pytest.mark.parametrize(
    ("provider", "location", "bucket"),
    [
        ("memory", None, None),
        ("s3", "s3://files", "files"),
        ("s3://files/some/prefix", "s3://files/some/prefix", "files"),
        ("memory://folder", "memory://folder", None),
        ("sftp://user:hunter2@host/folder", "sftp://user@host/folder", None),
    ],
)
def test_location(provider, location, bucket):
    """The location of the bytes, without secrets, is in the repr of a store and in the information on its sandbox."""
    with ArtifactStore(storage_provider=provider, bucket="files" if provider == "s3" else None) as store:
        assert store.get_sandbox_info()["location"] == location
        assert (f" at {location!r} " in repr(store)) == (location is not None)
        assert store.bucket == bucket
        assert (store.sandbox_id, store.session_provider) == (store.get_sandbox_info()["sandbox_id"], "memory")
        assert store.storage_provider == store.get_sandbox_info()["storage_provider"]
        assert "hunter2" not in repr(store)


def test_closed_store_has_no_special_names():
    """A debugger or a test runner may probe a closed store for special methods."""
    store = ArtifactStore()
    store.close()
    assert not hasattr(store, "__len__")
    with pytest.raises(ArtifactStoreError, match="store is closed"):
        store.get_sandbox_info()
