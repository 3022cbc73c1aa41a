"""``Listing``: the list that methods return, which a notebook shows as a table."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, SupportsIndex, TypeVar, overload

if TYPE_CHECKING:
    from typing import Self

T = TypeVar("T", bound=Mapping[str, Any])
Thumbnails = Callable[[Sequence[Mapping[str, Any]]], Mapping[str, bytes]]
"""A function that returns the content of small images among artifacts, by artifact id."""


class Listing(list[T]):
    """A list of artifacts or of their versions, which a notebook shows as a table.

    It is a list in every other respect. A slice of it is one too.

    Args:
        items: the items.
        thumbnails: returns the content of small images, when a notebook shows the table; None: there are none.

    Example:
        >>> from chuk_artifacts import ArtifactStore
        >>> with ArtifactStore() as store:
        ...     artifact_id = store.store(b"Hello, world!", filename="hello.txt", session_id="user_alice")
        ...     files = store.list_by_session("user_alice")
        >>> [file.filename for file in files]
        ['hello.txt']

    """

    def __init__(self, items: Iterable[T] = (), thumbnails: Thumbnails | None = None) -> None:
        """Keep the items."""
        super().__init__(items)
        self._thumbnails = thumbnails

    @overload
    def __getitem__(self, index: SupportsIndex, /) -> T: ...
    @overload
    def __getitem__(self, index: slice, /) -> Self: ...
    def __getitem__(self, index: SupportsIndex | slice, /) -> T | Self:
        """Return an item, or a listing of several."""
        found: Any = super().__getitem__(index)
        return type(self)(found, self._thumbnails) if isinstance(index, slice) else found

    def __reduce_ex__(self, protocol: SupportsIndex, /) -> tuple[object, ...]:
        """Pickle and copy the items, without what reads images."""
        return type(self), (list(self),)

    def _repr_html_(self) -> str:
        """Return a table; small images are read now."""
        from chuk_artifacts.markup import listing  # noqa: PLC0415 - only a notebook needs it

        return listing(self, {} if self._thumbnails is None else self._thumbnails(self))

    def to_pandas(self) -> Any:
        """Return a ``pandas.DataFrame`` with times as datetimes in UTC.

        ``pandas.DataFrame(listing)`` works as well, with times as text: it takes the items of each mapping as they are,
        and those of metadata are JSON values.

        Raises:
            ImportError: pandas is not installed.

        """
        pd: Any = importlib.import_module("pandas")
        frame = pd.DataFrame(list(map(dict, self)))
        for name in frame.columns:
            if name.endswith("_at"):
                frame[name] = pd.to_datetime(frame[name], utc=True, format="ISO8601")
        return frame
