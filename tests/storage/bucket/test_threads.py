"""Threads that carry calls: each call is made once or never, and nothing waits for a thread that can't start."""

from __future__ import annotations

import concurrent.futures
import contextlib
import contextvars
import os
import threading

import child
import pytest
from interrupts import Interrupt, TimeLimit, interrupted

from chuk_artifacts import ProviderError
from chuk_artifacts.threads import Call, Threads

PATIENCE = 30  # seconds after which a test takes what it waits for for hanging

OUT_OF_THREADS = "can't start new thread"  # what CPython says when a limit is reached


@pytest.fixture
def threads():
    """Return two threads."""
    threads = Threads(2, "test")
    yield threads
    threads.close()


@pytest.fixture
def no_new_threads(monkeypatch):
    """Return a context manager in which no thread can start."""

    @contextlib.contextmanager
    def limit(reason=OUT_OF_THREADS):
        def refuse(_):
            raise RuntimeError(reason)

        with monkeypatch.context() as patch:
            patch.setattr(threading.Thread, "start", refuse)
            yield

    return limit


def test_results_and_errors(threads):
    """A call gives what the function returns, and raises what it raises."""
    assert threads.submit(divmod, 7, 2).result() == (3, 1)
    assert isinstance(threads.submit(divmod, 7, 0).exception(), ZeroDivisionError)


def test_context_variables(threads):
    """A call sees the context variables of its caller, and what it sets stays with it."""
    span = contextvars.ContextVar("span", default="none")

    def look(_=None):
        seen = span.get()
        span.set("of the call")
        return seen

    for value in ("one", "two"):
        span.set(value)
        assert threads.submit(look).result() == value
        assert threads.each(look, range(3)) == [value] * 3
    assert span.get() == "two"


def test_cancelled_call_is_never_made():
    """A cancelled call is not made later, and a thread that waits for it goes on."""
    made = []
    call = Call(made.append, 1)
    assert call.cancel()
    assert call.cancel()
    call.run()
    assert made == []
    assert concurrent.futures.wait([call], timeout=PATIENCE).not_done == set()


def test_call_is_made_once():
    """A call that was made is neither made again nor cancelled."""
    made = []
    call = Call(made.append, 1)
    call.run()
    call.run()
    assert not call.cancel()
    assert made == [1]


def test_each_ends_all_calls_first(threads):
    """Of calls side by side the first error in the order of the values is raised, when all have ended."""
    ended = []

    def run(value):
        ended.append(value)
        if value in {3, 5}:
            raise KeyError(value)
        return -value

    assert threads.each(run, [0, 1, 2]) == [0, -1, -2]
    ended.clear()
    with pytest.raises(KeyError, match="3"):
        threads.each(run, range(8))
    assert sorted(ended) == list(range(8))


def test_no_thread_can_start(threads, no_new_threads):
    """A thread that can't start is an error, and the call is not made when one can start again."""
    made = []
    for _ in range(20):
        with no_new_threads(), pytest.raises(ProviderError, match=OUT_OF_THREADS):
            threads.submit(made.append, "early")
    assert threads.submit(made.append, "late").result() is None
    threads.close()
    assert made == ["late"]


def test_each_without_another_thread(threads, no_new_threads):
    """Calls that had begun when a thread could not start have ended when the error is raised; no other is made."""
    made, may_end = [], threading.Event()
    holding = threads.submit(may_end.wait, PATIENCE)

    def start_no_more(value):
        made.append(value)
        may_end.set()

    with no_new_threads(), pytest.raises(ProviderError):
        threads.each(start_no_more, range(10))
    may_end.set()
    assert holding.result()
    threads.close()
    assert made == []


def test_thread_that_runs_takes_the_call(threads, no_new_threads):
    """A call that a running thread takes up needs no other thread, though the executor wanted to start one."""
    busy, taken = threading.Event(), threading.Event()
    threads.submit(busy.wait, PATIENCE)

    def refuse(_):
        busy.set()
        assert taken.wait(PATIENCE)
        raise RuntimeError(OUT_OF_THREADS)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        call = threads.submit(lambda: taken.set() or "done")
        assert call.result() == "done"


@pytest.mark.parametrize("reason", ["can't create new thread at interpreter shutdown", "cannot schedule ... shutdown"])
def test_caller_makes_the_call_at_the_end(threads, no_new_threads, reason):
    """When the interpreter ends, the calling thread makes the call."""
    with no_new_threads(reason):
        assert threads.submit(threading.get_ident).result() == threading.get_ident()
        assert threads.each(abs, [-1, -2]) == [1, 2]


