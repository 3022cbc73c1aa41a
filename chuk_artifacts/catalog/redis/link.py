"""Commands to Redis: how many run at once, which are repeated, and which errors the caller sees."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeVar

import redis
from redis.exceptions import (
    AuthenticationError,
    AuthorizationError,
    ClusterError,
    NoScriptError,
    RedisClusterException,
)
from redis.sentinel import MasterNotFoundError

from chuk_artifacts.catalog.redis.client import TEMPORARY, Client, NotSentError
from chuk_artifacts.catalog.redis.scripts import Script
from chuk_artifacts.catalog.turns import NoTurnError, Turns
from chuk_artifacts.errors import ErrorMap, OutcomeUnknownError, SessionError
from chuk_artifacts.fork import Lockable
from chuk_artifacts.instrumentation import retried

T = TypeVar("T")

_POOL_SECONDS = 5
_PATIENCE_SECONDS = 5.0  # no command is repeated later than that
_PAUSE_SECONDS = 0.05  # before the first repetition; it doubles with each further one
_FUTILE = (AuthenticationError, AuthorizationError)

_inherited: list[Client] = []
"""Clients of the parent process, never closed: closing one could wait for a lock held by a thread of the parent."""


class Answer(NamedTuple):
    """The answer of a server.

    Attributes:
        value: the answer.
        repeated: whether the server may have carried out the command before, in an attempt whose answer was lost.

    """

    value: Any
    repeated: bool


class Link(Lockable):
    """Sends commands to Redis, and repeats those that may be repeated when the connection breaks.

    The client is opened at the first command; after a fork the child opens a client of its own.

    Args:
        connect: opens a client; it may raise the errors of a client.
        name: what error messages call the server; it contains no password.
        max_connections: how many commands run at once, each on its own connection; further ones wait.
        max_retries: how often a command is repeated at most.
        spread: whether keys lie on different nodes by their hash tags.

    Attributes:
        spread: the same.

    """

    def __init__(
        self,
        connect: Callable[[], Client],
        name: str,
        *,
        max_connections: int = 32,
        max_retries: int = 3,
        spread: bool = False,
    ) -> None:
        """Connect to nothing yet."""
        super().__init__()
        self.spread = spread
        self._connect = connect
        self._max_connections = max_connections
        self._turns = Turns(max_connections, _POOL_SECONDS)
        self._name = f"catalog {name}"
        self._max_retries = max_retries
        self._errors = ErrorMap((redis.RedisError, RedisClusterException, OSError), SessionError, self._name)
        self._client: Client | None = None

    @property
    def connected(self) -> bool:
        """Whether there may be open connections."""
        return self._client is not None

    def read(self, *command: object) -> Any:
        """Return the answer to a command that changes nothing.

        Raises:
            SessionError: the server can't be reached, or refuses.

        """
        with self._errors:
            return self._call(command, unanswered=SessionError).value

    def look(self, script: Script, keys: Sequence[str], *arguments: object) -> Any:
        """Return the answer to a script that makes no visible change.

        Raises:
            SessionError: the server can't be reached, or refuses.

        """
        with self._errors:
            return self._call(_evaluated(script, keys, arguments), script, unanswered=SessionError).value

    def run(self, script: Script, keys: Sequence[str], *arguments: object) -> Answer:
        """Return the answer to a script that recognises its repetition, or that a repetition does not harm.

        Raises:
            OutcomeUnknownError: the server can't be reached, and may have carried the script out before that.
            SessionError: the server can't be reached, or refuses.

        """
        with self._errors:
            return self._call(_evaluated(script, keys, arguments), script)

    def ask_servers(self, ask: Callable[[redis.Redis], T]) -> list[T]:
        """Return what *ask* returns for each server that accepts writes.

        Raises:
            SessionError: one of them can't be reached, or refuses.

        """
        with self._errors:
            try:
                return [ask(server) for server in self._opened().servers()]
            except NotSentError as error:
                reason = error.__cause__ or error
                raise self._given_up(reason) from _shown(reason)

    def unknown(self) -> OutcomeUnknownError:
        """Return the error for a repeated command whose answer fits another client's change too."""
        return OutcomeUnknownError(f"{self._name}: the connection broke, and what was asked for may have been done")

    def close(self) -> None:
        """Close the client; harmless the second time."""
        client, self._client = self._client, None
        if client is not None:
            client.close()

    def after_fork(self, *, child: bool) -> None:
        """Forget the client in a *child*: its connections belong to the parent."""
        if child:
            if self._client is not None:
                _inherited.append(self._client)
            self._client = None
            self._turns = Turns(self._max_connections, _POOL_SECONDS)
        super().after_fork(child=child)

    def _opened(self) -> Client:
        client = self._client
        if client is None:
            # On one line: an exception raised by a trace function where a block ends would leave the lock taken.
            with self._lock: client = self._open()  # fmt: skip # noqa: E701
        return client

    def _open(self) -> Client:
        try:
            self._client = self._client or self._connect()
        except TEMPORARY as error:
            raise NotSentError(str(error)) from error
        return self._client

    def _call(
        self,
        command: Sequence[object],
        script: Script | None = None,
        *,
        unanswered: type[SessionError] = OutcomeUnknownError,
    ) -> Answer:
        """Return the answer to a command; raise *unanswered* if the command was sent and no answer came."""
        sent = False
        failures = 0
        give_up = time.monotonic() + _PATIENCE_SECONDS
        while True:
            try:
                return Answer(self._execute(command), sent)
            except NoScriptError:  # the server restarted, or a replica that never saw the script became master
                if script is None:
                    raise
                command, script = ("EVAL", script.text, *command[2:]), None
                continue
            except (NotSentError, NoTurnError) as error:
                reason = error.__cause__ or error
            except ClusterError as error:  # the Cluster is down, or a slot is moving: the command was refused
                reason = error
            except TEMPORARY as error:
                reason, sent = error, True
            failures += 1
            if failures > self._max_retries or isinstance(reason, _FUTILE) or time.monotonic() > give_up:
                raise self._given_up(reason, unanswered if sent else SessionError) from _shown(reason)
            retried()
            time.sleep(_PAUSE_SECONDS * 2 ** (failures - 1) * random.uniform(0.5, 1))  # noqa: S311 - no secret

    def _execute(self, command: Sequence[object]) -> Any:
        turns = self._turns
        turn = turns.take()
        try:
            with turn: return self._opened().execute(*command)  # fmt: skip # noqa: E701 - on one line as above
        finally:
            turns.put(turn)

    def _given_up(self, reason: BaseException, kind: type[SessionError] = SessionError) -> SessionError:
        return kind(f"{self._name}: {_shown(reason) or 'no Sentinel names a master'}")


def _evaluated(script: Script, keys: Sequence[str], arguments: Sequence[object]) -> tuple[object, ...]:
    return "EVALSHA", script.sha, len(keys), *keys, *arguments


def _shown(reason: BaseException) -> BaseException | None:
    """Return *reason* unless it may hold a password: some versions of redis-py put those of Sentinels there."""
    return None if isinstance(reason, MasterNotFoundError) else reason
