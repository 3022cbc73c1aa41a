"""``artifact://{session_id}/{filename}``: a store as an fsspec filesystem, for whatever opens files by URL."""

from __future__ import annotations

import errno
import os
from codecs import lookup_error
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from datetime import datetime
from functools import partial
from glob import has_magic
from hashlib import sha256
from itertools import chain, groupby
from typing import TYPE_CHECKING, Any, BinaryIO

from fsspec.callbacks import DEFAULT_CALLBACK, Callback
from fsspec.compression import compr
from fsspec.core import get_compression
from fsspec.spec import AbstractFileSystem
from fsspec.utils import tokenize

from chuk_artifacts.arguments import check_count, check_encoding, check_items, check_path, check_text, plain
from chuk_artifacts.core import forget_shared_cores
from chuk_artifacts.errors import (
    AccessDeniedError,
    ArtifactNotFoundError,
    ConflictError,
    InvalidInputError,
    shown,
)
from chuk_artifacts.filesystem.files import CompressingWriter, Reader, TextWriter, Writer
from chuk_artifacts.filesystem.paths import PROTOCOL, folders_between, parsed, session_segment, text_of
from chuk_artifacts.filesystem.ranges import Range, bound, read_ranges
from chuk_artifacts.filesystem.transfers import (
    LiteralPaths,
    LocalFiles,
    Pairs,
    Transfer,
    check_depth,
    check_moves,
    ends_with_slash,
    in_safe_order,
    is_list,
    pairs,
    several,
)
from chuk_artifacts.grid import is_artifact_id
from chuk_artifacts.models import ArtifactMetadata, seconds_of
from chuk_artifacts.operations import changing, listing, reading
from chuk_artifacts.operations.changing import Change
from chuk_artifacts.operations.history import content_at, versions_of
from chuk_artifacts.redaction import public_url
from chuk_artifacts.source import Stream
from chuk_artifacts.source import source as content_of
from chuk_artifacts.store import ArtifactStore, SharedStore

Info = dict[str, Any]

_PIECE = 1024 * 1024
_MANY = 1000
_STORE_FIELDS = ("mime", "summary", "meta", "ttl")
_OF_FSSPEC = ("asynchronous", "loop", "batch_size", "use_listings_cache", "listings_expiry_time", "max_paths")
_NOT_SECRET = frozenset(
    {
        "session_id",
        "session_provider",
        "bucket",
        "sandbox_id",
        "fs_root",
        "session_ttl_hours",
        "max_retries",
        "max_connections",
        "max_summary_bytes",
        "max_meta_bytes",
        "max_user_id_bytes",
        "keep_versions",
        "region",
    }
)


if TYPE_CHECKING:

    class _FileSystem:
        """The methods of fsspec's base class that are called here; fsspec has no types."""

        _intrans: bool

        def find(self, *args: Any, **kwargs: Any) -> Any: ...
        def get(self, *args: Any, **kwargs: Any) -> Any: ...
        def glob(self, *args: Any, **kwargs: Any) -> Any: ...
        def head(self, *args: Any, **kwargs: Any) -> Any: ...
        def open(self, *args: Any, **kwargs: Any) -> Any: ...
        def pipe(self, *args: Any, **kwargs: Any) -> Any: ...
        def put(self, *args: Any, **kwargs: Any) -> Any: ...
        def put_file(self, *args: Any, **kwargs: Any) -> Any: ...
        def read_block(self, *args: Any, **kwargs: Any) -> Any: ...
        def size(self, *args: Any, **kwargs: Any) -> Any: ...
        def tail(self, *args: Any, **kwargs: Any) -> Any: ...
        def walk(self, *args: Any, **kwargs: Any) -> Any: ...
        def write_text(self, *args: Any, **kwargs: Any) -> Any: ...
else:
    _FileSystem = AbstractFileSystem


