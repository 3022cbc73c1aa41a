"""The oracle: what a store must answer, in the simplest way that can be written down.

It keeps plain facts in dictionaries and shares no code with the library. Times are seconds; what never ends, ends at
``NEVER``, and an upload is an artifact without content that ends. ``Oracle.answer`` calls the method here, or the row of
``ROWS``, of a name. Ids that the store made come with the call.
"""

from __future__ import annotations

import inspect
from contextlib import suppress
from fnmatch import fnmatchcase
from itertools import islice
from posixpath import join
from types import SimpleNamespace as Facts

GRACE, EARLIER, ENDS_SOON, NEVER = 3600, 16, 300, float("inf")
TYPES = {"txt": "text/plain", "md": "text/markdown", "png": "image/png"}
UNBOUND = {"create_session", "delete_user", "iter_sessions", "get_stats", "cleanup", "cleanup_expired_sessions"}


class Refused(Exception):  # noqa: N818 - it is an answer
    """The answer is an error of this name."""


def refuse_if(condition, name):
    """Answer with an error."""
    if condition:
        raise Refused(name)


def size(contents):
    """Return the length of contents; a restored one shares the bytes of the earlier one with its *number*."""
    return sum({one.number: len(one.data) for one in contents}.values())


def ends(contents, keep):
    """Return contents, and until when each stays: an hour after the next came, or for good if it is kept or current."""
    later = [after.stored + GRACE for after in contents[1 : max(len(contents) - keep, 0)]]
    return [*zip(contents, later + [NEVER] * (len(contents) - len(later)), strict=True)]


