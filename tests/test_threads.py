"""Calls in threads know whether their result is still waited for."""

from __future__ import annotations

import threading

import pytest

from chuk_artifacts.threads import Call, Threads, give_up, hurried_by_interrupt, is_given_up


def running(threads, function):
    """Return a call that has begun, and what lets *function* be called in it."""
    begun, may_go = threading.Event(), threading.Event()

    def work():
        begun.set()
        may_go.wait(timeout=60)
        return function()

    call = Call(work)
    threads.start(call)
    begun.wait(timeout=60)
    return call, may_go


def fail(kind):
    """Raise an exception."""
    raise kind


@pytest.fixture
def threads():
    """Return some threads."""
    threads = Threads(4, "test")
    yield threads
    threads.close()


def test_call_that_is_waited_for(threads):
    """Neither the main thread nor a call that is waited for is given up."""
    call, may_go = running(threads, is_given_up)
    may_go.set()
    assert call.result() is False
    assert is_given_up() is False


def test_cancelled_call(threads):
    """A running call can't be cancelled, but learns that it is given up; withdrawing changes nothing for it."""
    for method, given_up in ((Call.cancel, True), (Call.withdraw, False)):
        call, may_go = running(threads, is_given_up)
        assert method(call) is False
        may_go.set()
        assert call.result() is given_up


def test_calls_within_a_call(threads):
    """A call learns that the one in which it was made is given up."""
    inner = Threads(1, "inner")
    outer, may_go = running(threads, lambda: inner.submit(is_given_up).result())
    outer.cancel()
    may_go.set()
    assert outer.result() is True
    assert inner.submit(is_given_up).result() is False
    inner.close()


@pytest.mark.parametrize(("kind", "given_up"), [(KeyboardInterrupt, True), (ValueError, False)])
def test_giving_up(threads, kind, given_up):
    """After an interrupt running calls learn that they are given up; after a failure they may go on as they are."""
    call, may_go = running(threads, is_given_up)
    threading.Timer(0.05, may_go.set).start()
    try:
        fail(kind)
    except kind:
        give_up([call])
    assert call.result() is given_up


@pytest.mark.parametrize(("kind", "given_up"), [(KeyboardInterrupt, True), (SystemExit, True), (OSError, False)])
def test_cleanup(threads, kind, given_up):
    """What cleans up after an interrupt is hurried, in other threads too, and nothing after it."""
    try:
        fail(kind)
    except kind:
        with hurried_by_interrupt():
            assert is_given_up() is given_up
            assert threads.submit(is_given_up).result() is given_up
        assert is_given_up() is False
    with hurried_by_interrupt():
        assert is_given_up() is False