def test_closed(threads):
    """Closing waits for the calls under way; after it the calling thread makes each call."""
    made, begun = [], threading.Event()
    may_end = threading.Event()

    def slow(value):
        begun.set()
        may_end.wait(PATIENCE)
        made.append(value)

    for value in range(4):
        threads.submit(slow, value)
    assert begun.wait(PATIENCE)
    may_end.set()
    threads.close()
    assert sorted(made) == list(range(4))
    assert threads.submit(threading.get_ident).result() == threading.get_ident()
    threads.close()


def test_closed_before_use():
    """Threads that were closed before they were needed start none."""
    threads = Threads(2, "test")
    threads.close()
    assert threads.submit(threading.get_ident).result() == threading.get_ident()


def test_closed_by_one_of_them(threads):
    """A thread that closes, because it drops the last reference to a store, does not wait for itself."""
    assert threads.submit(threads.close).exception(PATIENCE) is None


def test_interrupt_of_the_caller_is_not_kept(threads):
    """An interrupt in a call that the calling thread makes reaches it at once."""

    def interrupt(value):
        made.append(value)
        raise KeyboardInterrupt

    made = []
    threads.close()
    with pytest.raises(KeyboardInterrupt):
        threads.each(interrupt, [1, 2])
    assert made == [1]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_forked_child_has_threads_of_its_own():
    """After ``forget`` a child of a fork starts threads anew, whatever the parent's were doing."""
    code = """
        import os, threading, warnings
        from chuk_artifacts.threads import Threads
        warnings.simplefilter("ignore")
        threads, may_end = Threads(1, "test"), threading.Event()
        busy = threads.submit(may_end.wait)
        child = os.fork()
        if not child:
            threads.forget()
            os._exit(0 if threads.submit(threading.get_ident).result(30) != threading.get_ident() else 1)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
        may_end.set()
    """
    assert child.run(code).split() == ["0"]


AT_THE_END = """
    import atexit, sys, threading
    from chuk_artifacts.settings import resolve
    from chuk_artifacts.source import source
    from chuk_artifacts.storage import open_storage

    MIB = 1024 * 1024
    storage = open_storage(resolve(now=0, storage_provider="s3", bucket="any", endpoint_url="http://127.0.0.1:1"))
    parts, removed = {}, []

    def call(operation, **order):
        if operation == "upload_part":
            parts[order["PartNumber"]] = order["Body"].read()
        if operation == "delete_object":
            removed.append(order["Key"])
        begin, end = map(int, order.get("Range", "bytes=0-0").removeprefix("bytes=").split("-"))
        part = {"Body": bytes(end - begin + 1), "ContentRange": f"bytes {begin}-{end}/{40 * MIB}"}
        return {"UploadId": "1", "ETag": "e", **part}

    storage._client.call = call
    storage._many_deletes = False

    def work():
        data = b"".join(bytes([number]) * MIB for number in range(100))
        storage.put("key", source(iter([data])))
        storage.delete(["a", "b", "c"])
        with storage.open("key", 40 * MIB) as reader:
            length = len(reader.read())
        whole = b"".join(parts[number] for number in sorted(parts)) == data
        print(whole, len(parts), sorted(removed), length == 40 * MIB, flush=True)

    def after_the_main_thread():
        threading.main_thread().join()
        work()

    if "used" in sys.argv:
        storage._threads.each(abs, range(3))
    if "atexit" in sys.argv:
        atexit.register(work)
    else:
        threading.Thread(target=after_the_main_thread).start()
"""


@pytest.mark.parametrize("before", ["used", "unused"])
@pytest.mark.parametrize("moment", ["atexit", "thread"])
def test_used_while_the_interpreter_ends(moment, before):
    """Uploads, single deletes and reads work at exit and in threads that outlive the main one."""
    assert child.run(AT_THE_END, moment, before).strip() == "True 13 ['a', 'b', 'c'] True"


@pytest.mark.parametrize("closed", [False, True])
@pytest.mark.parametrize("kind", [Interrupt, TimeLimit])
def test_interrupted_anywhere(threads, closed, kind):
    """Wherever calls side by side are interrupted, all that began have ended, and the next ones are made."""
    if closed:
        threads.close()
    began, ended = [], []

    def run(value):
        began.append(value)
        ended.append(value)

    for place in interrupted(lambda: threads.each(run, range(5)), kind=kind):
        assert began == ended, place
        began.clear()
        ended.clear()
        assert threads.each(abs, range(5)) == list(range(5)), place
        assert began == [], place
