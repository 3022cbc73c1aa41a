"""The machine: calls every public method of a store with random arguments, and compares each answer with the oracle's.

Calls come through the blocking store and the async one, through two stores on one place, through views bound to a
session, and through ``artifact://``. Time jumps between them.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import shutil
import tempfile
import urllib.request
import zipfile
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlsplit

import attrs
from faces import AsyncFace
from hypothesis import note
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule
from orphans import orphans
from werkzeug.test import Client

from chuk_artifacts import ArtifactStore, ArtifactStoreError, aio
from chuk_artifacts.filesystem import ArtifactFileSystem
from chuk_artifacts.gateway import Gateway
from proof.oracle import NEVER, Oracle

BEGIN = 1_800_000_000.0
GATEWAY = "http://gateway.test"
SETTINGS = {"keep_versions": 1, "max_artifact_bytes": 64, "max_session_bytes": 200, "session_ttl_hours": 24}

# Arguments. A session, an artifact or an upload is drawn as a number, which picks one of those that exist.


@attrs.frozen
class Pick:
    """Any of what exists, by kind and number."""

    kind: str
    number: int


ABSENT = st.none()
SESSION = st.integers(0, 3).map(lambda number: Pick("session", number))
ARTIFACT = st.integers(0, 3).map(lambda number: Pick("artifact", number))
UPLOAD = st.integers(0, 2).map(lambda number: Pick("upload", number))
NAME = st.sampled_from(["a.txt", "b.png", "docs/a.txt", "docs/é.md", "docs/sub/c.txt", "docs.txt", "x"])
DATA = st.sampled_from([b"", b"x", b"second", b"some bytes" * 5, b"y" * 70])
META = st.dictionaries(st.sampled_from(["tag", "n"]), st.sampled_from(["q3", 1, True, None, [1, {"a": 2}]]), max_size=2)
TEXT = st.sampled_from(["", "one", "zwei é"])
MIME = st.sampled_from(["text/plain", "image/png", "application/json"])
TTL = st.sampled_from([50, 1000, 5003, 100_003, 200_003])
LONGER = st.sampled_from([30, 1000, 5003, 200_003])
USER = st.sampled_from(["ann", "ben"])
REVISION = st.integers(1, 4)
IF_REVISION = st.one_of(ABSENT, ABSENT, ABSENT, REVISION)
PREFIX = st.sampled_from(["", "a", "docs", "docs/", "docs/sub/", "zzz"])
FOLDER = st.sampled_from(["", "docs", "docs/", "docs/sub", "zzz"])
LIMIT = st.integers(0, 3)
KEEP = st.integers(0, 3)
MOST = st.sampled_from([0, 6, 100])
HOURS = st.sampled_from([0.5, 3, 50])
SOON = st.sampled_from([600, 4000, 90_007])


def given(required: Mapping[str, Any], **optional: Any) -> Any:
    """Return a strategy of keyword arguments."""
    maybe = {name: st.one_of(ABSENT, ABSENT, optional[name]) for name in sorted(optional.keys() - required)}
    return st.fixed_dictionaries({**required, **maybe}).map(_without_absent)


def _without_absent(arguments: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in arguments.items() if value is not None}


FIELDS = {"mime": MIME, "summary": TEXT, "meta": META, "filename": NAME}
STORED = {**FIELDS, "session_id": SESSION, "user_id": USER, "ttl": TTL, "max_bytes": MOST, "keep_versions": KEEP}
ITEM = given({"data": DATA}, **STORED)
ONE, SOME = {"artifact_id": ARTIFACT}, {"session_id": SESSION}
UPLOADED = {"mime": MIME, "summary": TEXT}
TERMS = {"session_id": SESSION, "max_bytes": MOST}

PATH = given({"session_id": SESSION, "filename": NAME})

CALLS: dict[str, Any] = {
    "store": given({"data": DATA}, **STORED, exclusive=st.booleans()),
    "write_file": given({"content": TEXT, "filename": NAME}, **STORED),
    "store_batch": given({"items": st.lists(ITEM, min_size=1, max_size=3)}, session_id=SESSION, ttl=TTL),
    "metadata": given(ONE),
    "retrieve": given(ONE, revision=REVISION),
    "read_file": given(ONE, revision=REVISION),
    "open": given(ONE, revision=REVISION),
    "stream": given(ONE, revision=REVISION),
    "download": given(ONE, revision=REVISION),
    "presign": given(ONE, revision=REVISION),
    "presign_short": given(ONE, revision=REVISION),
    "presign_medium": given(ONE, revision=REVISION),
    "presign_long": given(ONE, revision=REVISION),
    "retrieve_batch": given({"artifact_ids": st.lists(ARTIFACT, max_size=3)}),
    "exists": given(ONE),
    "versions": given(ONE),
    "update_metadata": given(ONE, **FIELDS, merge=st.booleans(), if_revision=IF_REVISION),
    "update_file": given(
        ONE, **FIELDS, data=DATA, ttl=TTL, if_revision=IF_REVISION, max_bytes=MOST, keep_versions=KEEP
    ),
    "restore": given({**ONE, "revision": REVISION}, if_revision=IF_REVISION),
    "extend_ttl": given({**ONE, "additional_seconds": LONGER}),
    "move_file": given(ONE, new_filename=NAME, new_session_id=SESSION, new_meta=META),
    "copy_file": given(ONE, new_filename=NAME, target_session_id=SESSION, new_meta=META, summary=TEXT),
    "delete": given(ONE),
    "delete_batch": given({"artifact_ids": st.lists(ARTIFACT, max_size=3)}),
    "delete_session": given({}, **SOME),
    "delete_user": given({"user_id": USER}),
    "list_by_session": given({}, **SOME, limit=LIMIT),
    "list_files": given({}, **SOME, prefix=PREFIX, limit=LIMIT),
    "get_directory_contents": given({}, **SOME, directory_prefix=FOLDER, limit=LIMIT),
    "iter_session": given({}, **SOME, prefix=PREFIX, start=NAME, page_size=st.integers(1, 3)),
    "list_directory": given({}, **SOME, directory=FOLDER),
    "lookup": given({"filename": NAME}, **SOME),
    "archive": given({}, **SOME, prefix=PREFIX),
    "presign_archive": given({}, **SOME, prefix=PREFIX),
    "search": given(
        {},
        **SOME,
        prefix=PREFIX,
        mime=st.sampled_from(["text/plain", "image/*", "*/*"]),
        meta=META,
        stored_after=st.just(BEGIN + 700),
        stored_before=st.just(BEGIN + 8000),
        user_id=USER,
    ),
    "presign_upload": given({"expires": SOON}, **TERMS, filename=NAME),
    "presign_upload_and_register": given({"expires": SOON, **UPLOADED}, **TERMS, filename=NAME, meta=META, ttl=TTL),
    "register_uploaded_artifact": given(
        {"artifact_id": UPLOAD, **UPLOADED}, meta=META, filename=NAME, session_id=SESSION, ttl=TTL
    ),
    "create_session": given({}, user_id=USER, ttl_hours=HOURS, custom_metadata=META, session_id=SESSION),
    "get_session_info": given({}, **SOME),
    "validate_session": given({}, **SOME),
    "update_session_metadata": given({"metadata": META}, **SOME),
    "extend_session_ttl": given({"additional_hours": HOURS}, **SOME),
    "iter_sessions": given({}, user_id=USER, page_size=st.integers(1, 3)),
    "usage": given({}, **SOME),
    "get_stats": given({}),
    "cleanup": given({}, dry_run=st.booleans()),
    "cleanup_expired_sessions": given({}),
    "read_path": PATH,
    "write_path": given({"session_id": SESSION, "filename": NAME, "data": DATA}),
    "find_path": given({"session_id": SESSION}),
    "remove_path": PATH,
}
"""The methods whose answers the oracle knows, with their arguments."""

ELSEWHERE = {
    "session": "makes the bound views",
    "user": "makes the view bound to a user",
    "close": "ends each view and store",
    "wrap": "makes the async face",
    "get_canonical_prefix": "is checked with each orphan",
    "generate_artifact_key": "is checked with each orphan",
    "parse_grid_key": "is checked with each orphan",
    "get_session_prefix_pattern": "is checked with each orphan",
    "get_sandbox_info": "is checked at the end",
    "validate_configuration": "is checked at the end",
    "export_catalog": "is called by the rule backup",
    "import_catalog": "is called by the rule backup",
    "reindex": "is called by the rule backup",
    "display": "shows what retrieve returns, as tests of notebooks check",
}
"""The methods that the machine calls in another way."""

THIS, HERE, NEWEST = Pick("this", 0), Pick("here", 0), Pick("upload", 0)
BIG, PLAIN = b"some bytes" * 5, {"mime": "text/plain", "summary": ""}
WORK: list[tuple[str, Any]] = [
    *(("wait", {"seconds": seconds}) for seconds in (601, 3_403, 3_607, 90_001)),
    ("update_file", {"artifact_id": THIS, "data": b"x", "mime": "image/png"}),
    ("update_file", {"artifact_id": THIS, "data": b"second", "filename": "b.png"}),
    ("update_file", {"artifact_id": THIS, "data": BIG, "mime": "text/plain"}),
    ("restore", {"artifact_id": THIS, "revision": 1}),
    ("restore", {"artifact_id": THIS, "revision": 2}),
    ("versions", {"artifact_id": THIS}),
    ("retrieve", {"artifact_id": THIS, "revision": 2}),
    ("copy_file", {"artifact_id": THIS, "new_filename": "a.txt"}),
    ("delete", {"artifact_id": THIS}),
    ("store", {"session_id": HERE, "data": BIG, "ttl": 50}),
    ("store", {"session_id": HERE, "data": BIG, "ttl": 100_003, "filename": "a.txt"}),
    ("store", {"session_id": HERE, "data": b"x", "filename": "a.txt", "exclusive": True}),
    ("lookup", {"session_id": HERE, "filename": "a.txt"}),
    ("list_files", {"session_id": HERE, "limit": 2}),
    ("usage", {"session_id": HERE}),
    ("presign_upload_and_register", {"session_id": HERE, "expires": 4000, "max_bytes": 6, **PLAIN}),
    ("put", {"upload": 0, "data": b"second"}),
    ("put", {"upload": 0, "data": BIG}),
    ("register_uploaded_artifact", {"artifact_id": NEWEST, "ttl": 5003, **PLAIN}),
    ("cleanup", {}),
]
"""Calls on one artifact, one session and one upload, so that each meets what the others left."""
STEPS = st.lists(st.sampled_from(WORK), min_size=5, max_size=15)

PATHS = {"read_path", "write_path", "find_path", "remove_path"}
"""Those that are calls of ``artifact://``."""

