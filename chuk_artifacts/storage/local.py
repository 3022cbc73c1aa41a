"""One folder of the local disk as an fsspec filesystem: private, atomic, and closed against symbolic links."""

from __future__ import annotations

import contextlib
import errno
import functools
import io
import itertools
import os
import re
import shutil
import stat
from collections.abc import Iterator, Sequence
from typing import Any
from urllib.parse import unquote

from fsspec.spec import AbstractFileSystem

from chuk_artifacts.folders import claim, make_private_folders, sync_folder
from chuk_artifacts.storage import ObjectChangedError
from chuk_artifacts.storage.files import FileStorage

_TEMPORARY = ".tmp"
_NO_FOLLOW = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | _NO_FOLLOW
_READ = os.O_RDONLY | _NO_FOLLOW
_PRIVATE_FILE = 0o600
_PRIVATE_FOLDER = 0o700
_KEPT = 512  # characters of a path; a cache keeps thousands of them
_ON_WINDOWS = os.name == "nt"
# https://learn.microsoft.com/windows/win32/fileio/naming-a-file
_WINDOWS_FORBIDDEN = re.compile(r'[%<>:"|?*]|[. ]$')
_WINDOWS_DEVICE = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\.|$)", re.IGNORECASE)
_ATTEMPTS = 16


def windows_name(segment: str) -> str:
    """Return *segment* percent-encoded where Windows would refuse or change it as the name of a file."""
    name = _WINDOWS_FORBIDDEN.sub(_percent, segment)
    return _percent_first(name) if _WINDOWS_DEVICE.match(name) else name


def _percent_first(name: str) -> str:
    return f"%{ord(name[0]):02X}{name[1:]}"


def _percent(match: re.Match[str]) -> str:
    return _percent_first(match[0])


def _name(segment: str) -> str:
    """Return how a segment of a path is called on the disk; no segment leads out of its folder."""
    if segment in {"", ".", ".."} or "/" in segment or "\\" in segment:
        raise ValueError(f"not a name of a file: {segment!r}")
    return windows_name(segment) if _ON_WINDOWS else segment


def _folders(root: str, path: str) -> tuple[str, ...]:
    """Return the places of the folders on the way from *root* to *path*, which is one too; none to the root itself."""
    return (_folders_again if len(root) + len(path) <= _KEPT else _all_folders)(root, path)


def _all_folders(root: str, path: str) -> tuple[str, ...]:
    names = [_name(segment) for segment in path.split("/")] if path else []
    return tuple(itertools.accumulate(names, lambda place, name: f"{place}{os.sep}{name}", initial=root))[1:]


_folders_again = functools.lru_cache(maxsize=4096)(_all_folders)


