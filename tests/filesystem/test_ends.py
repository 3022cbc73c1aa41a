"""How a file that is written ends: half a file is never committed, and a whole one never discarded."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import io
import threading
import weakref

import fsspec
import pytest

PATH = "alice/a"


class BodyError(Exception):
    """What goes wrong in a with block."""


def by_url(fs, mode="wb", path=PATH, **options):
    """Return what opens a file by its URL, as fsspec does."""
    return fsspec.open(f"artifact://{path}", mode, store=fs.store, **options)


class Owner:
    """Opens a file, and closes it at the end of its own with block, without a word of how that ended."""

    def __init__(self, file):
        self.file = file

    def __enter__(self):
        return self.file

    def __exit__(self, *_told):
        self.file.close()


class StackOwner:
    """The same, through a stack of context managers that sees no error."""

    def __init__(self, file):
        self._stack = contextlib.ExitStack()
        self.file = self._stack.enter_context(file)

    def __enter__(self):
        return self.file

    def __exit__(self, *_told):
        self.close()

    def close(self):
        """Close what is open."""
        self._stack.close()


class KeywordOwner(Owner):
    """The same, with a method whose arguments have names and a wrapper around it."""

    def __exit__(self, kind=None, error=None, traceback=None):
        with contextlib.suppress(ZeroDivisionError):
            self.file.close()


@contextlib.contextmanager
def generator_owner(owner):
    """Close in a generator."""
    try:
        yield owner.file
    finally:
        owner.close()


@contextlib.contextmanager
def with_callback(file):
    """Close by a callback on a stack."""
    with contextlib.ExitStack() as stack:
        stack.callback(file.close)
        yield file


def renamed_exit(file):
    """Close in an exit method of another name."""

    def leave(self, *_told):
        self.file.close()

    return type("Renamed", (Owner,), {"__exit__": leave})(file)


HALVES = {
    "own": lambda fs: fs.open(PATH, "wb"),
    "own text": lambda fs: fs.open(PATH, "w"),
    "own compressed": lambda fs: fs.open(PATH, "wb", compression="gzip"),
    "url": by_url,
    "url text": lambda fs: by_url(fs, "w"),
    "url compressed text": lambda fs: by_url(fs, "w", compression="gzip"),
    "url without context": lambda fs: by_url(fs).open(),
    "url without context, text": lambda fs: by_url(fs, "w").open(),
    "text layer of io": lambda fs: io.TextIOWrapper(fs.open(PATH, "wb")),
    "buffer of io": lambda fs: io.BufferedWriter(fs.open(PATH, "wb")),
    "closing": lambda fs: contextlib.closing(fs.open(PATH, "wb")),
    "owner": lambda fs: Owner(fs.open(PATH, "wb")),
    "owner of text": lambda fs: Owner(fs.open(PATH, "w")),
    "owner with a layer of io": lambda fs: Owner(io.TextIOWrapper(fs.open(PATH, "wb"))),
    "owner with a stack": lambda fs: StackOwner(by_url(fs)),
    "owner with a stack, own": lambda fs: StackOwner(fs.open(PATH, "wb")),
    "owner with a stack, text": lambda fs: StackOwner(fs.open(PATH, "w")),
    "owner with keywords": lambda fs: KeywordOwner(fs.open(PATH, "wb")),
    "generator": lambda fs: generator_owner(StackOwner(by_url(fs))),
    "callback": lambda fs: with_callback(fs.open(PATH, "wb")),
    "exit of another name": lambda fs: renamed_exit(fs.open(PATH, "wb")),
}


def write(file, text):
    """Write a text to a binary file or a text file."""
    with contextlib.suppress(TypeError):
        file.write(text)
        return
    file.write(text.encode())


@pytest.mark.parametrize("error", [BodyError, KeyboardInterrupt, GeneratorExit])
@pytest.mark.parametrize("way", HALVES)
def test_half_a_file_is_discarded(fs, way, error):
    """When the block of whatever opened a file raises, nothing of it is seen, and the error is the block's own."""
    with pytest.raises(error), HALVES[way](fs) as file:
        write(file, "half")
        raise error
    assert not fs.exists(PATH)


@pytest.mark.parametrize("way", HALVES)
def test_whole_file_is_committed(fs, way):
    """When the block ends, the file is there, also where the block runs in an exit that got an error."""
    with HALVES[way](fs) as file:
        write(file, "whole")
    assert fs.info(PATH)["revision"] == 1

    class Reporter(contextlib.ExitStack):
        def __exit__(self, *_told):
            with HALVES[way](fs) as file:
                write(file, "whole")

    with pytest.raises(BodyError), Reporter():
        raise BodyError
    assert fs.info(PATH)["revision"] == 2


