"""``ArtifactStore``: every verb, in the order of an artifact's life."""

from __future__ import annotations

import hashlib
import os
import time
import weakref
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from functools import wraps
from threading import get_ident
from typing import TYPE_CHECKING, Any, BinaryIO, Concatenate, ParamSpec, Self, TypeVar

from chuk_artifacts import arguments, grid
from chuk_artifacts.arguments import Limits
from chuk_artifacts.catalog import Catalog, FilenameTakenError, batches, new_session, place
from chuk_artifacts.core import Core, LocalGateway, shared_core, store_is_closed
from chuk_artifacts.errors import (
    AccessDeniedError,
    ArtifactCorruptedError,
    ArtifactExpiredError,
    ArtifactNotFoundError,
    ArtifactStoreError,
    ConflictError,
    InvalidInputError,
    ProviderError,
    no_artifact,
    shown,
)
from chuk_artifacts.grid import GridKey
from chuk_artifacts.log import log as _log
from chuk_artifacts.models import (
    GRACE_SECONDS,
    ORPHAN_GRACE_SECONDS,
    ArtifactMetadata,
    CleanupReport,
    SessionInfo,
    Superseded,
    is_over,
    seconds_of,
    timestamp,
)
from chuk_artifacts.operations import identity, uploads
from chuk_artifacts.operations import presigning as links
from chuk_artifacts.operations.cleanup import (
    Sweep,
    clean,
    delete_bytes,
    delete_session,
    remove_orphans,
    split_superseded,
)
from chuk_artifacts.operations.draft import Draft, description, draft
from chuk_artifacts.operations.kept import Kept, not_kept
from chuk_artifacts.operations.writing import ATTEMPTS, add, check_bytes, discard, fresh_bytes, write
from chuk_artifacts.settings import DEFAULT_SESSION_TTL_HOURS, Settings, resolve
from chuk_artifacts.source import CHUNK_SIZE, Stream, source
from chuk_artifacts.storage import Description, ObjectChangedError, ObjectExistsError, ObjectMissingError

if TYPE_CHECKING:
    from pathlib import Path

    from fsspec.callbacks import Callback

    from chuk_artifacts.aio import ArtifactStore as AsyncStore

P = ParamSpec("P")
R = TypeVar("R")

_PAGE_SIZE = 1000
_DELETED_AT_ONCE = 1000
_RENAMED_AT_ONCE = 500
_LONGEST_PAUSE_SECONDS = 0.05

_SIGNALS = (ObjectMissingError, ObjectExistsError, ObjectChangedError, FilenameTakenError)
"""What a backend says to the methods that expect it. From any other method callers get the public error above it."""


def _call(method: Callable[Concatenate[ArtifactStore, P], R]) -> Callable[Concatenate[ArtifactStore, P], R]:
    """Make a method a call: a closed store refuses it, and ``close`` waits for it."""

    @wraps(method)
    def call(self: ArtifactStore, /, *args: P.args, **kwargs: P.kwargs) -> R:
        core, this_call = self._core, object()
        try:
            try:
                core.calls[this_call] = get_ident()
                if core.closed or self._closed:
                    raise store_is_closed()
                return method(self, *args, **kwargs)
            finally:
                core.end_call(this_call)
        except BaseException as error:
            core.end_call(this_call)  # an interrupt may have come just before
            if isinstance(error, _SIGNALS):
                raise _public_error(error) from error
            raise

    return call


