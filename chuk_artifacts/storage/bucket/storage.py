"""Storage in a bucket: S3, IBM COS with HMAC keys and IBM COS with IAM, by one class over a client of boto3's shape."""

from __future__ import annotations

import base64
import contextlib
import functools
import hashlib
import io
import itertools
import os
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from email.utils import parsedate_to_datetime
from typing import BinaryIO, TypeVar
from urllib.parse import quote

import attrs

from chuk_artifacts.disposition import content_disposition
from chuk_artifacts.errors import ArtifactCorruptedError, ProviderError
from chuk_artifacts.fork import watch
from chuk_artifacts.log import log as _log
from chuk_artifacts.settings import (
    GATEWAY,
    IBM_COS_IAM,
    NATIVE,
    PUT_OPTIONS,
    Settings,
)
from chuk_artifacts.source import Stream
from chuk_artifacts.storage import (
    About,
    Description,
    ObjectChangedError,
    ObjectExistsError,
    ObjectMissingError,
    StoredObject,
)
from chuk_artifacts.storage.bucket.answers import BUSY_CODES, PASSING_CODES, Answer, Parameters, content_range
from chuk_artifacts.storage.bucket.client import DEFAULT_REGION, Client
from chuk_artifacts.storage.bucket.errors import (
    REASONS,
    UPLOAD_IS_GONE,
    BrokenAnswerError,
    NoAclError,
    OutsideError,
    ReplacedError,
    UnsupportedError,
    UploadOverError,
)
from chuk_artifacts.storage.bucket.metadata import SIGNATURE, describe, described
from chuk_artifacts.storage.bucket.multipart import (
    IN_FLIGHT,
    PART,
    SIDE_BY_SIDE,
    Flow,
    Part,
    cut,
    part_length,
    part_lengths,
)
from chuk_artifacts.storage.bucket.uploads import (
    DENIED,
    carried,
    grantees,
    is_strict,
    refuses,
    unsigned_headers,
)
from chuk_artifacts.storage.reader import FIRST_BLOCK, open_ranges
from chuk_artifacts.threads import Threads, hurried_by_interrupt

T = TypeVar("T")

_MIB = 1024 * 1024
_WRONG_REGION = "IllegalLocationConstraint"  # the code of an answer which a bucket without a region gets
_COPIED_AT_ONCE = 256 * _MIB  # 3 MiB/s suffice before the read time-out of two minutes, which repeats all of it
_COPIED_PART = 64 * _MIB
_DELETED_AT_ONCE = 1000  # the most that DeleteObjects takes
_ONLY_IF_FREE = "*"  # of If-None-Match
_NO_HEADERS: Mapping[str, str] = {}
_OWN_METADATA = frozenset({SIGNATURE})
# What goes with an upload under a presigned URL too: a policy of the bucket may refuse one without.
_UPLOAD_OPTIONS = frozenset(
    {"BucketKeyEnabled", "SSEKMSEncryptionContext", "SSEKMSKeyId", "ServerSideEncryption", "Tagging"}
)
_CHECKS, _CHECK_BYTES = "check", 4096
_CHECK_SECONDS = 60  # how long an upload URL works that only this class uses


@attrs.frozen
class _CopyOrder:
    source: str
    target: str
    size: int
    description: Description | None
    hashed: bool


@attrs.frozen
class _Fetched:
    """The answer to a read: the bytes, the length of the object if it is known, and its ETag."""

    data: bytes
    size: int | None
    etag: str


