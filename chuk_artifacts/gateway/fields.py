"""The header of a request as a WSGI environment holds it (PEP 3333), so that every protocol treats it alike."""

from __future__ import annotations

from collections.abc import Iterable

_WITHOUT_PREFIX = frozenset({"CONTENT_TYPE", "CONTENT_LENGTH"})


def environment_of(fields: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Return the variables for the fields of a header; values of a field that was sent twice are joined with commas.

    A name with an underscore is left out: it would look like a name with a hyphen, which a proxy may have removed.

    >>> environment_of([("If-Match", '"a"'), ("if-match", '"b"'), ("Content-Type", "text/plain"), ("if_range", "c")])
    {'HTTP_IF_MATCH': '"a", "b"', 'CONTENT_TYPE': 'text/plain'}
    """
    environ: dict[str, str] = {}
    for name, value in fields:
        if "_" in name:
            continue
        key = name.upper().replace("-", "_")
        key = key if key in _WITHOUT_PREFIX else f"HTTP_{key}"
        environ[key] = f"{environ[key]}, {value}" if key in environ else value
    return environ
