"""OpenTelemetry: spans and metrics of a store, and the spans of its drivers' requests below them."""

from __future__ import annotations

import child
import pytest

from chuk_artifacts import ArtifactNotFoundError, ArtifactStore, aio, core

pytest.importorskip("opentelemetry.sdk")
botocore = pytest.importorskip("opentelemetry.instrumentation.botocore")
trace = pytest.importorskip("opentelemetry.sdk.trace")
export = pytest.importorskip("opentelemetry.sdk.trace.export")
sdk_metrics = pytest.importorskip("opentelemetry.sdk.metrics")
trace_api = pytest.importorskip("opentelemetry.trace")
in_memory = pytest.importorskip("opentelemetry.sdk.trace.export.in_memory_span_exporter")

from chuk_artifacts.otel import OpenTelemetry  # noqa: E402 - only where it is installed

MEGABYTE = 2**20


@pytest.fixture(autouse=True)
def _imported(monkeypatch):
    """Let stores see that this process has imported OpenTelemetry."""
    monkeypatch.setattr(core, "_OPENTELEMETRY", "opentelemetry.trace")


@pytest.fixture
def spans():
    """Return what ended so far, when each request of botocore is a span."""
    exporter, provider = in_memory.InMemorySpanExporter(), trace.TracerProvider()
    provider.add_span_processor(export.SimpleSpanProcessor(exporter))
    instrumentor = botocore.BotocoreInstrumentor()
    instrumentor.instrument(tracer_provider=provider)
    exporter.tracer, exporter.provider = provider.get_tracer("test"), provider
    exporter.all = exporter.get_finished_spans
    yield exporter
    instrumentor.uninstrument()


@pytest.fixture
def bucket(spans, moto_server, monkeypatch):
    """Return a store in a bucket."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    options = {"storage_provider": "s3", "bucket": "spans", "endpoint_url": moto_server, "region": "us-east-1"}
    by_client = {"direct": False}  # only the client's requests are spans of botocore
    with ArtifactStore(**options, storage_options=by_client) as store:
        import boto3  # noqa: PLC0415 - after its instrumentation

        boto3.client("s3", endpoint_url=moto_server, region_name="us-east-1").create_bucket(Bucket="spans")
        yield store


def lost(spans, call):
    """Return the names of the requests of a call that are not below the span around it."""
    spans.clear()
    with spans.tracer.start_as_current_span("caller") as caller:
        call()
    found = [span for span in spans.get_finished_spans() if span.name != "caller"]
    assert found
    return [span.name for span in found if span.parent is None or span.parent.span_id != caller.context.span_id]


def test_small_file(spans, bucket):
    """A small file is stored, read and deleted below the caller's span."""
    ids = []
    assert lost(spans, lambda: ids.append(bucket.store(b"hello"))) == []
    assert lost(spans, lambda: bucket.retrieve(ids[0])) == []
    assert lost(spans, lambda: bucket.delete(ids[0])) == []


def test_parts_of_an_upload(spans, bucket):
    """The parts of a multipart upload are sent below the caller's span."""
    assert lost(spans, lambda: bucket.store(bytes(20 * MEGABYTE))) == []


def test_ranges_of_a_download(spans, bucket):
    """The ranges of a file that are fetched ahead are fetched below the caller's span."""
    file_id = bucket.store(bytes(40 * MEGABYTE))

    def read():
        with bucket.open(file_id) as file:
            assert len(file.read()) == 40 * MEGABYTE

    assert lost(spans, read) == []


def test_batches(spans, bucket):
    """The items of a batch are stored and read below the caller's span."""
    ids = []
    items = [{"data": b"hello"} for _ in range(20)]
    assert lost(spans, lambda: ids.extend(bucket.store_batch(items))) == []
    assert lost(spans, lambda: bucket.retrieve_batch(ids)) == []


@pytest.mark.anyio
async def test_awaited(spans, bucket):
    """An awaited method sends its requests below the span of its task."""
    files = aio.ArtifactStore.wrap(bucket)
    spans.clear()
    with spans.tracer.start_as_current_span("caller") as caller:
        await files.retrieve(await files.store(b"hello"))
    requests = [span for span in spans.get_finished_spans() if span.name != "caller"]
    assert requests
    assert {span.parent.span_id for span in requests} == {caller.context.span_id}


# Spans and metrics of the store's own


@pytest.fixture
def telemetry(spans):
    """Return an instrumentation that reports to *spans*, and whose metrics ``metrics`` returns."""
    reader = sdk_metrics.export.InMemoryMetricReader()
    otel = OpenTelemetry(tracer_provider=spans.provider, meter_provider=sdk_metrics.MeterProvider([reader]))
    otel.metrics = lambda: {
        metric.name: {
            tuple(sorted((name, value) for name, value in point.attributes.items())): getattr(point, "value", None)
            for point in metric.data.data_points
        }
        for found in reader.get_metrics_data().resource_metrics
        for scope in found.scope_metrics
        for metric in scope.metrics
    }
    return otel


