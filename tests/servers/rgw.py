"""Starts a real, strict S3 server for tests and benchmarks: Ceph RGW on one node, with its objects in memory.

It needs Debian's packages ``radosgw``, ``ceph-mon`` and ``ceph-osd``. Unlike a mock it checks signatures and the expiry
of signed URLs, and its conditional put is atomic.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import attrs

from .ports import free_port

ACCESS_KEY, SECRET_KEY = "test-access-key", "test-secret-key"
PROGRAMS = ("radosgw", "radosgw-admin", "ceph", "ceph-mon", "ceph-osd", "ceph-authtool", "monmaptool")
_PATIENCE_SECONDS = 180
_POOL_BYTES = 4 * 1024**3

_CONFIGURATION = """
[global]
fsid = {fsid}
mon_host = [v2:127.0.0.1:{monitor_port}]
public_addr = 127.0.0.1
cluster_addr = 127.0.0.1
ms_bind_ipv6 = false
auth_cluster_required = cephx
auth_service_required = cephx
auth_client_required = cephx
osd_pool_default_size = 1
osd_pool_default_min_size = 1
osd_pool_default_pg_num = 1
osd_pool_default_pgp_num = 1
osd_pool_default_pg_autoscale_mode = off
rgw_rados_pool_pg_num_min = 1
mon_allow_pool_size_one = true
mon_data_avail_warn = 0
mon_data_avail_crit = 0
mon_max_pg_per_osd = 2000
paxos_propose_interval = 0.02
paxos_min_wait = 0.01
osd_objectstore = memstore
memstore_device_bytes = {pool_bytes}
osd_crush_chooseleaf_type = 0
osd_class_load_list = *
osd_class_default_list = *
run_dir = {folder}
log_file = {folder}/$name.log
admin_socket = {folder}/$name.asok
pid_file = {folder}/$name.pid
mon_data = {folder}/mon
osd_data = {folder}/osd
keyring = {folder}/keyring
setuser =
rgw_frontends = beast endpoint=127.0.0.1:{port} tcp_nodelay=1
"""


@attrs.frozen
class Rgw:
    """A running server.

    Attributes:
        url: where it answers.
        process: the gateway itself, that a test may stop and continue.

    """

    url: str
    process: subprocess.Popen[bytes]


def missing_programs() -> list[str]:
    """Return what is not installed."""
    return [program for program in PROGRAMS if shutil.which(program) is None]


@contextlib.contextmanager
def running(folder: Path, *settings: str) -> Iterator[Rgw]:
    """Start the server with its files in *folder* and more lines of configuration, and stop it at the end."""
    port, monitor_port = free_port(), free_port()
    (folder / "mon").mkdir(parents=True)
    (folder / "osd").mkdir()
    fsid = str(uuid.uuid4())
    configuration = _CONFIGURATION.format(
        fsid=fsid, port=port, monitor_port=monitor_port, folder=folder, pool_bytes=_POOL_BYTES
    )
    (folder / "ceph.conf").write_text("\n".join((configuration, *settings, "")))
    with contextlib.ExitStack() as servers:
        node = _Node(folder, servers)
        node.make_keys()
        node.run("monmaptool", "--create", "--fsid", fsid, "--addv", "a", f"[v2:127.0.0.1:{monitor_port}]", "monmap")
        node.run("ceph-mon", "--mkfs", "-i", "a", "--monmap", "monmap", "--keyring", "keyring")
        node.start("ceph-mon", "-f", "-i", "a")
        node.run("ceph", "auth", "import", "-i", "keyring")
        osd = str(uuid.uuid4())
        node.run("ceph", "osd", "new", osd)
        node.run("ceph-osd", "-i", "0", "--mkfs", "--osd-uuid", osd)
        node.start("ceph-osd", "-f", "-i", "0")
        gateway = node.start("radosgw", "-f", "-n", "client.rgw", "--keyring=keyring", f"--rgw_data={folder}")
        _wait_for(port, gateway)
        user = (
            "--max-buckets=0",
            "--uid=test",
            "--display-name=test",
            f"--access-key={ACCESS_KEY}",
            f"--secret-key={SECRET_KEY}",
        )
        node.run("radosgw-admin", "user", "create", *user)
        yield Rgw(f"http://127.0.0.1:{port}", gateway)


@attrs.frozen
class _Node:
    folder: Path
    servers: contextlib.ExitStack

    def make_keys(self) -> None:
        everything = ("--cap", "mon", "allow *", "--cap", "osd", "allow *")
        tool = ("ceph-authtool", "keyring", "--gen-key")
        self.run(*tool, "--create-keyring", "-n", "mon.", "--cap", "mon", "allow *")
        self.run(*tool, "-n", "client.admin", *everything)
        self.run(*tool, "-n", "osd.0", "--cap", "mon", "allow profile osd", "--cap", "osd", "allow *")
        self.run(*tool, "-n", "client.rgw", "--cap", "mon", "allow rw", "--cap", "osd", "allow rwx")

    def run(self, *command: str) -> None:
        """Run a command to its end."""
        done = subprocess.run(
            command, cwd=self.folder, env=self._environment, capture_output=True, timeout=_PATIENCE_SECONDS, check=False
        )
        if done.returncode:
            raise RuntimeError(f"{' '.join(command)}: {done.stderr.decode(errors='replace')[-2000:]}")

    def start(self, *command: str) -> subprocess.Popen[bytes]:
        """Start a server, that ends with the others."""
        with (self.folder / f"{command[0]}.out").open("wb") as log:
            process = subprocess.Popen(command, cwd=self.folder, env=self._environment, stdout=log, stderr=log)
        self.servers.callback(_stop, process)
        return process

    @property
    def _environment(self) -> dict[str, str]:
        return {**os.environ, "CEPH_CONF": str(self.folder / "ceph.conf"), "HOME": str(self.folder)}


def _wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(0.05)
    raise RuntimeError("the gateway does not begin to answer")


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()
