"""Concurrent clients on one artifact and one filename: some sequence of their calls explains all answers."""

from __future__ import annotations

import contextlib
import random

import attrs
import pytest

from chuk_artifacts import ArtifactStore, ConflictError
from proof.histories import Call, is_linearizable, record
from proof.test_crashes import options_of

CLIENTS, CALLS = 6, 8
ROUNDS = {"memory": 4, "sqlite": 2, "redis": 2, "postgres": 2}


@pytest.fixture(params=ROUNDS)
def stores(request, tmp_path):
    """Return two stores on one place, or in memory one store twice."""
    if request.param == "memory":
        with ArtifactStore() as store:
            yield request.param, [store, store]
        return
    options = options_of(request.param, request, tmp_path / "root")
    with ArtifactStore(**options) as one, ArtifactStore(**options) as other:
        yield request.param, [one, other]


def register(state, operation, arguments):
    """Step of an artifact: its revision and its content, changed by compare-and-set or without."""
    revision, value = state
    if operation == "read":
        return state, state
    if operation == "get":
        return state, value
    if operation == "set":
        return (revision + 1, arguments[0]), revision + 1
    expected, new = arguments
    return ((revision + 1, new), revision + 1) if expected == revision else (state, "conflict")


def test_one_artifact(stores, effort):
    """Reads, writes and compare-and-set writes of one artifact by many clients are linearizable."""
    name, both = stores
    for number in effort.rounds(ROUNDS[name]):
        artifact_id = both[0].store(b"0", summary="0", session_id="alice")
        history = record(
            [client_of(both[at % 2], artifact_id, random.Random(f"{number}-{at}"), at) for at in range(CLIENTS)]
        )
        assert len(history) == CLIENTS * CALLS
        assert is_linearizable(history, register, (1, "0")), (number, history)


def client_of(store, artifact_id, dice, who):
    """Return a client that reads and writes an artifact."""

    def read():
        found = store.metadata(artifact_id)
        return found.revision, found.summary

    def put(value):
        return store.update_file(artifact_id, data=value.encode(), summary=value).revision

    def compare_and_set(revision, value):
        try:
            return store.update_file(artifact_id, data=value.encode(), summary=value, if_revision=revision).revision
        except ConflictError:
            return "conflict"

    def run(called):
        revision = 1
        for number in range(CALLS):
            act = dice.choice(("read", "get", "set", "cas", "cas"))
            if act == "read":
                revision, _ = called(read, act)
            elif act == "get":
                called(lambda: store.retrieve(artifact_id).decode(), act)
            elif act == "set":
                revision = called(put, act, f"{who}-{number}")
            else:
                answer = called(compare_and_set, act, revision, f"{who}-{number}")
                revision = revision + 1 if answer == "conflict" else answer

    return run


def lock(state, operation, arguments):
    """Step of a filename that is stored exclusively: which client's artifact has it."""
    if operation == "look":
        return state, state
    if operation == "take":
        return (arguments[0], True) if state is None else (state, False)
    return (None, True) if state == arguments[0] else (state, False)


def test_one_filename(stores, effort):
    """Of many clients that store one filename exclusively, delete it and look it up, each sees one sequence."""
    name, both = stores
    for number in effort.rounds(ROUNDS[name]):
        session = f"session-{number}"
        clients = [locker(both[at % 2].session(session), random.Random(f"{number}-{at}"), at) for at in range(CLIENTS)]
        history = record(clients)
        assert is_linearizable(history, lock, None), (number, history)


def locker(store, dice, who):
    """Return a client that takes and releases a filename."""
    ids = {}

    def take(name):
        with contextlib.suppress(ConflictError):
            ids[name] = store.store(b"x", filename="lock", summary=name, exclusive=True)
        return name in ids

    def look():
        found = store.lookup("lock")
        return None if found is None else found.summary

    def run(called):
        for number in range(CALLS):
            act = dice.choice(("take", "take", "look", "drop"))
            if act == "take":
                called(take, act, f"{who}-{number}")
            elif act == "look":
                called(look, act)
            elif ids:
                called(lambda name: store.delete(ids[name]), act, next(reversed(ids)))

    return run


def test_bad_histories_are_rejected():
    """The checker finds a lost write, a stale read and a compare-and-set that succeeds twice."""
    sound = [Call(0, 1, "set", ("a",), 2), Call(2, 3, "read", (), (2, "a")), Call(2, 5, "cas", (2, "b"), 3)]
    assert is_linearizable(sound, register, (1, "0"))
    assert is_linearizable([*sound, Call(4, 6, "read", (), (2, "a"))], register, (1, "0"))  # the last two overlap
    for bad in (
        [*sound, Call(6, 7, "read", (), (2, "a"))],
        [*sound, Call(2, 5, "cas", (2, "c"), 3)],
        [*sound, Call(6, 7, "set", ("d",), 3)],
        [attrs.evolve(call, answer=(1, "0")) if call.operation == "read" else call for call in sound],
    ):
        assert not is_linearizable(bad, register, (1, "0"))
    taken = [Call(0, 1, "take", ("a",), True), Call(2, 3, "take", ("b",), True)]
    assert not is_linearizable(taken, lock, None)
