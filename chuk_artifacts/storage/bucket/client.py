"""The client of a bucket: made once, with what the services need, and its requests, repeated where that may help."""

from __future__ import annotations

import atexit
import base64
import contextlib
import functools
import hashlib
import io
import itertools
import math
import random
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar
from urllib.parse import urlsplit

from chuk_artifacts.errors import ProviderError
from chuk_artifacts.fork import Lockable
from chuk_artifacts.instrumentation import retried
from chuk_artifacts.settings import (
    IBM_COS_IAM,
    OWN_OPTIONS,
    PUT_OPTIONS,
    S3,
    SESSION_OPTIONS,
    TIMEOUT_OPTIONS,
    Bucket,
    Settings,
    ibm_api_key,
)
from chuk_artifacts.storage.bucket.answers import Answer, Parameters, ignores_range, lacking, length_of_range, next_page
from chuk_artifacts.storage.bucket.connections import harden
from chuk_artifacts.storage.bucket.direct import PLAIN, SMALL_BODY, Direct, is_foreign
from chuk_artifacts.storage.bucket.errors import (
    NO_API_KEY,
    NO_ENDPOINT,
    NO_KEYS,
    UNSIGNED,
    BrokenAnswerError,
    PassingError,
    Sdk,
    StaleKeysError,
    Translation,
    load_sdk,
    status_of,
)
from chuk_artifacts.storage.bucket.multipart import SIDE_BY_SIDE
from chuk_artifacts.storage.bucket.region import Region
from chuk_artifacts.threads import is_given_up

T = TypeVar("T")

DEFAULT_REGION = "us-east-1"

_CONNECT_SECONDS, _READ_SECONDS = 6, 12  # with three retries a silent service, of two addresses, costs a minute at most
_LONGEST_PAUSE = 20.0  # seconds between two attempts
_LOOK_SECONDS = 0.1  # how often a pause looks whether it is still worth it
_SDK_ATTEMPTS = {"legacy": 5, "standard": 3, "adaptive": 3}  # of a configuration that names none
_AWS_HOSTS = (".amazonaws.com", ".amazonaws.com.cn")
_CONDITION = "condition"

Request = dict[str, Any]
"""The parts of a request that the SDK is about to send, or its parameters: event handlers may change them."""


