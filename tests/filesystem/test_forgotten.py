"""Files that are never closed are committed when they are collected, unless an error is in flight."""

from __future__ import annotations

import contextlib
import gc
import gzip
import json
import logging
import os
import subprocess
import sys
import threading
import zipfile
from pathlib import Path

import pytest

from chuk_artifacts import ArtifactStore, InvalidInputError, ProviderError
from chuk_artifacts.filesystem import ArtifactFileSystem, forgotten
from filesystem.conftest import STORES
from filesystem.test_ends import LAYERS, PATH, BodyError, Reporter, Spool, by_url, write

NEVER_CLOSED = pytest.mark.filterwarnings("ignore:.*never closed:ResourceWarning")
LONG = "line\n" * 10_000  # more than any layer holds back


@pytest.fixture(autouse=True, scope="module")
def _small_heap():
    """Let the garbage collector leave out what other tests have imported and kept."""
    gc.collect()
    gc.freeze()


def let_go(held):
    """Let go of what is held, whose references go with it."""
    held.clear()


def let_go_of_a_cycle(held):
    """Let go of what is held after it was made part of a cycle, and collect the cycle."""
    cycle = [*held]
    cycle.append(cycle)
    del cycle
    held.clear()
    gc.collect()


def let_go_of_an_attribute(held):
    """Let go of an object in a cycle that has the file as an attribute."""

    class Holder:
        pass

    holder = Holder()
    holder.file, holder.itself = held.pop(), holder
    del holder
    gc.collect()


@pytest.fixture
def options():
    """Return the arguments of a store in memory: another backend makes no difference here, see the test for that."""
    return {}


DROPS = [let_go, let_go_of_a_cycle, let_go_of_an_attribute]


def read(fs, layer):
    """Return the content of the file as a text, decompressed."""
    with fs.open(PATH, "rt", compression="gzip" if "compressed" in layer else None) as file:
        return file.read()


@pytest.mark.parametrize("text", ["short", LONG])
@pytest.mark.parametrize("drop", DROPS)
@pytest.mark.parametrize("layer", LAYERS)
def test_never_closed_is_committed(fs, layer, drop, text):
    """What was written to a file that is dropped is there, all of it, and a warning names the file."""
    held = [LAYERS[layer](fs)]
    write(held[0], text)
    with pytest.warns(ResourceWarning, match=f"'{PATH}'.* never closed: what was written is stored now"):
        drop(held)
    assert read(fs, layer) == text
    assert fs.info(PATH)["revision"] == 1


@pytest.mark.filterwarnings("ignore::ResourceWarning")  # of the store too
@pytest.mark.parametrize("kind", STORES)
@pytest.mark.parametrize("drop", DROPS)
def test_each_backend(request, clock, kind, drop):
    """What is dropped is stored, or a revision, on each kind of store, also when nothing else refers to the store."""
    options = STORES[kind](request)
    held = [ArtifactFileSystem(ArtifactStore(**options, clock=clock)).open(PATH, "w")]
    write(held[0], LONG)
    drop(held)
    if kind != "memory":
        with ArtifactStore(**options, clock=clock) as store:
            assert read(ArtifactFileSystem(store), "text") == LONG


def while_an_error_passes(drop, held):
    """Drop on the way out of a block that raised."""
    with contextlib.suppress(BodyError), Reporter(lambda _: drop(held)):
        raise BodyError


def while_an_error_is_handled(drop, held):
    """Drop in an except clause."""
    try:
        {}["missing"]
    except KeyError:
        drop(held)


@pytest.mark.parametrize("drop", DROPS)
@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize("beside", [while_an_error_passes, while_an_error_is_handled])
def test_never_closed_is_discarded_beside_an_error(fs, layer, drop, beside):
    """What is dropped while an error is in flight that is newer than the file is discarded."""
    held = [LAYERS[layer](fs)]
    write(held[0], "half")
    with pytest.warns(ResourceWarning, match="never closed: what was written is discarded"):
        beside(drop, held)
    gc.collect()
    assert not fs.exists(PATH)


