"""fsspec's base class, with types for the methods of it that are called here."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar

from fsspec.spec import AbstractFileSystem

Untyped = Callable[..., Any]

if TYPE_CHECKING:

    class _Typed:
        """The methods of fsspec's base class that are called here; fsspec has no types."""

        _intrans: bool
        transaction: Any

        find: ClassVar[Untyped]
        get: ClassVar[Untyped]
        glob: ClassVar[Untyped]
        head: ClassVar[Untyped]
        open: ClassVar[Untyped]
        pipe: ClassVar[Untyped]
        put: ClassVar[Untyped]
        put_file: ClassVar[Untyped]
        read_block: ClassVar[Untyped]
        size: ClassVar[Untyped]
        tail: ClassVar[Untyped]
        walk: ClassVar[Untyped]
        write_text: ClassVar[Untyped]

    FileSystem = _Typed
else:
    FileSystem = AbstractFileSystem
