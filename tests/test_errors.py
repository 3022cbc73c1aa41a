"""The exceptions, and the mapping of a driver's errors to them."""

from __future__ import annotations

import sqlite3
import threading

import pytest

import chuk_artifacts
from chuk_artifacts import ArtifactStoreError, ProviderError, SessionError
from chuk_artifacts.errors import ErrorMap

TREE = {
    "ArtifactStoreError": Exception,
    "ArtifactNotFoundError": ArtifactStoreError,
    "ArtifactExpiredError": chuk_artifacts.ArtifactNotFoundError,
    "ArtifactCorruptedError": ArtifactStoreError,
    "AccessDeniedError": ArtifactStoreError,
    "InvalidInputError": ArtifactStoreError,
    "GridError": chuk_artifacts.InvalidInputError,
    "QuotaExceededError": chuk_artifacts.InvalidInputError,
    "ConflictError": ArtifactStoreError,
    "ProviderError": ArtifactStoreError,
    "SessionError": ArtifactStoreError,
    "OutcomeUnknownError": SessionError,
}
ALSO = {
    "ArtifactNotFoundError": FileNotFoundError,
    "ArtifactExpiredError": FileNotFoundError,
    "AccessDeniedError": PermissionError,
    "InvalidInputError": ValueError,
    "GridError": ValueError,
    "QuotaExceededError": ValueError,
}

errors = ErrorMap((OSError,), ProviderError, "storage 'x'", passing=(FileNotFoundError,))


@pytest.mark.parametrize(("name", "parent"), TREE.items())
def test_tree(name, parent):
    """Each error has the documented base class."""
    assert getattr(chuk_artifacts, name).__bases__[0] is parent


def test_tree_is_complete():
    """The documented tree contains exactly the public errors."""
    public = {name for name in chuk_artifacts.__all__ if name.endswith("Error")}
    assert public == set(TREE)


@pytest.mark.parametrize("name", TREE)
def test_builtin_relatives(name):
    """Handlers of Python's own errors catch not-found, denied and invalid input, and nothing else."""
    kind = getattr(chuk_artifacts, name)
    for builtin in (FileNotFoundError, PermissionError, ValueError):
        assert issubclass(kind, builtin) == (ALSO.get(name) is builtin)


@pytest.mark.parametrize("name", TREE)
def test_message(name):
    """``str`` of an error is its message."""
    assert str(getattr(chuk_artifacts, name)("what happened")) == "what happened"


def test_mapped_and_chained():
    """A driver's error is raised as ours, with the driver's message and with that error as its cause."""
    with pytest.raises(ProviderError, match=r"^storage 'x': disk on fire$") as caught, errors:
        raise OSError(5, "disk on fire", "/secret/path")
    assert isinstance(caught.value.__cause__, OSError)


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (OSError("words"), "storage 'x': words"),
        (OSError(), "storage 'x': OSError"),
        (TimeoutError(), "storage 'x': TimeoutError"),
        (ConnectionResetError(104, "reset"), "storage 'x': reset"),
    ],
)
def test_message_of_a_driver(error, message):
    """The message is never empty: a driver's error without a message is replaced by its class name."""
    with pytest.raises(ProviderError) as caught, errors:
        raise error
    assert str(caught.value) == message


@pytest.mark.parametrize(
    "error",
    [
        FileNotFoundError(2, "missing"),
        chuk_artifacts.ArtifactNotFoundError("ours"),
        SessionError("ours"),
        KeyError("a bug"),
        KeyboardInterrupt(),
        sqlite3.OperationalError("of another driver"),
    ],
    ids=repr,
)
def test_errors_that_pass(error):
    """Errors listed as passing, our own errors, and errors of no driver pass unchanged."""
    with pytest.raises(type(error)) as caught, errors:
        raise error
    assert caught.value is error


def test_nothing_raised():
    """Without an error, nothing is raised."""
    with errors:
        pass


def test_nested():
    """An error is mapped once, by the innermost map."""
    outer = ErrorMap((Exception,), SessionError, "outer")
    with pytest.raises(ProviderError), outer, errors:
        raise OSError("words")


def test_one_map_for_all_threads():
    """Many threads can use one map at once."""
    caught = []

    def use(number):
        try:
            with errors:
                barrier.wait()
                raise OSError(str(number))
        except ProviderError as error:
            caught.append(str(error))

    barrier = threading.Barrier(4)
    threads = [threading.Thread(target=use, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(caught) == [f"storage 'x': {number}" for number in range(4)]
