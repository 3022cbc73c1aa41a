"""The Python blocks of the README, which run."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

README = Path(__file__).parents[1] / "README.md"


def block(heading: str) -> dict[str, Any]:
    """Return the names that the example under a heading defines."""
    text = README.read_text(encoding="utf-8").split(f"# {heading}\n", 1)[1]
    code = re.search(r"^```python\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)[1]
    namespace = {"__name__": "example"}
    exec(compile(code, str(README), "exec"), namespace)
    return namespace
