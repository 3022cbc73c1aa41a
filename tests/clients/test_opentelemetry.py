"""OpenTelemetry: the spans of requests to a bucket belong to the span that was current when a method was called."""

from __future__ import annotations

import pytest

from chuk_artifacts import ArtifactStore, aio

pytest.importorskip("opentelemetry.sdk")
botocore = pytest.importorskip("opentelemetry.instrumentation.botocore")
trace = pytest.importorskip("opentelemetry.sdk.trace")
export = pytest.importorskip("opentelemetry.sdk.trace.export")
in_memory = pytest.importorskip("opentelemetry.sdk.trace.export.in_memory_span_exporter")

MEGABYTE = 2**20


@pytest.fixture
def spans():
    """Return what ended so far, when each request of botocore is a span."""
    exporter, provider = in_memory.InMemorySpanExporter(), trace.TracerProvider()
    provider.add_span_processor(export.SimpleSpanProcessor(exporter))
    instrumentor = botocore.BotocoreInstrumentor()
    instrumentor.instrument(tracer_provider=provider)
    exporter.tracer = provider.get_tracer("test")
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
