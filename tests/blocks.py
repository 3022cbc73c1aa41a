"""The Python blocks of the README, which run."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

README = Path(__file__).parents[1] / "README.md"


def source(heading: str, number: int = 0) -> str:
    """Return the source of an example under a heading, by default of the first."""
    text = README.read_text(encoding="utf-8").split(f"# {heading}\n", 1)[1]
    return re.findall(r"^```python\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)[number]


def block(heading: str) -> dict[str, Any]:
    """Return the names that the example under a heading defines."""
    namespace = {"__name__": "example"}
    exec(compile(source(heading), str(README), "exec"), namespace)
    return namespace


def sources() -> list[str]:
    """Return the source of each example that is no doctest."""
    return re.findall(r"^```python\n(.*?)^```$", README.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
