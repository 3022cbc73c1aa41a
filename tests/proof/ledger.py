"""What the logs of workers promise, and whether a store keeps it."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import attrs

from chuk_artifacts import ArtifactStore

OLD_SECONDS = 3 * 86400
UNKNOWN = "OutcomeUnknownError"


@attrs.define
class State:
    """What is known of one artifact: content, length, note, and whether it exists."""

    data: str
    length: int
    note: int | None = None


@attrs.define
class Session:
    """What is known of one session: the acknowledged state of each artifact, and what was under way.

    Attributes:
        sure: the acknowledged state by id.
        maybe: other states that an artifact may have instead, by id; None: it may be gone.
        unnamed: filenames of artifacts that may exist under an unknown id, with their content. Those of one batch
            exist together.
        acknowledged: how many changes were.

    """

    sure: dict[str, State] = attrs.field(factory=dict)
    maybe: dict[str, list[State | None]] = attrs.field(factory=dict)
    unnamed: list[tuple[list[str], str, int]] = attrs.field(factory=list)
    intent: dict[str, Any] | None = None
    acknowledged: int = 0

    def read(self, line: dict[str, Any]) -> None:
        """Take in a line of the log."""
        if "op" in line:
            self.intent = line
            return
        intent, self.intent = self.intent, None
        assert intent is not None
        assert intent["number"] == line["number"]
        assert line.get("error") != "wrong", line
        assert line.get("done") != "wrong", line
        if intent["op"] == "read":
            return
        if "error" in line:
            if line["error"] == UNKNOWN or intent["op"] == "drop":  # the record goes first, then bytes may fail
                self.is_open(intent)
            return
        self.acknowledged += 1
        if intent["op"] == "store":
            for artifact_id in line["ids"]:
                self.sure[artifact_id] = State(*intent["data"])
        else:
            after = self.after(intent)
            self.maybe.pop(intent["id"], None)
            self.sure.pop(intent["id"])
            if after is not None:
                self.sure[intent["id"]] = after

    def after(self, intent: dict[str, Any]) -> State | None:
        """Return the state of an artifact after a change."""
        if intent["op"] == "drop":
            return None
        before = self.sure[intent["id"]]
        if intent["op"] == "update":
            return State(*intent["data"], before.note)
        return attrs.evolve(before, note=intent["number"])

    def is_open(self, intent: dict[str, Any]) -> None:
        """Note a change that may have been made."""
        if intent["op"] == "read":
            return
        if intent["op"] == "store":
            self.unnamed.append((intent["filenames"], *intent["data"]))
            return
        states = self.maybe.setdefault(intent["id"], [])
        for state in [self.sure[intent["id"]], *states]:
            if state is not None and intent["op"] == "note":
                states.append(attrs.evolve(state, note=intent["number"]))
            elif state is not None and intent["op"] == "update":
                states.append(State(*intent["data"], state.note))
        if intent["op"] == "drop":
            states.append(None)


def sessions_of(logs: Iterable[Path]) -> dict[str, Session]:
    """Return what logs promise, by session."""
    sessions: dict[str, Session] = {}
    for log in logs:
        for text in log.read_text().splitlines():
            line = json.loads(text)
            sessions.setdefault(line["who"], Session()).read(line)
    for session in sessions.values():
        if session.intent is not None:
            session.is_open(session.intent)
    return sessions


def check(store: ArtifactStore, sessions: dict[str, Session]) -> int:
    """Check that a store keeps what logs promise; return how many changes were acknowledged."""
    for name, session in sessions.items():
        check_session(store, name, session)
    sweep(store)
    for name, session in sessions.items():
        check_session(store, name, session)
        check_usage(store, name)
    return sum(session.acknowledged for session in sessions.values())


def check_session(store: ArtifactStore, name: str, session: Session) -> None:
    """Check the artifacts of one session."""
    found = {one.artifact_id: one for one in store.list_by_session(name)}
    seen = {}
    for artifact_id, one in found.items():
        data = store.retrieve(artifact_id)
        seen[artifact_id] = State(data.decode()[:200], len(data), one.meta.get("note"))
    for artifact_id, state in session.sure.items():
        allowed = [state, *session.maybe.get(artifact_id, [])]
        assert seen.pop(artifact_id, None) in allowed, (name, artifact_id, found.get(artifact_id), allowed)
    for names, data, length in session.unnamed:
        others = {found[one].filename for one in seen if found[one].filename in names}
        assert others in (set(), {*names}), ("a batch is there in part", name, names, others)
        for one in [one for one in seen if found[one].filename in names]:
            assert seen.pop(one) == State(data, length), (name, found[one])
    assert not seen, ("nothing stored these", name, seen)


def check_usage(store: ArtifactStore, name: str) -> None:
    """Compare the counters of a session with its records."""
    catalog = store.scope.core.catalog
    records = catalog.page(name, prefix="", after=None, limit=1_000_000, now=0)
    usage = store.usage(name)
    assert (usage.artifacts, usage.bytes) == (len(records), sum(record.occupied for record in records)), name


def sweep(store: ArtifactStore) -> None:
    """Let a day pass for the files of a store, sweep orphans, and check that exactly what records point to is left."""
    core = store.scope.core
    local = core.settings.storage_provider == "filesystem"
    root = Path(core.settings.fs_root if local else "/nowhere") / "grid"
    for path in root.rglob("*"):
        if path.is_file():
            moment = path.stat().st_mtime - OLD_SECONDS
            os.utime(path, (moment, moment))
    if local:
        store.cleanup(orphans=True, force=True)
    stored = {one.key for one in core.storage.list_objects(store.get_session_prefix_pattern())}
    ids = [key.rpartition("/")[2].partition("~")[0] for key in stored]
    listed = [one for info in store.iter_sessions() for one in store.list_by_session(info.session_id)]
    wanted = {*ids, *(one.artifact_id for one in listed)}
    records = [one for one in core.catalog.get([*wanted]) if one is not None] if wanted else []
    used = {key for record in records for key in record.all_bytes}
    assert stored == used if local else used <= stored  # elsewhere orphans can't be made a day old
    assert not list(root.rglob("*.tmp"))
