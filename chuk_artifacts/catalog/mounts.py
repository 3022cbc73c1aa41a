"""Detection of network file systems, on Linux."""

from __future__ import annotations

import os
import re
from pathlib import Path

_MOUNTS = "/proc/self/mountinfo"
_NETWORK = {
    *("nfs", "nfs4", "cifs", "smb2", "smb3", "smbfs", "9p", "afs", "ceph", "glusterfs", "lustre", "beegfs", "gpfs"),
    *("fuse.sshfs", "fuse.ceph", "fuse.ceph-fuse", "fuse.glusterfs", "fuse.rclone", "fuse.s3fs", "fuse.gcsfuse"),
    *("fuse.goofys", "fuse.mount-s3", "fuse.juicefs", "fuse.blobfuse2", "fuse.mfs", "davfs", "fuse.davfs", "ncpfs"),
}


def network_filesystem(path: str) -> str | None:
    """Return the type of the network file system that holds *path*; None if it is local or unknown."""
    try:
        mounts = Path(_MOUNTS).read_text("utf-8", "surrogateescape")
    except OSError:  # not on Linux
        return None
    kind = filesystem_of(os.path.realpath(path), mounts)
    return kind if kind in _NETWORK else None


def filesystem_of(path: str, mounts: str) -> str | None:
    """Return the type of the file system that holds *path*, an absolute path, or None.

    Args:
        path: the file, with symbolic links resolved.
        mounts: the content of ``/proc/self/mountinfo`` (proc_pid_mountinfo(5)).

    """
    found, length = None, -1
    for line in mounts.splitlines():
        before, separator, after = line.partition(" - ")
        fields = before.split(" ")
        if not separator or len(fields) < 6:  # noqa: PLR2004 - the mount point is the fifth
            continue
        mount_point = re.sub(r"\\([0-7]{3})", lambda code: chr(int(code[1], 8)), fields[4])
        within = path == mount_point or path.startswith(mount_point.rstrip("/") + "/")
        if within and len(mount_point) >= length:  # the last of several mounts at one point hides the others
            found, length = after.split(" ")[0], len(mount_point)
    return found
