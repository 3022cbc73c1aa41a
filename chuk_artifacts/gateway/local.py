"""The gateway that a store starts on this host when a URL needs one and the settings name none."""

from __future__ import annotations

import weakref

import attrs

from chuk_artifacts.core import Core, store_is_closed
from chuk_artifacts.errors import ErrorMap, ProviderError
from chuk_artifacts.gateway.server import Server
from chuk_artifacts.gateway.wsgi import Gateway
from chuk_artifacts.log import log as _log
from chuk_artifacts.operations.scope import Scope


@attrs.frozen
class _Unowned:
    """A store whose core may be collected although a gateway serves it: dropping a store ends its gateway."""

    _core: weakref.ref[Core]

    @property
    def scope(self) -> Scope:
        """The whole store; raise :class:`ArtifactStoreError` when it is gone."""
        core = self._core()
        if core is None:
            raise store_is_closed()
        return Scope(core)


def start(core: Core) -> Server:
    """Serve the signed URLs of a store on a free port of 127.0.0.1, from a daemon thread.

    Args:
        core: the core of the store; the gateway does not keep it alive.

    Returns:
        the server, which runs until it is closed or the process ends.

    Raises:
        ProviderError: no port can be opened.

    """
    with ErrorMap((OSError,), ProviderError, "the gateway"):
        server = Server(Gateway(_Unowned(weakref.ref(core))))
    try:
        server.start()
        _log.warning(
            "signed URLs are served by this process, at %s, and end with it: set ARTIFACT_GATEWAY_URL", server.url
        )
    except BaseException:
        server.close()
        raise
    return server
