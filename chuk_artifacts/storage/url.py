"""Storage on any filesystem that fsspec opens by a URL."""

from __future__ import annotations

import contextlib
import functools
import io
import os
import posixpath
import re
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any, TypeVar
from urllib.parse import unquote

from fsspec.core import url_to_fs
from fsspec.implementations.memory import MemoryFile

from chuk_artifacts.errors import ErrorMap, ProviderError
from chuk_artifacts.fork import watch
from chuk_artifacts.settings import Settings, complete_url
from chuk_artifacts.storage.files import FileStorage

T = TypeVar("T")

_TEMPORARY = ".tmp"
_SPOOL_BYTES = 8 * 1024 * 1024
_KNOWN_FOLDERS = 10_000
# A put of these shows the new object or none, and they have no folders.
_OBJECT_STORES = {"memory", "gs", "gcs", "abfs", "abfss", "az", "s3", "s3a", "oci", "ocilake", "oss"}
_TRANSPARENT = {"dir", "simplecache", "filecache", "blockcache"}
_MODIFIED = ("mtime", "LastModified", "last_modified", "updated", "modified", "modify", "timeCreated", "created")
# What a URL or a glob gives a meaning to, and what some servers refuse as the name of a file.
_FORBIDDEN = re.compile(r'[%<>:"|?*\[\]#]|[. ]$')

_RFC_3659 = re.compile(r"\d{14}(\.\d+)?").fullmatch  # section 2.3: how FTP tells a time

_inherited: list[object] = []
"""Filesystems of a parent process: closing their connections would close the parent's."""


class UrlStorage(FileStorage):
    """Bytes on the filesystem of a URL.

    ``gs://``, ``abfs://`` and other object stores take a whole object at once. Everywhere else, and for what is longer
    than 8 MiB, a file is written under a temporary name, which ends with ``.tmp``, and then moved. That is as atomic as
    the filesystem's move: on SFTP and on most servers of files it is; where a move is a copy and a deletion, a reader
    may meet a file that is still growing, whose length and SHA-256 do not fit its record, and is told so
    (``ArtifactCorruptedError``).

    Hardly any of them creates a file only if there is none. Threads of one process wait for each other; processes do
    not, so that a revision's key ends with a random number here (see :attr:`claims`). Whether a write survives a power
    cut is the server's matter, and so are the modes of files. Folders stay when their last file is gone.

    A filesystem is made when it is first needed: one for all threads of a process if it is asynchronous within, else
    one for each thread, because connections are seldom made for more. A forked process makes its own.

    Args:
        settings: what they say of the URL and its options.

    """

    claims = False

    def __init__(self, settings: Settings) -> None:
        """Connect to nothing yet."""
        subject = f"storage {settings.storage_provider!r}"
        # What a driver raises is as various as drivers are, so that everything is mapped.
        mapped = functools.partial(ErrorMap, (Exception,), ProviderError, subject, secrets=settings.secrets)
        self._folder = _Folder(settings, mapped())
        super().__init__(self._folder, settings.storage_provider)
        self._reading = mapped((FileNotFoundError,))
        self._writing = mapped((FileExistsError,))
        self._copying = mapped((FileNotFoundError, FileExistsError))

    def delete(self, keys: Sequence[str]) -> None:
        """Remove the bytes of *keys*; drivers have many ways to say that there is nothing to remove."""
        for key in keys:
            try:
                super().delete([key])
            except ProviderError:
                if self.stat(key) is not None:
                    raise

    def check(self) -> None:
        """Write a file, and remove it."""
        name = f"check.{os.urandom(4).hex()}{_TEMPORARY}"
        with self._writing:
            self._folder.pipe_file(name, b"")
            self._folder.rm_file(name)

    def close(self) -> None:
        """Let go of the filesystems; their connections close with them."""
        self._folder.close()


