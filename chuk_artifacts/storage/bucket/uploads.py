"""What an upload under a presigned URL may bring along, and what an uploaded object carries.

Signature version 4 covers every ``x-amz-*`` header: a service must refuse an unsigned one. Where it does not,
the holder of an upload URL copies any object that the signer can read to the key of the upload (``x-amz-copy-source``),
makes the upload public (``x-amz-acl``), or gives it metadata and tags.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from urllib.parse import parse_qsl, urlsplit

from chuk_artifacts.storage.bucket.answers import Answer, Parameters

# AWS answers AccessDenied, "There were headers present in the request which were not signed", for any x-amz-* header
# that X-Amz-SignedHeaders does not name: https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-query-string-auth.html
# IBM documents the same signature: https://cloud.ibm.com/docs/cloud-object-storage?topic=cloud-object-storage-hmac-signature
_STRICT_HOSTS = (".amazonaws.com", ".amazonaws.com.cn", ".cloud-object-storage.appdomain.cloud")

DENIED = "AccessDenied"
NOT_SIGNED = "there are headers that were not signed"
_REFUSALS = frozenset({DENIED, NOT_SIGNED, "NotImplemented", "SignatureDoesNotMatch"})
_CODE = re.compile(rb"<Code>\s*([A-Za-z0-9.]+)\s*</Code>")
_ABOUT_SIGNING = re.compile(rb"(?i)<Message>[^<]*\bsigned\b")  # of Garage it is an InvalidRequest, of MinIO a 400

_METADATA = "x-amz-meta-"
_TAGS = "x-amz-tagging-count"
_CACHE = "cache-control"
_HEADERS = ("content-disposition", "content-language", "x-amz-missing-meta", "x-amz-website-redirect-location")
_ENCODING = "content-encoding"
_CHUNKED = {"", "aws-chunked"}  # how the request was sent; some services keep that with the object
_UNCACHED = frozenset({"", "max-age=0", "must-revalidate", "no-cache", "no-store", "private", "proxy-revalidate"})


def is_strict(endpoint_url: str) -> bool:
    """Say whether an endpoint is known to refuse headers that were not signed."""
    return (urlsplit(endpoint_url).hostname or "").endswith(_STRICT_HOSTS)


def unsigned_headers(source: str) -> Iterator[tuple[str, str]]:
    """Iterate over harmless headers that a strict service refuses; *source* is an object of our own, as a path.

    One is not enough. MinIO refuses unsigned metadata only (https://github.com/minio/minio/pull/17737), and some of its
    heirs an unsigned copy source only (https://github.com/juicedata/minio/pull/85).
    """
    yield "x-amz-copy-source", source
    yield "x-amz-acl", "private"
    yield "x-amz-tagging", "check=unsigned"
    yield f"{_METADATA}check", "unsigned"


def code_of(status: int, headers: Mapping[str, str], body: bytes) -> str | None:
    """Return the code of a refusal; empty: no refusal; None: the answer is not the service's own."""
    code = _CODE.search(body)
    if code is not None:
        return NOT_SIGNED if _ABOUT_SIGNING.search(body) else code[1].decode()
    succeeded = HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES
    return "" if succeeded and ("etag" in headers or b"<ETag>" in body) else None


def refuses(code: str) -> bool:
    """Say whether a code means that a header counts for nothing unless it is signed."""
    return code in _REFUSALS


def carried(answer: Answer, options: Parameters, own: frozenset[str]) -> tuple[str, ...]:
    """Return the names of the headers of an object beside those that a put with *options* leaves.

    Args:
        answer: what the service answers to a HEAD.
        options: what goes with each write.
        own: the names of user metadata that a put adds.

    """
    headers = {name.lower(): value for name, value in answer["ResponseMetadata"]["HTTPHeaders"].items()}
    allowed = {_METADATA + name for name in own}
    found = [name for name in headers if name.startswith(_METADATA) and name not in allowed]
    found += [name for name in _HEADERS if headers.get(name)]
    if headers.get(_ENCODING, "").lower().strip(" ,") not in _CHUNKED:
        found.append(_ENCODING)
    if headers.get(_TAGS, "0") not in {"0", str(len(parse_qsl(options.get("Tagging", ""), keep_blank_values=True)))}:
        found.append(_TAGS)
    control = headers.get(_CACHE, "")
    if control != options.get("CacheControl", "") and _allows_caching(control):
        found.append(_CACHE)
    if _is_later(headers.get("expires"), headers.get("date")):
        found.append("expires")
    return tuple(sorted(found))


def _allows_caching(control: str) -> bool:
    """Say whether a Cache-Control does more than forbid; Google and browsers that reload send such ones unasked."""
    return any(directive.strip().lower() not in _UNCACHED for directive in control.split(","))


def _is_later(expires: str | None, date: str | None) -> bool:
    try:
        return expires is not None and _seconds(expires) > _seconds(date or "")
    except (OverflowError, TypeError, ValueError):  # what can't be read is over: RFC 9111 section 5.3
        return False


def _seconds(date: str) -> float:
    return parsedate_to_datetime(date).timestamp()


def grantees(answer: Answer) -> tuple[str, ...]:
    """Return whom an ACL lets in beside the owner; MinIO names neither."""
    owner = (answer.get("Owner") or {}).get("ID") or ""
    found = [grant.get("Grantee") or {} for grant in answer.get("Grants") or ()]
    names = [each.get("URI") or each.get("EmailAddress") or each.get("ID") or "" for each in found]
    return tuple(sorted({name for name in names if name != owner}))
