"""The direct path: the requests that a store makes most, built here instead of by the client of the SDK.

A client of an SDK needs most of its time for what is the same in each request. So the direct path learns from a request
that the client itself made: its URL without the key, its headers, the region of its signature. What it learns, it
proves: it builds the same request again, and uses the result only if nothing differs, the signature included. From then
on it changes what differs between two requests: the key, the range, conditions, metadata, the body and its checksums.

It sends through the HTTP session of the client, with its proxies, certificates, time-outs and connections. Only the
plain answers end here. After any other the client makes the call, and what was learned is learned again from that.
"""

from __future__ import annotations

import base64
import calendar
import contextlib
import hashlib
import hmac
import re
import threading
import time
import zlib
from collections.abc import Callable, Iterable, Mapping
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qsl, quote, urlsplit

import attrs

from chuk_artifacts.storage.bucket.answers import Answer, Parameters
from chuk_artifacts.storage.bucket.errors import Sdk
from chuk_artifacts.storage.bucket.signature import ALGORITHM, Scope, Signable, Signer

PLAIN = frozenset({404, 412, 416})
"""The refusals that are plain answers too; the client would get the same."""

SMALL_BODY = 1024 * 1024
"""Below that many bytes, to ask with ``Expect: 100-continue`` before sending costs more than to send in vain."""

_METHODS = {"put_object": "PUT", "upload_part": "PUT", "get_object": "GET", "delete_object": "DELETE"}
_NAMES = {name: name.title().replace("_", "") for name in _METHODS}
_HEADERS = {"Range": "Range", "IfMatch": "If-Match", "IfNoneMatch": "If-None-Match", "ContentType": "Content-Type"}
_QUERY = {"uploadId": "UploadId", "partNumber": "PartNumber"}
_VARYING = frozenset({"Key", "Body", "Metadata", *_HEADERS, *_QUERY.values()})
_METADATA = "x-amz-meta-"
_CHECKSUM = "x-amz-checksum-"
# What the SDK sends beside, the same in each request with the same options. A header that is in no list here may
# depend on the key or the body: a request with one is left to the client.
_CONSTANT = frozenset(
    {
        "cache-control",
        "content-encoding",
        "expect",
        "ibm-service-instance-id",
        "user-agent",
        "x-amz-acl",
        "x-amz-checksum-mode",
        "x-amz-expected-bucket-owner",
        "x-amz-request-payer",
        "x-amz-sdk-checksum-algorithm",
        "x-amz-server-side-encryption",
        "x-amz-server-side-encryption-aws-kms-key-id",
        "x-amz-server-side-encryption-bucket-key-enabled",
        "x-amz-server-side-encryption-context",
        "x-amz-storage-class",
        "x-amz-tagging",
    }
)
_TRACE = "x-amzn-trace-id"
_COUNTED = frozenset({"amz-sdk-invocation-id", "amz-sdk-request"})  # one number for each attempt of the SDK
_OF_CHUNKS = frozenset({"transfer-encoding", "x-amz-decoded-content-length", "x-amz-trailer"})
_REBUILT = frozenset({"authorization", "content-length", "x-amz-content-sha256", "x-amz-date", "x-amz-security-token"})
_UNSIGNED = frozenset({"content-length", "expect", "user-agent", _TRACE})
_PLAIN_TEXT = re.compile(r"[!-~](?:[ -~]*[!-~])?").fullmatch  # what no SDK, proxy or service changes in a header
_PLAIN_NAME = re.compile(r"[a-z0-9_-]+").fullmatch
_CREDENTIAL = re.compile(rf"{ALGORITHM} Credential=([^,]+)/\d+/([^/,]+)/([^/,]+)/aws4_request, SignedHeaders=([^,]+),")
_NOT_SIGNED = "UNSIGNED-PAYLOAD"
_NO_BYTES = hashlib.sha256(b"").hexdigest()
_DATE = "%Y%m%dT%H%M%SZ"
_SKEW = 60.0  # seconds; less than that is the time between the signature and its being looked at
_CHANCES = 3  # how often in a row the client may succeed where the direct path does not, until that is over
_OWNERS = frozenset({"boto3", "botocore", "chuk_artifacts", "ibm_boto3", "ibm_botocore"})
# The events of a client, but for ``before-send``, which the direct path emits too.
_EVENTS = (
    "provide-client-params",
    "before-parameter-build",
    "before-endpoint-resolution",
    "before-call",
    "request-created",
    "choose-signer",
    "before-sign",
    "before-parse",
    "response-received",
    "needs-retry",
    "after-call",
    "after-call-error",
)

