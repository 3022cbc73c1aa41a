"""What failed requests mean: from answers of the service and errors of the SDKs to the errors of this package."""

from __future__ import annotations

import importlib
import itertools
import threading
from collections.abc import Mapping
from typing import Any

import attrs
from urllib3.exceptions import HTTPError

from chuk_artifacts.errors import ArtifactStoreError, ProviderError, how_to_install
from chuk_artifacts.settings import PUT_OPTIONS, S3
from chuk_artifacts.storage import ObjectExistsError, ObjectMissingError
from chuk_artifacts.storage.bucket.answers import BUSY_CODES, PASSING_CODES, Answer, Parameters
from chuk_artifacts.storage.bucket.uploads import code_of


class UnsupportedError(ProviderError):
    """The service does not know what was asked of it."""


class OutsideError(ProviderError):
    """The range that was asked for begins after the end."""


class NoAclError(ProviderError):
    """The service does not show the ACL of an object, or not to these keys."""


class ReplacedError(ProviderError):
    """The object is another one than that of the ETag in the request."""


class StaleKeysError(ProviderError):
    """The keys of the request are not known, or have expired; others may be configured in the meantime."""


class UploadOverError(ProviderError):
    """The upload by parts has been completed or aborted."""


class PassingError(ProviderError):
    """The request failed, and may succeed when it is repeated."""


class BrokenAnswerError(PassingError):
    """The same, for failures that the SDK does not retry itself."""


# What an answer of the service means, by its code. One without XML has the status for a code: to a HEAD it is the
# service's own; to another request a proxy may have sent it, so that only those stand here that are proved otherwise.
_ANSWERS: dict[str, type[ProviderError]] = {
    "NoSuchKey": ObjectMissingError,
    "NotFound": ObjectMissingError,
    "PreconditionFailed": ObjectExistsError,
    "BucketAlreadyOwnedByYou": ObjectExistsError,
    "NoSuchUpload": UploadOverError,
    "InvalidRange": OutsideError,
    "416": OutsideError,
    "NotImplemented": UnsupportedError,
    "501": UnsupportedError,
}
_ANSWERS_TO: dict[tuple[str, str], type[ProviderError]] = {
    ("DeleteObjects", "405"): UnsupportedError,
    ("DeleteObjects", "MethodNotAllowed"): UnsupportedError,
    ("GetObject", "PreconditionFailed"): ReplacedError,
    ("ListMultipartUploads", "405"): UnsupportedError,
    ("ListMultipartUploads", "MethodNotAllowed"): UnsupportedError,
}
_OTHERWISE: dict[str, type[ProviderError]] = {"GetObjectAcl": NoAclError}
# The answers that are signals to this class, by what asks for them; everywhere else they are failures.
_EXPECTED: dict[str, tuple[type[ProviderError], ...]] = {
    "GetObject": (ObjectMissingError,),
    "GetObjectAcl": (ObjectMissingError, UnsupportedError, NoAclError),
    "HeadObject": (ObjectMissingError,),
    "HeadBucket": (ObjectMissingError,),
    "CopyObject": (ObjectMissingError,),
    "CreateBucket": (ObjectExistsError,),
    "DeleteObject": (ObjectMissingError,),
    "DeleteObjects": (UnsupportedError,),
    "ListMultipartUploads": (UnsupportedError,),
    "UploadPart": (UploadOverError,),
    "UploadPartCopy": (ObjectMissingError, UploadOverError),
    "CompleteMultipartUpload": (UploadOverError,),
    "AbortMultipartUpload": (UploadOverError,),
}
_EXPECTED_WITH: dict[str, tuple[type[ProviderError], ...]] = {
    "IfMatch": (ReplacedError, UnsupportedError),
    "IfNoneMatch": (ObjectExistsError, UnsupportedError),
    "Range": (OutsideError,),
    "TaggingDirective": (UnsupportedError,),
}
_PASSING_STATUSES = frozenset({408, 429, 500, 502, 503, 504, 509})
_STALE_CODES = frozenset({"ExpiredToken", "InvalidAccessKeyId", "InvalidToken", "TokenRefreshRequired"})
_STALE_TO_HEAD = frozenset({"400", "403"})  # the answer to HEAD has no other code
_AMBIGUOUS = frozenset({404, 412})  # a proxy that does not find the service sends them too
REASONS = {
    "NoSuchBucket": "it does not exist; `chuk-artifacts init` creates it",
    "AccessDenied": "access is denied to these credentials",
    "ConditionalRequestConflict": "others write to the same key all the time",
    "OperationAborted": "others change the same key or bucket all the time",
    "InvalidAccessKeyId": "the access key is not known",
    "SignatureDoesNotMatch": "the secret key does not fit the access key",
    "ExpiredToken": "the temporary credentials have expired",
}
_HEAD_REASONS = {"403": REASONS["AccessDenied"]}
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
# What else the SDKs raise: `requests`, with which IBM's SDK fetches tokens, raises OSError; the others come
# from credentials and answers of the wrong form.
_OTHER_ERRORS = (HTTPError, OSError, RuntimeError, ValueError, LookupError, TypeError, AttributeError)
UNSIGNED = "presigned URLs need credentials, and the configuration says that requests are not signed"
UPLOAD_IS_GONE = "the upload was removed while it was under way"
NO_KEYS = "no credentials: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or a profile or role that the SDK finds"
NO_ENDPOINT = "no service: give endpoint_url or set IBM_COS_ENDPOINT"
NO_API_KEY = "no credentials: set IBM_COS_APIKEY and IBM_COS_INSTANCE_CRN"


