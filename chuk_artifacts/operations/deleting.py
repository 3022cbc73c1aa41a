"""Removing bytes by their keys."""

from __future__ import annotations

from collections.abc import Sequence

from chuk_artifacts import grid
from chuk_artifacts.core import Core
from chuk_artifacts.errors import ProviderError
from chuk_artifacts.log import log as _log
from chuk_artifacts.threads import hurried_by_interrupt


def delete_keys(core: Core, keys: Sequence[str]) -> None:
    """Remove bytes by their keys; skip and log keys that are not contents of this sandbox.

    So a damaged or forged record can't make this remove the signing key, the catalog or its identity.

    Raises:
        ProviderError: the storage fails.

    """
    sandbox_id = core.settings.sandbox_id
    ours = [
        key for key in keys if grid.is_content(key, sandbox_id) or grid.session_of_facts(key, sandbox_id) is not None
    ]
    if len(ours) < len(keys):
        foreign = [key for key in keys if key not in ours]
        _log.warning("keys were not removed, because they hold no artifact of this sandbox: %s", foreign)
    core.storage.delete(ours)


def discard(core: Core, keys: Sequence[str]) -> None:
    """Remove bytes that no record points to; leave them to an orphan sweep when the storage fails."""
    try:
        with hurried_by_interrupt():
            delete_keys(core, keys)
    except ProviderError as error:
        _log.debug("left for cleanup: %s: %s", keys, error)
