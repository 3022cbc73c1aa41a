"""fsspec drivers that keep metadata with a file: Google Cloud Storage (gcsfs) and Azure (adlfs)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from chuk_artifacts.errors import ProviderError
from chuk_artifacts.storage.description import Description, pack, unpack


class Driver(Protocol):
    """How the metadata of a driver's files are written.

    Attributes:
        own: metadata that the driver itself gives to each file.

    """

    own: Mapping[str, str]

    def write(self, fs: Any, path: str, data: bytes, mime: str, metadata: Mapping[str, str]) -> None:
        """Write a whole file with its metadata."""
        ...


class _Google:
    own: Mapping[str, str] = {}

    def write(self, fs: Any, path: str, data: bytes, mime: str, metadata: Mapping[str, str]) -> None:
        fs.pipe_file(path, data, content_type=mime, metadata=metadata)


class _Azure:
    own: Mapping[str, str] = {"is_directory": "false"}

    def write(self, fs: Any, path: str, data: bytes, mime: str, metadata: Mapping[str, str]) -> None:
        """Write by two requests: ``pipe_file`` takes no metadata."""
        file = fs.open(path, "wb", metadata=metadata, content_settings={"content_type": mime})
        try:
            file.write(data)
        except BaseException:
            file.closed = True  # closing, or its destructor, would complete the upload with a part of the data
            raise
        file.close()


_DRIVERS: dict[str, Driver] = {
    **dict.fromkeys(("gs", "gcs"), _Google()),
    **dict.fromkeys(("abfs", "abfss", "az"), _Azure()),
}


class Describer:
    """Keeps descriptions with the files of a driver; does nothing for a driver that has no metadata.

    Args:
        protocol: the driver's protocol; of several that are chained, none.

    """

    def __init__(self, protocol: str) -> None:
        self._driver = _DRIVERS.get(protocol)

    @property
    def works(self) -> bool:
        """Whether the driver keeps metadata."""
        return self._driver is not None

    def write(self, fs: Any, path: str, data: bytes, description: Description | None) -> None:
        """Write a whole file, with its description."""
        if self._driver is None or description is None:
            fs.pipe_file(path, data)
        else:
            self._driver.write(fs, path, data, description.mime, self._metadata(self._driver, description))

    def add(self, fs: Any, path: str, description: Description | None) -> None:
        """Add the description to a file.

        Raises:
            ProviderError: the file is missing, or the driver failed; adlfs does not say which.

        """
        if self._driver is None or description is None:
            return
        try:
            fs.setxattrs(path, **self._metadata(self._driver, description))
        except FileNotFoundError as error:
            raise ProviderError(f"the metadata of {path!r} can't be set") from error

    def read(self, fs: Any, path: str) -> Description | None:
        """Return the description of a file; None if it has none.

        Raises:
            FileNotFoundError: the file is missing.
            ValueError: it can't be decoded.

        """
        if self._driver is None:
            return None
        own = self._driver.own
        metadata = {name: value for name, value in (fs.info(path).get("metadata") or {}).items() if name not in own}
        return unpack(metadata) if metadata else None

    @staticmethod
    def _metadata(driver: Driver, description: Description) -> dict[str, str]:
        """Return a description as metadata, with names that are identifiers, as Azure demands."""
        return {**driver.own, **{name.replace("-", "_"): value for name, value in pack(description).items()}}
