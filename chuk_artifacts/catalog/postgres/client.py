"""A connection to PostgreSQL: statements are sent, and their answers awaited only so long.

This stands on :mod:`psycopg.pq`, psycopg's layer over libpq, and not on its cursors: a call costs half as much, a
statement is prepared and carried out in one round trip, and each wait has an end.

Several statements are sent in one pipeline without BEGIN and COMMIT: the server carries them out as one transaction,
and rolls all of them back when one fails
(https://www.postgresql.org/docs/current/libpq-pipeline-mode.html#LIBPQ-PIPELINE-ERRORS).
"""

from __future__ import annotations

import hashlib
import re
import select
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import attrs
import psycopg
from psycopg import errors, pq

Row = tuple[Any, ...]

_BOOLEAN, _BIGINT, _INTEGER, _DOUBLE = 16, 20, 23, 701  # the numbers of types: select oid, typname from pg_type
_READERS: dict[int, Callable[[bytes], object]] = {
    _BOOLEAN: lambda value: value == b"t",
    _BIGINT: int,
    _INTEGER: int,
    _DOUBLE: float,
}
"""How values that are not texts are read."""
_SOUND = {pq.ExecStatus.TUPLES_OK, pq.ExecStatus.COMMAND_OK}


@attrs.frozen
class Statement:
    """A statement as libpq wants it.

    Attributes:
        text: the statement, with ``$1`` for the first value.
        names: the names of the values.
        name: by which a connection prepares it. It depends on the text: a pooler may show it to other clients.

    """

    text: bytes
    names: tuple[str, ...]
    name: bytes

    @classmethod
    def of(cls, text: str) -> Statement:
        """Return a statement that has ``%(name)s`` for a value, and ``%%`` for a percent sign."""
        names: list[str] = []

        def number(match: re.Match[str]) -> str:
            name = match[1]
            if name is None:
                return "%"
            if name not in names:
                names.append(name)
            return f"${names.index(name) + 1}"

        numbered = re.sub(r"%\((\w+)\)s|%%", number, text).encode()
        digest = hashlib.sha256(numbered).hexdigest()[:32]
        return cls(numbered, tuple(names), f"chuk_{digest}".encode())

    def values(self, values: Mapping[str, object]) -> list[bytes | None]:
        """Return the values in their sequence, as texts; the server knows their types."""
        return [_text(values[name]) for name in self.names]


Step = tuple[Statement, Mapping[str, object]]


