"""How to install what an optional part of the package needs."""

from __future__ import annotations


def how_to_install(extra: str) -> str:
    """Return the command that installs an extra, for the message of an error.

    PyPI's package of this name is another library, so the command is for a clone.
    """
    return f"python -m pip install '.[{extra}]' in a clone of this project (PyPI's chuk-artifacts is another library)"