@NEVER_CLOSED
@pytest.mark.parametrize("drop", DROPS)
@pytest.mark.parametrize("layer", LAYERS)
def test_report_of_an_error_is_committed(fs, layer, drop):
    """What is opened while an error is handled, and dropped while it, or the one before it, is, is committed."""
    try:
        {}["missing"]
    except KeyError:
        held = [LAYERS[layer](fs)]
        write(held[0], "first")
        drop(held)
        assert read(fs, layer) == "first"
        try:
            b""[1]
        except IndexError:
            held = [LAYERS[layer](fs)]
            write(held[0], "second")
        drop(held)
    assert read(fs, layer) == "second"


@NEVER_CLOSED
def test_report_in_a_variable_goes_with_its_function(fs):
    """A report that a function writes in an except clause is there when the function returns, without a collection."""

    def report():
        try:
            {}["missing"]
        except KeyError:
            file = fs.open(PATH, "w")
            file.write("whole")

    gc.disable()
    try:
        report()
        assert fs.cat_file(PATH) == b"whole"
    finally:
        gc.enable()


@NEVER_CLOSED
@pytest.mark.parametrize("how", ["fs", "url"])
def test_json_dump(fs, how):
    """The shortest way to write a JSON file works, as it does on the local disk."""
    for number in range(3):
        file = fs.open(PATH, "w") if how == "fs" else by_url(fs, "w").open()
        json.dump({"number": number}, file)
        del file
        assert json.loads(fs.cat_file(PATH)) == {"number": number}
    json.dump(4, fs.open(PATH, "w"))
    assert fs.cat_file(PATH) == b"4"
    assert fs.info(PATH)["revision"] == 4


@NEVER_CLOSED
@pytest.mark.parametrize("drop", DROPS)
def test_other_packages_layers(fs, drop):
    """What layers of other packages hold back when they are dropped is in the file."""
    held = [gzip.GzipFile(fileobj=fs.open("alice/a.gz", "wb"), mode="wb")]
    held[0].write(b"x" * 100)
    drop(held)
    gc.collect()  # it is a cycle of its own since Python 3.12
    assert gzip.decompress(fs.cat_file("alice/a.gz")) == b"x" * 100
    held = [zipfile.ZipFile(fs.open("alice/a.zip", "wb"), "w")]
    held[0].writestr("inner", b"x" * 100)
    drop(held)
    with fs.open("alice/a.zip") as file, zipfile.ZipFile(file) as archive:
        assert archive.read("inner") == b"x" * 100


@NEVER_CLOSED
@pytest.mark.parametrize("drop", DROPS)
@pytest.mark.parametrize("codec", ["gzip", "zip", "bz2", "xz"])
@pytest.mark.parametrize("mode", ["w", "wb"])
def test_each_compression(fs, codec, mode, drop):
    """A compressed file that is dropped is whole."""
    held = [fs.open(PATH, mode, compression=codec)]
    write(held[0], LONG)
    drop(held)
    with fs.open(PATH, "rt", compression=codec) as file:
        assert file.read() == LONG
    assert not forgotten._collected
    gc.collect()


@NEVER_CLOSED
@pytest.mark.parametrize("mode", ["ab", "a"])
def test_append(fs, mode):
    """What is appended and never closed is appended once."""
    fs.pipe_file(PATH, b"one")
    file = fs.open(PATH, mode)
    write(file, "two")
    del file
    assert fs.cat_file(PATH) == b"onetwo"


@NEVER_CLOSED
@pytest.mark.parametrize("mode", ["wb", "w", "xb", "ab"])
def test_blank_file_makes_one_and_replaces_none(fs, mode):
    """A file into which nothing was written makes an empty one where there is none, and replaces none."""
    assert fs.open(PATH, mode)
    assert fs.cat_file(PATH) == b""
    if mode != "xb":
        fs.pipe_file(PATH, b"before")
        assert fs.open(PATH, mode)
        assert fs.cat_file(PATH) == b"before"
        file = fs.open(PATH, mode)
        file.close()
        assert fs.cat_file(PATH) == (b"before" if mode == "ab" else b"")


