"""Storage on any filesystem that fsspec opens by a URL."""

from __future__ import annotations

import contextlib
import io
import os
import posixpath
import re
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, TypeVar
from urllib.parse import unquote

from fsspec.core import url_to_fs
from fsspec.implementations.dirfs import DirFileSystem
from fsspec.implementations.memory import MemoryFile
from fsspec.spec import AbstractBufferedFile, AbstractFileSystem

from chuk_artifacts.errors import ArtifactCorruptedError, ArtifactStoreError, ErrorMap, ProviderError
from chuk_artifacts.fork import watch
from chuk_artifacts.settings import OBJECT_STORES, Settings, complete_url
from chuk_artifacts.source import Stream
from chuk_artifacts.storage import About, Description, ObjectChangedError
from chuk_artifacts.storage.drivers import Describer
from chuk_artifacts.storage.files import FileInfo, FileStorage

T = TypeVar("T")

_TEMPORARY = ".tmp"
_SPOOL_BYTES = 8 * 1024 * 1024
_KNOWN_FOLDERS = 10_000
_ATTEMPTS = 4
_COPY_SECONDS = 60.0
_FIRST_PAUSE, _LONGEST_PAUSE = 0.01, 1.0
# A put of these shows the new object or none, and they have no folders.
_OBJECT_STORES = OBJECT_STORES | {"memory"}
# Of these, a long object appears when its upload is finished, and not when that is given up. (OSS shows it growing.)
_WHOLE_UPLOADS = OBJECT_STORES - {"oss"}
_TRANSPARENT = {"dir", "simplecache", "filecache", "blockcache"}
# What tells the content of an object from another, in the drivers of object stores and HTTP. FTP has such facts, but
# there each look lists the whole folder.
_VERSIONS = ("ETag", "etag", "generation", "VersionId", "md5Hash", "content_md5")
_MODIFIED = ("mtime", "LastModified", "last_modified", "updated", "modified", "modify", "timeCreated", "created")
# What a URL or a glob gives a meaning to, and what some servers refuse as the name of a file.
_FORBIDDEN = re.compile(r'[%<>:"|?*\[\]#]|[. ]$')

_RFC_3659 = re.compile(r"\d{14}(\.\d+)?").fullmatch  # section 2.3: the format of a time in FTP

_inherited: list[object] = []
"""Filesystems of a parent process: closing their connections would close the parent's."""


class UrlStorage(FileStorage):
    """Bytes on the filesystem of a URL.

    ``gs://``, ``abfs://`` and other object stores show a new object whole or not at all. Everywhere else a file is
    written under a temporary name, which ends with ``.tmp``, and then moved. That is as atomic as the filesystem's
    move: on SFTP and on most servers of files it is; where a move is a copy and a deletion, a reader may meet a file
    that is still growing, whose length and SHA-256 do not fit its record, and gets ``ArtifactCorruptedError``.

    Few of them can create a file only if it does not exist, so an exclusive put replaces. Whether a write survives
    a power cut is the server's matter, and so are the modes of files. Folders stay when their last file is gone.

    A filesystem is made when it is first needed: one for all threads of a process if it is asynchronous within, else
    one for each thread, because connections are seldom made for more. A forked process makes its own.

    Args:
        settings: what they say of the URL and its options.

    """

    def __init__(self, settings: Settings) -> None:
        """Connect to nothing yet."""
        self._folder = _Folder(settings)
        super().__init__(self._folder, settings.storage_provider)
        self._errors = self._folder.errors()
        self._reading = self._folder.errors(FileNotFoundError)

    @property
    def connected(self) -> bool:
        """Whether it holds connections now."""
        return self._folder.connected

    def put(
        self, key: str, data: bytes | Stream, *, exclusive: bool = False, about: About | None = None
    ) -> tuple[int, str]:
        """Write *data*, whole or not at all, and return its length and SHA-256; *exclusive* is not kept."""
        return super().put(key, data, about=about if self._folder.describer.works else None)

    def delete(self, keys: Sequence[str]) -> None:
        """Remove the bytes of *keys*; drivers report a missing file in many ways."""
        for key in keys:
            try:
                with self._reading, contextlib.suppress(FileNotFoundError):
                    self._folder.rm_file(key)
            except ProviderError:
                if self.stat(key) is not None:
                    raise

    def close(self) -> None:
        """Drop the filesystems; their connections close with them."""
        self._folder.close()


