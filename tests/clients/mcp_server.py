"""An MCP server on the SDK that is installed, 1.x or 2.x, which test_mcp starts."""

from __future__ import annotations

import base64
import binascii
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

try:
    from mcp.server.mcpserver import Context
    from mcp.server.mcpserver import MCPServer as Server
    from mcp.server.mcpserver.exceptions import ToolError
except ImportError:  # SDK 1
    from mcp.server.fastmcp import Context
    from mcp.server.fastmcp import FastMCP as Server
    from mcp.server.fastmcp.exceptions import ToolError

from chuk_artifacts.aio import ArtifactMetadata, ArtifactStore, ArtifactStoreError


@asynccontextmanager
async def lifespan(_: Server) -> AsyncIterator[ArtifactStore]:
    """Open the store of the one user that speaks over these streams."""
    async with ArtifactStore() as store:
        yield store.session("user_of_connection")


server = Server("files", lifespan=lifespan)


def files_of(context: Context) -> ArtifactStore:
    """Return the store of the user who calls, which no argument of the model can choose."""
    return context.request_context.lifespan_context


@server.tool()
async def save_file(data_base64: str, filename: str, context: Context) -> dict[str, Any]:
    """Keep a file for the rest of this session."""
    try:
        data = base64.b64decode(data_base64, validate=True)
    except binascii.Error as error:
        raise ToolError(f"data_base64 is not base64: {error}") from error
    files = files_of(context)
    file_id = await files.store(data, filename=filename)
    return {"file_id": file_id, "size": (await files.metadata(file_id)).bytes}


@server.tool()
async def list_files(context: Context, folder: str = "") -> list[dict[str, Any]]:
    """List the files of this session, or those in one folder."""
    found = await files_of(context).get_directory_contents(directory_prefix=folder)
    return [{"file_id": file.artifact_id, "name": file.filename, "size": file.bytes} for file in found]


@server.tool()
async def read_file(file_id: str, context: Context) -> str:
    """Read a text, and explain to the model what goes wrong."""
    try:
        return await files_of(context).read_file(file_id)
    except ArtifactStoreError as error:
        raise ToolError(str(error)) from error


@server.tool()
async def read_file_carelessly(file_id: str, context: Context) -> str:
    """Read a text, and leave errors to the SDK."""
    return await files_of(context).read_file(file_id)


async def saved(text: str, context: Context) -> Any:
    """Store a text, and return its metadata."""
    files = files_of(context)
    return await files.metadata(await files.store(text.encode(), filename="a.txt"))


@server.tool()
async def save_unannotated(text: str, context: Context):
    """Store a text, and return its metadata without a declared type."""
    return await saved(text, context)


@server.tool()
async def save_annotated(text: str, context: Context) -> ArtifactMetadata:
    """Store a text, and return its metadata."""
    return await saved(text, context)


@server.tool()
async def list_annotated(context: Context) -> list[ArtifactMetadata]:
    """List the files of this session."""
    return await files_of(context).list_by_session()


if __name__ == "__main__":
    server.run()