class Client(Lockable):
    """The client of a bucket, which is made at the first request.

    Args:
        settings: the options, and how many retries and connections.
        bucket: the bucket.

    Attributes:
        sdk: what makes the requests.
        translating: a context manager that raises what a failed request means.
        subject: what messages begin with.
        on_aws: whether the service is that of AWS.
        region: where the bucket is, if that is for AWS to say; None: an endpoint is configured.

    """

    def __init__(self, settings: Settings, bucket: Bucket) -> None:
        """Connect to nothing yet."""
        super().__init__()
        self.sdk: Sdk = load_sdk(settings.storage_provider)
        self.subject: str = f"storage {settings.storage_provider!r}, bucket {bucket.name!r}"
        no_credentials = NO_API_KEY if settings.storage_provider == IBM_COS_IAM else NO_KEYS
        self.translating: Translation = Translation(self.sdk, self.subject, no_credentials)
        self.on_aws: bool = bucket.endpoint_url is None or _is_aws(bucket.endpoint_url)
        is_found = bucket.endpoint_url is None and settings.storage_provider == S3
        self.region: Region | None = Region(bucket.region) if is_found else None
        self._provider = settings.storage_provider
        self._settings = settings
        self._bucket = bucket
        self._attempts = settings.max_retries + 1
        self._sdk_retries = getattr(settings.storage_options.get("config"), "retries", None) is not None
        self._client: Any = None
        self._direct: Direct | None = None  # of the client, if it has one
        self._keys: Any = None  # the credentials of the client, as the SDK found them

    @property
    def is_open(self) -> bool:
        """Whether the client was made; then it holds connections."""
        return self._client is not None

    def close(self) -> None:
        """Close the connections."""
        client, self._client, self._direct = self._client, None, None
        if client is not None:
            client.close()
            if self._provider == IBM_COS_IAM:
                _stop_refreshing(client)

    def after_fork(self, *, child: bool) -> None:
        """Release the lock; a *child* makes a client of its own."""
        if child:
            self._client = self._direct = None
        super().after_fork(child=child)

    def connected(self) -> Any:
        """Return the client, which is made once: making one takes longer than using it, and is not thread-safe."""
        client = self._client
        if client is None:
            with self._lock:
                client = self._client = self._client or self._connect()
        return client

    @property
    def signs(self) -> bool:
        """Whether requests are signed; a configuration may say that they are not."""
        return self._is_signed(self.connected())

    def _is_signed(self, client: Any) -> bool:
        return client.meta.config.signature_version is not self.sdk.core.UNSIGNED

    def signing(self) -> Any:
        """Return the client, with the bucket's own region, for requests that can't be redirected: presigned URLs.

        Where no answer has shown the region yet, AWS is asked for it once. If there is no answer, the configured one
        is taken, and the next call asks again.

        Raises:
            ProviderError: the configuration says that requests are not signed.

        """
        client = self.connected()
        if not self.signs:
            raise ProviderError(f"{self.subject}: {UNSIGNED}")
        if self.region is None:
            return client
        if self.region.found is None:
            with contextlib.suppress(ProviderError):  # a refusal shows the region too
                self.ask("head_bucket")
        if self.region.found not in {None, client.meta.region_name}:
            with self._lock:
                if self._client is client:  # and no other thread has made another; requests under way go on
                    self._client = self._connect()
        return self.connected()

    def _renew(self, client: Any) -> bool:
        """Make a client with the credentials that the SDK finds now, if they have changed; return whether they have."""
        if self._provider == IBM_COS_IAM:
            return False
        with self._lock:
            if self._client is client:
                try:
                    if _parts_of(self._session().get_credentials()) == _parts_of(self._keys):
                        return False
                    self._client = self._connect()
                except self.sdk.errors:
                    return False
        return True

    def _session(self) -> Any:
        options = self._settings.storage_options
        keys = {name: options[name] for name in SESSION_OPTIONS if name in options}
        return self.sdk.boto.Session(region_name=self._bucket.region, **keys)

    def _connect(self) -> Any:
        not_its = PUT_OPTIONS | OWN_OPTIONS | SESSION_OPTIONS
        options = {name: value for name, value in self._settings.storage_options.items() if name not in not_its}
        own_config = options.pop("config", None)
        if self._provider != S3 and self._bucket.endpoint_url is None:
            raise ProviderError(f"{self.subject}: {NO_ENDPOINT}")
        timeouts = {name: options.pop(name) for name in TIMEOUT_OPTIONS if name in options}
        if self._provider == IBM_COS_IAM:
            options["ibm_api_key_id"] = options.get("ibm_api_key_id") or ibm_api_key()
            options["ibm_service_instance_id"] = self._bucket.instance_crn
            if not options["ibm_api_key_id"]:
                raise ProviderError(f"{self.subject}: {NO_API_KEY}")
        session = self._session()
        region = (self.region and self.region.found) or session.region_name or DEFAULT_REGION
        config = self._config(timeouts)
        client = session.client(
            "s3",
            region_name=region,
            endpoint_url=self._bucket.endpoint_url,
            config=config if own_config is None else config.merge(own_config),
            **options,
        )
        harden(client._endpoint.http_session)  # noqa: SLF001 - botocore has no public way to it
        self._listen(client.meta.events)
        self._direct = self._direct_path(client)
        if self._provider != IBM_COS_IAM:
            self._keys = session.get_credentials()
        if self._sdk_retries:  # so often is repeated, too, what the SDK itself does not repeat
            retries = client.meta.config.retries
            self._attempts = retries.get("total_max_attempts") or _SDK_ATTEMPTS[retries["mode"]]
        if self.region is not None:
            self.region.use(region)
            client.meta.events.register("response-received.s3", self.region.note)
        return client

    def _direct_path(self, client: Any) -> Direct | None:
        """Return the direct path of a client, unless it is not wanted, or would not do what the client does."""
        wanted = self._settings.storage_options.get("direct", True)
        own_retries = self._sdk_retries  # perhaps with a limit of the rate
        if not wanted or own_retries or not self._is_signed(client) or is_foreign(client.meta.events):
            return None
        return Direct(self.sdk, client)

    def _config(self, timeouts: Mapping[str, float]) -> Any:
        checksums = {
            "request_checksum_calculation": "when_required",
            "response_checksum_validation": "when_required",
        }
        return self.sdk.core.config.Config(
            signature_version="oauth" if self._provider == IBM_COS_IAM else "s3v4",
            s3={"addressing_style": "virtual" if self.on_aws and "." not in self._bucket.name else "path"},
            max_pool_connections=2 * self._settings.max_connections + SIDE_BY_SIDE,  # of callers, batches, parts
            retries={"mode": "standard", "total_max_attempts": 1},  # what is repeated is repeated by ``_call``
            tcp_keepalive=True,
            **{"connect_timeout": _CONNECT_SECONDS, "read_timeout": _READ_SECONDS, **timeouts},
            **({} if self.on_aws else checksums),
        )

    def _listen(self, events: Any) -> None:
        """Change what the SDK sends where the service needs something else."""
        ask = self.sdk.core.handlers.add_expect_header
        events.unregister("before-call.s3", ask)
        events.register("before-call.s3", functools.partial(_ask_before_sending_much, ask))
        events.register("before-send.s3", self.translating.note_sending)
        if not self.on_aws:
            events.register("before-call.s3.DeleteObjects", _use_md5)
        if self._provider != S3:
            events.register("before-parameter-build.s3.PutObject", _take_condition)
            events.register("before-call.s3.PutObject", _send_condition)

    def call(self, operation: str, digest: str = "", /, **order: Any) -> Answer:
        """Make a request, again after a pause where that may help, and raise what its failure means.

        The first attempt may take the direct path, the others never. The bytes of an object are read here too, so that
        a truncated answer counts as a failure.

        Args:
            operation: the operation, by the name of its method.
            digest: the SHA-256 of the body in hex, where it is known.
            order: the parameters.

        """
        first = iter((True,))
        return self.repeated(lambda: self.ask(operation, digest, direct=next(first, False), **order))

    def repeated(self, ask: Callable[[], T]) -> T:
        """Return ``ask()``, called again after a pause, up to ``max_retries`` times, where that may help.

        After an answer that the keys are not known or have expired, it is called again once, at once, with the keys
        that the SDK finds then, if these are others.
        """
        renewed = False
        for attempt in itertools.count(1):
            client = self._client
            try:
                return ask()
            except StaleKeysError as error:
                if renewed or not self._renew(client or self._client):
                    raise ProviderError(*error.args) from error.__cause__
                renewed = True
                continue
            except PassingError as error:
                if self._is_last(error, attempt) or not _pause(min(2.0 ** (attempt - 1), _LONGEST_PAUSE)):
                    raise ProviderError(*error.args) from error.__cause__
                retried()
        raise AssertionError("counting ends")

    def _is_last(self, error: PassingError, attempt: int) -> bool:
        settled = self._sdk_retries and not isinstance(error, BrokenAnswerError)
        return settled or attempt >= self._attempts

    def ask(self, operation: str, digest: str = "", /, *, direct: bool = False, **order: Any) -> Answer:
        """Make a request once, on the direct path if that may be and can; see ``call``."""
        answer = self._ask_directly(operation, digest, order) if direct else None
        if answer is None:
            answer = self._ask_client(operation, order)
        lack = lacking(operation, answer, order)
        if operation == "get_object":
            with contextlib.closing(answer["Body"]) as body:
                answer = {**answer, "Body": b"" if lack else self._read(body, answer, order)}
        if lack:
            raise BrokenAnswerError(f"{self.subject}: {lack}")
        return answer

    def _ask_client(self, operation: str, order: Parameters) -> Answer:
        if "Body" in order:
            order["Body"].seek(0)
        self.translating.begin()
        try:
            answer: Answer = getattr(self.connected(), operation)(Bucket=self._bucket.name, **order)
        except self.sdk.errors as error:
            raise self._meaning(error, order) from self.translating.cause(error)
        if self._direct is not None:
            self._direct.learn(operation, order)
        return answer

    def _ask_directly(self, operation: str, digest: str, order: Parameters) -> Answer | None:
        """Return the answer on the direct path; None: the client is to ask, whose answer counts.

        A failure that may pass is one attempt, as any other, and the next one is the client's.
        """
        path = self._direct
        if path is None:
            return None
        self.translating.begin()
        try:
            return path.ask(operation, order, digest)
        except self.sdk.errors as error:
            meaning = self._meaning(error, order)
            if isinstance(meaning, PassingError) or status_of(error) in PLAIN:
                raise meaning from self.translating.cause(error)
        path.forget(operation, order)
        return None

    def _meaning(self, error: Exception, order: Parameters) -> ProviderError:
        return self.translating.of(error, order, order.get("Key", "").removeprefix(self._bucket.prefix))

    def _read(self, body: Any, answer: Answer, order: Parameters) -> bytes:
        """Return the bytes of an answer; ask its headers first whether they are the right ones."""
        if ignores_range(answer, order):
            raise ProviderError(f"{self.subject}: the service ignored the Range header")
        try:
            data: bytes = body.read()
        except self.sdk.errors as error:
            raise self.translating.broken(error) from error
        if "ContentRange" in answer and len(data) != length_of_range(answer):
            raise BrokenAnswerError(f"{self.subject}: an answer of another length than it says")
        return data

    def pages(self, operation: str, **order: Any) -> Iterator[Answer]:
        """Iterate over the pages of a listing."""
        following: dict[str, str] = {}
        seen: set[tuple[tuple[str, str], ...]] = set()
        while True:
            page = self.call(operation, **order, **following)
            yield page
            if not page.get("IsTruncated"):
                return
            following = next_page(page)
            if tuple(following.items()) in seen:
                raise ProviderError(f"{self.subject}: the service lists the same page again and again")
            seen.add(tuple(following.items()))