class ArtifactFileSystem(LiteralPaths, _FileSystem):
    """The artifacts of a store as files: ``{session_id}/{filename}``.

    The session is the first segment of a path, percent-encoded where it holds what a URL gives a meaning to. Folders
    are the beginnings of filenames up to a slash: :meth:`mkdir` remembers nothing, and a folder is gone with its last
    file. An artifact without a filename appears under its id. A store may hold several artifacts with one filename: the
    path is the newest of them, ``others`` in its info counts the rest, and :meth:`rm` and :meth:`mv` take them all. A
    write makes no second one.

    Writing to the path of an artifact makes a new revision of it. A file appears whole when it is closed, or not at
    all. A whole file is verified when it is read; of a range only the artifact's length is.

    Filesystems of the same settings share one :class:`ArtifactStore` in a process, so that making one is cheap and what
    is in memory is found again. fsspec's own cache of instances is not used: it would keep one for each thread and
    session for ever, and would not notice a changed environment. Nor is there a cache of listings. A filesystem pickles
    as its settings without what is secret, which the other process takes from its own environment.

    What is said of errors in :class:`ArtifactStore` goes for the methods here. ``ArtifactNotFoundError`` is a
    ``FileNotFoundError``, ``AccessDeniedError`` a ``PermissionError``, and an outage never looks like a missing file.

    Args:
        store: the store; None: one of *arguments*, or of the environment.
        session_id: the one session that can be reached; None: all.
        arguments: those of :class:`ArtifactStore`.

    Attributes:
        store: the store, bound if *session_id* is given.

    Raises:
        InvalidInputError: an argument is wrong.
        AccessDeniedError: *store* is bound to another session than *session_id*.

    Example:
        >>> fs = ArtifactFileSystem(ArtifactStore())
        >>> fs.pipe_file("user_alice/notes/a.txt", b"Hello, world!")
        >>> fs.find("user_alice")
        ['user_alice/notes/a.txt']
        >>> with fs.open("user_alice/notes/a.txt", "rt") as file:
        ...     file.read(5)
        'Hello'

    """

    protocol = PROTOCOL
    cachable = False

    def __init__(self, store: ArtifactStore | None = None, *, session_id: str | None = None, **arguments: Any) -> None:
        super().__init__()
        for name in _OF_FSSPEC:
            arguments.pop(name, None)
        if store is None:
            store = SharedStore(**arguments)
        elif arguments:
            raise InvalidInputError(f"a store has its settings already: {min(arguments)} can't be given with one")
        self.store: ArtifactStore = store if session_id is None else store.session(session_id)
        self._session_id = self.store.scope.session_id

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle as the store, that is, as its settings without what is secret."""
        return type(self), (self.store,)

    def __repr__(self) -> str:
        """Name the store."""
        return f"<{type(self).__name__} of {self.store!r}>"

    def __eq__(self, other: object) -> bool:
        """Say whether both are of the same store and session."""
        return isinstance(other, ArtifactFileSystem) and self.store == other.store

    def __hash__(self) -> int:
        """Return a number that is the same for equal ones."""
        return hash(self.store)

    @property
    def _fs_token(self) -> str:
        """What dask names the filesystem by: the same in each process."""
        token: str = tokenize(type(self).__qualname__, repr(self.store))
        return token

    @property
    def storage_options(self) -> dict[str, Any]:
        """The arguments it was made of, without any that may hold a secret."""
        return self._options

    @storage_options.setter
    def storage_options(self, options: dict[str, Any]) -> None:
        self._options = {name: value for name, value in options.items() if name in _NOT_SECRET}
        if isinstance(provider := options.get("storage_provider"), str):
            self._options["storage_provider"] = public_url(provider)

    @classmethod
    def clear_instance_cache(cls) -> None:
        """Open new stores from now on; stores in use go on, and each closes after its last use."""
        forget_shared_cores()

    # Paths

    @classmethod
    def _strip_protocol(cls, path: Any) -> Any:
        """Return the path of a URL, with the session's segment in its canonical form."""
        if isinstance(path, list):
            return [cls._strip_protocol(one) for one in path]
        return parsed(path)[0]

    @staticmethod
    def _split(path: Any) -> tuple[str, str]:
        """Return session and filename of a path; of a session's own path the filename is empty."""
        return parsed(path)[1]

    def _split_file(self, path: Any) -> tuple[str, str]:
        """Return session and filename of a path that a file can have."""
        session, name = self._split(path)
        if not name:
            raise IsADirectoryError(errno.EISDIR, "a session is a folder", path)
        return session, name

    def _check_session(self, session: str) -> None:
        """Raise for a session that can't be reached from here."""
        scope = self.store.scope
        scope.check_open()
        scope.session(session)

    # Look

    def _find(self, path: Any) -> list[ArtifactMetadata]:
        """Return the artifacts of a path, the newest first; none where there is no file."""
        session, name = self._split(path)
        return self._named(session, name) if name else []

    def _named(self, session: str, name: str) -> list[ArtifactMetadata]:
        """Return the artifacts of a session that a path with that name leads to, the newest first."""
        try:
            found = listing.named(self.store.scope, session, name)
        except InvalidInputError:  # nothing can be called that
            return []
        if len(found) > 1:
            found.sort(key=listing.age, reverse=True)
        return found or (self._nameless(session, name) if is_artifact_id(name) else [])

    def _nameless(self, session: str, name: str) -> list[ArtifactMetadata]:
        """Return the artifact without a filename whose id is *name*."""
        try:
            found = self.store.metadata(name)
        except ArtifactNotFoundError:
            return []
        return [found] if found.filename is None and found.session_id == session else []

    def _files(self, path: Any) -> list[ArtifactMetadata]:
        """Return the artifacts of a path, the newest first, or raise."""
        found = self._find(path)
        if not found:
            raise self._no_file(path)
        return found

    def _file(self, path: Any) -> ArtifactMetadata:
        """Return the newest artifact of a path, or raise."""
        return self._files(path)[0]

    def _no_file(self, path: Any) -> OSError:
        if self._is_folder(path):
            return IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)
        return _missing(path)

    def _is_folder(self, path: Any) -> bool:
        session, name = self._split(path)
        if not session:
            return True
        if name:
            return any(self._listed(session, name, page_size=1))
        try:
            return self.store.validate_session(session)
        except InvalidInputError:  # no session can be called that
            return False

    def info(self, path: Any, **_: Any) -> Info:
        """Return what is known of a path.

        Args:
            path: the path.

        Returns:
            ``name``, ``type`` (``file`` or ``directory``) and ``size`` in bytes; of a file also ``created`` and
            ``modified`` (datetimes in UTC), ``mtime`` (seconds since the epoch), ``artifact_id``, ``mime``, ``sha256``,
            ``revision``, ``versions`` (see :meth:`ArtifactStore.versions`; each a dict), and ``others``: how many older
            artifacts have the same filename.

        Raises:
            ArtifactNotFoundError: there is neither a file nor a folder.

        """
        path = parsed(path)[0]
        found = self._find(path)
        if found:
            return self._file_info(path, found)
        if self._is_folder(path):
            return _folder_info(path)
        raise _missing(path)

    def exists(self, path: Any, **_: Any) -> bool:
        """Say whether there is a file or a folder; an outage raises."""
        return bool(self._find(path)) or self._is_folder(path)

    def isfile(self, path: Any) -> bool:
        """Say whether there is a file; an outage raises."""
        return bool(self._find(path))

    def isdir(self, path: Any) -> bool:
        """Say whether there is a folder and no file; an outage raises."""
        return not self._find(path) and self._is_folder(path)

    def created(self, path: Any) -> datetime:
        """Return when the file was first stored, in UTC."""
        return datetime.fromisoformat(self._file(path).stored_at)

    def modified(self, path: Any) -> datetime:
        """Return when the file was last changed, in UTC."""
        return datetime.fromisoformat(self._file(path).updated_at)

    def checksum(self, path: Any) -> int:
        """Return the SHA-256 of a file's bytes as a number."""
        return int(self._file(path).sha256, 16)

    def ukey(self, path: Any) -> str:
        """Return a text that changes when the path is another artifact or its bytes change."""
        found = self._file(path)
        return sha256(f"{found.artifact_id} {found.sha256}".encode()).hexdigest()

    def sign(self, path: Any, expiration: float = 100, **_: Any) -> str:
        """Return a URL to download a file; see :meth:`ArtifactStore.presign`.

        Args:
            path: the file.
            expiration: for how many seconds it works.

        Returns:
            the URL.

        """
        return self.store.presign(self._file(path).artifact_id, expiration)

    def _file_info(self, path: str, found: Sequence[ArtifactMetadata]) -> Info:
        """Return the info of a path with these artifacts, the newest first."""
        latest = found[0]
        return {
            "name": path,
            "size": latest.bytes,
            "type": "file",
            "created": datetime.fromisoformat(latest.stored_at),
            "modified": datetime.fromisoformat(latest.updated_at),
            "mtime": seconds_of(latest.updated_at),
            "artifact_id": latest.artifact_id,
            "mime": latest.mime,
            "sha256": latest.sha256,
            "revision": latest.revision,
            "versions": [dict(version) for version in versions_of(latest, self.store.scope.core.clock())],
            "others": len(found) - 1,
        }

    # List

    def ls(self, path: Any, detail: bool = True, **_: Any) -> list[Any]:  # noqa: FBT001, FBT002 - fsspec's signature
        """Return what is in a folder: the files and folders directly in it, not those below.

        The cost depends on the entries returned, not on the contents of the folders below.

        Args:
            path: the folder; of a file, itself is returned.
            detail: whether infos are wanted (see :meth:`info`) or paths.

        Returns:
            the infos, or paths, ordered by name.

        Raises:
            ArtifactNotFoundError: there is neither a folder nor a file.
            AccessDeniedError: the sessions of a whole store are wanted, which are not listed.

        """
        path = parsed(path)[0]
        infos = list(self._children(path) if path else self._sessions())
        if not infos:
            info = self.info(path)
            infos = [info] if info["type"] == "file" else []
        return infos if detail else [info["name"] for info in infos]

    def _sessions(self) -> Iterator[Info]:
        if self._session_id is None:
            raise AccessDeniedError(f"the sessions of a store are not listed: name one, {PROTOCOL}://{{session_id}}")
        yield _folder_info(session_segment(self._session_id)[0])

    def _children(self, path: str) -> Iterator[Info]:
        root, _, folder = path.partition("/")
        prefix = f"{folder}/" if folder else ""
        try:
            found = listing.level(self.store.scope, self._split(path)[0], prefix)
        except InvalidInputError:  # no folder can be called that
            return
        for name, same in groupby(found, listing.shown_name):
            inner = listing.inner_folder(name, prefix)
            if inner:
                yield _folder_info(f"{root}/{inner[:-1]}")
            else:
                yield self._file_info(f"{root}/{name}", sorted(same, key=listing.age, reverse=True))

    def _listed(self, session: str, folder: str, **options: Any) -> Iterator[ArtifactMetadata]:
        """Iterate over the artifacts below a folder; yield none for a path that no folder can have."""
        try:
            return self.store.iter_session(session, prefix=f"{folder}/" if folder else "", **options)
        except InvalidInputError:
            return iter(())

    def find(
        self,
        path: Any,
        maxdepth: int | None = None,
        withdirs: bool = False,  # noqa: FBT001, FBT002 - fsspec's signature
        detail: bool = False,  # noqa: FBT001, FBT002
        **kwargs: Any,
    ) -> Any:
        """Return the files below a folder, in any depth, by one pass over the session's listing.

        Args:
            path: the folder; of a file, itself is returned.
            maxdepth: how many levels deep; None: all.
            withdirs: whether to return folders too.
            detail: whether infos are wanted or paths.
            kwargs: nothing more is known.

        Returns:
            the sorted paths, or a dict of infos by path; empty when nothing matches.

        Raises:
            AccessDeniedError: the files of a whole store are wanted, whose sessions are not listed.

        """
        path, maxdepth = parsed(path)[0], check_depth(maxdepth)
        if not path:
            (path,) = (info["name"] for info in self._sessions())
        if maxdepth is not None:
            return super().find(path, maxdepth=maxdepth, withdirs=withdirs, detail=detail, **kwargs)
        infos = {info["name"]: info for info in self._below(path)}
        if withdirs and (infos or self._is_folder(path)):
            for folder in {folder for name in infos for folder in folders_between(path, name)}:
                infos.setdefault(folder, _folder_info(folder))
            infos.setdefault(path, _folder_info(path))
        if not infos and (found := self._find(path)):
            infos[path] = self._file_info(path, found)
        names = sorted(infos)
        return {name: infos[name] for name in names} if detail else names

    def _below(self, path: str) -> Iterator[Info]:
        root = path.partition("/")[0]
        for name, same in groupby(self._listed(*self._split(path)), listing.shown_name):
            yield self._file_info(f"{root}/{name}", sorted(same, key=listing.age, reverse=True))

    def glob(self, path: Any, maxdepth: int | None = None, **kwargs: Any) -> Any:
        """Return the paths that match a pattern.

        Args:
            path: the pattern, see fsspec; the session is no part of it.
            maxdepth: how many levels deep ``**`` goes; None: all.
            kwargs: ``detail=True`` returns a dict of the infos by path.

        Returns:
            the paths, ordered.

        Raises:
            AccessDeniedError: the session is a pattern; sessions are not listed.

        """
        session = text_of(path).removeprefix(f"{PROTOCOL}://").lstrip("/").partition("/")[0]
        if has_magic(session):
            raise AccessDeniedError(f"a session can't be a pattern, and is written %2A for a *: {shown(session)}")
        return super().glob(path, maxdepth=check_depth(maxdepth), **kwargs)

    def walk(self, path: Any, maxdepth: int | None = None, topdown: bool = True, **kwargs: Any) -> Iterator[Any]:  # noqa: FBT001, FBT002 - fsspec's signature
        """Iterate over the folders below a path, each with its folders and files, as ``os.walk`` does."""
        path, maxdepth = parsed(path)[0], check_depth(maxdepth)
        folders: Iterator[Any] = super().walk(path, maxdepth=maxdepth, topdown=topdown, **kwargs)
        return folders

    def du(
        self,
        path: Any,
        total: bool = True,  # noqa: FBT001, FBT002 - fsspec's signature
        maxdepth: int | None = None,
        withdirs: bool = False,  # noqa: FBT001, FBT002
        **kwargs: Any,
    ) -> Any:
        """Return the length in bytes of the files below a folder, or a dict of the lengths by path."""
        infos = self.find(path, maxdepth=maxdepth, withdirs=withdirs, detail=True, **kwargs)
        sizes = {name: info["size"] for name, info in infos.items()}
        return sum(sizes.values()) if total else sizes

    def invalidate_cache(self, path: Any = None) -> None:
        """Accept the call, which fsspec makes; listings are not cached."""

    # Read

    def cat_file(self, path: Any, start: int | None = None, end: int | None = None, **_: Any) -> bytes:
        """Return the bytes of a file, verified, or a range of them.

        Args:
            path: the file.
            start: the first byte; negative: from the end.
            end: the byte after the last; negative: from the end.

        Returns:
            the bytes.

        Raises:
            ArtifactNotFoundError: there is no such file.
            IsADirectoryError: it is a folder.
            ArtifactCorruptedError: the stored bytes are not those that were stored.

        """
        start, end = bound("start", start), bound("end", end)
        found = self._files(path)
        if start is None and end is None:
            return reading.content(self.store.scope, found[0])
        begin, stop, _step = slice(start, end).indices(found[0].bytes)
        if begin >= stop:
            return b""
        return b"".join(reading.stream_record(self.store.scope, found[0], begin, stop, stop - begin))

    def cat_ranges(
        self,
        paths: Sequence[Any],
        starts: Any,
        ends: Any,
        max_gap: int | None = None,
        on_error: str = "return",
        **_: Any,
    ) -> list[Any]:
        """Return ranges of bytes of files, read side by side where the storage is far away.

        Each file is looked up once, however many ranges of it are wanted.

        Args:
            paths: the file of each range.
            starts: the first byte of each, or one for all; None: 0.
            ends: the byte after the last of each, or one for all; None: the end.
            max_gap: not supported.
            on_error: ``return`` puts an exception in the place of the bytes, anything else raises the first.

        Returns:
            the bytes of each range.

        Raises:
            NotImplementedError: *max_gap* is given.
            InvalidInputError: *paths* is no list, or there are not as many starts or ends as paths.

        """
        if max_gap is not None:
            raise NotImplementedError("max_gap")
        if not isinstance(paths, list):
            raise InvalidInputError(f"paths must be a list, not {type(paths).__name__}")
        starts, ends = (given if isinstance(given, list) else [given] * len(paths) for given in (starts, ends))
        if not len(starts) == len(ends) == len(paths):
            raise InvalidInputError("paths, starts and ends must be of one length")
        wanted: dict[str, list[Range]] = {}
        for index, path in enumerate(paths):
            one = Range(index, bound("start", starts[index]), bound("end", ends[index]))
            wanted.setdefault(self._strip_protocol(path), []).append(one)
        outcomes = read_ranges(self.store.scope, wanted, self._file)
        errors = [outcome for outcome in outcomes if isinstance(outcome, Exception)]
        if errors and on_error != "return":
            raise errors[0]
        return outcomes

    def head(self, path: Any, size: int = 1024) -> bytes:
        """Return at most *size* bytes from the start of a file."""
        return bytes(super().head(path, check_count("size", size, -1)))

    def tail(self, path: Any, size: int = 1024) -> bytes:
        """Return at most *size* bytes from the end of a file."""
        return bytes(super().tail(path, check_count("size", size, 0)))

    def read_block(self, fn: Any, offset: int, length: int | None, delimiter: bytes | None = None) -> bytes:
        """Return a block of a file, from one delimiter to another if that is given; see fsspec."""
        if length is not None:
            length = check_count("length", length, 0)
        if delimiter is not None and not isinstance(delimiter, bytes):
            raise InvalidInputError(f"delimiter must be bytes, not {type(delimiter).__name__}")
        return bytes(super().read_block(fn, check_count("offset", offset, 0), length, delimiter))

    def sizes(self, paths: Any) -> list[int]:
        """Return the length in bytes of each file."""
        return [self.size(path) for path in check_items("paths", paths)]

    def get_file(
        self,
        rpath: Any,
        lpath: Any = None,
        callback: Callback = DEFAULT_CALLBACK,
        outfile: Any = None,
        **_: Any,
    ) -> None:
        """Copy a file to the local disk, where it appears whole and verified, or not at all.

        Args:
            rpath: the file; a folder makes a folder.
            lpath: the local file, which is replaced, and whose folders are made; a folder that is there, where the file
                gets the last segment of *rpath* as its name and replaces nothing; or an open file.
            callback: an fsspec ``Callback``, which is given the size and the length of each chunk in bytes.
            outfile: an open file to write to, and not to *lpath*.

        Raises:
            FileExistsError: *lpath* is a folder, and something in it has that name.

        """
        if outfile is None and hasattr(lpath, "write"):
            outfile = lpath
        found = self._find(rpath)
        lpath = check_path("lpath", lpath) if outfile is None else None
        if not found and outfile is None and self._is_folder(rpath):
            os.makedirs(lpath, exist_ok=True)
        elif not found:
            raise self._no_file(rpath)
        elif outfile is None:
            os.makedirs(os.path.dirname(os.path.abspath(lpath)), exist_ok=True)
            reading.download_record(self.store.scope, found[0], lpath, callback)
        else:
            callback.set_size(found[0].bytes)
            for piece in reading.stream_record(self.store.scope, found[0]):
                outfile.write(piece)
                callback.relative_update(len(piece))

    def get(
        self,
        rpath: Any,
        lpath: Any,
        recursive: bool = False,  # noqa: FBT001, FBT002 - fsspec's signature
        callback: Callback = DEFAULT_CALLBACK,
        maxdepth: int | None = None,
        **kwargs: Any,
    ) -> None:
        """Copy files to the local disk.

        Args:
            rpath: the file, the folder, a glob pattern, or a list of these.
            lpath: the local path, or, when there is a folder or it ends with a slash, where that is in; or a list.
            recursive: whether what is below a folder is copied as well.
            callback: an fsspec ``Callback``; it gets the number of files, and a branch for each file.
            maxdepth: how many levels deep.
            kwargs: nothing more is known.

        Raises:
            ArtifactNotFoundError: the path does not exist.
            InvalidInputError: two files would become one.

        """
        found = pairs(self, rpath, LocalFiles(), _local(lpath), recursive=recursive, maxdepth=maxdepth)
        super().get([path for path, _ in found], [path for _, path in found], callback=callback, **kwargs)

    # Open

    def open(
        self,
        path: Any,
        mode: str = "rb",
        block_size: int | None = None,
        cache_options: dict[str, Any] | None = None,
        compression: str | None = None,
        **kwargs: Any,
    ) -> Any:
        """Open a file.

        Args:
            path: the file.
            mode: ``rb`` to read; ``wb`` to write, ``xb`` to write what must not exist, ``ab`` to append, all of which
                appears when the file is closed, and is discarded when the ``with`` block raises, see
                :class:`~chuk_artifacts.filesystem.files.Writer`. Without the ``b`` it is a text file.
            block_size: ignored, as is *cache_options*: what is read is fetched.
            cache_options: see *block_size*.
            compression: the name of a compression of fsspec, or ``infer``.
            kwargs: ``encoding``, ``errors`` and ``newline`` of a text file; ``revision`` of a file that is read, see
                :meth:`ArtifactStore.versions`; ``mime``, ``summary``, ``meta`` and ``ttl`` of a file that is written,
                see :meth:`ArtifactStore.store`.

        Returns:
            a file object. One to append to writes behind what is there when it is closed.

        Raises:
            ArtifactNotFoundError: there is no such file to read, or its revision is not kept.
            FileExistsError: there is a file, and the mode is ``xb``; it may also be raised when the file is closed.
            IsADirectoryError: it is a folder.
            InvalidInputError: there is no such mode, compression or encoding, or a revision is not an int above 0 or
                was passed for writing.

        """
        _check_text_options(kwargs)
        if not isinstance(mode, str):
            raise InvalidInputError(f"mode must be a str, not {type(mode).__name__}")
        if compression is not None and (not isinstance(compression, str) or compression not in {"infer", *compr}):
            raise InvalidInputError(f"compression is not known: {shown(compression)}")
        if "r" in mode:
            return super().open(path, mode, block_size, cache_options, compression, **kwargs)
        if "b" not in mode:
            text = {name: kwargs.pop(name) for name in ("encoding", "errors", "newline") if name in kwargs}
            binary = f"{mode.replace('t', '')}b"
            below = self.open(path, binary, block_size, cache_options, compression, **kwargs)
            return _layered(below, lambda: TextWriter(below, **text))
        codec = get_compression(self._strip_protocol(path), compression and plain(compression))
        writer = super().open(path, mode, block_size, cache_options, **kwargs)
        if codec is None:
            return writer
        return _layered(writer, lambda: CompressingWriter(compr[codec](writer, mode=mode[0]), writer))

    def _open(self, path: str, mode: str = "rb", *_: Any, autocommit: bool = True, **kwargs: Any) -> Reader | Writer:
        if mode == "rb":
            return self._open_to_read(path, kwargs.get("revision"))
        if kwargs.get("revision") is not None:
            raise InvalidInputError("revision: only the latest revision can be written")
        fields = _fields(kwargs)
        session, _name = self._split_file(path)
        self._check_session(session)
        if mode not in {"wb", "xb", "ab"}:
            raise InvalidInputError(f"mode must be one of rb, wb, xb, ab: {shown(mode)}")
        found = [] if mode == "wb" else self._find(path)
        if mode == "xb" and found:
            raise _taken(path)
        offset = found[0].bytes if found else 0
        commit = {"wb": self._write, "xb": self._create, "ab": self._append}[mode]

        def written(data: BinaryIO, may_replace: bool) -> None:  # noqa: FBT001 - as Writer calls it
            if may_replace:
                commit(path, data, fields)
                return
            with suppress(FileExistsError):
                self._create(path, data, fields)

        return Writer(path, mode, written, autocommit=autocommit, offset=offset)

    def _open_to_read(self, path: Any, revision: int | None = None) -> Reader:
        path = self._strip_protocol(path)
        found = self._files(path)
        info, scope = self._file_info(path, found), self.store.scope
        if revision is None:
            return Reader(self, info, reading.open_record(scope, found[0])[1])
        record = content_at(found[0], check_count("revision", revision, 1), scope.core.clock())
        info |= {"size": record.bytes, "mime": record.mime, "sha256": record.sha256}
        return Reader(self, info, reading.open_record(scope, record, exact=True)[1], revision)

    # Write

    def _write(self, path: Any, data: Any, fields: dict[str, Any]) -> None:
        """Make data the next revision of the path's artifact, or a new artifact."""
        session, name = self._split_file(path)
        content = content_of(data)
        while True:
            found = self._named(session, name)
            try:
                if found:
                    self._update(found[0], content, Change.of(self.store.scope.core, **fields))
                else:
                    self.store.store(content, filename=name, session_id=session, exclusive=True, **fields)
            except ArtifactNotFoundError:  # deleted since
                continue
            except ConflictError:
                if found or (isinstance(content, Stream) and not content.rewindable):
                    raise
                continue  # created since
            return

    def _update(self, found: ArtifactMetadata, content: bytes | Stream | None, change: Change) -> None:
        """Change an artifact that was just found, without looking it up again."""
        changing.change(self.store.scope, found.artifact_id, change, content, record=found)

    def _create(self, path: Any, data: Any, fields: dict[str, Any]) -> None:
        """Make data a new artifact, unless the path has one."""
        session, name = self._split_file(path)
        try:
            self.store.store(data, filename=name, session_id=session, exclusive=True, **fields)
        except ConflictError:
            raise _taken(path) from None

    def _append(self, path: Any, data: BinaryIO, fields: dict[str, Any]) -> None:
        """Make what is there with data behind it the next revision; who appends meanwhile loses nothing."""
        while True:
            found = self._find(path)
            try:
                if found:
                    change = Change.of(self.store.scope.core, if_revision=found[0].revision, **fields)
                    self._update(found[0], self._followed_by(found[0], data), change)
                else:
                    self._create(path, data, fields)
            except (ArtifactNotFoundError, ConflictError, FileExistsError):
                continue
            return

    def _followed_by(self, artifact: ArtifactMetadata, data: BinaryIO) -> Stream:
        return Stream(lambda: chain(reading.stream_record(self.store.scope, artifact), _pieces(data)), rewindable=True)

    def pipe(self, path: Any, value: Any = None, **kwargs: Any) -> None:
        """Write a whole file, or the files of a mapping of bytes by paths; see :meth:`pipe_file`."""
        super().pipe(path if isinstance(path, dict) else parsed(path)[0], value, **kwargs)

    def write_text(
        self,
        path: Any,
        value: str,
        encoding: str | None = None,
        errors: str | None = None,
        newline: str | None = None,
        **kwargs: Any,
    ) -> int:
        """Write a text, and return how many characters it has; see :meth:`open`."""
        if not isinstance(value, str):
            raise InvalidInputError(f"value must be a str, not {type(value).__name__}")
        try:
            return int(super().write_text(path, value, encoding, errors, newline, **kwargs))
        except UnicodeError:
            raise InvalidInputError(f"value: {shown(encoding or 'utf-8')} can't hold it") from None

    def pipe_file(self, path: Any, value: Any, mode: str = "overwrite", **kwargs: Any) -> None:
        """Write a whole file.

        Args:
            path: the file.
            value: its bytes.
            mode: ``overwrite``, or ``create`` to write what must not exist.
            kwargs: ``mime``, ``summary``, ``meta`` and ``ttl``, see :meth:`ArtifactStore.store`.

        Raises:
            FileExistsError: there is a file, and the mode is ``create``.
            IsADirectoryError: the path is that of a session.

        """
        if self._intrans:
            with self.open(path, "xb" if mode == "create" else "wb", **kwargs) as file:
                file.write(value)
            return
        self._writing(path, mode)(path, value, _fields(kwargs) if kwargs else kwargs)

    def _writing(self, path: Any, mode: str) -> Callable[[Any, Any, dict[str, Any]], None]:
        """Return what writes a whole file in a mode; raise at once when it must not be there, and is."""
        if mode != "create":
            return self._write
        if self._find(path):
            raise _taken(path)
        return self._create

    def put_file(
        self, lpath: Any, rpath: Any, callback: Callback = DEFAULT_CALLBACK, mode: str = "overwrite", **kwargs: Any
    ) -> None:
        """Copy a file from the local disk.

        Args:
            lpath: the local path; a folder does nothing.
            rpath: the file.
            callback: an fsspec ``Callback``; it gets the size and the length of each chunk in bytes.
            mode: see :meth:`pipe_file`.
            kwargs: see :meth:`pipe_file`.

        """
        lpath = check_path("lpath", lpath)
        if os.path.isdir(lpath):
            self.mkdir(rpath)
        elif self._intrans:
            super().put_file(lpath, rpath, callback=callback, mode=mode, **kwargs)
        else:
            callback.set_size(os.path.getsize(lpath))
            data = Stream(partial(_told_pieces, lpath, callback), rewindable=True)
            self._writing(rpath, mode)(rpath, data, _fields(kwargs))

    def put(
        self,
        lpath: Any,
        rpath: Any,
        recursive: bool = False,  # noqa: FBT001, FBT002 - fsspec's signature
        callback: Callback = DEFAULT_CALLBACK,
        maxdepth: int | None = None,
        **kwargs: Any,
    ) -> None:
        """Copy files from the local disk.

        Args:
            lpath: the local file, folder, a glob pattern, or a list of these.
            rpath: the path, or, when there is a folder or it ends with a slash, where that is in; or a list.
            recursive: whether what is below a folder is copied as well.
            callback: an fsspec ``Callback``; it gets the number of files, and a branch for each file.
            maxdepth: how many levels deep.
            kwargs: see :meth:`put_file`.

        Raises:
            FileNotFoundError: the path does not exist.
            InvalidInputError: two files would become one.

        """
        found = pairs(LocalFiles(), _local(lpath), self, rpath, recursive=recursive, maxdepth=maxdepth)
        super().put([path for path, _ in found], [path for _, path in found], callback=callback, **kwargs)

    def touch(self, path: Any, truncate: bool = True, **kwargs: Any) -> None:  # noqa: FBT001, FBT002 - fsspec's
        """Make a file empty, or with *truncate* False only set its time of modification; create a missing file."""
        found = [] if truncate else self._find(path)
        if found:
            self._update(found[0], None, Change(fields={"mime": found[0].mime}))
        else:
            self.pipe_file(path, b"", **kwargs)

    def mkdir(self, path: Any, create_parents: bool = True, **_: Any) -> None:  # noqa: FBT001, FBT002 - fsspec's
        """Check that the session can be reached. Folders need not be created: they exist with their files."""
        session, _name = self._split(path)
        if session:
            self._check_session(session)

    def makedirs(self, path: Any, exist_ok: bool = False) -> None:  # noqa: FBT001, FBT002 - fsspec's
        """Do what :meth:`mkdir` does."""
        self.mkdir(path)

    def rmdir(self, path: Any) -> None:
        """Accept an empty folder; raise ``OSError`` for a folder with files."""
        if any(self._listed(*self._split(path), page_size=1)):
            raise OSError(errno.ENOTEMPTY, os.strerror(errno.ENOTEMPTY), path)

    # Copy, move, delete

    def _transfers(self, found: Pairs, *, missing_ok: bool = False) -> list[Transfer]:
        """Look up the files among paths that are copied or moved, all of them before one changes."""
        for source, target in found:
            self._check_same_session(source, target)
        found = [(source, target) for source, target in dict.fromkeys(found) if source != target]
        paths = [path for pair in found for path in pair]
        artifacts = iter(self.store.scope.core.each(self._find, paths, lambda _: 0))
        transfers: list[Transfer] = []
        for (source, target), of_source, of_target in zip(found, artifacts, artifacts, strict=True):
            if of_source:
                _session, name = self._split_file(target)
                transfers.append(Transfer(source, target, name, of_source, of_target))
            elif not missing_ok and not self._is_folder(source):
                raise _missing(source)
        return transfers

    def _transfer(self, source: str, found: Sequence[ArtifactMetadata], given: Any, target: Any) -> list[Transfer]:
        """Look up where one file is copied or moved, by the rules of :func:`~transfers.pairs`.

        Args:
            source: the path of the file.
            found: its artifacts.
            given: the same path, as the caller wrote it.
            target: the new path, as the caller wrote it.

        Returns:
            the transfer, or nothing where the file is there already.

        """
        path = self._strip_protocol(target)
        self._check_same_session(source, path)
        into = ends_with_slash(target)
        replaced = [] if into else self._find(path)
        if into or (not replaced and self._is_folder(path)):
            path = path if ends_with_slash(given) else f"{path}/{source.rpartition('/')[2]}"
            replaced = self._find(path)
        return [] if path == source else [Transfer(source, path, self._split_file(path)[1], found, replaced)]

    def _check_same_session(self, source: str, target: str) -> None:
        if self._split(source)[0] != self._split(target)[0]:
            raise AccessDeniedError(f"a file can't leave its session: {shown(source)}")

    def cp_file(self, path1: Any, path2: Any, **_: Any) -> None:
        """Copy a file within its session; bytes are copied inside the storage.

        Onto a file they pass through the process, to become that one's next revision.

        Args:
            path1: the file; a folder does nothing.
            path2: the path of the copy.

        Raises:
            AccessDeniedError: the paths are of two sessions.
            ArtifactNotFoundError: *path1* does not exist.

        """
        self._copy(self._transfers([(self._strip_protocol(path1), self._strip_protocol(path2))]))

    def copy(
        self,
        path1: Any,
        path2: Any,
        recursive: bool = False,  # noqa: FBT001, FBT002 - fsspec's signature
        maxdepth: int | None = None,
        on_error: str | None = None,
        **_: Any,
    ) -> None:
        """Copy files within their session, as they are before the first copy: see :meth:`cp_file`.

        Args:
            path1: the file, the folder, a glob pattern, or a list of these.
            path2: the path of the copy, or, when there is a folder or it ends with a slash, where that is in; or a
                list.
            recursive: whether what is below a folder is copied as well.
            maxdepth: how many levels deep.
            on_error: ``ignore``, the default when *recursive*, leaves out what is missing; otherwise ``raise``.

        Raises:
            AccessDeniedError: the paths are of two sessions.
            ArtifactNotFoundError: *path1* does not exist.
            InvalidInputError: two files would become one; nothing was copied then.

        """
        found = pairs(self, path1, self, path2, recursive=recursive, maxdepth=maxdepth)
        missing_ok = recursive if on_error is None else on_error != "raise"
        self._copy(self._transfers(found, missing_ok=missing_ok))

    def _copy(self, transfers: Sequence[Transfer]) -> None:
        """Copy to free paths first: what is read afterwards, to be written onto others, is read by its old record."""
        for transfer in transfers:
            if not transfer.replaced:
                found, scope = transfer.found[0], self.store.scope
                changing.copy(scope, found.artifact_id, Change.of(scope.core, filename=transfer.name), record=found)
        for transfer in transfers:
            if transfer.replaced:
                self._copy_onto(transfer.found[0], transfer.replaced[0])

    def _copy_onto(self, artifact: ArtifactMetadata, replaced: ArtifactMetadata) -> None:
        content = Stream(partial(reading.stream_record, self.store.scope, artifact), rewindable=True)
        fields = {"mime": artifact.mime, "summary": artifact.summary, "meta": artifact.meta}
        self._update(replaced, content, Change(fields=fields))

    def mv_file(self, path1: Any, path2: Any) -> None:
        """Rename a file within its session; see :meth:`mv`."""
        source, target = self._strip_protocol(path1), self._strip_protocol(path2)
        found = self._files(source)
        self._check_same_session(source, target)
        if source != target:
            self._move([Transfer(source, target, self._split_file(target)[1], found, self._find(target))])

    def mv(
        self,
        path1: Any,
        path2: Any,
        recursive: bool = False,  # noqa: FBT001, FBT002 - fsspec's signature
        maxdepth: int | None = None,
        **_: Any,
    ) -> None:
        """Rename files within their session: only their records change.

        What is at a new path is replaced. Files may change places. A path moved onto itself stays as it is.

        Args:
            path1: the file, the folder, a glob pattern, or a list of these.
            path2: the new path, or, when there is a folder or it ends with a slash, where the new path is in; or a
                list.
            recursive: whether what is below a folder is renamed as well.
            maxdepth: how many levels deep.

        Raises:
            AccessDeniedError: the paths are of two sessions.
            ArtifactNotFoundError: *path1* does not exist.
            InvalidInputError: a folder would move into itself, two files would become one, or one file two; nothing was
                moved then.
            IsADirectoryError: there is a folder, and *recursive* is False; nothing was moved then.

        """
        maxdepth = check_depth(maxdepth)
        if not is_list(path1) and not is_list(path2):
            source = self._strip_protocol(path1)
            same = source == self._strip_protocol(path2)
            if not recursive and not self.is_pattern(source):
                artifacts = self._files(source)
                self._move([] if same else self._transfer(source, artifacts, path1, path2))
                return
            if same and self.exists(source):
                return
        found = pairs(self, path1, self, path2, recursive=recursive, maxdepth=maxdepth)
        transfers = self._transfers(found)
        files = {transfer.source for transfer in transfers}
        check_moves(found, files)
        if is_list(path1) and not recursive:
            for source, target in found:
                if source != target and source not in files:
                    raise self._no_file(source)
        self._move(transfers)

    def _move(self, transfers: Sequence[Transfer]) -> None:
        """Rename all, and delete what they replace when they have their names: so nothing is lost halfway."""
        moved = {artifact.artifact_id for transfer in transfers for artifact in transfer.found}
        changing.rename_all(
            self.store.scope,
            [
                (artifact, transfer.name)
                for transfer in in_safe_order(transfers)
                for artifact in reversed(transfer.found)
            ],
        )
        replaced = [artifact.artifact_id for transfer in transfers for artifact in transfer.replaced]
        self._delete([artifact_id for artifact_id in replaced if artifact_id not in moved])

    def rm_file(self, path: Any) -> None:
        """Delete a file."""
        self._delete(self._ids(self._strip_protocol(path), below=False))

    def rm(
        self,
        path: Any,
        recursive: bool = False,  # noqa: FBT001, FBT002 - fsspec's signature
        maxdepth: int | None = None,
    ) -> None:
        """Delete files. A session stays when its last file is gone.

        Args:
            path: the file, the folder, a glob pattern, or a list of these; what exists is no pattern.
            recursive: whether what is below a folder is deleted.
            maxdepth: how many levels deep.

        Raises:
            ArtifactNotFoundError: a path does not exist; nothing was deleted.
            IsADirectoryError: a folder is to be deleted, and *recursive* is False; nothing was deleted then.

        """
        ids: list[str] = []
        patterns: list[str] = []
        for one in map(self._strip_protocol, several(path)):
            if maxdepth is not None or self.is_pattern(one):
                patterns.append(one)
            else:
                ids += self._ids(one, below=recursive)
        for one in self.expand_path(patterns, recursive=recursive, maxdepth=maxdepth) if patterns else ():
            ids += self._ids(one, below=None if recursive else False)
        self._delete(ids)

    def _delete(self, ids: Sequence[str]) -> None:
        for begin in range(0, len(ids), _MANY):
            self.store.delete_batch(ids[begin : begin + _MANY])

    def _ids(self, path: str, *, below: bool | None) -> list[str]:
        """Return the ids of the artifacts of a path, and of those below; of a folder None is none and False raises."""
        ids = [found.artifact_id for found in self._find(path)]
        if below:
            ids += [found.artifact_id for found in self._listed(*self._split(path))]
        if not ids and not (below is not False and self._is_folder(path)):
            raise self._no_file(path)
        return ids


