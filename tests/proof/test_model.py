"""Random calls of every public method, on each kind of backend, against the oracle."""

from __future__ import annotations

import uuid

import pytest

from chuk_artifacts import ArtifactStore, aio
from proof import mutations
from proof.machine import CALLS, ELSEWHERE, PATHS, Machine, Place


def in_memory(request):
    """Return a place in memory, which only one store has."""
    return mutations.InMemory.place


def on_disk(request):
    """Return a folder."""
    return lambda folder: Place({"storage_provider": "filesystem", "fs_root": folder / "root"})


def with_redis(request):
    """Return a folder, with records in Redis."""
    url = request.getfixturevalue("redis_url")
    return lambda folder: Place(
        {"storage_provider": "filesystem", "fs_root": folder / "root", "session_provider": "redis", "redis_url": url}
    )


def with_postgres(request):
    """Return a folder, with records in PostgreSQL."""
    url = request.getfixturevalue("postgres_url")
    return lambda folder: Place(
        {
            "storage_provider": "filesystem",
            "fs_root": folder / "root",
            "session_provider": "postgres",
            "postgres_url": url,
        }
    )


def in_bucket(service, *, direct):
    """Return a place in a bucket, with records in Redis, with or without the direct path."""

    def place(request):
        from servers import buckets  # noqa: PLC0415 - imports boto3

        options = {**getattr(buckets, service)(request), "session_provider": "redis"}
        options["storage_options"] = {"presign_upload": "gateway", "direct": direct}
        options["redis_url"] = request.getfixturevalue("redis_url")
        return lambda _: Place({**options, "sandbox_id": f"box-{uuid.uuid4().hex}"})

    return place


PLACES = {
    "memory": (in_memory, 10),
    "filesystem-sqlite": (on_disk, 3),
    "filesystem-redis": (with_redis, 3),
    "filesystem-postgres": (with_postgres, 2),
    "moto-redis": (in_bucket("s3_on_served_moto", direct=True), 1),
    "moto-redis-client": (in_bucket("s3_on_served_moto", direct=False), 1),
    "rgw-redis": (in_bucket("s3_on_rgw", direct=True), 0),
    "rgw-redis-client": (in_bucket("s3_on_rgw", direct=False), 0),
}
"""Where the machine runs, and how many sequences of calls the gate tries there."""


@pytest.mark.parametrize("place", PLACES)
def test_model(place, request, effort):
    """Every answer of a store is that of the oracle, whatever was called before."""
    make, few = PLACES[place]
    if not (few or effort.minutes):
        pytest.skip("tried with --minutes")
    machine = type("Machine", (Machine,), {"place": staticmethod(make(request))})
    effort.run(machine, 20 if effort.minutes else few, 40 if few > 1 or effort.minutes else 20)


def test_every_method_is_called():
    """Every public method of both surfaces is called by the machine."""
    public = {
        name
        for surface in (ArtifactStore, aio.ArtifactStore)
        for name in dir(surface)
        if not name.startswith("_") and callable(getattr(surface, name))
    }
    assert public == {*CALLS, *ELSEWHERE} - PATHS


@pytest.mark.parametrize("fault", mutations.IN_THE_GATE)
def test_seeded_fault(fault, effort):
    """The model finds faults in the library; ``python -m proof.mutations`` tries all of them."""
    assert mutations.find(fault, 600, effort.seed) is not None