@attrs.frozen
class Sdk:
    """One of the two SDKs.

    Attributes:
        boto: the module ``boto3`` or the like.
        core: the module ``botocore`` or the like.
        errors: what its calls raise when they fail.

    """

    boto: Any
    core: Any
    errors: tuple[type[Exception], ...]


def load_sdk(provider: str) -> Sdk:
    """Import the SDK of a provider; raise :class:`ProviderError` where it is not installed."""
    names = ("boto3", "botocore") if provider == S3 else ("ibm_boto3", "ibm_botocore")
    try:
        boto, core, _, _ = (
            importlib.import_module(name) for name in (*names, f"{names[1]}.config", f"{names[1]}.handlers")
        )
    except ModuleNotFoundError as error:
        raise ProviderError(f"storage {provider!r} needs the package ibm-cos-sdk: {how_to_install('ibm')}") from error
    errors = (core.exceptions.BotoCoreError, core.exceptions.ClientError, boto.exceptions.Boto3Error)
    return Sdk(boto, core, (*errors, core.parsers.ResponseParserError, *_OTHER_ERRORS))


class Translation:
    """A context manager that raises what the failure of a request means; one serves all threads.

    Args:
        sdk: what makes the requests.
        subject: what a message begins with.
        no_credentials: the message when no credentials are found.

    """

    def __init__(self, sdk: Sdk, subject: str, no_credentials: str) -> None:
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

    def note_sending(self, **_: object) -> None:
        """Know that a request is signed and goes out: what fails from now on is about the service and its answer."""
        self._thread.sent = True

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        """Raise what an error of the SDK means, let everything else pass."""
        if isinstance(error, self._sdk.errors) and not isinstance(error, ArtifactStoreError):
            raise self.of(error) from self.cause(error)

    def of(self, error: Exception, order: Parameters | None = None, key: str = "") -> ProviderError:
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
        return PassingError(told) if isinstance(error, way) else BrokenAnswerError(told)

    def _of_answer(self, answer: Answer, operation: str, order: Parameters, key: str) -> ProviderError:
        code = str(answer.get("Error", {}).get("Code") or "")
        message = str(answer.get("Error", {}).get("Message") or "")
        status = answer.get("ResponseMetadata", {}).get("HTTPStatusCode")
        head = operation.startswith("Head")
        reason = REASONS.get(code) or (_HEAD_REASONS.get(code) if head else None)
        told = f"{self.subject}: {reason or f'HTTP status {status}, {code} {message}'.rstrip()}"
        if not self._thread.sent:  # an answer of the service of the credentials
            return ProviderError(told)
        repeated = _kind_of_repetition(status, code, head=head)
        if repeated is not None:
            return repeated(told)
        if status in _AMBIGUOUS and (code.isdigit() or not code) and not head:
            return BrokenAnswerError(f"{told}: the answer is not the service's own")
        otherwise = _OTHERWISE.get(operation, ProviderError)
        meaning = ObjectMissingError if head and code == "404" else _ANSWERS.get(code, otherwise)
        meaning = _ANSWERS_TO.get((operation, code), meaning)
        if meaning not in itertools.chain(_EXPECTED.get(operation, ()), *map(_expected_with, order)):
            return ProviderError(told)
        return meaning(key if issubclass(meaning, (ObjectMissingError, ObjectExistsError)) else told)

    def of_signed(self, status: int, headers: Mapping[str, str], body: bytes) -> str:
        """Return the code in the answer to a presigned URL; empty: it did what was asked for."""
        code = code_of(status, headers, body)
        if status in _PASSING_STATUSES or code in PASSING_CODES:
            raise PassingError(f"{self.subject}: HTTP status {status}, {code or ''}")
        if code in BUSY_CODES:
            raise BrokenAnswerError(f"{self.subject}: {REASONS[code]}")
        if code is None:
            raise BrokenAnswerError(f"{self.subject}: HTTP status {status}: the answer is not the service's own")
        return code

    def broken(self, error: Exception) -> ProviderError:
        """Return what *error* means when the bytes of an answer are read."""
        return BrokenAnswerError(f"{self.subject}: {self._failure(error)}")

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


def status_of(error: Exception) -> int | None:
    """Return the HTTP status of the answer that the SDK made an error of; None: it is about no answer."""
    answer = getattr(error, "response", None)
    return answer.get("ResponseMetadata", {}).get("HTTPStatusCode") if isinstance(answer, dict) else None


def _kind_of_repetition(status: int | None, code: str, *, head: bool) -> type[ProviderError] | None:
    """Return how a refusal may be repeated, by the class that says so, or None."""
    if status in _PASSING_STATUSES or code in PASSING_CODES:
        return PassingError
    if code in BUSY_CODES:
        return BrokenAnswerError
    return StaleKeysError if code in _STALE_CODES or (head and code in _STALE_TO_HEAD) else None


def _expected_with(argument: str) -> tuple[type[ProviderError], ...]:
    return _EXPECTED_WITH.get(argument, ())


def _known_failure(error: Exception) -> str | None:
    return next((_FAILURES[kind.__name__] for kind in type(error).__mro__ if kind.__name__ in _FAILURES), None)