SAME: dict[str, tuple[str, dict[str, Any]]] = {
    **dict.fromkeys(
        ("read_file", "open", "stream", "download", "presign", "presign_short", "presign_medium", "presign_long"),
        ("retrieve", {}),
    ),
    **dict.fromkeys(("list_by_session", "iter_session", "get_directory_contents"), ("list_files", {})),
    **dict.fromkeys(("update_metadata", "move_file"), ("change", {})),
    **dict.fromkeys(("update_session_metadata", "extend_session_ttl"), ("change_session", {})),
    "update_file": ("change", {"merge": False}),
    "write_file": ("store", {"default": "text/plain"}),
    "presign_archive": ("archive", {}),
    "presign_upload_and_register": ("presign_upload", {"complete": True}),
}
"""The method of the oracle that answers others too, with what it must be given."""

RENAMED = {
    "new_filename": "filename",
    "new_meta": "meta",
    "new_session_id": "other",
    "target_session_id": "other",
    "keep_versions": "keep",
    "directory": "folder",
    "directory_prefix": "folder",
}
UNSEEN = {"page_size"}
"""Arguments that change no answer."""

UPLOADS = {"presign_upload", "presign_upload_and_register"}
FRESH = {"store", "write_file", "store_batch", *UPLOADS}
MINTING = {*FRESH, "copy_file", "create_session", "write_path"}
ANY_ORDER = {"search", "iter_sessions"}