@pytest.fixture
def store(telemetry):
    """Return a store in memory."""
    with ArtifactStore(instrumentation=telemetry) as store:
        yield store


def tree(spans):
    """Return each span with its parent's name."""
    found = spans.get_finished_spans()
    names = {span.context.span_id: span.name for span in found}
    return [(span.name, span.parent and names.get(span.parent.span_id)) for span in found]


def test_span_of_a_method(spans, store):
    """A method is one span, with providers, bytes, outcome and attempts, and without ids."""
    store.retrieve(store.store(b"hello", session_id="alice", filename="a.txt"))
    assert tree(spans) == [
        ("storage.put", "chuk_artifacts.store"),
        ("catalog.add", "chuk_artifacts.store"),
        ("chuk_artifacts.store", None),
        ("catalog.get", "chuk_artifacts.retrieve"),
        ("storage.get", "chuk_artifacts.retrieve"),
        ("chuk_artifacts.retrieve", None),
    ]
    assert dict(spans.all()[-1].attributes) == {
        "chuk_artifacts.storage_provider": "memory",
        "chuk_artifacts.session_provider": "memory",
        "chuk_artifacts.bytes": 5,
        "chuk_artifacts.outcome": "ok",
        "chuk_artifacts.attempts": 1,
    }
    assert not any("alice" in str(span.attributes) or "a.txt" in str(span.attributes) for span in spans.all())


def test_span_of_an_error(spans, store):
    """A method that raises is a span with an error's class, and without its message, which may hold a filename."""
    with pytest.raises(ArtifactNotFoundError):
        store.metadata("0" * 32)
    span = spans.all()[-1]
    assert (span.name, span.status.is_ok, span.status.description) == ("chuk_artifacts.metadata", False, None)
    assert span.attributes["error.type"] == "ArtifactNotFoundError"
    assert not span.events


def test_ids_on_request(spans):
    """With ``ids`` spans have ids and messages."""
    with ArtifactStore(instrumentation=OpenTelemetry(ids=True, tracer_provider=spans.provider)) as store:
        artifact_id = store.store(b"hello", session_id="alice")
        with pytest.raises(ArtifactNotFoundError):
            store.metadata("0" * 32)
    stored, failed = (span for span in spans.all() if span.name.startswith("chuk"))
    assert stored.attributes["chuk_artifacts.artifact_id"] == artifact_id
    assert stored.attributes["chuk_artifacts.session_id"] == "alice"
    assert "0" * 32 in failed.status.description


def test_requests_of_botocore_are_below(spans, telemetry, bucket):
    """The requests of a bucket are below the spans of the storage, parts of an upload and ranges too."""
    settings = {"storage_provider": "s3", "bucket": "spans", "region": "us-east-1"}
    endpoint = bucket.scope.core.settings.bucket.endpoint_url
    spans.clear()
    with ArtifactStore(**settings, endpoint_url=endpoint, instrumentation=telemetry) as store:
        large = store.store(bytes(20 * MEGABYTE))
        store.retrieve(store.store(b"hello"))
        with store.open(large) as file:
            assert len(file.read()) == 20 * MEGABYTE
    requests = {(name, parent) for name, parent in tree(spans) if name.startswith("S3.")}
    assert {("S3.UploadPart", "storage.put"), ("S3.PutObject", "storage.put")} <= requests
    assert {parent for _, parent in requests} <= {"storage.put", "storage.get", "storage.open", "storage.read"}
    parents = {name: parent for name, parent in tree(spans) if name.startswith("storage.")}
    assert parents["storage.read"] == parents["storage.open"] == "chuk_artifacts.open"
    kinds = {span.name: span.kind for span in spans.all()}
    assert (kinds["chuk_artifacts.open"], kinds["storage.put"]) == (
        trace_api.SpanKind.INTERNAL,
        trace_api.SpanKind.CLIENT,
    )


@pytest.mark.parametrize("url", ["redis_url", "postgres_url"])
def test_requests_to_a_catalog(spans, telemetry, request, url):
    """The requests to Redis and PostgreSQL are spans of the catalog, of the kind of a client."""
    provider = url.removesuffix("_url")
    options = {"session_provider": provider, url: request.getfixturevalue(url), "instrumentation": telemetry}
    with ArtifactStore(**options, sandbox_id="spans") as store:
        store.exists(store.store(b"hello", session_id="alice"))
    found = {span.name: span for span in spans.all()}
    assert found["catalog.add"].kind is found["catalog.get"].kind is trace_api.SpanKind.CLIENT
    assert telemetry.metrics()["chuk_artifacts.session_cache"] == {(("found", False), ("provider", provider)): 1}