Shape = tuple[str, bool, tuple[tuple[str, Any], ...]]
"""What requests have in common: the operation, whether the body is large, and the parameters that do not vary."""


@attrs.frozen
class Template:
    """What requests of one shape have in common.

    Attributes:
        base: the URL up to the key.
        path: the path of *base*.
        query: the names of the query, in their order.
        scope: where a signature is valid; None: a bearer token stands for one.
        headers: the headers that are the same.
        signed: those that the signature covers, by names in lower case, with ``host``, which the connection adds.
        checksum: the name of the header with the checksum of the body; empty: there is none.
        checks: the algorithms of the checksums that an answer is compared with.
        skew: the seconds by which the clock of the SDK is ahead of the one of this machine.

    """

    base: str
    path: str
    query: tuple[str, ...]
    scope: Scope | None
    headers: tuple[tuple[str, bytes], ...]
    signed: Mapping[str, str]
    checksum: str
    checks: tuple[str, ...]
    skew: float


@attrs.frozen
class _Sent:
    """A request that the client sent, but for its body."""

    method: str
    url: str
    headers: Mapping[str, Any]
    checks: tuple[str, ...]
    moment: float


class _Headers(dict[str, Any]):
    """Headers, whose names are found in any case, as in those of the SDK; these take a tenth of a request to make."""

    def __getitem__(self, name: str) -> Any:
        return super().__getitem__(self._as_kept(name))

    def __setitem__(self, name: str, value: Any) -> None:
        super().__setitem__(self._as_kept(name), value)

    def __delitem__(self, name: str) -> None:
        super().__delitem__(self._as_kept(name))

    def __contains__(self, name: object) -> bool:
        return super().__contains__(self._as_kept(str(name)))

    def get(self, name: str, default: Any = None) -> Any:
        return super().get(self._as_kept(name), default)

    def _as_kept(self, name: str) -> str:
        if super().__contains__(name):
            return name
        lower = name.lower()
        return next((kept for kept in self if kept.lower() == lower), name)


class _OtherError(Exception):
    """A request that can't be built here."""