class LocalFolder(AbstractFileSystem):  # type: ignore[misc]  # fsspec has no types
    """The files under one folder, named by their path relative to it.

    A file appears whole or not at all: it is written under a temporary name beside its place. Files have mode 0600,
    folders 0700. A symbolic link inside the folder is never followed.

    Args:
        root: the folder, absolute and without symbolic links; made by the first write.
        fsync: whether a write is on the disk, file and folder, before it returns.

    """

    cachable = False
    protocol = "local-folder"

    def __init__(self, root: str, *, fsync: bool = False) -> None:
        """See the class."""
        super().__init__()
        self.root = root
        self.fsync = fsync

    def pipe_file(self, path: str, value: bytes, mode: str = "overwrite", **_: Any) -> None:
        """Write a whole file; mode ``create`` raises ``FileExistsError`` instead of replacing one."""
        writer = _Writer(self, path, exclusive=mode == "create")
        try:
            writer.write(value)
            writer.commit()
        finally:
            writer.discard()

    def open(self, path: str, mode: str = "rb", *_: Any, **__: Any) -> Any:
        """Open a file: ``rb`` a seekable reader, ``wb`` and ``xb`` a writer to be committed or discarded."""
        return self._open_to_read(path) if mode == "rb" else _Writer(self, path, exclusive=mode == "xb")

    def cat_file(self, path: str, start: int | None = None, end: int | None = None, **_: Any) -> bytes:
        """Return the bytes of a file, or a range of them."""
        if start is not None or end is not None:
            part: Any = super().cat_file(path, start, end)
            return bytes(part)
        # One line: an interrupt between the block and its end, on a line of its own, would leave the file open.
        with self._open_to_read(path) as file: return _content(file)  # noqa: E701 # fmt: skip

    def cp_file(self, path1: str, path2: str, *, size: int | None = None, **_: Any) -> None:
        """Copy a file within the kernel; raise ``ProviderError`` when *size* is not its length in bytes."""
        self._open_to_read(path1).close()
        writer = _Writer(self, path2, exclusive=False)
        try:
            length = writer.copy(self.locate(path1))
            if size not in {None, length}:
                raise ObjectChangedError(path1, length, int(size or 0))
            writer.commit()
        finally:
            writer.discard()

    def rm_file(self, path: str) -> None:
        """Remove a file, and its folder with the last file in it."""
        place = self.locate(path)
        os.unlink(place)
        _remove_empty(os.path.dirname(place))

    def rm_files(self, paths: Sequence[str]) -> None:
        """Remove files, and each folder with the last file in it; a missing file is no error.

        Each folder is looked at once, not once for each file in it.
        """
        folders: dict[str, list[str]] = {}
        for path in paths:
            folder, _, name = path.rpartition("/")
            folders.setdefault(folder, []).append(_name(name))
        for folder, names in folders.items():
            with contextlib.suppress(FileNotFoundError):
                place = self._descend(folder)
                _unlink_each(place, names)
                _remove_empty(place)

    def probe(self, data: bytes) -> float:
        """Write a file, remove it, and return its time of writing by the clock of the file system."""
        writer = _Writer(self, "check", exclusive=False)
        try:
            writer.write(data)
            modified = writer.settle(sync=bool(data))
            writer.discard()
        except BaseException:
            writer.discard()
            raise
        return modified

    def info(self, path: str, **_: Any) -> dict[str, Any]:
        """Return name, type, size in bytes and mtime in seconds of a file or folder."""
        name = path.rstrip("/")
        return _info(name, os.lstat(self.locate(name)))

    def ls(self, path: str, detail: bool = True, **_: Any) -> list[Any]:  # noqa: FBT001, FBT002 - fsspec's signature
        """Return the infos (or names) of a folder's files and folders, without temporary files and links."""
        entries = [info for info, temporary in self._entries(path) if not temporary and info["type"] != "link"]
        return entries if detail else [info["name"] for info in entries]

    def unfinished(self, path: str) -> list[dict[str, Any]]:
        """Return the infos of the temporary files and of the folders in a folder."""
        return [info for info, temporary in self._entries(path) if temporary or info["type"] == "directory"]

    def _entries(self, path: str) -> Iterator[tuple[dict[str, Any], bool]]:
        prefix = path.rstrip("/")
        for entry in list(os.scandir(self._descend(prefix))):  # closes at its end, where ``with`` may be interrupted
            try:
                status = entry.stat(follow_symlinks=False)
            except FileNotFoundError:
                continue  # removed since it was listed
            name = unquote(entry.name) if _ON_WINDOWS else entry.name
            info = _info(f"{prefix}/{name}" if prefix else name, status)
            yield info, info["type"] == "file" and name.endswith(_TEMPORARY)

    def locate(self, path: str) -> str:
        """Return the place of *path* on the disk."""
        folder, _, name = path.rpartition("/")
        return f"{self._descend(folder)}{os.sep}{_name(name)}"

    def _descend(self, path: str) -> str:
        """Return the place of a folder, and refuse one that is a link or lies under one."""
        place = self.root
        for place in _folders(self.root, path):
            if stat.S_ISLNK(os.lstat(place).st_mode):
                raise _link_error(place)
        return place

    def make_folders(self, path: str) -> None:
        """Make the folders above *path*, the root included."""
        make_private_folders(self.root, sync=self.fsync)
        for place in _folders(self.root, path.rpartition("/")[0]):
            try:
                os.mkdir(place, _PRIVATE_FOLDER)
            except FileExistsError:
                continue
            if self.fsync:
                sync_folder(os.path.dirname(place))

    def _open_to_read(self, path: str) -> io.FileIO:
        place = self.locate(path)
        try:
            return _open_file(place, _READ, "rb")
        except OSError as error:
            if error.errno == errno.ELOOP:  # O_NOFOLLOW met a link
                raise _link_error(place) from error
            raise