class _DriverErrors(ErrorMap):
    """An error map that also has the thread connect anew after anything that may have left a connection unusable."""

    __slots__ = ("_drop",)

    def __init__(self, folder: _Folder, settings: Settings, passing: tuple[type[Exception], ...]) -> None:
        # What a driver raises is as various as drivers are, so that everything is mapped.
        subject = f"storage {settings.storage_provider!r}"
        super().__init__((Exception,), ProviderError, subject, passing, settings.secrets)
        self._drop = folder.drop

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        if error is not None and not isinstance(error, (FileNotFoundError, ArtifactStoreError)):
            self._drop()
        super().__exit__(kind, error, traceback)


class _Folder:
    """The folder of a URL, with the methods of fsspec that :class:`FileStorage` uses, on paths relative to it.

    The folder's own path may hold ``*``, ``?`` and ``[``. Hence none but fsspec's methods for one file are called,
    which take a path as it is: ``mv``, ``copy`` and ``rm`` of its base class take it for a pattern.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._errors = self.errors()
        self._own = threading.local()
        self._shared: Any = None
        self._made: set[str] = set()
        *outer, protocol = [link.partition("://")[0] for link in (settings.url or "").split("::")]
        self._is_object_store = protocol in _OBJECT_STORES and _TRANSPARENT.issuperset(outer)
        self.describer = Describer("" if outer else protocol)
        self._uploads_whole = protocol in _WHOLE_UPLOADS and {"dir"}.issuperset(outer)
        self.connected = False
        watch(self)

    def errors(self, *passing: type[Exception]) -> ErrorMap:
        """Return what maps the errors of the driver; those *passing* pass."""
        return _DriverErrors(self, self._settings, passing)

    def before_fork(self) -> None:
        """Accept the call: no lock is needed here."""

    def after_fork(self, *, child: bool) -> None:
        """Let a child make filesystems of its own."""
        if child:
            _inherited.extend((self._own, self._shared))
            self.close()

    def close(self) -> None:
        self._own, self._shared = threading.local(), None
        self.connected = False

    @property
    def fs(self) -> Any:
        """The filesystem for this thread."""
        return (self._shared or getattr(self._own, "opened", None) or self._open())[0]

    @property
    def root(self) -> str:
        """The path of the folder, without its last slash."""
        root: str = (self._shared or getattr(self._own, "opened", None) or self._open())[1]
        return root

    def drop(self) -> None:
        """Have this thread connect anew: a call that failed or was interrupted may have left an answer unread."""
        self._own.opened = None

    def _open(self) -> tuple[Any, str]:
        """Make a filesystem: for all threads if it may be shared, or for this one.

        No lock is taken, which an interrupt could leave taken. Of two threads that make a shared one at once, the later
        replaces the other's, which works on for the call that uses it.
        """
        url = complete_url(str(self._settings.url))
        fs, root = url_to_fs(url, skip_instance_cache=True, **self._settings.storage_options)
        opened = fs, root.rstrip("/")
        self.connected = True
        if fs.async_impl:
            self._shared = opened
        else:
            self._own.opened = opened
        return opened

    def _full(self, path: str) -> str:
        segments = [_FORBIDDEN.sub(_percent, segment) for segment in path.split("/")]
        return "/".join((self.root, *segments))

    # Read

    def cat_file(self, path: str) -> bytes:
        return bytes(self.fs.cat_file(self._full(path)))

    def open(self, path: str, mode: str, **_: object) -> Any:
        if mode == "rb":
            file = self.fs.open(self._full(path), "rb")
            cache = getattr(file, "cache", None) if isinstance(file, AbstractBufferedFile) else None
            if cache is not None:
                cache.fetcher = _Blocks(self, self._full(path), cache.fetcher, _version(file.details))
            return io.BytesIO(file.getvalue()) if isinstance(file, MemoryFile) else file  # that is one for everybody
        return _Writer(self, path)

    def version(self, full: str) -> tuple[object, ...]:
        """Return what tells the content of an object from another, as far as its driver knows."""
        self._forget_listings(full)
        return _version(self.fs.info(full))

    def info(self, path: str) -> FileInfo:
        full = self._full(path)
        self._forget_listings(full)
        return self._plain_info(self.fs.info(full), path)

    def in_order(self, path: str) -> list[FileInfo]:
        finished = (info for info in self._entries(path) if not info["name"].endswith(_TEMPORARY))
        return sorted(finished, key=lambda info: info["name"])

    def unfinished(self, path: str) -> list[FileInfo]:
        return [info for info in self._entries(path) if info["name"].endswith(_TEMPORARY) or info["type"] != "file"]

    def _entries(self, path: str) -> Iterator[FileInfo]:
        full = self._full(path)
        self._forget_listings(full)
        for info in self.fs.ls(full, detail=True):
            name = posixpath.basename(info["name"].rstrip("/"))
            yield self._plain_info(info, f"{path}/{unquote(name)}")

    def _forget_listings(self, full: str) -> None:
        """Have the filesystem look again: others write here too."""
        self.fs.invalidate_cache(full)
        self.fs.invalidate_cache(posixpath.dirname(full))

    @staticmethod
    def _plain_info(info: Mapping[str, Any], path: str) -> FileInfo:
        return {"name": path, "type": info["type"], "size": info.get("size") or 0, "mtime": _modified(info)}

    # Write

    def pipe_file(self, path: str, value: bytes, *_: object, description: Description | None = None) -> None:
        full = self._full(path)
        if self._is_object_store:
            self.describer.write(self.fs, full, value, description)
        else:
            self._move_in(path, len(value), lambda temporary: self.fs.pipe_file(temporary, value))

    def describe(self, path: str, description: Description | None) -> None:
        """Add a description to a file."""
        self.describer.add(self.fs, self._full(path), description)

    def description(self, path: str) -> Description | None:
        """Return the description of a file, or None."""
        full = self._full(path)
        self._forget_listings(full)
        return self.describer.read(self.fs, full)

    def cp_file(self, path1: str, path2: str, *, size: int, description: Description | None = None) -> None:
        source = self._full(path1)
        if self._is_object_store:
            self._copy(source, self._full(path2), size)
            self.describe(path2, description)
        else:
            self._check_length(source, size)
            self._move_in(path2, size, lambda temporary: self._copy(source, temporary, size))

    def _copy(self, source: str, target: str, size: int) -> None:
        try:
            self.fs.cp_file(source, target)
        except NotImplementedError:  # SFTP and FTP can't, nor read and write at once on one connection
            with tempfile.TemporaryDirectory() as folder:
                local = os.path.join(folder, "copy")
                self.fs.get_file(source, local)
                self.fs.put_file(local, target)
        try:
            self._wait_for_copy(source, target, size)
        except BaseException:
            self.give_up(target)
            raise

    def _wait_for_copy(self, source: str, target: str, size: int) -> None:
        """Return when a copy has its length: some services only begin it, and lose it with its source (Azure)."""
        if self._length(target, size) == size:
            return
        self._check_length(source, size)
        waited, pause = 0.0, _FIRST_PAUSE
        while self._length(target, size) != size:
            if waited >= _COPY_SECONDS:
                raise ProviderError(f"the copy is not complete after {_COPY_SECONDS:.0f} seconds")
            time.sleep(pause)
            waited, pause = waited + pause, min(2 * pause, _LONGEST_PAUSE)

    def _check_length(self, source: str, size: int) -> None:
        """Raise ``FileNotFoundError`` when there is no source, ``ProviderError`` when it has another length."""
        length = self._length(source, size)
        if length is None:
            raise FileNotFoundError(source)
        if length != size:
            raise ObjectChangedError(source, length, size)

    def _length(self, full: str, expected: int) -> int | None:
        """Return the length of a file in bytes, the *expected* one where the driver has none; None: it is missing."""
        self._forget_listings(full)
        try:
            length = self.fs.info(full).get("size")
        except FileNotFoundError:
            return None
        return expected if length is None else int(length)

    def rm_file(self, path: str) -> None:
        self.fs.rm_file(self._full(path))

    def probe(self, data: bytes) -> float:
        """Write a file, remove it, and return its time of writing; of one without a time, the present here."""
        full = self._temporary("check")
        try:
            self._with_parent(full, lambda: self.fs.pipe_file(full, data))
            self._forget_listings(full)
            modified = _modified(self.fs.info(full))
        except BaseException:
            self.give_up(full)
            raise
        self.fs.rm_file(full)
        return time.time() if modified == float("inf") else modified

    def begin(self, path: str) -> _Upload:
        """Return a long file that is to be written piece by piece, and is not there yet."""
        return _Upload(self, self._full(path), self._temporary(path))

    def open_to_write(self, full: str) -> Any:
        """Return an open file with its folder."""
        return self._with_parent(full, lambda: self.fs.open(full, "wb"))

    def can_give_up(self, file: object) -> bool:
        """Return whether an open file appears when it is closed, and not when :meth:`forget` is called."""
        return self._uploads_whole and isinstance(file, AbstractBufferedFile)

    def forget(self, file: AbstractBufferedFile) -> None:
        """Give up a file of fsspec's own kind, as far as possible."""
        with contextlib.suppress(ProviderError), self._errors:
            try:
                file.discard()
            finally:
                file.closed = True  # or its destructor finishes the upload

    def move(self, source: str, target: str, size: int) -> None:
        """Rename a file of *size* bytes, or copy and remove it where the driver has no rename."""
        if _renames(self.fs):
            self.fs.mv(source, target)
        else:
            self._copy(source, target, size)
            self.fs.rm_file(source)

    def give_up(self, full: str, file: Any = None) -> None:
        """Close and remove a file as far as possible; a sweep removes what is left."""
        if file is not None:
            with contextlib.suppress(ProviderError), self._errors:
                file.close()
        with contextlib.suppress(ProviderError), self._errors:
            self.fs.rm_file(full)

    def _temporary(self, path: str) -> str:
        return f"{self._full(path)}.{os.urandom(4).hex()}{_TEMPORARY}"

    def _move_in(self, path: str, size: int, write: Callable[[str], None]) -> None:
        """Have a file written under a temporary name, and give it its own."""
        temporary = self._temporary(path)
        try:
            self._with_parent(temporary, lambda: write(temporary))
            self.move(temporary, self._full(path), size)
        except BaseException:
            self.give_up(temporary)
            raise

    def _with_parent(self, full: str, write: Callable[[], T]) -> T:
        """Return what *write* does, with the folder above it there."""
        if self._is_object_store:
            return write()
        folder = posixpath.dirname(full)
        if folder in self._made:
            with contextlib.suppress(FileNotFoundError):  # removed since
                return write()
        self._make_folder(folder)
        return write()

    def _make_folder(self, folder: str) -> None:
        """Make a folder and those above it; others may be making some of them too, which many drivers can't stand."""
        for attempt in range(_ATTEMPTS):
            self._forget_listings(folder)
            try:
                with self._errors:
                    self.fs.makedirs(folder, exist_ok=True)
            except ProviderError:
                self._forget_listings(folder)
                if not _is_missing(self.fs, folder):
                    break
                if attempt == _ATTEMPTS - 1:
                    raise
            else:
                break
        if len(self._made) >= _KNOWN_FOLDERS:
            self._made.clear()
        self._made.add(folder)