def test_nested_blocks_end_each_by_itself(fs):
    """Of two blocks, one within the other, the inner one may fail and the outer one go on."""
    with by_url(fs, path="alice/outer") as outer:
        outer.write(b"x")
        with contextlib.suppress(BodyError), by_url(fs, path="alice/inner") as inner:
            inner.write(b"half")
            raise BodyError
        outer.write(b"y")
    assert fs.cat(fs.find("alice")) == {"alice/outer": b"xy"}
    with pytest.raises(BodyError), by_url(fs, path="alice/1") as first, by_url(fs, path="alice/2") as second:
        first.write(b"half")
        second.write(b"half")
        raise BodyError
    assert fs.find("alice") == ["alice/outer"]


def test_stack_that_meets_an_error_discards(fs):
    """On a stack that ends because of an error all files are discarded, below a manager that took it too."""
    with contextlib.ExitStack() as stack:
        stack.callback(fs.open("alice/below", "wb").close)
        stack.enter_context(contextlib.suppress(BodyError))
        stack.callback(fs.open("alice/above", "wb").close)
        raise BodyError
    assert fs.find("alice") == []


def test_written_while_an_error_is_handled(fs):
    """What is opened in an except clause is stored; of what was opened before, only what is committed there."""
    closed, committed = fs.open("alice/closed", "wb"), fs.open("alice/committed", "wb")
    closed.write(b"x")
    committed.write(b"x")
    try:
        {}["missing"]
    except KeyError:
        closed.close()
        committed.commit()
        with by_url(fs, path="alice/within") as file:
            file.write(b"x")
        late = fs.open("alice/late", "wb")
    late.write(b"x")
    late.close()
    assert fs.find("alice") == ["alice/committed", "alice/late", "alice/within"]


def test_closed_in_a_finally_clause(fs):
    """A file that a finally clause closes is stored, and discarded when an error is on its way through."""
    for error in (None, BodyError):
        with contextlib.suppress(BodyError):
            file = fs.open(f"alice/{error}", "wb")
            try:
                file.write(b"x")
                if error:
                    raise error
            finally:
                file.close()
    assert fs.find("alice") == ["alice/None"]


class Reporter:
    """Calls a function when it gets an error, and suppresses the error."""

    def __init__(self, report, file=None):
        self._report = report
        self._file = file

    def __enter__(self):
        return self

    def __exit__(self, kind, error, traceback):
        self._report(self._file)
        return True


def write_in_a_block_of_its_own(_, fs):
    """Write a report in a with block."""
    with by_url(fs, "w") as file:
        file.write("whole")


def write_without_a_block(_, fs):
    """Write a report without a with block."""
    file = fs.open(PATH, "w")
    file.write("whole")
    file.close()


def write_after_another_error(_, fs):
    """Open a report while an error is handled that came up on the way, and close it afterwards."""
    try:
        {}["missing"]
    except KeyError:
        file = fs.open(PATH, "w")
    file.write("whole")
    file.close()


def finish_in_a_block(file, _):
    """Finish what was opened before the error, in a block of its own."""
    with file:
        write(file, "whole")


def finish_by_commit(file, _):
    """Finish what was opened before the error, by the word for it."""
    write(file, "whole")
    file.commit()


REPORTS = {
    "in a block": (write_in_a_block_of_its_own, lambda _: None),
    "without a block": (write_without_a_block, lambda _: None),
    "after another error": (write_after_another_error, lambda _: None),
    "finished in a block": (finish_in_a_block, lambda fs: fs.open(PATH, "wb")),
    "finished in a block, text": (finish_in_a_block, lambda fs: fs.open(PATH, "w")),
    "finished in a block, compressed": (finish_in_a_block, lambda fs: fs.open(PATH, "wb", compression="gzip")),
    "finished in a block, compressed text": (finish_in_a_block, lambda fs: fs.open(PATH, "w", compression="gzip")),
    "finished by commit": (finish_by_commit, lambda fs: fs.open(PATH, "wb")),
}


@pytest.mark.parametrize("way", REPORTS)
def test_written_in_the_exit_of_a_context_manager(fs, way):
    """A report that a context manager writes about an error it got is stored."""
    report, opened = REPORTS[way]
    with Reporter(lambda file: report(file, fs), opened(fs)):
        raise BodyError
    with fs.open(PATH, "rb", compression="gzip" if "compressed" in way else None) as file:
        assert file.read() == b"whole"


def test_exit_that_meets_another_error(fs):
    """What is opened while an error is handled is discarded when it is closed while another one is."""

    class Guard:
        def leave(self, *_told):
            file = fs.open(PATH, "wb")
            file.write(b"whole")
            try:
                {}["missing"]
            except KeyError:
                file.close()
            return True

        __exit__ = leave

        def __enter__(self):
            return self

    with Guard():
        raise BodyError
    assert not fs.exists(PATH)