class BucketStorage:
    """Bytes as objects of a bucket.

    Args:
        settings: the bucket, the options, and how many retries and connections.

    """

    blocks = True
    remote = True
    conditional_put = True
    persistent = True

    def __init__(self, settings: Settings) -> None:
        """Connect to nothing yet."""
        if settings.bucket is None:
            raise TypeError("these settings are of no bucket")
        self.provider: str = settings.storage_provider
        self.parallel: int = settings.max_connections
        self._bucket = settings.bucket
        self._client = Client(settings, settings.bucket)
        self._extras = {name: value for name, value in settings.storage_options.items() if name in PUT_OPTIONS}
        self._conditions = True  # until the service says that it has none
        self._many_deletes = True  # likewise
        self._tags = True  # likewise
        self._matches = True  # likewise, of If-Match
        self._acls = True  # likewise
        self._upload_urls = GATEWAY if self.provider == IBM_COS_IAM else settings.presign_upload
        self._weakness: str | None = None  # see ``_accepted``
        self._trying = threading.Lock()
        self._part_length = settings.part_size or PART
        self._threads = Threads(SIDE_BY_SIDE, "chuk-artifacts-parts")
        self._flow = Flow(self._threads)
        watch(self)

    # Write

    def put(
        self, key: str, data: bytes | Stream, *, exclusive: bool = False, about: About | None = None
    ) -> tuple[int, str]:
        """Write *data* by one request, or by parts side by side when there is more than a part, of 8 MiB by default.

        A put by parts replaces, also when it is *exclusive*.
        """
        total = len(data) if isinstance(data, bytes) else data.measure()
        parts = cut([data] if isinstance(data, bytes) else data, part_lengths(part_length(total, self._part_length)))
        first = [next(parts)]
        if first[0].last:
            size, sha256 = _measured(data)
            self._put_object(key, first[0].body, sha256, about and about(sha256, size), exclusive=exclusive)
            return size, sha256
        known = (_measured(data)[1], total) if isinstance(data, bytes) else ("", None)  # of a stream it comes too late
        self._put_parts(key, itertools.chain(_taken(first), parts), about and about(*known))
        return _measured(data)

    def _put_object(
        self, key: str, body: io.BytesIO, sha256: str, description: Description | None, *, exclusive: bool
    ) -> None:
        """Write by one request; an exclusive one only where the key is free, if the service can do that."""
        signature = os.urandom(8).hex() if exclusive else ""
        put = functools.partial(self._client.call, "put_object", sha256)
        order = {"Key": self._full(key), "Body": body, **self._extras, **describe(description, signature)}
        if exclusive and self._conditions:
            try:
                put(**order, IfNoneMatch=_ONLY_IF_FREE)
            except ObjectExistsError:
                if not self._is_signed(key, signature):  # or a retry met the first attempt, whose answer was lost
                    raise
                return
            except UnsupportedError:
                put(**order)
                self._conditions = False
                return
            return
        put(**order)

    def _is_signed(self, key: str, signature: str) -> bool:
        """Say whether an object was written with this signature; proxies and services change the case of names."""
        stored = self._head(key)
        metadata = {} if stored is None else {name.lower(): value for name, value in stored.get("Metadata", {}).items()}
        return bool(metadata.get(SIGNATURE) == signature)

    def _put_parts(self, key: str, parts: Iterable[Part], description: Description | None) -> None:
        def send(order: Parameters, part: Part) -> Answer:
            return self._client.call("upload_part", Body=part.body, **order, **self._checked)

        self._in_parts(key, parts, send, lambda part: part.length, description)

    def _in_parts(
        self,
        key: str,
        parts: Iterable[T],
        send: Callable[[Parameters, T], Answer],
        weigh: Callable[[T], int],
        description: Description | None,
    ) -> None:
        """Write an object by parts side by side; when something fails, leave none of them."""
        signature = os.urandom(8).hex()
        description_of_all = {**self._extras, **self._checked, **describe(description, signature)}
        upload = {"Key": self._full(key)}

        def send_one(number: int, part: T) -> Answer:
            answer = send({**upload, "PartNumber": number}, part)
            return {"PartNumber": number, "ETag": answer["ETag"], **_checksum(answer)}

        order = {**upload, **description_of_all}
        try:  # an interrupt between two statements would lose the id
            upload["UploadId"] = self._client.call("create_multipart_upload", **order)["UploadId"]
            self._complete(key, upload, self._flow.send_all(parts, send_one, weigh), signature)
        except BaseException as error:
            if upload.get("UploadId"):
                self._abort(upload)
            if isinstance(error, UploadOverError):
                raise ProviderError(f"{self._client.subject}: {UPLOAD_IS_GONE}") from error
            raise

    def _complete(self, key: str, upload: dict[str, str], parts: Sequence[Answer], signature: str) -> None:
        """Make an object of the parts; where the answer is none, the object itself shows whether it is ours."""
        try:
            if "ETag" in self._client.call("complete_multipart_upload", **upload, MultipartUpload={"Parts": parts}):
                return  # though it is empty in the answer of Ceph 16
            problem = "the service does not say that the upload is complete"
        except UploadOverError:  # perhaps by a first attempt whose answer was lost
            problem = UPLOAD_IS_GONE
        if not self._is_signed(key, signature):
            raise ProviderError(f"{self._client.subject}: {problem}")

    def _abort(self, upload: dict[str, str]) -> None:
        """Remove the parts of an upload; what fails here is left to ``sweep``."""
        with contextlib.suppress(ProviderError), hurried_by_interrupt():
            self._client.call("abort_multipart_upload", **upload)

    def copy(
        self,
        source: str,
        target: str,
        size: int,
        *,
        hashed: bool = False,
        about: About | None = None,
    ) -> str | None:
        """Copy inside the service; more than 256 MiB by parts, without a SHA-256.

        Only a copy by parts finds out that *size* is wrong: what CopyObject answers says nothing of it.
        """
        order = _CopyOrder(source, target, size, about and about("", size), hashed=hashed)
        try:
            if size <= _COPIED_AT_ONCE:
                return self._copy_object(order)
            self._copy_parts(order)
        except ObjectMissingError:
            raise ObjectMissingError(source) from None
        return None

    def _copy_object(self, copy: _CopyOrder) -> str | None:
        order = {"Key": self._full(copy.target), "CopySource": self._source(copy), **self._extras}
        order |= describe(copy.description)
        if copy.description is not None:
            order["MetadataDirective"] = "REPLACE"
        if copy.hashed:
            order["ChecksumAlgorithm"] = "SHA256"
        result = self._call_without_tags(order)["CopyObjectResult"]
        return _sha256_of(result) if copy.hashed else None

    def _call_without_tags(self, order: Parameters) -> Answer:
        """Copy an object without its tags, or with ours in their place. Its ACL stays behind anyway.

        A service without tags (Cloudflare R2 answers 501 to the directive) copies none.
        """
        if self._tags or "Tagging" in order:
            try:
                return self._client.call("copy_object", **order, TaggingDirective="REPLACE")
            except UnsupportedError as error:
                if "Tagging" in order:
                    raise ProviderError(*error.args) from error.__cause__
        answer = self._client.call("copy_object", **order)
        self._tags = False
        return answer

    def _copy_parts(self, copy: _CopyOrder) -> None:
        stored = self.stat(copy.source)
        if stored is None:
            raise ObjectMissingError(copy.source)
        if stored.bytes != copy.size:
            raise ObjectChangedError(copy.source, stored.bytes, copy.size)
        length = part_length(copy.size, _COPIED_PART)

        def send(order: Parameters, begin: int) -> Answer:
            part = _range(begin, min(length, copy.size - begin))
            answer = self._client.call("upload_part_copy", CopySource=self._source(copy), CopySourceRange=part, **order)
            result: Answer = answer["CopyPartResult"]
            return result

        # They hold no memory here; this many bytes let as many parts go at once as there are threads.
        share = IN_FLIGHT // SIDE_BY_SIDE
        self._in_parts(copy.target, range(0, copy.size, length), send, lambda _: share, copy.description)

    def _source(self, copy: _CopyOrder) -> dict[str, str]:
        return {"Bucket": self._bucket.name, "Key": self._full(copy.source)}

    # Read

    def get(self, key: str) -> bytes:
        """Return all bytes, by one request."""
        return self._fetch(key).data

    def open(self, key: str, size: int, *, start: int = 0) -> BinaryIO:
        """Return a reader that has already fetched the first block at *start*, unless *start* is at the end.

        All blocks are of one object: when it is replaced in between, a read raises ``ArtifactCorruptedError``.
        """
        first = _Fetched(b"", None, "")
        if start < size:
            with contextlib.suppress(OutsideError):
                first = self._fetch(key, start, min(FIRST_BLOCK, size - start))
        true_size, etag = first.size, first.etag
        if true_size is None:
            stored = self._head(key)
            if stored is None:
                raise ObjectMissingError(key)
            true_size, etag = stored["ContentLength"], etag or stored.get("ETag", "")
        return open_ranges(self._fetcher(key, etag), true_size, start, first.data)

    def _fetcher(self, key: str, etag: str) -> Callable[[int, int], Future[bytes]]:
        def fetch(begin: int, length: int) -> bytes:
            try:
                found = self._fetch(key, begin, length, etag)
            except ObjectMissingError as error:
                raise ProviderError(f"{self._client.subject}: the bytes are gone while they are being read") from error
            except (OutsideError, ReplacedError) as error:
                raise self._replaced(key) from error
            if etag and found.etag != etag:  # the service ignores the condition
                raise self._replaced(key)
            return found.data

        return lambda begin, length: self._threads.submit(fetch, begin, length)

    def _replaced(self, key: str) -> ArtifactCorruptedError:
        error = ArtifactCorruptedError(f"{self._client.subject}: the bytes were replaced while they were being read")
        return error.about(key=key, provider=self.provider)

    def _fetch(self, key: str, begin: int | None = None, length: int = 0, etag: str = "") -> _Fetched:
        """Return bytes, of the object with this ETag if one is given; raise ``ReplacedError`` if it is another."""
        order = {"Key": self._full(key)} | ({} if begin is None else {"Range": _range(begin, length)})
        condition = {"IfMatch": etag} if etag and self._matches else {}
        try:
            answer = self._client.call("get_object", **order, **condition)
        except UnsupportedError:
            answer = self._client.call("get_object", **order)
            self._matches = False
        data: bytes = answer["Body"]
        return _Fetched(data, len(data) if begin is None else content_range(answer)[2], answer["ETag"])

    def path(self, key: str) -> str | None:
        """Return None: these bytes are in no local file."""
        return None

    def stat(self, key: str) -> StoredObject | None:
        """Return what a listing contains for one key, or None."""
        found = self._head(key)
        if found is None:
            return None
        return StoredObject(
            key=key,
            bytes=found["ContentLength"],
            modified=found["LastModified"].timestamp(),
            carries=carried(found, self._extras, _OWN_METADATA),
        )

    def description(self, key: str) -> Description | None:
        """Return what an object says of itself, or None."""
        found = self._head(key)
        return None if found is None else described(found)

    def grantees(self, key: str) -> tuple[str, ...]:
        """Return whom the ACL of an object lets in beside its owner, by one request.

        None is made where no presigned URL writes, where an ACL of the user's own is in the storage options, and where
        the service has said that it has no ACLs. Keys that may not read it (``s3:GetObjectAcl``) learn nothing: a copy
        never has the ACL of its source.
        """
        if not self._acls or "ACL" in self._extras or self._uses_gateway(self._weakness):
            return ()
        try:
            return grantees(self._client.call("get_object_acl", Key=self._full(key)))
        except UnsupportedError:
            self._acls = False
        except (ObjectMissingError, NoAclError):
            pass
        return ()

    def _head(self, key: str) -> Answer | None:
        """Return the answer to HEAD for an object, or None if it does not exist.

        A 404 to HEAD has no body that says more: the bucket may be missing, or a proxy does not find the service.
        What is asked for a byte then says which.
        """
        for _ in range(2):  # it may have come in between
            with contextlib.suppress(ObjectMissingError):
                return self._client.call("head_object", Key=self._full(key))
            try:
                self._fetch(key, 0, 1)
            except ObjectMissingError:
                return None
            except OutsideError:  # it is there, and empty
                continue
        raise ProviderError(f"{self._client.subject}: the answer to HEAD is 404, and that to GET is not: {key!r}")

    def list_objects(self, prefix: str) -> Iterator[StoredObject]:
        """Iterate over all objects under *prefix*, page by page."""
        for page in self._client.pages("list_objects_v2", Prefix=self._full(prefix)):
            for item in page.get("Contents", ()):
                key = item["Key"].removeprefix(self._bucket.prefix)
                yield StoredObject(key=key, bytes=item["Size"], modified=item["LastModified"].timestamp())

    # Remove

    def delete(self, keys: Sequence[str]) -> None:
        """Remove objects: up to 1,000 by one request, where the service can.

        A failure for some keys does not keep the others; it is raised when all were tried.
        """
        if len(keys) == 1:
            with contextlib.suppress(ObjectMissingError):  # that is the answer of some
                self._client.call("delete_object", Key=self._full(keys[0]))
            return
        failures = []
        for begin in range(0, len(keys), _DELETED_AT_ONCE):
            try:
                self._delete_some(keys[begin : begin + _DELETED_AT_ONCE])
            except ProviderError as error:
                failures.append(error)
        if failures:
            raise failures[0]

    def _delete_some(self, keys: Sequence[str]) -> None:
        """Remove up to 1,000 objects, one by one where the service has no request for many."""
        with contextlib.suppress(UnsupportedError):
            if self._many_deletes:
                self._delete_many(keys)
                return
        self._threads.each(lambda key: self.delete([key]), keys)
        self._many_deletes = False

    def _delete_many(self, keys: Sequence[str]) -> None:
        """Remove objects by one request, and again those only that the service is too busy for."""
        left, refused = {self._full(key) for key in keys}, set()

        def ask() -> None:
            order = {"Objects": [{"Key": key} for key in sorted(left)], "Quiet": True}
            errors = self._client.ask("delete_objects", Delete=order).get("Errors", ())
            codes = {error.get("Code", "an error without a code") for error in errors}
            busy = codes & (PASSING_CODES | BUSY_CODES)
            refused.update(codes - busy - {"NoSuchKey"})
            if busy:
                again = {error.get("Key") for error in errors if error.get("Code") in busy}
                left.intersection_update(again & left or left)  # all of them if the answer names none of ours
                raise BrokenAnswerError(f"{self._client.subject}: {min(busy)} for some objects")

        self._client.repeated(ask)
        if refused:
            raise ProviderError(f"{self._client.subject}: {REASONS.get(min(refused), min(refused))}")

    def sweep(self, prefix: str, before: float, *, dry_run: bool = False) -> Iterator[StoredObject]:
        """Remove the parts of uploads that began before a moment and were not completed, and yield each upload."""
        for item in self._unfinished(prefix):
            began = item["Initiated"].timestamp()
            if began >= before:
                continue
            if not dry_run:
                with contextlib.suppress(UploadOverError):  # in the meantime
                    self._client.call("abort_multipart_upload", Key=item["Key"], UploadId=item["UploadId"])
            yield StoredObject(key=item["Key"].removeprefix(self._bucket.prefix), bytes=0, modified=began)

    def _unfinished(self, prefix: str) -> Iterator[Answer]:
        """Iterate over the uploads by parts that are not complete; a service that can't list them gives none."""
        try:
            for page in self._client.pages("list_multipart_uploads", Prefix=self._full(prefix)):
                yield from page.get("Uploads", ())
        except UnsupportedError:
            _log.warning(
                "%s: a sweep skips unfinished uploads, because the service can't list them (ListMultipartUploads): set"
                " a lifecycle rule that removes them",
                self._client.subject,
            )

    # Share

    def sign_get(self, key: str, *, expires: int, filename: str | None, mime: str) -> str | None:
        """Return a URL that downloads, or None under IBM IAM, whose SDK can't sign one."""
        if self.provider == IBM_COS_IAM:
            return None
        how = {"ResponseContentDisposition": content_disposition(filename), "ResponseContentType": mime}
        return self._signed("get_object", key, expires, how)

    def sign_put(self, key: str, *, expires: int, mime: str | None) -> str | None:
        """Return a URL that takes an upload, or None where the gateway is to take it.

        That is so under IBM IAM, whose SDK can't sign one; with the storage option ``presign_upload="gateway"``; and,
        unless that option is ``"native"``, where the service accepts headers that were not signed. The first call asks
        the service that, once. It raises :class:`ProviderError` where there is no answer, and the next call asks again.

        Encryption and tags of the storage options are signed too: the upload must send their headers.
        """
        if self._uses_gateway(None if self._upload_urls else self._accepted()):
            return None
        how = {name: value for name, value in self._extras.items() if name in _UPLOAD_OPTIONS}
        return self._signed("put_object", key, expires, how if mime is None else {**how, "ContentType": mime})

    def _uses_gateway(self, weakness: str | None) -> bool:
        return self._upload_urls == GATEWAY or (self._upload_urls is None and bool(weakness))

    def _signed(self, operation: str, key: str, expires: int, how: Parameters) -> str:
        order = {"Bucket": self._bucket.name, "Key": self._full(key), **how}
        with self._client.translating:
            client = self._client.signing()
        with self._client.translating:
            url: str = client.generate_presigned_url(operation, Params=order, ExpiresIn=expires)
        return url

    def _accepted(self) -> str:
        """Return why an upload URL of the service's own allows more than an upload; empty: it does not.

        This is found out once in a process, where it is not known of the endpoint.
        """
        if self._weakness is None:
            with self._trying:
                if self._weakness is None:
                    self._weakness = self._find_weakness()
        return self._weakness

    def _find_weakness(self) -> str:
        with self._client.translating:
            endpoint = self._client.signing().meta.endpoint_url  # perhaps from the SDK's own configuration
        weakness = "" if is_strict(endpoint) else self._try_unsigned()
        if weakness and self._upload_urls is None:
            _log.warning(
                "upload URLs are the gateway's, because %s does not refuse headers that were not signed (%s): with a"
                " URL of its own, a client could read any object or publish the upload. For its own URLs all the same,"
                " set storage_options={'presign_upload': 'native'}",
                endpoint,
                weakness,
            )
        return weakness

    def _try_unsigned(self) -> str:
        """Send each of a few headers that were not signed with a presigned PUT, to keys that no artifact can have."""
        source, target = (f"{_CHECKS}/{os.urandom(16).hex()}" for _ in range(2))
        try:
            for operation in ("put_object", "get_object"):  # a refusal means nothing where a plain request is refused
                code = self._use_signed(operation, source)
                if code == DENIED:
                    return f"not known: access is denied to {self._full(_CHECKS)}/"
                if code:
                    raise ProviderError(f"{self._client.subject}: {REASONS.get(code, code)}")
            for name, value in unsigned_headers(f"/{self._bucket.name}/{quote(self._full(source))}"):
                code = self._use_signed("put_object", target, {name: value})
                if not refuses(code):
                    return f"{name}: {code}" if code else name
            return ""
        finally:
            with contextlib.suppress(ProviderError), hurried_by_interrupt():
                self.delete([source, target])

    def _use_signed(self, operation: str, key: str, headers: Mapping[str, str] = _NO_HEADERS) -> str:
        """Use a presigned URL as anybody may; return the code of a refusal, or an empty text where it works."""
        get = operation == "get_object"
        request_of = self._client.sdk.core.awsrequest.AWSRequest

        def use() -> str:
            url = self._signed(operation, key, _CHECK_SECONDS, {})
            request = request_of("GET" if get else "PUT", url, dict(headers), b"" if get else b"-")
            session = self._client.connected()._endpoint.http_session  # noqa: SLF001 - as in ``_connect``
            self._client.translating.note_sending()
            try:
                answer = session.send(request.prepare())
                body = answer.content
            except self._client.sdk.errors as error:
                raise self._client.translating.of(error) from None  # its text may hold the URL, with its signature
            return self._client.translating.of_signed(answer.status_code, answer.headers, body)

        return self._client.repeated(use)

    # Maintenance

    def now(self) -> float:
        """Return the present by the clock of the service: the ``Date`` of an answer, in whole seconds."""
        answer = self._first_page()
        try:
            return parsedate_to_datetime(answer["ResponseMetadata"]["HTTPHeaders"]["date"]).timestamp()
        except (LookupError, ValueError) as error:
            raise ProviderError(f"{self._client.subject}: the service does not say what time it is") from error

    @property
    def connected(self) -> bool:
        """Whether there is a client, which holds connections."""
        return self._client.is_open

    def check(self, *, thorough: bool = False) -> dict[str, str]:
        """Ask for the bucket; a thorough check writes to it too.

        It returns whether a conditional put is one, and what the service makes of headers that were not signed, unless
        it signs no URLs or is known to refuse them. A bucket at AWS that is in another region than configured is a fact
        too.
        """
        self._first_page()
        facts = {} if self._client.region is None else self._client.region.facts()
        return {**facts, "conditional_put": self._try_condition(), **self._check_uploads()} if thorough else facts

    def _check_uploads(self) -> dict[str, str]:
        if self.provider == IBM_COS_IAM or is_strict(self._client.connected().meta.endpoint_url):
            return {}
        if not self._client.signs:
            return {"presigned_urls": "none, because the configuration says that requests are not signed"}
        weakness = self._accepted()
        facts = {"unsigned_headers": f"not refused ({weakness})" if weakness else "refused"}
        if weakness and self._upload_urls == NATIVE:
            facts["warning"] = "an upload URL may read any object: leave out the storage option 'presign_upload'"
        return facts

    def _first_page(self) -> Answer:
        """Ask for a page of one object: unlike the answer to a HEAD, this one is the service's own for certain."""
        return self._client.call("list_objects_v2", Prefix=self._bucket.prefix, MaxKeys=1)

    def _try_condition(self) -> str:
        """Put one key twice, on the condition that it is free; return what the service makes of that."""
        key = f"{_CHECKS}/{os.urandom(16).hex()}"  # which no artifact can have
        order = {"Key": self._full(key), "Body": io.BytesIO(os.urandom(_CHECK_BYTES)), **self._extras}
        try:
            self._client.call("put_object", **order)
            found = self._condition_of_second(order)
        except BaseException:
            with contextlib.suppress(ProviderError), hurried_by_interrupt():
                self.delete([key])
            raise
        self.delete([key])
        return found

    def _condition_of_second(self, order: Parameters) -> str:
        try:
            self._client.call("put_object", **order, IfNoneMatch=_ONLY_IF_FREE)
        except ObjectExistsError:
            return "yes"
        except UnsupportedError:
            return "no"
        return "ignored"

    def create(self) -> str:
        """Create the bucket, unless it is there."""
        name = self._bucket.name
        try:
            self._client.call("head_bucket")
        except ObjectMissingError:
            try:
                return f"created the bucket {name!r} in the region {self._create()}"
            except ObjectExistsError:  # since then, or a retry met the first attempt
                pass
        return f"found the bucket {name!r}"

    def _create(self) -> str:
        """Create the bucket, and return its region.

        Services that are no AWS have regions of their own names, or none, so their endpoint chooses, unless it asks.
        """
        region = self._client.connected().meta.region_name
        if not self._client.on_aws:
            try:
                self._client.call("create_bucket")
            except ProviderError as error:
                if _WRONG_REGION not in str(error):
                    raise
            else:
                return "that its endpoint chose (no LocationConstraint sent)"
        where = {"CreateBucketConfiguration": {"LocationConstraint": region}} if region != DEFAULT_REGION else {}
        self._client.call("create_bucket", **where)
        return str(region)

    def close(self) -> None:
        """Give back the connections and threads."""
        self._threads.close()
        self._client.close()

    def before_fork(self) -> None:
        """Leave the threads running; only the parent keeps them."""

    def after_fork(self, *, child: bool) -> None:
        """Let a *child* start threads of its own."""
        if child:
            self._trying = threading.Lock()
            self._threads.forget()
            self._flow = Flow(self._threads)

    def _full(self, key: str) -> str:
        return self._bucket.prefix + key

    @property
    def _checked(self) -> dict[str, str]:
        """What is said with an upload by parts, and with each part: AWS compares checksums of the parts."""
        return {"ChecksumAlgorithm": "CRC32"} if self._client.on_aws else {}


def _taken(items: list[T]) -> Iterator[T]:
    """Take items out of a list as they are asked for, so that they do not stay in memory."""
    while items:
        yield items.pop(0)


def _measured(data: bytes | Stream) -> tuple[int, str]:
    """Return length and SHA-256 of data that has been read."""
    return (len(data), hashlib.sha256(data).hexdigest()) if isinstance(data, bytes) else (data.size, data.sha256)


def _range(begin: int, length: int) -> str:
    return f"bytes={begin}-{begin + length - 1}"


def _checksum(answer: Answer) -> dict[str, str]:
    return {"ChecksumCRC32": answer["ChecksumCRC32"]} if "ChecksumCRC32" in answer else {}


def _sha256_of(answer: Answer) -> str | None:
    """Return the SHA-256 in the answer to a copy; a checksum of parts (``…-n``) is not that of the bytes."""
    told = answer.get("ChecksumSHA256")
    return None if told is None or "-" in told else base64.b64decode(told).hex()