class Clock:
    """Time, which only the machine moves."""

    def __init__(self) -> None:
        self.now = BEGIN

    def __call__(self) -> float:
        """Return the time."""
        return self.now


@attrs.define
class Place:
    """Where a machine keeps its stores: options that lead two stores to one empty place."""

    options: Mapping[str, Any]
    shared: bool = True
    proves: bool = True


class Paths:
    """Calls of ``artifact://`` in the form of methods of a store."""

    def __init__(self, store: ArtifactStore) -> None:
        self.store, self.fs = store, ArtifactFileSystem(store)

    def read_path(self, session_id: str, filename: str) -> bytes | None:
        """Return the content of a path; None: there is nothing."""
        with contextlib.suppress(FileNotFoundError):
            return self.fs.cat_file(f"{session_id}/{filename}")

    def write_path(self, session_id: str, filename: str, data: bytes) -> list[str]:
        """Write, and return the id of what was made."""
        catalog, now = self.store.scope.core.catalog, self.store.scope.core.clock()
        before = {one.artifact_id for one in catalog.named(session_id, filename, now)}
        self.fs.pipe_file(f"{session_id}/{filename}", data)
        return sorted({one.artifact_id for one in catalog.named(session_id, filename, now)} - before)

    def find_path(self, session_id: str) -> list[str]:
        """Return all paths in a session."""
        with contextlib.suppress(FileNotFoundError):
            return sorted(path.partition("/")[2] for path in self.fs.find(session_id))
        return []

    def remove_path(self, session_id: str, filename: str) -> bool:
        """Remove what is at a path, and return whether something was."""
        with contextlib.suppress(FileNotFoundError):
            return self.fs.rm_file(f"{session_id}/{filename}") is None
        return False


