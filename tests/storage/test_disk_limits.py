"""Files on a disk that is full, and on one that can only be read."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import sys

import pytest

from chuk_artifacts import ProviderError
from chuk_artifacts.source import source
from chuk_artifacts.storage import ObjectMissingError
from chuk_artifacts.storage.local import LocalStorage

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="mounts are made by Linux's commands")

MIB = 1024 * 1024
KEY = "grid/box/alice/there"
NEW = "grid/box/alice/new"


@contextlib.contextmanager
def mounted(place, *arguments):
    """Mount something at a place, or skip where this user may not."""
    place.mkdir(exist_ok=True)
    command = ["mount", *arguments, place]
    if shutil.which("mount") is None or subprocess.run(command, check=False, capture_output=True).returncode:
        pytest.skip("this user may not mount")
    try:
        yield place
    finally:
        subprocess.run(["umount", "--lazy", place], check=True)


@pytest.fixture(params=[False, True], ids=["", "fsync"])
def storage(request, tmp_path):
    """Return a storage on a disk of 1 MiB that holds one object of a quarter."""
    with mounted(tmp_path / "disk", "-t", "tmpfs", "-o", "size=1m", "tmpfs") as disk:
        storage = LocalStorage(str(disk / "root"), fsync=request.param)
        storage.put(KEY, b"x" * (MIB // 4))
        yield storage


@pytest.fixture
def full(storage, tmp_path):
    """Return the storage when there is no room any more."""
    with (tmp_path / "disk" / "other").open("wb", buffering=0) as other, contextlib.suppress(OSError):
        while True:
            other.write(b"x" * 4096)
    return storage


def files(tmp_path):
    """Return the names of all files below the root."""
    return sorted(path.name for path in (tmp_path / "disk" / "root").rglob("*") if path.is_file())


WRITES = {
    "put": lambda storage: storage.put(NEW, b"y" * MIB),
    "exclusive put": lambda storage: storage.put(NEW, b"y" * MIB, exclusive=True),
    "stream": lambda storage: storage.put(NEW, source(iter([b"y" * 1024] * 1024))),
    "copy": lambda storage: [storage.copy(KEY, f"{NEW}{number}", MIB // 4) for number in range(4)],
}


@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES)
def test_failed_write_leaves_nothing(storage, tmp_path, write):
    """A write that finds the disk full half-way says so, and takes away what it wrote."""
    with pytest.raises(ProviderError, match="No space left"):
        write(storage)
    assert not any(name.endswith(".tmp") for name in files(tmp_path))
    with pytest.raises(ObjectMissingError):
        storage.get(f"{NEW}3")
    assert storage.get(KEY) == b"x" * (MIB // 4)


def test_full_disk_can_be_emptied(full, tmp_path):
    """On a full disk nothing can be written, all can be read, listed and deleted, and then there is room again."""
    with pytest.raises(ProviderError, match="No space left"):
        full.put(NEW, b"y" * 4096)
    assert files(tmp_path) == ["there"]
    assert len(full.get(KEY)) == full.stat(KEY).bytes == MIB // 4
    assert [item.key for item in full.list_objects("grid/box/")] == [KEY]
    assert full.now() > 0
    full.delete([KEY])
    full.put(NEW, b"y" * 4096)
    assert files(tmp_path) == ["new"]


def test_thorough_check_of_a_full_disk(full, tmp_path):
    """A thorough check finds that the disk is full, and leaves nothing on it."""
    with pytest.raises(ProviderError, match="No space left"):
        full.check(thorough=True)
    assert files(tmp_path) == ["there"]


def test_sweep_on_a_full_disk(full, tmp_path):
    """What crashed writes left on a full disk can be swept."""
    (tmp_path / "disk" / "root" / f"{NEW}.01234567.tmp").touch()
    (swept,) = full.sweep("grid/box/", float("inf"))
    assert swept.key.startswith(NEW)
    assert files(tmp_path) == ["there"]


@pytest.fixture
def read_only(tmp_path):
    """Return a storage whose root can only be read, and holds one object and half a file."""
    root = tmp_path / "root"
    LocalStorage(str(root)).put(KEY, b"0123456789")
    (root / f"{NEW}.01234567.tmp").touch()
    with mounted(root, "--bind", root):
        subprocess.run(["mount", "-o", "remount,ro,bind", root], check=True)
        yield LocalStorage(str(root))


def test_read_only_root_can_be_read(read_only):
    """A root that can only be read can be read, listed and looked at, all of it."""
    assert read_only.get(KEY) == b"0123456789"
    with read_only.open(KEY, 10, start=4) as file:
        assert file.read() == b"456789"
    assert read_only.stat(KEY).bytes == 10
    assert read_only.stat(NEW) is None
    assert [item.key for item in read_only.list_objects("grid/box/")] == [KEY]
    assert len(list(read_only.sweep("grid/box/", float("inf"), dry_run=True))) == 1
    with pytest.raises(ObjectMissingError):
        read_only.get(NEW)
    with pytest.raises(ObjectMissingError):
        read_only.copy(NEW, KEY, 10)


CHANGES = {
    "put": lambda storage: storage.put(NEW, b"x"),
    "put in a new folder": lambda storage: storage.put("grid/box/bob/new", b"x"),
    "exclusive put": lambda storage: storage.put(NEW, b"x", exclusive=True),
    "replacing put": lambda storage: storage.put(KEY, b"x"),
    "stream": lambda storage: storage.put(NEW, source(iter([b"x"]))),
    "copy": lambda storage: storage.copy(KEY, NEW, 10),
    "delete": lambda storage: storage.delete([KEY]),
    "sweep": lambda storage: list(storage.sweep("grid/box/", float("inf"))),
    "check": lambda storage: storage.check(),
    "thorough check": lambda storage: storage.check(thorough=True),
    "now": lambda storage: storage.now(),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_read_only_root_can_t_be_changed(read_only, change):
    """Whatever would write to a root that can only be read says why it can't, and changes nothing."""
    with pytest.raises(ProviderError, match="Read-only"):
        change(read_only)
    assert read_only.get(KEY) == b"0123456789"
