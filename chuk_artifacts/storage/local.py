"""One folder of the local disk as an fsspec filesystem: private, atomic, and closed against symbolic links."""

from __future__ import annotations

import contextlib
import errno
import functools
import itertools
import os
import re
import shutil
import stat
from collections.abc import Iterator
from typing import Any
from urllib.parse import unquote

from fsspec.spec import AbstractFileSystem

from chuk_artifacts.storage.files import FileStorage

_TEMPORARY = ".tmp"
_NO_FOLLOW = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | _NO_FOLLOW
_READ = os.O_RDONLY | _NO_FOLLOW
_PRIVATE_FILE = 0o600
_PRIVATE_FOLDER = 0o700
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


@functools.lru_cache(maxsize=4096)
def _folders(root: str, path: str) -> tuple[str, ...]:
    """Return the places of the folders on the way from *root* to *path*, which is one too; none to the root itself."""
    names = [_name(segment) for segment in path.split("/")] if path else []
    return tuple(itertools.accumulate(names, lambda place, name: f"{place}{os.sep}{name}", initial=root))[1:]


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
        self._fsync = fsync

    def pipe_file(self, path: str, value: bytes, mode: str = "overwrite", **_: Any) -> None:
        """Write a whole file; mode ``create`` raises ``FileExistsError`` instead of replacing one."""
        with self._writer(path, exclusive=mode == "create") as writer:
            writer.write(value)

    def open(self, path: str, mode: str = "rb", *_: Any, **__: Any) -> Any:
        """Open a file: ``rb`` a seekable reader, ``wb`` and ``xb`` a writer to be committed or discarded."""
        if mode == "rb":
            return os.fdopen(self._open_to_read(path), "rb", buffering=0)
        return self._writer(path, exclusive=mode == "xb")

    def cat_file(self, path: str, start: int | None = None, end: int | None = None, **_: Any) -> bytes:
        """Return the bytes of a file, or a range of them."""
        if start is not None or end is not None:
            part: Any = super().cat_file(path, start, end)
            return bytes(part)
        descriptor = self._open_to_read(path)
        try:
            size = os.fstat(descriptor).st_size
            data = os.read(descriptor, size + 1)
            if len(data) == size:
                return data
            pieces = [data]
            while piece := os.read(descriptor, size + 1):  # a read stops at 2 GiB on Linux
                pieces.append(piece)
            return b"".join(pieces)
        finally:
            os.close(descriptor)

    def cp_file(self, path1: str, path2: str, mode: str = "overwrite", **_: Any) -> None:
        """Copy a file within the kernel; mode ``create`` raises ``FileExistsError`` instead of replacing one."""
        os.close(self._open_to_read(path1))
        with self._writer(path2, exclusive=mode == "create") as writer:
            writer.copy(self._locate(path1))

    def rm_file(self, path: str) -> None:
        """Remove a file, and its folder with the last file in it."""
        place = self._locate(path)
        os.unlink(place)
        with contextlib.suppress(OSError):  # not empty, mostly
            os.rmdir(os.path.dirname(place))

    def info(self, path: str, **_: Any) -> dict[str, Any]:
        """Return name, type, size in bytes and mtime in seconds of a file or folder."""
        name = path.rstrip("/")
        return _info(name, os.lstat(self._locate(name)))

    def ls(self, path: str, detail: bool = True, **_: Any) -> list[Any]:  # noqa: FBT001, FBT002 - fsspec's signature
        """Return the infos (or names) of a folder's files and folders, without temporary files and links."""
        entries = [info for info, temporary in self._entries(path) if not temporary and info["type"] != "link"]
        return entries if detail else [info["name"] for info in entries]

    def unfinished(self, path: str) -> list[dict[str, Any]]:
        """Return the infos of the temporary files and of the folders in a folder."""
        return [info for info, temporary in self._entries(path) if temporary or info["type"] == "directory"]

    def _entries(self, path: str) -> Iterator[tuple[dict[str, Any], bool]]:
        prefix = path.rstrip("/")
        with os.scandir(self._descend(prefix)) as entries:
            for entry in entries:
                try:
                    status = entry.stat(follow_symlinks=False)
                except FileNotFoundError:
                    continue  # removed since it was listed
                name = unquote(entry.name) if _ON_WINDOWS else entry.name
                info = _info(f"{prefix}/{name}" if prefix else name, status)
                yield info, info["type"] == "file" and name.endswith(_TEMPORARY)

    def _locate(self, path: str) -> str:
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

    def _writer(self, path: str, *, exclusive: bool) -> _Writer:
        """Return a writer of *path*, with the folders above it, which a delete beside us may take away again."""
        for _ in range(_ATTEMPTS):
            try:
                return _Writer(self._locate(path), exclusive=exclusive, fsync=self._fsync)
            except FileNotFoundError:
                self._make_folders(path)
        return _Writer(self._locate(path), exclusive=exclusive, fsync=self._fsync)

    def _make_folders(self, path: str) -> None:
        if not os.path.isdir(self.root):
            self._make_root()
        for place in _folders(self.root, path.rpartition("/")[0]):
            try:
                os.mkdir(place, _PRIVATE_FOLDER)
            except FileExistsError:
                continue
            if self._fsync:
                _sync_folder(os.path.dirname(place))

    def _make_root(self) -> None:
        try:
            os.makedirs(self.root, _PRIVATE_FOLDER, exist_ok=True)
        except FileExistsError:  # to the callers that would mean the file to be written
            raise NotADirectoryError(errno.ENOTDIR, "not a folder", self.root) from None
        if self._fsync:
            _sync_folder(os.path.dirname(self.root))

    def _open_to_read(self, path: str) -> int:
        place = self._locate(path)
        try:
            return os.open(place, _READ)
        except OSError as error:
            if error.errno == errno.ELOOP:  # O_NOFOLLOW met a link
                raise _link_error(place) from error
            raise


