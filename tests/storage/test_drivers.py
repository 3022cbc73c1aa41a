"""How drivers of URLs keep descriptions with files."""

from __future__ import annotations

import pytest

from chuk_artifacts.storage import Description
from chuk_artifacts.storage.drivers import Describer


class Failing:
    """A filesystem of one file, whose writes fail."""

    closed = False
    committed = False

    def open(self, *_, **__):
        """Return itself as the open file."""
        return self

    def write(self, data):
        """Fail."""
        raise OSError("broken")

    def close(self):
        """Complete the upload."""
        self.committed = True


def test_broken_write_completes_nothing():
    """An upload to Azure that breaks off is not completed with what there is, by closing or by the destructor."""
    fs = Failing()
    with pytest.raises(OSError, match="broken"):
        Describer("abfs").write(fs, "files/a", b"x", Description("a/b", {}))
    assert (fs.closed, fs.committed) == (True, False)
