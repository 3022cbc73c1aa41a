"""Examples of docs/howto/mcp.md and docs/howto/fastapi.md: tools of an MCP server, and a form."""

from __future__ import annotations

import sys
from importlib.metadata import version

import pytest
from blocks import block, source

from chuk_artifacts import ArtifactStore

httpx = pytest.importorskip("httpx")
mcp = pytest.importorskip("mcp")
stdio = pytest.importorskip("mcp.client.stdio")

FIRST_SDK = {
    "mcp.server.mcpserver import Context, MCPServer": "mcp.server.fastmcp import Context, FastMCP as MCPServer",
    "mcp.server.mcpserver.exceptions": "mcp.server.fastmcp.exceptions",
}


@pytest.fixture
def program(tmp_path):
    """Return a file with the page's MCP server, on the version of the SDK that is installed."""
    code = source("docs/howto/mcp.md", "The tools")
    for name, replacement in FIRST_SDK.items():
        assert name in code
        code = code.replace(name, replacement) if version("mcp").startswith("1.") else code
    file = tmp_path / "server.py"
    file.write_text(f"{code}\nserver.run()\n", encoding="utf-8")
    return file


@pytest.mark.anyio
async def test_tools(program, environment, options):
    """The tools store, list and read files of the one user of the streams, and explain errors to the model."""
    command = stdio.StdioServerParameters(command=sys.executable, args=[str(program)], env=environment)
    async with stdio.stdio_client(command) as streams, mcp.ClientSession(*streams) as session:
        await session.initialize()

        async def call(tool, **arguments):
            answer = (await session.call_tool(tool, arguments)).model_dump(mode="json", by_alias=True)
            return answer["isError"], answer.get("structuredContent"), answer["content"][0]["text"]

        tools = (await session.list_tools()).model_dump(by_alias=True)["tools"]
        assert {tool["name"]: sorted(tool["inputSchema"]["properties"]) for tool in tools} == {
            "save_file": ["data_base64", "filename"],
            "read_file": ["file_id"],
            "list_files": ["folder"],
            "save_report": ["filename", "markdown"],
        }
        is_error, saved, _ = await call("save_file", data_base64="aGVsbG8=", filename="notes/a.txt")
        assert (is_error, saved["size"]) == (False, 5)
        assert (await call("read_file", file_id=saved["file_id"]))[2] == "hello"
        listed = (await call("list_files", folder="notes"))[1]["result"]
        assert [file["filename"] for file in listed] == ["notes/a.txt"]
        link = (await call("save_report", markdown="# Q3", filename="q3.md"))[2]
        assert httpx.get(link).text == "# Q3"
        for bad in ("@@@", "aGVsbG8", "é"):
            is_error, _, text = await call("save_file", data_base64=bad, filename="b.txt")
            assert is_error, bad
            assert text.startswith("Error executing tool save_file: ")
        is_error, _, text = await call("save_file", data_base64="aGVsbG8=", filename="../b.txt")
        assert is_error
        assert "filename" in text
        is_error, _, text = await call("read_file", file_id="0" * 32)
        assert (is_error, "no artifact" in text) == (True, True)
    with ArtifactStore(**options) as store:
        assert [file.filename for file in store.user("local").list_by_session()] == ["notes/a.txt", "q3.md"]


@pytest.mark.parametrize("size", [5, 3_000_000])
def test_form(serve, options, store, monkeypatch, size):
    """A form's file is stored with its name and its type."""
    pytest.importorskip("python_multipart")
    monkeypatch.setenv("ARTIFACT_FS_ROOT", options["fs_root"])
    names = block("docs/howto/fastapi.md", "Upload and download", "Forms")
    here = f"http://127.0.0.1:{serve(names['app'], lifespan='on')}/forms"
    answer = httpx.post(here, files={"upload": ("photo.png", b"x" * size, "image/png")}, headers={"user": "alice"})
    assert answer.status_code == 200
    file = store.user("alice").metadata(answer.json()["file_id"])
    assert (file.bytes, file.filename, file.mime) == (size, "photo.png", "image/png")
