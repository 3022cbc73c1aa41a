"""One folder of the local disk as an fsspec filesystem: private, atomic, and closed against symbolic links."""

from __future__ import annotations

import contextlib
import errno
import functools
import io
import os
import re
import stat
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from fsspec.spec import AbstractFileSystem

from chuk_artifacts.folders import claim, make_private_folders
from chuk_artifacts.ownership import is_private
from chuk_artifacts.storage import Description, ObjectChangedError
from chuk_artifacts.storage.beneath import Descriptor, Folder, Root, Way
from chuk_artifacts.storage.description import pack, unpack
from chuk_artifacts.storage.files import FileInfo, FileStorage, MappedReader

_TEMPORARY = ".tmp"
_PRIVATE_FOLDER = 0o700
_KEPT = 512  # characters of a path; a cache keeps thousands of them
_ON_WINDOWS = os.name == "nt"
# https://learn.microsoft.com/windows/win32/fileio/naming-a-file
_WINDOWS_FORBIDDEN = re.compile(r'[%<>:"|?*]|[. ]$')
_WINDOWS_DEVICE = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\.|$)", re.IGNORECASE)
_ATTEMPTS = 16
_PIECE = 1024 * 1024
_ATTRIBUTE = "user.chuk_artifacts"  # https://man7.org/linux/man-pages/man7/xattr.7.html
_HAS_ATTRIBUTES = hasattr(os, "setxattr")  # of Linux only
_NO_ATTRIBUTE = frozenset({getattr(errno, "ENODATA", None), errno.ENOTSUP, errno.EOPNOTSUPP})
_LARGEST_COPY = 1024 * 1024 * 1024


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
    if segment in {"", ".", ".."} or "/" in segment or "\\" in segment or "\0" in segment:
        raise ValueError(f"not a name of a file: {segment!r}")
    return windows_name(segment) if _ON_WINDOWS else segment


def _way(path: str) -> Way:
    """Return the way to a folder or file; an empty path is the root."""
    return (_way_again if len(path) <= _KEPT else _new_way)(path)


def _new_way(path: str) -> Way:
    names = tuple(map(_name, path.split("/"))) if path else ()
    return Way(names, os.fsencode("/".join(names)))


_way_again = functools.lru_cache(maxsize=4096)(_new_way)


def _way_to_file(path: str) -> tuple[Way, str]:
    """Return the way to the folder of a file, which is one of many there, and the file's name."""
    folder, _, name = path.rpartition("/")
    return _way(folder), _name(name)


if TYPE_CHECKING:

    class _FileSystem:
        """The method of fsspec's base class that is called here; fsspec has no types."""

        def cat_file(self, *args: Any, **kwargs: Any) -> Any: ...
else:
    _FileSystem = AbstractFileSystem


