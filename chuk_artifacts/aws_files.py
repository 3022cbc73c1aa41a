"""The endpoint of S3 in the files of the AWS SDK.

The SDK would use it anyway. It is read here because the form of the requests and the name of the sandbox depend on it.
See https://docs.aws.amazon.com/sdkref/latest/guide/feature-ss-endpoints.html.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Mapping
from typing import Any

_NAME = "endpoint_url"
_IGNORE = "ignore_configured_endpoint_urls"


def endpoint_in_files(files: Iterable[str], profile: str | None) -> str | None:
    """Return the endpoint of S3 that is configured for a profile, or None.

    The SDK is loaded only if one of the files names an endpoint at all. Files that it can't read, and a profile that
    they lack, have no endpoint; making a client reports these.

    Args:
        files: the paths of the SDK's files.
        profile: the profile; None: the one that the SDK selects.

    """
    if not any(map(_mentions_endpoint, files)):
        return None
    from botocore.exceptions import BotoCoreError  # noqa: PLC0415 - most configurations need no SDK for this
    from botocore.session import Session  # noqa: PLC0415

    session = Session(profile=profile)
    try:
        if session.get_config_variable(_IGNORE):
            return None
        return _endpoint(session.get_scoped_config(), session.full_config)
    except BotoCoreError:
        return None


def _endpoint(profile: Mapping[str, Any], everything: Mapping[str, Any]) -> str | None:
    services = everything.get("services", {}).get(profile.get("services"), {})
    of_s3 = services.get("s3", {})
    own = of_s3.get(_NAME) if isinstance(of_s3, Mapping) else None
    return own or profile.get(_NAME) or None


def _mentions_endpoint(path: str) -> bool:
    with contextlib.suppress(OSError), open(os.path.expanduser(path), "rb") as file:
        return _NAME.encode() in file.read()
    return False
