"""The logger of this package. A line contains the cut repr of each value, so that no value can forge a line."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TextIO

from chuk_artifacts.errors import shown

DEBUG = logging.DEBUG


class Log:
    """A logger that formats each value with :func:`~chuk_artifacts.errors.shown`, but only if its level is enabled.

    Args:
        name: the name of the logger.

    Attributes:
        shows: returns whether a level is enabled.

    """

    def __init__(self, name: str) -> None:
        """Get the logger, and give it a handler that drops records until the application configures logging."""
        self._logger = logging.getLogger(name)
        self.shows: Callable[[int], bool] = self._logger.isEnabledFor
        self._logger.addHandler(logging.NullHandler())

    @property
    def debugs(self) -> bool:
        """Whether :meth:`debug` logs anything, for messages that cost something to build."""
        return self.shows(DEBUG)

    def debug(self, message: str, *values: object, extra: Mapping[str, object] | None = None) -> None:
        """Log at level debug; *message* has a ``%s`` for each value, and *extra* are attributes of the record."""
        if self.shows(DEBUG):
            self._log(DEBUG, message, values, extra=extra)

    def warning(self, message: str, *values: object) -> None:
        """Log at level warning; see :meth:`debug`."""
        self._log(logging.WARNING, message, values)

    def error(self, message: str, *values: object, exc_info: BaseException | None = None) -> None:
        """Log at level error, with the traceback of *exc_info*; see :meth:`debug`."""
        self._log(logging.ERROR, message, values, exc_info)

    @contextmanager
    def shown(self, stream: TextIO) -> Iterator[None]:
        """Write all records to *stream*, a line each, while the context lasts."""
        handler = logging.StreamHandler(stream)
        handler.setFormatter(logging.Formatter("%(levelname)s %(name)s: %(message)s"))
        before = self._logger.level
        self._logger.addHandler(handler)
        self._logger.setLevel(DEBUG)
        try:
            yield
        finally:
            self._logger.removeHandler(handler)
            self._logger.setLevel(before)

    def _log(
        self,
        level: int,
        message: str,
        values: tuple[object, ...],
        exc_info: BaseException | None = None,
        extra: Mapping[str, object] | None = None,
    ) -> None:
        self._logger.log(level, message, *map(shown, values), exc_info=exc_info, stacklevel=3, extra=extra)


log: Log = Log("chuk_artifacts")