class _Writer:
    """A file under a temporary name, that takes its place when it is committed.

    As a context manager it commits, and after an exception discards.
    """

    def __init__(self, place: str, *, exclusive: bool, fsync: bool) -> None:
        self._place = place
        self._exclusive = exclusive
        self._fsync = fsync
        self._temporary = f"{place}.{os.urandom(4).hex()}{_TEMPORARY}"
        self._descriptor = os.open(self._temporary, _CREATE, _PRIVATE_FILE)

    def __enter__(self) -> _Writer:
        return self

    def __exit__(self, kind: object, error: object, traceback: object) -> None:
        if kind is None:
            self.commit()
        else:
            self.discard()

    def write(self, data: bytes) -> None:
        """Write all of *data*."""
        written = os.write(self._descriptor, data)
        while written < len(data):  # a write stops at 2 GiB on Linux
            written += os.write(self._descriptor, memoryview(data)[written:])

    def copy(self, place: str) -> None:
        """Write all of the file at *place*."""
        shutil.copyfile(place, self._temporary)

    def close(self) -> None:
        """Finish writing; harmless the second time."""
        if self._descriptor >= 0:
            descriptor, self._descriptor = self._descriptor, -1
            os.close(descriptor)

    def commit(self) -> None:
        """Put the file in its place; raise ``FileExistsError`` when that is taken and the write exclusive."""
        try:
            if self._fsync:
                os.fsync(self._descriptor)
            self.close()
            if self._exclusive:
                _claim(self._temporary, self._place)
            else:
                os.replace(self._temporary, self._place)
        except BaseException:
            self.discard()
            raise
        if self._fsync:
            _sync_folder(os.path.dirname(self._place))

    def discard(self) -> None:
        """Leave nothing behind."""
        self.close()
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._temporary)


def _claim(temporary: str, place: str) -> None:
    """Move a file to a place that must be free."""
    try:
        os.link(temporary, place)
    except FileExistsError:
        raise
    except OSError:  # no hard links here (FAT, some network shares): claim the name first
        os.close(os.open(place, _CREATE, _PRIVATE_FILE))
        os.replace(temporary, place)
    else:
        os.unlink(temporary)


def _sync_folder(place: str) -> None:
    if _ON_WINDOWS:  # a folder can't be opened there; NTFS journals the rename
        return
    descriptor = os.open(place, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


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