class Machine(RuleBasedStateMachine):
    """Compares two stores on one place with the oracle. A subclass says where they are."""

    place: Callable[[Path], Place]

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="proof-"))
        self.clock = Clock()
        place = type(self).place(self.folder)
        self.options = {
            **SETTINGS,
            "clock": self.clock,
            "gateway_url": GATEWAY,
            "signing_key": "k" * 32,
            **place.options,
        }
        self.is_proof = place.proves
        first = ArtifactStore(**self.options)
        second = ArtifactStore(**{**self.options, "sandbox_id": first.sandbox_id}) if place.shared else first
        self.stores = [first, second]
        self.views = [aio.ArtifactStore.wrap(store) for store in self.stores]
        self.fs = [Paths(store) for store in self.stores]
        self.client = Client(Gateway(second))
        self.oracle = Oracle(self.clock, ttl=86400, keep=1, most=64, most_in_session=200)
        self.sessions = ["alice", "bob", "user:ann"]
        self.artifacts: list[str] = []
        self.uploads: list[str] = []
        self.urls: dict[str, str] = {}

    # Who calls

    def caller(self, face: int, number: int, bound: str | None) -> Any:
        """Return a store or a bound view of it, blocking or async."""
        store = self.stores[number] if face == 0 else AsyncFace(self.views[number])
        if bound is None:
            return store
        return store.user(bound.removeprefix("user:")) if bound.startswith("user:") else store.session(bound)

    def picked(self, value: Any) -> Any:
        """Return arguments with what was picked."""
        if isinstance(value, Pick):
            this = next((id for id in self.artifacts if id in self.oracle.artifacts), "0" * 32)
            here = self.oracle.artifacts[this].session if this in self.oracle.artifacts else "alice"
            known = {"session": self.sessions, "artifact": self.artifacts, "upload": self.uploads}
            known |= {"this": [this], "here": [here]}
            some = known[value.kind]
            return some[-1 - value.number % len(some)] if some else "0" * 32
        if isinstance(value, dict):
            return {name: self.picked(one) for name, one in value.items()}
        return [self.picked(one) for one in value] if isinstance(value, list) else value

    def call(self, name: str, who: tuple[int, int, Pick | None], arguments: dict[str, Any]) -> None:
        """Call a method, and compare."""
        arguments, bound = self.picked(arguments), None if name in PATHS else self.picked(who[2])
        store = self.fs[who[1]] if name in PATHS else self.caller(*who[:2], bound)
        found, made = self.answered(name, store, arguments)
        fresh = self.session_of(made, arguments) if made and name in FRESH else ""
        same, known = SAME.get(name, (name, {}))
        known = known | renamed({key: arguments[key] for key in arguments.keys() - UNSEEN})
        if "content" in known:
            known["data"] = known.pop("content").encode()
        expected = alike(found, self.oracle.answer(same, known, bound, made, fresh))
        if name in ANY_ORDER and isinstance(found, list):
            found, expected = (sorted(some, key=lambda one: one["id"]) for some in (found, expected))
        note(f"{name} {arguments} by {who}: {found!r}")
        assert found == expected, (name, arguments, bound, found, expected)
        self.remember(name, made)

    def answered(self, name: str, store: Any, arguments: dict[str, Any]) -> tuple[Any, list[str]]:
        """Return the answer of a store in comparable form, and the ids that it made."""
        try:
            answer = getattr(store, name)(**arguments, **({"path": self.folder / "got"} if name == "download" else {}))
            if name in UPLOADS:
                url, answer = answer
                self.urls[answer] = url
            found = self.comparable(name, answer)
        except ArtifactStoreError as error:
            return type(error).__name__, []
        made = answer if name in MINTING else []
        return found, made if isinstance(made, list) else [made]

    def session_of(self, made: list[str], arguments: Mapping[str, Any]) -> str:
        """Return the session of what was made without one."""
        items = arguments.get("items", [arguments])
        without = [one for one, item in zip(made, items, strict=True) if "session_id" not in item]
        record = self.stores[0].scope.core.catalog.get([*without, *made][:1])[0]
        return "" if record is None else record.session_id

    def remember(self, name: str, made: list[str]) -> None:
        """Let later calls pick what was made."""
        if name == "create_session":
            self.sessions = [*dict.fromkeys([*self.sessions, *made])][:4]
            return
        self.artifacts += made
        self.uploads += made if name in UPLOADS else []

    def comparable(self, name: str, answer: Any) -> Any:
        """Return an answer in the oracle's form."""
        if name in READ:
            return READ[name](self, answer)
        return plain(list(answer) if isinstance(answer, Iterator) else answer)

    def fetched(self, url: str) -> bytes:
        """Return what a URL downloads."""
        if not url.startswith(GATEWAY):
            with urllib.request.urlopen(url, timeout=30) as answer:
                return answer.read()
        parts = urlsplit(url)
        answer = self.client.get(f"{parts.path}?{parts.query}")
        assert answer.status_code == 200, answer.text
        return answer.data

    # What is not a method

    @initialize(steps=STEPS, which=st.integers(0, 1))
    def begin(self, steps: list[tuple[str, Any]], which: int) -> None:
        """Store one artifact, so that there is something to pick, and work on it."""
        self.call("store", (0, 0, None), {"data": b"first", "filename": "a.txt", "session_id": "alice"})
        self.work(steps, which)

    @rule(steps=STEPS, which=st.integers(0, 1))
    def work(self, steps: list[tuple[str, Any]], which: int) -> None:
        """Call several methods on one artifact and its session."""
        for name, arguments in steps:
            if name == "wait":
                self.wait(**arguments)
            elif name != "put":
                self.call(name, (which, which, None), arguments)
            elif self.uploads:
                self.put(**arguments)

    @rule(seconds=st.sampled_from([1, 601, 1801, 3_403, 3_607, 21_601, 90_001]))
    def wait(self, seconds: float) -> None:
        """Let time pass."""
        self.clock.now += seconds

    @rule(number=st.integers(0, 9), seconds=st.sampled_from([-1, 0, 1]))
    def wait_until(self, number: int, seconds: int) -> None:
        """Let time pass until just before, at or just after a moment at which something ends."""
        ends = {moment for one in self.oracle.artifacts.values() for moment in self.oracle.moments(one)}
        ends |= {info.expires for info in self.oracle.sessions.values()}
        later = sorted(moment + seconds for moment in ends - {NEVER} if moment + seconds > self.clock())
        if later:
            self.clock.now = later[number % len(later)]

    @rule(upload=st.integers(0, 2), data=DATA)
    @precondition(lambda self: self.uploads)
    def put(self, upload: int, data: bytes) -> None:
        """Upload to a URL: the gateway takes it, or refuses and changes nothing."""
        artifact_id = self.picked(Pick("upload", upload))
        one = self.oracle.artifacts.get(artifact_id)
        parts = urlsplit(self.urls[artifact_id])
        kind = "application/octet-stream" if one is None else one.mime
        answer = self.client.put(f"{parts.path}?{parts.query}", data=data, content_type=kind, content_length=len(data))
        assert answer.status_code < 500 or answer.status_code == 507, answer.text
        refused = self.oracle.answer("put", {"artifact_id": artifact_id, "data": data})
        assert (answer.status_code == 200) == (refused is None), (answer.text, refused)

    @rule()
    def nothing_is_left(self) -> None:
        """Bytes are there exactly for what has them, and an orphan sweep finds none."""
        self.check_bytes()

    @rule(which=st.integers(0, 1))
    def backup(self, which: int) -> None:
        """Export the catalog, import that, and reindex: all is there, so nothing changes."""
        file = io.BytesIO()
        store, view = self.stores[which], AsyncFace(self.views[which])
        store.export_catalog(file)
        file.seek(0)
        view.import_catalog(file)
        report = store.reindex()
        assert (report.artifacts, report.failed) == (0, 0), report

    def check_bytes(self) -> None:
        """Compare the objects in the storage with what records point to."""
        store = self.stores[0]
        assert orphans(store) == []
        prefix = store.get_session_prefix_pattern()
        listed = store.scope.core.storage.list_objects(prefix)
        objects = {one.key: one.bytes for one in listed if not one.key.endswith("/~session")}  # facts of a session
        parsed = [store.parse_grid_key(key) for key in objects]
        assert all(
            key.startswith(store.get_canonical_prefix(one.session_id))
            for key, one in zip(objects, parsed, strict=False)
        )
        for key, one in zip(objects, parsed, strict=True):
            assert key.startswith(store.generate_artifact_key(one.session_id, one.artifact_id))
        sizes = [
            size
            for one in self.oracle.artifacts.values()
            for size in {c.number: len(c.data) for c in one.contents}.values()
        ]
        sizes += [len(one.uploaded) for one in self.oracle.artifacts.values() if one.uploaded is not None]
        assert sorted(objects.values()) == sorted(sizes)
        if self.is_proof:
            assert store.cleanup(orphans=True, dry_run=True).orphans == 0

    def teardown(self) -> None:
        """Compare what is there at the end, and close."""
        try:
            self.check_bytes()
            for view, store in zip(self.views, self.stores, strict=True):
                assert {part["status"] for part in store.validate_configuration().values()} == {"ok"}
                assert AsyncFace(view).get_sandbox_info() == store.get_sandbox_info()
        finally:
            for store in self.stores:
                store.close()
            for view in self.views:
                AsyncFace(view).close()
            shutil.rmtree(self.folder)


