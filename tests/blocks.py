"""The Python blocks of the README, which are modules."""

from __future__ import annotations

import re
from pathlib import Path
from types import ModuleType

_README = Path(__file__).parent.parent / "README.md"
_BLOCK = re.compile(r"^```python\n# (?P<name>\w+)\.py\n(?P<code>.*?)^```$", re.MULTILINE | re.DOTALL)


def block(name: str) -> ModuleType:
    """Return the module that the block makes which begins with the comment ``# {name}.py``."""
    (code,) = (match["code"] for match in _BLOCK.finditer(_README.read_text("utf-8")) if match["name"] == name)
    module = ModuleType(name)
    exec(compile(code, f"README.md: {name}.py", "exec"), vars(module))
    return module
