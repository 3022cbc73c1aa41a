"""Frozen values that are mappings of their own fields, and their JSON."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn, Self, TypeVar

import attrs

if TYPE_CHECKING:
    from pydantic import GetCoreSchemaHandler
    from pydantic_core import CoreSchema, SchemaSerializer

JsonObject = dict[str, Any]
"""A JSON object, decoded."""

A = TypeVar("A", bound=attrs.AttrsInstance)

encode: Callable[[object], str] = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


@functools.cache
def _public(kind: type[attrs.AttrsInstance]) -> tuple[str, ...]:
    return tuple(field.name for field in attrs.fields(kind) if "internal" not in field.metadata)


@functools.cache
def _names(kind: type[attrs.AttrsInstance]) -> frozenset[str]:
    return frozenset(field.name for field in attrs.fields(kind))


@functools.cache
def _defaults(kind: type[attrs.AttrsInstance]) -> JsonObject:
    return {field.name: field.default for field in attrs.fields(kind) if field.default is not attrs.NOTHING}


def _no_json(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON (RFC 8259)")


def _finite(text: str) -> float:
    number = float(text)
    if number - number:  # NaN if it is infinite
        raise ValueError(f"{text:.80} is too large a number")
    return number


def _unique(pairs: list[tuple[str, object]]) -> JsonObject:
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise ValueError("an object has a name twice")
    return fields


_quick = json.JSONDecoder(parse_constant=_no_json).raw_decode
_strict = json.JSONDecoder(parse_constant=_no_json, parse_float=_finite, object_pairs_hook=_unique).raw_decode


def decode(text: str, *, strict: bool = True) -> Any:
    """Return the value of a JSON text without leading or trailing spaces, as this library writes it.

    Args:
        text: the JSON.
        strict: whether to reject duplicate names in an object and numbers that are too large, which takes twice as
            long.

    Raises:
        ValueError: *text* is not JSON.
        RecursionError: *text* is nested too deep.

    """
    value, end = (_strict if strict else _quick)(text)
    if end != len(text):
        raise ValueError("more than one JSON value")
    return value


def without_internal_hints(kind: type[A]) -> type[A]:
    """Remove the internal fields of an attrs class from its type hints; their types stay in ``attrs.fields``.

    The MCP SDK builds the schema of a tool's result from the type hints of its class.
    """
    attrs.resolve_types(kind)
    for field in attrs.fields(kind):
        if "internal" in field.metadata:
            del kind.__annotations__[field.name]
    return kind


class _Serializer:
    """A class attribute: pydantic's serializer, made when it is first read."""

    def __get__(self, value: object, kind: type[Fields]) -> SchemaSerializer:
        """Return the serializer of *kind*."""
        from chuk_artifacts.schema import serializer_of  # noqa: PLC0415 - only pydantic comes here

        return serializer_of(kind)


class Fields(Mapping[str, Any]):
    """A mapping of the public fields of an attrs class, in their order."""

    if TYPE_CHECKING:
        __pydantic_serializer__: ClassVar[_Serializer]
    else:  # without a type hint, which the MCP SDK would take for a field
        __pydantic_serializer__ = _Serializer()  # read by pydantic_core.to_json, where nothing declares the type

    def __getitem__(self, name: str, /) -> Any:
        """Return the value of the field *name*."""
        if name not in _public(type(self)):
            raise KeyError(name)
        return getattr(self, name)

    def __iter__(self) -> Iterator[str]:
        """Iterate over the names of the fields."""
        return iter(_public(type(self)))

    def __len__(self) -> int:
        """Count the fields."""
        return len(_public(type(self)))

    def _repr_html_(self) -> str:
        """Return a table of the public fields, for notebooks."""
        from chuk_artifacts.markup import facts  # noqa: PLC0415 - only a notebook needs it

        return facts(type(self).__name__, self)

    def changed(self, **fields: object) -> Self:
        """Return a copy with new values for *fields*."""
        copy = object.__new__(type(self))
        copy.__dict__.update(self.__dict__, **fields)
        return copy

    def to_json(self) -> str:
        """Return all fields, including internal ones, as a JSON object."""
        return encode(self.__dict__)

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Return the value whose :meth:`to_json` is *text*."""
        return cls._of(cls._known(decode(text)))

    @classmethod
    def from_fields(cls, fields: Mapping[str, object]) -> Self:
        """Return the value with these public fields, checked as :meth:`from_json` checks them."""
        return cls.from_json(encode({name: fields[name] for name in _public(cls)}))

    @classmethod
    def __get_pydantic_core_schema__(cls, source: object, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Return how pydantic validates a value and dumps its public fields."""
        from chuk_artifacts.schema import schema_of  # noqa: PLC0415 - only pydantic comes here

        return schema_of(cls, _public(cls), cls.from_fields, handler)

    @classmethod
    def _known(cls, fields: object) -> JsonObject:
        """Return all fields of the class, with defaults for those that an earlier version did not write."""
        if not isinstance(fields, dict):
            raise TypeError("no JSON object")
        names = _names(cls)
        if fields.keys() == names:
            return fields
        known = {name: value for name, value in fields.items() if name in names}  # a later version may have more fields
        if len(known) == len(names):
            return known
        known = _defaults(cls) | known
        if len(known) < len(names):
            raise ValueError(f"{min(names - known.keys())} is missing")
        return known

    @classmethod
    def _of(cls, fields: JsonObject) -> Self:
        """Return a value with these *fields*, which must be complete."""
        value = object.__new__(cls)
        value.__dict__.update(fields)
        return value
