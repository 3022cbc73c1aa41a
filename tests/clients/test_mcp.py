"""The official MCP SDK, 1.x and 2.x: tools that store files, over the standard streams of a real server process."""

from __future__ import annotations

import json
import sys
from contextlib import asynccontextmanager
from importlib.metadata import version
from pathlib import Path

import pytest

mcp = pytest.importorskip("mcp")
stdio = pytest.importorskip("mcp.client.stdio")

pytestmark = pytest.mark.anyio

SERVER = Path(__file__).parent / "mcp_server.py"
IS_FIRST = version("mcp").startswith("1.")
PUBLIC = {
    *("artifact_id", "session_id", "sandbox_id", "key", "mime", "summary", "meta", "filename", "bytes", "sha256"),
    *("stored_at", "updated_at", "expires_at", "ttl", "revision", "storage_provider", "session_provider"),
}


@pytest.fixture
def connect(environment):
    """Return a function that starts the server and gives a session with it."""

    @asynccontextmanager
    async def connected():
        command = stdio.StdioServerParameters(command=sys.executable, args=[str(SERVER)], env=environment)
        async with stdio.stdio_client(command) as streams, mcp.ClientSession(*streams) as session:
            await session.initialize()
            yield session

    return connected


async def call(session, tool, **arguments):
    """Call a tool, and return what the model sees of the answer, as JSON on the wire."""
    return (await session.call_tool(tool, arguments)).model_dump(mode="json", by_alias=True)


def texts(answer):
    """Return the texts of an answer."""
    return [content["text"] for content in answer["content"]]


async def test_tool_stores_and_lists(connect, store):
    """Files that a tool stores are in the session that the server chose, and no argument of the model names another."""
    async with connect() as session:
        schemas = {
            tool.name: tool.model_dump(by_alias=True)["inputSchema"] for tool in (await session.list_tools()).tools
        }
        assert set(schemas["save_file"]["properties"]) == {"data_base64", "filename"}
        answer = await call(session, "save_file", data_base64="aGVsbG8=", filename="notes/a.txt")
        assert not answer["isError"]
        saved = answer["structuredContent"]
        assert saved["size"] == 5
        listed = await call(session, "list_files", folder="notes")
        assert listed["structuredContent"]["result"] == [
            {"file_id": saved["file_id"], "name": "notes/a.txt", "size": 5}
        ]
    assert store.retrieve(saved["file_id"]) == b"hello"
    assert store.metadata(saved["file_id"]).session_id == "user_of_connection"


async def test_invalid_base64_is_an_error(connect, store):
    """Data that is not base64 is reported to the model, and nothing is stored."""
    async with connect() as session:
        answer = await call(session, "save_file", data_base64="@@@", filename="a.txt")
    assert answer["isError"]
    assert "base64" in texts(answer)[0]
    assert store.list_by_session("user_of_connection") == []


async def test_tool_error_carries_the_message(connect):
    """The model reads the store's message when a tool raises it as ToolError."""
    async with connect() as session:
        answer = await call(session, "read_file", file_id="0" * 32)
    assert answer["isError"]
    assert texts(answer) == [f"Error executing tool read_file: no artifact '{'0' * 32}'"]


async def test_store_error_is_hidden_by_the_second_sdk(connect):
    """An error of the store that a tool lets pass is shown by SDK 1; SDK 2 shows only that there was one."""
    async with connect() as session:
        answer = await call(session, "read_file_carelessly", file_id="0" * 32)
    assert answer["isError"]
    assert ("no artifact" in texts(answer)[0]) is IS_FIRST


async def test_metadata_without_annotation(connect):
    """Metadata that a tool without an annotation returns reaches the model as a JSON object of the public fields."""
    async with connect() as session:
        (text,) = texts(await call(session, "save_unannotated", text="hello"))
    assert json.loads(text).keys() == PUBLIC


async def test_metadata_with_annotation(connect):
    """A tool annotated with ArtifactMetadata has a schema of the public fields, and its answer conforms to it."""
    async with connect() as session:
        (tool,) = [tool for tool in (await session.list_tools()).tools if tool.name == "save_annotated"]
        schema = tool.model_dump(by_alias=True)["outputSchema"]
        assert schema["properties"].keys() == PUBLIC
        answer = await call(session, "save_annotated", text="hello")
    assert not answer["isError"]
    assert answer["structuredContent"].keys() == PUBLIC
    assert answer["structuredContent"]["bytes"] == 5
    assert json.loads(texts(answer)[0]) == answer["structuredContent"]


async def test_list_of_metadata(connect):
    """A tool annotated with a list of ArtifactMetadata returns JSON objects."""
    async with connect() as session:
        await call(session, "save_file", data_base64="aGVsbG8=", filename="a.txt")
        answer = await call(session, "list_annotated")
    assert [found["filename"] for found in answer["structuredContent"]["result"]] == ["a.txt"]
    assert all(found.keys() == PUBLIC for found in answer["structuredContent"]["result"])