class _Folder:
    """The folder of a URL, with the verbs of fsspec that :class:`FileStorage` uses, on paths relative to it."""

    def __init__(self, settings: Settings, errors: ErrorMap) -> None:
        self._settings = settings
        self._errors = errors
        self._own = threading.local()
        self._shared: Any = None
        self._lock = threading.RLock()
        self._made: set[str] = set()
        links = [link.partition("://")[0] for link in (settings.url or "").split("::")]
        self._is_object_store = links[-1] in _OBJECT_STORES and _TRANSPARENT.issuperset(links[:-1])
        watch(self)

    def before_fork(self) -> None:
        """Wait for who holds the lock."""
        self._lock.acquire()

    def after_fork(self, *, child: bool) -> None:
        """Go on; a child makes filesystems of its own."""
        if child:
            _inherited.extend((self._own, self._shared))
            self._own, self._shared = threading.local(), None
        self._lock.release()

    def close(self) -> None:
        self._own, self._shared = threading.local(), None

    @property
    def fs(self) -> Any:
        """The filesystem for this thread."""
        return (self._shared or getattr(self._own, "opened", None) or self._open())[0]

    @property
    def root(self) -> str:
        """The path of the folder, without its last slash."""
        root: str = (self._shared or getattr(self._own, "opened", None) or self._open())[1]
        return root

    def _open(self) -> tuple[Any, str]:
        with self._lock:
            if self._shared is not None:
                opened: tuple[Any, str] = self._shared
                return opened
            url = complete_url(str(self._settings.url))
            fs, root = url_to_fs(url, skip_instance_cache=True, **self._settings.storage_options)
            opened = fs, root.rstrip("/")
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

    def open(self, path: str, mode: str, **_: Any) -> Any:
        if mode == "rb":
            file = self.fs.open(self._full(path), "rb")
            return io.BytesIO(file.getvalue()) if isinstance(file, MemoryFile) else file  # that is one for everybody
        return _Writer(self, path, exclusive=mode == "xb")

    def info(self, path: str) -> dict[str, Any]:
        full = self._full(path)
        self._forget_listings(full)
        return self._plain_info(self.fs.info(full), path)

    def ls(self, path: str, **_: Any) -> list[dict[str, Any]]:
        return [info for info in self._entries(path) if not info["name"].endswith(_TEMPORARY)]

    def unfinished(self, path: str) -> list[dict[str, Any]]:
        return [info for info in self._entries(path) if info["name"].endswith(_TEMPORARY) or info["type"] != "file"]

    def _entries(self, path: str) -> Iterator[dict[str, Any]]:
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
    def _plain_info(info: dict[str, Any], path: str) -> dict[str, Any]:
        return {"name": path, "type": info["type"], "size": info.get("size") or 0, "mtime": _modified(info)}

    # Write

    def pipe_file(self, path: str, value: bytes, mode: str = "overwrite") -> None:
        if self._is_object_store:
            self._if_free(path, mode, lambda: self.fs.pipe_file(self._full(path), value))
        else:
            self._move_in(path, mode, lambda temporary: self.fs.pipe_file(temporary, value))

    def cp_file(self, path1: str, path2: str, mode: str = "overwrite") -> None:
        if self._is_object_store:
            self._if_free(path2, mode, lambda: self.fs.cp_file(self._full(path1), self._full(path2)))
        else:
            self.fs.info(self._full(path1))  # raises for a missing one in a way that is known
            self._move_in(path2, mode, lambda temporary: self._copy(self._full(path1), temporary))

    def _copy(self, source: str, target: str) -> None:
        try:
            self.fs.cp_file(source, target)
        except NotImplementedError:  # SFTP and FTP can't, nor read and write at once on one connection
            with tempfile.TemporaryDirectory() as folder:
                local = os.path.join(folder, "copy")
                self.fs.get_file(source, local)
                self.fs.put_file(local, target)

    def rm_file(self, path: str) -> None:
        self.fs.rm_file(self._full(path))

    def begin(self, path: str) -> tuple[str, Any]:
        """Return a temporary name beside a path, and an open file of that name."""
        temporary = self._temporary(path)
        return temporary, self._with_parent(temporary, lambda: self.fs.open(temporary, "wb"))

    def finish(self, temporary: str, path: str, mode: str) -> None:
        """Put a temporary file in its place."""
        full = self._full(path)
        self._if_free(path, mode, lambda: self.fs.mv(temporary, full))

    def give_up(self, temporary: str, file: Any = None) -> None:
        """Close and remove a temporary file as far as possible; a sweep removes what is left."""
        if file is not None:
            with contextlib.suppress(ProviderError), self._errors:
                file.close()
        with contextlib.suppress(ProviderError), self._errors:
            self.fs.rm_file(temporary)

    def _temporary(self, path: str) -> str:
        return f"{self._full(path)}.{os.urandom(4).hex()}{_TEMPORARY}"

    def _move_in(self, path: str, mode: str, write: Callable[[str], None]) -> None:
        """Have a file written under a temporary name, and put it in its place."""
        temporary = self._temporary(path)
        try:
            self._with_parent(temporary, lambda: write(temporary))
            self.finish(temporary, path, mode)
        except BaseException:
            self.give_up(temporary)
            raise

    def _if_free(self, path: str, mode: str, write: Callable[[], None]) -> None:
        if mode != "create":
            write()
            return
        with self._lock:
            self._forget_listings(self._full(path))
            if not _is_missing(self.fs, self._full(path)):
                raise FileExistsError(path)
            write()

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
        with self._lock:
            self._forget_listings(folder)
            try:
                with self._errors:
                    self.fs.makedirs(folder, exist_ok=True)
            except ProviderError:
                self._forget_listings(folder)
                if _is_missing(self.fs, folder):  # else somebody else has just made it
                    raise
            if len(self._made) >= _KNOWN_FOLDERS:
                self._made.clear()
            self._made.add(folder)


