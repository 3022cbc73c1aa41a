"""Our values as types of pydantic's models and of FastAPI's endpoints."""

from __future__ import annotations

import asyncio
import json
import typing
from typing import Any

import child
import httpx
import pytest
from fastapi import FastAPI
from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError, create_model
from pydantic_core import to_json

from chuk_artifacts import ArtifactMetadata, ArtifactStore, ArtifactVersion, SessionInfo, Usage
from chuk_artifacts.grid import GridKey
from chuk_artifacts.models import CleanupReport, ReindexReport


class Answer(BaseModel):
    """A model with our values as fields."""

    newest: ArtifactMetadata
    others: list[ArtifactMetadata] = []
    session: SessionInfo | None = None


@pytest.fixture
def store():
    """Return a store in memory."""
    with ArtifactStore() as store:
        yield store


@pytest.fixture
def metadata(store):
    """Return the metadata of an artifact."""
    artifact_id = store.store(b"x", filename="a.txt", session_id="alice", meta={"tags": [1, None]})
    return store.metadata(artifact_id)


@pytest.fixture
def values(store, metadata):
    """Return a value of each class, by class."""
    return {
        ArtifactMetadata: metadata,
        SessionInfo: store.get_session_info("alice"),
        ArtifactVersion: store.versions(metadata.artifact_id)[0],
        CleanupReport: store.cleanup(),
        ReindexReport: store.reindex().changed(failures={"key": "reason"}),
        GridKey: store.parse_grid_key(metadata.key),
        Usage: store.usage("alice"),
    }


KINDS = [ArtifactMetadata, ArtifactVersion, SessionInfo, CleanupReport, ReindexReport, GridKey, Usage]


@pytest.mark.parametrize("kind", KINDS)
def test_dump_has_public_fields(values, kind):
    """A value is dumped as its mapping: without internal fields, to Python and to JSON alike."""
    adapter, value = TypeAdapter(kind), values[kind]
    assert adapter.dump_python(value) == dict(value)
    assert json.loads(adapter.dump_json(value)) == dict(value)


@pytest.mark.parametrize("kind", KINDS)
def test_dump_without_a_declared_type(values, kind):
    """A value is dumped as its mapping where no type is declared: in a model's Any, and by pydantic_core.to_json."""
    value = values[kind]
    assert json.loads(to_json(value)) == json.loads(to_json([{"found": value}]))[0]["found"] == dict(value)
    model = create_model("Answer", found=Any)
    assert json.loads(model(found=value).model_dump_json()) == {"found": dict(value)}


@pytest.mark.parametrize("kind", KINDS)
def test_type_hints_are_the_public_fields(values, kind):
    """Type hints name the public fields, in their order: a model built from them takes a value by its attributes."""
    hints = typing.get_type_hints(kind)
    assert list(hints) == list(values[kind])
    model = create_model(kind.__name__, __config__=ConfigDict(from_attributes=True), **hints)
    assert model.model_validate(values[kind]).model_dump() == dict(values[kind])


@pytest.mark.parametrize("kind", KINDS)
def test_validation_restores(values, kind):
    """What was dumped is validated to an equal value of the same class, and an instance passes as it is."""
    adapter, value = TypeAdapter(kind), values[kind]
    for restored in (adapter.validate_json(adapter.dump_json(value)), adapter.validate_python(dict(value))):
        assert type(restored) is kind
        assert restored == value
    assert adapter.validate_python(value) is value


@pytest.mark.parametrize("mode", ["validation", "serialization"])
@pytest.mark.parametrize("kind", KINDS)
def test_json_schema(values, kind, mode):
    """The JSON Schema names the class and describes each public field."""
    schema = TypeAdapter(kind).json_schema(mode=mode)
    assert schema["title"] == kind.__name__
    assert list(schema["properties"]) == schema["required"] == list(values[kind])
    assert all(field["description"] for field in schema["properties"].values())
    assert "internal" not in json.dumps(schema)


def test_fields_of_a_model(store, metadata):
    """A model holds our values as they are, and its JSON restores them."""
    answer = Answer(newest=metadata, others=[metadata], session=store.get_session_info("alice"))
    assert answer.newest is metadata
    assert Answer.model_validate_json(answer.model_dump_json()) == answer


@pytest.mark.parametrize(
    "change",
    [
        {"bytes": "many"},
        {"bytes": -1},
        {"key": "signing.key"},
        {"stored_at": "yesterday"},
        {"sha256": "x"},
        {"meta": [1]},
        {"filename": "a\0b"},
    ],
)
def test_bad_fields_are_refused(metadata, change):
    """What no catalog can hold is a validation error."""
    with pytest.raises(ValidationError):
        TypeAdapter(ArtifactMetadata).validate_python(dict(metadata) | change)
    with pytest.raises(ValidationError):
        TypeAdapter(ArtifactMetadata).validate_json(json.dumps(dict(metadata) | change))


def test_missing_field_is_refused(metadata):
    """Each public field is required."""
    fields = dict(metadata)
    del fields["sha256"]
    with pytest.raises(ValidationError, match="sha256"):
        TypeAdapter(ArtifactMetadata).validate_python(fields)


def test_fastapi(metadata):
    """Endpoints take and return our values, and OpenAPI refers to their classes."""
    app = FastAPI()
    app.get("/one", response_model=ArtifactMetadata)(lambda: metadata)
    app.get("/all", response_model=list[ArtifactMetadata])(lambda: [metadata])

    @app.post("/same")
    def same(other: ArtifactMetadata) -> bool:
        return other == metadata

    async def answers() -> list[httpx.Response]:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://app") as client:
            return [
                await client.get("/one"),
                await client.get("/all"),
                await client.post("/same", json=dict(metadata)),
                await client.post("/same", json={"key": "x"}),
                await client.get("/openapi.json"),
            ]

    one, several, equal, bad, description = asyncio.run(answers())
    assert one.json() == dict(metadata)
    assert several.json() == [dict(metadata)]
    assert equal.json() is True
    assert bad.status_code == 422
    assert "ArtifactMetadata" in description.json()["components"]["schemas"]


def test_pydantic_is_not_imported():
    """Nothing imports pydantic but pydantic itself."""
    code = """
        import sys
        from chuk_artifacts import ArtifactMetadata, ArtifactStore
        with ArtifactStore() as store:
            store.metadata(store.store(b"x"))
        print([name for name in sys.modules if name.startswith("pydantic")])
        """
    assert child.run(code).strip() == "[]"
