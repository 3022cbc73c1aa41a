"""``ArtifactStore``: signatures, documentation and argument checks. The work is done in ``operations``."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, BinaryIO, Literal, Self, overload

from chuk_artifacts import arguments, grid
from chuk_artifacts.core import Core, LocalGateway, shared_core
from chuk_artifacts.errors import InvalidInputError
from chuk_artifacts.grid import GridKey
from chuk_artifacts.instrumentation import AUTO, Instrumentation
from chuk_artifacts.listings import Listing
from chuk_artifacts.log import log as _log
from chuk_artifacts.models import (
    ORPHAN_GRACE_SECONDS,
    ArtifactMetadata,
    ArtifactVersion,
    CleanupReport,
    ReindexReport,
    SessionInfo,
    Usage,
)
from chuk_artifacts.operations import (
    archiving,
    changing,
    cleanup,
    exporting,
    finding,
    importing,
    listing,
    presigning,
    reading,
    reindexing,
    reporting,
    searching,
    sessions,
    uploads,
    writing,
)
from chuk_artifacts.operations.changing import Change
from chuk_artifacts.operations.exporting import Writable
from chuk_artifacts.operations.scope import Scope
from chuk_artifacts.previews import Preview
from chuk_artifacts.settings import (
    DEFAULT_KEEP_VERSIONS,
    DEFAULT_SESSION_TTL_HOURS,
    SessionProvider,
    Settings,
    StorageProvider,
    resolve,
)
from chuk_artifacts.source import CHUNK_SIZE, Data, Readable, StoreItem, source

if TYPE_CHECKING:
    from datetime import datetime
    from pathlib import Path

    from fsspec.callbacks import Callback

    from chuk_artifacts.aio import ArtifactStore as AsyncStore


class ArtifactStore:
    """A store of files that belong to sessions.

    Without arguments it keeps everything in memory. A store is thread-safe, works after a fork, and pickles as its
    settings; an unpickled memory store is empty.

    Every method raises :class:`ArtifactStoreError` ("store is closed") after :meth:`close`, :class:`ProviderError` when
    the storage fails and :class:`SessionError` when the catalog of records fails. Each method lists what else it
    raises. A bound store (see :meth:`session`) raises :class:`AccessDeniedError` for another session and for methods
    that concern the whole store, and :class:`ArtifactNotFoundError` for an artifact of another session.

    Args:
        storage_provider: where to keep bytes: ``memory`` (default), ``filesystem`` (``fs``, also ``file:///path``),
            ``s3`` (also ``s3://bucket/prefix``), ``ibm_cos``, ``ibm_cos_iam``, or any other fsspec URL (``gs://b/p``,
            ``sftp://user@host/path``, chained URLs), see :class:`~chuk_artifacts.storage.url.UrlStorage`; default:
            ``ARTIFACT_PROVIDER``.
        session_provider: where to keep records and sessions: ``memory``, ``sqlite`` (default for ``filesystem``),
            ``redis`` or ``postgres``; default: ``SESSION_PROVIDER``.
        bucket: an existing bucket; default: ``ARTIFACT_BUCKET``, else ``artifacts``.
        sandbox_id: the namespace; default: ``ARTIFACT_SANDBOX_ID``, else derived from the root folder, the bucket or
            the URL without its secrets; random in memory.
        fs_root: the folder of the filesystem provider; default: ``ARTIFACT_FS_ROOT``, else ``./artifacts``.
        session_ttl_hours: time to live of sessions, and by default of their artifacts, in hours; None: they never
            expire. Default: ``ARTIFACT_SESSION_TTL_HOURS`` (hours, or a duration such as ``12h``, ``7d`` or ``never``),
            else 24.
        max_retries: how often a driver retries a failed request.
        max_connections: the size of a driver's connection pool.
        endpoint_url: the service of a bucket provider; default: ``S3_ENDPOINT_URL`` or, for IBM, ``IBM_COS_ENDPOINT``,
            else that of the AWS SDK's configuration (``AWS_ENDPOINT_URL_S3``, ``AWS_ENDPOINT_URL``, its files), else
            AWS.
        region: the region of a bucket provider; default: ``AWS_REGION``, else the SDK's configuration, else
            ``us-east-1``.
        redis_url: for the redis session provider, a URL of redis-py, ``redis+sentinel://…`` or ``redis+cluster://…``;
            default: ``SESSION_REDIS_URL``, else ``redis://localhost:6379/0``. Other providers ignore it.
        postgres_url: for the postgres session provider, a URL of libpq (``postgresql://user@host/database``); default:
            ``SESSION_POSTGRES_URL``, else libpq's own settings (``PG*``). Other providers ignore it.
        postgres_schema: the schema of the tables there, which is created if it is missing; default:
            ``SESSION_POSTGRES_SCHEMA``, else ``chuk_artifacts``.
        gateway_url: the public URL of a :class:`~chuk_artifacts.gateway.Gateway` of this store, for URLs that the
            storage can't sign itself; default: ``ARTIFACT_GATEWAY_URL``, else the store starts a gateway on 127.0.0.1
            when it needs one.
        signing_key: the secret that signs these URLs, at least 16 bytes. Of several, separated by commas, the first
            signs and all are accepted. Default: ``ARTIFACT_SIGNING_KEY``, else a random key, which ``filesystem`` keeps
            in its root as ``signing.key``. A kept key that another user can read or could have written is refused.
        storage_options: more options of the storage. ``filesystem``: ``fsync=True`` makes each write durable before it
            returns. Buckets: parameters of each write, such as ``ServerSideEncryption``, ``SSEKMSKeyId``,
            ``StorageClass`` and ``Tagging``; arguments of the client, such as credentials, ``profile_name``, ``verify``
            and ``config``; and ``presign_upload``, see :meth:`presign_upload`. URLs: arguments of the filesystem.
            Credentials, and any option not known to be harmless, are not pickled.
        max_summary_bytes: the longest summary, in bytes of UTF-8.
        max_meta_bytes: the longest *meta* of an artifact or metadata of a session, in bytes of JSON. It may nest 64
            levels deep.
        max_user_id_bytes: the longest user id, in bytes of UTF-8.
        keep_versions: how many earlier contents of an artifact are kept for good, at most 100, unless the artifact has
            a number of its own (see :meth:`store`); default: ``ARTIFACT_KEEP_VERSIONS``, else 0. In any case the last
            16 are kept for an hour.
        max_artifact_bytes: the largest artifact, in bytes; default: ``ARTIFACT_MAX_BYTES``, else no limit. Whatever
            would store a larger one raises :class:`QuotaExceededError` and stores nothing.
        max_session_bytes: how many bytes a session may hold, as :meth:`usage` counts them; default:
            ``ARTIFACT_MAX_SESSION_BYTES``, else no limit. Whatever would exceed it raises :class:`QuotaExceededError`
            and stores nothing; what has expired in the session is removed first. The limit holds for what this store
            writes: give all stores of one sandbox the same. Replaced contents that stay for an hour do not count.
        instrumentation: what is informed of each call: an :class:`~chuk_artifacts.instrumentation.Instrumentation`;
            ``"otel"``: OpenTelemetry, see :class:`~chuk_artifacts.otel.OpenTelemetry`; ``"auto"``: OpenTelemetry if the
            process has imported it before; None: nothing. Default: ``ARTIFACT_INSTRUMENTATION`` (``auto``, ``otel`` or
            ``none``), else ``"auto"``. An object is not pickled with the store.
        clock: returns the current time in seconds since the epoch.

    Attributes:
        scope: the open backends and the bound session, for other modules of this package; not part of the public
            interface.

    Raises:
        InvalidInputError: a provider is unknown, or an argument is invalid.

    Example:
        >>> with ArtifactStore() as store:
        ...     artifact_id = store.store(b"Hello, world!", filename="hello.txt", session_id="user_alice")
        ...     store.retrieve(artifact_id)
        b'Hello, world!'

    """

    def __init__(
        self,
        *,
        storage_provider: StorageProvider | None = None,
        session_provider: SessionProvider | None = None,
        bucket: str | None = None,
        sandbox_id: str | None = None,
        fs_root: str | os.PathLike[str] | None = None,
        session_ttl_hours: float | None = DEFAULT_SESSION_TTL_HOURS,
        max_retries: int = 3,
        max_connections: int = 32,
        endpoint_url: str | None = None,
        region: str | None = None,
        redis_url: str | None = None,
        postgres_url: str | None = None,
        postgres_schema: str | None = None,
        gateway_url: str | None = None,
        signing_key: str | None = None,
        storage_options: Mapping[str, object] | None = None,
        max_summary_bytes: int = arguments.LIMITS.summary,
        max_meta_bytes: int = arguments.LIMITS.meta,
        max_user_id_bytes: int = arguments.LIMITS.user_id,
        keep_versions: int = DEFAULT_KEEP_VERSIONS,
        max_artifact_bytes: int | None = None,
        max_session_bytes: int | None = None,
        instrumentation: Instrumentation | Literal["auto", "otel"] | None = AUTO,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Check the settings and open the backends."""
        given = {**locals()}  # each keyword by its name; ``StoreArguments`` refuses a name that it lacks
        del given["self"], given["clock"]
        settings = resolve(now=clock(), **given)
        self.scope: Scope = Scope(self._open_core(settings, clock))

    def _open_core(self, settings: Settings, clock: Callable[[], float]) -> Core:
        return Core(settings, clock, start_gateway)

    def __enter__(self) -> Self:
        """Return this store; the end of the ``with`` block closes it."""
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

    def __getstate__(self) -> dict[str, object]:
        """Return the state to pickle; raise :class:`ArtifactStoreError` when the store is closed."""
        self.scope.check_open()
        return self.__dict__

    def __repr__(self) -> str:
        """Return the providers, where the bytes are, the sandbox and the session, without secrets."""
        scope = self.scope
        if scope.is_closed:
            return "<ArtifactStore closed>"
        settings = scope.core.settings
        session = "" if scope.session_id is None else f" session={scope.session_id!r}"
        location = "" if settings.location is None else f" at {settings.location!r}"
        providers = f"{settings.storage_provider}+{settings.session_provider}"
        return f"<ArtifactStore {providers}{location} sandbox={settings.sandbox_id!r}{session}>"

    def _repr_html_(self) -> str:
        """Return a table of what the repr says, for notebooks; nothing is read."""
        from chuk_artifacts.markup import facts  # noqa: PLC0415 - only a notebook needs it

        scope = self.scope
        if scope.is_closed:
            return facts("ArtifactStore", {"closed": True})
        settings = scope.core.settings
        values = {
            "storage_provider": settings.storage_provider,
            "session_provider": settings.session_provider,
            "location": settings.location,
            "sandbox_id": settings.sandbox_id,
            "session_id": scope.session_id,
        }
        return facts("ArtifactStore", {name: value for name, value in values.items() if value is not None})

    @property
    def sandbox_id(self) -> str:
        """The namespace of the store.

        Example:
            >>> ArtifactStore(sandbox_id="demo").sandbox_id
            'demo'

        """
        return self.scope.open_core.settings.sandbox_id

    @property
    def storage_provider(self) -> str:
        """Where the bytes are: the name of the provider, or the protocol of its URL.

        Example:
            >>> ArtifactStore().storage_provider
            'memory'

        """
        return self.scope.open_core.storage.provider

    @property
    def session_provider(self) -> str:
        """Where the records are: the name of the provider.

        Example:
            >>> ArtifactStore().session_provider
            'memory'

        """
        return self.scope.open_core.catalog.provider

    @property
    def bucket(self) -> str | None:
        """The name of the bucket, or None where the bytes are in no bucket of S3 or IBM COS.

        Example:
            >>> ArtifactStore().bucket is None
            True

        """
        bucket = self.scope.open_core.settings.bucket
        return None if bucket is None else bucket.name

    # Store

    def store(
        self,
        data: Data,
        *,
        mime: str | None = None,
        summary: str = "",
        meta: Mapping[str, object] | None = None,
        filename: str | None = None,
        session_id: str | None = None,
        user_id: str | None = None,
        ttl: float | None = None,
        exclusive: bool = False,
        max_bytes: int | None = None,
        keep_versions: int | None = None,
    ) -> str:
        """Store data as a new artifact.

        Args:
            data: bytes-like, an ``os.PathLike``, a binary file object or an iterable of bytes. A stream is read once,
                in chunks; an error that reading it raises is passed on, and nothing is stored.
            mime: the media type; None: guessed from *filename*, else ``application/octet-stream``.
            summary: a description for people.
            meta: a JSON object.
            filename: a relative path without ``..`` segments, at most 1,024 bytes.
            session_id: the session that the artifact belongs to; None: a new session.
            user_id: the user to assign the session to, if it has none yet.
            ttl: time to live in seconds; None: the session's default.
            exclusive: raise when the session already has an artifact with this filename. Of several concurrent calls,
                one succeeds.
            max_bytes: the maximum length of the data in bytes; None: no limit.
            keep_versions: how many earlier contents of this artifact are kept for good, at most 100, when
                :meth:`update_file` replaces them; None: the default of the store that does.

        Returns:
            the artifact id.

        Raises:
            ConflictError: *exclusive* is set and the filename is taken; nothing was stored.
            InvalidInputError: an argument is invalid; nothing was stored.
            QuotaExceededError: the data has more than *max_bytes*, and is read no further; nothing was
                stored.

        Example:
            >>> store = ArtifactStore()
            >>> artifact_id = store.store(b"Hello, world!", filename="hello.txt", session_id="user_alice")
            >>> store.metadata(artifact_id).mime
            'text/plain'

        """
        values = {
            "data": data,
            "mime": mime,
            "summary": summary,
            "meta": meta,
            "filename": filename,
            "user_id": user_id,
            "ttl": ttl,
            "max_bytes": max_bytes,
            "keep_versions": keep_versions,
        }
        return writing.store(self.scope, session_id, values, exclusive=exclusive)

    def write_file(
        self,
        content: str | bytes,
        *,
        filename: str,
        mime: str | None = None,
        summary: str = "",
        session_id: str | None = None,
        user_id: str | None = None,
        meta: Mapping[str, object] | None = None,
        encoding: str = "utf-8",
        ttl: float | None = None,
        max_bytes: int | None = None,
        keep_versions: int | None = None,
    ) -> str:
        """Store text, or bytes, under a filename.

        Args:
            content: the text or the bytes.
            filename: see :meth:`store`.
            mime: the media type; None: guessed from *filename*, else ``text/plain``.
            summary: see :meth:`store`.
            session_id: see :meth:`store`.
            user_id: see :meth:`store`.
            meta: see :meth:`store`.
            encoding: the encoding of a str.
            ttl: see :meth:`store`.
            max_bytes: see :meth:`store`; it counts encoded bytes.
            keep_versions: see :meth:`store`.

        Returns:
            the artifact id.

        Raises:
            InvalidInputError: an argument is invalid, or *encoding* can't encode the text; nothing was stored.
            QuotaExceededError: see :meth:`store`.

        Example:
            >>> store = ArtifactStore()
            >>> artifact_id = store.write_file("All well", filename="reports/q3.md", session_id="user_alice")
            >>> store.metadata(artifact_id).bytes
            8

        """
        if filename is None:
            raise InvalidInputError("filename must be given")
        values = {
            "data": arguments.encoded(content, encoding),
            "mime": mime,
            "summary": summary,
            "meta": meta,
            "filename": filename,
            "user_id": user_id,
            "ttl": ttl,
            "max_bytes": max_bytes,
            "keep_versions": keep_versions,
            "default_mime": arguments.PLAIN_TEXT,
        }
        return writing.store(self.scope, session_id, values)

    def store_batch(
        self, items: Iterable[StoreItem], session_id: str | None = None, ttl: float | None = None
    ) -> list[str]:
        """Store several artifacts: all, or none when one fails.

        Args:
            items: for each artifact a mapping of arguments of :meth:`store`, except *exclusive*.
            session_id: the session of items without one; None: a new session for all of these.
            ttl: time to live, in seconds, of items without one.

        Returns:
            the artifact ids, in the order of the items.

        Raises:
            InvalidInputError: an item is invalid; the message begins with its index; nothing was stored.

        Example:
            >>> store = ArtifactStore()
            >>> items = [{"data": b"one", "filename": "1.txt"}, {"data": b"two", "filename": "2.txt"}]
            >>> ids = store.store_batch(items, session_id="user_alice")
            >>> store.retrieve_batch(ids)
            [b'one', b'two']

        """
        return writing.store_batch(self.scope, items, session_id, ttl)

    # Read

    def retrieve(self, artifact_id: str | ArtifactMetadata, *, revision: int | None = None) -> bytes:
        """Return the bytes of an artifact, verified against its record.

        Args:
            artifact_id: the artifact's id, or metadata that a store returned earlier. Metadata selects the bytes of its
                own revision, while they are kept. The store looks the artifact up in the catalog either way, compares
                id, session, key, length, SHA-256 and revision with the catalog's record, and applies the catalog's
                expiry.
            revision: the revision to read, while its content is kept: see :meth:`versions`; None: the latest, or the
                metadata's own.

        Returns:
            the content.

        Raises:
            ArtifactNotFoundError: the artifact does not exist, or the bytes of that revision are gone.
            ArtifactExpiredError: the artifact has expired.
            ArtifactCorruptedError: the stored bytes differ in length or SHA-256 from the record.
            InvalidInputError: the metadata has a field that no store could have returned, or *revision* is not an int
                above 0 or was passed with metadata.

        Example:
            >>> store = ArtifactStore()
            >>> artifact_id = store.store(b"Hello, world!")
            >>> store.retrieve(artifact_id)
            b'Hello, world!'

        """
        return reading.retrieve(self.scope, artifact_id, revision)

    @overload
    def read_file(
        self,
        artifact_id: str | ArtifactMetadata,
        *,
        encoding: str = "utf-8",
        as_text: Literal[True] = True,
        revision: int | None = None,
    ) -> str: ...

    @overload
    def read_file(
        self,
        artifact_id: str | ArtifactMetadata,
        *,
        encoding: str = "utf-8",
        as_text: Literal[False],
        revision: int | None = None,
    ) -> bytes: ...

    @overload
    def read_file(
        self,
        artifact_id: str | ArtifactMetadata,
        *,
        encoding: str = "utf-8",
        as_text: bool = True,
        revision: int | None = None,
    ) -> str | bytes: ...

    def read_file(
        self,
        artifact_id: str | ArtifactMetadata,
        *,
        encoding: str = "utf-8",
        as_text: bool = True,
        revision: int | None = None,
    ) -> str | bytes:
        """Return an artifact as text, or as bytes.

        Args:
            artifact_id: see :meth:`retrieve`.
            encoding: the encoding of the text.
            as_text: whether to decode the bytes.
            revision: see :meth:`retrieve`.

        Returns:
            a str, or bytes when *as_text* is False.

        Raises:
            ArtifactNotFoundError: see :meth:`retrieve`.
            ArtifactExpiredError: see :meth:`retrieve`.
            ArtifactCorruptedError: see :meth:`retrieve`.
            InvalidInputError: the bytes can't be decoded, or *encoding* is unknown.

        Example:
            >>> store = ArtifactStore()
            >>> artifact_id = store.write_file("Hello", filename="note.txt")
            >>> store.read_file(artifact_id)
            'Hello'
            >>> store.read_file(artifact_id, as_text=False)
            b'Hello'

        """
        if as_text:
            encoding = arguments.check_encoding(encoding)
        data = self.retrieve(artifact_id, revision=revision)
        if not as_text:
            return data
        try:
            return data.decode(encoding)
        except UnicodeError as error:
            named = arguments.plain(artifact_id) if isinstance(artifact_id, str) else artifact_id.artifact_id
            where = f"byte {error.start}" if isinstance(error, UnicodeDecodeError) else "a byte"
            raise InvalidInputError(
                f"artifact {named} is not text in {encoding}: {where} is wrong; pass as_text=False"
            ) from None

    def open(self, artifact_id: str | ArtifactMetadata, *, revision: int | None = None) -> BinaryIO:
        """Return a seekable binary reader that fetches only what is read.

        Args:
            artifact_id: see :meth:`retrieve`.
            revision: see :meth:`retrieve`.

        Returns:
            a file object, which the caller closes. Its length is verified, its SHA-256 is not.

        Raises:
            ArtifactNotFoundError: see :meth:`retrieve`.
            ArtifactExpiredError: see :meth:`retrieve`.
            ArtifactCorruptedError: the stored bytes differ in length from the record.

        Example:
            >>> store = ArtifactStore()
            >>> artifact_id = store.store(b"Hello, world!")
            >>> with store.open(artifact_id) as file:
            ...     _ = file.seek(7)
            ...     file.read(5)
            b'world'

        """
        return reading.open_reader(self.scope, artifact_id, revision)

    def stream(
        self,
        artifact_id: str | ArtifactMetadata,
        *,
        start: int = 0,
        end: int | None = None,
        chunk_size: int = CHUNK_SIZE,
        revision: int | None = None,
    ) -> Iterator[bytes]:
        """Iterate over the bytes of an artifact, or of a range of it, in chunks.

        Args:
            artifact_id: see :meth:`retrieve`.
            start: the offset of the first byte.
            end: the offset after the last byte; None: the end of the artifact.
            chunk_size: the length of a chunk in bytes.
            revision: see :meth:`retrieve`.

        Returns:
            an iterator of bytes. It verifies length and SHA-256 of a whole artifact, and raises
            :class:`ArtifactCorruptedError` after the last chunk when they differ from the record.

        Raises:
            ArtifactNotFoundError: see :meth:`retrieve`.
            ArtifactExpiredError: see :meth:`retrieve`.
            InvalidInputError: *start* or *end* is negative, *end* below *start*, or *chunk_size* below 1.

        Example:
            >>> store = ArtifactStore()
            >>> artifact_id = store.store(b"Hello, world!")
            >>> list(store.stream(artifact_id, start=7, chunk_size=3))
            [b'wor', b'ld!']

        """
        start = arguments.check_count("start", start, 0)
        chunk_size = arguments.check_count("chunk_size", chunk_size, 1)
        if end is not None:
            end = arguments.check_count("end", end, start)
        return reading.stream(self.scope, artifact_id, start, end, chunk_size, revision=revision)

    def download(
        self,
        artifact_id: str | ArtifactMetadata,
        path: str | os.PathLike[str],
        *,
        callback: Callback | None = None,
        overwrite: bool = False,
        revision: int | None = None,
    ) -> Path:
        """Write an artifact to a local file, verified and atomically.

        Args:
            artifact_id: see :meth:`retrieve`.
            path: the file to create or replace; or a folder, where its name is the last segment of the artifact's
                filename, cut to 255 bytes, or else its id.
            callback: an fsspec ``Callback``, which receives the total size, then the length of each chunk, in bytes.
            overwrite: whether to replace an existing file in a folder.
            revision: see :meth:`retrieve`.

        Returns:
            the path of the file.

        Raises:
            ArtifactNotFoundError: see :meth:`retrieve`.
            ArtifactExpiredError: see :meth:`retrieve`.
            ArtifactCorruptedError: see :meth:`retrieve`.
            ConflictError: *path* is a folder that already has a file of that name; also a ``FileExistsError``.
            InvalidInputError: the parent folder of *path* does not exist.
            OSError: the file can't be written.

        Example:
            >>> store = ArtifactStore()
            >>> artifact_id = store.store(b"Hello, world!", filename="docs/hello.txt")
            >>> import tempfile
            >>> with tempfile.TemporaryDirectory() as folder:
            ...     path = store.download(artifact_id, folder)
            ...     path.name, path.read_bytes()
            ('hello.txt', b'Hello, world!')

        """
        return reading.download(self.scope, artifact_id, path, callback, overwrite=overwrite, revision=revision)

    def retrieve_batch(self, artifact_ids: Iterable[str | ArtifactMetadata | tuple[str, int | None]]) -> list[bytes]:
        """Return the bytes of several artifacts, verified.

        Args:
            artifact_ids: the ids. Instead of an id, an item may be what :meth:`retrieve` takes: metadata, or a pair
                ``(id, revision)`` for the content that the artifact had at that revision.

        Returns:
            the content of each artifact, in the order of the ids.

        Raises:
            ArtifactNotFoundError: an artifact does not exist, or the content of a revision is not kept.
            ArtifactExpiredError: an artifact has expired.
            ArtifactCorruptedError: the stored bytes of an artifact differ from its record.
            InvalidInputError: *artifact_ids* is not iterable, or an item is malformed.

        Example:
            >>> store = ArtifactStore()
            >>> ids = [store.store(b"one"), store.store(b"two")]
            >>> store.retrieve_batch(ids)
            [b'one', b'two']

        """
        return reading.retrieve_batch(self.scope, artifact_ids)

    def exists(self, artifact_id: str) -> bool:
        """Return whether an artifact exists and has not expired.

        Args:
            artifact_id: the id; a malformed one returns False.

        Returns:
            whether :meth:`metadata` would find it.

        Example:
            >>> store = ArtifactStore()
            >>> artifact_id = store.store(b"...")
            >>> store.exists(artifact_id), store.exists("unknown")
            (True, False)

        """
        return finding.exists(self.scope, artifact_id)

    def metadata(self, artifact_id: str) -> ArtifactMetadata:
        """Return the metadata of an artifact.

        Args:
            artifact_id: the id.

        Returns:
            a copy of the metadata.

        Raises:
            ArtifactNotFoundError: see :meth:`retrieve`.
            ArtifactExpiredError: see :meth:`retrieve`.

        Example:
            >>> store = ArtifactStore()
            >>> artifact_id = store.store(b"...", filename="a.png", meta={"page": 1})
            >>> found = store.metadata(artifact_id)
            >>> found.mime, found["meta"]
            ('image/png', {'page': 1})

        """
        return finding.metadata(self.scope, artifact_id)

    def versions(self, artifact_id: str) -> Listing[ArtifactVersion]:
        """Return the contents of an artifact that can be read: the current one, and the earlier ones that are kept.

        Every change makes a new revision of an artifact, but only :meth:`update_file` with *data*, and :meth:`restore`,
        give it another content. A revision without a content of its own reads the one before it.

        Args:
            artifact_id: the id.

        Returns:
            a description of each content, the newest first.

        Raises:
            ArtifactNotFoundError: see :meth:`retrieve`.
            ArtifactExpiredError: see :meth:`retrieve`.

        Example:
            >>> store = ArtifactStore(keep_versions=10)
            >>> artifact_id = store.write_file("draft", filename="report.txt")
            >>> _ = store.update_file(artifact_id, data=b"final")
            >>> [(version.revision, version.bytes, version.current) for version in store.versions(artifact_id)]
            [(2, 5, True), (1, 5, False)]
            >>> store.retrieve(artifact_id, revision=1)
            b'draft'

        """
        return reading.versions(self.scope, artifact_id)

    def display(self, artifact_id: str | ArtifactMetadata, *, revision: int | None = None) -> Preview:
        """Return an artifact's content as a notebook shows it: an image, a table, text or a link.

        An image of at most 8 MiB is read whole and verified. Of text and of CSV the first 64 KiB are read. Everything
        else is a link that downloads it, valid for an hour (see :meth:`presign`). HTML is shown as text.

        Args:
            artifact_id: the artifact; metadata selects the content that it describes.
            revision: an earlier content, see :meth:`retrieve`.

        Returns:
            the preview, which a notebook shows when it is the last value of a cell; ``print`` shows its text.

        Raises:
            ArtifactNotFoundError: see :meth:`retrieve`.
            ArtifactCorruptedError: see :meth:`retrieve`.
            InvalidInputError: see :meth:`retrieve`.

        Example:
            >>> with ArtifactStore() as store:
            ...     store.display(store.write_file("Hello, world!", filename="hello.txt"))
            Hello, world!

        """
        from chuk_artifacts.operations.previewing import preview  # noqa: PLC0415 - only notebooks need it

        return preview(self.scope, artifact_id, revision)

    # Change

    def update_metadata(
        self,
        artifact_id: str,
        *,
        summary: str | None = None,
        meta: Mapping[str, object] | None = None,
        merge: bool = True,
        filename: str | None = None,
        mime: str | None = None,
        if_revision: int | None = None,
    ) -> ArtifactMetadata:
        """Change metadata of an artifact. An argument that is None changes nothing.

        Args:
            artifact_id: the id.
            summary: the new summary.
            meta: a JSON object.
            merge: whether to merge *meta*, key by key, into the artifact's own, or to replace that.
            filename: the new filename.
            mime: the new media type.
            if_revision: the revision that the artifact must have; None: any.

        Returns:
            the new metadata.

        Raises:
            ArtifactNotFoundError: see :meth:`retrieve`.
            ArtifactExpiredError: see :meth:`retrieve`.
            ConflictError: the artifact has another revision, or other writers changed it at every attempt.
            InvalidInputError: an argument is invalid, or no change was given.

        Example:
            >>> store = ArtifactStore()
            >>> artifact_id = store.store(b"...", meta={"page": 1})
            >>> store.update_metadata(artifact_id, meta={"author": "Alice"}).meta
            {'page': 1, 'author': 'Alice'}

        """
        _log.debug("update_metadata %s", artifact_id)
        change = Change.of(
            self.scope.core,
            summary=summary,
            meta=meta,
            merge=merge,
            filename=filename,
            mime=mime,
            if_revision=if_revision,
        )
        if change.is_empty:
            raise InvalidInputError("nothing to change: give one of summary, meta, filename, mime")
        return changing.update_metadata(self.scope, artifact_id, change)

    def update_file(
        self,
        artifact_id: str,
        *,
        data: Data | None = None,
        meta: Mapping[str, object] | None = None,
        filename: str | None = None,
        summary: str | None = None,
        mime: str | None = None,
        ttl: float | None = None,
        if_revision: int | None = None,
        max_bytes: int | None = None,
        keep_versions: int | None = None,
    ) -> ArtifactMetadata:
        """Change content or metadata of an artifact. An argument that is None changes nothing.

        The change is atomic: a reader gets the old content or the new one. Up to 16 earlier contents are kept for an
        hour, for readers that have begun, and as many for good as *keep_versions* says: see :meth:`versions`.

        Args:
            artifact_id: the id.
            data: the new content, see :meth:`store`.
            meta: a JSON object that replaces the artifact's own.
            filename: the new filename.
            summary: the new summary.
            mime: the new media type.
            ttl: the new time to live, in seconds from now.
            if_revision: the revision that the artifact must have; None: any.
            max_bytes: the maximum length of *data* in bytes; None: no limit.
            keep_versions: how many earlier contents of this artifact are kept for good from now on, at most 100. None
                leaves the artifact's own number as it is; without one, the store's default applies. The oldest beyond
                the number go with this change, or when their hour is over.

        Returns:
            the new metadata.

        Raises:
            ArtifactNotFoundError: see :meth:`retrieve`.
            ArtifactExpiredError: see :meth:`retrieve`.
            ConflictError: the artifact has another revision, or other writers changed it at every attempt.
            InvalidInputError: an argument is invalid, or no change was given.
            QuotaExceededError: *data* has more than *max_bytes*; nothing was changed.

        Example:
            >>> store = ArtifactStore()
            >>> artifact_id = store.store(b"draft")
            >>> store.update_file(artifact_id, data=b"final", if_revision=1).revision
            2
            >>> store.retrieve(artifact_id)
            b'final'

        """
        _log.debug("update_file %s", artifact_id)
        change = Change.of(
            self.scope.core,
            summary=summary,
            meta=meta,
            filename=filename,
            mime=mime,
            ttl=ttl,
            if_revision=if_revision,
            keep_versions=keep_versions,
        )
        if data is None and change.is_empty:
            raise InvalidInputError(
                "nothing to change: give one of data, meta, filename, summary, mime, ttl, keep_versions"
            )
        content = source(b"" if data is None else data, max_bytes)  # checks max_bytes without data too
        return changing.update_file(self.scope, artifact_id, change, None if data is None else content)

    def restore(self, artifact_id: str, revision: int, *, if_revision: int | None = None) -> ArtifactMetadata:
        """Make an earlier content of an artifact the current one, as a new revision.

        The media type comes back with the content; other metadata stays as it is. No bytes are copied, except those
        that would be removed within five minutes. The content that was current becomes an earlier one.

        Args:
            artifact_id: the id.
            revision: a revision whose content is kept: see :meth:`versions`. Restoring the current content changes
                nothing.
            if_revision: the revision that the artifact must have; None: any.

        Returns:
            the new metadata.

        Raises:
            ArtifactNotFoundError: see :meth:`retrieve`; or the content of *revision* is gone.
            ArtifactExpiredError: see :meth:`retrieve`.
            ConflictError: the artifact has another revision, or other writers changed it at every attempt.
            InvalidInputError: *revision* or *if_revision* is not an int above 0.
            QuotaExceededError: the content is larger than *max_artifact_bytes* of the store, which may have been higher
                when it was stored; or the session would hold too much. Nothing was changed.

        Example:
            >>> store = ArtifactStore()
            >>> artifact_id = store.store(b"draft")
            >>> _ = store.update_file(artifact_id, data=b"final")
            >>> store.restore(artifact_id, 1).revision
            3
            >>> store.retrieve(artifact_id)
            b'draft'

        """
        _log.debug("restore %s", artifact_id)
        revision = arguments.check_count("revision", revision, 1)
        return changing.restore(self.scope, artifact_id, revision, Change.of(self.scope.core, if_revision=if_revision))

    def move_file(
        self,
        artifact_id: str,
        *,
        new_filename: str | None = None,
        new_session_id: str | None = None,
        new_meta: Mapping[str, object] | None = None,
    ) -> ArtifactMetadata:
        """Rename an artifact, which keeps its id and its bytes.

        Args:
            artifact_id: the id.
            new_filename: the new filename; None: no change.
            new_session_id: None, or the artifact's own session.
            new_meta: a JSON object to merge, key by key, into ``meta``; None: no change.

        Returns:
            the new metadata.

        Raises:
            AccessDeniedError: *new_session_id* is another session.
            ArtifactNotFoundError: see :meth:`retrieve`.
            ArtifactExpiredError: see :meth:`retrieve`.
            ConflictError: other writers changed the artifact at every attempt.
            InvalidInputError: an argument is invalid, or no change was given.

        Example:
            >>> store = ArtifactStore()
            >>> artifact_id = store.store(b"...", filename="a.txt")
            >>> store.move_file(artifact_id, new_filename="old/a.txt").filename
            'old/a.txt'

        """
        _log.debug("move_file %s", artifact_id)
        change = Change.of(
            self.scope.core,
            filename=new_filename,
            meta=new_meta,
            meta_name="new_meta",
            merge=True,
            session_id=new_session_id,
        )
        if change.is_empty and new_session_id is None:
            raise InvalidInputError("nothing to change: give one of new_filename, new_meta")
        return changing.move_file(self.scope, artifact_id, change)

    def copy_file(
        self,
        artifact_id: str,
        *,
        new_filename: str | None = None,
        target_session_id: str | None = None,
        new_meta: Mapping[str, object] | None = None,
        summary: str | None = None,
    ) -> str:
        """Copy an artifact within its session; bytes are copied inside the storage.

        Args:
            artifact_id: the id.
            new_filename: the filename of the copy; None: the same.
            target_session_id: None, or the artifact's own session.
            new_meta: a JSON object to merge, key by key, into the ``meta`` of the copy; None: the same.
            summary: the summary of the copy; None: the same.

        Returns:
            the id of the copy, which starts with the full time to live of the artifact, and without its earlier
            contents.

        Raises:
            AccessDeniedError: *target_session_id* is another session.
            ArtifactNotFoundError: see :meth:`retrieve`.
            ArtifactExpiredError: see :meth:`retrieve`.
            ArtifactCorruptedError: the stored bytes differ in length from the record. A bucket does not check this;
                reading the copy does.
            InvalidInputError: an argument is invalid.

        Example:
            >>> store = ArtifactStore()
            >>> artifact_id = store.store(b"...", filename="a.txt")
            >>> copy_id = store.copy_file(artifact_id, new_filename="backup/a.txt")
            >>> store.metadata(copy_id).filename
            'backup/a.txt'

        """
        _log.debug("copy_file %s", artifact_id)
        change = Change.of(
            self.scope.core,
            filename=new_filename,
            summary=summary,
            meta=new_meta,
            meta_name="new_meta",
            merge=True,
            session_id=target_session_id,
        )
        return changing.copy(self.scope, artifact_id, change)

    def extend_ttl(self, artifact_id: str, additional_seconds: float) -> ArtifactMetadata:
        """Extend the time to live of an artifact, and that of its session to at least as long.

        Args:
            artifact_id: the id.
            additional_seconds: seconds to add to the expiry. An artifact that never expires is not changed.

        Returns:
            the new metadata.

        Raises:
            ArtifactNotFoundError: see :meth:`retrieve`.
            ArtifactExpiredError: see :meth:`retrieve`.
            ConflictError: other writers changed the artifact at every attempt.
            InvalidInputError: *additional_seconds* is not a finite number above 0, or the expiry is after the year
                9999.

        Example:
            >>> store = ArtifactStore()
            >>> artifact_id = store.store(b"...", ttl=60)
            >>> store.extend_ttl(artifact_id, 3600).ttl
            3660

        """
        _log.debug("extend_ttl %s", artifact_id)
        more = arguments.check_positive("additional_seconds", additional_seconds)
        return changing.extend_ttl(self.scope, artifact_id, Change(more_seconds=more))

    def lookup(self, filename: str, session_id: str | None = None) -> ArtifactMetadata | None:
        """Return the newest artifact of a session that has a filename.

        Args:
            filename: the whole filename, folders and all.
            session_id: the session; a bound store fills in its own.

        Returns:
            its metadata, or None where the session has no such artifact.

        Raises:
            AccessDeniedError: this store is bound to another session.
            InvalidInputError: no artifact can be called that, or no session.

        Example:
            >>> store = ArtifactStore().session("user_alice")
            >>> artifact_id = store.store(b"...", filename="a.txt")
            >>> store.lookup("a.txt").artifact_id == artifact_id, store.lookup("b.txt")
            (True, None)

        """
        return listing.lookup(self.scope, session_id, filename)

    # Delete

    def delete(self, artifact_id: str) -> bool:
        """Delete an artifact, or cancel a pending upload.

        Args:
            artifact_id: the id.

        Returns:
            whether a living artifact was deleted; False for a pending upload.

        Example:
            >>> store = ArtifactStore()
            >>> artifact_id = store.store(b"...")
            >>> store.delete(artifact_id), store.delete(artifact_id)
            (True, False)

        """
        return cleanup.delete(self.scope, artifact_id)

    def delete_batch(self, artifact_ids: Iterable[str]) -> int:
        """Delete several artifacts; see :meth:`delete`.

        Args:
            artifact_ids: the ids.

        Returns:
            how many living artifacts were deleted.

        Example:
            >>> store = ArtifactStore()
            >>> store.delete_batch([store.store(b"one"), store.store(b"two"), "unknown"])
            2

        """
        return cleanup.delete_batch(self.scope, artifact_ids)

    # List

    def list_by_session(self, session_id: str | None = None, limit: int | None = None) -> Listing[ArtifactMetadata]:
        """Return the artifacts of a session, ordered by filename and id.

        Args:
            session_id: the session; default: that of a bound store.
            limit: the maximum number of results; None: all.

        Returns:
            their metadata; an empty list for an unknown or expired session.

        Raises:
            InvalidInputError: an argument is invalid.

        Example:
            >>> store = ArtifactStore()
            >>> for name in ("b.txt", "a.txt"):
            ...     _ = store.store(b"...", filename=name, session_id="user_alice")
            >>> [file.filename for file in store.list_by_session("user_alice")]
            ['a.txt', 'b.txt']

        """
        return self.list_files(session_id, limit=limit)

    def list_files(
        self, session_id: str | None = None, prefix: str = "", limit: int | None = None
    ) -> Listing[ArtifactMetadata]:
        """Return the artifacts of a session whose filenames begin with a prefix, ordered by filename and id.

        Args:
            session_id: see :meth:`list_by_session`.
            prefix: the prefix; it need not end at a slash.
            limit: the maximum number of results; None: all.

        Returns:
            their metadata.

        Raises:
            InvalidInputError: an argument is invalid.

        Example:
            >>> store = ArtifactStore().session("user_alice")
            >>> for name in ("docs/a.txt", "docs-old.txt", "c.txt"):
            ...     _ = store.store(b"...", filename=name)
            >>> [file.filename for file in store.list_files(prefix="docs")]
            ['docs-old.txt', 'docs/a.txt']

        """
        _log.debug("list_files %s", session_id)
        prefix, limit = arguments.check_text("prefix", prefix), arguments.check_limit(limit)
        return listing.listed(self.scope, session_id, prefix, limit)

    def get_directory_contents(
        self, session_id: str | None = None, directory_prefix: str = "", limit: int | None = None
    ) -> Listing[ArtifactMetadata]:
        """Return the artifacts of a session below a folder, at any depth, ordered by filename and id.

        Args:
            session_id: see :meth:`list_by_session`.
            directory_prefix: the folder, with or without its last slash; empty: the whole session.
            limit: the maximum number of results; None: all.

        Returns:
            their metadata.

        Raises:
            InvalidInputError: an argument is invalid.

        Example:
            >>> store = ArtifactStore().session("user_alice")
            >>> for name in ("docs/a.txt", "docs/old/b.txt", "docs-old.txt"):
            ...     _ = store.store(b"...", filename=name)
            >>> [file.filename for file in store.get_directory_contents(directory_prefix="docs")]
            ['docs/a.txt', 'docs/old/b.txt']

        """
        folder = arguments.check_text("directory_prefix", directory_prefix).rstrip("/")
        return self.list_files(session_id, f"{folder}/" if folder else "", limit)

    def list_directory(
        self, session_id: str | None = None, directory: str = ""
    ) -> tuple[list[str], Listing[ArtifactMetadata]]:
        """Return the folders and the artifacts directly in a folder of a session, not those deeper below.

        The cost depends on the number of results, not on the contents of the inner folders.

        Args:
            session_id: see :meth:`list_by_session`.
            directory: the folder, with or without its last slash; empty: the top of the session.

        Returns:
            the names of the folders, without the path that leads to them, and the metadata of the artifacts, both
            ordered; two empty lists for an unknown folder.

        Raises:
            InvalidInputError: an argument is invalid.

        Example:
            >>> store = ArtifactStore().session("user_alice")
            >>> for name in ("notes.txt", "reports/2025/q4.md", "reports/q1.md"):
            ...     _ = store.store(b"...", filename=name)
            >>> folders, files = store.list_directory(directory="reports")
            >>> folders, [file.filename for file in files]
            (['2025'], ['reports/q1.md'])

        """
        _log.debug("list_directory %s", session_id)
        return listing.directory(self.scope, session_id, directory)

    def iter_session(
        self, session_id: str | None = None, *, prefix: str = "", start: str = "", page_size: int = listing.PAGE_SIZE
    ) -> Iterator[ArtifactMetadata]:
        """Iterate over the artifacts of a session, ordered by filename and id, page by page.

        Args:
            session_id: see :meth:`list_by_session`.
            prefix: see :meth:`list_files`.
            start: the first filename to return; earlier ones are not read.
            page_size: how many records one call of the catalog reads.

        Returns:
            an iterator of their metadata. It returns each artifact once, and may skip those that are stored or deleted
            meanwhile.

        Raises:
            InvalidInputError: an argument is invalid.

        Example:
            >>> store = ArtifactStore().session("user_alice")
            >>> for name in ("a.txt", "b.txt", "c.txt"):
            ...     _ = store.store(b"...", filename=name)
            >>> [file.filename for file in store.iter_session(start="b", page_size=500)]
            ['b.txt', 'c.txt']

        """
        _log.debug("iter_session %s", session_id)
        return listing.pages(
            self.scope,
            session_id,
            prefix=arguments.check_text("prefix", prefix),
            start=arguments.check_text("start", start),
            page_size=arguments.check_count("page_size", page_size, 1, arguments.MAX_PAGE),
        )

    def archive(
        self, session_id: str | None = None, *, prefix: str = "", chunk_size: int = CHUNK_SIZE
    ) -> Iterator[bytes]:
        """Iterate over a ZIP archive of a session's artifacts, which is made while it is read.

        Memory does not depend on the size of the artifacts; each one adds a few hundred bytes. Names are the filenames,
        as relative paths: a backslash separates folders too, and the colon of a drive becomes ``_``. Of several files
        with one name, the newest keeps it, and the next has `` (2)`` before its extension; an artifact without a
        filename has its id, and the extension of its media type. Times are those of the last change, in UTC. Media
        types that are compressed already (images, videos, ZIP, ...) are not compressed again, others are deflated.
        ZIP64 is used where it is needed.

        Args:
            session_id: see :meth:`list_by_session`.
            prefix: see :meth:`list_files`; empty: the whole session.
            chunk_size: the length of a chunk in bytes, at most.

        Returns:
            an iterator of bytes. It verifies each artifact, and raises :class:`ArtifactCorruptedError` where the bytes
            differ from the record; the archive is incomplete then. Artifacts that are stored or deleted meanwhile may
            be missing.

        Raises:
            InvalidInputError: an argument is invalid.

        Example:
            >>> store = ArtifactStore().session("user_alice")
            >>> _ = store.store(b"...", filename="docs/a.txt")
            >>> import io, zipfile
            >>> data = b"".join(store.archive(prefix="docs/"))
            >>> zipfile.ZipFile(io.BytesIO(data)).namelist()
            ['docs/a.txt']

        """
        prefix = arguments.check_text("prefix", prefix)
        chunk_size = arguments.check_count("chunk_size", chunk_size, 1)
        return archiving.archive(self.scope, session_id, prefix, chunk_size)

    def search(
        self,
        session_id: str | None = None,
        *,
        prefix: str = "",
        mime: str | None = None,
        meta: Mapping[str, object] | None = None,
        stored_after: datetime | str | float | None = None,
        stored_before: datetime | str | float | None = None,
        user_id: str | None = None,
        limit: int | None = None,
    ) -> Iterator[ArtifactMetadata]:
        """Iterate over the artifacts that meet all conditions, as the catalog finds them, page by page.

        The catalog looks at each record of the sessions whose filename begins with *prefix*, and returns those that
        match: the time grows with the records that it looks at. In each session they come ordered by filename and id,
        one session after the other. Expired artifacts and pending uploads are left out; an upload
        whose bytes have arrived is found once another method has read or listed it.

        Args:
            session_id: the session; default: that of a bound store, else all sessions, or those of *user_id*.
            prefix: what the filename begins with.
            mime: the media type, in any letter case and with any parameters; ``image/*`` is any image.
            meta: keys that ``meta`` must have with these values. Values compare as JSON: 1 equals 1.0 and not True,
                objects are equal whatever the order of their keys.
            stored_after: the earliest time at which it was stored: a datetime with a time zone, ISO 8601 with an
                offset, or seconds since the epoch.
            stored_before: the time before which it was stored.
            user_id: the user that the session must belong to; None: any.
            limit: the maximum number of results; None: all.

        Yields:
            their metadata.

        Raises:
            InvalidInputError: an argument is invalid.

        Example:
            >>> store = ArtifactStore()
            >>> _ = store.store(b"...", filename="scan.png", meta={"tag": "q3"}, session_id="user_alice")
            >>> [file.filename for file in store.search(mime="image/*", meta={"tag": "q3"})]
            ['scan.png']

        """
        _log.debug("search %s", session_id)
        given = {
            "prefix": prefix,
            "mime": mime,
            "meta": meta,
            "stored_after": stored_after,
            "stored_before": stored_before,
            "user_id": user_id,
            "limit": limit,
        }
        return searching.search(self.scope, session_id, given)

    # Share

    def presign(self, artifact_id: str, expires: float = 3600, *, revision: int | None = None) -> str:
        """Return a URL that downloads an artifact, without other credentials, until it expires.

        The response has the artifact's filename and media type. S3, and IBM COS with HMAC keys, sign the URL
        themselves; elsewhere it is a URL of the gateway, which serves the latest revision, or the one asked for.

        Args:
            artifact_id: the id.
            expires: how long the URL works, in seconds, at most 7 days. A URL made with temporary credentials expires
                with them at the latest.
            revision: the revision to download, while its content is kept: see :meth:`versions`; None: the latest.

        Returns:
            the URL, for HTTP GET.

        Raises:
            ArtifactNotFoundError: see :meth:`retrieve`.
            ArtifactExpiredError: see :meth:`retrieve`.
            InvalidInputError: *expires* is not a finite number above 0 and up to 7 days, *revision* is not an int above
                0, or a signing key must be configured, because other processes share the bytes.
            ProviderError: the signing key in the root folder can't be read, or another user could have written it.

        Example:
            >>> store = ArtifactStore(gateway_url="https://files.example.org")
            >>> artifact_id = store.store(b"...")
            >>> store.presign(artifact_id, expires=60)
            'https://files.example.org/...'

        """
        _log.debug("presign %s", artifact_id)
        expires = arguments.check_expires(expires)
        if revision is not None:
            revision = arguments.check_count("revision", revision, 1)
        return presigning.download_url(self.scope, artifact_id, expires, revision)

    def presign_short(self, artifact_id: str, *, revision: int | None = None) -> str:
        """Return a URL that works for 15 minutes; see :meth:`presign`.

        Example:
            >>> store = ArtifactStore(gateway_url="https://files.example.org")
            >>> store.presign_short(store.store(b"..."))
            'https://files.example.org/...'

        """
        return self.presign(artifact_id, 900, revision=revision)

    def presign_medium(self, artifact_id: str, *, revision: int | None = None) -> str:
        """Return a URL that works for an hour; see :meth:`presign`.

        Example:
            >>> store = ArtifactStore(gateway_url="https://files.example.org")
            >>> store.presign_medium(store.store(b"..."))
            'https://files.example.org/...'

        """
        return self.presign(artifact_id, 3600, revision=revision)

    def presign_long(self, artifact_id: str, *, revision: int | None = None) -> str:
        """Return a URL that works for a day; see :meth:`presign`.

        Example:
            >>> store = ArtifactStore(gateway_url="https://files.example.org")
            >>> store.presign_long(store.store(b"..."))
            'https://files.example.org/...'

        """
        return self.presign(artifact_id, 86400, revision=revision)

    def presign_archive(self, session_id: str | None = None, *, prefix: str = "", expires: float = 3600) -> str:
        """Return a URL that downloads a session as a ZIP archive, without other credentials, until it expires.

        It is a URL of the gateway on every storage. The archive contains what the session has when it is downloaded:
        see :meth:`archive`.

        Args:
            session_id: see :meth:`list_by_session`; it need not exist yet.
            prefix: see :meth:`list_files`; empty: the whole session.
            expires: how long the URL works, in seconds, at most 7 days.

        Returns:
            the URL, for HTTP GET.

        Raises:
            InvalidInputError: an argument is invalid, or a signing key must be configured; see :meth:`presign`.
            ProviderError: see :meth:`presign`.

        Example:
            >>> store = ArtifactStore(gateway_url="https://files.example.org")
            >>> store.presign_archive("user_alice", prefix="docs/")
            'https://files.example.org/archive?...'

        """
        _log.debug("presign_archive %s", session_id)
        prefix, expires = arguments.check_text("prefix", prefix), arguments.check_expires(expires)
        return presigning.archive_url(self.scope, session_id, prefix, expires)

    def presign_upload(
        self,
        session_id: str | None = None,
        filename: str | None = None,
        mime_type: str = arguments.OCTET_STREAM,
        expires: float = 3600,
        max_bytes: int | None = None,
    ) -> tuple[str, str]:
        """Return a URL that uploads one file, without other credentials, and the id of the later artifact.

        Call :meth:`register_uploaded_artifact` within an hour after the URL expires; until then every other method but
        :meth:`delete` treats the id as unknown.

        AWS and IBM sign the URL themselves, because they refuse unsigned headers. The store probes any other service
        once per process. Where it accepts unsigned headers, an upload URL could read any object of the bucket, so the
        gateway receives the uploads. The storage option ``presign_upload`` skips the probe: ``"gateway"``, or
        ``"native"`` if holders of a URL may read the whole bucket.

        An upload to the service itself must send the headers of the encryption and the tags in ``storage_options``.

        Args:
            session_id: the session of the later artifact; None: a new session.
            filename: its filename, unless the registration passes another.
            mime_type: its media type. The upload's ``Content-Type`` must match, unless this is the default.
            expires: how long the URL works, in seconds, at most 7 days.
            max_bytes: the longest upload, in bytes; None: no limit. The gateway refuses longer ones. S3 and IBM COS
                can't limit a PUT; a longer upload is refused and removed when it is registered.

        Returns:
            the URL, for HTTP PUT, and the artifact id.

        Raises:
            InvalidInputError: an argument is invalid, or a signing key must be configured; see :meth:`presign`.
            ProviderError: the storage fails, or probing the service gives no clear result.

        Example:
            >>> store = ArtifactStore(gateway_url="https://files.example.org")
            >>> url, artifact_id = store.presign_upload("user_alice", "photo.jpg", mime_type="image/jpeg")
            >>> url, store.exists(artifact_id)  # until it is uploaded and registered
            ('https://files.example.org/...', False)

        """
        _log.debug("presign_upload")
        terms = presigning.UploadTerms.of(expires, max_bytes, complete=False)
        return presigning.upload_url(self.scope, session_id, terms, {"mime": mime_type, "filename": filename})

    def register_uploaded_artifact(
        self,
        artifact_id: str,
        *,
        mime: str,
        summary: str,
        meta: Mapping[str, object] | None = None,
        filename: str | None = None,
        session_id: str | None = None,
        ttl: float | None = None,
    ) -> bool:
        """Make an artifact from an upload. Later uploads to the URL do not change it.

        Only the bytes are used. An upload with metadata, tags or headers that were not requested, or with an ACL that
        grants access to others than the owner of the credentials, is refused and removed.

        Args:
            artifact_id: the id that :meth:`presign_upload` returned.
            mime: see :meth:`store`.
            summary: see :meth:`store`.
            meta: see :meth:`store`.
            filename: see :meth:`store`; None: the filename passed to :meth:`presign_upload`.
            session_id: None, or the session of the upload.
            ttl: see :meth:`store`.

        Returns:
            True. A second call changes nothing.

        Raises:
            ArtifactNotFoundError: the id is unknown, or nothing has been uploaded.
            ArtifactExpiredError: the hour after the URL's expiry is over.
            AccessDeniedError: *session_id* is another session.
            InvalidInputError: an argument is invalid; or the upload is too long or has more than bytes, and is removed.

        Example:
            >>> store = ArtifactStore()
            >>> url, artifact_id = store.presign_upload("user_alice", "hello.txt")
            >>> from urllib.request import Request, urlopen
            >>> urlopen(Request(url, data=b"Hello, world!", method="PUT")).status
            200
            >>> store.register_uploaded_artifact(artifact_id, mime="text/plain", summary="A greeting")
            True
            >>> store.retrieve(artifact_id)
            b'Hello, world!'
            >>> store.close()

        """
        _log.debug("register_uploaded_artifact %s", artifact_id)
        core = self.scope.core
        fields = {
            "mime": arguments.check_mime(mime, None, arguments.OCTET_STREAM),
            "summary": core.settings.limits.check_summary(summary),
            "meta": core.settings.limits.check_meta("meta", meta),
        }
        if filename is not None:
            fields["filename"] = arguments.check_filename(filename)
        ttl = arguments.check_ttl("ttl", ttl, core.clock())
        uploads.register(self.scope, artifact_id, fields, session_id=session_id, ttl=ttl)
        return True

    def presign_upload_and_register(
        self,
        *,
        mime: str,
        summary: str,
        meta: Mapping[str, object] | None = None,
        filename: str | None = None,
        session_id: str | None = None,
        ttl: float | None = None,
        expires: float = 3600,
        max_bytes: int | None = None,
    ) -> tuple[str, str]:
        """Return a URL that uploads one file, and the id of the artifact; no registration is needed.

        The first read or listing after the upload turns it into an artifact, or removes it if it is too long.

        Args:
            mime: see :meth:`store`. The upload's ``Content-Type`` must match, unless it is
                ``application/octet-stream``.
            summary: see :meth:`store`.
            meta: see :meth:`store`.
            filename: see :meth:`store`.
            session_id: the session of the later artifact; None: a new session.
            ttl: see :meth:`store`; counted from that first read.
            expires: see :meth:`presign_upload`.
            max_bytes: see :meth:`presign_upload`.

        Returns:
            the URL, for HTTP PUT, and the artifact id.

        Raises:
            InvalidInputError: an argument is invalid.

        Example:
            >>> store = ArtifactStore()
            >>> url, artifact_id = store.presign_upload_and_register(mime="text/plain", summary="A greeting")
            >>> from urllib.request import Request, urlopen
            >>> urlopen(Request(url, data=b"Hello!", method="PUT", headers={"Content-Type": "text/plain"})).status
            200
            >>> store.retrieve(artifact_id)
            b'Hello!'
            >>> store.close()

        """
        _log.debug("presign_upload_and_register")
        terms = presigning.UploadTerms.of(expires, max_bytes, complete=True)
        values = {"mime": mime, "summary": summary, "meta": meta, "filename": filename, "ttl": ttl}
        return presigning.upload_url(self.scope, session_id, terms, values)

    # Sessions

    def session(self, session_id: str) -> Self:
        """Return a view of this store that is bound to one session.

        Pass it to code that serves one user, such as a request handler: its methods default to this session and can't
        reach another. Closing the view leaves this store open.

        Args:
            session_id: the session; it need not exist yet.

        Returns:
            the bound store.

        Raises:
            InvalidInputError: *session_id* is malformed.

        Example:
            >>> store = ArtifactStore()
            >>> alice, bob = store.session("user_alice"), store.session("user_bob")
            >>> artifact_id = alice.store(b"mine")
            >>> bob.exists(artifact_id)
            False

        """
        self.scope.check_open()
        view = object.__new__(type(self))
        view.__dict__.update(self.__dict__, scope=Scope(self.scope.core, self.scope.session(session_id)))
        return view

    def create_session(
        self,
        user_id: str | None = None,
        ttl_hours: float | None = None,
        custom_metadata: Mapping[str, object] | None = None,
        session_id: str | None = None,
    ) -> str:
        """Create a session; storing under a session id creates that session too.

        Args:
            user_id: the user that the session belongs to.
            ttl_hours: time to live of the session, and by default of its artifacts, in hours; None: the store's
                default.
            custom_metadata: a JSON object.
            session_id: the session id; None: a random one. A user's own session (see :meth:`user`) takes no other
                user and no *ttl_hours*.

        Returns:
            the session id.

        Raises:
            ConflictError: a session with this id exists and has not expired.
            InvalidInputError: an argument is invalid.

        Example:
            >>> store = ArtifactStore()
            >>> store.create_session(user_id="alice", ttl_hours=48, session_id="run-7")
            'run-7'

        """
        _log.debug("create_session %s", session_id)
        return sessions.create(self.scope, user_id, ttl_hours, custom_metadata, session_id)

    def iter_sessions(self, *, user_id: str | None = None, page_size: int = 1000) -> Iterator[SessionInfo]:
        """Iterate over the sessions of the store, or over those of a user, in any sequence, page by page.

        The sessions of a user are found by an index. A session that begins, or gets its user, while this iterates may
        be missing or come twice. Redis: the first call with a *user_id* on a catalog of an earlier version reads all
        sessions, to index their users; do not write to it with that version any more.

        Args:
            user_id: the user; None: all sessions.
            page_size: how many sessions one request to the catalog returns at most.

        Yields:
            copies of their descriptions.

        Raises:
            InvalidInputError: an argument is invalid.

        Example:
            >>> store = ArtifactStore()
            >>> _ = store.create_session(user_id="alice", session_id="run-7")
            >>> [session.session_id for session in store.iter_sessions(user_id="alice")]
            ['run-7']

        """
        _log.debug("iter_sessions")
        return sessions.listed(self.scope, user_id, page_size)

    def user(self, user_id: str) -> Self:
        """Return a view of this store that is bound to a user's own session, for files that outlive other sessions.

        The session ``user:{user_id}`` belongs to that user and never expires. Its artifacts live for ever, unless they
        get a *ttl*. Percent signs, slashes, backslashes and control characters of the user id are percent-encoded.

        Args:
            user_id: the user.

        Returns:
            the bound store; see :meth:`session`.

        Raises:
            InvalidInputError: *user_id* is empty, or longer than 250 bytes.

        Example:
            >>> store = ArtifactStore()
            >>> artifact_id = store.user("alice").store(b"...", filename="profile.json")
            >>> store.metadata(artifact_id).session_id, store.metadata(artifact_id).expires_at
            ('user:alice', None)

        """
        return self.session(sessions.own_id(self.scope, user_id))

    def delete_user(self, user_id: str) -> int:
        """Delete every session of a user, expired ones and the user's own too, with all artifacts and uploads.

        It works in portions; after a crash, a second call finishes the work. What others store for the user meanwhile
        may stay.

        Args:
            user_id: the user.

        Returns:
            how many living artifacts were deleted.

        Raises:
            InvalidInputError: *user_id* is malformed.

        Example:
            >>> store = ArtifactStore()
            >>> _ = store.user("alice").store(b"...")
            >>> _ = store.store(b"...", session_id="run-7", user_id="alice")
            >>> store.delete_user("alice")
            2

        """
        _log.debug("delete_user")
        return cleanup.delete_user(self.scope, user_id)

    def validate_session(self, session_id: str | None = None) -> bool:
        """Return whether a session exists and has not expired.

        Args:
            session_id: the session; default: that of a bound store.

        Returns:
            whether :meth:`get_session_info` would find it.

        Raises:
            InvalidInputError: *session_id* is missing or malformed.

        Example:
            >>> store = ArtifactStore()
            >>> session_id = store.create_session()
            >>> store.validate_session(session_id), store.validate_session("unknown")
            (True, False)

        """
        return self.get_session_info(session_id) is not None

    def get_session_info(self, session_id: str | None = None) -> SessionInfo | None:
        """Return the description of a session.

        Args:
            session_id: the session; default: that of a bound store.

        Returns:
            a copy, or None when the session does not exist or has expired.

        Raises:
            InvalidInputError: *session_id* is missing or malformed.

        Example:
            >>> store = ArtifactStore()
            >>> session_id = store.create_session(user_id="alice", custom_metadata={"purpose": "demo"})
            >>> info = store.get_session_info(session_id)
            >>> info.user_id, info.custom_metadata
            ('alice', {'purpose': 'demo'})

        """
        _log.debug("get_session_info %s", session_id)
        return sessions.info(self.scope, session_id)

    def update_session_metadata(
        self, session_id: str | None = None, metadata: Mapping[str, object] | None = None
    ) -> bool:
        """Merge metadata, key by key, into a session's own.

        Args:
            session_id: the session; default: that of a bound store.
            metadata: a JSON object.

        Returns:
            False when the session does not exist or has expired.

        Raises:
            InvalidInputError: an argument is invalid.

        Example:
            >>> store = ArtifactStore()
            >>> session_id = store.create_session(custom_metadata={"purpose": "demo"})
            >>> store.update_session_metadata(session_id, {"state": "done"})
            True
            >>> store.get_session_info(session_id).custom_metadata
            {'purpose': 'demo', 'state': 'done'}

        """
        _log.debug("update_session_metadata %s", session_id)
        return sessions.merge_metadata(self.scope, session_id, metadata)

    def extend_session_ttl(self, session_id: str | None = None, additional_hours: float | None = None) -> bool:
        """Extend the time to live of a session, and of artifacts stored in it from now on.

        Args:
            session_id: the session; default: that of a bound store.
            additional_hours: hours to add to the expiry. A session that never expires is not changed.

        Returns:
            False when the session does not exist or has expired.

        Raises:
            InvalidInputError: an argument is invalid, or the expiry is after the year 9999.

        Example:
            >>> store = ArtifactStore()
            >>> store.extend_session_ttl(store.create_session(), 24)
            True

        """
        _log.debug("extend_session_ttl %s", session_id)
        return sessions.extend(self.scope, session_id, additional_hours)

    def delete_session(self, session_id: str | None = None) -> bool:
        """Delete a session and its artifacts.

        Args:
            session_id: the session; default: that of a bound store.

        Returns:
            False when the session does not exist or has expired.

        Raises:
            InvalidInputError: *session_id* is missing or malformed.

        Example:
            >>> store = ArtifactStore()
            >>> artifact_id = store.store(b"...", session_id="run-7")
            >>> store.delete_session("run-7"), store.exists(artifact_id)
            (True, False)

        """
        _log.debug("delete_session %s", session_id)
        return cleanup.delete_session(self.scope, session_id)

    def usage(self, session_id: str | None = None) -> Usage:
        """Return how many artifacts and bytes a session, or the whole sandbox, holds.

        The catalog counts what it records, so this reads no records: one round trip for a session; for a sandbox, time
        that grows with its sessions (in memory it does not). Earlier contents of an artifact count if they are kept for
        good (*keep_versions*), expired artifacts until :meth:`cleanup` removes their bytes, pending uploads not at all.

        Args:
            session_id: the session; default: that of a bound store, else all sessions.

        Returns:
            ``artifacts`` and ``bytes``; zero for an unknown session.

        Raises:
            InvalidInputError: *session_id* is malformed.

        Example:
            >>> store = ArtifactStore()
            >>> _ = store.store(b"Hello, world!", session_id="user_alice")
            >>> usage = store.usage("user_alice")
            >>> usage.artifacts, usage.bytes
            (1, 13)

        """
        _log.debug("usage %s", session_id)
        return sessions.usage(self.scope, session_id)

    # Maintain

    def cleanup_expired_sessions(self) -> int:
        """Remove expired sessions, expired artifacts and their bytes.

        Returns:
            the number of sessions that were removed.

        Example:
            >>> store = ArtifactStore()
            >>> store.cleanup_expired_sessions()
            0

        """
        return self.cleanup().sessions

    def cleanup(
        self,
        *,
        orphans: bool = False,
        dry_run: bool = False,
        force: bool = False,
        older_than: float = ORPHAN_GRACE_SECONDS,
    ) -> CleanupReport:
        """Remove expired sessions, expired artifacts and their bytes.

        An orphan is an object without a record; a crash can leave some. A sweep lists all objects of the sandbox. It
        refuses to run unless catalog and storage hold the same identity, which the first artifact writes to both.

        Args:
            orphans: remove orphans too.
            dry_run: report, and remove nothing.
            force: remove orphans even if they are more than 20, and more than half of all objects.
            older_than: the minimum age of an orphan in seconds, by the storage's clock; at least a day, 86,400.

        Returns:
            the numbers of sessions, artifacts, orphans and bytes that were removed.

        Raises:
            InvalidInputError: *older_than* is not a finite number of at least 86,400.
            SessionError: the catalog fails, does not provably describe this storage, is damaged, or knows less than
                half of all objects. Expired artifacts were removed, orphans were not.

        Example:
            >>> import time
            >>> now = time.time()
            >>> store = ArtifactStore(clock=lambda: now)
            >>> _ = store.store(b"Hello, world!", ttl=60)
            >>> now += 100_000  # more than a day
            >>> report = store.cleanup()
            >>> report.artifacts, report.sessions, report.bytes
            (1, 1, 13)

        """
        _log.debug("cleanup orphans=%s dry_run=%s", orphans, dry_run)
        self.scope.unbound_core("cleanup")
        if arguments.check_positive("older_than", older_than) < ORPHAN_GRACE_SECONDS:
            raise InvalidInputError(f"older_than must be at least a day, {ORPHAN_GRACE_SECONDS:.0f} seconds")
        sweep = cleanup.Sweep(older_than=older_than, dry_run=dry_run, force=force) if orphans else None
        return cleanup.clean(self.scope, sweep, dry_run=dry_run)

    def export_catalog(self, target: str | os.PathLike[str] | Writable, *, callback: Callback | None = None) -> int:
        """Write all sessions and records of the sandbox to a file, to be imported into any catalog.

        The file is JSON Lines: a header, each session with its records behind it, and a last line that counts them.
        Each record is as it was at one moment. Expired ones are left out, and so are the bytes of artifacts. A file
        that is named by its path appears when it is complete, and only its owner can read it.

        Args:
            target: a path, where a name that ends with ``.gz`` makes it gzip; or a file open for writing in binary
                mode, which stays open.
            callback: an fsspec ``Callback``, which receives the number of artifacts, then that of each page.

        Returns:
            the number of records.

        Raises:
            InvalidInputError: *target* is neither, or its folder does not exist.
            SessionError: the catalog fails, and nothing was written to a path; or some of its records are damaged, and
                the export is complete but for these.
            OSError: the file can't be written.

        Example:
            >>> store = ArtifactStore()
            >>> _ = store.store(b"...")
            >>> import io
            >>> store.export_catalog(io.BytesIO())
            1

        """
        _log.debug("export_catalog")
        return exporting.export_catalog(self.scope, target, callback)

    def import_catalog(
        self,
        source: str | os.PathLike[str] | Readable,
        *,
        callback: Callback | None = None,
        dry_run: bool = False,
    ) -> int:
        """Add the sessions and records of an export of this sandbox, and keep what is newer in the catalog.

        A record replaces one of a lower revision; or of the same revision, if that was rebuilt from the bytes by
        :meth:`reindex`. What has expired is skipped. A seekable file is checked as a whole first. Importing it again
        changes nothing. Bytes are neither read nor checked, and :meth:`cleanup` does not take bytes for orphans
        because of an import: after the loss of a catalog, :meth:`reindex` completes it.

        Args:
            source: a path, or a file open for reading in binary mode, which stays open; gzip is recognised.
            callback: an fsspec ``Callback``, which receives the number of records, then that of each portion.
            dry_run: check the file, and change nothing.

        Returns:
            the number of records that were added or replaced; with *dry_run* the number of records in the file.

        Raises:
            InvalidInputError: *source* is neither; or a line is invalid, with its number: the export is of another
                sandbox or a newer version, not complete, or was changed. A seekable file is then not imported at all;
                of another one the message says how many records were.
            OSError: the file can't be read.

        Example:
            >>> store = ArtifactStore()
            >>> _ = store.store(b"...")
            >>> import io
            >>> backup = io.BytesIO()
            >>> _ = store.export_catalog(backup)
            >>> _ = backup.seek(0)
            >>> store.import_catalog(backup, dry_run=True)
            1

        """
        _log.debug("import_catalog dry_run=%s", dry_run)
        return importing.import_catalog(self.scope, source, callback, dry_run=dry_run)

    def reindex(self, *, callback: Callback | None = None, dry_run: bool = False) -> ReindexReport:
        """Add records for what the storage holds and the catalog lacks, after the catalog was lost.

        What comes back is as of when the bytes were written: the newest content of each artifact, and behind it the
        earlier ones that are kept; names, media types, summaries, ``meta``, times and users, where the storage keeps
        these beside the bytes. Changes of metadata come back from an export. An artifact without such a description
        comes back with its id, length and SHA-256, as ``application/octet-stream`` and without an expiry.

        It may run again, after an interruption too, and beside other writers. If all could be read, storage and
        catalog hold the same identity at its end, so that an orphan sweep may run.

        Args:
            callback: an fsspec ``Callback``, which receives the numbers of artifacts that were looked at.
            dry_run: report, and add no record.

        Returns:
            what came back, and which objects could not be read.

        Raises:
            ProviderError: the storage fails. A second run completes what this one has begun.
            SessionError: the catalog fails; as above.

        Example:
            >>> store = ArtifactStore()
            >>> _ = store.store(b"...")
            >>> store.reindex(dry_run=True).known
            1

        """
        _log.debug("reindex dry_run=%s", dry_run)
        return reindexing.reindex(self.scope, callback, dry_run=dry_run)

    def get_canonical_prefix(self, session_id: str | None = None) -> str:
        """Return the prefix of all keys of a session, ``grid/{sandbox}/{session}/``.

        Args:
            session_id: the session; default: that of a bound store.

        Returns:
            the prefix, with the slash at its end.

        Raises:
            InvalidInputError: *session_id* is missing or malformed.

        Example:
            >>> store = ArtifactStore(sandbox_id="demo")
            >>> store.get_canonical_prefix("user_alice")
            'grid/demo/user_alice/'

        """
        self.scope.check_open()
        return grid.canonical_prefix(self.scope.core.settings.sandbox_id, self.scope.session(session_id))

    def generate_artifact_key(self, session_id: str, artifact_id: str) -> str:
        """Return the key of the first bytes of an artifact, ``grid/{sandbox}/{session}/{artifact}``.

        Args:
            session_id: the artifact's session.
            artifact_id: the artifact's id.

        Returns:
            the key.

        Raises:
            GridError: an id is malformed.

        Example:
            >>> store = ArtifactStore(sandbox_id="demo")
            >>> store.generate_artifact_key("user_alice", "0123")
            'grid/demo/user_alice/0123'

        """
        self.scope.check_open()
        return grid.artifact_key(self.scope.core.settings.sandbox_id, self.scope.session(session_id), artifact_id)

    def parse_grid_key(self, key: str) -> GridKey | None:
        """Split a key into its parts.

        Args:
            key: a key such as ``grid/{sandbox}/{session}/{artifact}``.

        Returns:
            its sandbox, session, artifact and revision, or None when it is not a key of an artifact.

        Example:
            >>> store = ArtifactStore(sandbox_id="demo")
            >>> store.parse_grid_key("grid/demo/user_alice/0123").session_id
            'user_alice'
            >>> store.parse_grid_key("elsewhere/0123") is None
            True

        """
        self.scope.check_open()
        return grid.parse(key)

    def get_session_prefix_pattern(self) -> str:
        """Return the prefix of the keys of all sessions, ``grid/{sandbox}/``.

        Example:
            >>> store = ArtifactStore(sandbox_id="demo")
            >>> store.get_session_prefix_pattern()
            'grid/demo/'

        """
        self.scope.check_open()
        return grid.sandbox_prefix(self.scope.core.settings.sandbox_id)

    def validate_configuration(self, *, thorough: bool = False) -> dict[str, dict[str, str]]:
        """Check that storage and catalog work; report outages, and do not raise them.

        Args:
            thorough: also read all records, and write, read and remove a few KiB, to find damage, a full disk, a
                catalog that is not the storage's, and whether the storage supports conditional writes.

        Returns:
            for ``storage`` and ``session`` each a dict of ``status`` (``ok`` or ``error``), ``provider`` and, for an
            error, ``message``. Some providers add more facts, and a ``warning`` where data may be lost or the signing
            key is missing or refused.

        Example:
            >>> store = ArtifactStore()
            >>> report = store.validate_configuration()
            >>> report["storage"]["status"], report["session"]["status"]
            ('ok', 'ok')

        """
        _log.debug("validate_configuration")
        return reporting.validate(self.scope, thorough=thorough)

    def get_stats(self) -> dict[str, Any]:
        """Return the providers, the sandbox, and its numbers of ``sessions``, ``artifacts`` and ``bytes``.

        Pending uploads do not count.

        Example:
            >>> store = ArtifactStore()
            >>> _ = store.store(b"Hello, world!")
            >>> stats = store.get_stats()
            >>> stats["sessions"], stats["artifacts"], stats["bytes"]
            (1, 1, 13)

        """
        _log.debug("get_stats")
        return reporting.stats(self.scope)

    def get_sandbox_info(self) -> dict[str, Any]:
        """Return the sandbox, its key prefix, the providers and the default time to live of sessions in hours.

        ``location`` is where the bytes are: the folder, ``s3://bucket/prefix`` or the URL without its secrets; None: in
        memory.

        Example:
            >>> store = ArtifactStore(sandbox_id="demo")
            >>> info = store.get_sandbox_info()
            >>> info["sandbox_id"], info["location"]
            ('demo', None)

        """
        _log.debug("get_sandbox_info")
        return reporting.sandbox_info(self.scope)

    def close(self, timeout: float | None = None) -> None:
        """Close the store and every view of it; closing a bound store closes only that view.

        New calls raise :class:`ArtifactStoreError` ("store is closed"); this waits for calls that other threads have
        begun. Closing twice is allowed.

        Args:
            timeout: how long to wait for these calls, in seconds; None: no limit.

        Raises:
            ArtifactStoreError: calls are still running after *timeout*. Their backends stay open; close it again.
            InvalidInputError: *timeout* is not a finite number above 0.

        Example:
            >>> store = ArtifactStore()
            >>> store.close()
            >>> store.usage()
            Traceback (most recent call last):
                ...
            chuk_artifacts.errors.ArtifactStoreError: store is closed

        """
        timeout = arguments.check_timeout(timeout)
        self.scope.closed = True
        if self.scope.session_id is None:
            self.scope.core.close(timeout)


class SharedStore(ArtifactStore):
    """An :class:`ArtifactStore` that shares its backends with all others of the same settings in this process.

    Use it in code that gets settings repeatedly and keeps no store between, such as a filesystem that fsspec makes for
    each URL. A memory store's content outlives the single instance. After unpickling it uses the shared backends of the
    new process.

    Two shared stores are equal when they have the same backends and the same bound session. :meth:`close` closes only
    this instance.
    """

    def _open_core(self, settings: Settings, clock: Callable[[], float]) -> Core:
        return shared_core(settings, clock, start_gateway)

    def __eq__(self, other: object) -> bool:
        """Return whether both have the same backends and the same session."""
        if not isinstance(other, SharedStore):
            return NotImplemented
        return self.scope.core is other.scope.core and self.scope.session_id == other.scope.session_id

    def __hash__(self) -> int:
        """Hash backends and session, as ``==`` compares them."""
        return hash((id(self.scope.core), self.scope.session_id))

    def close(self, timeout: float | None = None) -> None:
        """Close only this instance; the shared backends stay open, and *timeout* is not used."""
        self.scope.closed = True


def start_gateway(core: Core) -> LocalGateway:
    """Serve the signed URLs of a store from this process, until the store is closed or garbage-collected."""
    from chuk_artifacts.gateway.local import start  # noqa: PLC0415 - imports the HTTP server, which few stores need

    return start(core)
