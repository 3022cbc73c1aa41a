"""``operation``: makes a function over a scope a call, which a closed store refuses and ``close`` waits for."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from threading import get_ident
from typing import Concatenate, ParamSpec, TypeVar

from chuk_artifacts.catalog import FilenameTakenError
from chuk_artifacts.core import store_is_closed
from chuk_artifacts.errors import ArtifactStoreError, ConflictError, ProviderError
from chuk_artifacts.operations.scope import Scope
from chuk_artifacts.storage import ObjectChangedError, ObjectExistsError, ObjectMissingError

P = ParamSpec("P")
R = TypeVar("R")

SIGNALS = (ObjectMissingError, ObjectExistsError, ObjectChangedError, FilenameTakenError)
"""What backends raise for the operations that expect it. From any other, callers get the public error above it."""


def operation(function: Callable[Concatenate[Scope, P], R]) -> Callable[Concatenate[Scope, P], R]:
    """Count each call of *function* on the core while it runs, refuse it when the store is closed."""

    @wraps(function)
    def call(scope: Scope, /, *args: P.args, **kwargs: P.kwargs) -> R:
        core, this_call = scope.core, object()
        try:
            try:
                core.calls[this_call] = get_ident()
                if core.closed or scope.closed:
                    raise store_is_closed()
                return function(scope, *args, **kwargs)
            finally:
                core.calls.pop(this_call, None)  # as end_call does; to call that costs 2 % of a lookup in memory
                if core.closed:
                    core.end_call(this_call)
        except BaseException as error:
            core.end_call(this_call)  # an interrupt may have come just before
            if isinstance(error, SIGNALS):
                raise public_error(error) from error
            raise

    return call


def public_error(signal: Exception) -> ArtifactStoreError:
    """Return the error that callers get for one of :data:`SIGNALS`."""
    return (ConflictError if isinstance(signal, ConflictError) else ProviderError)(str(signal))