@NEVER_CLOSED
@pytest.mark.parametrize("url", [True, False])
@pytest.mark.parametrize("compression", [None, "gzip"])
@pytest.mark.parametrize("before", [b"before", None])
def test_layer_that_can_not_be_made(fs, url, compression, before):
    """When a text layer can't be made, what is at the path stays."""
    if before is not None:
        fs.pipe_file(PATH, before)
    with pytest.raises((LookupError, InvalidInputError), match="nonsense"):
        if url:
            by_url(fs, "w", encoding="nonsense").open()
        else:
            fs.open(PATH, "w", encoding="nonsense", compression=compression)
    gc.collect()
    if before is not None:
        assert fs.cat_file(PATH) == before
        assert fs.info(PATH)["revision"] == 1
    elif not url:
        assert not fs.exists(PATH)


@NEVER_CLOSED
@pytest.mark.parametrize("drop", DROPS)
@pytest.mark.parametrize("layer", LAYERS)
def test_failed_commit_is_loud(fs, layer, drop, monkeypatch, caplog):
    """When a dropped file can't be committed, a warning and the log name it and the cause, and nothing else fails."""

    def fail(*_args, **_options):
        raise ProviderError("no storage today")

    monkeypatch.setattr(fs.store, "store", fail)
    held = [LAYERS[layer](fs)]
    write(held[0], "lost")
    with pytest.warns(RuntimeWarning, match=f"'{PATH}'.*no storage today.*lost"):
        drop(held)
    (record,) = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert f"'{PATH}'" in record.getMessage()
    assert "no storage today" in caplog.text
    monkeypatch.undo()
    assert not fs.exists(PATH)