def renamed(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Return arguments by the names that the oracle gives them."""
    items = {"items": [renamed(item) for item in arguments["items"]]} if "items" in arguments else {}
    return {RENAMED.get(name, name): value for name, value in arguments.items()} | items


def archived(data: bytes) -> list[bytes]:
    """Return the contents in an archive."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert archive.testzip() is None
        return sorted(archive.read(name) for name in archive.namelist())


def read_whole(file: Any) -> bytes:
    """Return the bytes of a reader."""
    with file:
        return file.read()


READ: dict[str, Callable[[Machine, Any], Any]] = {
    "open": lambda _, file: read_whole(file),
    "stream": lambda _, chunks: b"".join(chunks),
    "download": lambda _, path: path.read_bytes(),
    "archive": lambda _, chunks: archived(b"".join(chunks)),
    "presign_archive": lambda machine, url: archived(machine.fetched(url)),
    "read_file": lambda _, text: text.encode(),
    "usage": lambda _, usage: (usage.artifacts, usage.bytes),
    "get_stats": lambda _, stats: (stats["sessions"], stats["artifacts"], stats["bytes"]),
    "cleanup": lambda _, report: (report.sessions, report.artifacts, report.orphans, report.bytes),
    **dict.fromkeys(
        ("presign", "presign_short", "presign_medium", "presign_long"), lambda machine, url: machine.fetched(url)
    ),
}
NAMES = {
    "artifact_id": "id",
    "session_id": "session",
    "user_id": "user",
    "custom_metadata": "meta",
    "stored_at": "stored",
    "updated_at": "updated",
    "created_at": "created",
    "expires_at": "expires",
}
HIDDEN = {"sandbox_id", "key", "storage_provider", "session_provider"}


def plain(answer: Any) -> Any:
    """Return metadata as dictionaries, with times in seconds."""
    if isinstance(answer, list | tuple):
        return type(answer)(map(plain, answer))
    if not isinstance(answer, Mapping):
        return answer
    fields = {NAMES.get(name, name): value for name, value in answer.items() if name not in HIDDEN}
    if "created" in fields:
        fields["id"] = fields.pop("session")
    for name in ("stored", "updated", "created", "expires"):
        if isinstance(fields.get(name), str):
            fields[name] = datetime.fromisoformat(fields[name]).timestamp()
    return fields


def alike(found: Any, expected: Any) -> Any:
    """Return an answer of the oracle, of an artifact only the facts that *found* shows."""
    if isinstance(expected, SimpleNamespace):
        facts = vars(expected)
        if "contents" in facts:
            data = facts.get("data", expected.contents[-1].data)
            facts = {**facts, "bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
            facts |= {"current": facts.get("last", expected.revision) == expected.revision}
            facts |= {"revision": facts.get("first", expected.revision)}
        facts = {name: None if value == NEVER else value for name, value in facts.items()}
        return {name: facts[name] for name in found} if isinstance(found, dict) else facts
    if isinstance(found, list | tuple) and isinstance(expected, list | tuple) and len(found) == len(expected):
        return type(expected)(map(alike, found, expected))
    return expected


def add_rule(name: str, arguments: Any) -> None:
    """Give the machine a rule for a method."""

    def call(self: Machine, face: int, number: int, bound: Pick | None, arguments: dict[str, Any]) -> None:
        self.call(name, (face, number, bound), arguments)

    call.__name__ = name
    who = {"face": st.integers(0, 1), "number": st.integers(0, 1), "bound": st.none() | st.none() | SESSION}
    setattr(Machine, f"call_{name}", rule(**who, arguments=arguments)(call))


for _name, _arguments in CALLS.items():
    add_rule(_name, _arguments)