class Direct:
    """The direct path of one client.

    Args:
        sdk: the SDK that made the client.
        client: the client.

    """

    def __init__(self, sdk: Sdk, client: Any) -> None:
        """Listen to the requests that the client sends."""
        self._sdk = sdk
        self._client = client
        self._keys = client._request_signer._credentials  # noqa: SLF001 - botocore has no public way to these two
        self._http = client._endpoint.http_session  # noqa: SLF001
        self._trace: Callable[..., None] | None = getattr(sdk.core.handlers, "add_recursion_detection_header", None)
        self._signer = Signer()
        self._templates: dict[Shape, Template | None] = {}
        self._failures: dict[Shape, int] = {}
        self._thread = threading.local()
        client.meta.events.register("before-send.s3", self._note)

    def _note(self, request: Any, **_: Any) -> None:
        """Keep what the client sends in this thread until it has succeeded or failed."""
        context = getattr(request, "context", None) or {}
        checks = context.get("checksum", {}).get("response_algorithms") or ()
        self._thread.sent = _Sent(request.method, request.url, request.headers, tuple(checks), time.time())

    def ask(self, operation: str, order: Parameters, digest: str) -> Answer | None:
        """Make a request, and return its answer, the bytes of an object unread; None: it is not for this path.

        Raises what the SDK raises for a refusal, or where no answer comes.
        """
        shape = _shape(operation, order)
        template = None if shape is None else self._templates.get(shape)
        if shape is None or template is None:
            return None
        try:
            body, url, headers = self._build(template, operation, order, digest, time.time() + template.skew)
        except (_OtherError, LookupError, TypeError, ValueError):
            return None
        response = self._send(operation, url, headers, body)
        if response.status_code >= HTTPStatus.MULTIPLE_CHOICES:
            raise self._refusal(operation, response)
        if operation != "get_object" and response.raw.read():  # perhaps an error: AWS sends some with status 200
            self.forget(operation, order)
            return None
        self._failures.pop(shape, None)
        try:
            return self._answer(operation, response, template)
        except BaseException:  # its headers make no sense
            response.raw.close()  # its bytes are unread, so its connection would stay open
            raise

    def _send(self, operation: str, url: str, headers: dict[str, bytes], body: bytes | None) -> Any:
        """Send a request as the client does. Each direct request passes here, and no other does."""
        request = self._sdk.core.awsrequest.AWSPreparedRequest(
            _METHODS[operation], url, _Headers(headers), body, stream_output=True
        )
        responses = self._client.meta.events.emit(f"before-send.s3.{_NAMES[operation]}", request=request)
        answers = (response for _, response in responses if response is not None)
        response = next(answers, None)
        return self._http.send(request) if response is None else response

    def _refusal(self, operation: str, response: Any) -> Exception:
        """Return the error that the client raises for an answer."""
        name = _NAMES[operation]
        facts = {"headers": response.headers, "status_code": response.status_code, "body": response.content}
        facts["context"] = {"operation_name": name}
        shape = self._client.meta.service_model.operation_model(name).output_shape
        parsed = self._sdk.core.parsers.create_parser("rest-xml").parse(facts, shape)
        error: Exception = self._sdk.core.exceptions.ClientError(parsed, name)
        return error

    def _answer(self, operation: str, response: Any, template: Template) -> Answer:
        headers = response.headers
        about = {"HTTPStatusCode": response.status_code, "HTTPHeaders": headers}
        answer: dict[str, Any] = {"ResponseMetadata": about}
        if "etag" in headers:
            answer["ETag"] = headers["etag"]
        if operation == "upload_part" and f"{_CHECKSUM}crc32" in headers:
            answer["ChecksumCRC32"] = headers[f"{_CHECKSUM}crc32"]
        if operation == "get_object":
            if "content-length" in headers:
                answer["ContentLength"] = int(headers["content-length"])
            if "content-range" in headers:
                answer["ContentRange"] = headers["content-range"]
            answer["Body"] = self._body(response, template)
        return answer

    def _body(self, response: Any, template: Template) -> Any:
        """Return the body, to be read with the checks of the SDK: of its length, and of a checksum that came along."""
        body = self._sdk.core.response.StreamingBody(response.raw, response.headers.get("content-length"))
        if not template.checks:
            return body
        facts = {"headers": response.headers, "body": body, "context": {}}
        context = {"checksum": {"response_algorithms": template.checks}}
        model = self._client.meta.service_model.operation_model("GetObject")
        self._sdk.core.httpchecksum.handle_checksum_body(response, facts, context, model)
        return facts["body"]

    # Build

    def _build(
        self, template: Template, operation: str, order: Parameters, digest: str, now: float
    ) -> tuple[bytes | None, str, dict[str, bytes]]:
        """Return body, URL and headers of a request; *digest* is the SHA-256 of the body, if it is known."""
        body = order["Body"].getvalue() if "Body" in order else None
        key = quote(order["Key"], safe="/~")
        query = "&".join([f"{name}={quote(str(order[_QUERY[name]]), safe='-._~')}" for name in template.query])
        url = template.base + key + (f"?{query}" if query else "")
        headers = dict(template.headers)
        texts = dict(_varying(order))
        if operation != "get_object":
            headers["Content-Length"] = b"%d" % len(body or b"")
        if body is not None:
            digest = digest or hashlib.sha256(body).hexdigest()
            if template.checksum:
                texts[template.checksum] = _checksum(template.checksum, body, digest)
        if self._trace is not None:
            self._trace(params={"headers": headers})
        keys = self._keys.get_frozen_credentials()
        if template.scope is None:
            texts["Authorization"] = f"Bearer {keys.token}"
        else:
            texts["X-Amz-Date"] = time.strftime(_DATE, time.gmtime(now))
            texts["X-Amz-Content-SHA256"] = digest or _NO_BYTES
            if keys.token:
                texts["X-Amz-Security-Token"] = keys.token
            signed = {**template.signed, **{name.lower(): value for name, value in texts.items()}}
            sorted_query = "&".join(sorted(query.split("&")))
            method, path = _METHODS[operation], template.path + key
            request = Signable(method, path, sorted_query, signed, texts["X-Amz-Content-SHA256"])
            texts["Authorization"] = self._signer.authorization(
                request, template.scope, keys.access_key, keys.secret_key
            )
        headers.update((name, value.encode()) for name, value in texts.items())
        return body, url, headers

    # Learn

    def learn(self, operation: str, order: Parameters) -> None:
        """Learn from the last request of the client in this thread, which has just succeeded, unless that is known."""
        sent, self._thread.sent = getattr(self._thread, "sent", None), None
        shape = _shape(operation, order)
        if shape is None or shape in self._templates or sent is None:
            return
        try:
            template = self._template(operation, order, _as_text(sent))
        except (_OtherError, LookupError, TypeError, ValueError):
            template = None
        if template is not None or self._is_hopeless(shape):
            self._templates[shape] = template

    def forget(self, operation: str, order: Parameters) -> None:
        """Learn requests like this one again, because one was refused; no more if all are."""
        shape = _shape(operation, order)
        if shape is not None and self._templates.pop(shape, None) is not None and self._is_hopeless(shape):
            self._templates[shape] = None

    def _is_hopeless(self, shape: Shape) -> bool:
        self._failures[shape] = self._failures.get(shape, 0) + 1
        return self._failures[shape] >= _CHANCES

    def _template(self, operation: str, order: Parameters, sent: _Sent) -> Template:
        """Return what a request of the client shows, if it can be built from that; raise ``_OtherError`` otherwise."""
        url, _, query = sent.url.partition("?")
        names = tuple(name for name, _ in parse_qsl(query, keep_blank_values=True))
        key = quote(order["Key"], safe="/~")
        if not url.endswith(key) or set(names) != ({*_QUERY} if operation == "upload_part" else set()):
            raise _OtherError
        base = url.removesuffix(key)
        constant, checksum = _constant(sent.headers, {name.lower() for name, _ in _varying(order)})
        scope, skew = self._scope(sent, urlsplit(sent.url))
        template = Template(
            base=base,
            path=urlsplit(base).path,
            query=names,
            scope=scope,
            headers=tuple((name, value.encode()) for name, value in constant.items()),
            signed={
                "host": _host(base),
                **{name.lower(): value for name, value in constant.items() if name.lower() not in _UNSIGNED},
            },
            checksum=checksum,
            checks=sent.checks,
            skew=skew,
        )
        _, built, headers = self._build(template, operation, order, "", sent.moment)
        if built != sent.url or not _is_same(headers, sent.headers):
            raise _OtherError
        return template

    def _scope(self, sent: _Sent, url: Any) -> tuple[Scope | None, float]:
        """Return where the signature of a request is valid, and the skew of its time; prove the signature."""
        keys = self._keys.get_frozen_credentials()
        headers = {name.lower(): value for name, value in sent.headers.items()}
        given = headers["authorization"]
        found = _CREDENTIAL.match(given)
        if found is None:
            if given != f"Bearer {keys.token}":
                raise _OtherError
            return None, 0.0
        scope = Scope(found[2], found[3])
        signed = {name: headers.get(name, _host(sent.url)) for name in found[4].split(";")}
        query = "&".join(sorted(url.query.split("&")))
        request = Signable(sent.method, url.path, query, signed, headers["x-amz-content-sha256"])
        own = self._signer.authorization(request, scope, keys.access_key, keys.secret_key)
        if not hmac.compare_digest(own, given):
            raise _OtherError
        skew = calendar.timegm(time.strptime(headers["x-amz-date"], _DATE)) - sent.moment
        return scope, skew if abs(skew) > _SKEW else 0.0