@pytest.mark.parametrize(
    ("url", "package", "instrumentor"),
    [("redis_url", "redis", "RedisInstrumentor"), ("postgres_url", "psycopg", "PsycopgInstrumentor")],
)
def test_instrumented_catalog(spans, telemetry, request, url, package, instrumentor):
    """With the driver's own instrumentation a catalog works, and all spans of the driver are below its calls."""
    module = pytest.importorskip(f"opentelemetry.instrumentation.{package}")
    own = getattr(module, instrumentor)()
    options = {"session_provider": url.removesuffix("_url"), url: request.getfixturevalue(url)}
    own.instrument(tracer_provider=spans.provider)
    try:
        with ArtifactStore(**options, sandbox_id="instrumented", instrumentation=telemetry) as store:
            artifact_id = store.store(b"hello", session_id="alice", filename="a.txt")
            assert store.update_metadata(artifact_id, summary="changed").revision == 2
            assert [one.filename for one in store.list_by_session("alice")] == ["a.txt"]
            assert store.delete_session("alice")
    finally:
        own.uninstrument()
    ours = ("chuk_artifacts.", "catalog.", "storage.")
    parents = {name: parent for name, parent in tree(spans) if not name.startswith(ours)}
    assert all((parent or "").startswith("catalog.") for parent in parents.values()), parents
    assert {parent for name, parent in tree(spans) if name.startswith("chuk_artifacts.")} == {None}
    assert {"catalog.add", "catalog.remove_session"} <= {name for name, _ in tree(spans)}


def test_stream_and_caller(spans, store):
    """A stream's span ends with the iterator; what the caller does between its steps is not below it."""
    artifact_id = store.store(b"hello")
    spans.clear()
    for _ in store.stream(artifact_id, chunk_size=3):
        with spans.tracer.start_as_current_span("caller"):
            pass
    assert ("caller", None) in tree(spans)
    assert tree(spans)[-1] == ("chuk_artifacts.stream", None)


@pytest.mark.anyio
async def test_awaited_methods(spans, telemetry):
    """Awaited methods are the same spans, below that of their task."""
    async with aio.ArtifactStore(instrumentation=telemetry) as store:
        with spans.tracer.start_as_current_span("caller"):
            artifact_id = await store.store(bytes(MEGABYTE))
            assert [len(chunk) async for chunk in store.stream(artifact_id)] == [MEGABYTE]
            async with store.open(artifact_id) as file:
                await file.read(5)
    methods = [entry for entry in tree(spans) if entry[0].startswith("chuk")]
    assert methods == [(f"chuk_artifacts.{name}", "caller") for name in ("store", "stream", "open")]


def test_metrics(telemetry, clock):
    """Metrics count calls, errors by class, bytes, and what cleanups removed, and note when the last one was."""
    with ArtifactStore(instrumentation=telemetry, clock=clock) as store:
        store.store(b"hello", ttl=1)
        with pytest.raises(ArtifactNotFoundError):
            store.metadata("0" * 32)
        clock.advance(10)
        store.cleanup()
    found = telemetry.metrics()
    assert found["chuk_artifacts.calls"] == {
        (("method", "store"), ("outcome", "ok"), ("provider", "memory")): 1,
        (("method", "metadata"), ("outcome", "error"), ("provider", "memory")): 1,
        (("method", "cleanup"), ("outcome", "ok"), ("provider", "memory")): 1,
    }
    assert found["chuk_artifacts.errors"] == {
        (("error.type", "ArtifactNotFoundError"), ("method", "metadata"), ("provider", "memory")): 1
    }
    assert found["chuk_artifacts.bytes"] == {(("method", "store"), ("provider", "memory")): 5}
    assert found["chuk_artifacts.cleanup.bytes"] == {(("provider", "memory"),): 5}
    assert found["chuk_artifacts.cleanup.removed"][("item", "artifacts"), ("provider", "memory")] == 1
    assert found["chuk_artifacts.cleanup.last"][(("provider", "memory"),)] > 1e9
    assert {"chuk_artifacts.duration", "chuk_artifacts.backend.duration"} <= {*found}


def test_without_configuration():
    """A store made before the application configures OpenTelemetry is silent at first, and reports from then on."""
    code = """
        from opentelemetry import trace
        from opentelemetry.sdk.trace import TracerProvider, export
        from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
        from chuk_artifacts import ArtifactStore
        with ArtifactStore() as store:
            one = store.store(b"hello")
            exporter, provider = InMemorySpanExporter(), TracerProvider()
            provider.add_span_processor(export.SimpleSpanProcessor(exporter))
            trace.set_tracer_provider(provider)
            store.exists(one)
        print([span.name for span in exporter.get_finished_spans()])
        """
    assert child.run(code).strip() == "['catalog.get', 'chuk_artifacts.exists']"