class _Blocks:
    """Fetches the blocks of an object that is open, and notices when it is replaced: a block is fetched by its path.

    The first block needs no look: alone it can't be a mixture.

    Args:
        folder: where it is.
        full: its path.
        fetch: fetches the bytes from one position to another.
        version: what tells its content, as it was opened, from another.

    """

    def __init__(
        self, folder: _Folder, full: str, fetch: Callable[[int, int], bytes], version: tuple[object, ...]
    ) -> None:
        self._folder = folder
        self._full = full
        self._fetch = fetch
        self._version = version
        self._begun = False

    def __call__(self, start: int, end: int) -> bytes:
        """Return the bytes from *start* to *end*."""
        data = self._fetch(start, end)
        if self._begun and any(self._version[1:]) and self._folder.version(self._full) != self._version:
            raise ArtifactCorruptedError("the bytes were replaced while they were being read")
        self._begun = True
        return data


class _Upload:
    """A long file on its way: under its own name where a driver can give it up, else under a temporary one.

    Args:
        folder: where it goes.
        full: its path.
        temporary: a path beside it.

    """

    def __init__(self, folder: _Folder, full: str, temporary: str) -> None:
        self._folder = folder
        self._full = full
        self._temporary = temporary
        self._direct = False
        self._file: Any = None
        self._size = 0

    def write(self, data: bytes) -> None:
        """Write all of *data*."""
        if self._file is None:
            self._open()
        file: Any = self._file
        file.write(data)
        self._size += len(data)

    def _open(self) -> None:
        self._file = self._folder.open_to_write(self._temporary)
        if self._folder.can_give_up(self._file):
            self._folder.forget(self._file)  # its kind had to be seen, and nothing has been sent
            self._direct, self._file = True, self._folder.open_to_write(self._full)

    def finish(self) -> None:
        """Have the file appear."""
        self._file.close()
        if not self._direct:
            self._folder.move(self._temporary, self._full, self._size)

    def give_up(self) -> None:
        """Leave nothing behind, as far as possible."""
        if self._direct:
            self._folder.forget(self._file)
        else:
            self._folder.give_up(self._temporary, self._file)


