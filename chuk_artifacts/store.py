"""``ArtifactStore``: signatures, documentation and checks of arguments. What a method does is in ``operations``."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, BinaryIO, Literal, Self, overload

from chuk_artifacts import arguments, grid
from chuk_artifacts.core import Core, LocalGateway, shared_core
from chuk_artifacts.errors import InvalidInputError
from chuk_artifacts.grid import GridKey
from chuk_artifacts.log import log as _log
from chuk_artifacts.models import ORPHAN_GRACE_SECONDS, ArtifactMetadata, CleanupReport, SessionInfo
from chuk_artifacts.operations import (
    changing,
    cleanup,
    finding,
    listing,
    presigning,
    reading,
    reporting,
    sessions,
    uploads,
    writing,
)
from chuk_artifacts.operations.changing import Change
from chuk_artifacts.operations.scope import Scope
from chuk_artifacts.settings import DEFAULT_SESSION_TTL_HOURS, SessionProvider, Settings, StorageProvider, resolve
from chuk_artifacts.source import CHUNK_SIZE, Data, StoreItem, source

if TYPE_CHECKING:
    from pathlib import Path

    from fsspec.callbacks import Callback

    from chuk_artifacts.aio import ArtifactStore as AsyncStore


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
            its root, as ``signing.key``. One that another user could have put there, or can read, is refused.
        storage_options: more for the storage. ``filesystem``: ``fsync=True``: each write is durable before it returns.
            Buckets: what goes with each write, such as ``ServerSideEncryption``, ``SSEKMSKeyId``, ``StorageClass`` and
            ``Tagging``, arguments of the client: keys, ``profile_name``, ``verify``, ``config``, and
            ``presign_upload``, see :meth:`presign_upload`. Keys are not pickled. A URL: arguments of the
            filesystem. What is not known to be harmless is not pickled.
        max_summary_bytes: the length of the longest summary, in bytes of UTF-8.
        max_meta_bytes: the length of the longest *meta* of an artifact, and of the longest metadata of a session, in
            bytes as JSON. Their depth is 64 levels at most.
        max_user_id_bytes: the length of the longest user id, in bytes of UTF-8.
        clock: returns the present in seconds since the epoch.

    Attributes:
        scope: the open backends and the bound session, for the modules of this package that stand beside the store.
            It is no part of the public interface.

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
        self.scope = Scope(self._open_core(settings, clock))

    def _open_core(self, settings: Settings, clock: Callable[[], float]) -> Core:
        return Core(settings, clock, start_gateway)

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
        self.scope.check_open()
        return self.__dict__

    def __repr__(self) -> str:
        """Name providers, sandbox and session."""
        scope = self.scope
        if scope.is_closed:
            return "<ArtifactStore closed>"
        settings = scope.core.settings
        session = "" if scope.session_id is None else f" session={scope.session_id!r}"
        providers = f"{settings.storage_provider}+{settings.session_provider}"
        return f"<ArtifactStore {providers} sandbox={settings.sandbox_id!r}{session}>"

    # Store

    def store(
        self,
        data: Data,
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
        values = {
            "data": data,
            "mime": mime,
            "summary": summary,
            "meta": meta,
            "filename": filename,
            "user_id": user_id,
            "ttl": ttl,
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
        values = {
            "data": arguments.encoded(content, encoding),
            "mime": mime,
            "summary": summary,
            "meta": meta,
            "filename": filename,
            "user_id": user_id,
            "ttl": ttl,
            "default_mime": arguments.PLAIN_TEXT,
        }
        return writing.store(self.scope, session_id, values)

    def store_batch(
        self, items: Iterable[StoreItem], session_id: str | None = None, ttl: float | None = None
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
        return writing.store_batch(self.scope, items, session_id, ttl)

    # Read

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
        return reading.retrieve(self.scope, artifact_id)

    @overload
    def read_file(
        self, artifact_id: str | ArtifactMetadata, *, encoding: str = "utf-8", as_text: Literal[True] = True
    ) -> str: ...

    @overload
    def read_file(
        self, artifact_id: str | ArtifactMetadata, *, encoding: str = "utf-8", as_text: Literal[False]
    ) -> bytes: ...

    @overload
    def read_file(
        self, artifact_id: str | ArtifactMetadata, *, encoding: str = "utf-8", as_text: bool = True
    ) -> str | bytes: ...

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
            named = arguments.plain(artifact_id) if isinstance(artifact_id, str) else artifact_id.artifact_id
            where = f"byte {error.start}" if isinstance(error, UnicodeDecodeError) else "a byte"
            raise InvalidInputError(
                f"artifact {named} is not text in {encoding}: {where} is wrong; pass as_text=False"
            ) from None

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
        return reading.open_reader(self.scope, artifact_id)

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
        return reading.stream(self.scope, artifact_id, start, end, chunk_size)

    def download(
        self,
        artifact_id: str | ArtifactMetadata,
        path: str | os.PathLike[str],
        *,
        callback: Callback | None = None,
        overwrite: bool = False,
    ) -> Path:
        """Write an artifact to a file, which appears whole and verified, or not at all.

        Args:
            artifact_id: the artifact, see :meth:`retrieve`.
            path: the file, which is replaced; or a folder, where the file is called like the last segment of the
                artifact's filename, cut to 255 bytes, or like its id.
            callback: an fsspec ``Callback``, which is given the size and the length of each chunk in bytes.
            overwrite: whether to replace a file of that name in a folder.

        Returns:
            the path of the file.

        Raises:
            ArtifactNotFoundError: see :meth:`retrieve`.
            ArtifactExpiredError: see :meth:`retrieve`.
            ArtifactCorruptedError: see :meth:`retrieve`.
            ConflictError: *path* is a folder, and something in it has that name. It is a ``FileExistsError`` too.
            InvalidInputError: the folder of *path* does not exist.
            OSError: the file can't be written.

        """
        return reading.download(self.scope, artifact_id, path, callback, overwrite=overwrite)

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
        return reading.retrieve_batch(self.scope, artifact_ids)

    def exists(self, artifact_id: str) -> bool:
        """Say whether there is such an artifact, and it has not expired.

        Args:
            artifact_id: the artifact; a malformed id is that of none.

        Returns:
            whether :meth:`metadata` would return something.

        """
        return finding.exists(self.scope, artifact_id)

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
        return finding.metadata(self.scope, artifact_id)

    # Change

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
        return changing.change(self.scope, artifact_id, change)

    def update_file(
        self,
        artifact_id: str,
        *,
        data: Data | None = None,
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
        change = Change.of(
            self.scope.core, summary=summary, meta=meta, filename=filename, mime=mime, ttl=ttl, if_revision=if_revision
        )
        if data is None and change.is_empty:
            raise InvalidInputError("nothing to change: give one of data, meta, filename, summary, mime, ttl")
        return changing.change(self.scope, artifact_id, change, None if data is None else source(data))

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
        change = Change.of(
            self.scope.core, filename=new_filename, meta=new_meta, meta_name="new_meta", session_id=new_session_id
        )
        if change.is_empty and new_session_id is None:
            raise InvalidInputError("nothing to change: give one of new_filename, new_meta")
        return changing.change(self.scope, artifact_id, change)

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
        change = Change.of(
            self.scope.core,
            filename=new_filename,
            summary=summary,
            meta=new_meta,
            meta_name="new_meta",
            session_id=target_session_id,
        )
        return changing.copy(self.scope, artifact_id, change)

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
        return changing.change(self.scope, artifact_id, Change(more_seconds=more))

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

    def delete_batch(self, artifact_ids: Iterable[str]) -> int:
        """Delete several artifacts.

        Args:
            artifact_ids: the artifacts.

        Returns:
            how many there were to delete.

        """
        return cleanup.delete(self.scope, artifact_ids)

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
        prefix, limit = arguments.check_text("prefix", prefix), arguments.check_limit(limit)
        return listing.listed(self.scope, session_id, prefix, limit)

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

    def iter_session(
        self, session_id: str | None = None, *, prefix: str = "", start: str = "", page_size: int = listing.PAGE_SIZE
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
        return listing.pages(
            self.scope,
            session_id,
            prefix=arguments.check_text("prefix", prefix),
            start=arguments.check_text("start", start),
            page_size=arguments.check_count("page_size", page_size, 1, arguments.MAX_PAGE),
        )

    # Share

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
            ProviderError: the signing key that is kept in the root can't be read, or another user could have made it.

        """
        _log.debug("presign %s", artifact_id)
        return presigning.download_url(self.scope, artifact_id, arguments.check_expires(expires))

    def presign_short(self, artifact_id: str) -> str:
        """Return a URL that works for 15 minutes; see :meth:`presign`."""
        return self.presign(artifact_id, 900)

    def presign_medium(self, artifact_id: str) -> str:
        """Return a URL that works for an hour; see :meth:`presign`."""
        return self.presign(artifact_id, 3600)

    def presign_long(self, artifact_id: str) -> str:
        """Return a URL that works for a day; see :meth:`presign`."""
        return self.presign(artifact_id, 86400)

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

        The URL is the service's own where that refuses headers that were not signed, as AWS and IBM do. Any other
        service is asked once in a process, by a few requests; where it accepts them, a client could read any object
        with an upload URL, and the gateway takes the uploads. The storage option ``presign_upload`` decides it
        beforehand: ``"gateway"``, or ``"native"`` where all who get a URL may read the whole bucket.

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
            ProviderError: besides an outage of the storage: the service can't be asked, or gives no clear answer.

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
        meta: Mapping[str, Any] | None = None,
        filename: str | None = None,
        session_id: str | None = None,
        ttl: float | None = None,
    ) -> bool:
        """Make an artifact of what was uploaded. Once it is one, another upload to the URL changes nothing.

        Only the bytes are taken over. An upload that carries metadata, tags or headers that were not asked for, or an
        ACL that lets others in than the owner of the keys, is refused and removed.

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
            InvalidInputError: an argument is wrong, or the upload is longer than allowed or carries more than bytes;
                then it is removed.

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
        terms = presigning.UploadTerms.of(expires, max_bytes, complete=True)
        values = {"mime": mime, "summary": summary, "meta": meta, "filename": filename, "ttl": ttl}
        return presigning.upload_url(self.scope, session_id, terms, values)

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
        self.scope.check_open()
        view = object.__new__(type(self))
        view.__dict__.update(self.__dict__, scope=Scope(self.scope.core, self.scope.session(session_id)))
        return view

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
        return sessions.create(self.scope, user_id, ttl_hours, custom_metadata)

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
        return sessions.info(self.scope, session_id)

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
        return sessions.merge_metadata(self.scope, session_id, metadata)

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
        return sessions.extend(self.scope, session_id, additional_hours)

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
        return cleanup.delete_session(self.scope, session_id)

    # House

    def cleanup_expired_sessions(self) -> int:
        """Remove expired sessions, expired artifacts and their bytes.

        Returns:
            how many sessions were removed.

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
        self.scope.whole("cleanup")
        if arguments.check_positive("older_than", older_than) < ORPHAN_GRACE_SECONDS:
            raise InvalidInputError(f"older_than must be at least a day, {ORPHAN_GRACE_SECONDS:.0f} seconds")
        sweep = cleanup.Sweep(older_than=older_than, dry_run=dry_run, force=force) if orphans else None
        return cleanup.clean(self.scope, sweep, dry_run=dry_run)

    def get_canonical_prefix(self, session_id: str | None = None) -> str:
        """Return the prefix of all keys of a session, ``grid/{sandbox}/{session}/``.

        Args:
            session_id: the session; a bound store fills in its own.

        Returns:
            the prefix, with its last slash.

        Raises:
            InvalidInputError: no session can be called that.

        """
        self.scope.check_open()
        return grid.canonical_prefix(self.scope.core.settings.sandbox_id, self.scope.session(session_id))

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
        self.scope.check_open()
        return grid.artifact_key(self.scope.core.settings.sandbox_id, self.scope.session(session_id), artifact_id)

    def parse_grid_key(self, key: str) -> GridKey | None:
        """Return the parts of a key, or None when it is none.

        Args:
            key: such as ``grid/{sandbox}/{session}/{artifact}``.

        Returns:
            its sandbox, session, artifact and revision.

        """
        self.scope.check_open()
        return grid.parse(key)

    def get_session_prefix_pattern(self) -> str:
        """Return the prefix of the keys of all sessions, ``grid/{sandbox}/``."""
        self.scope.check_open()
        return grid.sandbox_prefix(self.scope.core.settings.sandbox_id)

    def validate_configuration(self, *, thorough: bool = False) -> dict[str, dict[str, str]]:
        """Try the storage and the catalog.

        Args:
            thorough: whether to read all records and write a few KiB to the storage, which are removed again, to find
                damage, a full disk, and what the storage does with conditional writes.

        Returns:
            for ``storage`` and ``session`` each a dict of ``status`` (``ok`` or ``error``), ``provider`` and, for an
            error, ``message``. An outage is reported and not raised. Some providers report more facts, and in
            ``warning`` what may lose data, or why the kept signing key is refused.

        """
        _log.debug("validate_configuration")
        return reporting.validate(self.scope, thorough=thorough)

    def get_stats(self) -> dict[str, Any]:
        """Return the providers, the sandbox, and how many ``sessions``, ``artifacts`` and ``bytes`` it holds.

        Uploads that are awaited do not count.
        """
        _log.debug("get_stats")
        return reporting.stats(self.scope)

    def get_sandbox_info(self) -> dict[str, Any]:
        """Return the sandbox, its key prefix, the providers and the default time to live of sessions in hours."""
        _log.debug("get_sandbox_info")
        return reporting.sandbox_info(self.scope)

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
        self.scope.closed = True
        if self.scope.session_id is None:
            self.scope.core.close(timeout)