class _Writer:
    """A file under a temporary name, which its first write makes, and that takes its place when it is committed.

    Whatever an interrupt comes between, ``discard`` leaves neither the file nor a descriptor. As a context manager it
    commits, and after an exception discards.
    """

    def __init__(self, folder: LocalFolder, path: str, *, exclusive: bool) -> None:
        self._folder = folder
        self._path = path
        self._exclusive = exclusive
        self._place = self._temporary = ""
        self._file: io.FileIO | None = None

    def __enter__(self) -> _Writer:
        return self

    def __exit__(self, kind: object, error: object, traceback: object) -> None:
        try:
            if kind is None:
                self.commit()
        finally:
            self.discard()

    def write(self, data: bytes) -> None:
        """Write all of *data*."""
        file = self._opened()
        written = file.write(data)
        while written < len(data):  # a write stops at 2 GiB on Linux
            written += file.write(memoryview(data)[written:])

    def copy(self, place: str) -> int:
        """Write all of the file at *place*, and return how many bytes that were."""
        file = self._opened()
        shutil.copyfile(place, self._temporary)
        return os.fstat(file.fileno()).st_size

    def settle(self, *, sync: bool) -> float:
        """Return when the file was written; *sync* brings it to the disk, which may turn out to be full only then."""
        descriptor = self._opened().fileno()
        if sync:
            os.fsync(descriptor)
        return os.fstat(descriptor).st_mtime

    def commit(self) -> None:
        """Put the file in its place; raise ``FileExistsError`` when that is taken and the write exclusive."""
        with self._opened() as file:
            if self._folder.fsync:
                os.fsync(file.fileno())
        if self._exclusive:
            claim(self._temporary, self._place)
        else:
            os.replace(self._temporary, self._place)
        self._temporary = ""
        if self._folder.fsync:
            sync_folder(os.path.dirname(self._place))

    def discard(self) -> None:
        """Leave nothing behind; harmless after a commit."""
        if self._temporary:
            if self._file is not None:
                self._file.close()
            with contextlib.suppress(OSError):  # not made, mostly; what is left a sweep removes
                os.unlink(self._temporary)

    def _opened(self) -> io.FileIO:
        """Return the open file, with the folders above it made, which a delete beside us may take away again."""
        if self._file is not None:
            return self._file
        for _ in range(_ATTEMPTS):
            try:
                self._place = self._folder.locate(self._path)
                self._temporary = f"{self._place}.{os.urandom(4).hex()}{_TEMPORARY}"  # before it is there: see discard
                self._file = _open_file(self._temporary, _CREATE, "wb")
            except FileNotFoundError:
                self._folder.make_folders(self._path)
            else:
                return self._file
        raise NotADirectoryError(errno.ENOTDIR, "the folder of the file vanishes all the time", self._place)


def _open_file(place: str, flags: int, mode: str) -> io.FileIO:
    """Open a file, which closes when it is dropped.

    All is one call of C, so that no interrupt finds a descriptor without its owner.
    """
    descriptors, again = itertools.tee(map(os.open, (place,), (flags,), (_PRIVATE_FILE,)))
    try:
        return next(map(io.FileIO, descriptors, (mode,)))
    except IsADirectoryError:  # which leaves it open
        os.close(next(again))
        raise


def _content(file: io.FileIO) -> bytes:
    descriptor = file.fileno()
    size = os.fstat(descriptor).st_size
    data = os.read(descriptor, size + 1)  # one call where ``readall`` makes four
    return data if len(data) == size else data + file.readall()


def _unlink_each(folder: str, names: Sequence[str]) -> None:
    for name in names:
        try:
            os.unlink(f"{folder}{os.sep}{name}")
        except FileNotFoundError:
            continue


def _remove_empty(folder: str) -> None:
    with contextlib.suppress(OSError):  # not empty, mostly
        os.rmdir(folder)


def _info(name: str, status: os.stat_result) -> dict[str, Any]:
    kind = "directory" if stat.S_ISDIR(status.st_mode) else "file" if stat.S_ISREG(status.st_mode) else "link"
    return {"name": name, "type": kind, "size": status.st_size, "mtime": status.st_mtime}


def _link_error(place: str) -> OSError:
    return OSError(errno.ELOOP, "a symbolic link is not followed", place)


class LocalStorage(FileStorage):
    """Bytes as files of one folder of the local disk.

    Args:
        root: see :class:`LocalFolder`.
        fsync: see :class:`LocalFolder`.

    """

    distant = False

    def __init__(self, root: str, *, fsync: bool = False) -> None:
        """See the class."""
        super().__init__(LocalFolder(root, fsync=fsync), "filesystem")