class LocalFolder(_FileSystem):
    """The files under one folder, named by their path relative to it.

    A file appears whole or not at all: it is written under a temporary name in the same folder. Files have mode 0600,
    folders 0700. A symbolic link inside the folder is never followed, and nothing but a regular file is ever read.

    Args:
        root: the folder, absolute and without symbolic links; made by the first write.
        fsync: whether a write is on the disk, file and folder, before it returns.

    """

    cachable = False
    protocol = "local-folder"

    def __init__(self, root: str, *, fsync: bool = False) -> None:
        super().__init__()
        self.root: Root = Root(root)
        self.fsync = fsync

    def pipe_file(
        self, path: str, value: bytes, mode: str = "overwrite", *, description: Description | None = None, **_: object
    ) -> None:
        """Write a whole file; mode ``create`` raises ``FileExistsError`` instead of replacing one."""
        writer = _Writer(self, path, exclusive=mode == "create")
        try:
            writer.write(value)
            writer.commit(description=description)
        finally:
            writer.discard()

    def open(self, path: str, mode: str = "rb", *__: object, **___: object) -> Any:
        """Open a file: ``rb`` a seekable reader, ``wb`` and ``xb`` a writer to be committed or discarded."""
        if mode != "rb":
            return _Writer(self, path, exclusive=mode == "xb")
        descriptor, _ = self._open_to_read(path)
        return next(map(io.FileIO, map(os.dup, (descriptor,)), ("rb",)))

    def cat_file(self, path: str, start: int | None = None, end: int | None = None, **_: object) -> bytes:
        """Return the bytes of a file, or a range of them."""
        if start is not None or end is not None:
            part: Any = super().cat_file(path, start, end)
            return bytes(part)
        return _content(*self._open_to_read(path))

    def cp_file(
        self,
        path1: str,
        path2: str,
        *,
        size: int | None = None,
        description: Description | None = None,
        **__: object,
    ) -> None:
        """Copy a file within the kernel; raise ``ProviderError`` when *size* is not its length in bytes."""
        with self.open(path1) as source:
            writer = _Writer(self, path2, exclusive=False)
            try:
                length = writer.copy(source)
                if size not in {None, length}:
                    raise ObjectChangedError(path1, length, int(size or 0))
                writer.commit(description=description)
            finally:
                writer.discard()

    def description(self, path: str) -> Description | None:
        """Return the description in the extended attribute of a file, or None."""
        descriptor, _ = self._open_to_read(path)
        return _described(descriptor)

    def rm_file(self, path: str) -> None:
        """Remove a file, and its folder with the last file in it."""
        way, name = _way_to_file(path)
        self._remove(way, [name], missing_ok=False)

    def rm_files(self, paths: Sequence[str]) -> None:
        """Remove files, and each folder with the last file in it; a missing file is no error.

        Each folder is looked at once, not once for each file in it.
        """
        folders: dict[Way, list[str]] = {}
        for way, name in map(_way_to_file, paths):
            folders.setdefault(way, []).append(name)
        for way, names in folders.items():
            with contextlib.suppress(FileNotFoundError):
                self._remove(way, names, missing_ok=True)

    def _remove(self, way: Way, names: Sequence[str], *, missing_ok: bool) -> None:
        """Remove files of a folder, and the folder, unless it is the root, with the last of them."""
        with self.root.folder(way) as folder:
            for name in names:
                try:
                    os.unlink(folder.prefix + name, dir_fd=folder.descriptor)
                except FileNotFoundError:
                    if not missing_ok:
                        raise
            if way.names:
                folder.remove_empty(way.names[-1])

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

    def info(self, path: str, **_: object) -> FileInfo:
        """Return name, type, size in bytes and mtime in seconds of a file or folder."""
        name = path.rstrip("/")
        return _info(name, self.root.status(*_way_to_file(name)))

    def ls(self, path: str, detail: bool = True, **_: object) -> list[Any]:  # noqa: FBT001, FBT002 - fsspec's signature
        """Return the infos (or names) of a folder's files and folders, without temporary files and links."""
        entries = self.in_order(path)
        return [*entries] if detail else [info["name"] for info in entries]

    def in_order(self, path: str) -> Iterator[FileInfo]:
        """Iterate over the infos that ``ls`` returns, sorted by name."""
        return (info for info, temporary in self._entries(path) if not temporary and info["type"] != "link")

    def unfinished(self, path: str) -> list[FileInfo]:
        """Return the infos of the temporary files and of the folders in a folder."""
        return [info for info, temporary in self._entries(path) if temporary or info["type"] == "directory"]

    def _entries(self, path: str) -> Iterator[tuple[FileInfo, bool]]:
        """Iterate over the infos in a folder, and whether each is of a temporary file.

        Only the names are in memory together, because a folder may hold a million files.
        """
        prefix = path.rstrip("/")
        with self.root.folder(_way(prefix), listed=True) as folder:
            for entry in sorted(os.listdir(folder.listable), key=unquote if _ON_WINDOWS else None):
                try:
                    status = os.stat(folder.prefix + entry, dir_fd=folder.descriptor, follow_symlinks=False)
                except FileNotFoundError:
                    continue  # removed since it was listed
                name = unquote(entry) if _ON_WINDOWS else entry
                info = _info(f"{prefix}/{name}" if prefix else name, status)
                yield info, info["type"] == "file" and name.endswith(_TEMPORARY)

    def make_folders(self, path: str) -> None:
        """Make the folders above *path*, the root included."""
        if not self.root.is_held:
            make_private_folders(self.root.path, sync=self.fsync)
        self._make_folder(_way_to_file(path)[0])

    def _make_folder(self, way: Way) -> None:
        """Make a folder, after those above it if they are missing, which is rare."""
        if not way.names:
            return
        try:
            above = self.root.folder(way.above)
        except FileNotFoundError:
            self._make_folder(way.above)
            above = self.root.folder(way.above)
        with above:
            with contextlib.suppress(FileExistsError):  # another thread or process was faster, and may not have synced
                os.mkdir(above.prefix + way.names[-1], _PRIVATE_FOLDER, dir_fd=above.descriptor)
            if self.fsync:
                above.sync()

    def private_path(self, path: str) -> str | None:
        """Return the absolute path of a file if no other user can exchange the file or a folder above it, else None."""
        way, name = _way_to_file(path)
        _, status = self.root.read(way, name)
        place = os.path.join(self.root.path, *way.names, name)
        return place if is_private(place, status) else None

    def close(self) -> None:
        """Close the root."""
        self.root.close()

    def _open_to_read(self, path: str) -> tuple[Descriptor, os.stat_result]:
        return self.root.read(*_way_to_file(path))


