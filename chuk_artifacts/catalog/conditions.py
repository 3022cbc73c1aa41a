"""Searches in SQL: SQLite looks into the records, and may let through more than a query allows, but never less."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from typing import Any

import attrs

from chuk_artifacts.catalog.query import Query
from chuk_artifacts.catalog.records import prefix_end
from chuk_artifacts.models import timestamp

BEHIND = "(filename, artifact_id) > (?, ?)"
LIVING = "revision > 0 AND (expires_at IS NULL OR expires_at > ?)"

_IS_JSON = "typeof(record) = 'text' AND json_valid(record)"
_EXACT = 2**53  # floats represent all integers up to here
_LARGEST = 2**63
_SHARE = 1e-12  # SQLite reads decimal fractions with smaller errors than this


@attrs.frozen
class Search:
    """A search in the table of artifacts.

    Attributes:
        sandbox_id: the sandbox.
        query: what to find.
        now: the present, in seconds since the epoch.

    """

    sandbox_id: str
    query: Query
    now: float

    def rows(
        self, connection: sqlite3.Connection, session_id: str, start: tuple[str, str] | None, wanted: int
    ) -> list[tuple[Any, ...]]:
        """Return id and filename of some records behind a place, and the records themselves if they may match."""
        matches, values = condition(self.query)
        where, bounds = ("filename >= ?", [self.query.prefix]) if start is None else (BEHIND, [*start])
        end = prefix_end(self.query.prefix)
        if end is not None:
            where, bounds = f"{where} AND filename < ?", [*bounds, end]
        arguments = (timestamp(self.now), *values, self.sandbox_id, session_id, *bounds, wanted)

        def rows_that(match: str) -> list[tuple[Any, ...]]:
            return connection.execute(
                f"SELECT artifact_id, filename, CASE WHEN {LIVING} AND {match} THEN record END FROM artifacts"
                f" WHERE sandbox_id = ? AND session_id = ? AND {where} ORDER BY filename, artifact_id LIMIT ?",
                arguments,
            ).fetchall()

        try:
            return rows_that(matches)
        except sqlite3.OperationalError as error:
            if "JSON" not in str(error):
                raise
        return rows_that(f"CASE WHEN {_IS_JSON} THEN {matches} ELSE 1 END")  # a damaged record is reported


def condition(query: Query) -> tuple[str, list[Any]]:
    """Return the condition on the JSON of a record, and its values; the prefix is not in it."""
    parts, values = ["1"], []
    for part, given in _parts(query):
        parts.append(part)
        values += given
    return " AND ".join(parts), values


def _parts(query: Query) -> Iterator[tuple[str, list[Any]]]:
    for text in query.parts:  # several times as fast as a look into the JSON
        yield "instr(record, ?)", [text]
    if query.lower_part:
        yield "instr(lower(record), ?)", [query.lower_part]
    if query.stored_after is not None:
        yield "json_extract(record, '$.stored_at') >= ?", [query.stored_after]
    if query.stored_before is not None:
        yield "json_extract(record, '$.stored_at') < ?", [query.stored_before]
    for name, value in query.meta.items():
        if json.dumps(name, ensure_ascii=False) == f'"{name}"':  # a path can't hold a name that JSON escapes
            yield from _of_value(f'$.meta."{name}"', value)


def _of_value(path: str, value: object) -> Iterator[tuple[str, list[Any]]]:
    if isinstance(value, (dict, list)):
        yield "json_type(record, ?) = ?", [path, "object" if isinstance(value, dict) else "array"]
    elif isinstance(value, str):
        if "\0" not in value:  # SQLite ends a text there
            yield "json_extract(record, ?) = ?", [path, value]
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        yield from _of_number(path, value)


def _of_number(path: str, value: float) -> Iterator[tuple[str, list[Any]]]:
    if abs(value) >= _LARGEST:
        yield "json_type(record, ?) IN ('integer', 'real')", [path]
    elif value == int(value) and abs(value) < _EXACT:
        yield "json_extract(record, ?) = ?", [path, int(value)]
    else:
        margin = abs(float(value)) * _SHARE
        yield "json_extract(record, ?) BETWEEN ? AND ?", [path, value - margin, value + margin]