class Oracle:
    """What a store of these settings holds and answers."""

    def __init__(self, clock, **settings):
        vars(self).update(settings, clock=clock, artifacts={}, sessions={})

    def answer(self, name, arguments, bound=None, made=(), fresh=""):
        """Return the value of a method or the name of its error; *made* and *fresh* are ids that the store made."""
        self.bound, self.made, self.fresh = bound, made or [None] * len(arguments.get("items", "1")), fresh
        method = ROWS.get(name) or getattr(Oracle, name)
        try:
            refuse_if(name in UNBOUND and bound is not None, "AccessDeniedError")
            parameter = inspect.signature(method).parameters.get("session_id")
            if parameter is not None:
                session = arguments["session_id"] = self.in_scope(arguments.get("session_id"))
                refuse_if(session is None and parameter.default is parameter.empty, "InvalidInputError")
            return method(self, **arguments)
        except Refused as refused:
            return str(refused)

    # What holds at a moment

    def in_scope(self, session):
        refuse_if(self.bound is not None and session not in {None, self.bound}, "AccessDeniedError")
        return session or self.bound

    def over(self, moment):
        return moment <= self.clock()

    def moments(self, one):
        """Return when a cleanup changes an artifact."""
        known = [one.until, one.expires] + [end for _, end in ends(one.contents, one.keep)]
        return [one.expires + GRACE] if one.released else known

    def of(self, session=None):
        return [one for one in self.artifacts.values() if session in {None, one.session}]

    def due(self, session=None):
        return [one for one in self.of(session) if self.over(min(self.moments(one)))]

    def get_session_info(self, session_id):
        info = self.sessions.get(session_id)
        return None if info is None or self.over(info.expires) else info

    def ttl_in(self, session, ttl=None):
        return (self.get_session_info(session) or self.begun(session)).ttl if ttl is None else ttl

    def raw(self, id, *, awaited=False):
        one = self.artifacts.get(id)
        known = one is not None and self.bound in {None, one.session}
        refuse_if(not known or not (one.until == NEVER or one.complete or awaited), "ArtifactNotFoundError")
        refuse_if(self.over(one.expires), "ArtifactExpiredError")
        return one

    def metadata(self, artifact_id):
        one = self.raw(artifact_id)
        with suppress(Refused):
            return one if one.until == NEVER else self.adopt(one, one.ttl)
        raise Refused("ArtifactNotFoundError")

    def exists(self, artifact_id):
        with suppress(Refused):
            return self.metadata(artifact_id) is not None
        return False

    def checked(self, id, other, if_revision=None):
        one = self.metadata(id)
        refuse_if(if_revision not in {None, one.revision}, "ConflictError")
        refuse_if(other not in {None, one.session}, "AccessDeniedError")
        return one

    def records(self, session=None):
        """Return artifacts that are not over, and uploads that are awaited, by name."""
        ours = [one for one in self.of(session) if not self.over(one.expires)]
        return sorted(ours, key=lambda one: (one.filename or "", one.id))

    def list_files(self, session_id, prefix="", limit=None, start="", folder=""):
        found = [one for one in self.records(session_id) if (one.filename or "").startswith(prefix or join(folder, ""))]
        found = islice((one for one in found if self.exists(one.id)), limit)
        return [one for one in found if (one.filename or "") >= start]

    def named(self, session, filename):
        found = [one for one in self.records(session) if one.filename == filename and self.exists(one.id)]
        return sorted(found, key=lambda one: (one.stored, one.id), reverse=True)

    # Usage and limits

    def usage(self, session_id=None):
        held = [one for one in self.of(session_id) if one.contents]
        return len(held), sum(size(one.contents[-1 - one.keep :]) for one in held)

    def limit(self, data, max_bytes=NEVER):
        refuse_if(len(data) > min(self.most, self.most_in_session, max_bytes), "QuotaExceededError")

    def admit(self, session, more):
        """Refuse bytes that a session may not hold, after making room in it if there is too little."""
        for one in self.due(session) if more > self.most_in_session - self.usage(session)[1] else ():
            self.release(one)
        refuse_if(more > self.most_in_session - self.usage(session)[1], "QuotaExceededError")

    # Changes

    def release(self, one, *, dry_run=False):
        """Remove the bytes that are over, and return whether an artifact went, and how many bytes."""
        is_over = one.until < NEVER or self.over(one.expires)
        before, after = one.contents, [] if is_over else self.still(one.contents, one.keep)
        if not dry_run:
            vars(one).update(contents=after, released=is_over, uploaded=None, expires=min(one.expires, one.until))
        return bool(before and not after), size(before) - size(after)

    def still(self, contents, keep):
        return [content for content, end in ends(contents, keep)[-1 - max(keep, EARLIER) :] if not self.over(end)]

    def begun(self, session, user=None, ttl=None, meta=()):
        ttl = NEVER if session.startswith("user:") else self.ttl if ttl is None else ttl
        user = session[5:] if session.startswith("user:") else user
        return Facts(id=session, user=user, created=self.clock(), ttl=ttl, expires=self.clock() + ttl, meta=dict(meta))

    def new(self, session, ttl, *, data=None, **fields):
        """Return an artifact without content, as is an upload that is awaited."""
        one, now = Facts(session=session, ttl=ttl, filename=None, summary="", meta={}, keep=self.keep), self.clock()
        vars(one).update(until=NEVER, complete=False, max_bytes=NEVER, uploaded=None, released=False, stored=now)
        vars(one).update(fields, contents=[], revision=0)
        known = TYPES.get((one.filename or "").split(".")[-1]) or fields.get("default", "application/octet-stream")
        vars(one).update(mime=fields.get("mime", known), expires=ttl + (now if one.until == NEVER else one.until))
        return one

    def add(self, one, id, user=None):
        one.id, info = id, self.get_session_info(one.session) or self.begun(one.session)
        info.user = info.user or user
        self.sessions[one.session], self.artifacts[id] = info, one
        if one.expires > info.expires:  # not each artifact of a session is to prolong it
            info.expires = max(one.expires, info.expires + info.ttl / 1000)
        return one

    def next(self, one, data=None, *, number=None, **fields):
        """Make the next revision of an artifact, with other bytes or those of an earlier content."""
        revision, keep, contents = one.revision + 1, fields.get("keep", one.keep), one.contents
        if data is not None:
            contents = [*contents, Facts(data=data, number=number or revision, first=revision, stored=self.clock())]
        if data is not None or "keep" in fields:
            contents = self.still(contents, keep)
        self.admit(one.session, size(contents[-1 - keep :]) - size(one.contents[-1 - one.keep :]))
        refuse_if(one.released, "ArtifactNotFoundError")  # to make room for it, it was removed itself
        lives = {"expires": self.clock() + fields["ttl"]} if "ttl" in fields else {}
        vars(one).update(lives | fields, contents=contents, revision=revision, updated=self.clock())
        vars(contents[-1]).update(last=revision, mime=one.mime, filename=one.filename)
        if one.session in self.sessions:
            self.sessions[one.session].expires = max(self.sessions[one.session].expires, one.expires)
        return one

    def adopt(self, one, ttl, **fields):
        """Make an artifact from an upload that has come."""
        data, one.uploaded = one.uploaded, None
        refuse_if(data is None, "ArtifactNotFoundError")
        return self.next(one, data, until=NEVER, ttl=ttl, stored=self.clock(), **fields)

    # Artifacts

    def store_batch(self, items, session_id=None, ttl=None):
        new = []
        for item in items:
            new.append((self.in_scope(item.get("session_id")) or session_id or self.fresh, item))
            self.limit(item["data"], item.get("max_bytes", NEVER))
        for name in dict.fromkeys(session for session, _ in new):
            self.admit(name, sum(len(item["data"]) for session, item in new if session == name))
        taken = {(one.session, one.filename) for one in self.records() if one.filename and one.until == NEVER}
        wanted = {(session, item.get("filename")) for session, item in new if item.get("exclusive")}
        refuse_if(wanted & taken, "ConflictError")
        for id, (session, item) in zip(self.made, new, strict=True):
            one = self.new(session, **{"ttl": self.ttl_in(session, ttl), **item})
            self.next(self.add(one, id, item.get("user_id")), item["data"])
        return self.made

    def copy_file(self, artifact_id, other=None, meta=(), **named):
        one = self.checked(artifact_id, other)
        copy = {name: vars(one)[name] for name in ("filename", "mime", "summary", "ttl", "keep")} | named
        copy |= {"data": one.contents[-1].data, "meta": {**one.meta, **dict(meta)}}
        return self.store_batch([copy], one.session)[0]

    def versions(self, artifact_id, revision=None):
        """Return the contents that can be read, newest first: all, or the one of a revision."""
        one = self.metadata(artifact_id)
        found = [Facts(**vars(one) | vars(content) | {"until": end}) for content, end in ends(one.contents, one.keep)]
        found = [c for c in found if not self.over(c.until) and (revision is None or c.first <= revision <= c.last)]
        refuse_if(not found, "ArtifactNotFoundError")
        return found[::-1]

    def change(self, artifact_id, *, data=None, other=None, if_revision=None, merge=True, max_bytes=NEVER, **fields):
        changes = data is not None or fields
        refuse_if(not changes and other is None, "InvalidInputError")
        self.limit(data or b"", max_bytes)
        one = self.checked(artifact_id, other, if_revision)
        merged = {"meta": {**one.meta, **fields["meta"]}} if merge and "meta" in fields else {}
        return self.next(one, data, **fields | merged) if changes else one

    def restore(self, artifact_id, revision, if_revision=None):
        one, old = self.checked(artifact_id, None, if_revision), self.versions(artifact_id, revision)[0]
        number = old.number if old.until > self.clock() + ENDS_SOON else None  # else its bytes are copied
        return one if number == one.contents[-1].number else self.next(one, old.data, number=number, mime=old.mime)

    def extend_ttl(self, artifact_id, additional_seconds):
        one, more = self.metadata(artifact_id), additional_seconds
        return one if one.expires == NEVER else self.next(one, ttl=one.ttl + more, expires=one.expires + more)

    def remove(self, gone):
        return [one for one in gone if self.artifacts.pop(one.id) and not self.over(one.expires)]

    def delete_batch(self, artifact_ids):
        gone = [one for one in map(self.artifacts.get, {*artifact_ids}) if one and self.bound in {None, one.session}]
        return sum(one.until == NEVER or (one.complete and one.uploaded is not None) for one in self.remove(gone))

    def drop(self, session):
        self.sessions.pop(session)
        return sum(one.until == NEVER for one in self.remove(self.of(session)))

    def list_directory(self, session_id, folder=""):
        start, found = len(join(folder, "")), self.list_files(session_id, join(folder, ""))
        names = [(one, *(one.filename or one.id)[start:].partition("/")) for one in found]
        return sorted({head for _, head, slash, _ in names if slash}), [one for one, _, slash, _ in names if not slash]

    def search(self, session_id=None, prefix="", mime="*", meta=(), user_id=None, stored_after=0, stored_before=NEVER):
        found = [(one, self.get_session_info(one.session)) for one in self.records(session_id) if one.contents]
        found = [one for one, info in found if (info or session_id) and user_id in {None, info and info.user}]
        found = [one for one in found if (one.filename or "").startswith(prefix) and fnmatchcase(one.mime, mime)]
        found = [one for one in found if stored_after <= one.stored < stored_before]
        return [one for one in found if dict(meta).items() <= one.meta.items()]

    # Uploads

    def presign_upload(self, expires, session_id=None, ttl=None, **fields):
        session = session_id or self.fresh
        ttl = self.ttl_in(session, ttl) if "complete" in fields else 0
        return self.add(self.new(session, ttl, until=self.clock() + expires + GRACE, **fields), self.made[0]).id

    def put(self, artifact_id, data):
        """Let the gateway take an upload."""
        one = self.raw(artifact_id, awaited=True)
        refuse_if(one.until == NEVER or self.over(one.until - GRACE), "ArtifactNotFoundError")
        self.limit(data, one.max_bytes)
        self.admit(one.session, len(data))
        one.uploaded = data

    def register_uploaded_artifact(self, artifact_id, session_id=None, ttl=None, **fields):
        one = self.raw(artifact_id, awaited=True)
        refuse_if(session_id not in {None, one.session}, "AccessDeniedError")
        return one.until == NEVER or self.adopt(one, self.ttl_in(one.session, ttl), **fields) is one

    # Sessions and upkeep

    def create_session(self, session_id=None, user_id=None, ttl_hours=None, custom_metadata=()):
        id = session_id or self.made[0] or ""
        refuse_if(id.startswith("user:") and (ttl_hours or user_id not in {None, id[5:]}), "InvalidInputError")
        refuse_if(self.get_session_info(id), "ConflictError")
        self.sessions[id] = self.begun(id, user_id, ttl_hours and ttl_hours * 3600, custom_metadata)
        return id

    def iter_sessions(self, user_id=None):
        return [info for info in map(self.get_session_info, self.sessions) if info and user_id in {None, info.user}]

    def change_session(self, session_id, metadata=(), additional_hours=0):
        info, more = self.get_session_info(session_id), additional_hours * 3600
        if info is not None:
            vars(info).update(meta=info.meta | dict(metadata), expires=info.expires + more, ttl=info.ttl + more)
        return info is not None

    def get_stats(self):
        living = [one.contents for one in self.records() if one.contents]
        return len(self.iter_sessions()), len(living), sum(len(contents[-1].data) for contents in living)

    def cleanup(self, *, dry_run=False):
        due = self.due()
        self.remove([] if dry_run else [one for one in due if one.released])
        over = [one for one in due if dry_run or one.until == NEVER or not one.complete or not self.exists(one.id)]
        gone, freed = map(sum, zip((0, 0), *(self.release(one, dry_run=dry_run) for one in over), strict=True))
        ended = [info.id for info in self.sessions.values() if self.over(info.expires)]
        self.sessions = {id: self.sessions[id] for id in self.sessions if dry_run or id not in ended}
        return len(ended), gone, 0, freed

    def write_path(self, session_id, filename, data):
        found = self.named(session_id, filename)
        again = found and self.change(found[0].id, data=data)
        return [] if again else self.store_batch([{"data": data, "filename": filename}], session_id)