@NEVER_CLOSED
@pytest.mark.filterwarnings("ignore:.*No space left:RuntimeWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # Python 3.13 reports it too
@pytest.mark.parametrize("drop", DROPS)
@pytest.mark.parametrize("layer", LAYERS)
def test_failed_write_is_never_committed(fs, layer, drop, monkeypatch):
    """A dropped file is discarded when a part of it could not be written, before or while it was dropped."""
    spool = Spool()
    monkeypatch.setattr("chuk_artifacts.filesystem.files.tempfile.SpooledTemporaryFile", lambda _: spool)
    held = [LAYERS[layer](fs)]
    write(held[0], "first")
    spool.is_full = True
    with contextlib.suppress(OSError):
        write(held[0], LONG)
    drop(held)
    gc.collect()
    assert not fs.exists(PATH)


@NEVER_CLOSED
@pytest.mark.parametrize("mode", ["w", "wb"])
@pytest.mark.parametrize("compression", [None, "gzip"])
@pytest.mark.parametrize("kept", [True, False])
def test_never_closed_in_a_transaction(fs, mode, compression, kept):
    """In a transaction a file that is never closed is committed or discarded with the others, whole."""
    files = []
    with fs.transaction:
        file = fs.open(PATH, mode, compression=compression)
        write(file, "whole")
        if kept:
            files.append(file)
        del file
        assert not fs.exists(PATH)
    with fs.open(PATH, "rt", compression=compression) as file:
        assert file.read() == "whole"
    with contextlib.suppress(BodyError), fs.transaction:
        file = fs.open(PATH, mode, compression=compression)
        write(file, "half")
        if kept:
            files.append(file)
        del file
        raise BodyError
    files.clear()
    gc.collect()
    assert fs.info(PATH)["revision"] == 1


def test_failed_write_in_a_transaction(fs, monkeypatch):
    """Its transaction does not commit a file either when a part of it could not be written."""
    spool = Spool()
    monkeypatch.setattr("chuk_artifacts.filesystem.files.tempfile.SpooledTemporaryFile", lambda _: spool)
    with fs.transaction:
        file = fs.open(PATH, "wb")
        file.write(b"first")
        spool.is_full = True
        with pytest.raises(OSError, match="No space"):
            file.write(b"second")
    assert not fs.exists(PATH)


@NEVER_CLOSED
def test_detached_writer_stands_for_itself(fs):
    """A writer that its text layer has let go of ends as any other."""
    text = fs.open(PATH, "w")
    text.write("x")
    writer = text.detach()
    del text
    assert not fs.exists(PATH)
    writer.write(b"y")
    del writer
    assert fs.cat_file(PATH) == b"xy"


@NEVER_CLOSED
def test_collector_that_runs_under_a_lock(store, fs, monkeypatch):
    """A file that is collected while its thread holds a lock of the store is stored when the lock is free."""
    monkeypatch.setattr(forgotten, "_PATIENCE_SECONDS", 0.01)
    lock, real = threading.Lock(), store.store

    def under_lock(*args, **options):
        with lock:
            return real(*args, **options)

    monkeypatch.setattr(fs.store, "store", under_lock)
    held = [fs.open(PATH, "w")]
    held[0].write("whole")
    with lock:
        let_go_of_a_cycle(held)
        assert not fs.exists(PATH)
        (ending,) = forgotten._ending
    assert ending.acquire(timeout=60)
    assert fs.cat_file(PATH) == b"whole"
    assert not forgotten._ending


@NEVER_CLOSED
def test_no_thread_to_be_had(fs, monkeypatch):
    """A file that is collected when no thread can start is stored after the next collection."""

    def fail(*_args):
        raise RuntimeError("can't start new thread")

    held = [fs.open(PATH, "w")]
    held[0].write("whole")
    with monkeypatch.context() as patch:
        patch.setattr(forgotten._thread, "start_new_thread", fail)
        let_go_of_a_cycle(held)
    gc.collect()
    assert fs.cat_file(PATH) == b"whole"


@NEVER_CLOSED
def test_dropped_by_another_thread(fs):
    """A file may be dropped by any thread, also while another one handles an error."""
    held = [fs.open(PATH, "w")]
    held[0].write("whole")
    try:
        {}["missing"]
    except KeyError:
        thread = threading.Thread(target=held.clear)
        thread.start()
        thread.join()
    assert fs.cat_file(PATH) == b"whole"


def test_closed_file_is_not_warned_of(fs):
    """A file that was closed, or discarded, is collected in silence, though something wraps it."""
    for layer in LAYERS.values():
        for drop in DROPS:
            held = [layer(fs)]
            write(held[0], "whole")
            held[0].close()
            drop(held)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no processes are forked here")
@NEVER_CLOSED
@pytest.mark.parametrize("layer", LAYERS)
def test_forked_process_leaves_the_files_of_its_parent(tmp_path, layer):
    """A file that was open when a process was forked is its parent's: the child neither stores nor spoils it."""
    with ArtifactStore(storage_provider="filesystem", fs_root=tmp_path / "store") as store:
        fs = ArtifactFileSystem(store)
        held = [LAYERS[layer](fs)]
        write(held[0], "first")
        child = os.fork()
        if child == 0:
            code = 1
            try:
                let_go_of_a_cycle(held)
                forgotten._exit()
                code = fs.exists(PATH)
            finally:
                os._exit(code)
        assert os.waitpid(child, 0)[1] == 0
        write(held[0], "second")
        held[0].close()
        assert read(fs, layer) == "firstsecond"


EXIT = """
import fsspec, gc, gzip, io, sys, threading, warnings
from chuk_artifacts.filesystem import ArtifactFileSystem
fsspec.register_implementation("artifact", ArtifactFileSystem, clobber=True)
options = {"storage_provider": "filesystem", "fs_root": sys.argv[1]}
fs = fsspec.filesystem("artifact", **options)

def write(file):
    file.write("whole" if isinstance(file, io.TextIOBase) else b"whole")
    return file

def make():
    return [
        write(fs.open("alice/binary", "wb")),
        write(fs.open("alice/text", "w")),
        write(fs.open("alice/text.gz", "w", compression="gzip")),
        write(fs.open("alice/binary.gz", "wb", compression="gzip")),
        write(fsspec.open("artifact://alice/url", "wb", **options).open()),
        write(fsspec.open("artifact://alice/url_text", "w", **options).open()),
        write(fsspec.open("artifact://alice/url_text.gz", "w", compression="gzip", **options).open()),
        write(io.TextIOWrapper(fs.open("alice/io", "wb"))),
        write(io.BufferedWriter(fs.open("alice/buffered", "wb"))),
        write(gzip.GzipFile(fileobj=fs.open("alice/other.gz", "wb"), mode="wb")),
    ]
"""
ENDS = {
    "a global": "kept = make()",
    "a cycle": "gc.disable()\nkept = make()\nkept.append(kept)\ndel kept",
    "a thread that does not end": (
        "def work():\n    kept = make()\n    ready.set()\n    threading.Event().wait()\n"
        "ready = threading.Event()\nthreading.Thread(target=work, daemon=True).start()\nready.wait()"
    ),
    "sys.exit": "def main():\n    kept = make()\n    sys.exit(0)\nmain()",
    "another error before": (
        "try:\n    {}['missing']\nexcept KeyError as error:\n    sys.last_value = error\nkept = make()"
    ),
}


def run(script, tmp_path):
    """Run a script in a process of its own, and return its result and the filesystem of its store."""
    result = subprocess.run(
        [sys.executable, "-c", EXIT + script, str(tmp_path / "store")],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    return result, ArtifactFileSystem(storage_provider="filesystem", fs_root=str(tmp_path / "store"))


@pytest.mark.parametrize("way", ENDS)
def test_open_at_the_exit_is_committed(tmp_path, way):
    """What is open when the interpreter exits is stored, whatever holds it and whatever is above it."""
    result, fs = run(ENDS[way], tmp_path)
    assert result.returncode == 0, result.stderr
    assert result.stderr == ""
    assert len(fs.find("alice")) == 10
    for path in fs.find("alice"):
        with fs.open(path, "rb", compression="infer") as file:
            assert file.read() == b"whole", path


def test_open_when_an_error_ends_the_program_is_discarded(tmp_path):
    """What is open when an error ends the program is discarded, and a warning says so."""
    result, fs = run("warnings.simplefilter('always')\ndef main():\n    kept = make()\n    1 / 0\nmain()", tmp_path)
    assert result.returncode == 1
    assert result.stderr.count("what was written is discarded") == 10
    assert fs.find("alice") == []


def test_store_that_fails_at_the_exit(tmp_path):
    """What can't be stored at exit is reported, each file by name, and the exit goes on."""
    script = (
        "from chuk_artifacts import ProviderError\nkept = make()\n"
        "def fail(*_args, **_options):\n    raise ProviderError('no storage today')\n"
        "from chuk_artifacts.store import ArtifactStore\nArtifactStore.store = fail"
    )
    result, fs = run(script, tmp_path)
    assert result.stderr.count("what was written is lost") == 10
    assert result.stderr.count("no storage today") == 10
    assert fs.find("alice") == []


def test_opened_too_late(tmp_path):
    """A file opened too late to be closed at exit is reported as lost, and does no harm."""
    script = (
        "import atexit\natexit.register(lambda: kept.append(write(fs.open('alice/late', 'wb'))))\n"
        "kept = [fs.open('alice/x', 'wb')]"
    )
    result, fs = run(script, tmp_path)
    assert result.returncode == 0
    assert "'alice/late'" in result.stderr
    assert "what was written is lost" in result.stderr
    assert fs.find("alice") == ["alice/x"]