class Connection:
    """A connection in autocommit mode.

    Args:
        connection: psycopg's.
        patience: how long a call waits for an answer, in seconds.
        prepares: whether statements are prepared when they are first sent.

    Attributes:
        bare: psycopg's.
        patience: the same.
        prepares: the same.

    """

    def __init__(self, connection: psycopg.Connection[Row], *, patience: float, prepares: bool) -> None:
        """Keep the arguments."""
        self.bare = connection
        self.patience = patience
        self.prepares = prepares
        self._pq = connection.pgconn
        self._prepared: set[bytes] = set()

    @property
    def is_silent(self) -> bool:
        """Whether an idle connection is usable: what a server sends unasked is mostly the end of the connection."""
        try:
            return not _is_ready(self._pq.socket, 0)
        except (psycopg.Error, OSError, ValueError):
            return False

    @property
    def is_idle(self) -> bool:
        """Whether the connection is outside of a transaction, and of a pipeline."""
        return (
            self._pq.transaction_status == pq.TransactionStatus.IDLE
            and self._pq.pipeline_status == pq.PipelineStatus.OFF
        )

    def ask(self, statement: Statement, values: Mapping[str, object]) -> list[Row]:
        """Return the rows of a statement."""
        if self.prepares and statement.name not in self._prepared:
            return self.ask_all([(statement, values)])[0]
        self._send(statement, values)
        until = time.monotonic() + self.patience
        self._flush(until)
        result = self._only_result(until)
        error = _error_of(result)
        if error is not None:
            raise error
        return _rows(result)

    def ask_all(self, steps: Sequence[Step]) -> list[list[Row]]:
        """Return the rows of each statement of one transaction.

        A statement that divides by zero rolls the transaction back. It returns no rows, like those behind it.
        """
        self._pq.enter_pipeline_mode()
        ready = set(self._prepared)
        awaited = [name for statement, values in steps for name in self._send_in_pipeline(statement, values, ready)]
        self._pq.pipeline_sync()
        until = time.monotonic() + self.patience
        self._flush(until)
        answers: list[list[Row]] = []
        error: psycopg.Error | None = None
        for prepared in awaited:
            result = self._only_result(until)
            error = error or _error_of(result)
            if prepared is None:
                answers.append(_rows(result))
            elif error is None:
                self._prepared.add(prepared)
        self._result(until)  # of the end of the pipeline
        self._pq.exit_pipeline_mode()
        if error is not None and not isinstance(error, errors.DivisionByZero):
            raise error
        return answers

    def _send_in_pipeline(
        self, statement: Statement, values: Mapping[str, object], ready: set[bytes]
    ) -> list[bytes | None]:
        """Send a statement, and prepare it unless it is *ready*.

        Return for each result the name that it prepares, or None for that of the statement.
        """
        names: list[bytes | None] = [None]
        if self.prepares and statement.name not in ready:
            self._pq.send_prepare(statement.name, statement.text)
            ready.add(statement.name)
            names = [statement.name, None]
        self._send(statement, values)
        return names

    def _send(self, statement: Statement, values: Mapping[str, object]) -> None:
        if self.prepares:
            self._pq.send_query_prepared(statement.name, statement.values(values))
        else:
            self._pq.send_query_params(statement.text, statement.values(values))

    def _flush(self, until: float) -> None:
        """Send what is still in the buffer, and read meanwhile: the server may wait for that."""
        while self._pq.flush():
            self._wait(until, writes=True)
            self._pq.consume_input()

    def _only_result(self, until: float) -> pq.abc.PGresult:
        """Return the result of a statement, and read the end behind it."""
        result = self._result(until)
        if result is None:
            raise psycopg.InterfaceError("an answer is missing")
        self._result(until)
        return result

    def _result(self, until: float) -> pq.abc.PGresult | None:
        while self._pq.is_busy():
            self._wait(until)
            self._pq.consume_input()
        return self._pq.get_result()

    def _wait(self, until: float, *, writes: bool = False) -> None:
        if not _is_ready(self._pq.socket, max(until - time.monotonic(), 0), writes=writes):
            raise psycopg.OperationalError(f"no answer within {self.patience:.0f} seconds")


def _is_ready(socket: int, seconds: float, *, writes: bool = False) -> bool:
    """Wait until there is something to read, or if *writes* room to write; return whether there is."""
    if not hasattr(select, "poll"):  # Windows
        return any(select.select([socket], [socket] if writes else [], [], seconds))
    poll = select.poll()
    poll.register(socket, select.POLLIN | select.POLLOUT if writes else select.POLLIN)
    return bool(poll.poll(seconds * 1000))


def _error_of(result: pq.abc.PGresult) -> psycopg.Error | None:
    """Return the error in a result, without its DETAIL, which may hold values of rows."""
    if result.status in _SOUND:
        return None
    state = (result.error_field(pq.DiagnosticField.SQLSTATE) or b"").decode()
    text = result.error_field(pq.DiagnosticField.MESSAGE_PRIMARY) or result.error_message
    message = " ".join(text.decode(errors="replace").split())
    if not state:
        return psycopg.OperationalError(message)
    try:
        return errors.lookup(state)(message)
    except KeyError:
        error = psycopg.DatabaseError(message)
        error.sqlstate = state
        return error


def _rows(result: pq.abc.PGresult) -> list[Row]:
    """Return the rows of a result, read column by column: that takes half as long as row by row."""
    get, rows = result.get_value, range(result.ntuples)
    columns = []
    for column in range(result.nfields):
        read = _READERS.get(result.ftype(column), bytes.decode)
        columns.append([None if (value := get(row, column)) is None else read(value) for row in rows])
    return list(zip(*columns, strict=True))


def _text(value: object) -> bytes | None:
    """Return a value as a text that the server understands."""
    if value is None:
        return None
    if isinstance(value, str):
        text = value.encode()
        if b"\0" in text:  # libpq would cut it there
            raise psycopg.DataError("PostgreSQL's texts can't hold U+0000")
        return text
    if isinstance(value, list):
        items = (str(item).replace("\\", "\\\\").replace('"', '\\"') for item in value)
        return _text("{" + ",".join(f'"{item}"' for item in items) + "}")
    return str(value).lower().encode()  # true, 1, 0.5, 1e-07
