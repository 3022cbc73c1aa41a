"""The region of a bucket at AWS, as the answers of the service show it.

A request to another region is redirected, so it works all the same; a presigned URL for another region does not.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

HEADER = "x-amz-bucket-region"
_NAME = re.compile(r"[a-z0-9-]{1,63}").fullmatch  # it becomes part of a host name


class Region:
    """What is known of the region of a bucket; one serves all threads.

    Args:
        configured: the region of the settings, or None.

    Attributes:
        found: the region of the bucket; None: no answer has shown it yet.

    """

    def __init__(self, configured: str | None) -> None:
        """Know nothing yet."""
        self.found: str | None = None
        self._configured = configured
        self._used = ""
        self._redirected = False

    def use(self, name: str) -> None:
        """Note that requests go to the region *name* from now on."""
        self._used = self._used or name

    def note(self, response_dict: Mapping[str, Any] | None = None, event_name: str = "", **_: Any) -> None:
        """Learn from an answer: its header names the region, and one that succeeds comes from the right region.

        A service that refuses HEAD without the header does not say; the region in use counts then.
        """
        if response_dict is None:
            return
        name = response_dict["headers"].get(HEADER) or ""
        status = response_dict["status_code"]
        self._redirected = self._redirected or HTTPStatus.MULTIPLE_CHOICES <= status < HTTPStatus.BAD_REQUEST
        if _NAME(name):
            self.found = name
        elif self.found is None and not self._redirected and _is_from_here(status, event_name):
            self.found = self._used

    def facts(self) -> dict[str, str]:
        """Return what an operator should know."""
        if self.found in {None, self._used}:
            return {}
        named = f"the region {self._configured!r} is" if self._configured else "no region is"
        told = f"the bucket is in {self.found!r}, and {named} configured: set region or AWS_REGION to avoid redirects"
        return {"region": told}


def _is_from_here(status: int, event_name: str) -> bool:
    if HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES:
        return True
    refused = HTTPStatus.BAD_REQUEST <= status < HTTPStatus.INTERNAL_SERVER_ERROR
    return refused and event_name.endswith(".HeadBucket")