def is_foreign(events: Any) -> bool:
    """Return whether a client has event handlers of others than the SDK and this package, ``before-send`` apart.

    They may change requests or answers, and would never hear of those that are made directly.
    """
    emitter = getattr(events, "_emitter", events)
    find = getattr(getattr(emitter, "_handlers", None), "prefix_search", None)
    if find is None:  # another version of the SDK, which hides them
        return True
    found = (find(f"{event}.s3.{name}") for event in _EVENTS for name in _NAMES.values())
    return any(_owner(handler) not in _OWNERS for handlers in found for handler in handlers)


def _owner(handler: Any) -> str:
    while hasattr(handler, "func"):  # of functools.partial
        handler = handler.func
    return str(getattr(handler, "__module__", "")).partition(".")[0]


def _shape(operation: str, order: Parameters) -> Shape | None:
    """Return the shape of a request, or None if it is not for the direct path."""
    if operation not in _METHODS:
        return None
    large = "Body" in order and order["Body"].getbuffer().nbytes >= SMALL_BODY
    rest = tuple(item for item in order.items() if item[0] not in _VARYING)
    with contextlib.suppress(TypeError):
        hash(rest)
        return operation, large, rest
    return None


def _varying(order: Parameters) -> Iterable[tuple[str, str]]:
    """Iterate over the headers that the varying parameters of a request make."""
    for name, header in _HEADERS.items():
        if name in order:
            yield header, _plain(order[name])
    for name, value in order.get("Metadata", {}).items():
        if not _PLAIN_NAME(name):
            raise _OtherError
        yield _METADATA + name, _plain(value)


