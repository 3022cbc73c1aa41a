"""What belongs into the answers of an S3 service, so that a proxy's page or half an answer is not taken for one."""

from __future__ import annotations

import re
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

Answer = Mapping[str, Any]
"""The answer to a request, as the SDK parses it, by the names of the S3 API reference."""
Parameters = Mapping[str, Any]
"""The parameters of a request, by the same names."""

PASSING_CODES = frozenset(
    {
        "BadDigest",  # of a body that was damaged on its way
        "BandwidthLimitExceeded",
        "InternalError",
        "RequestLimitExceeded",
        "RequestThrottled",
        "RequestThrottledException",
        "RequestTimeout",
        "ServiceUnavailable",
        "SlowDown",
        "Throttling",
        "ThrottlingException",
        "ThrottledException",
        "TooManyRequests",
        "TooManyRequestsException",
    }
)
"""The codes of a service for a request that may succeed when it is repeated."""
BUSY_CODES = frozenset({"ConditionalRequestConflict", "OperationAborted"})
"""The codes for one that meets another request for the same key or bucket; neither SDK repeats it."""

_CONTENT_RANGE = re.compile(r"(?i)\s*bytes\s+(\d+)-(\d+)/(\d+|\*)\s*").fullmatch  # RFC 9110 section 14.4
_HTML = "text/html"
# By operation: what an answer must have, of each set at least one.
_BELONGS: dict[str, tuple[frozenset[str], ...]] = {
    "complete_multipart_upload": (frozenset({"ETag", "Location", "Key"}),),
    "copy_object": (frozenset({"ETag"}),),
    "create_multipart_upload": (frozenset({"UploadId"}),),
    "get_object": (frozenset({"ETag"}),),
    "head_object": (frozenset({"ContentLength"}), frozenset({"LastModified"})),
    "list_multipart_uploads": (frozenset({"IsTruncated", "Bucket"}),),
    "list_objects_v2": (frozenset({"IsTruncated", "Name"}),),
    "put_object": (frozenset({"ETag"}),),
    "upload_part": (frozenset({"ETag"}),),
    "upload_part_copy": (frozenset({"ETag"}),),
}
# What each entry of a list must have.
_BELONGS_TO_EACH = {
    "Contents": frozenset({"Key", "Size", "LastModified"}),
    "Uploads": frozenset({"Key", "UploadId", "Initiated"}),
}
_RESULTS = ("CopyObjectResult", "CopyPartResult")  # where an answer has it in its body
# What asks for the next page, and where the last one has it.
_MARKERS = {
    "ContinuationToken": "NextContinuationToken",
    "KeyMarker": "NextKeyMarker",
    "UploadIdMarker": "NextUploadIdMarker",
}


def lacking(operation: str, answer: Answer, order: Parameters) -> str | None:
    """Return what is wrong with an answer that reports success, by its headers and what was parsed, or None."""
    facts = dict(answer)
    for result in _RESULTS:
        facts |= answer.get(result) or {}
    for names in _BELONGS.get(operation, ()):
        if all(facts.get(name) in {None, ""} for name in names):
            return f"an answer without {' or '.join(sorted(names))}"
    if operation.startswith("list_"):
        return _lacking_of_page(answer)
    if operation == "get_object":
        return _lacking_of_bytes(answer, order)
    return _lacking_of_deletion(operation, answer) if operation.startswith("delete_") else None


def _lacking_of_page(page: Answer) -> str | None:
    if page.get("IsTruncated") and not next_page(page):
        return "a page that says that there are more, and not where"
    for name, belongs in _BELONGS_TO_EACH.items():
        if not all(entry.keys() >= belongs for entry in page.get(name, ())):
            return "a page with entries that lack something"
    return None


def _lacking_of_bytes(answer: Answer, order: Parameters) -> str | None:
    if "Range" not in order or ignores_range(answer, order):
        return None if "ContentLength" in answer or _is_chunked(answer) else "an answer without a length"
    begin, end, _ = content_range(answer)
    asked_begin, asked_end = map(int, order["Range"].removeprefix("bytes=").split("-"))
    return None if begin == asked_begin and begin <= end <= asked_end else "an answer with another range"


def _lacking_of_deletion(operation: str, answer: Answer) -> str | None:
    """A deletion that succeeds says little: a page is no such answer, and nothing none to that of many objects."""
    headers = _headers(answer)
    empty = not _is_chunked(answer) and headers.get("content-length", "0").strip() == "0"
    if not empty and headers.get("content-type", "").lower().startswith(_HTML):
        return "a page for an answer"
    nothing = empty and not answer.keys() & {"Deleted", "Errors"}
    return "an empty answer" if nothing and operation == "delete_objects" else None


def ignores_range(answer: Answer, order: Parameters) -> bool:
    """Say whether a service answers the request for a range with the whole object, as it may."""
    status = answer["ResponseMetadata"]["HTTPStatusCode"]
    return "Range" in order and status != HTTPStatus.PARTIAL_CONTENT and "ContentRange" not in answer


def content_range(answer: Answer) -> tuple[int, int, int | None]:
    """Return the first and last byte of an answer, and the length of the object if it is known; no range: -1, -1."""
    match = _CONTENT_RANGE(answer.get("ContentRange") or "")
    if match is None:
        return -1, -1, None
    return int(match[1]), int(match[2]), None if match[3] == "*" else int(match[3])


def length_of_range(answer: Answer) -> int:
    """Return how many bytes an answer says that it has."""
    begin, end, _ = content_range(answer)
    return end - begin + 1


def next_page(page: Answer) -> dict[str, str]:
    """Return what asks for the page after this one; nothing if it does not say."""
    return {name: page[marker] for name, marker in _MARKERS.items() if page.get(marker)}


def _is_chunked(answer: Answer) -> bool:
    return _headers(answer).get("transfer-encoding", "").lower() == "chunked"


def _headers(answer: Answer) -> Mapping[str, str]:
    headers: Mapping[str, str] = answer["ResponseMetadata"]["HTTPHeaders"]
    return headers