def _pieces(file: BinaryIO) -> Iterator[bytes]:
    file.seek(0)
    while piece := file.read(_PIECE):
        yield piece


def _told_pieces(path: Any, callback: Callback) -> Iterator[bytes]:
    with open(path, "rb") as file:
        for piece in _pieces(file):
            yield piece
            callback.relative_update(len(piece))


def _local(path: Any) -> Any:
    """Return local paths, or one, as texts; open files stay as they are."""
    if is_list(path):
        return list(map(_local, path))
    return path if hasattr(path, "write") else check_path("lpath", path)


def _check_text_options(options: dict[str, Any]) -> None:
    """Refuse what no text file can be opened with."""
    if options.get("encoding") is not None:
        check_encoding(options["encoding"])
    if options.get("errors") is not None:
        _check_errors(options["errors"])
    newline = options.get("newline")
    if newline is not None and (not isinstance(newline, str) or newline not in {"", "\n", "\r", "\r\n"}):
        raise InvalidInputError(f"newline can't be {shown(newline)}")


def _check_errors(value: Any) -> None:
    name = check_text("errors", value)
    try:
        lookup_error(name)
    except (LookupError, ValueError):
        raise InvalidInputError(f"errors is not known: {shown(name)}") from None


def _folder_info(path: str) -> Info:
    return {"name": path, "size": 0, "type": "directory"}


def _fields(arguments: dict[str, Any]) -> dict[str, Any]:
    """Return what of a call's further arguments a store takes; fsspec's callers give many that concern other things."""
    return {name: arguments[name] for name in _STORE_FIELDS if arguments.get(name) is not None}


def _layered(writer: Any, layer: Callable[[], Any]) -> Any:
    """Return a layer over a writer, which is discarded when there can be none."""
    try:
        return layer()
    except BaseException:
        writer.doom()
        writer.close()
        raise


def _missing(path: Any) -> ArtifactNotFoundError:
    return ArtifactNotFoundError(f"no such file: {shown(path)}")


def _taken(path: Any) -> FileExistsError:
    return FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(path))