def _plain(value: str) -> str:
    if not _PLAIN_TEXT(value):
        raise _OtherError
    return value


def _constant(headers: Mapping[str, str], varying: set[str]) -> tuple[dict[str, str], str]:
    """Return the headers of a request that are the same in others like it, and which checksum these have.

    The SDK sends the checksum of a body after it, in chunks, where it is not to read the body twice. Here it is in
    memory, so that the header can have it, as the SDK sends it without TLS.
    """
    lower = {name.lower(): value for name, value in headers.items()}
    checksums = {name for name in lower if name.startswith(_CHECKSUM) and name not in _CONSTANT}
    checksums |= set(filter(None, [lower.get("x-amz-trailer", "").strip().lower()]))
    if len(checksums) > 1 or not checksums <= {f"{_CHECKSUM}crc32", f"{_CHECKSUM}sha256"}:
        raise _OtherError
    constant = {}
    for name, value in headers.items():
        key = name.lower()
        if key in _REBUILT | _COUNTED | _OF_CHUNKS | checksums | varying or key == _TRACE:
            continue
        if key not in _CONSTANT:
            raise _OtherError
        text = _unchunked(value) if key == "content-encoding" else value
        if text:
            constant[name] = text
    return constant, checksums.pop() if checksums else ""


def _unchunked(encoding: str) -> str:
    return ",".join(each for each in encoding.split(",") if each.strip() != "aws-chunked")


def _checksum(header: str, body: bytes, digest: str) -> str:
    if header == f"{_CHECKSUM}sha256":
        return base64.b64encode(bytes.fromhex(digest)).decode()
    return base64.b64encode(zlib.crc32(body).to_bytes(4, "big")).decode()


def _is_same(built: Mapping[str, bytes], sent: Mapping[str, str]) -> bool:
    """Return whether a request has the headers of one that the client sent, but for those that differ each time."""
    own = {name.lower(): value.decode() for name, value in built.items()}
    theirs = {name.lower(): value for name, value in sent.items()}
    left = _COUNTED | {"authorization", "x-amz-date"}
    if "x-amz-trailer" in theirs:  # there the body is in chunks, and neither its length nor its checksum is a header
        left |= _OF_CHUNKS | {theirs["x-amz-trailer"], "content-encoding", "content-length", "x-amz-content-sha256"}
    elif theirs.get("x-amz-content-sha256") == _NOT_SIGNED:
        left |= {"x-amz-content-sha256"}
    return all(own.get(name) == theirs.get(name) for name in (own.keys() | theirs.keys()) - left)


def _as_text(sent: _Sent) -> _Sent:
    headers = {name: value.decode() if isinstance(value, bytes) else value for name, value in sent.headers.items()}
    return attrs.evolve(sent, headers=headers)


def _host(url: str) -> str:
    """Return the header ``Host``: without the port that the scheme implies."""
    parts = urlsplit(url)
    name = parts.hostname or ""
    name = f"[{name}]" if ":" in name else name
    usual = {"http": 80, "https": 443}.get(parts.scheme)
    return name if parts.port in {None, usual} else f"{name}:{parts.port}"
