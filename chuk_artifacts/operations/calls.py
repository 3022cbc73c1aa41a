"""``operation``: a decorator for functions over a scope. A closed store refuses them; ``close`` waits for them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import wraps
from threading import get_ident
from time import perf_counter
from typing import Concatenate, ParamSpec, TypeVar

from chuk_artifacts import grid
from chuk_artifacts.catalog import FilenameTakenError
from chuk_artifacts.core import store_is_closed
from chuk_artifacts.errors import ArtifactStoreError, ConflictError, ProviderError, SessionError
from chuk_artifacts.log import log as _log
from chuk_artifacts.operations.scope import Scope
from chuk_artifacts.storage import ObjectChangedError, ObjectExistsError, ObjectMissingError

P = ParamSpec("P")
R = TypeVar("R")

SIGNALS = (ObjectMissingError, ObjectExistsError, ObjectChangedError, FilenameTakenError)
"""Errors of backends that some operations catch. The other operations raise the public base class instead."""


def operation(function: Callable[Concatenate[Scope, P], R]) -> Callable[Concatenate[Scope, P], R]:
    """Record each call of *function* with the core while it runs; refuse it when the store is closed."""

    @wraps(function)
    def call(scope: Scope, /, *args: P.args, **kwargs: P.kwargs) -> R:
        core, this_call, begun = scope.core, object(), perf_counter()
        try:
            try:
                core.calls[this_call] = get_ident()
                if core.closed or scope.closed:
                    raise store_is_closed()
                return function(scope, *args, **kwargs)
            finally:
                core.calls.pop(this_call, None)  # inlined end_call: calling it costs 2 % of a lookup in memory
                if core.closed:
                    core.end_call(this_call)
        except BaseException as error:
            core.end_call(this_call)  # an interrupt may have hit the finally clause above
            if isinstance(error, SIGNALS):
                public = public_error(error)
                _report(public, function.__name__, begun, scope, args)
                raise public from error
            if isinstance(error, ArtifactStoreError):
                _report(error, function.__name__, begun, scope, args)
            raise

    return call


def _report(error: ArtifactStoreError, name: str, begun: float, scope: Scope, args: Sequence[object]) -> None:
    """Log a failed call of an operation, and let the error say what the call was about.

    Args:
        error: the error.
        name: the name of the operation.
        begun: when it began, by ``time.perf_counter``.
        scope: where it was called.
        args: its other arguments.

    """
    settings = scope.core.settings
    provider = None
    if isinstance(error, ProviderError):
        provider = settings.storage_provider
    elif isinstance(error, SessionError):
        provider = settings.session_provider
    subject = args[0] if args else None
    artifact_id = subject if isinstance(subject, str) and grid.is_artifact_id(subject) else None
    error.about(artifact_id=artifact_id, session_id=scope.session_id, provider=provider)
    if _log.debugs:
        milliseconds = round((perf_counter() - begun) * 1000, 1)
        line = f"{name} failed after %s ms: {type(error).__name__}: %s"
        _log.debug(line, milliseconds, error)


def public_error(signal: Exception) -> ArtifactStoreError:
    """Return the error that callers get for one of :data:`SIGNALS`."""
    error = (ConflictError if isinstance(signal, ConflictError) else ProviderError)(str(signal))
    return error.about(key=getattr(signal, "key", None))