class _Writer:
    """A file under a temporary name, which its first write makes, and that gets its own name when it is committed.

    Whatever an interrupt comes between, ``discard`` leaves neither the file nor a descriptor. As a context manager it
    commits, and after an exception discards.
    """

    def __init__(self, folder: LocalFolder, path: str, *, exclusive: bool) -> None:
        self._folder = folder
        self._path = path
        self._way, self._name = _way_to_file(path)
        self._exclusive = exclusive
        self._at = Folder(None)
        self._temporary = ""
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

    def copy(self, source: io.FileIO) -> int:
        """Write all of a file, by the kernel where that can, and return how many bytes that were."""
        file = self._opened()
        with contextlib.suppress(AttributeError, OSError):  # not on Linux; not on this disk, or the write below says so
            while os.copy_file_range(source.fileno(), file.fileno(), _LARGEST_COPY):
                pass
        while piece := source.read(_PIECE):
            self.write(piece)
        return file.tell()

    def settle(self, *, sync: bool) -> float:
        """Return when the file was written; *sync* brings it to the disk, which may turn out to be full only then."""
        descriptor = self._opened().fileno()
        if sync:
            os.fsync(descriptor)
        return os.fstat(descriptor).st_mtime

    def commit(self, *, description: Description | None = None) -> None:
        """Give the file its name; raise ``FileExistsError`` if the write is exclusive and the name is taken."""
        with self._opened() as file:
            if description is not None:
                _describe(file.fileno(), description)
            if self._folder.fsync:
                os.fsync(file.fileno())
        at = self._at
        if self._exclusive:
            claim(at.prefix + self._temporary, at.prefix + self._name, at.number)
        else:
            source, target = at.prefix + self._temporary, at.prefix + self._name
            os.replace(source, target, src_dir_fd=at.descriptor, dst_dir_fd=at.descriptor)
        self._temporary = ""
        if self._folder.fsync:
            at.sync()

    def discard(self) -> None:
        """Leave nothing behind; harmless after a commit."""
        if self._temporary:
            if self._file is not None:
                self._file.close()
            with contextlib.suppress(OSError):  # not made, mostly; what is left a sweep removes
                os.unlink(self._at.prefix + self._temporary, dir_fd=self._at.descriptor)
        self._at.close()

    def _opened(self) -> io.FileIO:
        """Return the open file, with the folders above it made, which a delete beside us may take away again."""
        if self._file is not None:
            return self._file
        for _ in range(_ATTEMPTS):
            try:
                self._at = self._folder.root.folder(self._way)
                self._temporary = f"{self._name}.{os.urandom(4).hex()}{_TEMPORARY}"  # before it is there: see discard
                self._file = next(map(io.FileIO, self._at.create(self._temporary), ("wb",)))
            except FileNotFoundError:
                self._folder.make_folders(self._path)
            else:
                return self._file
        raise NotADirectoryError(errno.ENOTDIR, "the folder of the file vanishes all the time", self._path)


def _describe(descriptor: int, description: Description) -> None:
    """Keep a description in an extended attribute, where the file system has these and space for it."""
    if _HAS_ATTRIBUTES:
        text = "\n".join(f"{name}={value}" for name, value in pack(description).items())
        with contextlib.suppress(
            OSError
        ):  # a description is optional; a failing disk also fails the write of the bytes
            os.setxattr(descriptor, _ATTRIBUTE, text.encode())


def _described(descriptor: Descriptor) -> Description | None:
    if not _HAS_ATTRIBUTES:
        return None
    try:
        text = os.getxattr(descriptor, _ATTRIBUTE).decode()
    except OSError as error:
        if error.errno in _NO_ATTRIBUTE:
            return None
        raise
    return unpack(dict([line.split("=", 1) for line in text.splitlines()]))


def _content(descriptor: Descriptor, status: os.stat_result) -> bytes:
    data = os.read(descriptor, status.st_size + 1)  # mostly all of it, and no call to see the end
    if len(data) == status.st_size:
        return data
    return b"".join((data, *iter(lambda: os.read(descriptor, _PIECE), b"")))


def _info(name: str, status: os.stat_result) -> FileInfo:
    kind = "directory" if stat.S_ISDIR(status.st_mode) else "file" if stat.S_ISREG(status.st_mode) else "link"
    return {"name": name, "type": kind, "size": status.st_size, "mtime": status.st_mtime}


class _LocalReader(MappedReader):
    """A reader with a descriptor, from which a server can send the file."""

    def fileno(self) -> int:
        return int(self._file.fileno())


class LocalStorage(FileStorage):
    """Bytes as files of one folder of the local disk.

    Args:
        root: see :class:`LocalFolder`.
        fsync: see :class:`LocalFolder`.

    """

    remote = False

    def __init__(self, root: str, *, fsync: bool = False) -> None:
        super().__init__(LocalFolder(root, fsync=fsync), "filesystem", _LocalReader)

    def path(self, key: str) -> str | None:
        """Return the absolute path of a file, or None where another user could exchange it before it is opened."""
        path: str | None = None
        with self._reading, contextlib.suppress(FileNotFoundError):
            path = self._fs.private_path(key)
        return path

    def create(self) -> str:
        """Make the root."""
        root: str = self._fs.root.path
        with self._errors:
            is_new = not os.path.isdir(root)
            self._fs.make_folders("file")  # the root is above each file
        return f"{'created' if is_new else 'found'} the folder {root!r}"

    @property
    def connected(self) -> bool:
        """Whether it holds the root open."""
        return bool(self._fs.root.is_held)

    def close(self) -> None:
        """Close the root."""
        self._fs.close()
