"""Power that fails: with ``fsync=True`` what was acknowledged is on the disk, whatever else is lost."""

from __future__ import annotations

import json
import random
import shutil
import subprocess
import sys

import child
import pytest

from chuk_artifacts import ArtifactStore, ArtifactStoreError
from proof import disk, ledger
from proof.test_crashes import WORKER

MOMENTS = 3
"""How many moments of a crash the gate tries; ``--minutes`` tries each."""


def traced(tmp_path, effort, **storage_options):
    """Return the system calls of a worker that makes some changes, where it made them, and its log."""
    root, log, trace = tmp_path / "root", tmp_path / "log", tmp_path / "trace"
    options = {"storage_provider": "filesystem", "fs_root": str(root), "sandbox_id": "box"}
    command = [sys.executable, str(WORKER), json.dumps({**options, "storage_options": storage_options})]
    command += [str(log), str(effort.seed), "1", "14"]
    tracer = disk.tracer(trace)
    done = subprocess.run([*tracer, *command], env=child.unmeasured(), input=b"\n", capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
    return list(disk.calls(trace)), root, log


def outcomes(steps, root, log, tmp_path, moments, kinds=disk.OUTCOMES):
    """Yield a folder for each outcome of a crash at each of the moments, and what had been acknowledged."""
    lost, said, changes = disk.Disk(str(root)), tmp_path / "said", 0
    for name, words, result in steps:
        if lost.apply(name, words, result):
            changes += 1
            if changes - 1 in moments:
                for kind in kinds:
                    place = tmp_path / f"after-{changes}-{kind}"
                    place.mkdir(mode=0o700)
                    lost.write_out(place, kind)
                    yield place, said
        elif name == "write" and disk._paths(name, words) == [str(log)]:
            with said.open("ab") as file:
                file.write(disk._bytes(words[1]))
    existing = {str(path) for path in [root, *root.rglob("*")]}
    assert {one for one in lost.names if not one.endswith("-shm")} == {
        one for one in existing if not one.endswith("-shm")
    }, "the trace misses a change"


def check(place, said):
    """Check that a store has what was acknowledged."""
    with ArtifactStore(storage_provider="filesystem", fs_root=place, sandbox_id="box") as store:
        ledger.check(store, ledger.sessions_of([said] if said.exists() else []))
    shutil.rmtree(place)


def test_power_loss(tmp_path, effort):
    """After a crash at any system call, every acknowledged change is there, and what was under way whole or absent."""
    steps, root, log = traced(tmp_path, effort, fsync=True)
    lost = disk.Disk(str(root))
    count = sum(lost.apply(*step) for step in steps)
    chosen = range(count) if effort.minutes else random.Random(effort.seed).sample(range(count), MOMENTS)
    tried = 0
    for place, said in outcomes(steps, root, log, tmp_path, {*chosen}):
        check(place, said)
        tried += 1
    assert tried == len(chosen) * len(disk.OUTCOMES)
    print(f"{tried} outcomes of {count} moments, --proof-seed {effort.seed}")


def test_power_loss_without_fsync(tmp_path, effort):
    """The same trial finds the loss of what was never synced, so it would find a missing fsync."""
    if not effort.minutes:
        pytest.skip("tried with --minutes")
    steps, root, log = traced(tmp_path, effort, fsync=False)
    lost = disk.Disk(str(root))
    last = sum(lost.apply(*step) for step in steps) - 1
    with pytest.raises((AssertionError, ArtifactStoreError)):
        for place, said in outcomes(steps, root, log, tmp_path, {last}, ["least"]):
            check(place, said)
