"""What an error of psycopg means: whether the statement may have been carried out, and whether a repetition may help.

The server names each of its errors by an SQLSTATE
(https://www.postgresql.org/docs/current/errcodes-appendix.html). A statement that it answers with an error was rolled
back. An error without one is of the connection: nobody knows what became of the statement.
"""

from __future__ import annotations

from enum import Enum

import psycopg


class Outcome(Enum):
    """What an error says of a statement."""

    REFUSED = "refused"
    """It was not carried out, and a repetition would be refused too."""
    PASSING = "passing"
    """It was not carried out, and a repetition may succeed."""
    STALE = "stale"
    """It was not carried out; all connections lead to a server that no longer takes writes."""
    UNKNOWN = "unknown"
    """It may have been carried out."""


OUTCOMES = {
    "25006": Outcome.STALE,  # read_only_sql_transaction: the server became a standby
    "40001": Outcome.PASSING,  # serialization_failure
    "40P01": Outcome.PASSING,  # deadlock_detected
    "40003": Outcome.UNKNOWN,  # statement_completion_unknown: CockroachDB after the loss of a node
    "08007": Outcome.UNKNOWN,  # transaction_resolution_unknown
    "08000": Outcome.PASSING,  # connection_exception, and the next four: poolers and sharding servers
    "08001": Outcome.PASSING,  # sqlclient_unable_to_establish_sqlconnection
    "08003": Outcome.PASSING,  # connection_does_not_exist
    "08004": Outcome.PASSING,  # sqlserver_rejected_establishment_of_sqlconnection
    "08006": Outcome.UNKNOWN,  # connection_failure: between a pooler and the server
    "08P01": Outcome.UNKNOWN,  # protocol_violation: PgBouncer's word for a server that went away
    "53300": Outcome.PASSING,  # too_many_connections
    "57P01": Outcome.PASSING,  # admin_shutdown
    "57P03": Outcome.PASSING,  # cannot_connect_now: starting up or shutting down
    "57P05": Outcome.PASSING,  # idle_session_timeout
}
"""What each SQLSTATE means; those that are not here are refusals."""

_HINTS = {
    "28000": "check the user and pg_hba.conf",
    "28P01": "check the password",
    "3D000": "create the database, encoded in UTF8",
    "3F000": "the schema was removed while the store was open",
    "42P01": "a table of the schema was removed while the store was open",
    "42501": "the user needs USAGE on the schema, and SELECT, INSERT, UPDATE and DELETE on its tables",
    "53100": "the server's disk is full",
    "57014": "the statement took longer than its time-out",
}


def outcome_of(error: psycopg.Error) -> Outcome:
    """Return what an error says of the statement that it ended."""
    if error.sqlstate is not None:
        return OUTCOMES.get(error.sqlstate, Outcome.REFUSED)
    if isinstance(error, (psycopg.OperationalError, psycopg.InterfaceError)):
        return Outcome.UNKNOWN
    return Outcome.REFUSED  # of psycopg itself, which can't send the values


def message_of(error: psycopg.Error) -> str:
    """Return the message of an error, and what to do."""
    text = error.diag.message_primary or " ".join(str(error).split()) or type(error).__name__
    hint = _HINTS.get(error.sqlstate or "")
    return f"{text} ({hint})" if hint else text
