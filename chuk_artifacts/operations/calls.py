"""``operation``: a decorator for functions over a scope. A closed store refuses them; ``close`` waits for them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial, wraps
from threading import get_ident
from time import perf_counter
from typing import Concatenate, ParamSpec, TypeVar

from chuk_artifacts import grid
from chuk_artifacts.catalog import FilenameTakenError
from chuk_artifacts.core import store_is_closed
from chuk_artifacts.errors import ArtifactStoreError, ConflictError, ProviderError, SessionError
from chuk_artifacts.log import DEBUG
from chuk_artifacts.log import log as _log
from chuk_artifacts.models import ArtifactMetadata
from chuk_artifacts.operations.scope import Scope
from chuk_artifacts.storage import ObjectChangedError, ObjectExistsError, ObjectMissingError

P = ParamSpec("P")
R = TypeVar("R")

SIGNALS = (ObjectMissingError, ObjectExistsError, ObjectChangedError, FilenameTakenError)
"""Errors of backends that some operations catch. The other operations raise the public base class instead."""


def operation(function: Callable[Concatenate[Scope, P], R]) -> Callable[Concatenate[Scope, P], R]:
    """Record each call of *function* with the core while it runs; refuse it when the store is closed.

    Its name is that of the method it fulfils; see :func:`operation_of`.
    """
    return operation_of(function.__name__)(function)


def operation_of(
    method: str,
) -> Callable[[Callable[Concatenate[Scope, P], R]], Callable[Concatenate[Scope, P], R]]:
    """Return :func:`operation` for functions with another name than the *method* they fulfil."""
    return partial(_operation, method)


def _operation(method: str, function: Callable[Concatenate[Scope, P], R]) -> Callable[Concatenate[Scope, P], R]:
    observed = _observed(method, function)

    @wraps(function)
    def call(scope: Scope, /, *args: P.args, **kwargs: P.kwargs) -> R:
        core, this_call, begun = scope.core, object(), perf_counter()
        try:
            try:
                core.calls[this_call] = get_ident()
                if core.closed or scope.closed:
                    raise store_is_closed()
                result = (function if core.observer is None else observed)(scope, *args, **kwargs)
            finally:
                core.calls.pop(this_call, None)  # inlined end_call: calling it costs 2 % of a lookup in memory
                if core.closed:
                    core.end_call(this_call)
        except BaseException as error:
            core.end_call(this_call)  # an interrupt may have hit the finally clause above
            if isinstance(error, SIGNALS):
                public = public_error(error)
                _report(public, method, begun, scope, args)
                raise public from error
            if isinstance(error, ArtifactStoreError):
                _report(error, method, begun, scope, args)
            raise
        if _log.shows(DEBUG):
            _report_success(method, begun, scope, args)
        return result

    return call


def _observed(method: str, function: Callable[Concatenate[Scope, P], R]) -> Callable[Concatenate[Scope, P], R]:
    """Return *function* as a call that the core's observer sees."""
    names_session = [*function.__annotations__][1:2] == ["session_id"]

    def observed(scope: Scope, /, *args: P.args, **kwargs: P.kwargs) -> R:
        def run() -> R:
            try:
                return function(scope, *args, **kwargs)
            except SIGNALS as error:
                raise public_error(error) from error

        observer = scope.core.observer
        if observer is None:
            return run()
        session_id = args[0] if names_session and args and isinstance(args[0], str) else scope.session_id
        return observer.method(method, run, _artifact_id(args), session_id, scope.core)

    return observed


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
    error.about(artifact_id=_artifact_id(args), session_id=scope.session_id, provider=provider)
    if _log.debugs:
        milliseconds = round((perf_counter() - begun) * 1000, 1)
        line = f"{name} failed after %s ms: {type(error).__name__}: %s"
        fields = _fields(name, begun, scope, args, error)
        _log.debug(line, milliseconds, error, extra=fields)


def _report_success(name: str, begun: float, scope: Scope, args: Sequence[object]) -> None:
    """Log a call that has returned; the arguments are those of :func:`_report`."""
    milliseconds, subject = round((perf_counter() - begun) * 1000, 1), _artifact_id(args) or scope.session_id
    line = f"{name} %s took %s ms"
    fields = _fields(name, begun, scope, args)
    _log.debug(line, subject, milliseconds, extra=fields)


def _fields(
    method: str, begun: float, scope: Scope, args: Sequence[object], error: Exception | None = None
) -> dict[str, object]:
    """Return the fields of a log record: attributes of their own, which formatters for machines print."""
    settings = scope.core.settings
    return {
        "method": method,
        "outcome": "ok" if error is None else "error",
        "error": None if error is None else type(error).__name__,
        "duration": perf_counter() - begun,
        "provider": settings.storage_provider,
        "session_provider": settings.session_provider,
        "artifact_id": _artifact_id(args),
        "session_id": scope.session_id,
    }


def _artifact_id(args: Sequence[object]) -> str | None:
    """Return the artifact id that the first of an operation's arguments is or has, or None."""
    subject = args[0] if args else None
    if type(subject) is ArtifactMetadata:
        subject = subject.__dict__.get("artifact_id")  # what a caller hands in may lack it
    return subject if isinstance(subject, str) and grid.is_artifact_id(subject) else None


def public_error(signal: Exception) -> ArtifactStoreError:
    """Return the error that callers get for one of :data:`SIGNALS`."""
    error = (ConflictError if isinstance(signal, ConflictError) else ProviderError)(str(signal))
    return error.about(key=getattr(signal, "key", None))
