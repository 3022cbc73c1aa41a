"""Google's ADK: an artifact service on this library behaves as the one that ADK has in memory."""

from __future__ import annotations

import random

import pytest

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # of ADK's own imports
]
adk = pytest.importorskip("google.adk.artifacts", exc_type=ImportError)
types = pytest.importorskip("google.genai.types")

NAMES = ["a", "a/b", "a/0", "user:a", "user:a/b", "Größe.txt", "100%"]
METHODS = ["save_artifact"] * 4 + [
    *("load_artifact", "list_artifact_keys", "delete_artifact"),
    *("list_versions", "list_artifact_versions", "get_artifact_version"),
]


@pytest.fixture
def services(files):
    """Return ADK's service, and the one under test."""
    from clients.adk_artifacts import ChukArtifactService  # noqa: PLC0415 - it needs the package

    return adk.InMemoryArtifactService(), ChukArtifactService(files)


def some_part(chance):
    """Return a part of some kind."""
    return chance.choice(
        [
            types.Part.from_bytes(data=chance.randbytes(chance.randrange(100)), mime_type="image/png"),
            types.Part.from_bytes(data=b"", mime_type="application/pdf"),
            types.Part(text=chance.choice(["", "hello", "Grüße"])),
            types.Part(file_data=types.FileData(file_uri="gs://bucket/x", mime_type="text/csv")),
            {"inlineData": {"data": "aGVsbG8=", "mimeType": "text/html"}},
            types.Part(),
        ]
    )


def some_call(chance):
    """Return a method and arguments, by chance."""
    method = chance.choice(METHODS)
    arguments = {
        "app_name": chance.choice(["app", "app:x"]),
        "user_id": chance.choice(["alice", "bob"]),
        "session_id": chance.choice(["s1", "s2", None]),
    }
    if method != "list_artifact_keys":
        arguments["filename"] = chance.choice(NAMES)
    if method in {"load_artifact", "get_artifact_version"}:
        arguments["version"] = chance.choice([None, 0, 1, 7, -1])
    if method == "save_artifact":
        arguments["artifact"] = some_part(chance)
        arguments["custom_metadata"] = chance.choice([None, {}, {"a": [1, {"b": None}]}])
    return method, arguments


def comparable(value):
    """Return an answer without times and URIs, which each service chooses."""
    if isinstance(value, list):
        return [comparable(part) for part in value]
    if hasattr(value, "canonical_uri"):
        return value.model_dump(exclude={"canonical_uri", "create_time"})
    return value


async def outcome(service, method, arguments):
    """Return what a call returns, or the kind of its error."""
    try:
        return comparable(await getattr(service, method)(**arguments))
    except ValueError as error:
        return type(error)


@pytest.mark.parametrize("seed", range(4))
async def test_same_as_in_memory(services, seed):
    """Each of a few hundred calls, chosen by chance, has the same outcome on both services."""
    chance = random.Random(seed)
    for _ in range(300):
        method, arguments = some_call(chance)
        theirs, ours = [await outcome(service, method, arguments) for service in services]
        assert ours == theirs, (method, arguments)


async def test_runner_saves_and_loads(files):
    """An agent's callback saves an artifact through its context, and the store holds it under the user's session."""
    from clients.adk_artifacts import ChukArtifactService  # noqa: PLC0415 - as above

    agents = pytest.importorskip("google.adk.agents")
    runners = pytest.importorskip("google.adk.runners")

    async def answer(callback_context):
        part = types.Part.from_bytes(data=b"%PDF", mime_type="application/pdf")
        number = await callback_context.save_artifact("report.pdf", part)
        loaded = await callback_context.load_artifact("report.pdf")
        return types.Content(role="model", parts=[types.Part(text=f"{number} {loaded.inline_data.data.decode()}")])

    agent = agents.LlmAgent(name="writer", model="none", before_agent_callback=answer)
    runner = runners.InMemoryRunner(agent, app_name="app")
    runner.artifact_service = ChukArtifactService(files)
    session = await runner.session_service.create_session(app_name="app", user_id="alice")
    message = types.Content(role="user", parts=[types.Part(text="go")])
    events = [event async for event in runner.run_async(user_id="alice", session_id=session.id, new_message=message)]
    await runner.close()
    assert events[-1].content.parts[0].text == "0 %PDF"
    assert events[-1].actions.artifact_delta == {"report.pdf": 0}
    (stored,) = await files.session(f"app:alice:{session.id}").list_by_session()
    assert (stored.filename, stored.mime) == ("report.pdf/0", "application/pdf")
