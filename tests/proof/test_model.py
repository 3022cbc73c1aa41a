"""Random calls of every public method, on each kind of backend, against the oracle."""

from __future__ import annotations

import uuid

import pytest

from chuk_artifacts import ArtifactStore, aio
from proof import mutants
from proof.machine import CALLS, ELSEWHERE, Machine, Place


def in_memory(request):
    """Return a place in memory, which only one store has."""
    return lambda _: Place({}, shared=False, proves=False)


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


def in_bucket(request):
    """Return a bucket on moto, with records in Redis."""
    from servers.buckets import s3_on_served_moto  # noqa: PLC0415 - imports boto3

    options = {**s3_on_served_moto(request), "session_provider": "redis"}
    options |= {"redis_url": request.getfixturevalue("redis_url"), "storage_options": {"presign_upload": "gateway"}}
    return lambda _: Place({**options, "sandbox_id": f"box-{uuid.uuid4().hex}"})


PLACES = {
    "memory": in_memory,
    "filesystem-sqlite": on_disk,
    "filesystem-redis": with_redis,
    "filesystem-postgres": with_postgres,
    "bucket-redis": in_bucket,
}
EXAMPLES = {"memory": 10, "filesystem-sqlite": 3, "filesystem-redis": 3, "filesystem-postgres": 2, "bucket-redis": 1}
"""How many sequences of calls the gate tries."""


@pytest.mark.parametrize("place", PLACES)
def test_model(place, request, effort):
    """Every answer of a store is that of the oracle, whatever was called before."""
    machine = type("Machine", (Machine,), {"place": staticmethod(PLACES[place](request))})
    effort.run(machine, 100 if effort.minutes else EXAMPLES[place])


def test_every_method_is_called():
    """Every public method of both surfaces is called by the machine."""
    public = {
        name
        for surface in (ArtifactStore, aio.ArtifactStore)
        for name in dir(surface)
        if not name.startswith("_") and callable(getattr(surface, name))
    }
    assert public == {*CALLS, *ELSEWHERE}


@pytest.mark.parametrize("fault", mutants.FAULTS)
def test_seeded_fault(fault, request, effort):
    """The model finds each of these faults in the library."""
    if not effort.minutes and fault not in mutants.IN_THE_GATE:
        pytest.skip("tried with --minutes")
    machine = type("Machine", (Machine,), {"place": staticmethod(in_memory(request))})
    with mutants.FAULTS[fault](), pytest.raises((AssertionError, BaseExceptionGroup)):
        effort.run(machine, 1000 if effort.minutes else 100, 60)
