"""Large objects: the length of parts, how many are sent at once, and what happens when one fails."""

from __future__ import annotations

import contextlib
import gc
import gzip
import hashlib
import io
import itertools
import threading
import weakref
from collections import Counter

import child
import pytest
from interrupts import Interrupt, TimeLimit, interrupted

from chuk_artifacts import InvalidInputError, ProviderError
from chuk_artifacts.settings import resolve
from chuk_artifacts.source import Stream, source
from chuk_artifacts.storage import ObjectChangedError, ObjectMissingError, StoredObject, open_storage
from chuk_artifacts.storage.bucket import BucketStorage, multipart
from chuk_artifacts.storage.bucket import storage as bucket_storage
from chuk_artifacts.storage.bucket.answers import lacking
from chuk_artifacts.threads import Threads

KIB, MIB, GIB, TIB = 1024, 1024**2, 1024**3, 1024**4
KEY = "grid/box/session/0123"
OTHER = f"{KEY}~2"
PATIENCE = 30  # seconds after which a test takes what it waits for for hanging
DATA = bytes(range(256)) * (MIB // 256) * 20 + b"end"


class Service:
    """A service that keeps objects by key, and takes parts only of equal length, as Cloudflare R2 does.

    Attributes:
        objects: bytes by key.
        uploads: parts by number, of uploads that are neither complete nor aborted.
        calls: what it was asked for.
        answers: what it answers in place of the right answer, by operation.
        on_part: is called with the number of each part when it arrives.

    """

    def __init__(self):
        self.objects, self.uploads, self.calls, self.answers = {}, {}, [], {}
        self.written = {}
        self.on_part = lambda number: None

    def __call__(self, operation, **order):
        """Do what is asked for."""
        self.calls.append(operation)
        answer = getattr(self, operation)(order)
        if operation not in self.answers:
            return answer
        answer = self.answers[operation]
        lack = lacking(operation, answer, order)
        if lack and operation != "complete_multipart_upload":  # as the storage does before it hands on an answer
            raise ProviderError(lack)
        return answer

    @staticmethod
    def key(order):
        """Return the key of an order."""
        return order["Key"]

    def create_multipart_upload(self, order):
        """Begin an upload."""
        upload = f"upload-{len(self.calls)}"
        self.uploads[upload] = {}
        self.written[order["Key"]] = order["Metadata"]
        return {"UploadId": upload}

    def upload_part(self, order):
        """Take a part."""
        self.on_part(order["PartNumber"])
        return self._keep(order, order["Body"].read())

    def upload_part_copy(self, order):
        """Copy a part."""
        self.on_part(order["PartNumber"])
        begin, end = map(int, order["CopySourceRange"].removeprefix("bytes=").split("-"))
        return {"CopyPartResult": self._keep(order, self.objects[order["CopySource"]["Key"]][begin : end + 1])}

    def _keep(self, order, data):
        self.uploads[order["UploadId"]][order["PartNumber"]] = data
        return {"ETag": f'"{order["PartNumber"]}"', "ResponseMetadata": {}}

    def complete_multipart_upload(self, order):
        """Make an object of the parts; all but the last must have one length."""
        parts = self.uploads.pop(order["UploadId"])
        told = order["MultipartUpload"]["Parts"]
        assert told == [{"PartNumber": number, "ETag": f'"{number}"'} for number in sorted(parts)]
        *lengths, last = (len(parts[number]) for number in sorted(parts))
        assert len({*lengths}) <= 1
        assert not lengths or last <= lengths[0]
        self.objects[order["Key"]] = b"".join(parts[number] for number in sorted(parts))
        return {"ETag": "whole"}

    def abort_multipart_upload(self, order):
        """Forget an upload."""
        self.uploads.pop(order["UploadId"], None)
        return {}

    def put_object(self, order):
        """Take an object."""
        self.objects[order["Key"]] = order["Body"].read()
        return {"ETag": "whole"}

    def copy_object(self, order):
        """Copy an object."""
        self.objects[order["Key"]] = self.objects[order["CopySource"]["Key"]]
        return {"CopyObjectResult": {"ETag": "whole"}}

    def head_object(self, order):
        """Describe an object."""
        if order["Key"] not in self.objects:
            raise ObjectMissingError(order["Key"])
        return {"Metadata": self.written.get(order["Key"], {})}

    def get_object(self, order):
        """Answer that nothing exists, where a HEAD could not distinguish a missing object from a missing bucket."""
        raise ObjectMissingError(order["Key"])


@pytest.fixture
def service():
    """Return a fake service."""
    return Service()


@pytest.fixture
def stub(service, monkeypatch):
    """Return a storage on that service, with parts of 8 KiB and no more than 64 KiB under way."""
    storage = open_storage(resolve(now=0, storage_provider="s3", bucket="any", endpoint_url="http://127.0.0.1:1"))
    monkeypatch.setattr(storage._client, "call", service)
    monkeypatch.setattr(storage, "_part_length", 8 * KIB)
    monkeypatch.setattr(storage._flow, "bound", 64 * KIB)
    monkeypatch.setattr(multipart, "_MIB", KIB)
    yield storage
    storage.close()


def stream(data, piece=KIB, length=None):
    """Return a stream with an expected *length*."""
    pieces = (data[begin : begin + piece] for begin in range(0, len(data), piece))
    return Stream(lambda: pieces, rewindable=False, measure=lambda: length)


# Lengths


@pytest.mark.parametrize(
    "total", [None, 0, 1, 9 * MIB, 7 * GIB, 78 * GIB, 79 * GIB, 120 * GIB, TIB, 5 * TIB, 5 * TIB - 1, 40 * TIB]
)
@pytest.mark.parametrize("shortest", [5 * MIB, 8 * MIB, 64 * MIB + 1, 5 * GIB])
def test_one_length_for_a_known_total(total, shortest):
    """Data of a known length fits into 10,000 parts of one length, which is no longer than it must be."""
    length = multipart.part_length(total, shortest)
    lengths = list(multipart.part_lengths(length))
    assert len(lengths) == 10_000
    equal = sum(1 for _ in itertools.takewhile(lambda one: one == length, lengths))
    assert length * equal >= (total or 0)
    assert shortest <= length <= max(shortest, (total or 0) // 8000 + MIB)


def test_parts_grow_late():
    """Parts of a stream of unknown length are equal for 62 GiB, and 10,000 of them hold 5 TiB."""
    lengths = list(multipart.part_lengths(multipart.part_length(None)))
    assert set(lengths[:8000]) == {8 * MIB}
    assert sum(lengths) > 5 * TIB
    assert max(lengths) <= 5 * GIB
    assert lengths == sorted(lengths)


@pytest.mark.parametrize("extra", [0, 1, -1])
@pytest.mark.parametrize("piece", [1, 3, 8, 20, 1000])
def test_cut(piece, extra):
    """Data is cut into parts of the lengths asked for, whatever pieces it comes in, and only the last is the last."""
    data = bytes(range(48 + extra))
    chunks = [data[begin : begin + piece] for begin in range(0, len(data), piece)]
    parts = list(multipart.cut(chunks, iter([8, 8, 16, 16, 32])))
    assert b"".join(part.body.read() for part in parts) == data
    assert [part.length for part in parts[:-1]] == [8, 8, 16, 16, 32][: len(parts) - 1]
    assert [part.last for part in parts] == [False] * (len(parts) - 1) + [True]
    assert len(parts) == (5 if extra == 1 else 4)


@pytest.mark.parametrize("chunks", [[], [b""], [b"", b""]])
def test_cut_of_nothing(chunks):
    """No data is one part of no bytes."""
    (part,) = multipart.cut(chunks, iter([8]))
    assert (part.body.read(), part.last) == (b"", True)


# What is known of a length


@pytest.mark.parametrize("data", [b"0123456789", b""], ids=len)
def test_length_of_files(tmp_path, data):
    """The length of a path and of a seekable file is known before it is read, from where the file stands."""
    path = tmp_path / "file"
    path.write_bytes(b"skip" + data)
    with path.open("rb") as buffered, path.open("rb", buffering=0) as raw, path.open("r+b") as both:
        for file in (buffered, raw, both, io.BytesIO(b"skip" + data)):
            file.seek(4)
            opened = source(file)
            assert opened.measure() == len(data)
            assert b"".join(opened) == data
            assert opened.measure() == len(data)
    assert source(path).measure() == len(data) + 4


def test_length_that_is_not_known(tmp_path):
    """What can't seek has no length to expect, and a file that is gone raises when it is read, not before."""
    path = tmp_path / "file"
    path.write_bytes(b"data")
    gone = source(path)
    path.unlink()
    assert gone.measure() is None
    with pytest.raises(FileNotFoundError):
        list(gone)
    assert source(iter([b"data"])).measure() is None
    assert source([b"data"]).measure() is None
    closed = io.BytesIO(b"data")
    opened = source(closed)
    closed.close()
    assert opened.measure() is None


def test_length_of_a_compressed_file(tmp_path):
    """A file that would have to be decompressed to know its length is not."""
    path = tmp_path / "file.gz"
    path.write_bytes(gzip.compress(b"x" * 100_000))
    with gzip.open(path) as file:
        opened = source(file)
        assert opened.measure() is None
        assert file.tell() == 0
        assert b"".join(opened) == b"x" * 100_000


# Equal parts


@pytest.mark.parametrize(
    "make",
    [
        lambda data, path: contextlib.nullcontext(data),
        lambda data, path: contextlib.nullcontext(path),
        lambda data, path: path.open("rb"),
        lambda data, path: io.BytesIO(data),
    ],
    ids=["bytes", "path", "file", "BytesIO"],
)
def test_known_length_has_equal_parts(stub, service, monkeypatch, tmp_path, make):
    """Data of a known length goes in equal parts, few enough, to a service that takes no others."""
    monkeypatch.setattr(multipart, "_EQUAL_PARTS", 10)
    monkeypatch.setattr(multipart, "_PARTS_UNTIL_DOUBLED", 1)
    data = DATA[: 1000 * KIB + 1]
    (tmp_path / "file").write_bytes(data)
    with make(data, tmp_path / "file") as made:
        assert stub.put(KEY, source(made)) == (len(data), hashlib.sha256(data).hexdigest())
    assert service.objects == {KEY: data}
    assert service.calls.count("upload_part") == 10


def test_unknown_length_has_equal_parts(stub, service):
    """A stream of unknown length goes in equal parts as long as there are 8,000 of them at most."""
    stub._part_length = 100
    data = DATA[:800_000]
    assert stub.put(KEY, stream(data, 99))[0] == 800_000
    assert service.objects == {KEY: data}


@pytest.mark.parametrize("expected", [0, 10 * KIB, 90 * KIB, 300 * KIB])
def test_file_that_changes_while_it_is_read(stub, service, expected):
    """What is read of a file is what is stored, whatever length it had before."""
    data = DATA[: 100 * KIB]
    assert stub.put(KEY, stream(data, length=expected)) == (len(data), hashlib.sha256(data).hexdigest())
    assert service.objects == {KEY: data}


def test_line_that_is_shortened_while_it_is_read():
    """The garbage collector may run while the line is read, and a finalizer may let another thread remove parts."""
    code = """
        import gc
        from chuk_artifacts.storage.bucket.multipart import Flow

        class Part:
            weight = 1
            done = lambda self: True

        class Ending:
            def __init__(self):
                self.circle = self
            def __del__(self):
                flow._line.clear()

        flow = Flow(None)
        gc.disable()
        gc.set_threshold(1)
        for _ in range(50):
            flow._line = [Part() for _ in range(1000)]
            Ending()
            lists = [[] for _ in range(200)]  # so that the next one is allocated, which runs the collector
            gc.enable()
            assert len(flow._standing()) in (0, 1000)
            gc.disable()
        print("done")
    """
    assert child.run(code) == "done\n"


def test_file_that_grows_and_grows(stub, service, monkeypatch):
    """A file that outgrows the parts that were enough for it goes on in longer ones."""
    monkeypatch.setattr(multipart, "_EQUAL_PARTS", 10)
    monkeypatch.setattr(multipart, "_PARTS_UNTIL_DOUBLED", 1)
    monkeypatch.setattr(multipart, "_MOST_PARTS", 13)
    monkeypatch.setattr(Service, "complete_multipart_upload", lambda self, order: self.ended(order))
    service.ended = lambda order: service.objects.update(parts=service.uploads.pop(order["UploadId"])) or {"ETag": "e"}
    data = DATA[: 150 * KIB]
    stub.put(KEY, stream(data, length=80 * KIB))
    parts = service.objects["parts"]
    assert b"".join(parts[number] for number in range(1, len(parts) + 1)) == data
    assert [len(parts[number]) // KIB for number in (1, 10, 11, 12)] == [8, 8, 16, 32]


def test_more_bytes_than_parts_hold(stub, service, monkeypatch):
    """Data that 10,000 parts do not hold is an error that names the option to set, and leaves nothing."""
    monkeypatch.setattr(multipart, "_MOST_PARTS", 3)
    with pytest.raises(ProviderError, match="part_size"):
        stub.put(KEY, stream(DATA[: 24 * KIB + 1]))
    assert service.uploads == service.objects == {}
    stub.put(KEY, stream(DATA[: 24 * KIB]))
    assert service.objects == {KEY: DATA[: 24 * KIB]}


# The option


@pytest.mark.parametrize("provider", ["s3", "ibm_cos", "ibm_cos_iam"])
def test_part_size(provider):
    """``part_size`` is an int from 5 MiB to 5 GiB, for buckets."""
    options = {"now": 0, "storage_provider": provider}
    for size in (5 * MIB, 5 * GIB, 7 * MIB + 1):
        assert resolve(**options, storage_options={"part_size": size}).part_size == size
    assert resolve(**options).part_size is None
    for size in (5 * MIB - 1, 5 * GIB + 1, 0, -1, "8MiB", True, 8e6):
        with pytest.raises(InvalidInputError, match="part_size"):
            resolve(**options, storage_options={"part_size": size})
    with pytest.raises(InvalidInputError, match="part_size"):
        resolve(now=0, storage_provider="memory", storage_options={"part_size": 8 * MIB})


def test_part_size_is_kept(options, proxy):
    """Data goes by one request up to ``part_size``, and in parts of that length above."""
    settings = {name: options[name] for name in ("storage_provider", "bucket")}
    size = 6 * MIB
    storage = open_storage(resolve(now=0, **settings, endpoint_url=proxy.url, storage_options={"part_size": size}))
    for data in (DATA[:size], DATA[: size + 1]):
        for made in (data, source(iter([data]))):
            storage.put(KEY, made)
            assert storage.get(KEY) == data
    storage.close()
    sizes = Counter(request.size for request in proxy.requests if request.method == "PUT")
    assert sizes == {size: 4, 1: 2}


# Real services


@pytest.mark.parametrize("exclusive", [False, True])
@pytest.mark.parametrize("as_stream", [False, True])
def test_large_data_goes_in_parts(storage, proxy, as_stream, exclusive):
    """More than 8 MiB goes in parts of 8 MiB, and takes no more requests where the key should be free."""
    data = source(iter([DATA])) if as_stream else DATA
    assert storage.put(KEY, data, exclusive=exclusive) == (len(DATA), hashlib.sha256(DATA).hexdigest())
    methods, sizes = zip(*[(request.method, request.size) for request in proxy.requests], strict=True)
    assert methods == ("POST", "PUT", "PUT", "PUT", "POST")
    assert sorted(sizes[1:4]) == [4 * MIB + 3, 8 * MIB, 8 * MIB]
    assert storage.get(KEY) == DATA
    assert list(storage.sweep("grid/box/", float("inf"))) == []


@pytest.fixture
def small_copies(monkeypatch):
    """Let what has more than 10 MiB be copied in parts of 5 MiB."""
    monkeypatch.setattr(bucket_storage, "_COPIED_AT_ONCE", 10 * MIB)
    monkeypatch.setattr(bucket_storage, "_COPIED_PART", 5 * MIB)


def test_large_copy_goes_in_parts(storage, proxy, small_copies):
    """A large copy goes in parts, inside the service, after a look at its length."""
    storage.put(KEY, DATA)
    proxy.told()
    assert storage.copy(KEY, OTHER, len(DATA), hashed=True) is None
    assert [request.method for request in proxy.requests] == ["HEAD", "POST", *["PUT"] * 5, "POST"]
    assert sum(request.size for request in proxy.requests[:7]) == 0
    assert storage.get(OTHER) == DATA


@pytest.mark.parametrize("difference", [-1, 1, -7 * MIB, 7 * MIB])
def test_large_copy_of_another_length(storage, small_copies, difference):
    """A large copy of bytes of another length than expected is an error, and leaves nothing."""
    storage.put(KEY, DATA)
    with pytest.raises(ObjectChangedError):
        storage.copy(KEY, OTHER, len(DATA) + difference)
    assert [item.key for item in storage.list_objects("grid/")] == [KEY]
    assert list(storage.sweep("grid/", float("inf"))) == []


def test_large_copy_of_nothing(storage, small_copies):
    """A large copy of what is not there says so, and makes nothing."""
    with pytest.raises(ObjectMissingError, match=KEY):
        storage.copy(KEY, OTHER, 20 * MIB)
    assert list(storage.list_objects("grid/")) == []
    assert list(storage.sweep("grid/", float("inf"))) == []


def test_upload_that_a_sweep_removes(storage):
    """An upload that is aborted from elsewhere is an error of the provider, and no signal of ours."""

    def data():
        yield DATA[: 9 * MIB]
        assert list(storage.sweep("grid/", float("inf")))
        yield DATA[: 9 * MIB]

    with pytest.raises(ProviderError, match="removed while") as caught:
        storage.put(KEY, source(data()))
    assert type(caught.value) is ProviderError
    assert storage.stat(KEY) is None


# Copies


@pytest.mark.parametrize(
    ("size", "parts"), [(256 * MIB, 0), (256 * MIB + 1, 5), (300 * MIB, 5), (5 * GIB, 80), (5 * TIB, 7993)]
)
def test_copies_by_their_length(monkeypatch, service, size, parts):
    """What has more than 256 MiB is copied in parts of 64 MiB and more, equal ones, that cover all bytes."""
    storage = open_storage(resolve(now=0, storage_provider="s3", bucket="any", endpoint_url="http://127.0.0.1:1"))
    monkeypatch.setattr(storage._client, "call", service)
    monkeypatch.setattr(BucketStorage, "stat", lambda self, key: StoredObject(key, size, 0))
    ranges = {}
    service.objects[KEY] = b""
    service.upload_part_copy = lambda order: (
        ranges.update({order["PartNumber"]: order["CopySourceRange"]}) or {"CopyPartResult": {"ETag": "e"}}
    )
    service.complete_multipart_upload = lambda order: {"ETag": "e"}
    storage.copy(KEY, OTHER, size)
    storage.close()
    assert service.calls.count("upload_part_copy") == len(ranges) == parts
    assert service.calls.count("copy_object") == (not parts)
    ends = [tuple(map(int, ranges[number].removeprefix("bytes=").split("-"))) for number in range(1, parts + 1)]
    assert [begin for begin, _ in ends] == [0, *(end + 1 for _, end in ends[:-1])][:parts]
    assert not ends or ends[-1][1] == size - 1
    assert len({end - begin for begin, end in ends[:-1]}) <= 1


def test_parts_of_a_copy_go_side_by_side(stub, service, monkeypatch):
    """As many parts of a copy are under way at once as there are threads, whatever their length."""
    monkeypatch.setattr(bucket_storage, "_COPIED_AT_ONCE", 10)
    monkeypatch.setattr(bucket_storage, "_COPIED_PART", 100 * KIB)
    monkeypatch.setattr(stub._flow, "bound", multipart.IN_FLIGHT)
    monkeypatch.setattr(BucketStorage, "stat", lambda self, key: StoredObject(key, 800 * KIB, 0))
    service.objects[KEY] = DATA[: 800 * KIB]
    at_once = threading.Barrier(multipart.SIDE_BY_SIDE)
    service.on_part = lambda number: at_once.wait(PATIENCE)
    stub.copy(KEY, OTHER, 800 * KIB)
    assert service.objects[OTHER] == service.objects[KEY]


# Broken answers


@pytest.mark.parametrize("answer", [{}, {"ETag": ""}, {"CopyPartResult": {}}, {"UploadId": ""}], ids=str)
@pytest.mark.parametrize("operation", ["create_multipart_upload", "upload_part"])
def test_answer_that_lacks_what_belongs_there(stub, service, operation, answer):
    """An answer to the beginning of an upload, or to a part, that lacks what belongs there is an error."""
    service.answers[operation] = answer
    with pytest.raises(ProviderError, match="an answer without"):
        stub.put(KEY, DATA[: 30 * KIB])
    assert service.objects == {}
    assert service.uploads == {} or operation == "create_multipart_upload"


@pytest.mark.parametrize("by_parts", [False, True])
@pytest.mark.parametrize("hashed", [False, True])
@pytest.mark.parametrize(
    "answer", [{}, {"CopyPartResult": {}, "CopyObjectResult": {}}, {"CopyPartResult": {"ETag": ""}}], ids=str
)
def test_answer_to_a_copy_that_lacks_what_belongs_there(stub, service, monkeypatch, by_parts, hashed, answer):
    """An answer to a copy, or to a part of one, that lacks what belongs there is an error."""
    monkeypatch.setattr(bucket_storage, "_COPIED_AT_ONCE", 0 if by_parts else KIB)
    monkeypatch.setattr(BucketStorage, "stat", lambda self, key: StoredObject(key, KIB, 0))
    service.objects[KEY] = DATA[:KIB]
    service.answers = {"copy_object": answer, "upload_part_copy": answer}
    with pytest.raises(ProviderError, match="an answer without"):
        stub.copy(KEY, OTHER, KIB, hashed=hashed)
    assert service.uploads == {}


def test_completion_that_is_not_confirmed(stub, service):
    """An upload whose completion is not confirmed is a success if the object is the one of this upload."""
    service.answers["complete_multipart_upload"] = {}
    stub.put(KEY, DATA[: 30 * KIB])
    assert service.objects == {KEY: DATA[: 30 * KIB]}
    service.complete_multipart_upload = lambda order: {}
    service.objects.clear()
    with pytest.raises(ProviderError, match="complete"):
        stub.put(KEY, DATA[: 30 * KIB])
    assert service.uploads == {}


# Bytes in flight


class Gauge:
    """Measures how many bytes of parts are alive at a time."""

    def __init__(self):
        self.lock = threading.Lock()
        self.now = self.most = 0

    def send(self, number, weight):
        """Send a part of this weight, beside as many others as there is room for."""
        with self.lock:
            self.now += weight
            self.most = max(self.most, self.now)
        hashlib.sha256(DATA[:MIB])  # during which other threads run
        with self.lock:
            self.now -= weight
        return number


@pytest.mark.parametrize("weights", [[8] * 50, [30] * 20, [33] * 20, [64] * 9, [100] * 5, [1, 64, 100, 3, 60, 5] * 5])
def test_bytes_in_flight_are_bounded(weights):
    """Of no upload, and of no number of uploads at once, more bytes are under way than the bound or one part has."""
    gauge, threads = Gauge(), Threads(8, "test")
    flow = multipart.Flow(threads, bound=64)
    results = []

    def upload():
        results.append(flow.send_all(iter(weights), gauge.send, lambda weight: weight))

    uploads = [threading.Thread(target=upload) for _ in range(4)]
    for one in uploads:
        one.start()
    for one in uploads:
        one.join()
    threads.close()
    assert results == [list(range(1, len(weights) + 1))] * 4
    assert gauge.most <= max(64, *weights)
    assert flow._line == []


@pytest.mark.parametrize(("weight", "at_once"), [(8, 8), (16, 4), (30, 2), (33, 1), (64, 1)])
def test_room_is_used(weight, at_once):
    """As many parts go at once as fit."""
    meeting = threading.Barrier(at_once)
    threads = Threads(8, "test")
    flow = multipart.Flow(threads, bound=64)
    flow.send_all(range(at_once * 3), lambda number, part: meeting.wait(PATIENCE), lambda part: weight)
    threads.close()


def test_part_longer_than_the_bound_goes_alone():
    """A part longer than the bound is on its way before the next one is read, so that one of them is in memory."""
    alive, most = set(), []

    def parts():
        for number in range(1, 6):
            alive.add(number)
            most.append(len(alive))
            yield number

    threads = Threads(8, "test")
    multipart.Flow(threads, bound=64).send_all(parts(), lambda number, part: alive.remove(part), lambda part: 65)
    threads.close()
    assert most == [1] * 5


@pytest.mark.parametrize("weight", [1, 64, 65])
def test_sent_part_is_not_kept(weight):
    """Nothing refers to a part that has been sent when the next one is read."""

    class Thing:
        pass

    def parts():
        for _ in range(5):
            thing = Thing()
            alive.add(thing)
            most.append(len(alive))
            yield thing
            del thing

    alive, most = weakref.WeakSet(), []
    threads = Threads(8, "test")
    threads.close()  # so that no thread may be about to drop one
    multipart.Flow(threads, bound=64).send_all(parts(), lambda number, part: number, lambda part: weight)
    assert most == [1] * 5


def test_close_ends_the_threads(stub):
    """A closed storage leaves no thread behind."""
    stub.put(KEY, DATA[: 100 * KIB])
    assert any(thread.name.startswith("chuk-artifacts-parts") for thread in threading.enumerate())
    stub.close()
    assert not any(thread.name.startswith("chuk-artifacts-parts") for thread in threading.enumerate())


@pytest.mark.parametrize("known", [True, False])
def test_parts_are_given_back(stub, service, known):
    """Each part is free when it has been sent: what lives is what is under way, and the part that is being filled."""
    alive = weakref.WeakSet()
    most = []

    class Body(io.BytesIO):
        def __init__(self):
            super().__init__()
            alive.add(self)
            most.append(len(alive))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(multipart.io, "BytesIO", Body)
        stub.put(KEY, stream(DATA[: 800 * KIB], length=800 * KIB if known else None))
    assert len(most) == 100
    assert max(most) <= 8 + 2  # a thread may be about to drop one


# Failures


def test_refused_part_stops_the_upload(stub, service, monkeypatch):
    """A part that is refused ends the upload though an earlier one is slow: little more is read, and nothing sent."""
    refused, give_up, release = threading.Event(), multipart.give_up, threading.Event()
    read, sent_after = [], []

    def arrive(number):
        if number == 1:
            assert release.wait(PATIENCE)
        elif number == 3:
            refused.set()
            raise ProviderError("refused")
        elif refused.is_set():
            sent_after.append(number)

    def data():
        for number in range(100):
            if number == 8:  # more can't be under way beside the slow one
                assert refused.wait(PATIENCE)
            read.append(number)
            yield DATA[: 8 * KIB]
        release.set()

    def release_and_give_up(calls):
        release.set()
        give_up(calls)

    monkeypatch.setattr(multipart, "give_up", release_and_give_up, raising=False)
    service.on_part = arrive
    with pytest.raises(ProviderError, match="refused"):
        stub.put(KEY, source(data()))
    assert len(read) <= 20
    assert len(sent_after) <= 8
    assert service.uploads == service.objects == {}
    assert service.calls[-1] == "abort_multipart_upload"


def test_last_part_refused_while_the_first_is_slow(stub, service, monkeypatch):
    """A refusal among the last parts is noticed before slow ones have ended, and these end before the abort."""
    noticed, give_up = threading.Event(), multipart.give_up
    service.on_part = lambda number: self_raise() if number == 4 else noticed.wait(PATIENCE)

    def self_raise():
        raise ProviderError("refused")

    monkeypatch.setattr(multipart, "give_up", lambda calls: noticed.set() or give_up(calls))
    with pytest.raises(ProviderError, match="refused"):
        stub.put(KEY, DATA[: 30 * KIB])
    assert noticed.is_set()
    assert Counter(service.calls) == {"create_multipart_upload": 1, "upload_part": 4, "abort_multipart_upload": 1}
    assert service.calls[-1] == "abort_multipart_upload"
    assert service.uploads == {}


def refuse_to_start(_):
    """Fail as CPython does when no more threads may be."""
    raise RuntimeError("can't start new thread")


def test_no_thread_can_start(stub, service, monkeypatch):
    """Uploads while no thread can start are errors, again and again; later ones work, and nothing of those is sent."""
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse_to_start)
        for _ in range(20):
            with pytest.raises(ProviderError, match="can't start"):
                stub.put(KEY, DATA[: 30 * KIB])
    assert service.calls.count("upload_part") == 0
    assert service.uploads == {}
    stub.put(KEY, DATA[: 100 * KIB])
    stub.close()
    assert service.calls.count("upload_part") == 13
    assert service.objects == {KEY: DATA[: 100 * KIB]}


def test_next_thread_can_not_start(stub, service, monkeypatch):
    """When the third thread can't start, the parts in the first two end, and the upload is an error without traces."""
    start = threading.Thread.start
    left, may_end = iter([1, 1]), threading.Event()

    def start_two(thread):
        if next(left, None) is None:
            may_end.set()
            refuse_to_start(thread)
        start(thread)

    service.on_part = lambda number: may_end.wait(PATIENCE)
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", start_two)
        with pytest.raises(ProviderError, match="can't start"):
            stub.put(KEY, DATA[: 100 * KIB])
    assert service.calls.count("upload_part") == 2
    assert service.uploads == {}
    stub.put(KEY, DATA[: 100 * KIB])
    assert service.objects == {KEY: DATA[: 100 * KIB]}


def test_closed_while_an_upload_goes_on(stub, service):
    """An upload of more than may be under way ends well when the storage is closed beside it."""
    closer = threading.Thread(target=stub.close)

    def data():
        for number in range(100):
            if number == 20:
                closer.start()
            if number == 60:
                closer.join()
            yield DATA[: 8 * KIB]

    stub.put(KEY, source(data()))
    assert service.objects == {KEY: DATA[: 8 * KIB] * 100}


def test_closed_by_its_own_stream(stub, service):
    """A stream may close the storage that takes it."""

    def data():
        for number in range(100):
            if number == 20:
                stub.close()
            yield DATA[: 8 * KIB]

    stub.put(KEY, source(data()))
    assert service.objects == {KEY: DATA[: 8 * KIB] * 100}


@pytest.mark.parametrize("kind", [KeyboardInterrupt, KeyError])
def test_stream_that_fails(stub, service, kind):
    """Whatever comes out of a stream passes through, and neither bytes nor room are lost, however often."""

    def data():
        yield DATA[: 100 * KIB]
        raise kind("mine")

    for _ in range(20):
        with pytest.raises(kind):
            stub.put(KEY, source(data()))
    assert service.uploads == service.objects == {}
    assert stub._flow._line == []
    stub.put(KEY, DATA[: 100 * KIB])
    assert service.objects == {KEY: DATA[: 100 * KIB]}


def test_parts_of_a_failed_upload_are_given_back(stub, service, monkeypatch):
    """The parts of an upload that failed are free as soon as its error is, without the cyclic garbage collector."""
    alive = weakref.WeakSet()

    class Body(io.BytesIO):
        def __init__(self):
            super().__init__()
            alive.add(self)

    monkeypatch.setattr(multipart.io, "BytesIO", Body)
    service.answers["upload_part"] = {}
    gc.disable()
    try:
        for _ in range(3):
            with pytest.raises(ProviderError):
                stub.put(KEY, DATA[: 100 * KIB])
        stub.close()  # a thread may be about to drop one
        assert len(alive) == 0
    finally:
        gc.enable()


# Interrupts


@pytest.mark.parametrize("kind", [Interrupt, TimeLimit])
@pytest.mark.parametrize("closed", [False, True])
@pytest.mark.parametrize("as_stream", [False, True])
def test_upload_interrupted_anywhere(stub, service, as_stream, closed, kind):
    """Wherever an upload is interrupted, nothing of it is under way any more, and the next one has all the room."""
    if closed:  # so that the calling thread sends the parts
        stub.close()
    data = DATA[: 100 * KIB]
    for place in interrupted(lambda: stub.put(KEY, stream(data) if as_stream else data), kind=kind):
        assert stub._flow._line == [], place
        assert service.uploads == {}, place
        service.objects.clear()
        stub.put(OTHER, data)
        assert service.objects == {OTHER: data}, place
        assert service.uploads == {}, place


def test_copy_interrupted_anywhere(stub, service, monkeypatch):
    """Wherever a copy by parts is interrupted, nothing of it is under way any more."""
    monkeypatch.setattr(bucket_storage, "_COPIED_AT_ONCE", 10)
    monkeypatch.setattr(bucket_storage, "_COPIED_PART", 8 * KIB)
    monkeypatch.setattr(BucketStorage, "stat", lambda self, key: StoredObject(key, 100 * KIB, 0))
    service.objects[KEY] = DATA[: 100 * KIB]
    for place in interrupted(lambda: stub.copy(KEY, OTHER, 100 * KIB)):
        assert stub._flow._line == [], place
        assert service.uploads == {}, place
        stub.copy(KEY, OTHER, 100 * KIB)
        assert service.objects.pop(OTHER) == service.objects[KEY], place
        assert service.uploads == {}, place