def _pause(longest: float) -> bool:
    """Wait for a random time; return False as soon as the result of the call is no longer waited for."""
    seconds = random.uniform(0, longest)  # noqa: S311 - no secret
    looks = math.ceil(seconds / _LOOK_SECONDS)
    for _ in range(looks):
        if is_given_up():
            return False
        time.sleep(seconds / looks)
    return not is_given_up()


def _parts_of(keys: Any) -> tuple[Any, ...]:
    """Return what tells credentials from others."""
    return tuple(getattr(keys, name, None) for name in ("access_key", "secret_key", "token"))


def _stop_refreshing(client: Any) -> None:
    """End the thread in which IBM's SDK renews the token of a client: it outlives the client, and keeps asking IAM."""
    tokens = client._request_signer._credentials.token_manager  # noqa: SLF001 - the SDK has no public way to it
    tokens.stop_refresh_thread()
    atexit.unregister(tokens._cleanup)  # noqa: SLF001 - or it stays in memory


def _is_aws(endpoint_url: str) -> bool:
    return (urlsplit(endpoint_url).hostname or "").endswith(_AWS_HOSTS)


def _ask_before_sending_much(ask: Callable[..., None], model: object, params: Request, **more: object) -> None:
    """Let the SDK ask with ``Expect: 100-continue`` only for a body that is worth one more turn on the wire."""
    body = params.get("body")
    if not isinstance(body, io.BytesIO) or body.getbuffer().nbytes >= SMALL_BODY:
        ask(model=model, params=params, **more)


def _use_md5(params: Request, **_: object) -> None:
    """Send Content-MD5, which services other than AWS want with DeleteObjects, and not the checksum that AWS wants."""
    digest = hashlib.md5(params["body"], usedforsecurity=False).digest()
    params["headers"]["Content-MD5"] = base64.b64encode(digest).decode()
    params["context"].get("checksum", {}).pop("request_algorithm", None)


def _take_condition(params: Request, context: dict[str, object], **_: object) -> None:
    """Take a condition out of the arguments of a put: the IBM SDK does not know it, though the service does."""
    context[_CONDITION] = params.pop("IfNoneMatch", None)


def _send_condition(params: Request, context: dict[str, object], **_: object) -> None:
    """Put the condition where the service looks for it."""
    if context.get(_CONDITION) is not None:
        params["headers"]["If-None-Match"] = context[_CONDITION]
