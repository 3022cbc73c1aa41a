"""A local disk whose system calls fail: each call of the store raises one of our errors, and nothing disagrees after."""

from __future__ import annotations

import json
import random
import subprocess
import sys

import child
import pytest

from chuk_artifacts import ArtifactStore
from proof import disk, ledger
from proof.test_crashes import WORKER

FAULTS = [
    *(f"{call}:error={error}" for call in ("openat", "openat2") for error in ("EIO", "EMFILE", "EINTR", "ENOSPC")),
    *(f"write:error={error}" for error in ("EIO", "ENOSPC", "EINTR")),
    *(f"pwrite64:error={error}" for error in ("EIO", "ENOSPC")),
    *(f"{call}:error={error}" for call in ("fsync", "fdatasync") for error in ("EIO", "ENOSPC")),
    *(f"{call}:error={error}" for call in ("renameat", "rename") for error in ("EIO", "ENOSPC")),
    *(f"unlinkat:error={error}" for error in ("EIO", "EINTR")),
    "mkdirat:error=ENOSPC",
]
IN_THE_GATE = ("pwrite64:error=EIO",)


@pytest.mark.parametrize("fault", FAULTS)
def test_disk_fault(fault, tmp_path, effort):
    """System calls fail now and then: errors are ours, and after them the same place works and all agrees."""
    if not effort.minutes and fault not in IN_THE_GATE:
        pytest.skip("tried with --minutes")
    strace = disk.tracer(tmp_path / "probe")[0]
    root, log = tmp_path / "root", tmp_path / "log"
    options = {"storage_provider": "filesystem", "fs_root": str(root), "sandbox_id": "box"}
    dice = random.Random(f"{effort.seed}-{fault}")
    command = [sys.executable, str(WORKER), json.dumps({**options, "storage_options": {"fsync": True}}), str(log)]
    with subprocess.Popen(
        [*command, str(effort.seed), "1", "40"],
        env=child.unmeasured(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as worker:
        assert worker.stdout.readline() == b"ready\n"
        call = fault.partition(":")[0]
        words = ["-f", "-o", str(tmp_path / "trace"), "-p", str(worker.pid), "-e", f"trace={call}"]
        words += ["-e", f"inject={fault}:when={dice.randrange(3, 9)}+{dice.randrange(5, 12)}"]
        with subprocess.Popen([strace, *words], stderr=subprocess.PIPE) as tracing:
            assert b"attached" in tracing.stderr.readline()
            _, errors = worker.communicate(b"\n", timeout=120)
            tracing.communicate()
    assert worker.returncode == 0, errors.decode()
    assert b"Traceback" not in errors, errors.decode()
    with ArtifactStore(**options) as store:
        acknowledged = ledger.check(store, ledger.sessions_of([log]))
        assert store.retrieve(store.store(b"after")) == b"after"
    failed = log.read_text().count('"error"')
    injected = (tmp_path / "trace").read_text().count("(INJECTED)")
    print(f"{fault}: {injected} injected, {failed} failures, {acknowledged} acknowledged")
