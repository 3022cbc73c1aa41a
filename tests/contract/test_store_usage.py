"""What the usage of a session and of a sandbox says, on every store."""

from __future__ import annotations

import pytest

from chuk_artifacts import AccessDeniedError, InvalidInputError, Usage

SESSION = "user_alice"


def usage(store, session_id=SESSION):
    """Return artifacts and bytes of a session."""
    return tuple(store.usage(session_id).values())


def test_usage_of_a_session(store):
    """Stored artifacts count with their bytes, until they are deleted."""
    assert store.usage(SESSION) == Usage(artifacts=0, bytes=0)
    first = store.store(b"12345", session_id=SESSION)
    store.store_batch([{"data": b"1"}, {"data": iter([b"12", b"3"])}], session_id=SESSION)
    store.store(b"", session_id="user_bob")
    assert usage(store) == (3, 9)
    assert usage(store, "user_bob") == (1, 0)
    assert usage(store, None) == (4, 9)
    store.copy_file(first)
    assert usage(store) == (4, 14)
    store.delete(first)
    assert usage(store) == (3, 9)
    store.delete_session(SESSION)
    assert usage(store) == (0, 0)
    assert usage(store, None) == (1, 0)


def test_usage_of_changed_content(store, clock):
    """An earlier content that stays for an hour counts nothing; one that is kept counts until it is dropped."""
    one = store.store(b"12345", session_id=SESSION)
    store.update_file(one, data=b"123")
    store.update_metadata(one, summary="x")
    assert usage(store) == (1, 3)
    store.update_file(one, data=b"1234567", keep_versions=1)
    store.move_file(one, new_filename="name")
    assert usage(store) == (1, 10)
    clock.advance(3601)
    store.cleanup()
    assert usage(store) == (1, 10)
    store.update_file(one, data=b"1")
    assert usage(store) == (1, 8)
    store.update_file(one, keep_versions=0)
    assert usage(store) == usage(store, None) == (1, 1)


def test_usage_of_what_expires(store, clock):
    """An expired artifact counts until cleanup has removed its bytes."""
    store.store(b"12345", session_id=SESSION, ttl=60)
    store.store(b"123", session_id=SESSION)
    clock.advance(61)
    assert usage(store) == (2, 8)
    store.cleanup()
    assert usage(store) == usage(store, None) == (1, 3)
    clock.advance(30 * 86400)
    store.cleanup()
    store.cleanup()
    assert usage(store) == usage(store, None) == (0, 0)


def test_usage_of_a_failed_store(store):
    """Data that fails while it is read counts nothing."""

    def broken():
        yield b"12345"
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        store.store(broken(), session_id=SESSION)
    assert usage(store) == usage(store, None) == (0, 0)


def test_usage_of_a_bound_store(store):
    """A bound store returns the usage of its own session, and of no other."""
    store.store(b"12345", session_id=SESSION)
    store.store(b"123", session_id="user_bob")
    assert dict(store.session(SESSION).usage()) == {"artifacts": 1, "bytes": 5}
    with pytest.raises(AccessDeniedError):
        store.session(SESSION).usage("user_bob")


@pytest.mark.same_everywhere
def test_usage_of_a_bad_session(store):
    """A malformed session id is refused."""
    for session_id in ("", "a/b", "..", 5, "\0"):
        with pytest.raises(InvalidInputError):
            store.usage(session_id)