class _Writer:
    """A file that is held in memory while it is short, and written under a temporary name when it is not."""

    def __init__(self, folder: _Folder, path: str, *, exclusive: bool) -> None:
        self._folder = folder
        self._path = path
        self._mode = "create" if exclusive else "overwrite"
        self._buffer = io.BytesIO()
        self._temporary = ""
        self._file: Any = self._buffer

    def write(self, data: bytes) -> None:
        """Write all of *data*."""
        self._file.write(data)
        if self._file is self._buffer and self._buffer.tell() > _SPOOL_BYTES:
            self._temporary, self._file = self._folder.begin(self._path)
            self._file.write(self._buffer.getvalue())

    def commit(self) -> None:
        """Put the file in its place; raise ``FileExistsError`` when that is taken and the write exclusive."""
        if self._temporary:
            self._file.close()
            self._folder.finish(self._temporary, self._path, self._mode)
        else:
            self._folder.pipe_file(self._path, self._buffer.getvalue(), self._mode)

    def close(self) -> None:
        """Do nothing more."""

    def discard(self) -> None:
        """Leave nothing behind."""
        if self._temporary:
            self._folder.give_up(self._temporary, self._file)


def _percent(match: re.Match[str]) -> str:
    return f"%{ord(match[0]):02X}"


def _is_missing(fs: Any, full: str) -> bool:
    try:
        fs.info(full)
    except FileNotFoundError:
        return True
    return False


def _modified(info: dict[str, Any]) -> float:
    """Return when a file was written, in seconds since the epoch; of one that does not tell, far in the future."""
    value = next((info[name] for name in _MODIFIED if info.get(name) is not None), None)
    if isinstance(value, str):
        if _RFC_3659(value):
            value = f"{value[:8]}T{value[8:14]}"
        with contextlib.suppress(ValueError):
            value = datetime.fromisoformat(value)
    if isinstance(value, datetime):
        return (value if value.tzinfo else value.replace(tzinfo=UTC)).timestamp()
    return float(value) if isinstance(value, (int, float)) else float("inf")