class _Writer:
    """A file that is held in memory while it is short, and sent as it is written when it is not."""

    def __init__(self, folder: _Folder, path: str) -> None:
        self._folder = folder
        self._path = path
        self._buffer = io.BytesIO()
        self._upload: _Upload | None = None
        self._done = False

    def write(self, data: bytes) -> None:
        """Write all of *data*."""
        if self._upload is not None:
            self._upload.write(data)
            return
        self._buffer.write(data)
        if self._buffer.tell() > _SPOOL_BYTES:
            data, self._buffer = self._buffer.getvalue(), io.BytesIO()
            self._upload = self._folder.begin(self._path)
            self._upload.write(data)

    def commit(self, *, description: Description | None = None) -> None:
        """Let the file appear under its name."""
        if self._upload is not None:
            self._upload.finish()
            self._folder.describe(self._path, description)
        else:
            self._folder.pipe_file(self._path, self._buffer.getvalue(), description=description)
        self._done = True

    def discard(self) -> None:
        """Leave nothing behind; harmless after a commit."""
        if self._upload is not None and not self._done:
            self._upload.give_up()


def _version(info: dict[str, Any]) -> tuple[object, ...]:
    return (info.get("size"), *(info.get(name) for name in _VERSIONS))


def _percent(match: re.Match[str]) -> str:
    return f"%{ord(match[0]):02X}"


def _renames(fs: Any) -> bool:
    """Return whether a driver has a rename of its own; the one of fsspec's base class takes a path for a pattern."""
    driver = getattr(fs.mv, "__self__", fs)
    while isinstance(driver, DirFileSystem):  # which passes it on
        driver = getattr(driver.fs.mv, "__self__", driver.fs)
    # Those that are asynchronous within are object stores; their own ``mv`` is as fsspec's (gcsfs).
    return not driver.async_impl and type(driver).mv is not AbstractFileSystem.mv


def _is_missing(fs: Any, full: str) -> bool:
    try:
        fs.info(full)
    except FileNotFoundError:
        return True
    return False


def _modified(info: Mapping[str, object]) -> float:
    """Return when a file was written, in seconds since the epoch; far in the future if the driver does not know."""
    value = next((info[name] for name in _MODIFIED if info.get(name) is not None), None)
    if isinstance(value, str):
        if _RFC_3659(value):
            value = f"{value[:8]}T{value[8:14]}"
        with contextlib.suppress(ValueError):
            value = datetime.fromisoformat(value)
    if isinstance(value, datetime):
        return (value if value.tzinfo else value.replace(tzinfo=UTC)).timestamp()
    return float(value) if isinstance(value, (int, float)) else float("inf")