class SharedStore(ArtifactStore):
    """An :class:`ArtifactStore` on backends that all of the same settings in this process share.

    It is for code that is handed settings again and again and keeps nothing between, such as a filesystem that is made
    anew for each URL. What is stored in memory by one is there for the next. It pickles as its settings, and finds the
    shared backends of the other process.

    Two are equal when they share their backends and are bound to the same session. :meth:`close` closes it alone.
    """

    def _open_core(self, settings: Settings, clock: Callable[[], float]) -> Core:
        return shared_core(settings, clock, start_gateway)

    def __eq__(self, other: object) -> bool:
        """Say whether both are the same store."""
        if not isinstance(other, SharedStore):
            return NotImplemented
        return self.scope.core is other.scope.core and self.scope.session_id == other.scope.session_id

    def __hash__(self) -> int:
        """Return a number that is the same for equal ones."""
        return hash((id(self.scope.core), self.scope.session_id))

    def close(self, timeout: float | None = None) -> None:
        """Close only this one; harmless the second time."""
        self.scope.closed = True


def start_gateway(core: Core) -> LocalGateway:
    """Serve the signed URLs of a store from this process, until the store is closed or dropped."""
    from chuk_artifacts.gateway.local import start  # noqa: PLC0415 - it takes the HTTP server with it, which few stores need

    return start(core)