def test_abandoned_generator_discards(fs):
    """A generator that is given up in the middle of its block leaves no file behind; one that ends does."""

    def generate(path):
        with by_url(fs, path=path) as file:
            for number in range(3):
                file.write(bytes([number]))
                yield number

    abandoned = generate("alice/abandoned")
    next(abandoned)
    abandoned.close()
    assert list(generate("alice/ended")) == [0, 1, 2]
    assert fs.find("alice") == ["alice/ended"]


@pytest.mark.parametrize("way", ["own", "own text"])
def test_closed_by_another_thread(fs, way):
    """A thread that closes a file while another leaves a block commits it, unless it gets an error."""

    def in_thread(call, *args):
        thread = threading.Thread(target=call, args=args)
        thread.start()
        thread.join()

    healthy = fs.open("alice/healthy", "wb")
    with Reporter(lambda _: in_thread(healthy.close)):
        raise BodyError
    manager = HALVES[way](fs)
    write(manager.__enter__(), "half")
    in_thread(manager.__exit__, BodyError, BodyError(), None)
    assert fs.find("alice") == ["alice/healthy"]


def test_asynchronous_block_that_raises_discards(fs):
    """A file that an asynchronous context manager closes is discarded when its block raises."""

    class AsyncOwner:
        async def __aenter__(self):
            self.file = fs.open("alice/class", "wb")
            return self.file

        async def __aexit__(self, *_told):
            await self.aclose()

        async def aclose(self):
            await asyncio.sleep(0)
            self.file.close()

    @contextlib.asynccontextmanager
    async def owner():
        file = fs.open("alice/generator", "wb")
        try:
            yield file
        finally:
            await asyncio.sleep(0)
            file.close()

    async def leave_both():
        for manager in (AsyncOwner, owner):
            with contextlib.suppress(BodyError):
                async with manager() as file:
                    file.write(b"half")
                    raise BodyError
            async with manager() as file:
                file.write(b"whole")

    asyncio.run(leave_both())
    assert fs.cat(fs.find("alice")) == {"alice/class": b"whole", "alice/generator": b"whole"}
    assert {info["revision"] for info in fs.ls("alice")} == {1}


def test_task_that_ends_while_its_loop_is_left(fs):
    """A task that commits its file while the loop is shut down, because of another's error, has written it."""

    async def work():
        file = fs.open(PATH, "wb")
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(3600)
        file.write(b"whole")
        file.commit()

    async def fail():
        task = asyncio.ensure_future(work())
        await asyncio.sleep(0)
        assert not task.done()
        raise BodyError

    with pytest.raises(BodyError):
        asyncio.run(fail())
    assert fs.cat_file(PATH) == b"whole"


LAYERS = {
    "binary": lambda fs: fs.open(PATH, "wb"),
    "text": lambda fs: fs.open(PATH, "w"),
    "compressed": lambda fs: fs.open(PATH, "wb", compression="gzip"),
    "compressed text": lambda fs: fs.open(PATH, "w", compression="gzip"),
    "url text": lambda fs: by_url(fs, "w").open(),
    "text layer of io": lambda fs: io.TextIOWrapper(fs.open(PATH, "wb")),
    "buffer of io": lambda fs: io.BufferedWriter(fs.open(PATH, "wb")),
}


class Spool(io.BytesIO):
    """A place for what is written, that may be full."""

    is_full = False

    def write(self, data):
        """Write, or fail."""
        if self.is_full:
            raise OSError(28, "No space left on device")
        return super().write(data)


@pytest.mark.parametrize("layer", LAYERS)
def test_failed_write_discards(fs, layer, monkeypatch):
    """A file is not committed when a part of it could not be written, in any thread and at any time."""
    spool = Spool()
    monkeypatch.setattr("chuk_artifacts.filesystem.files.tempfile.SpooledTemporaryFile", lambda _: spool)
    file = LAYERS[layer](fs)
    write(file, "whole")
    spool.is_full = True
    with pytest.raises(OSError, match="No space"):
        write(file, "more")
        file.close()
    spool.is_full = False
    file.close()
    assert not fs.exists(PATH)


def test_write_of_what_is_no_bytes(fs):
    """Who tries to write what is no bytes has written nothing, and may go on."""
    with fs.open(PATH, "wb") as file:
        with pytest.raises(TypeError):
            file.write("text")
        file.write(b"whole")
    assert fs.cat_file(PATH) == b"whole"


def test_closed_file_lets_go_of_errors(fs):
    """A file that was opened while an error was handled does not keep what the error refers to once it is closed."""

    class Kept:
        pass

    files, kept = [], []

    def report(_):
        for mode in ("wb", "w"):
            files.append(fs.open(f"{PATH}{mode}", mode))
            files[-1].close()
        files.append(fs.open("alice/discarded", "wb"))
        files[-1].discard()

    def fail():
        here = Kept()
        kept.append(weakref.ref(here))
        raise BodyError

    with Reporter(report):
        fail()
    gc.collect()
    assert kept[0]() is None
    assert all(file.closed for file in files)
