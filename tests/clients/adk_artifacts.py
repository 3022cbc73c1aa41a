"""Google's ADK on this library: its artifact service in ninety lines. A version is an artifact, NAME/NUMBER."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from urllib.parse import quote

from google.adk.artifacts.base_artifact_service import ArtifactVersion, BaseArtifactService, ensure_part
from google.adk.errors.input_validation_error import InputValidationError
from google.genai import types

from chuk_artifacts.aio import ArtifactMetadata, ArtifactStore

FOREVER = 100 * 365 * 24 * 3600.0  # seconds


class ChukArtifactService(BaseArtifactService):
    """Keeps the artifacts of agents in a store."""

    def __init__(self, store: ArtifactStore) -> None:
        """Use *store*, which the caller opens and closes."""
        self._store = store

    def _files(self, app_name: str, user_id: str, session_id: str | None) -> ArtifactStore:
        """Return the files of one session, or without one the files of the user."""
        return self._store.session(":".join(quote(part, safe="") for part in (app_name, user_id, session_id or "")))

    async def _versions(
        self, app_name: str, user_id: str, filename: str, session_id: str | None
    ) -> tuple[ArtifactStore, list[ArtifactMetadata]]:
        """Return where an artifact is, and its versions, oldest first."""
        if not filename.startswith("user:") and session_id is None:
            raise InputValidationError("Session ID must be provided for session-scoped artifacts.")
        files = self._files(app_name, user_id, None if filename.startswith("user:") else session_id)
        found = await files.list_files(prefix=f"{filename}/")
        versions = [file for file in found if file.meta["name"] == filename]
        return files, sorted(versions, key=lambda file: file.meta["version"])

    async def _version(self, version: int | None, /, **names: Any) -> tuple[ArtifactStore, ArtifactMetadata | None]:
        """Return one version, the newest when *version* is None."""
        files, versions = await self._versions(**names)
        wanted = [file for file in versions if version in {None, file.meta["version"]}]
        return files, wanted[-1] if wanted else None

    async def save_artifact(self, *, artifact, custom_metadata=None, session_id=None, **names) -> int:
        """Store a part as the next version, and return its number."""
        part = ensure_part(artifact)
        files, versions = await self._versions(session_id=session_id, **names)
        if part.inline_data is not None:
            kind, mime, data = "inline", part.inline_data.mime_type, part.inline_data.data
        elif part.text is not None:
            kind, mime, data = "text", "text/plain", part.text.encode()
        elif part.file_data is not None:
            kind, mime, data = "link", part.file_data.mime_type, part.file_data.file_uri.encode()
        else:
            raise InputValidationError("Not supported artifact type.")
        name, number = names["filename"], len(versions)
        meta = {
            "name": name,
            "version": number,
            "kind": kind,
            "typed": mime is not None,
            "custom": custom_metadata or {},
        }
        await files.store(data or b"", mime=mime, filename=f"{name}/{number}", meta=meta, ttl=FOREVER)
        return number

    async def load_artifact(self, *, version=None, session_id=None, **names) -> types.Part | None:
        """Return a version as the part that it was."""
        files, found = await self._version(version, session_id=session_id, **names)
        if found is None:
            return None
        data, mime = await files.retrieve(found.artifact_id), found.mime if found.meta["typed"] else None
        if found.meta["kind"] == "inline":
            return types.Part(inline_data=types.Blob(data=data, mime_type=mime))
        if found.meta["kind"] == "text":
            return types.Part(text=data.decode())
        return types.Part(file_data=types.FileData(file_uri=data.decode(), mime_type=mime))

    async def list_artifact_keys(self, *, app_name, user_id, session_id=None) -> list[str]:
        """Return the names in a session, and those of its user."""
        places = [self._files(app_name, user_id, place) for place in {None, session_id}]
        return sorted({file.meta["name"] for files in places for file in await files.list_by_session()})

    async def delete_artifact(self, *, session_id=None, **names) -> None:
        """Delete all versions."""
        files, versions = await self._versions(session_id=session_id, **names)
        await files.delete_batch([file.artifact_id for file in versions])

    async def list_versions(self, *, session_id=None, **names) -> list[int]:
        """Return the numbers of all versions."""
        return [file.meta["version"] for file in (await self._versions(session_id=session_id, **names))[1]]

    async def list_artifact_versions(self, *, session_id=None, **names) -> list[ArtifactVersion]:
        """Return all versions, described."""
        return [_described(file) for file in (await self._versions(session_id=session_id, **names))[1]]

    async def get_artifact_version(self, *, version=None, session_id=None, **names) -> ArtifactVersion | None:
        """Return one version, described."""
        _, found = await self._version(version, session_id=session_id, **names)
        return None if found is None else _described(found)


def _described(file: ArtifactMetadata) -> ArtifactVersion:
    """Return the ADK's view of a version."""
    return ArtifactVersion(
        version=file.meta["version"],
        canonical_uri=f"artifact://{file.session_id}/{file.filename}",
        custom_metadata=file.meta["custom"],
        create_time=datetime.fromisoformat(file.stored_at).timestamp(),
        mime_type=file.mime if file.meta["typed"] else None,
    )