def bytes_of(found):
    """Return the contents of artifacts."""
    return [one.contents[-1].data for one in found]


ROWS = {
    "store": lambda o, session_id=None, **item: o.store_batch([item], session_id)[0],
    "retrieve": lambda o, artifact_id, revision=None: o.versions(artifact_id, revision)[0].data,
    "retrieve_batch": lambda o, artifact_ids: bytes_of(o.metadata(one.id) for one in [*map(o.raw, artifact_ids)]),
    "delete": lambda o, artifact_id: o.delete_batch([artifact_id]) == 1,
    "delete_session": lambda o, session_id: bool(o.get_session_info(session_id)) and o.drop(session_id) >= 0,
    "delete_user": lambda o, user_id: sum(o.drop(info.id) for info in [*o.sessions.values()] if info.user == user_id),
    "archive": lambda o, session_id, prefix="": sorted(bytes_of(o.list_files(session_id, prefix))),
    "lookup": lambda o, session_id, filename: next(iter(o.named(session_id, filename)), None),
    "validate_session": lambda o, session_id: o.get_session_info(session_id) is not None,
    "cleanup_expired_sessions": lambda o: o.cleanup()[0],
    "read_path": lambda o, session_id, filename: next(iter(bytes_of(o.named(session_id, filename))), None),
    "find_path": lambda o, session_id: sorted({one.filename or one.id for one in o.list_files(session_id)}),
    "remove_path": lambda o, session_id, filename: o.delete_batch(one.id for one in o.named(session_id, filename)) > 0,
}
