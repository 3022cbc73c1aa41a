"""Storage in a bucket: S3, IBM COS with HMAC keys and IBM COS with IAM, by one class over a client of boto3's shape."""

from __future__ import annotations

import base64
import contextlib
import functools
import hashlib
import importlib
import io
import itertools
import os
import random
import re
import string
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from email.utils import parsedate_to_datetime
from typing import Any, BinaryIO, TypeVar
from urllib.parse import quote, unquote, urlsplit

import attrs
from urllib3.exceptions import HTTPError

from chuk_artifacts.disposition import content_disposition
from chuk_artifacts.errors import ArtifactStoreError, ProviderError
from chuk_artifacts.fork import Lockable
from chuk_artifacts.log import log as _log
from chuk_artifacts.settings import (
    GATEWAY,
    IBM_COS_IAM,
    NATIVE,
    OWN_OPTIONS,
    PUT_OPTIONS,
    S3,
    SESSION_OPTIONS,
    TIMEOUT_OPTIONS,
    Settings,
    ibm_api_key,
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
from chuk_artifacts.storage.bucket_answers import (
    PASSING_CODES,
    content_range,
    ignores_range,
    lacking,
    length_of_range,
    next_page,
)
from chuk_artifacts.storage.bucket_connections import harden
from chuk_artifacts.storage.bucket_uploads import (
    DENIED,
    carried,
    code_of,
    grantees,
    is_strict,
    refuses,
    unsigned_headers,
)
from chuk_artifacts.storage.multipart import IN_FLIGHT, PART, SIDE_BY_SIDE, Flow, Part, cut, part_length, part_lengths
from chuk_artifacts.storage.reader import FIRST_BLOCK, open_ranges
from chuk_artifacts.threads import Threads

T = TypeVar("T")

_MIB = 1024 * 1024
_COPIED_AT_ONCE = 256 * _MIB  # 3 MiB/s suffice before the read time-out of two minutes, which repeats all of it
_COPIED_PART = 64 * _MIB
_DELETED_AT_ONCE = 1000  # the most that DeleteObjects takes
_SMALL_BODY = _MIB  # below that, asking before sending costs more than sending in vain
_CONNECT_SECONDS, _READ_SECONDS = 6, 12  # with three retries a silent service, of two addresses, costs a minute at most
_LONGEST_PAUSE = 20.0  # seconds between two attempts
_METADATA_BYTES = 2048  # https://docs.aws.amazon.com/AmazonS3/latest/userguide/UsingMetadata.html
_RESERVED_BYTES = 128  # of these, for the two names below and what they say
_SIGNATURE = "write"  # by which a write is known again
_CUT = "cut"  # names the details that are not whole
_READABLE = string.punctuation.replace("%", "")
_PLAIN = re.compile(r"[!-$&-~]*").fullmatch  # what quoting with these leaves as it is
_BROKEN_ESCAPE = re.compile(r"%[0-9A-F]?$")
_DEFAULT_REGION = "us-east-1"
_AWS_HOSTS = (".amazonaws.com", ".amazonaws.com.cn")
_ONLY_IF_FREE = "*"  # of If-None-Match
_NO_HEADERS: Mapping[str, str] = {}
_OWN_METADATA = frozenset({_SIGNATURE})
_CHECKS, _CHECK_BYTES = "check", 4096
_CHECK_SECONDS = 60  # how long an upload URL works that only this class uses


class _UnsupportedError(ProviderError):
    """The service does not know what was asked of it."""


class _OutsideError(ProviderError):
    """The range that was asked for begins after the end."""


class _NoAclError(ProviderError):
    """The service does not show the ACL of an object, or not to these keys."""


class _UploadOverError(ProviderError):
    """The upload by parts has been completed or aborted."""


class _PassingError(ProviderError):
    """The request failed, and may succeed when it is repeated."""


class _BrokenAnswerError(_PassingError):
    """As above, in a way in which the SDK does not repeat it."""


# What an answer of the service means, by its code. One without XML has the status for a code: to a HEAD it is the
# service's own; to another request a proxy may have sent it, so that only those stand here that are proved otherwise.
_ANSWERS: dict[str, type[ProviderError]] = {
    "NoSuchKey": ObjectMissingError,
    "NotFound": ObjectMissingError,
    "PreconditionFailed": ObjectExistsError,
    "BucketAlreadyOwnedByYou": ObjectExistsError,
    "NoSuchUpload": _UploadOverError,
    "InvalidRange": _OutsideError,
    "416": _OutsideError,
    "NotImplemented": _UnsupportedError,
    "501": _UnsupportedError,
}
_OTHERWISE: dict[str, type[ProviderError]] = {"GetObjectAcl": _NoAclError}
# The answers that are signals to this class, by what asks for them; everywhere else they are failures.
_EXPECTED: dict[str, tuple[type[ProviderError], ...]] = {
    "GetObject": (ObjectMissingError,),
    "GetObjectAcl": (ObjectMissingError, _UnsupportedError, _NoAclError),
    "HeadObject": (ObjectMissingError,),
    "HeadBucket": (ObjectMissingError,),
    "CopyObject": (ObjectMissingError,),
    "CreateBucket": (ObjectExistsError,),
    "DeleteObject": (ObjectMissingError,),
    "DeleteObjects": (_UnsupportedError,),
    "UploadPart": (_UploadOverError,),
    "UploadPartCopy": (ObjectMissingError, _UploadOverError),
    "CompleteMultipartUpload": (_UploadOverError,),
    "AbortMultipartUpload": (_UploadOverError,),
}
_EXPECTED_WITH: dict[str, tuple[type[ProviderError], ...]] = {
    "IfNoneMatch": (ObjectExistsError, _UnsupportedError),
    "Range": (_OutsideError,),
    "TaggingDirective": (_UnsupportedError,),
}
_PASSING_STATUSES = frozenset({408, 429, 500, 502, 503, 504, 509})
_BUSY_KEY = "ConditionalRequestConflict"  # which neither SDK repeats
_AMBIGUOUS = frozenset({404, 412})  # a proxy that does not find the service sends them too
_REASONS = {
    "NoSuchBucket": "it does not exist; `chuk-artifacts init` creates it",
    "AccessDenied": "access is denied to these credentials",
    _BUSY_KEY: "others write to the same key all the time",
    "InvalidAccessKeyId": "the access key is not known",
    "SignatureDoesNotMatch": "the secret key does not fit the access key",
    "ExpiredToken": "the temporary credentials have expired",
}
_HEAD_REASONS = {"403": _REASONS["AccessDenied"]}
# What it means that there is no answer, by the name of the exception's class, which is the same in both SDKs.
_FAILURES = {
    "PartialCredentialsError": "the credentials are incomplete",
    "CredentialRetrievalError": "the credentials were refused or could not be fetched",
    "TokenRetrievalError": "the credentials were refused or could not be fetched",
    "UnauthorizedSSOTokenError": "the credentials have expired: log in again",
    "SSOTokenLoadError": "the credentials are missing or can't be read: log in again",
    "ProfileNotFound": "the profile of the credentials is not configured",
    "SSLError": "no trust in the service's certificate",
    "ConnectTimeoutError": "the service can't be reached",
    "EndpointConnectionError": "the service can't be reached",
    "ConnectionError": "the service, or that of its credentials, can't be reached",
    "ProxyConnectionError": "the proxy can't be reached",
    "ReadTimeoutError": "the service does not answer in time",
    "Timeout": "the service of the credentials does not answer in time",
    "ConnectionClosedError": "the connection breaks",
    "ResponseStreamingError": "the connection breaks",
    "IncompleteReadError": "the connection breaks",
    "FlexibleChecksumError": "the bytes that arrive do not match their checksum",
    "ResponseParserError": "the answer is not the service's own",
}
# What else comes out of the SDKs: what `requests` raises, by which IBM's fetches tokens, is an OSError; the others come
# from credentials and answers of the wrong form.
_OTHER_ERRORS = (HTTPError, OSError, RuntimeError, ValueError, LookupError, TypeError, AttributeError)
_UPLOAD_IS_GONE = "the upload was removed while it was under way"
_NO_KEYS = "no credentials: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or a profile or role that the SDK finds"
_NO_ENDPOINT = "no service: give endpoint_url or set IBM_COS_ENDPOINT"
_NO_API_KEY = "no credentials: set IBM_COS_APIKEY and IBM_COS_INSTANCE_CRN"


@attrs.frozen
class _Sdk:
    """One of the two SDKs.

    Attributes:
        boto: the module ``boto3`` or the like.
        core: the module ``botocore`` or the like.
        errors: what its calls raise when they fail.

    """

    boto: Any
    core: Any
    errors: tuple[type[Exception], ...]


def _sdk(provider: str) -> _Sdk:
    names = ("boto3", "botocore") if provider == S3 else ("ibm_boto3", "ibm_botocore")
    try:
        boto, core, _, _ = (
            importlib.import_module(name) for name in (*names, f"{names[1]}.config", f"{names[1]}.handlers")
        )
    except ModuleNotFoundError as error:
        raise ProviderError(
            f"storage {provider!r} needs the package ibm-cos-sdk: python -m pip install 'chuk-artifacts[ibm]'"
        ) from error
    errors = (core.exceptions.BotoCoreError, core.exceptions.ClientError, boto.exceptions.Boto3Error)
    return _Sdk(boto, core, (*errors, core.parsers.ResponseParserError, *_OTHER_ERRORS))


class _Translation:
    """A context manager that raises what the failure of a request means; one serves all threads.

    Args:
        sdk: what makes the requests.
        subject: what a message begins with.
        no_credentials: what to say when there are none.

    """

    def __init__(self, sdk: _Sdk, subject: str, no_credentials: str) -> None:
        self.subject = subject
        self._sdk = sdk
        self._no_credentials = no_credentials
        self._thread = threading.local()

    def __enter__(self) -> None:
        """See ``begin``."""
        self.begin()

    def begin(self) -> None:
        """Know that nothing was sent yet: what fails until then is about credentials and options."""
        self._thread.sent = False

    def note_sending(self, **_: Any) -> None:
        """Know that a request is signed and goes out: what fails from now on is about the service and its answer."""
        self._thread.sent = True

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        """Raise what an error of the SDK means, let everything else pass."""
        if isinstance(error, self._sdk.errors) and not isinstance(error, ArtifactStoreError):
            raise self.of(error) from self.cause(error)

    def of(self, error: Exception, order: Mapping[str, Any] | None = None, key: str = "") -> ProviderError:
        """Return what *error* means to a request with these arguments, which is about *key*.

        The message holds nothing of it that may be secret.
        """
        answer = getattr(error, "response", None)
        if isinstance(answer, dict):
            return self._of_answer(answer, getattr(error, "operation_name", ""), order or {}, key)
        told = f"{self.subject}: {self._failure(error)}"
        if not self._thread.sent:
            return ProviderError(told)
        way = (self._sdk.core.exceptions.ConnectionError, self._sdk.core.exceptions.HTTPClientError)
        return _PassingError(told) if isinstance(error, way) else _BrokenAnswerError(told)

    def _of_answer(self, answer: dict[str, Any], operation: str, order: Mapping[str, Any], key: str) -> ProviderError:
        code = str(answer.get("Error", {}).get("Code") or "")
        message = str(answer.get("Error", {}).get("Message") or "")
        status = answer.get("ResponseMetadata", {}).get("HTTPStatusCode")
        head = operation.startswith("Head")
        reason = _REASONS.get(code) or (_HEAD_REASONS.get(code) if head else None)
        told = f"{self.subject}: {reason or f'HTTP status {status}, {code} {message}'.rstrip()}"
        if not self._thread.sent:  # an answer of the service of the credentials
            return ProviderError(told)
        if status in _PASSING_STATUSES or code in PASSING_CODES:
            return _PassingError(told)
        if code == _BUSY_KEY:
            return _BrokenAnswerError(told)
        if status in _AMBIGUOUS and (code.isdigit() or not code) and not head:
            return _BrokenAnswerError(f"{told}: the answer is not the service's own")
        otherwise = _OTHERWISE.get(operation, ProviderError)
        meaning = ObjectMissingError if head and code == "404" else _ANSWERS.get(code, otherwise)
        if meaning not in itertools.chain(_EXPECTED.get(operation, ()), *map(_expected_with, order)):
            return ProviderError(told)
        return meaning(key if issubclass(meaning, (ObjectMissingError, ObjectExistsError)) else told)

    def of_signed(self, status: int, headers: Mapping[str, str], body: bytes) -> str:
        """Return the code in the answer to a presigned URL; empty: it did what was asked for."""
        code = code_of(status, headers, body)
        if status in _PASSING_STATUSES or code in PASSING_CODES:
            raise _PassingError(f"{self.subject}: HTTP status {status}, {code or ''}")
        if code is None:
            raise _BrokenAnswerError(f"{self.subject}: HTTP status {status}: the answer is not the service's own")
        return code

    def broken(self, error: Exception) -> ProviderError:
        """Return what *error* means when the bytes of an answer are read."""
        return _BrokenAnswerError(f"{self.subject}: {self._failure(error)}")

    def cause(self, error: Exception) -> Exception | None:
        """Return the error if its text is known to hold no secret, such as what a credential process prints."""
        known = isinstance(getattr(error, "response", None), dict) or _known_failure(error) is not None
        return error if self._thread.sent and known else None

    def _failure(self, error: Exception) -> str:
        names = [kind.__name__ for kind in type(error).__mro__]
        if "NoCredentialsError" in names:
            return self._no_credentials
        refused = [name for name in sorted(PUT_OPTIONS) if f" {name}" in str(error)]
        if "ParamValidationError" in names and refused:  # its text holds values, of credentials too
            return f"the storage option {refused[0]!r} is refused"
        unknown = "the request fails" if self._thread.sent else "the credentials or the storage options can't be used"
        return _known_failure(error) or f"{unknown} ({names[0]})"


def _expected_with(argument: str) -> tuple[type[ProviderError], ...]:
    return _EXPECTED_WITH.get(argument, ())


def _known_failure(error: Exception) -> str | None:
    return next((_FAILURES[kind.__name__] for kind in type(error).__mro__ if kind.__name__ in _FAILURES), None)


@attrs.frozen
class _CopyOrder:
    source: str
    target: str
    size: int
    description: Description | None
    hashed: bool


class BucketStorage(Lockable):
    """Bytes as objects of a bucket.

    Args:
        settings: the place, the options, and how many retries and connections.

    """

    blocks = True
    remote = True
    conditional_put = True
    persistent = True

    def __init__(self, settings: Settings) -> None:
        """Connect to nothing yet."""
        super().__init__()
        if settings.bucket is None:
            raise TypeError("these settings are of no bucket")
        self.provider = settings.storage_provider
        self.parallel = settings.max_connections
        self._settings = settings
        self._place = settings.bucket
        self._sdk = _sdk(self.provider)
        subject = f"storage {self.provider!r}, bucket {self._place.name!r}"
        no_credentials = _NO_API_KEY if self.provider == IBM_COS_IAM else _NO_KEYS
        self._translating = _Translation(self._sdk, subject, no_credentials)
        self._on_aws = self._place.endpoint_url is None or _is_aws(self._place.endpoint_url)
        self._attempts = settings.max_retries + 1
        self._sdk_retries = getattr(settings.storage_options.get("config"), "retries", None) is not None
        self._extras = {name: value for name, value in settings.storage_options.items() if name in PUT_OPTIONS}
        self._conditions = True  # until the service says that it has none
        self._many_deletes = True  # likewise
        self._tags = True  # likewise
        self._acls = True  # likewise
        self._upload_urls = GATEWAY if self.provider == IBM_COS_IAM else settings.presign_upload
        self._weakness: str | None = None  # see ``_accepted``
        self._trying = threading.Lock()
        self._client: Any = None
        self._part_length = settings.part_size or PART
        self._threads = Threads(SIDE_BY_SIDE, "chuk-artifacts-parts")
        self._flow = Flow(self._threads)

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
            self._put_object(key, first[0].body, _of(about, sha256), exclusive=exclusive)
            return size, sha256
        sha256 = _measured(data)[1] if isinstance(data, bytes) else ""  # of a stream it comes too late
        self._put_parts(key, itertools.chain(_taken(first), parts), _of(about, sha256))
        return _measured(data)

    def _put_object(self, key: str, body: io.BytesIO, description: Description | None, *, exclusive: bool) -> None:
        """Write by one request; an exclusive one only where the key is free, if the service can do that."""
        signature = os.urandom(8).hex() if exclusive else ""
        order = {"Key": self._full(key), "Body": body, **self._extras, **_described(description, signature)}
        if exclusive and self._conditions:
            try:
                self._call("put_object", **order, IfNoneMatch=_ONLY_IF_FREE)
            except ObjectExistsError:
                if not self._is_signed(key, signature):  # or a retry met the first attempt, whose answer was lost
                    raise
                return
            except _UnsupportedError:
                self._call("put_object", **order)
                self._conditions = False
                return
            return
        self._call("put_object", **order)

    def _is_signed(self, key: str, signature: str) -> bool:
        """Say whether an object was written with this signature; proxies and services change the case of names."""
        stored = self._head(key)
        metadata = {} if stored is None else {name.lower(): value for name, value in stored.get("Metadata", {}).items()}
        return bool(metadata.get(_SIGNATURE) == signature)

    def _put_parts(self, key: str, parts: Iterable[Part], description: Description | None) -> None:
        def send(order: dict[str, Any], part: Part) -> Mapping[str, Any]:
            answer: Mapping[str, Any] = self._call("upload_part", Body=part.body, **order, **self._checked)
            return answer

        self._in_parts(key, parts, send, lambda part: part.length, description)

    def _in_parts(
        self,
        key: str,
        parts: Iterable[T],
        send: Callable[[dict[str, Any], T], Mapping[str, Any]],
        weigh: Callable[[T], int],
        description: Description | None,
    ) -> None:
        """Write an object by parts side by side; when something fails, leave none of them."""
        signature = os.urandom(8).hex()
        description_of_all = {**self._extras, **self._checked, **_described(description, signature)}
        upload = {"Key": self._full(key)}

        def send_one(number: int, part: T) -> dict[str, Any]:
            answer = send({**upload, "PartNumber": number}, part)
            return {"PartNumber": number, "ETag": answer["ETag"], **_checksum(answer)}

        try:
            upload["UploadId"] = self._call("create_multipart_upload", **upload, **description_of_all)["UploadId"]
            self._complete(key, upload, self._flow.send_all(parts, send_one, weigh), signature)
        except BaseException as error:
            if upload.get("UploadId"):
                self._abort(upload)
            if isinstance(error, _UploadOverError):
                raise ProviderError(f"{self._translating.subject}: {_UPLOAD_IS_GONE}") from error
            raise

    def _complete(self, key: str, upload: dict[str, str], parts: list[dict[str, Any]], signature: str) -> None:
        """Make an object of the parts; where the answer is none, the object itself shows whether it is ours."""
        try:
            if "ETag" in self._call("complete_multipart_upload", **upload, MultipartUpload={"Parts": parts}):
                return  # though it is empty in the answer of Ceph 16
            problem = "the service does not say that the upload is complete"
        except _UploadOverError:  # perhaps by a first attempt, the answer to which was lost
            problem = _UPLOAD_IS_GONE
        if not self._is_signed(key, signature):
            raise ProviderError(f"{self._translating.subject}: {problem}")

    def _abort(self, upload: dict[str, str]) -> None:
        """Remove the parts of an upload; what fails here is left to ``sweep``."""
        with contextlib.suppress(ProviderError):
            self._call("abort_multipart_upload", **upload)

    def copy(
        self,
        source: str,
        target: str,
        size: int,
        *,
        hashed: bool = False,
        about: About | None = None,
    ) -> str | None:
        """Copy inside the service; by parts when there are more than 256 MiB, the SHA-256 of which is not known.

        Only a copy by parts finds out that *size* is wrong: what CopyObject answers says nothing of it.
        """
        order = _CopyOrder(source, target, size, _of(about, ""), hashed=hashed)
        try:
            if size <= _COPIED_AT_ONCE:
                return self._copy_object(order)
            self._copy_parts(order)
        except ObjectMissingError:
            raise ObjectMissingError(source) from None
        return None

    def _copy_object(self, copy: _CopyOrder) -> str | None:
        order = {"Key": self._full(copy.target), "CopySource": self._source(copy), **self._extras}
        order |= _described(copy.description)
        if copy.description is not None:
            order["MetadataDirective"] = "REPLACE"
        if copy.hashed:
            order["ChecksumAlgorithm"] = "SHA256"
        result = self._call_without_tags(order)["CopyObjectResult"]
        return _sha256_of(result) if copy.hashed else None

    def _call_without_tags(self, order: dict[str, Any]) -> Any:
        """Copy an object without its tags, or with ours in their place. Its ACL stays behind anyway.

        Where a service has no tags (Cloudflare R2 answers 501 to the directive), there are none to copy.
        """
        if self._tags or "Tagging" in order:
            try:
                return self._call("copy_object", **order, TaggingDirective="REPLACE")
            except _UnsupportedError as error:
                if "Tagging" in order:
                    raise ProviderError(*error.args) from error.__cause__
        answer = self._call("copy_object", **order)
        self._tags = False
        return answer

    def _copy_parts(self, copy: _CopyOrder) -> None:
        stored = self.stat(copy.source)
        if stored is None:
            raise ObjectMissingError(copy.source)
        if stored.bytes != copy.size:
            raise ObjectChangedError(copy.source, stored.bytes, copy.size)
        length = part_length(copy.size, _COPIED_PART)

        def send(order: dict[str, Any], begin: int) -> Mapping[str, Any]:
            part = _range(begin, min(length, copy.size - begin))
            answer = self._call("upload_part_copy", CopySource=self._source(copy), CopySourceRange=part, **order)
            result: Mapping[str, Any] = answer["CopyPartResult"]
            return result

        # They hold no memory here; this many bytes let as many parts go at once as there are threads.
        share = IN_FLIGHT // SIDE_BY_SIDE
        self._in_parts(copy.target, range(0, copy.size, length), send, lambda _: share, copy.description)

    def _source(self, copy: _CopyOrder) -> dict[str, str]:
        return {"Bucket": self._place.name, "Key": self._full(copy.source)}

    # Read

    def get(self, key: str) -> bytes:
        """Return all bytes, by one request."""
        return self._fetch(key)[0]

    def open(self, key: str, size: int, *, start: int = 0) -> BinaryIO:
        """Return a reader that has fetched a little from *start* already, unless *size* says that there is nothing."""
        first, true_size = b"", None
        if start < size:
            with contextlib.suppress(_OutsideError):
                first, true_size = self._fetch(key, start, min(FIRST_BLOCK, size - start))
        if true_size is None:
            stored = self.stat(key)
            if stored is None:
                raise ObjectMissingError(key)
            true_size = stored.bytes
        return open_ranges(self._fetcher(key), true_size, start, first)

    def _fetcher(self, key: str) -> Callable[[int, int], Future[bytes]]:
        def fetch(begin: int, length: int) -> bytes:
            try:
                return self._fetch(key, begin, length)[0]
            except (ObjectMissingError, _OutsideError) as error:
                raise ProviderError(
                    f"{self._translating.subject}: the bytes are gone while they are being read"
                ) from error

        return lambda begin, length: self._threads.submit(fetch, begin, length)

    def _fetch(self, key: str, begin: int | None = None, length: int = 0) -> tuple[bytes, int | None]:
        """Return bytes, and the length of the object where the service tells it."""
        part = {} if begin is None else {"Range": _range(begin, length)}
        answer = self._call("get_object", Key=self._full(key), **part)
        data: bytes = answer["Body"]
        return data, len(data) if begin is None else content_range(answer)[2]

    def stat(self, key: str) -> StoredObject | None:
        """Return what a listing would tell of one key, or None."""
        found = self._head(key)
        if found is None:
            return None
        return StoredObject(
            key=key,
            bytes=found["ContentLength"],
            modified=found["LastModified"].timestamp(),
            carries=carried(found, self._extras, _OWN_METADATA),
        )

    def grantees(self, key: str) -> tuple[str, ...]:
        """Return whom the ACL of an object lets in beside its owner, by one request.

        None is made where no presigned URL writes, where an ACL of the user's own is in the storage options, and where
        the service has said that it has no ACLs. Keys that may not read it (``s3:GetObjectAcl``) learn nothing: a copy
        never has the ACL of its source.
        """
        if not self._acls or "ACL" in self._extras or self._uses_gateway(self._weakness):
            return ()
        try:
            return grantees(self._call("get_object_acl", Key=self._full(key)))
        except _UnsupportedError:
            self._acls = False
        except (ObjectMissingError, _NoAclError):
            pass
        return ()

    def _head(self, key: str) -> Mapping[str, Any] | None:
        """Return what the service says of an object, or None if there is none.

        A 404 to HEAD has no body that says more: the bucket may be missing, or a proxy does not find the service.
        What is asked for a byte then says which.
        """
        for _ in range(2):  # it may have come in between
            with contextlib.suppress(ObjectMissingError):
                found: Mapping[str, Any] = self._call("head_object", Key=self._full(key))
                return found
            try:
                self._fetch(key, 0, 1)
            except ObjectMissingError:
                return None
            except _OutsideError:  # it is there, and empty
                continue
        raise ProviderError(f"{self._translating.subject}: the answer to HEAD is 404, and that to GET is not: {key!r}")

    def list_objects(self, prefix: str) -> Iterator[StoredObject]:
        """Iterate over all objects under *prefix*, page by page."""
        for page in self._pages("list_objects_v2", Prefix=self._full(prefix)):
            for item in page.get("Contents", ()):
                key = item["Key"].removeprefix(self._place.prefix)
                yield StoredObject(key=key, bytes=item["Size"], modified=item["LastModified"].timestamp())

    # Remove

    def delete(self, keys: Sequence[str]) -> None:
        """Remove objects: up to 1,000 by one request, where the service can."""
        if len(keys) == 1:
            with contextlib.suppress(ObjectMissingError):  # that is the answer of some
                self._call("delete_object", Key=self._full(keys[0]))
            return
        for begin in range(0, len(keys), _DELETED_AT_ONCE):
            some = keys[begin : begin + _DELETED_AT_ONCE]
            try:
                if self._many_deletes:
                    self._delete_many(some)
                    continue
            except _UnsupportedError:
                pass
            self._threads.each(lambda key: self.delete([key]), some)
            self._many_deletes = False

    def _delete_many(self, keys: Sequence[str]) -> None:
        order = {"Objects": [{"Key": self._full(key)} for key in keys], "Quiet": True}
        refused = self._call("delete_objects", Delete=order).get("Errors", ())
        codes = {error.get("Code", "an error without a code") for error in refused} - {"NoSuchKey"}
        if codes:
            raise ProviderError(f"{self._translating.subject}: {_REASONS.get(min(codes), min(codes))}")

    def sweep(self, prefix: str, before: float, *, dry_run: bool = False) -> Iterator[StoredObject]:
        """Remove the parts of uploads that began before a moment and were not completed, and yield each upload."""
        for page in self._pages("list_multipart_uploads", Prefix=self._full(prefix)):
            for item in page.get("Uploads", ()):
                began = item["Initiated"].timestamp()
                if began >= before:
                    continue
                if not dry_run:
                    with contextlib.suppress(_UploadOverError):  # in the meantime
                        self._call("abort_multipart_upload", Key=item["Key"], UploadId=item["UploadId"])
                yield StoredObject(key=item["Key"].removeprefix(self._place.prefix), bytes=0, modified=began)

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
        """
        if self._uses_gateway(None if self._upload_urls else self._accepted()):
            return None
        return self._signed("put_object", key, expires, {} if mime is None else {"ContentType": mime})

    def _uses_gateway(self, weakness: str | None) -> bool:
        return self._upload_urls == GATEWAY or (self._upload_urls is None and bool(weakness))

    def _signed(self, operation: str, key: str, expires: int, how: dict[str, Any]) -> str:
        order = {"Bucket": self._place.name, "Key": self._full(key), **how}
        with self._translating:
            url: str = self._connected().generate_presigned_url(operation, Params=order, ExpiresIn=expires)
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
        with self._translating:
            endpoint = self._connected().meta.endpoint_url  # perhaps from the SDK's own configuration
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
                    raise ProviderError(f"{self._translating.subject}: {_REASONS.get(code, code)}")
            for name, value in unsigned_headers(f"/{self._place.name}/{quote(self._full(source))}"):
                code = self._use_signed("put_object", target, {name: value})
                if not refuses(code):
                    return f"{name}: {code}" if code else name
            return ""
        finally:
            with contextlib.suppress(ProviderError):
                self.delete([source, target])

    def _use_signed(self, operation: str, key: str, headers: Mapping[str, str] = _NO_HEADERS) -> str:
        """Use a presigned URL as anybody may; return the code of a refusal, or an empty text where it works."""
        get = operation == "get_object"
        request_of = self._sdk.core.awsrequest.AWSRequest

        def use() -> str:
            url = self._signed(operation, key, _CHECK_SECONDS, {})
            request = request_of("GET" if get else "PUT", url, dict(headers), b"" if get else b"-")
            session = self._connected()._endpoint.http_session  # noqa: SLF001 - as in ``_connect``
            self._translating.note_sending()
            try:
                answer = session.send(request.prepare())
                body = answer.content
            except self._sdk.errors as error:
                raise self._translating.of(error) from None  # its text may hold the URL, with its signature
            return self._translating.of_signed(answer.status_code, answer.headers, body)

        return self._repeated(use)

    # House

    def now(self) -> float:
        """Return the present by the clock of the service: the ``Date`` of an answer, in whole seconds."""
        answer = self._first_page()
        try:
            return parsedate_to_datetime(answer["ResponseMetadata"]["HTTPHeaders"]["date"]).timestamp()
        except (LookupError, ValueError) as error:
            raise ProviderError(f"{self._translating.subject}: the service does not say what time it is") from error

    @property
    def connected(self) -> bool:
        """Whether there is a client, which holds connections."""
        return self._client is not None

    def check(self, *, thorough: bool = False) -> dict[str, str]:
        """Ask for the bucket; a thorough check writes to it too.

        It returns whether a conditional put is one, and what the service makes of headers that were not signed, unless
        it signs no URLs or is known to refuse them.
        """
        self._first_page()
        return {"conditional_put": self._try_condition(), **self._check_uploads()} if thorough else {}

    def _check_uploads(self) -> dict[str, str]:
        if self.provider == IBM_COS_IAM or is_strict(self._connected().meta.endpoint_url):
            return {}
        weakness = self._accepted()
        facts = {"unsigned_headers": f"not refused ({weakness})" if weakness else "refused"}
        if weakness and self._upload_urls == NATIVE:
            facts["warning"] = "an upload URL may read any object: leave out the storage option 'presign_upload'"
        return facts

    def _first_page(self) -> Any:
        """Ask for a page of one object: unlike the answer to a HEAD, this one is the service's own for certain."""
        return self._call("list_objects_v2", Prefix=self._place.prefix, MaxKeys=1)

    def _try_condition(self) -> str:
        """Put one key twice, on the condition that it is free; return what the service makes of that."""
        key = f"{_CHECKS}/{os.urandom(16).hex()}"  # which no artifact can have
        order = {"Key": self._full(key), "Body": io.BytesIO(os.urandom(_CHECK_BYTES)), **self._extras}
        try:
            self._call("put_object", **order)
            found = self._condition_of_second(order)
        except BaseException:
            with contextlib.suppress(ProviderError):
                self.delete([key])
            raise
        self.delete([key])
        return found

    def _condition_of_second(self, order: Mapping[str, Any]) -> str:
        try:
            self._call("put_object", **order, IfNoneMatch=_ONLY_IF_FREE)
        except ObjectExistsError:
            return "yes"
        except _UnsupportedError:
            return "no"
        return "ignored"

    def create(self) -> None:
        """Create the bucket, unless it is there."""
        try:
            self._call("head_bucket")
        except ObjectMissingError:
            region = self._connected().meta.region_name
            elsewhere = self._on_aws and region != _DEFAULT_REGION
            where = {"CreateBucketConfiguration": {"LocationConstraint": region}} if elsewhere else {}
            with contextlib.suppress(ObjectExistsError):  # since then, or a retry met the first attempt
                self._call("create_bucket", **where)

    def close(self) -> None:
        """Give back the connections and threads."""
        self._threads.close()
        client, self._client = self._client, None
        if client is not None:
            client.close()

    def after_fork(self, *, child: bool) -> None:
        """Give the lock back; a *child* makes connections and threads of its own."""
        if child:
            self._client = None
            self._trying = threading.Lock()
            self._threads.forget()
            self._flow = Flow(self._threads)
        super().after_fork(child=child)

    # The client

    def _connected(self) -> Any:
        """Return the client, which is made once: making one takes longer than using it, and is not thread-safe."""
        client = self._client
        if client is None:
            with self._lock:
                client = self._client = self._client or self._connect()
        return client

    def _connect(self) -> Any:
        not_its = PUT_OPTIONS | OWN_OPTIONS
        options = {name: value for name, value in self._settings.storage_options.items() if name not in not_its}
        own_config = options.pop("config", None)
        if self.provider != S3 and self._place.endpoint_url is None:
            raise ProviderError(f"{self._translating.subject}: {_NO_ENDPOINT}")
        keys = {name: options.pop(name) for name in SESSION_OPTIONS if name in options}
        timeouts = {name: options.pop(name) for name in TIMEOUT_OPTIONS if name in options}
        if self.provider == IBM_COS_IAM:
            options["ibm_api_key_id"] = options.get("ibm_api_key_id") or ibm_api_key()
            options["ibm_service_instance_id"] = self._place.instance_crn
            if not options["ibm_api_key_id"]:
                raise ProviderError(f"{self._translating.subject}: {_NO_API_KEY}")
        session = self._sdk.boto.Session(region_name=self._place.region, **keys)
        config = self._config(timeouts)
        client = session.client(
            "s3",
            region_name=session.region_name or _DEFAULT_REGION,
            endpoint_url=self._place.endpoint_url,
            config=config if own_config is None else config.merge(own_config),
            **options,
        )
        harden(client._endpoint.http_session)  # noqa: SLF001 - botocore has no public way to it
        self._listen(client.meta.events)
        return client

    def _config(self, timeouts: Mapping[str, float]) -> Any:
        checksums = {
            "request_checksum_calculation": "when_required",
            "response_checksum_validation": "when_required",
        }
        return self._sdk.core.config.Config(
            signature_version="oauth" if self.provider == IBM_COS_IAM else "s3v4",
            s3={"addressing_style": "virtual" if self._on_aws and "." not in self._place.name else "path"},
            max_pool_connections=self._settings.max_connections,
            retries={"mode": "standard", "total_max_attempts": 1},  # what is repeated is repeated by ``_call``
            tcp_keepalive=True,
            **{"connect_timeout": _CONNECT_SECONDS, "read_timeout": _READ_SECONDS, **timeouts},
            **({} if self._on_aws else checksums),
        )

    def _listen(self, events: Any) -> None:
        """Change what the SDK sends, where it does not do by itself what the service wants."""
        ask = self._sdk.core.handlers.add_expect_header
        events.unregister("before-call.s3", ask)
        events.register("before-call.s3", functools.partial(_ask_before_sending_much, ask))
        events.register("before-send.s3", self._translating.note_sending)
        if not self._on_aws:
            events.register("before-call.s3.DeleteObjects", _use_md5)
        if self.provider != S3:
            events.register("before-parameter-build.s3.PutObject", _take_condition)
            events.register("before-call.s3.PutObject", _send_condition)

    def _call(self, operation: str, **order: Any) -> Any:
        """Make a request, again after a pause where that may help, and raise what its failure means.

        The bytes of an object are read here too, so that an answer that breaks off is one that failed.
        """
        return self._repeated(functools.partial(self._ask, operation, order))

    def _repeated(self, ask: Callable[[], T]) -> T:
        for attempt in itertools.count(1):
            try:
                return ask()
            except _PassingError as error:
                settled = self._sdk_retries and not isinstance(error, _BrokenAnswerError)
                if settled or attempt >= self._attempts:
                    raise ProviderError(*error.args) from error.__cause__
            time.sleep(random.uniform(0, min(2.0 ** (attempt - 1), _LONGEST_PAUSE)))  # noqa: S311 - no secret
        raise AssertionError("counting ends")

    def _ask(self, operation: str, order: dict[str, Any]) -> Any:
        """Make a request once."""
        if "Body" in order:
            order["Body"].seek(0)
        self._translating.begin()
        try:
            answer = getattr(self._connected(), operation)(Bucket=self._place.name, **order)
        except self._sdk.errors as error:
            key = order.get("Key", "").removeprefix(self._place.prefix)
            raise self._translating.of(error, order, key) from self._translating.cause(error)
        lack = lacking(operation, answer, order)
        if operation == "get_object":
            with contextlib.closing(answer["Body"]) as body:
                answer["Body"] = b"" if lack else self._read(body, answer, order)
        if lack:
            raise _BrokenAnswerError(f"{self._translating.subject}: {lack}")
        return answer

    def _read(self, body: Any, answer: Mapping[str, Any], order: Mapping[str, Any]) -> bytes:
        """Return the bytes of an answer; ask its headers first whether they are the right ones."""
        if ignores_range(answer, order):
            raise ProviderError(f"{self._translating.subject}: the service ignored the Range header")
        try:
            data: bytes = body.read()
        except self._sdk.errors as error:
            raise self._translating.broken(error) from error
        if "ContentRange" in answer and len(data) != length_of_range(answer):
            raise _BrokenAnswerError(f"{self._translating.subject}: an answer of another length than it says")
        return data

    def _pages(self, operation: str, **order: Any) -> Iterator[dict[str, Any]]:
        following: dict[str, str] = {}
        while True:
            page = self._call(operation, **order, **following)
            yield page
            if not page.get("IsTruncated"):
                return
            last, following = following, next_page(page)
            if following == last:
                raise ProviderError(f"{self._translating.subject}: the service lists the same page again and again")

    def _full(self, key: str) -> str:
        return self._place.prefix + key

    @property
    def _checked(self) -> dict[str, str]:
        """What is said with an upload by parts, and with each part: AWS compares checksums of the parts."""
        return {"ChecksumAlgorithm": "CRC32"} if self._on_aws else {}


def _is_aws(endpoint_url: str) -> bool:
    return (urlsplit(endpoint_url).hostname or "").endswith(_AWS_HOSTS)


def _taken(items: list[T]) -> Iterator[T]:
    """Take items out of a list as they are asked for, so that they do not stay in memory."""
    while items:
        yield items.pop(0)


def _measured(data: bytes | Stream) -> tuple[int, str]:
    """Return length and SHA-256 of data that has been read."""
    return (len(data), hashlib.sha256(data).hexdigest()) if isinstance(data, bytes) else (data.size, data.sha256)


def _range(begin: int, length: int) -> str:
    return f"bytes={begin}-{begin + length - 1}"


def _checksum(answer: Mapping[str, Any]) -> dict[str, str]:
    return {"ChecksumCRC32": answer["ChecksumCRC32"]} if "ChecksumCRC32" in answer else {}


def _sha256_of(answer: Mapping[str, Any]) -> str | None:
    """Return the SHA-256 that a copy tells; one over parts (``…-n``) is not that of the bytes."""
    told = answer.get("ChecksumSHA256")
    return None if told is None or "-" in told else base64.b64decode(told).hex()


def _of(about: About | None, sha256: str) -> Description | None:
    return None if about is None else about(sha256)


def _described(description: Description | None, signature: str = "") -> dict[str, Any]:
    """Return the arguments of a write by which the object describes itself."""
    signed = {_SIGNATURE: signature} if signature else {}
    if description is None:
        return {"Metadata": signed} if signed else {}
    return {"ContentType": description.mime, "Metadata": {**_metadata(description.details), **signed}}


def _metadata(details: Mapping[str, str]) -> dict[str, str]:
    """Return details as user metadata: percent-encoded UTF-8, which ends where there is no more room."""
    room = _METADATA_BYTES - _RESERVED_BYTES
    metadata, cut = {}, []
    for name, value in details.items():
        text = value if _PLAIN(value) else quote(value, safe=_READABLE)
        room -= len(name)
        if len(text) > room:
            cut.append(name)
            text = quote(unquote(_BROKEN_ESCAPE.sub("", text[: max(room, 0)]), errors="ignore"), safe=_READABLE)
        if text:
            metadata[name] = text
            room -= len(text)
    return {**metadata, _CUT: ",".join(cut)} if cut else metadata


def _ask_before_sending_much(ask: Callable[..., None], model: Any, params: dict[str, Any], **more: Any) -> None:
    """Let the SDK ask with ``Expect: 100-continue`` only for a body that is worth one more turn on the wire."""
    body = params.get("body")
    if not isinstance(body, io.BytesIO) or body.getbuffer().nbytes >= _SMALL_BODY:
        ask(model=model, params=params, **more)


def _use_md5(params: dict[str, Any], **_: Any) -> None:
    """Send Content-MD5, which services other than AWS want with DeleteObjects, and not the checksum that AWS wants."""
    digest = hashlib.md5(params["body"], usedforsecurity=False).digest()
    params["headers"]["Content-MD5"] = base64.b64encode(digest).decode()
    params["context"].get("checksum", {}).pop("request_algorithm", None)


def _take_condition(params: dict[str, Any], context: dict[str, Any], **_: Any) -> None:
    """Take a condition out of the arguments of a put: the IBM SDK does not know it, though the service does."""
    context[_SIGNATURE] = params.pop("IfNoneMatch", None)


def _send_condition(params: dict[str, Any], context: dict[str, Any], **_: Any) -> None:
    """Put the condition where the service looks for it."""
    if context.get(_SIGNATURE) is not None:
        params["headers"]["If-None-Match"] = context[_SIGNATURE]
