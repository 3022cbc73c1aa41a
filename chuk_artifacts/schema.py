"""What pydantic makes of our values: validation, JSON and JSON Schema. Only pydantic's own call imports this module."""

from __future__ import annotations

import functools
import inspect
import re
import typing
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from pydantic_core import CoreSchema, SchemaSerializer, core_schema

if TYPE_CHECKING:
    from pydantic import GetCoreSchemaHandler


def schema_of(
    kind: type[Mapping[str, object]],
    names: Iterable[str],
    restore: Callable[[dict[str, Any]], object],
    handler: GetCoreSchemaHandler,
) -> CoreSchema:
    """Return the core schema of a class: an instance, or an object with its public fields; dumped as such an object.

    See "Customizing validation with __get_pydantic_core_schema__" in pydantic's documentation.

    Args:
        kind: the class.
        names: the names of its public fields.
        restore: makes an instance of these, or raises ``ValueError``, ``TypeError`` or ``RecursionError``.
        handler: makes the schema of a field's type.

    """
    ref = f"{kind.__module__}.{kind.__qualname__}:{id(kind)}"
    summary, descriptions = _described(kind)
    hints = typing.get_type_hints(kind)
    fields = core_schema.typed_dict_schema(
        {
            name: core_schema.typed_dict_field(
                handler.generate_schema(hints[name]), metadata=_shows(descriptions.get(name, ""))
            )
            for name in names
        },
        cls=kind,
        ref=ref,
        metadata=_shows(summary),
    )
    named = core_schema.definition_reference_schema(ref)

    def validate(values: dict[str, Any]) -> object:
        try:
            return restore(values)
        except (TypeError, RecursionError) as error:  # which pydantic does not catch
            raise ValueError(str(error)) from error

    restored = core_schema.no_info_after_validator_function(validate, named)
    schema = core_schema.json_or_python_schema(
        json_schema=restored,
        python_schema=core_schema.union_schema([core_schema.is_instance_schema(kind), restored], mode="left_to_right"),
        serialization=core_schema.plain_serializer_function_ser_schema(dict, return_schema=named),
    )
    return core_schema.definitions_schema(schema, [fields])


@functools.cache
def serializer_of(kind: type[object]) -> SchemaSerializer:
    """Return what dumps the values of a class."""
    from pydantic import TypeAdapter  # noqa: PLC0415 - which imports more than the core that asks

    return TypeAdapter(kind).serializer


def _described(kind: type[object]) -> tuple[str, dict[str, str]]:
    """Return the first line of a class's docstring, and what it says of each attribute."""
    summary, _, attributes = inspect.cleandoc(kind.__doc__ or "").partition("\n\nAttributes:\n")
    found = re.findall(r"^    (\w+): (.+(?:\n {8}.+)*)", attributes, re.MULTILINE)
    return summary.partition("\n")[0], {name: re.sub(r"\s+", " ", text) for name, text in found}


def _shows(description: str) -> dict[str, Any]:
    """Return the metadata with which pydantic puts a description into JSON Schema."""
    return {"pydantic_js_updates": {"description": description}}
