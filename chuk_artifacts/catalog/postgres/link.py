"""Statements to PostgreSQL: how many run at once, which are repeated, and which errors the caller sees."""

from __future__ import annotations

import contextlib
import random
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import psycopg

from chuk_artifacts.catalog.postgres import schema
from chuk_artifacts.catalog.postgres.client import Connection, Row, Statement
from chuk_artifacts.catalog.postgres.errors import Outcome, message_of, outcome_of
from chuk_artifacts.catalog.turns import NoTurnError, Turns
from chuk_artifacts.errors import OutcomeUnknownError, SessionError
from chuk_artifacts.fork import Lockable
from chuk_artifacts.instrumentation import retried

T = TypeVar("T")

Step = tuple[str, Mapping[str, object]]
"""A statement with ``$schema`` for the schema and ``%(name)s`` for values, and the values."""

_POOL_SECONDS = 5
_CONNECT_SECONDS = 5
_STATEMENT_SECONDS = 10
_ANSWER_SECONDS = 12.0
"""How long a client waits for an answer; the server gives up before, so that it usually says so itself."""
_PATIENCE_SECONDS = 5.0  # no statement is repeated later than that
_CONFLICT_SECONDS = 30.0  # unless it lost against others: it takes the server a second to notice a deadlock
_PAUSE_SECONDS = 0.05  # before the first repetition; it doubles with each further one
_MOST_CONFLICTS = 50
"""How often a statement is repeated that lost against others: one of them made progress each time."""
_CONFLICTS = {"40001", "40P01"}
_UTF8 = "UTF8"
# One setting of the session, unless the user, the role or the database has it, or a pooler stands in between: there the
# session is everyone's. A pooler shows by the number of the server's process.
_SET_UP = """
SELECT pg_backend_pid() = %(pid)s::integer,
    CASE WHEN pg_backend_pid() = %(pid)s::integer AND current_setting('statement_timeout') = '0'
    THEN set_config('statement_timeout', %(timeout)s, false) END,
    extract(epoch FROM current_setting('statement_timeout')::interval)::float8
"""

_inherited: list[object] = []
"""Connections of the parent process, never closed: they are the parent's."""


class _NotSentError(Exception):
    """There was no connection to send a statement on; the cause says why."""


