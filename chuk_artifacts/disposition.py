"""The ``Content-Disposition`` header of a download."""

from __future__ import annotations

import re
from urllib.parse import quote

_UNSAFE = re.compile(r"[^ !#$&\'()+,\-.0-9;=@A-Z\[\]^_`a-z{}~]")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_ATTR_CHAR = "!#$&+-.^_`|~"  # RFC 5987 section 3.2.1; letters and digits are never quoted


def content_disposition(filename: str | None, *, inline: bool = False) -> str:
    """Return the value of the header that saves a download as *filename* (RFC 6266, RFC 5987 beyond ASCII).

    The value is safe for any filename: control characters become ``_``, and half of a surrogate pair ``?``.

    Args:
        filename: the name, or None.
        inline: whether a browser may show the file before it is saved.

    >>> content_disposition("report.pdf")
    'attachment; filename="report.pdf"'
    >>> print(content_disposition("Übersicht.pdf"))
    attachment; filename="_bersicht.pdf"; filename*=UTF-8''%C3%9Cbersicht.pdf
    """
    kind = "inline" if inline else "attachment"
    if filename is None:
        return kind
    filename = _CONTROL.sub("_", filename)
    plain = _UNSAFE.sub("_", filename)
    if plain == filename:
        return f'{kind}; filename="{filename}"'
    return f"{kind}; filename=\"{plain}\"; filename*=UTF-8''{quote(filename, safe=_ATTR_CHAR, errors='replace')}"
