"""Values of options, durations, ages, names with values; and examples in help texts."""

from __future__ import annotations

import json
import math
import re
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from chuk_artifacts.arguments import parse_duration
from chuk_artifacts.errors import InvalidInputError
from chuk_artifacts.models import ORPHAN_GRACE_SECONDS

NEVER = math.inf
"""The seconds of ``never``."""
_NOT_ABOVE_ZERO = r"-[0-9]*\.?[0-9]+|0+(\.0*)?"
_AGE_SECONDS = {"h": 3600.0, "d": 86400.0, "w": 7 * 86400.0}


if TYPE_CHECKING:
    ParamType = click.ParamType[Any]
else:  # click 8.1 knows no arguments of it
    ParamType = click.ParamType


class Duration(ParamType):
    """A duration such as ``90`` (seconds), ``12h`` or ``7d``, converted to seconds; ``never`` is infinite.

    Args:
        endless: whether ``never`` is allowed.

    """

    name = "duration"

    def __init__(self, *, endless: bool = True) -> None:
        """Keep the argument."""
        self._endless = endless

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Return seconds."""
        if isinstance(value, (int, float)) or re.fullmatch(_NOT_ABOVE_ZERO, value):
            return float(value)  # the store refuses what is not above 0
        examples = "90 (seconds), 12h, 7d or never" if self._endless else "90 (seconds), 12h or 7d"
        try:
            seconds = parse_duration(value)
        except InvalidInputError:
            self.fail(f"{value!r} is not a duration above 0, such as {examples}", param, ctx)
        if seconds is None and not self._endless:
            self.fail(f"{value!r} is not possible here: give a duration such as {examples}", param, ctx)
        return NEVER if seconds is None else seconds


class Moment(ParamType):
    """A moment in seconds since the epoch: ISO 8601, in UTC unless it has an offset, or a duration ago: ``7d``."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Return seconds since the epoch."""
        try:
            moment = datetime.fromisoformat(value)
        except ValueError:
            return time.time() - self._ago(value, param, ctx)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()

    def _ago(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> float:
        try:
            seconds = parse_duration(value)
        except InvalidInputError:
            seconds = None
        if seconds is None or value.strip().isdecimal():
            self.fail(f"{value!r} is neither a time such as 2026-11-27T12:00 nor a duration ago such as 7d", param, ctx)
        return seconds


def age(_context: click.Context, _option: click.Parameter, text: str) -> float:
    """Return an age such as ``36h``, ``7d`` or ``2w``, at least a day, in seconds."""
    match = re.fullmatch(r"([0-9]{1,6})([hdw])", text)
    seconds = int(match[1]) * _AGE_SECONDS[match[2]] if match else 0
    if seconds < ORPHAN_GRACE_SECONDS:
        raise click.BadParameter(f"{text!r} is not an age of at least a day, such as 36h, 7d or 2w")
    return seconds


def pairs(_context: click.Context, _option: click.Parameter, texts: tuple[str, ...]) -> dict[str, Any]:
    """Return options of the form ``name=value`` as a dict; the value of ``name:=value`` is JSON."""
    found: dict[str, Any] = {}
    for text in texts:
        name, is_pair, value = text.partition("=")
        if not is_pair or name in {"", ":"}:
            raise click.BadParameter(f"{text!r} is not of the form name=value")
        if not name.endswith(":"):
            found[name] = value
            continue
        try:
            found[name[:-1]] = json.loads(value)
        except ValueError:
            raise click.BadParameter(f"{text!r}: the value is not JSON") from None
    return found


def examples(*lines: str) -> str:
    """Return the end of a help text: examples, each on a line of its own."""
    title = "Example:" if len(lines) == 1 else "Examples:"
    return "\n".join(["\b", title, *(f"  {line}" for line in lines)])
