"""The oracle's public methods: the answer of each method of a store, in comparable form.

``bound`` is the session of the view that is called, and ``made`` what the store answered, for the ids in it.
"""

from __future__ import annotations

import fnmatch
import hashlib
from typing import Any

from proof.oracle import ENDS_SOON, GRACE, Artifact, Content, Oracle, Refused, Session


def shown(one: Artifact) -> dict[str, Any]:
    """Return the metadata of an artifact."""
    names = ("session", "mime", "summary", "meta", "filename", "stored", "updated", "expires", "ttl", "revision")
    shown = {name: getattr(one, name) for name in names}
    return {**shown, "meta": dict(one.meta), "id": one.id, **of_bytes(one.data)}


def of_bytes(data: bytes) -> dict[str, Any]:
    """Return what metadata say of bytes."""
    return {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}


def shown_session(info: Session) -> dict[str, Any]:
    """Return the description of a session."""
    return {"id": info.id, "user": info.user, "created": info.created, "expires": info.expires, "meta": dict(info.meta)}


class Answers(Oracle):
    """The answers of a store."""

    # Store

    def store(self, bound, made, *, data, session_id=None, exclusive=False, max_bytes=None, **fields):
        return self.store_batch(
            bound, [made], [{"data": data, "max_bytes": max_bytes, **fields}], session_id, exclusive=exclusive
        )[0]

    def write_file(self, bound, made, *, content, **fields):
        return self.store(bound, made, data=content.encode(), default="text/plain", **fields)

    def store_batch(self, bound, made, items, session_id=None, ttl=None, *, exclusive=False):
        if bound is not None:
            self.in_scope(bound, session_id)
        session = session_id or bound or self.fresh
        drafts = [self.draft(bound, session, **item) for item in items]
        for name in dict.fromkeys(one.session for one, _ in drafts):
            self.admit(name, sum(len(one.data) for one, _ in drafts if one.session == name))
        for one, _ in drafts:
            same = self.listed_named(one.session, one.filename) if exclusive and one.filename else []
            if any(other.until is None for other in same):
                raise Refused("ConflictError")
        users: dict[str, str] = {}
        for one, user in drafts:
            users.setdefault(one.session, user or "") or users.update({one.session: user})
        for id, (one, _) in zip(made or [None] * len(drafts), drafts, strict=True):
            one.id, one.ttl = id, ttl if one.ttl is None else one.ttl
            one.expires = None if one.ttl is None else self.clock() + one.ttl
            self.add(one, inherits=one.ttl is None, user=users[one.session] or None)
        return made

    def draft(self, bound, session, *, data, session_id=None, filename=None, mime=None, ttl=None, **fields):
        session = session if session_id is None else self.in_scope(bound, session_id)
        self.limit(data, fields.get("max_bytes"))
        mime = mime or self.guess(filename, fields.get("default", "application/octet-stream"))
        new = Artifact(id="", session=session, mime=mime, stored=self.clock(), data=data, filename=filename, ttl=ttl)
        new.summary, new.meta = fields.get("summary", ""), dict(fields.get("meta") or {})
        new.keep = fields.get("keep_versions")
        return new, fields.get("user_id")

    def guess(self, filename, default):
        return {"txt": "text/plain", "md": "text/markdown", "png": "image/png"}.get(
            (filename or "").split(".")[-1], default
        )

    # Read

    def metadata(self, bound, made, *, artifact_id):
        return shown(self.find(bound, artifact_id))

    def retrieve(self, bound, made, *, artifact_id, revision=None):
        return self.content(self.find(bound, artifact_id), revision).data

    open = stream = download = presign = presign_short = presign_medium = presign_long = retrieve

    def read_file(self, bound, made, *, artifact_id, revision=None):
        return self.retrieve(bound, made, artifact_id=artifact_id, revision=revision).decode()

    def retrieve_batch(self, bound, made, *, artifact_ids):
        raws = [self.raw(bound, one) for one in artifact_ids]
        return [self.find(bound, one.id).data for one in raws]

    def exists(self, bound, made, *, artifact_id):
        try:
            return bool(self.find(bound, artifact_id))
        except Refused:
            return False

    def versions(self, bound, made, *, artifact_id):
        one = self.find(bound, artifact_id)
        now = Content(
            data=one.data,
            mime=one.mime,
            filename=one.filename,
            first=one.first,
            last=0,
            stored=one.since,
            until=0,
            number=0,
        )
        kept = [content for content in reversed(one.earlier) if self.readable(content)]
        return [
            {
                "revision": c.first,
                "mime": c.mime,
                "filename": c.filename,
                "stored": c.stored,
                "current": c is now,
                **of_bytes(c.data),
            }
            for c in [now, *kept]
        ]

    # Change

    def checked(self, bound, artifact_id, if_revision=None, session_id=None):
        one = self.find(bound, artifact_id)
        if if_revision not in {None, one.revision}:
            raise Refused("ConflictError")
        if session_id not in {None, one.session}:
            raise Refused("AccessDeniedError")
        return one

    def update_metadata(self, bound, made, *, artifact_id, if_revision=None, merge=True, **fields):
        if not fields:
            raise Refused("InvalidInputError")
        one = self.checked(bound, artifact_id, if_revision)
        if merge and "meta" in fields:
            fields["meta"] = {**one.meta, **fields["meta"]}
        return shown(self.next(one, None, **fields))

    def update_file(
        self,
        bound,
        made,
        *,
        artifact_id,
        data=None,
        if_revision=None,
        max_bytes=None,
        keep_versions=None,
        ttl=None,
        **fields,
    ):
        if ttl is not None:
            fields |= {"ttl": ttl, "expires": self.clock() + ttl}
        if data is None and keep_versions is None and not fields:
            raise Refused("InvalidInputError")
        if data is not None and max_bytes is not None and len(data) > max_bytes:
            raise Refused("QuotaExceededError")
        one = self.checked(bound, artifact_id, if_revision)
        if data is not None:
            self.limit(data)
            self.admit(one.session, len(data))
        return shown(self.next(one, data, keep_versions, **fields))

    def restore(self, bound, made, *, artifact_id, revision, if_revision=None):
        one = self.checked(bound, artifact_id, if_revision)
        content = self.content(one, revision)
        if isinstance(content, Content) and not content.kept and content.until < self.clock() + ENDS_SOON:
            self.admit(one.session, len(content.data), known=False)
            return shown(self.next(one, content.data, mime=content.mime))
        if content is one or content.number == one.number:
            return shown(one)
        return shown(self.next(one, content, mime=content.mime))

    def extend_ttl(self, bound, made, *, artifact_id, additional_seconds):
        one = self.find(bound, artifact_id)
        if one.expires is None:
            return shown(one)
        more = {"ttl": one.ttl + additional_seconds, "expires": one.expires + additional_seconds}
        return shown(self.next(one, None, **more))

    def move_file(self, bound, made, *, artifact_id, new_filename=None, new_session_id=None, new_meta=None):
        if new_filename is None and new_session_id is None and new_meta is None:
            raise Refused("InvalidInputError")
        one = self.checked(bound, artifact_id, None, new_session_id)
        fields = {} if new_filename is None else {"filename": new_filename}
        fields |= {} if new_meta is None else {"meta": {**one.meta, **new_meta}}
        return shown(self.next(one, None, **fields) if fields else one)

    def copy_file(
        self, bound, made, *, artifact_id, new_filename=None, target_session_id=None, new_meta=None, summary=None
    ):
        one = self.checked(bound, artifact_id, None, target_session_id)
        self.limit(one.data)
        self.admit(one.session, len(one.data))
        copy = Artifact(
            id=made, session=one.session, mime=one.mime, stored=self.clock(), data=one.data, ttl=one.ttl, keep=one.keep
        )
        copy.filename, copy.summary = new_filename or one.filename, one.summary if summary is None else summary
        copy.meta, copy.expires = {**one.meta, **(new_meta or {})}, None if one.ttl is None else self.clock() + one.ttl
        self.add(copy)
        return made

    # Delete

    def delete(self, bound, made, *, artifact_id):
        return self.delete_batch(bound, made, artifact_ids=[artifact_id]) == 1

    def delete_batch(self, bound, made, *, artifact_ids):
        ids = [id for id in dict.fromkeys(artifact_ids) if id in self.artifacts]
        gone = [self.artifacts.pop(id) for id in ids if bound in {None, self.artifacts[id].session}]
        living = [one for one in gone if not self.over(one.expires)]
        return sum(one.until is None or (one.complete and one.uploaded is not None) for one in living)

    def delete_session(self, bound, made, *, session_id=None):
        session = self.in_scope(bound, session_id)
        if self.living(session) is None:
            return False
        self.drop(session)
        return True

    def drop(self, session):
        gone = [one for one in self.artifacts.values() if one.session == session]
        self.artifacts = {id: one for id, one in self.artifacts.items() if one.session != session}
        self.sessions.pop(session)
        return sum(one.until is None and not self.over(one.expires) for one in gone)

    def delete_user(self, bound, made, *, user_id):
        self.whole(bound)
        return sum(self.drop(info.id) for info in list(self.sessions.values()) if info.user == user_id)

    # List

    def list_files(self, bound, made, *, session_id=None, prefix="", limit=None):
        return [shown(one) for one in self.listed(self.in_scope(bound, session_id), prefix, limit)]

    list_by_session = list_files

    def get_directory_contents(self, bound, made, *, session_id=None, directory_prefix="", limit=None):
        folder = directory_prefix.rstrip("/")
        return self.list_files(bound, made, session_id=session_id, prefix=folder and f"{folder}/", limit=limit)

    def iter_session(self, bound, made, *, session_id=None, prefix="", start=""):
        found = self.listed(self.in_scope(bound, session_id), prefix)
        return [shown(one) for one in found if (one.filename or "") >= start]

    def list_directory(self, bound, made, *, session_id=None, directory=""):
        folder = directory.rstrip("/")
        prefix = folder and f"{folder}/"
        folders, files = [], []
        for one in self.listed(self.in_scope(bound, session_id), prefix):
            head, slash, _ = (one.filename or one.id)[len(prefix) :].partition("/")
            folders.append(head) if slash else files.append(one)
        return sorted(set(folders)), [shown(one) for one in files]

    def lookup(self, bound, made, *, filename, session_id=None):
        found = self.named(self.in_scope(bound, session_id), filename)
        return shown(found[0]) if found else None

    def archive(self, bound, made, *, session_id=None, prefix=""):
        return sorted(one.data for one in self.listed(self.in_scope(bound, session_id), prefix))

    presign_archive = archive

    def search(
        self,
        bound,
        made,
        *,
        session_id=None,
        prefix="",
        mime=None,
        meta=None,
        stored_after=None,
        stored_before=None,
        user_id=None,
    ):
        sessions = [self.in_scope(bound, session_id)] if session_id or bound else [*self.sessions]
        if user_id is not None or not (session_id or bound):
            sessions = [s for s in sessions if (info := self.living(s)) and user_id in {None, info.user}]
        found = []
        for one in self.artifacts.values():
            meets = one.session in sessions and one.until is None and not self.over(one.expires)
            meets = meets and (one.filename or "").startswith(prefix)
            meets = meets and (mime is None or fnmatch.fnmatchcase(one.mime, mime))
            meets = meets and (stored_after is None or one.stored >= stored_after)
            meets = meets and (stored_before is None or one.stored < stored_before)
            if meets and all(name in one.meta and one.meta[name] == value for name, value in (meta or {}).items()):
                found.append(one)
        return [shown(one) for one in sorted(found, key=lambda one: (one.session, one.filename or "", one.id))]

    # Uploads

    def presign_upload(
        self, bound, made, *, complete=False, ttl=None, session_id=None, expires, max_bytes=None, **fields
    ):
        session = session_id or bound or self.fresh
        if bound is not None:
            self.in_scope(bound, session_id)
        one, _ = self.draft(bound, session, data=b"", **fields)
        info, now = self.living(session), self.clock()
        one.until, one.complete, one.max_bytes, one.revision = now + expires + GRACE, complete, max_bytes, 0
        one.id, one.url_ends, one.expires = made, now + expires, one.until
        if complete:
            own = None if session.startswith("user:") else self.ttl
            one.ttl = (own if info is None else info.ttl) if ttl is None else ttl
            one.expires = None if one.ttl is None else one.until + one.ttl
        self.add(one)
        return made

    def presign_upload_and_register(self, bound, made, **fields):
        return self.presign_upload(bound, made, complete=True, **fields)

    def put(self, artifact_id, data):
        """Return whether the gateway takes an upload."""
        one = self.artifacts.get(artifact_id)
        try:
            self.raw(None, artifact_id, awaited=True)
            if (
                one.until is None
                or self.clock() >= one.url_ends
                or len(data) > (len(data) if one.max_bytes is None else one.max_bytes)
            ):
                return False
            self.limit(data)
            self.admit(one.session, len(data))
        except Refused:
            return False
        if one.released:
            return False
        one.uploaded = data
        return True

    def register_uploaded_artifact(self, bound, made, *, artifact_id, session_id=None, ttl=None, **fields):
        if bound is not None:
            self.in_scope(bound, session_id)
        one = self.raw(bound, artifact_id, awaited=True)
        if session_id not in {None, one.session}:
            raise Refused("AccessDeniedError")
        if one.until is not None:
            info, own = self.living(one.session), None if one.session.startswith("user:") else self.ttl
            self.adopt(one, (own if info is None else info.ttl) if ttl is None else ttl, **fields)
        return True

    # Sessions

    def create_session(self, bound, made, *, user_id=None, ttl_hours=None, custom_metadata=None, session_id=None):
        self.whole(bound)
        session, now = session_id or made, self.clock()
        ttl = self.ttl if ttl_hours is None else ttl_hours * 3600
        info = Session(session, user_id, now, now + ttl, ttl, dict(custom_metadata or {}))
        if session is not None and session.startswith("user:"):
            if ttl_hours is not None or user_id not in {None, session[5:]}:
                raise Refused("InvalidInputError")
            info.user, info.ttl, info.expires = session[5:], None, None
        if self.living(session) is not None:
            raise Refused("ConflictError")
        self.sessions[session] = info
        return session

    def get_session_info(self, bound, made, *, session_id=None):
        info = self.living(self.in_scope(bound, session_id))
        return None if info is None else shown_session(info)

    def validate_session(self, bound, made, *, session_id=None):
        return self.living(self.in_scope(bound, session_id)) is not None

    def update_session_metadata(self, bound, made, *, session_id=None, metadata):
        info = self.living(self.in_scope(bound, session_id))
        if info is not None:
            info.meta |= metadata
        return info is not None

    def extend_session_ttl(self, bound, made, *, session_id=None, additional_hours):
        info = self.living(self.in_scope(bound, session_id))
        if info is not None and info.expires is not None:
            info.expires += additional_hours * 3600
        if info is not None and info.ttl is not None:
            info.ttl += additional_hours * 3600
        return info is not None

    def iter_sessions(self, bound, made, *, user_id=None):
        self.whole(bound)
        found = [info for info in self.sessions.values() if self.living(info.id) and user_id in {None, info.user}]
        return [shown_session(info) for info in sorted(found, key=lambda info: info.id)]

    def usage(self, bound, made, *, session_id=None):
        return self.held(self.in_scope(bound, session_id) if session_id or bound else None)

    def get_stats(self, bound, made):
        self.whole(bound)
        living = [one for one in self.artifacts.values() if one.until is None and not self.over(one.expires)]
        return sum(self.living(s) is not None for s in self.sessions), len(living), sum(len(one.data) for one in living)

    # Maintain

    def cleanup(self, bound, made, *, orphans=False, dry_run=False):
        self.whole(bound)
        due = [one for one in self.artifacts.values() if one.due() <= self.clock()]
        artifacts = freed = 0
        for one in due:
            if dry_run:
                gone, size = self.would_free(one)
            elif one.released:
                self.artifacts.pop(one.id)
                continue
            elif one.until is not None and one.complete and self.is_artifact(one):
                continue
            else:
                gone, size = self.release(one)
            artifacts, freed = artifacts + gone, freed + size
        ended = [info.id for info in self.sessions.values() if self.over(info.expires)]
        if not dry_run:
            self.sessions = {id: info for id, info in self.sessions.items() if id not in ended}
        return len(ended), artifacts, 0, freed

    def would_free(self, one):
        if one.released or one.until is not None:
            return False, 0
        if self.over(one.expires):
            return True, sum(one.sizes().values())
        left = {one.number, *(content.number for content in self.still(one.earlier))}
        return False, sum(size for number, size in one.sizes().items() if number not in left)

    def cleanup_expired_sessions(self, bound, made):
        return self.cleanup(bound, made)[0]

    # Paths of ``artifact://``

    def fs_read(self, session, filename):
        found = self.named(session, filename)
        return found[0].data if found else None

    def fs_find(self, session):
        return sorted({one.filename or one.id for one in self.listed(session)})

    def fs_write(self, session, filename, data, made):
        found = self.named(session, filename)
        if found:
            self.update_file(None, None, artifact_id=found[0].id, data=data)
        else:
            self.store(None, made, data=data, filename=filename, session_id=session)

    def fs_remove(self, session, filename):
        found = self.named(session, filename)
        return bool(found) and bool(self.delete_batch(None, None, artifact_ids=[one.id for one in found]))
