"""OpenTelemetry as the instrumentation of a store: a span for each call, and metrics.

It needs ``opentelemetry-api``, the extra ``otel``. Until the application configures a tracer provider or a meter
provider, it does nothing.
"""

from __future__ import annotations

import time
from contextvars import Token
from functools import cache
from typing import TYPE_CHECKING

from opentelemetry import context, metrics, trace
from opentelemetry.metrics import _internal
from opentelemetry.trace import Span, SpanKind, StatusCode

from chuk_artifacts.instrumentation import Call

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.metrics import MeterProvider
    from opentelemetry.trace import TracerProvider

_NAME = "chuk_artifacts"
_METHOD = "method"


class OpenTelemetry:
    """The instrumentation that reports calls to OpenTelemetry.

    Each call of a method is a span ``chuk_artifacts.retrieve``, with a child for each call of the storage
    (``storage.get``) and of the catalog (``catalog.get``). Attributes: ``chuk_artifacts.storage_provider``,
    ``.session_provider``, ``.bytes``, ``.outcome``, ``.attempts``, and ``error.type``.

    Args:
        ids: whether spans contain ids of artifacts and sessions, keys of bytes, and messages of errors, which may
            contain filenames.
        tracer_provider: the provider of spans; None: the global one.
        meter_provider: the provider of metrics; None: the global one.

    Example:
        >>> from chuk_artifacts import ArtifactStore
        >>> with ArtifactStore(instrumentation=OpenTelemetry(ids=True)) as store:
        ...     artifact_id = store.store(b"Hello, world!")

    """

    def __init__(
        self,
        *,
        ids: bool = False,
        tracer_provider: TracerProvider | None = None,
        meter_provider: MeterProvider | None = None,
    ) -> None:
        """Get the tracer and make the instruments."""
        self._ids = ids
        self._is_on = tracer_provider is not None or meter_provider is not None
        self._tracer = trace.get_tracer(_NAME, tracer_provider=tracer_provider)
        meter = metrics.get_meter(_NAME, meter_provider=meter_provider)
        self._calls = meter.create_counter("chuk_artifacts.calls", "{call}", "calls of methods")
        self._errors = meter.create_counter("chuk_artifacts.errors", "{error}", "calls of methods that raised")
        self._bytes = meter.create_counter("chuk_artifacts.bytes", "By", "bytes to and from the storage")
        self._duration = meter.create_histogram("chuk_artifacts.duration", "s", "durations of methods")
        self._backend = meter.create_histogram("chuk_artifacts.backend.duration", "s", "durations of backends' calls")
        self._sessions = meter.create_counter(
            "chuk_artifacts.session_cache", "{lookup}", "lookups of sessions in the catalog's cache"
        )
        self._cleaned = meter.create_gauge("chuk_artifacts.cleanup.last", "s", "time of the last complete cleanup")
        self._removed = meter.create_counter("chuk_artifacts.cleanup.removed", "{item}", "what cleanups removed")
        self._freed = meter.create_counter("chuk_artifacts.cleanup.bytes", "By", "bytes that cleanups removed")

    def enabled(self) -> bool:
        """Return whether the application has set a provider of spans or of metrics by now.

        The public functions take microseconds, since they read the environment. Where a later version has no such
        variables, calls are observed, to no effect.
        """
        if not self._is_on:
            self._is_on = (
                getattr(trace, "_TRACER_PROVIDER", self) is not None
                or getattr(_internal, "_METER_PROVIDER", self) is not None
            )
        return self._is_on

    def begin(self, call: Call) -> _Current:
        """Start the span of a call; return what makes it the current one."""
        span = self._tracer.start_span(
            f"{_NAME}.{call.name}" if call.layer == _METHOD else call.name,
            kind=SpanKind.CLIENT if call.remote and call.layer != _METHOD else SpanKind.INTERNAL,
            attributes={
                f"{_NAME}.storage_provider": call.storage_provider,
                f"{_NAME}.session_provider": call.session_provider,
            },
        )
        call.state = span
        return _Current(trace.set_span_in_context(span))

    def end(self, call: Call) -> None:
        """End the span of a call, and count it."""
        span = call.state
        if span.is_recording():
            self._describe(call, span)
        span.end()
        self._count(call)

    def _describe(self, call: Call, span: Span) -> None:
        span.set_attributes(
            {
                f"{_NAME}.bytes": call.bytes,
                f"{_NAME}.outcome": call.outcome,
                f"{_NAME}.attempts": call.attempts,
                **{f"{_NAME}.{name}": number for name, number in call.facts.items() if name != "bytes"},
            }
        )
        if self._ids:
            ids = {"artifact_id": call.artifact_id, "session_id": call.session_id, "key": call.key}
            span.set_attributes({f"{_NAME}.{name}": value for name, value in ids.items() if value is not None})
        if call.error is not None:
            span.set_attribute("error.type", type(call.error).__name__)
            span.set_status(StatusCode.ERROR, str(call.error) if self._ids else None)

    def _count(self, call: Call) -> None:
        where = {"provider": call.provider}
        if call.cached is not None:
            self._sessions.add(1, {**where, "found": call.cached})
        if call.layer != _METHOD:
            self._backend.record(call.seconds, {**where, "call": call.name, "outcome": call.outcome})
            return
        kind = {**where, "method": call.name}
        self._calls.add(1, {**kind, "outcome": call.outcome})
        self._duration.record(call.seconds, kind)
        if call.bytes:
            self._bytes.add(call.bytes, kind)
        if call.error is not None:
            self._errors.add(1, {**kind, "error.type": type(call.error).__name__})
        if call.name == "cleanup" and call.outcome == "ok":
            removed = dict(call.facts)
            self._cleaned.set(time.time(), where)
            self._freed.add(removed.pop("bytes", 0), where)
            for name, number in removed.items():
                self._removed.add(number, {**where, "item": name})


class _Current:
    """A context manager, which may be entered again, in which a span is the current one.

    It keeps the tokens of threads that are in it at once in a list, which is enough for one at a time.
    """

    __slots__ = ("_context", "_tokens")

    def __init__(self, current: Context) -> None:
        self._context = current
        self._tokens: list[Token[Context]] = []

    def __enter__(self) -> None:
        self._tokens.append(context.attach(self._context))

    def __exit__(self, kind: object, error: object, traceback: object) -> None:
        context.detach(self._tokens.pop())


@cache
def shared() -> OpenTelemetry:
    """Return the instrumentation that stores without one of their own share, so that each metric exists once."""
    return OpenTelemetry()