class Link(Lockable):
    """Sends statements to PostgreSQL, and repeats those that may be repeated when the connection breaks.

    Connections are opened when they are needed. After a fork the child opens its own. The first one creates or upgrades
    the tables.

    Args:
        parameters: the connection parameters of libpq.
        name: what error messages call the server; it contains no password.
        schema_name: the name of the schema.
        max_connections: how many statements run at once, each on its own connection; further ones wait.
        max_retries: how often a statement is repeated at most when the connection breaks.

    """

    def __init__(
        self,
        parameters: Mapping[str, Any],
        name: str,
        schema_name: str,
        *,
        max_connections: int = 32,
        max_retries: int = 3,
    ) -> None:
        """Connect to nothing yet."""
        super().__init__()
        self._parameters = {
            "connect_timeout": _CONNECT_SECONDS,
            "fallback_application_name": "chuk-artifacts",
            "keepalives_idle": 60,  # a connection that a firewall has forgotten is noticed before it is used
            "keepalives_interval": 10,
            "keepalives_count": 3,
            **parameters,
            "client_encoding": _UTF8,
        }
        self._name = f"catalog {name}"
        self._schema = schema.quoted(schema_name)
        self._statements: dict[str, Statement] = {}
        self._max_connections = max_connections
        self._max_retries = max_retries
        self._turns = Turns(max_connections, _POOL_SECONDS)
        self._idle: deque[Connection] = deque()
        self._is_prepared = False
        self._closed = False

    @property
    def connected(self) -> bool:
        """Whether there may be open connections."""
        return self._is_prepared and not self._closed

    def look(self, text: str, values: Mapping[str, object]) -> list[Row]:
        """Return the rows of a statement that changes nothing.

        Raises:
            SessionError: the server can't be reached, or refuses.

        """
        return self._run(_one, self._statement(text), values, unanswered=SessionError)

    def look_all(self, steps: Sequence[Step]) -> list[list[Row]]:
        """Return the rows of each of many statements that change nothing, in one round trip; raise as :meth:`look`."""
        return self._run(_all, [(self._statement(text), values) for text, values in steps], unanswered=SessionError)

    def change(self, text: str, values: Mapping[str, object]) -> list[Row]:
        """Return the rows of a statement that changes something; it is a transaction.

        Raises:
            OutcomeUnknownError: the connection broke before the answer came.
            SessionError: the server can't be reached, or refuses.

        """
        return self._run(_one, self._statement(text), values)

    def change_all(self, steps: Sequence[Step]) -> list[list[Row]]:
        """Return the rows of each statement of one transaction: see :meth:`Connection.ask_all`.

        This takes one round trip; it raises as :meth:`change`.
        """
        return self._run(_all, [(self._statement(text), values) for text, values in steps])

    def close(self) -> None:
        """Close the idle connections; those in use close when they come back."""
        self._closed = True
        self._drop_idle()

    def after_fork(self, *, child: bool) -> None:
        """Forget the connections in a *child*: they belong to the parent."""
        if child:
            _inherited.append(self._idle)
            self._idle = deque()
            self._turns = Turns(self._max_connections, _POOL_SECONDS)
        super().after_fork(child=child)

    def _statement(self, text: str) -> Statement:
        statement = self._statements.get(text)
        if statement is None:
            statement = self._statements[text] = Statement.of(text.replace("$schema", self._schema))
        return statement

    def _run(
        self, work: Callable[..., T], *arguments: object, unanswered: type[SessionError] = OutcomeUnknownError
    ) -> T:
        """Return ``work(connection, *arguments)``; repeat it while that can't do harm.

        Raises:
            unanswered: the connection broke before the answer came.
            SessionError: the server can't be reached, or refuses.

        """
        failures = conflicts = 0
        begun = time.monotonic()
        while True:
            reason: BaseException
            try:
                return self._lend(work, *arguments)
            except NoTurnError as error:
                raise SessionError(f"{self._name}: {error}") from None
            except _NotSentError as error:
                reason = error.__cause__ or error
                can_repeat = not _is_refusal(reason)
            except psycopg.Error as error:
                reason = error
                outcome = outcome_of(error)
                if outcome is Outcome.STALE:
                    self._drop_idle()
                if outcome is Outcome.UNKNOWN and unanswered is OutcomeUnknownError:
                    raise self._given_up(error, OutcomeUnknownError) from error
                can_repeat = outcome is not Outcome.REFUSED
            patience = _PATIENCE_SECONDS
            if getattr(reason, "sqlstate", None) in _CONFLICTS:
                conflicts += 1
                can_repeat, patience = conflicts <= _MOST_CONFLICTS, _CONFLICT_SECONDS
            else:
                failures += 1
                can_repeat = can_repeat and failures <= self._max_retries
            if not can_repeat or time.monotonic() > begun + patience:
                raise self._given_up(reason) from reason
            retried()
            time.sleep(_PAUSE_SECONDS * 2 ** max(failures - 1, 0) * random.uniform(0.5, 1))  # noqa: S311 - no secret

    def _lend(self, work: Callable[..., T], *arguments: object) -> T:
        turns = self._turns
        turn = turns.take()
        try:
            # On one line: an exception raised by a trace function where a block ends would leave the lock taken.
            with turn: return self._use(work, *arguments)  # fmt: skip # noqa: E701
        finally:
            turns.put(turn)

    def _use(self, work: Callable[..., T], *arguments: object) -> T:
        """Call *work* with a connection, and close it unless it is usable afterwards.

        An interrupt may come at any line, so the connection is always in one list, and cleaned up twice.
        """
        loan: list[Connection] = []
        try:
            try:
                self._take(loan)
                result = work(loan[0], *arguments)
                self._idle.append(loan.pop())
            except psycopg.Error:
                if loan and loan[0].is_idle:
                    self._idle.append(loan.pop())
                raise
            finally:
                self._end(loan)
        except BaseException:
            self._end(loan)
            raise
        return result

    def _end(self, loan: list[Connection]) -> None:
        """Close a connection that is still lent, and the idle ones of a closed catalog; repeating it is harmless."""
        for connection in loan:
            _close(connection.bare)
        if self._closed:
            self._drop_idle()

    def _take(self, loan: list[Connection]) -> None:
        with contextlib.suppress(IndexError):
            while True:
                loan.append(self._idle.pop())
                if loan[0].is_silent:
                    return
                _close(loan[0].bare)
                loan.clear()
        self._connect(loan)

    def _connect(self, loan: list[Connection]) -> None:
        made: list[psycopg.Connection[Row]] = []
        try:
            try:
                made.append(psycopg.Connection[Row].connect(**self._parameters, autocommit=True))
                loan.append(self._set_up(made[0]))
            except psycopg.Error as error:
                raise _NotSentError(str(error)) from error
        except BaseException:
            for connection in made:
                _close(connection)
            raise

    def _set_up(self, connection: psycopg.Connection[Row]) -> Connection:
        encoding = connection.info.parameter_status("server_encoding")
        if encoding not in {_UTF8, None}:
            raise SessionError(
                f"{self._name}: the database has the encoding {encoding}, which can't hold all texts: create one with"
                f" ENCODING '{_UTF8}'"
            )
        values = {"pid": str(connection.info.backend_pid), "timeout": f"{_STATEMENT_SECONDS}s"}
        ready = Connection(connection, patience=_ANSWER_SECONDS, prepares=False)
        ((is_direct, own, configured),) = ready.ask(self._statement(_SET_UP), values)
        if own is None and configured:
            ready.patience = max(_ANSWER_SECONDS, configured + _ANSWER_SECONDS - _STATEMENT_SECONDS)
        # Poolers hand the statements of one connection to many sessions, which have not prepared them.
        ready.prepares = is_direct
        if not self._is_prepared:
            schema.prepare(connection, self._schema, self._name)
            self._is_prepared = True
        return ready

    def _drop_idle(self) -> None:
        with contextlib.suppress(IndexError):
            while True:
                _close(self._idle.pop().bare)

    def _given_up(self, reason: BaseException, kind: type[SessionError] = SessionError) -> SessionError:
        return kind(f"{self._name}: {message_of(reason) if isinstance(reason, psycopg.Error) else reason}")


def _is_refusal(reason: BaseException) -> bool:
    """Return whether a repeated attempt to connect would fail too, as far as the server says so."""
    return isinstance(reason, psycopg.Error) and outcome_of(reason) is Outcome.REFUSED


def _one(connection: Connection, statement: Statement, values: Mapping[str, object]) -> list[Row]:
    return connection.ask(statement, values)


def _all(connection: Connection, steps: Sequence[tuple[Statement, Mapping[str, object]]]) -> list[list[Row]]:
    return connection.ask_all(steps)


def _close(connection: psycopg.Connection[Row]) -> None:
    with contextlib.suppress(psycopg.Error, OSError):
        connection.close()
