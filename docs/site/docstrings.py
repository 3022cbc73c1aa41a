"""Griffe calls this: it turns the roles in docstrings into code, and makes sections of their examples."""

from __future__ import annotations

import re
from typing import Any

import griffe

_ROLE = re.compile(r":(?:attr|class|func|meth|mod):`~?([^`]+)`")
_EXAMPLE = re.compile(r"^Example:$", re.MULTILINE)


class Docstrings(griffe.Extension):
    """Writes Markdown into the docstrings that griffe has read."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Rewrite the docstring of an object."""
        if obj.docstring is not None:
            text = _ROLE.sub(_code, obj.docstring.value)
            obj.docstring.value = _EXAMPLE.sub("Examples:", text)


def _code(role: re.Match[str]) -> str:
    return f"`{role[1].rpartition('.')[2]}`"