class ArtifactStore:
    """A store of files that belong to sessions.

    Without arguments it keeps everything in memory. A store may be used from many threads, survives a fork, and pickles
    as its settings; a memory store's copy in another process is empty.

    Every verb raises :class:`ArtifactStoreError` ("store is closed") after :meth:`close`, :class:`ProviderError` when
    the storage of the bytes fails and :class:`SessionError` when the catalog of the records fails; what it raises
    beside these is listed with it. A bound store (see :meth:`session`) raises :class:`AccessDeniedError` for another
    session and for verbs that concern the whole store, and knows no artifact of another session.

    Args:
        storage_provider: where the bytes are: ``memory`` (default), ``filesystem`` (``fs``, also ``file:///path``),
            ``s3`` (also ``s3://bucket/prefix``), ``ibm_cos``, ``ibm_cos_iam``, or any other fsspec URL (``gs://b/p``,
            ``sftp://user@host/path``, chains of them), see :class:`~chuk_artifacts.storage.url.UrlStorage`; else
            ``ARTIFACT_PROVIDER``.
        session_provider: where records and sessions are: ``memory``, ``sqlite`` (default for ``filesystem``) or
            ``redis``; else ``SESSION_PROVIDER``.
        bucket: the bucket of a bucket provider; else ``ARTIFACT_BUCKET``, else ``artifacts``. It must exist.
        sandbox_id: the namespace; else ``ARTIFACT_SANDBOX_ID``, else derived from the root folder, the bucket or the
            URL without its secrets, in memory random.
        fs_root: the folder of the filesystem provider; else ``ARTIFACT_FS_ROOT``, else ``./artifacts``.
        session_ttl_hours: how long a session lives, in hours, and what is stored in it by default; None for ever. Left
            alone: ``ARTIFACT_SESSION_TTL_HOURS``, else 24.
        max_retries: how often a driver repeats what failed.
        max_connections: how many connections a driver keeps at most.
        endpoint_url: the service of a bucket provider; else ``S3_ENDPOINT_URL`` or, for IBM, ``IBM_COS_ENDPOINT``,
            else AWS.
        region: the region of a bucket provider; else ``AWS_REGION``, else that of the SDK's configuration, else
            ``us-east-1``.
        redis_url: for the redis session provider, a URL of redis-py, ``redis+sentinel://…`` or ``redis+cluster://…``;
            else ``SESSION_REDIS_URL``, else ``redis://localhost:6379/0``. The others ignore it.
        gateway_url: where a :class:`~chuk_artifacts.gateway.Gateway` of this store can be reached, for URLs that the
            storage can't sign itself; else ``ARTIFACT_GATEWAY_URL``, else one is started on 127.0.0.1 when needed.
        signing_key: the secret that signs these URLs, at least 16 bytes, or several with commas between them: the first
            one signs, all are accepted. Else ``ARTIFACT_SIGNING_KEY``, else a random one, which ``filesystem`` keeps in
            its root.
        storage_options: more for the storage. ``filesystem``: ``fsync=True``: each write is durable before it returns.
            Buckets: what goes with each write, such as ``ServerSideEncryption``, ``SSEKMSKeyId``, ``StorageClass`` and
            ``Tagging``, and arguments of the client: keys, ``profile_name``, ``verify``, ``config``. Keys are not
            pickled. A URL: arguments of the filesystem. What is not known to be harmless is not pickled.
        max_summary_bytes: the length of the longest summary, in bytes of UTF-8.
        max_meta_bytes: the length of the longest *meta* of an artifact, and of the longest metadata of a session, in
            bytes as JSON. Their depth is 64 levels at most.
        max_user_id_bytes: the length of the longest user id, in bytes of UTF-8.
        clock: returns the present in seconds since the epoch.

    Raises:
        InvalidInputError: a provider is unknown, or an argument is none that it can be.

    Example:
        >>> with ArtifactStore() as store:
        ...     artifact_id = store.store(b"Hello, world!", filename="hello.txt", session_id="user_alice")
        ...     store.retrieve(artifact_id)
        b'Hello, world!'

    """

    def __init__(
        self,
        *,
        storage_provider: str | None = None,
        session_provider: str | None = None,
        bucket: str | None = None,
        sandbox_id: str | None = None,
        fs_root: str | os.PathLike[str] | None = None,
        session_ttl_hours: float | None = DEFAULT_SESSION_TTL_HOURS,
        max_retries: int = 3,
        max_connections: int = 32,
        endpoint_url: str | None = None,
        region: str | None = None,
        redis_url: str | None = None,
        gateway_url: str | None = None,
        signing_key: str | None = None,
        storage_options: Mapping[str, Any] | None = None,
        max_summary_bytes: int = arguments.LIMITS.summary,
        max_meta_bytes: int = arguments.LIMITS.meta,
        max_user_id_bytes: int = arguments.LIMITS.user_id,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """See the class."""
        settings = resolve(
            storage_provider=storage_provider,
            session_provider=session_provider,
            bucket=bucket,
            sandbox_id=sandbox_id,
            fs_root=fs_root,
            session_ttl_hours=session_ttl_hours,
            max_retries=max_retries,
            max_connections=max_connections,
            endpoint_url=endpoint_url,
            region=region,
            redis_url=redis_url,
            gateway_url=gateway_url,
            signing_key=signing_key,
            storage_options=storage_options,
            max_summary_bytes=max_summary_bytes,
            max_meta_bytes=max_meta_bytes,
            max_user_id_bytes=max_user_id_bytes,
            now=clock(),
        )
        self._core = self._open_core(settings, clock)
        self._bound: str | None = None
        self._closed = False

    def _open_core(self, settings: Settings, clock: Callable[[], float]) -> Core:
        return Core(settings, clock)

    def __enter__(self) -> Self:
        """Return the store, which the end of the ``with`` block closes."""
        return self

    def __exit__(self, kind: object, error: object, traceback: object) -> None:
        """Close the store."""
        self.close()

    async def __aenter__(self) -> AsyncStore:
        """Return the async view of this store; the end of the ``async with`` block closes both."""
        from chuk_artifacts.aio.store import enter  # noqa: PLC0415 - the one import upwards

        return enter(self)

    async def __aexit__(self, kind: object, error: object, traceback: object) -> None:
        """Close the store and its async view."""
        from chuk_artifacts.aio.store import leave  # noqa: PLC0415 - as above

        await leave(self)

    def __getstate__(self) -> dict[str, Any]:
        """Return what is pickled; a closed store is not."""
        self._check_open()
        return self.__dict__

    def __repr__(self) -> str:
        """Name providers, sandbox and session."""
        if self._closed or self._core.closed:
            return "<ArtifactStore closed>"
        settings = self._core.settings
        session = "" if self._bound is None else f" session={self._bound!r}"
        providers = f"{settings.storage_provider}+{settings.session_provider}"
        return f"<ArtifactStore {providers} sandbox={settings.sandbox_id!r}{session}>"

    # Store

    @_call
    def store(
        self,
        data: Any,
        *,
        mime: str | None = None,
        summary: str = "",
        meta: Mapping[str, Any] | None = None,
        filename: str | None = None,
        session_id: str | None = None,
        user_id: str | None = None,
        ttl: float | None = None,
        exclusive: bool = False,
    ) -> str:
        """Store data as a new artifact.

        Args:
            data: bytes-like, an ``os.PathLike``, a binary file object or an iterable of bytes. A stream is read once,
                in pieces.
            mime: media type; None: guessed from *filename*, else ``application/octet-stream``.
            summary: a description for people.
            meta: a JSON object of your own.
            filename: name, folders and all; not absolute, no ``..`` segment, at most 1,024 bytes.
            session_id: the session it belongs to; None: a fresh one.
            user_id: whose session it is, if the session has no user yet.
            ttl: seconds to live; None: as long as its session's default.
            exclusive: whether to raise when the session has an artifact of that filename. Of several at once that want
                this, one succeeds.

        Returns:
            the artifact id.

        Raises:
            ConflictError: *exclusive*, and the filename is taken; nothing is left behind.
            InvalidInputError: an argument is wrong; nothing was written. Whatever reading a stream raises passes
                through, and leaves nothing behind.

        """
        order = self._draft(
            self._new_scope(session_id),
            data=data,
            mime=mime,
            summary=summary,
            meta=meta,
            filename=filename,
            user_id=user_id,
            ttl=ttl,
        )
        return write(self._core, [order], exclusive=exclusive)[0]

    @_call
    def write_file(
        self,
        content: str | bytes,
        *,
        filename: str,
        mime: str | None = None,
        summary: str = "",
        session_id: str | None = None,
        user_id: str | None = None,
        meta: Mapping[str, Any] | None = None,
        encoding: str = "utf-8",
        ttl: float | None = None,
    ) -> str:
        """Store a text, or bytes, under a filename.

        Args:
            content: the text.
            filename: see :meth:`store`.
            mime: media type; None: guessed from *filename*, else ``text/plain``.
            summary: see :meth:`store`.
            session_id: see :meth:`store`.
            user_id: see :meth:`store`.
            meta: see :meth:`store`.
            encoding: how a str becomes bytes.
            ttl: see :meth:`store`.

        Returns:
            the artifact id.

        Raises:
            InvalidInputError: an argument is wrong, or the encoding can't hold the text; nothing was written.

        """
        if filename is None:
            raise InvalidInputError("filename must be given")
        order = self._draft(
            self._new_scope(session_id),
            data=_encoded(content, encoding),
            mime=mime,
            summary=summary,
            meta=meta,
            filename=filename,
            user_id=user_id,
            ttl=ttl,
            default_mime=arguments.PLAIN_TEXT,
        )
        return write(self._core, [order])[0]

    @_call
    def store_batch(
        self, items: Iterable[Mapping[str, Any]], session_id: str | None = None, ttl: float | None = None
    ) -> list[str]:
        """Store several artifacts, all of them or none.

        Args:
            items: mappings of the arguments of :meth:`store`.
            session_id: the session of items that name none; None: one fresh session for these.
            ttl: seconds to live of items that name none.

        Returns:
            the artifact ids, in the order of the items.

        Raises:
            InvalidInputError: an item is wrong; the message begins with its place in the batch; nothing was written.

        """
        scope = self._new_scope(session_id)
        orders = []
        for index, item in enumerate(arguments.check_items("items", items)):
            if not isinstance(item, Mapping):
                raise InvalidInputError(f"items[{index}] must be a mapping, not {type(item).__name__}")
            try:
                orders.append(self._draft_of_item(item, scope, ttl))
            except InvalidInputError as error:
                raise type(error)(f"items[{index}]: {error}") from error
        return write(self._core, orders) if orders else []

    def _draft_of_item(self, item: Mapping[str, Any], session_id: str, ttl: float | None) -> Draft:
        values = {arguments.plain(name) if isinstance(name, str) else name: item[name] for name in item}
        unknown = values.keys() - _STORE_ARGUMENTS
        if unknown or "data" not in values:
            problem = f"unknown argument {min(map(shown, unknown))}" if unknown else "data is missing"
            raise InvalidInputError(f"{problem}; known are {', '.join(sorted(_STORE_ARGUMENTS))}")
        own_session = values.pop("session_id", None)
        if values.get("ttl") is None:
            values["ttl"] = ttl
        return self._draft(session_id if own_session is None else self._scope(own_session), **values)

    def _draft(self, session_id: str, **values: Any) -> Draft:
        core = self._core
        settings = core.settings
        return draft(settings.sandbox_id, session_id, now=core.clock(), limits=settings.limits, **values)

    # Read

    @_call
    def retrieve(self, artifact_id: str | ArtifactMetadata) -> bytes:
        """Return the bytes of an artifact, verified against its record.

        Args:
            artifact_id: the artifact, or metadata of it that the caller has kept. Metadata asks for the bytes of its
                revision: the latest ones, or those that an update replaced, for the hour that they are kept. The
                catalog is asked as with an id, and decides: metadata only names id, session, key, length, SHA-256 and
                revision, and reads nothing where one of them is not what the catalog knows. It reads nothing beyond
                the expiry that the catalog knows either, whatever it says itself.

        Returns:
            all its bytes.

        Raises:
            ArtifactNotFoundError: there is no such artifact, or the bytes that metadata asks for are not kept any more.
            ArtifactExpiredError: its time to live is over.
            ArtifactCorruptedError: the stored bytes are not those that were stored.
            InvalidInputError: metadata has a field that none that a store gives out can have.

        """
        return self._bytes_of(*self._readable("retrieve %s", artifact_id))

    def read_file(
        self, artifact_id: str | ArtifactMetadata, *, encoding: str = "utf-8", as_text: bool = True
    ) -> str | bytes:
        """Return an artifact as text, or as bytes.

        Args:
            artifact_id: the artifact, see :meth:`retrieve`.
            encoding: how the bytes become a str.
            as_text: False returns the bytes.

        Returns:
            a str, or bytes when *as_text* is False.

        Raises:
            ArtifactNotFoundError: see :meth:`retrieve`.
            ArtifactExpiredError: see :meth:`retrieve`.
            ArtifactCorruptedError: see :meth:`retrieve`.
            InvalidInputError: the bytes are not text of that encoding, or there is no such encoding.

        """
        if as_text:
            encoding = arguments.check_encoding(encoding)
        data = self.retrieve(artifact_id)
        if not as_text:
            return data
        try:
            return data.decode(encoding)
        except UnicodeError as error:
            where = f"byte {error.start}" if isinstance(error, UnicodeDecodeError) else "a byte"
            raise InvalidInputError(
                f"artifact {_id_of(artifact_id)} is not text in {encoding}: {where} is wrong; pass as_text=False"
            ) from None

    @_call
    def open(self, artifact_id: str | ArtifactMetadata) -> BinaryIO:
        """Return a seekable binary reader that fetches only what is read.

        Args:
            artifact_id: the artifact, see :meth:`retrieve`.

        Returns:
            a file object, to be closed by the caller. Its length is checked, its content is not.

        Raises:
            ArtifactNotFoundError: see :meth:`retrieve`.
            ArtifactExpiredError: see :meth:`retrieve`.
            ArtifactCorruptedError: the stored bytes have another length than those that were stored.

        """
        return self._open(*self._readable("open %s", artifact_id))[1]

    @_call
    def _open_record(self, record: ArtifactMetadata) -> BinaryIO:
        """Open an artifact by the record that the catalog has just returned. The filesystem calls this."""
        return self._open(self._checked(record.artifact_id, record, self._core.clock()))[1]

    @_call
    def stream(
        self,
        artifact_id: str | ArtifactMetadata,
        *,
        start: int = 0,
        end: int | None = None,
        chunk_size: int = CHUNK_SIZE,
    ) -> Iterator[bytes]:
        """Return the bytes of an artifact, or a range of them, piece by piece.

        Args:
            artifact_id: the artifact, see :meth:`retrieve`.
            start: the first byte, from 0.
            end: the byte after the last; None: to the end.
            chunk_size: length of a piece in bytes.

        Returns:
            an iterator of bytes. Over the whole artifact it verifies them, and raises
            :class:`ArtifactCorruptedError` in place of the end when they are wrong.

        Raises:
            ArtifactNotFoundError: see :meth:`retrieve`.
            ArtifactExpiredError: see :meth:`retrieve`.
            InvalidInputError: *start* or *end* is negative, *end* below *start*, or *chunk_size* below 1.

        """
        start = arguments.check_count("start", start, 0)
        chunk_size = arguments.check_count("chunk_size", chunk_size, 1)
        if end is not None:
            end = arguments.check_count("end", end, start)
        record, is_kept = self._readable("stream %s", artifact_id)
        return self._chunks(record, start, end, chunk_size, is_kept=is_kept)

    @_call
    def _stream_record(
        self, record: ArtifactMetadata, start: int = 0, end: int | None = None, chunk_size: int = CHUNK_SIZE
    ) -> Iterator[bytes]:
        """Stream an artifact by the record that the catalog has just returned. The filesystem calls this."""
        return self._chunks(self._checked(record.artifact_id, record, self._core.clock()), start, end, chunk_size)

    @_call
    def download(
        self,
        artifact_id: str | ArtifactMetadata,
        path: str | os.PathLike[str],
        *,
        callback: Callback | None = None,
    ) -> Path:
        """Write an artifact to a file, which appears whole and verified, or not at all.

        Args:
            artifact_id: the artifact, see :meth:`retrieve`.
            path: the file; a folder takes the last segment of the artifact's filename, or its id.
            callback: an fsspec ``Callback``, told the size and each piece in bytes.

        Returns:
            the path of the file.

        Raises:
            ArtifactNotFoundError: see :meth:`retrieve`.
            ArtifactExpiredError: see :meth:`retrieve`.
            ArtifactCorruptedError: see :meth:`retrieve`.
            InvalidInputError: the folder of *path* does not exist.
            OSError: the file can't be written.

        """
        return self._save(*self._readable("download %s", artifact_id), path, callback)

    @_call
    def _download_record(
        self, record: ArtifactMetadata, path: str | os.PathLike[str], *, callback: Callback | None = None
    ) -> Path:
        """Download an artifact by the record that the catalog has just returned. The filesystem calls this."""
        return self._save(self._checked(record.artifact_id, record, self._core.clock()), False, path, callback)

    def _save(
        self,
        record: ArtifactMetadata,
        is_kept: bool,  # noqa: FBT001 - as _readable returns it
        path: str | os.PathLike[str],
        callback: Callback | None,
    ) -> Path:
        from pathlib import Path  # noqa: PLC0415 - which takes longer than all of this package's own parts

        target = Path(arguments.check_path("path", path))
        if target.is_dir():
            target /= record.artifact_id if record.filename is None else arguments.name_in_folder(record.filename)
        if not target.parent.is_dir():
            raise InvalidInputError(f"path: the folder {shown(str(target.parent))} does not exist")
        if callback is not None:
            callback.set_size(record.bytes)
        part = target.with_name(f".{target.name[:100]}.{os.urandom(4).hex()}.part")
        try:
            with part.open("xb") as file:
                for chunk in self._chunks(record, 0, None, CHUNK_SIZE, is_kept=is_kept):
                    file.write(chunk)
                    if callback is not None:
                        callback.relative_update(len(chunk))
            part.replace(target)
        except BaseException:
            part.unlink(missing_ok=True)
            raise
        return target

    @_call
    def retrieve_batch(self, artifact_ids: Iterable[str]) -> list[bytes]:
        """Return the bytes of several artifacts, verified, in the order of the ids.

        Args:
            artifact_ids: the artifacts.

        Returns:
            the bytes of each.

        Raises:
            ArtifactNotFoundError: one of them does not exist.
            ArtifactExpiredError: the time to live of one is over.
            ArtifactCorruptedError: the stored bytes of one are not those that were stored.

        """
        ids = arguments.check_items("artifact_ids", artifact_ids)
        _log.debug("retrieve_batch %s", ids)
        return self._core.each(self._bytes_of, self._all_live(ids), lambda record: record.bytes)

    @_call
    def exists(self, artifact_id: str) -> bool:
        """Say whether there is such an artifact, and it has not expired.

        Args:
            artifact_id: the artifact; a malformed id is that of none.

        Returns:
            whether :meth:`metadata` would return something.

        """
        _log.debug("exists %s", artifact_id)
        try:
            self._live(artifact_id)
        except ArtifactNotFoundError:
            return False
        return True

    @_call
    def metadata(self, artifact_id: str) -> ArtifactMetadata:
        """Return what is known of an artifact.

        Args:
            artifact_id: the artifact.

        Returns:
            its metadata, a copy.

        Raises:
            ArtifactNotFoundError: see :meth:`retrieve`.
            ArtifactExpiredError: see :meth:`retrieve`.

        """
        _log.debug("metadata %s", artifact_id)
        return self._public(self._live(artifact_id))

    def _readable(self, line: str, artifact: str | ArtifactMetadata) -> tuple[ArtifactMetadata, bool]:
        """Return the catalog's record to read an artifact by, and whether it is of a revision that the caller kept.

        Nothing of metadata that a caller hands in goes further than this: see :mod:`~chuk_artifacts.operations.kept`.
        """
        if isinstance(artifact, str) or not isinstance(artifact, ArtifactMetadata):
            _log.debug(line, artifact)
            return self._live(artifact), False
        wanted = Kept.of(artifact)
        _log.debug(line, wanted.artifact_id)
        return wanted.content_of(self._live(wanted.artifact_id)), True

    def _live(self, artifact_id: str) -> ArtifactMetadata:
        """Return the record of an artifact that can be seen from here and has not expired."""
        core = self._core
        plain_id = grid.plain_artifact_id(artifact_id)
        if plain_id is None:
            raise no_artifact(artifact_id)
        (record,) = core.catalog.get((plain_id,))
        return self._checked(plain_id, record, core.clock())

    def _all_live(self, artifact_ids: Sequence[str]) -> list[ArtifactMetadata]:
        core = self._core
        ids = []
        for artifact_id in artifact_ids:
            plain_id = grid.plain_artifact_id(artifact_id)
            if plain_id is None:
                raise no_artifact(artifact_id)
            ids.append(plain_id)
        records = core.catalog.get(ids)
        now = core.clock()
        return [self._checked(*found, now) for found in zip(ids, records, strict=True)]

    def _checked(self, artifact_id: str, record: ArtifactMetadata | None, now: float) -> ArtifactMetadata:
        """Return the record that a catalog answered with, if it can be seen from here and has not expired."""
        if record is None or (self._bound is not None and self._bound != record.session_id):
            raise no_artifact(artifact_id)
        if record.pending is not None:
            return uploads.completed(self._core, record)
        if is_over(record.expires_at, now):
            raise ArtifactExpiredError(f"artifact {artifact_id} has expired")
        return record

    def _bytes_of(self, record: ArtifactMetadata, is_kept: bool = False) -> bytes:  # noqa: FBT001, FBT002 - as _readable returns it
        try:
            data = self._core.storage.get(record.key)
        except ObjectMissingError:
            return self._bytes_of(self._latest(record, is_kept=is_kept))
        except _SIGNALS as error:
            raise _public_error(error) from error
        if len(data) != record.bytes or hashlib.sha256(data).hexdigest() != record.sha256:
            raise _corrupted(record)
        return data

    def _open(
        self,
        record: ArtifactMetadata,
        is_kept: bool = False,  # noqa: FBT001, FBT002 - as _readable returns it
        *,
        start: int = 0,
    ) -> tuple[ArtifactMetadata, BinaryIO]:
        """Return a reader of the bytes of *record*, and which revision it reads: this, or a later one by then."""
        start = min(start, record.bytes)  # some systems can't seek much further
        try:
            file = self._core.storage.open(record.key, record.bytes, start=start)
        except ObjectMissingError:
            return self._open(self._latest(record, is_kept=is_kept), start=start)
        except _SIGNALS as error:
            raise _public_error(error) from error
        size = file.seek(0, os.SEEK_END)
        file.seek(start)
        if size != record.bytes:
            file.close()
            raise _corrupted(record)
        return record, file

    def _chunks(
        self, record: ArtifactMetadata, start: int, end: int | None, chunk_size: int, *, is_kept: bool = False
    ) -> Iterator[bytes]:
        yield from chunks_of(*self._open(record, is_kept, start=start), start, end, chunk_size)

    def _latest(self, record: ArtifactMetadata, *, is_kept: bool = False) -> ArtifactMetadata:
        """Return the next revision of an artifact whose bytes are gone, unless the caller wants these and no others."""
        latest = self._live(record.artifact_id)
        if is_kept and latest.key != record.key:
            raise not_kept(record) from None
        if latest.key == record.key:
            raise ArtifactNotFoundError(f"artifact {record.artifact_id}: its bytes are gone from the storage") from None
        return latest

    # Change

    @_call
    def update_metadata(
        self,
        artifact_id: str,
        *,
        summary: str | None = None,
        meta: Mapping[str, Any] | None = None,
        merge: bool = True,
        filename: str | None = None,
        mime: str | None = None,
        if_revision: int | None = None,
    ) -> ArtifactMetadata:
        """Change the description of an artifact.

        Args:
            artifact_id: the artifact.
            summary: a new summary; None: leave it.
            meta: a JSON object; None: leave it.
            merge: whether *meta* is merged, key by key, into the present one, or takes its place.
            filename: a new filename; None: leave it.
            mime: a new media type; None: leave it.
            if_revision: change only this revision; None: whatever is the latest.

        Returns:
            the new metadata.

        Raises:
            ArtifactNotFoundError: see :meth:`retrieve`.
            ArtifactExpiredError: see :meth:`retrieve`.
            ConflictError: the artifact has another revision than *if_revision*, or is changed all the time.
            InvalidInputError: an argument is wrong, or there is none to change anything.

        """
        _log.debug("update_metadata %s", artifact_id)
        if_revision, limits = _checked_revision(if_revision), self._core.settings.limits
        changes = _changes(limits, summary=summary, filename=filename, mime=mime)
        addition = None if meta is None else limits.check_meta("meta", meta)
        if not changes and addition is None:
            raise InvalidInputError("nothing to change: give one of summary, meta, filename, mime")

        def change(record: ArtifactMetadata, _: float) -> dict[str, Any]:
            if addition is None:
                return changes
            return {**changes, "meta": limits.check_merged("meta", record.meta, addition) if merge else addition}

        return self._change(artifact_id, change, if_revision)

    @_call
    def update_file(
        self,
        artifact_id: str,
        *,
        data: Any = None,
        meta: Mapping[str, Any] | None = None,
        filename: str | None = None,
        summary: str | None = None,
        mime: str | None = None,
        ttl: float | None = None,
        if_revision: int | None = None,
    ) -> ArtifactMetadata:
        """Change the content of an artifact, its description, or both.

        A reader sees the old file or the new one, whole. The bytes before stay for an hour, the last 16 of them, for
        those who still read them.

        Args:
            artifact_id: the artifact.
            data: new content, see :meth:`store`; None: leave it.
            meta: a JSON object in the place of the present one; None: leave it.
            filename: a new filename; None: leave it.
            summary: a new summary; None: leave it.
            mime: a new media type; None: leave it.
            ttl: seconds to live from now on; None: leave the expiry.
            if_revision: change only this revision; None: whatever is the latest.

        Returns:
            the new metadata.

        Raises:
            ArtifactNotFoundError: see :meth:`retrieve`.
            ArtifactExpiredError: see :meth:`retrieve`.
            ConflictError: the artifact has another revision than *if_revision*, is changed all the time, or was changed
                while *data*, a stream that can't be read twice, was being written.
            InvalidInputError: an argument is wrong, or there is none to change anything.

        """
        _log.debug("update_file %s", artifact_id)
        if_revision = _checked_revision(if_revision)
        changes = _changes(self._core.settings.limits, summary=summary, filename=filename, mime=mime, meta=meta)
        seconds = arguments.check_ttl("ttl", ttl, self._core.clock())
        content = None if data is None else source(data)
        if content is None and seconds is None and not changes:
            raise InvalidInputError("nothing to change: give one of data, meta, filename, summary, mime, ttl")

        def change(_: ArtifactMetadata, now: float) -> dict[str, Any]:
            return changes if seconds is None else {**changes, "ttl": seconds, "expires_at": timestamp(now + seconds)}

        if content is None:
            return self._change(artifact_id, change, if_revision)
        return self._change_content(artifact_id, content, change, if_revision)

    @_call
    def move_file(
        self,
        artifact_id: str,
        *,
        new_filename: str | None = None,
        new_session_id: str | None = None,
        new_meta: Mapping[str, Any] | None = None,
    ) -> ArtifactMetadata:
        """Rename an artifact; its id and its bytes stay.

        Args:
            artifact_id: the artifact.
            new_filename: the new filename; None: leave it.
            new_session_id: None, or the artifact's own session.
            new_meta: a JSON object in the place of the present one; None: leave it.

        Returns:
            the new metadata.

        Raises:
            AccessDeniedError: *new_session_id* is another session.
            ArtifactNotFoundError: see :meth:`retrieve`.
            ArtifactExpiredError: see :meth:`retrieve`.
            ConflictError: the artifact is changed all the time.
            InvalidInputError: an argument is wrong, or there is none to change anything.

        """
        _log.debug("move_file %s", artifact_id)
        changes = _changes(self._core.settings.limits, filename=new_filename, new_meta=new_meta)
        if not changes and new_session_id is None:
            raise InvalidInputError("nothing to change: give one of new_filename, new_meta")

        def change(record: ArtifactMetadata, _: float) -> dict[str, Any]:
            _check_same_session(record, new_session_id)
            return changes

        return self._change(artifact_id, change)

    @_call
    def _rename(self, names: Sequence[tuple[ArtifactMetadata, str]]) -> None:
        """Give artifacts new filenames by as few calls of the catalog as can be. The filesystem calls this.

        Args:
            names: records that the catalog has just returned, and their new filenames.

        Raises:
            ArtifactNotFoundError: one was deleted meanwhile. The others may have their new names, or not.

        """
        core = self._core
        now = timestamp(core.clock())
        for some in batches(names, _RENAMED_AT_ONCE):
            changes = [
                (
                    record.changed(
                        filename=arguments.check_filename(name), updated_at=now, revision=record.revision + 1
                    ),
                    record.revision,
                )
                for record, name in some
            ]
            for (record, name), replaced in zip(some, core.catalog.replace_each(changes), strict=True):
                if not replaced:  # another change came first
                    self.move_file(record.artifact_id, new_filename=name)

    @_call
    def copy_file(
        self,
        artifact_id: str,
        *,
        new_filename: str | None = None,
        target_session_id: str | None = None,
        new_meta: Mapping[str, Any] | None = None,
        summary: str | None = None,
    ) -> str:
        """Copy an artifact within its session; the storage copies the bytes by itself.

        Args:
            artifact_id: the artifact.
            new_filename: filename of the copy; None: the same.
            target_session_id: None, or the artifact's own session.
            new_meta: a JSON object for the copy; None: the same.
            summary: summary of the copy; None: the same.

        Returns:
            the id of the copy, which lives as many seconds from now as the artifact was given.

        Raises:
            AccessDeniedError: *target_session_id* is another session.
            ArtifactNotFoundError: see :meth:`retrieve`.
            ArtifactExpiredError: see :meth:`retrieve`.
            ArtifactCorruptedError: the stored bytes have another length than those that were stored. A bucket does not
                notice that; reading the copy does.
            InvalidInputError: an argument is wrong.

        """
        _log.debug("copy_file %s", artifact_id)
        changes = _changes(self._core.settings.limits, filename=new_filename, summary=summary, new_meta=new_meta)
        record = self._live(artifact_id)
        _check_same_session(record, target_session_id)
        core = self._core
        if not core.identified:
            identity.establish(core)
        copy_id, key = grid.new_artifact(record.sandbox_id, record.session_id)
        now = core.clock()

        def copied(record: ArtifactMetadata) -> ArtifactMetadata:
            copy = record.changed(
                artifact_id=copy_id,
                key=key,
                stored_at=timestamp(now),
                updated_at=timestamp(now),
                expires_at=None if record.ttl is None else timestamp(now + record.ttl),
                revision=1,
                superseded=(),
                **changes,
            )
            try:
                core.storage.copy(record.key, key, record.bytes, about=lambda _: description(copy))
            except ObjectMissingError:
                return copied(self._latest(record))
            except ObjectChangedError:
                raise _corrupted(record) from None
            return copy

        with fresh_bytes(core, copy_id, key):
            copy = copied(record)
            check_bytes(core, [key], now)
        add(core, [copy], now)
        return copy_id

    @_call
    def extend_ttl(self, artifact_id: str, additional_seconds: float) -> ArtifactMetadata:
        """Let an artifact live longer, and its session at least as long.

        Args:
            artifact_id: the artifact.
            additional_seconds: seconds after its present expiry. One that never expires stays as it is.

        Returns:
            the new metadata.

        Raises:
            ArtifactNotFoundError: see :meth:`retrieve`.
            ArtifactExpiredError: see :meth:`retrieve`.
            ConflictError: the artifact is changed all the time.
            InvalidInputError: *additional_seconds* is no finite number above 0, or reaches beyond the year 9999.

        """
        _log.debug("extend_ttl %s", artifact_id)
        more = arguments.check_positive("additional_seconds", additional_seconds)

        def change(record: ArtifactMetadata, _: float) -> dict[str, Any]:
            if record.expires_at is None or record.ttl is None:
                return {}
            moment = arguments.check_moment("additional_seconds", seconds_of(record.expires_at) + more)
            return {"expires_at": timestamp(moment), "ttl": record.ttl + more}

        return self._change(artifact_id, change)

    def _change(
        self,
        artifact_id: str,
        change: Callable[[ArtifactMetadata, float], dict[str, Any]],
        if_revision: int | None = None,
        record: ArtifactMetadata | None = None,
    ) -> ArtifactMetadata:
        """Replace a record by one with the fields that *change* returns, as the next revision.

        Who has the latest record already hands it in.
        """
        core = self._core
        for attempt in range(ATTEMPTS):
            if record is None:
                record = self._live(artifact_id)
            _check_expected(record, if_revision)
            now = core.clock()
            self._checked(artifact_id, record, now)
            fields = change(record, now)
            if not fields:
                return self._public(record)
            changed = record.changed(revision=record.revision + 1, updated_at=timestamp(now), **fields)
            if core.catalog.replace(changed, expected_revision=record.revision):
                return self._public(changed)
            record = None
            _pause(attempt)
        raise ConflictError(
            f"artifact {grid.plain_artifact_id(artifact_id)} was changed by others {ATTEMPTS} times in a row"
        )

    def _public(self, record: ArtifactMetadata) -> ArtifactMetadata:
        """Return what a caller may change without changing the store."""
        return record.changed(meta=arguments.copy_json(record.meta)) if self._core.catalog.keeps else record

    def _change_content(
        self,
        artifact_id: str,
        content: bytes | Stream,
        change: Callable[[ArtifactMetadata, float], dict[str, Any]],
        if_revision: int | None,
    ) -> ArtifactMetadata:
        """Write new bytes under a key of their own, then let the record point to them."""
        record = self._live(artifact_id)
        _check_expected(record, if_revision)
        core = self._core
        begun = core.clock()
        key = grid.later_key(record.sandbox_id, record.session_id, record.artifact_id)
        over: tuple[Superseded, ...] = ()

        def described(sha256: str) -> Description:
            return description(record.changed(**{**change(record, begun), "sha256": sha256}))

        def change_with_bytes(record: ArtifactMetadata, now: float) -> dict[str, Any]:
            nonlocal over
            before = Superseded(record.key, timestamp(now + GRACE_SECONDS), record.bytes)
            kept, over = split_superseded(record.changed(superseded=(*record.superseded, before)), now)
            return {**change(record, now), "key": key, "bytes": size, "sha256": sha256, "superseded": kept}

        with fresh_bytes(core, record.artifact_id, key):
            size, sha256 = core.storage.put(key, content, exclusive=core.storage.guards, about=described)
            check_bytes(core, [key], begun)
            changed = self._change(record.artifact_id, change_with_bytes, if_revision, record)
        discard(core, [earlier.key for earlier in over])
        return changed

    # Delete

    def delete(self, artifact_id: str) -> bool:
        """Delete an artifact.

        Args:
            artifact_id: the artifact. One that was signed for upload and is not registered counts as nothing; its
                upload is cancelled.

        Returns:
            False if there was nothing to delete, or it had expired.

        """
        return self.delete_batch([artifact_id]) == 1

    @_call
    def delete_batch(self, artifact_ids: Iterable[str]) -> int:
        """Delete several artifacts.

        Args:
            artifact_ids: the artifacts.

        Returns:
            how many there were to delete.

        """
        core = self._core
        wanted = arguments.check_items("artifact_ids", artifact_ids)
        ids = [plain_id for one in wanted if (plain_id := grid.plain_artifact_id(one)) is not None]
        _log.debug("delete %s", ids)
        there = 0
        for some in batches(ids, _DELETED_AT_ONCE):
            removed = core.catalog.remove(some, session_id=self._bound)
            now = core.clock()
            there += sum(self._was_there(record, now) for record in removed)
            delete_bytes(core, removed)
        return there

    def _was_there(self, record: ArtifactMetadata, now: float) -> bool:
        if is_over(record.expires_at, now):
            return False
        if record.pending is None:
            return True
        return record.pending.registered and self._core.storage.stat(record.key) is not None

    # List

    def list_by_session(self, session_id: str | None = None, limit: int | None = None) -> list[ArtifactMetadata]:
        """Return the artifacts of a session, ordered by filename and id.

        Args:
            session_id: the session; a bound store fills in its own. One that is unknown or expired has none.
            limit: how many at most; None: all.

        Returns:
            their metadata.

        Raises:
            InvalidInputError: an argument is wrong.

        """
        return self.list_files(session_id, limit=limit)

    @_call
    def list_files(
        self, session_id: str | None = None, prefix: str = "", limit: int | None = None
    ) -> list[ArtifactMetadata]:
        """Return the artifacts of a session whose filenames begin with a prefix, ordered by filename and id.

        Args:
            session_id: see :meth:`list_by_session`.
            prefix: any beginning of a filename.
            limit: how many at most; None: all.

        Returns:
            their metadata.

        Raises:
            InvalidInputError: an argument is wrong.

        """
        _log.debug("list_files %s", session_id)
        return list(
            self._listing(
                self._scope(session_id),
                arguments.check_text("prefix", prefix),
                arguments.check_limit(limit),
                _PAGE_SIZE,
            )
        )

    def get_directory_contents(
        self, session_id: str | None = None, directory_prefix: str = "", limit: int | None = None
    ) -> list[ArtifactMetadata]:
        """Return the artifacts of a session below a folder, at any depth, ordered by filename and id.

        Args:
            session_id: see :meth:`list_by_session`.
            directory_prefix: the folder, with or without its last slash; empty: all.
            limit: how many at most; None: all.

        Returns:
            their metadata.

        Raises:
            InvalidInputError: an argument is wrong.

        """
        folder = arguments.check_text("directory_prefix", directory_prefix).rstrip("/")
        return self.list_files(session_id, f"{folder}/" if folder else "", limit)

    @_call
    def iter_session(
        self, session_id: str | None = None, *, prefix: str = "", start: str = "", page_size: int = _PAGE_SIZE
    ) -> Iterator[ArtifactMetadata]:
        """Iterate over the artifacts of a session, ordered by filename and id, page by page.

        Args:
            session_id: see :meth:`list_by_session`.
            prefix: any beginning of a filename.
            start: the first filename to be told; what is before it costs nothing.
            page_size: how many are read at a time.

        Returns:
            an iterator of their metadata. What is stored or deleted meanwhile may or may not be among them; nothing
            else is missed or told twice.

        Raises:
            InvalidInputError: an argument is wrong.

        """
        _log.debug("iter_session %s", session_id)
        return self._listing(
            self._scope(session_id),
            arguments.check_text("prefix", prefix),
            None,
            arguments.check_count("page_size", page_size, 1, arguments.MAX_PAGE),
            arguments.check_text("start", start),
        )

    def _listing(
        self, session_id: str, prefix: str, limit: int | None, page_size: int, start: str = ""
    ) -> Iterator[ArtifactMetadata]:
        after = (start, "") if start > prefix else None
        remaining = limit
        while remaining is None or remaining > 0:
            self._check_open()
            core = self._core
            wanted = page_size if remaining is None else min(remaining, page_size)
            page = core.catalog.page(session_id, prefix=prefix, after=after, limit=wanted, now=core.clock())
            seen = uploads.settled(core, page)
            yield from map(self._public, seen) if core.catalog.keeps else seen
            if len(page) < wanted:
                return
            after = place(page[-1])
            remaining = None if remaining is None else remaining - len(seen)

    @_call
    def _named(self, session_id: str, filename: str) -> list[ArtifactMetadata]:
        """Return the artifacts of a session with a filename, by their ids. The filesystem calls this."""
        core = self._core
        scope = self._scope(session_id)
        filename = arguments.check_text("filename", filename)
        return uploads.settled(core, core.catalog.named(scope, filename, core.clock()))

    # Share

    @_call
    def presign(self, artifact_id: str, expires: float = 3600) -> str:
        """Return a URL from which anybody can download an artifact, for a while.

        The download carries the artifact's filename and media type. Where the storage signs by itself (S3, IBM COS with
        HMAC keys) the URL is the storage's own; elsewhere it is one of the gateway, which serves the latest revision.

        Args:
            artifact_id: the artifact.
            expires: how long the URL works, in seconds, at most 7 days. One that was made with temporary credentials
                ends with these.

        Returns:
            the URL, for HTTP GET.

        Raises:
            ArtifactNotFoundError: see :meth:`retrieve`.
            ArtifactExpiredError: see :meth:`retrieve`.
            InvalidInputError: *expires* is no finite number above 0 and up to 7 days, or there is no signing key that
                all who need it know.

        """
        _log.debug("presign %s", artifact_id)
        seconds = arguments.check_expires(expires)
        return links.to_download(self._core, self._live(artifact_id), seconds, self._start_gateway)

    def presign_short(self, artifact_id: str) -> str:
        """Return a URL that works for 15 minutes; see :meth:`presign`."""
        return self.presign(artifact_id, 900)

    def presign_medium(self, artifact_id: str) -> str:
        """Return a URL that works for an hour; see :meth:`presign`."""
        return self.presign(artifact_id, 3600)

    def presign_long(self, artifact_id: str) -> str:
        """Return a URL that works for a day; see :meth:`presign`."""
        return self.presign(artifact_id, 86400)

    @_call
    def presign_upload(
        self,
        session_id: str | None = None,
        filename: str | None = None,
        mime_type: str = arguments.OCTET_STREAM,
        expires: float = 3600,
        max_bytes: int | None = None,
    ) -> tuple[str, str]:
        """Return a URL to which anybody can upload one file, for a while, and the id that it will have.

        It is an artifact when :meth:`register_uploaded_artifact` has been called, for which there is an hour after the
        URL's end; until then no other verb knows it.

        Args:
            session_id: the session it will belong to; None: a fresh one.
            filename: the filename of the artifact, unless its registration says another.
            mime_type: the media type. Any but the default must be the ``Content-Type`` of the upload.
            expires: how long the URL works, in seconds, at most 7 days.
            max_bytes: the length in bytes of the longest upload; None: any. The gateway takes no more. A PUT to S3 or
                IBM COS can't be limited: what is longer is refused and removed when it is registered.

        Returns:
            the URL, for HTTP PUT, and the artifact id.

        Raises:
            InvalidInputError: an argument is wrong, or there is no signing key; see :meth:`presign`.

        """
        _log.debug("presign_upload")
        order = self._draft(self._new_scope(session_id), data=b"", mime=mime_type, filename=filename)
        return uploads.expect(self._core, order, expires, max_bytes, registered=False, start=self._start_gateway)

    @_call
    def register_uploaded_artifact(
        self,
        artifact_id: str,
        *,
        mime: str,
        summary: str,
        meta: Mapping[str, Any] | None = None,
        filename: str | None = None,
        session_id: str | None = None,
        ttl: float | None = None,
    ) -> bool:
        """Make an artifact of what was uploaded. Once it is one, another upload to the URL changes nothing.

        Args:
            artifact_id: what :meth:`presign_upload` returned.
            mime: see :meth:`store`.
            summary: see :meth:`store`.
            meta: see :meth:`store`.
            filename: see :meth:`store`; None: as with :meth:`presign_upload`.
            session_id: None, or the session given to :meth:`presign_upload`.
            ttl: see :meth:`store`.

        Returns:
            True. The second time it changes nothing.

        Raises:
            ArtifactNotFoundError: nothing was signed under that id, or nothing has been uploaded.
            ArtifactExpiredError: it came too late.
            AccessDeniedError: *session_id* is another session.
            InvalidInputError: an argument is wrong, or the upload is longer than allowed; then it is removed.

        """
        _log.debug("register_uploaded_artifact %s", artifact_id)
        core = self._core
        fields = {
            "mime": arguments.check_mime(mime, None, arguments.OCTET_STREAM),
            "summary": core.settings.limits.check_summary(summary),
            "meta": core.settings.limits.check_meta("meta", meta),
            **_changes(core.settings.limits, filename=filename),
        }
        ttl = arguments.check_ttl("ttl", ttl, core.clock())
        if session_id is not None:
            self._scope(session_id)
        record = uploads.find(core, self._bound, artifact_id)
        _check_same_session(record, session_id)
        uploads.register(core, record, fields, ttl)
        return True

    @_call
    def presign_upload_and_register(
        self,
        *,
        mime: str,
        summary: str,
        meta: Mapping[str, Any] | None = None,
        filename: str | None = None,
        session_id: str | None = None,
        ttl: float | None = None,
        expires: float = 3600,
        max_bytes: int | None = None,
    ) -> tuple[str, str]:
        """Return a URL to which anybody can upload one file, and the id of the artifact that this becomes by itself.

        It is one as soon as somebody asks for it, by id or in a listing, after the upload. What is longer than allowed
        is removed then.

        Args:
            mime: see :meth:`store`. Any but ``application/octet-stream`` must be the ``Content-Type`` of the upload.
            summary: see :meth:`store`.
            meta: see :meth:`store`.
            filename: see :meth:`store`.
            session_id: the session it will belong to; None: a fresh one.
            ttl: see :meth:`store`; counted from when it is an artifact.
            expires: see :meth:`presign_upload`.
            max_bytes: see :meth:`presign_upload`.

        Returns:
            the URL, for HTTP PUT, and the artifact id.

        Raises:
            InvalidInputError: an argument is wrong.

        """
        _log.debug("presign_upload_and_register")
        order = self._draft(
            self._new_scope(session_id), data=b"", mime=mime, summary=summary, meta=meta, filename=filename, ttl=ttl
        )
        return uploads.expect(self._core, order, expires, max_bytes, registered=True, start=self._start_gateway)

    @_call
    def _receive(self, artifact_id: str, data: Iterator[bytes], allows: uploads.Allows | None = None) -> str:
        """Take an upload that is awaited, and return its SHA-256. The gateway calls this."""
        return uploads.receive(self._core, self._bound, artifact_id, data, allows)

    def _start_gateway(self) -> LocalGateway:
        """Serve the URLs of this store from this process, until it is closed or nobody refers to it any more."""
        from chuk_artifacts.gateway import start  # noqa: PLC0415 - it imports this module

        store = object.__new__(type(self))
        store.__dict__.update(_core=weakref.proxy(self._core), _bound=None, _closed=False)
        return start(store)

    # Sessions

    def session(self, session_id: str) -> Self:
        """Return a view of this store that is bound to one session.

        It is what an application hands to the handler of a request: the same verbs with *session_id* filled in, and
        nothing of another session can be reached with it. Closing it closes the view alone.

        Args:
            session_id: the session; it need not exist yet.

        Returns:
            the bound store.

        Raises:
            InvalidInputError: no session can be called that.

        """
        self._check_open()
        view = object.__new__(type(self))
        view.__dict__.update(self.__dict__, _bound=self._scope(session_id))
        return view

    @_call
    def create_session(
        self,
        user_id: str | None = None,
        ttl_hours: float | None = None,
        custom_metadata: Mapping[str, Any] | None = None,
    ) -> str:
        """Create a session; one that a verb names is created by that.

        Args:
            user_id: whose it is.
            ttl_hours: how long it lives, in hours, and what is stored in it by default; None: the store's default.
            custom_metadata: a JSON object of your own.

        Returns:
            the session id.

        Raises:
            InvalidInputError: an argument is wrong.

        """
        _log.debug("create_session")
        core = self._whole("create_session")
        now = core.clock()
        ttl = arguments.check_hours("ttl_hours", ttl_hours, now)
        info = new_session(
            grid.new_session_id(),
            core.settings.sandbox_id,
            now=now,
            ttl=core.settings.session_ttl if ttl is None else ttl,
            user_id=core.settings.limits.check_user_id(user_id),
            custom_metadata=core.settings.limits.check_meta("custom_metadata", custom_metadata),
        )
        core.catalog.create_session(info)
        return info.session_id

    def validate_session(self, session_id: str | None = None) -> bool:
        """Say whether there is such a session, and it has not expired.

        Args:
            session_id: the session; a bound store fills in its own.

        Returns:
            whether :meth:`get_session_info` would return something.

        Raises:
            InvalidInputError: no session can be called that.

        """
        return self.get_session_info(session_id) is not None

    @_call
    def get_session_info(self, session_id: str | None = None) -> SessionInfo | None:
        """Return what is known of a session.

        Args:
            session_id: the session; a bound store fills in its own.

        Returns:
            a copy of what is known, or None when there is no such session or it has expired.

        Raises:
            InvalidInputError: no session can be called that.

        """
        _log.debug("get_session_info %s", session_id)
        core = self._core
        info = core.catalog.get_session(self._scope(session_id), core.clock())
        if info is None:
            return None
        return info.changed(custom_metadata=arguments.copy_json(info.custom_metadata))

    @_call
    def update_session_metadata(self, session_id: str | None = None, metadata: Mapping[str, Any] | None = None) -> bool:
        """Merge metadata, key by key, into that of a session.

        Args:
            session_id: the session; a bound store fills in its own.
            metadata: a JSON object.

        Returns:
            False when there is no such session, or it has expired.

        Raises:
            InvalidInputError: an argument is wrong.

        """
        _log.debug("update_session_metadata %s", session_id)
        core = self._core
        scope = self._scope(session_id)
        if metadata is None:
            raise InvalidInputError("metadata must be given")
        limits = core.settings.limits
        addition = limits.check_meta("metadata", metadata)
        return core.catalog.update_session(scope, core.clock(), custom_metadata=addition, limits=limits)

    @_call
    def extend_session_ttl(self, session_id: str | None = None, additional_hours: float | None = None) -> bool:
        """Let a session live longer, and what is stored in it later on.

        Args:
            session_id: the session; a bound store fills in its own.
            additional_hours: hours after its present expiry. One that never expires stays as it is.

        Returns:
            False when there is no such session, or it has expired.

        Raises:
            InvalidInputError: an argument is wrong, or reaches beyond the year 9999.

        """
        _log.debug("extend_session_ttl %s", session_id)
        core = self._core
        scope = self._scope(session_id)
        now = core.clock()
        seconds = arguments.check_hours("additional_hours", additional_hours, now)
        if seconds is None:
            raise InvalidInputError("additional_hours must be given")
        return core.catalog.update_session(scope, now, extend=seconds)

    @_call
    def delete_session(self, session_id: str | None = None) -> bool:
        """Delete a session and its artifacts.

        Args:
            session_id: the session; a bound store fills in its own.

        Returns:
            False when there is no such session, or it has expired.

        Raises:
            InvalidInputError: no session can be called that.

        """
        _log.debug("delete_session %s", session_id)
        core = self._core
        scope = self._scope(session_id)
        return delete_session(core, scope)

    # House

    def cleanup_expired_sessions(self) -> int:
        """Remove expired sessions, expired artifacts and their bytes.

        Returns:
            how many sessions were removed.

        """
        return self.cleanup().sessions

    @_call
    def cleanup(
        self,
        *,
        orphans: bool = False,
        dry_run: bool = False,
        force: bool = False,
        older_than: float = ORPHAN_GRACE_SECONDS,
    ) -> CleanupReport:
        """Remove expired sessions, expired artifacts and their bytes.

        An orphan sweep also removes bytes without a record, such as a crash leaves. It lists all bytes of the sandbox,
        and trusts the catalog only where that proves to be the one that describes them: catalog and storage hold the
        same identity, which the first artifact leaves in both.

        Args:
            orphans: whether to sweep orphans too.
            dry_run: whether only to report what would be removed.
            force: whether to sweep even when more than half of all objects (and more than 20) would go.
            older_than: how old an orphan must be, in seconds by the clock of the storage; at least a day, 86,400.

        Returns:
            how much was removed.

        Raises:
            InvalidInputError: *older_than* is no finite number of at least 86,400.
            SessionError: besides an outage: the catalog is not known to describe this storage, is damaged, or knows
                less than half of all objects. Expired artifacts were removed, and no orphans.

        """
        _log.debug("cleanup orphans=%s dry_run=%s", orphans, dry_run)
        core = self._whole("cleanup")
        if arguments.check_positive("older_than", older_than) < ORPHAN_GRACE_SECONDS:
            raise InvalidInputError(f"older_than must be at least a day, {ORPHAN_GRACE_SECONDS:.0f} seconds")
        report = clean(core, complete=lambda record: uploads.if_complete(core, record) is not None, dry_run=dry_run)
        if not orphans:
            return report
        swept = remove_orphans(core, Sweep(older_than=older_than, dry_run=dry_run, force=force))
        return report.changed(orphans=swept.orphans, bytes=report.bytes + swept.bytes, orphan_keys=swept.orphan_keys)

    @_call
    def get_canonical_prefix(self, session_id: str | None = None) -> str:
        """Return the prefix of all keys of a session, ``grid/{sandbox}/{session}/``.

        Args:
            session_id: the session; a bound store fills in its own.

        Returns:
            the prefix, with its last slash.

        Raises:
            InvalidInputError: no session can be called that.

        """
        return grid.canonical_prefix(self._core.settings.sandbox_id, self._scope(session_id))

    @_call
    def generate_artifact_key(self, session_id: str, artifact_id: str) -> str:
        """Return the key of the first bytes of an artifact, ``grid/{sandbox}/{session}/{artifact}``.

        Args:
            session_id: its session.
            artifact_id: the artifact.

        Returns:
            the key.

        Raises:
            GridError: one of them can't be an id.

        """
        return grid.artifact_key(self._core.settings.sandbox_id, self._scope(session_id), artifact_id)

    @_call
    def parse_grid_key(self, key: str) -> GridKey | None:
        """Return the parts of a key, or None when it is none.

        Args:
            key: such as ``grid/{sandbox}/{session}/{artifact}``.

        Returns:
            its sandbox, session, artifact and revision.

        """
        return grid.parse(key)

    @_call
    def get_session_prefix_pattern(self) -> str:
        """Return the prefix of the keys of all sessions, ``grid/{sandbox}/``."""
        return grid.sandbox_prefix(self._core.settings.sandbox_id)

    @_call
    def validate_configuration(self, *, thorough: bool = False) -> dict[str, dict[str, str]]:
        """Try the storage and the catalog.

        Args:
            thorough: whether to read all records and write a few KiB to the storage, which are removed again, to find
                damage, a full disk, and what the storage does with conditional writes.

        Returns:
            for ``storage`` and ``session`` each a dict of ``status`` (``ok`` or ``error``), ``provider`` and, for an
            error, ``message``. An outage is reported and not raised. Some providers report more facts, and in
            ``warning`` what may lose data.

        """
        _log.debug("validate_configuration")
        core = self._whole("validate_configuration")
        found = {
            "storage": _tried(core.storage.provider, lambda: core.storage.check(thorough=thorough)),
            "session": _tried(core.catalog.provider, lambda: _facts(core.catalog, thorough=thorough)),
        }
        if core.storage.persistent != core.catalog.persistent:
            side = "session" if core.storage.persistent else "storage"
            found[side]["warning"] = _with_warning(
                found[side],
                f"{'records' if side == 'session' else 'bytes'} in memory go with the process, and what is stored can't"
                " be found again",
            )
        return found

    @_call
    def get_stats(self) -> dict[str, Any]:
        """Return the providers, the sandbox, and how many ``sessions``, ``artifacts`` and ``bytes`` it holds.

        Uploads that are awaited do not count.
        """
        _log.debug("get_stats")
        core = self._whole("get_stats")
        return {
            "storage_provider": core.storage.provider,
            "session_provider": core.catalog.provider,
            "sandbox_id": core.settings.sandbox_id,
            **core.catalog.stats(core.clock()),
        }

    @_call
    def get_sandbox_info(self) -> dict[str, Any]:
        """Return the sandbox, its key prefix, the providers and the default time to live of sessions in hours."""
        _log.debug("get_sandbox_info")
        core = self._whole("get_sandbox_info")
        ttl = core.settings.session_ttl
        return {
            "sandbox_id": core.settings.sandbox_id,
            "session_prefix_pattern": self.get_session_prefix_pattern(),
            "storage_provider": core.storage.provider,
            "session_provider": core.catalog.provider,
            "session_ttl_hours": None if ttl is None else ttl / 3600,
        }

    def close(self, timeout: float | None = None) -> None:
        """Close the store and every view of it; of a bound store, only the view. Harmless the second time.

        Calls that start from now on raise :class:`ArtifactStoreError` ("store is closed"). Those that other threads
        have under way are waited for.

        Args:
            timeout: how long to wait for them, in seconds; None: as long as it takes.

        Raises:
            ArtifactStoreError: calls are still under way after *timeout*. What they use stays open; close it again.
            InvalidInputError: *timeout* is no finite number above 0.

        """
        timeout = arguments.check_timeout(timeout)
        self._closed = True
        if self._bound is None:
            self._core.close(timeout)

    def _check_open(self) -> None:
        """Raise where an iterator goes on after the store was closed."""
        if self._closed or self._core.closed:
            raise store_is_closed()

    def _scope(self, session_id: str | None) -> str:
        """Return the session a verb is about."""
        bound = self._bound
        if session_id is None:
            if bound is None:
                raise InvalidInputError("session_id must be given")
            return bound
        session_id = grid.check_session_id(session_id)
        if bound is not None and bound != session_id:
            raise AccessDeniedError("this store is bound to another session")
        return session_id

    def _new_scope(self, session_id: str | None) -> str:
        """Return the session that something is stored in: a fresh one when none is given."""
        if session_id is None and self._bound is None:
            return grid.new_session_id()
        return self._scope(session_id)

    def _whole(self, verb: str) -> Core:
        """Return what a verb that concerns the whole store works on."""
        if self._bound is not None:
            raise AccessDeniedError(f"{verb} concerns the whole store, and this one is bound to a session")
        return self._core


class SharedStore(ArtifactStore):
    """An :class:`ArtifactStore` on backends that all of the same settings in this process share.

    It is for code that is handed settings again and again and keeps nothing between, such as a filesystem that is made
    anew for each URL. What is stored in memory by one is there for the next. It pickles as its settings, and finds the
    shared backends of the other process.

    Two are equal when they share their backends and are bound to the same session. :meth:`close` closes it alone.
    """

    def _open_core(self, settings: Settings, clock: Callable[[], float]) -> Core:
        return shared_core(settings, clock)

    def __eq__(self, other: object) -> bool:
        """Say whether both are the same store."""
        if not isinstance(other, SharedStore):
            return NotImplemented
        return self._core is other._core and self._bound == other._bound

    def __hash__(self) -> int:
        """Return a number that is the same for equal ones."""
        return hash((id(self._core), self._bound))

    def close(self, timeout: float | None = None) -> None:
        """Close only this one; harmless the second time."""
        self._closed = True


_STORE_ARGUMENTS = {"data", "mime", "summary", "meta", "filename", "session_id", "user_id", "ttl"}


def _changes(
    limits: Limits, *, summary: Any = None, filename: Any = None, mime: Any = None, **metas: Any
) -> dict[str, Any]:
    """Return the fields that are to change, checked; *metas* is the meta, by the name of its argument."""
    changes: dict[str, Any] = {}
    if summary is not None:
        changes["summary"] = limits.check_summary(summary)
    if filename is not None:
        changes["filename"] = arguments.check_filename(filename)
    if mime is not None:
        changes["mime"] = arguments.check_mime(mime, None, arguments.OCTET_STREAM)
    for name, meta in metas.items():
        if meta is not None:
            changes["meta"] = limits.check_meta(name, meta)
    return changes


def _checked_revision(if_revision: Any) -> int | None:
    return None if if_revision is None else arguments.check_count("if_revision", if_revision, 1)


def _check_expected(record: ArtifactMetadata, revision: int | None) -> None:
    if revision is not None and revision != record.revision:
        raise ConflictError(f"artifact {record.artifact_id} has revision {record.revision}, not {revision}")


def _check_same_session(record: ArtifactMetadata, session_id: str | None) -> None:
    if session_id is not None and grid.check_session_id(session_id) != record.session_id:
        raise AccessDeniedError(f"artifact {record.artifact_id} can't leave its session")


def _encoded(content: Any, encoding: Any) -> Any:
    encoding = arguments.check_encoding(encoding)
    if isinstance(content, (bytes, bytearray, memoryview)):
        return content
    if not isinstance(content, str):
        raise InvalidInputError(f"content must be a str or bytes, not {type(content).__name__}: use store for others")
    try:
        return arguments.plain(content).encode(encoding)
    except UnicodeError as error:
        where = f"the character at {error.start}" if isinstance(error, UnicodeEncodeError) else "it"
        raise InvalidInputError(f"content: {encoding} can't hold {where}") from None


def _public_error(signal: Exception) -> ArtifactStoreError:
    return (ConflictError if isinstance(signal, ConflictError) else ProviderError)(str(signal))


def _id_of(artifact: str | ArtifactMetadata) -> str:
    return arguments.plain(artifact) if isinstance(artifact, str) else artifact.artifact_id


def _corrupted(record: ArtifactMetadata) -> ArtifactCorruptedError:
    return ArtifactCorruptedError(f"artifact {record.artifact_id}: the stored bytes do not match its record")


def chunks_of(
    record: ArtifactMetadata, file: BinaryIO, start: int, end: int | None, chunk_size: int, *, verify: bool = True
) -> Generator[bytes, None, None]:
    """Read a range of the bytes of *record* from a file that stands at its start, and close it.

    All of them are verified, unless that is not wanted.
    """
    stop = record.bytes if end is None else min(end, record.bytes)
    digest = hashlib.sha256() if verify and start == 0 and stop == record.bytes else None
    with file:
        position = start
        while position < stop:
            chunk = file.read(min(chunk_size, stop - position))
            if not chunk:
                raise _corrupted(record)
            position += len(chunk)
            if digest is not None:
                digest.update(chunk)
            yield chunk
    if digest is not None and digest.hexdigest() != record.sha256:
        raise _corrupted(record)


def _pause(attempt: int) -> None:
    """Give way to the others before the next attempt, a little longer each time."""
    import random  # noqa: PLC0415 - for those who met another alone

    time.sleep(random.uniform(0, min(0.0005 * (attempt + 1), _LONGEST_PAUSE_SECONDS)))  # noqa: S311 - no secret


def _tried(provider: str, check: Callable[[], dict[str, str]]) -> dict[str, str]:
    try:
        facts = check()
    except ArtifactStoreError as error:
        return {"status": "error", "provider": provider, "message": str(error)}
    return {"status": "ok", "provider": provider, **facts}


def _facts(catalog: Catalog, *, thorough: bool) -> dict[str, str]:
    facts = catalog.check()
    damaged = catalog.verify() if thorough else 0
    if damaged:
        facts |= {"damaged": str(damaged)}
        facts["warning"] = _with_warning(facts, f"{damaged} records are damaged")
    return facts


def _with_warning(facts: Mapping[str, str], warning: str) -> str:
    return f"{facts['warning']}; {warning}" if "warning" in facts else warning
