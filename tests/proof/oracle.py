"""The oracle: what a store must answer, in the simplest way that can be written down.

It keeps plain facts in dictionaries and shares no code with the library. Times are seconds. ``Oracle.answer`` calls the
method here, or the row of ``ROWS``, of a name. Ids that the store made come with the call.
"""

from __future__ import annotations

import inspect
from contextlib import suppress
from fnmatch import fnmatchcase
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


def counted(contents):
    """Return what contents add to the usage: not those that stay only for an hour."""
    return size([one for one in contents if one.kept or one.until is None])


def within(folder):
    """Return the prefix of what is in a folder."""
    return folder.rstrip("/") and folder.rstrip("/") + "/"


class Oracle:
    """What a store of these settings holds and answers."""

    def __init__(self, clock, *, ttl, keep, most, most_in_session):
        self.clock, self.ttl, self.keep, self.most, self.most_in_session = clock, ttl, keep, most, most_in_session
        self.artifacts, self.sessions, self.bound, self.made, self.fresh = {}, {}, None, [], ""

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
        return moment is not None and moment <= self.clock()

    def moments(self, one):
        """Return when a cleanup changes an artifact."""
        if one.released:
            return [one.expires + GRACE]
        known = [one.until, one.expires, *(content.until for content in one.contents if not content.kept)]
        return [moment for moment in known if moment is not None]

    def due(self, one):
        return any(map(self.over, self.moments(one)))

    def living(self, session):
        info = self.sessions.get(session)
        return None if info is None or self.over(info.expires) else info

    def ttl_in(self, session, ttl=None):
        return (self.living(session) or self.begun(session)).ttl if ttl is None else ttl

    def raw(self, id, *, awaited=False):
        one = self.artifacts.get(id)
        known = one is not None and self.bound in {None, one.session}
        refuse_if(not known or not (one.until is None or one.complete or awaited), "ArtifactNotFoundError")
        refuse_if(self.over(one.expires), "ArtifactExpiredError")
        return one

    def find(self, artifact_id):
        one = self.raw(artifact_id)
        try:
            return one if one.until is None else self.adopt(one, one.ttl)
        except Refused:
            raise Refused("ArtifactNotFoundError") from None

    def exists(self, artifact_id):
        with suppress(Refused):
            return self.find(artifact_id) is not None
        return False

    def checked(self, id, other, if_revision=None):
        one = self.find(id)
        refuse_if(if_revision not in {None, one.revision}, "ConflictError")
        refuse_if(other not in {None, one.session}, "AccessDeniedError")
        return one

    def records(self, session=None):
        """Return artifacts that are not over, and uploads that are awaited, by name."""
        ours = [one for one in self.artifacts.values() if session in {None, one.session}]
        return sorted([one for one in ours if not self.over(one.expires)], key=lambda x: (x.filename or "", x.id))

    def listed(self, session, limit=NEVER, meets=lambda name: True):
        found, left = [], [one for one in self.records(session) if meets(one.filename or "")]
        while left and len(found) < limit:  # an upload that has not come is left out after it was read
            some = int(min(limit - len(found), len(left)))
            found += [one for one in left[:some] if self.exists(one.id)]
            left = left[some:]
        return found

    def list_files(self, session_id, prefix="", limit=NEVER, start="", directory_prefix=""):
        found = self.listed(session_id, limit, lambda name: name.startswith(prefix or within(directory_prefix)))
        return [one for one in found if (one.filename or "") >= start]

    def named(self, session, filename):
        found = self.listed(session, meets=lambda name: name == filename)
        return sorted(found, key=lambda one: (one.stored, one.id), reverse=True)

    # Usage and limits

    def usage(self, session_id=None):
        held = [one.contents for one in self.artifacts.values() if session_id in {None, one.session} and one.contents]
        return len(held), sum(map(counted, held))

    def limit(self, data, max_bytes=None):
        most = min(self.most, self.most_in_session, NEVER if max_bytes is None else max_bytes)
        refuse_if(len(data) > most, "QuotaExceededError")

    def admit(self, session, more, *, known=True, makes_room=True):
        """Refuse bytes that a session may not hold, after making room in it if there may be too little."""
        if makes_room and (not known or more > self.most_in_session - self.usage(session)[1]):
            for one in self.artifacts.values():
                if one.session == session and self.due(one):
                    self.release(one)
        refuse_if(more > max(self.most_in_session - self.usage(session)[1], 0), "QuotaExceededError")

    # Changes

    def release(self, one, *, dry_run=False):
        """Remove the bytes that are over, and return whether an artifact went, and how many bytes."""
        ends = one.until is not None or self.over(one.expires)
        before, after = one.contents, [] if ends else self.still(one.contents)
        if not dry_run:
            one.contents, one.released, one.uploaded = after, ends, None
            one.expires = one.expires if one.until is None else one.until
        return bool(before and not after), size(before) - size(after)

    def still(self, contents):
        surplus = len(contents) - 1 - EARLIER
        return [c for at, c in enumerate(contents) if c.kept or (at >= surplus and not self.over(c.until))]

    def after(self, seconds):
        return None if seconds is None else self.clock() + seconds

    def begun(self, session, user=None, ttl=None, meta=()):
        ttl = None if session.startswith("user:") else self.ttl if ttl is None else ttl
        user = session[5:] if session.startswith("user:") else user
        return Facts(id=session, user=user, created=self.clock(), ttl=ttl, expires=self.after(ttl), meta=dict(meta))

    def new(self, session, *, filename=None, mime=None, summary="", meta=(), ttl=None, keep_versions=None, **more):
        """Return an artifact without content, as is an upload that is awaited."""
        mime = mime or TYPES.get((filename or "").split(".")[-1]) or more.get("default", "application/octet-stream")
        one = Facts(session=session, filename=filename, mime=mime, summary=summary, meta=dict(meta), ttl=ttl)
        vars(one).update(keep=keep_versions, until=None, uploaded=None, released=False, contents=[], revision=0)
        vars(one).update(stored=self.clock(), expires=self.after(ttl))
        return one

    def add(self, one, id, user=None):
        one.id, info = id, self.living(one.session) or self.begun(one.session)
        info.user = info.user or user
        self.sessions[one.session], self.artifacts[id] = info, one
        return self.prolong(one)

    def prolong(self, one):
        """Let the session outlive the artifact."""
        info = self.sessions.get(one.session)
        if info is not None and info.expires is not None and (one.expires or NEVER) > info.expires:
            longer = info.expires + (info.ttl or 0) / 1000
            info.expires = None if one.expires is None else max(one.expires, longer)
        return one

    def grown(self, one, data, number, keep):
        """Return the contents of the next revision of an artifact."""
        if data is None and keep is None:
            return one.contents
        contents = [Facts(**vars(content)) for content in one.contents]
        if data is not None:
            before = {"mime": one.mime, "filename": one.filename, "last": one.revision, "until": self.after(GRACE)}
            for content in contents[-1:]:
                vars(content).update(before)
            new = {"data": data, "first": one.revision + 1, "number": number or one.revision + 1}
            contents.append(Facts(**new, stored=self.clock(), until=None, kept=False))
        for at, content in enumerate(reversed(contents[:-1])):
            content.kept = at < next(number for number in (keep, one.keep, self.keep) if number is not None)
        return self.still(contents)

    def next(self, one, data=None, *, number=None, keep=None, known=True, makes_room=True, **fields):
        """Make the next revision of an artifact, with other bytes or those of an earlier content."""
        more = counted(self.grown(one, data, number, keep)) - counted(one.contents)
        self.admit(one.session, more, known=known, makes_room=makes_room)
        one.contents = self.grown(one, data, number, keep)
        one.keep = one.keep if keep is None else keep
        vars(one).update(fields, revision=one.revision + 1, updated=self.clock())
        return self.prolong(one)

    def adopt(self, one, ttl, **fields):
        """Make an artifact from an upload that has come."""
        data, one.uploaded = one.uploaded, None
        refuse_if(data is None, "ArtifactNotFoundError")
        self.limit(data, one.max_bytes)
        self.admit(one.session, len(data))
        refuse_if(one.released, "ArtifactNotFoundError")  # to make room for it, it was removed itself
        return self.next(one, data, until=None, ttl=ttl, stored=self.clock(), expires=self.after(ttl), **fields)

    # Artifacts

    def store_batch(self, items, session_id=None, ttl=None, *, exclusive=False):
        new = []
        for item in items:
            new.append((self.in_scope(item.get("session_id")) or session_id or self.fresh, item))
            self.limit(item["data"], item.get("max_bytes"))
        for name in dict.fromkeys(session for session, _ in new):
            self.admit(name, sum(len(item["data"]) for session, item in new if session == name))
        for session, item in new if exclusive else ():
            same = [one for one in self.records(session) if item.get("filename") in {one.filename} - {None}]
            refuse_if(any(one.until is None for one in same), "ConflictError")
        for id, (session, item) in zip(self.made, new, strict=True):
            one = self.add(self.new(session, **{"ttl": self.ttl_in(session, ttl), **item}), id, item.get("user_id"))
            self.next(one, item["data"])
        return self.made

    def store(self, session_id=None, *, exclusive=False, **item):
        return self.store_batch([item], session_id, exclusive=exclusive)[0]

    def copy_file(self, artifact_id, other=None, meta=(), **named):
        one = self.checked(artifact_id, other)
        copy = {"mime": one.mime, "ttl": one.ttl, "filename": one.filename, "summary": one.summary} | named
        copy |= {"data": one.contents[-1].data, "keep_versions": one.keep, "meta": {**one.meta, **dict(meta)}}
        return self.store(one.session, **copy)

    def kept(self, artifact_id, revision=None):
        """Return the contents that can be read, newest first: all, or the one of a revision."""
        one = self.find(artifact_id)
        known = [Facts(**{"last": one.revision} | vars(one) | vars(c)) for c in reversed(one.contents)]
        found = [c for c in known if revision is None or c.first <= revision <= c.last]
        found = [c for c in found if c.kept or not self.over(c.until)]
        refuse_if(not found, "ArtifactNotFoundError")
        return found

    def change(self, artifact_id, *, data=None, other=None, if_revision=None, merge=True, **fields):
        most, keep = fields.pop("max_bytes", None), fields.pop("keep_versions", None)
        changes = data is not None or keep is not None or fields
        refuse_if(not changes and other is None, "InvalidInputError")
        refuse_if(data is not None and most is not None and len(data) > most, "QuotaExceededError")
        one = self.checked(artifact_id, other, if_revision)
        if "ttl" in fields:
            fields["expires"] = self.after(fields["ttl"])
        if merge and "meta" in fields:
            fields["meta"] = {**one.meta, **fields["meta"]}
        if data is not None:
            self.limit(data)
        return self.next(one, data, keep=keep, makes_room=data is not None, **fields) if changes else one

    def restore(self, artifact_id, revision, if_revision=None):
        one = self.checked(artifact_id, None, if_revision)
        content = self.kept(artifact_id, revision)[0]
        soon = not content.kept and content.until is not None and content.until < self.clock() + ENDS_SOON
        if soon:
            return self.next(one, content.data, known=False, mime=content.mime)
        same = content.number == one.contents[-1].number
        return one if same else self.next(one, content.data, number=content.number, makes_room=False, mime=content.mime)

    def extend_ttl(self, artifact_id, additional_seconds):
        one, more = self.find(artifact_id), additional_seconds
        return one if one.expires is None else self.next(one, ttl=one.ttl + more, expires=one.expires + more)

    def remove(self, gone):
        for one in gone:
            self.artifacts.pop(one.id)
        return [one for one in gone if not self.over(one.expires)]

    def delete_batch(self, artifact_ids):
        gone = [one for one in map(self.artifacts.get, {*artifact_ids}) if one and self.bound in {None, one.session}]
        return sum(one.until is None or (one.complete and one.uploaded is not None) for one in self.remove(gone))

    def drop(self, session):
        self.sessions.pop(session)
        gone = [one for one in self.artifacts.values() if one.session == session]
        return sum(one.until is None for one in self.remove(gone))

    def list_directory(self, session_id, directory=""):
        found = self.list_files(session_id, within(directory))
        names = [(one.filename or one.id)[len(within(directory)) :].partition("/") for one in found]
        files = [one for one, (_, slash, _) in zip(found, names, strict=True) if not slash]
        return sorted({head for head, slash, _ in names if slash}), files

    def search(self, session_id=None, *, prefix="", mime="*", meta=(), user_id=None, **stored):
        after, before, found = stored.get("stored_after", 0), stored.get("stored_before", NEVER), []
        for one in self.records(session_id):
            info = self.living(one.session)
            meets = one.contents and user_id in {None, info and info.user} and (info or session_id)
            meets = meets and (one.filename or "").startswith(prefix) and fnmatchcase(one.mime, mime)
            meets = meets and all(name in one.meta and one.meta[name] == value for name, value in dict(meta).items())
            found += [one] if meets and after <= one.stored < before else []
        return found

    # Uploads

    def presign_upload(self, expires, session_id=None, max_bytes=None, *, complete=False, **fields):
        one, ends = self.new(session_id or self.fresh, **fields), self.clock() + expires
        one.ttl = self.ttl_in(one.session, one.ttl) if complete else one.ttl
        vars(one).update(complete=complete, max_bytes=max_bytes, url_ends=ends, until=ends + GRACE)
        one.expires = one.until if not complete else None if one.ttl is None else one.until + one.ttl
        return self.add(one, self.made[0]).id

    def put(self, artifact_id, data):
        """Let the gateway take an upload."""
        one = self.raw(artifact_id, awaited=True)
        refuse_if(one.until is None or self.over(one.url_ends), "ArtifactNotFoundError")
        self.limit(data, one.max_bytes)
        self.admit(one.session, len(data))
        refuse_if(one.released, "ArtifactNotFoundError")
        one.uploaded = data

    def register_uploaded_artifact(self, artifact_id, session_id=None, ttl=None, **fields):
        one = self.raw(artifact_id, awaited=True)
        refuse_if(session_id not in {None, one.session}, "AccessDeniedError")
        return one.until is None or self.adopt(one, self.ttl_in(one.session, ttl), **fields) is one

    # Sessions and upkeep

    def create_session(self, session_id=None, user_id=None, ttl_hours=None, custom_metadata=()):
        session = session_id or self.made[0] or ""
        foreign = user_id not in {None, session[5:]} or ttl_hours is not None
        refuse_if(session.startswith("user:") and foreign, "InvalidInputError")
        refuse_if(self.living(session), "ConflictError")
        self.sessions[session] = self.begun(session, user_id, ttl_hours and ttl_hours * 3600, custom_metadata)
        return session

    def iter_sessions(self, user_id=None):
        return [info for info in self.sessions.values() if self.living(info.id) and user_id in {None, info.user}]

    def change_session(self, session_id, metadata=(), additional_hours=0):
        info = self.living(session_id)
        for facts in [vars(info)] if info else ():
            facts["meta"] |= dict(metadata)
            facts |= {n: facts[n] and facts[n] + additional_hours * 3600 for n in ("expires", "ttl")}
        return info is not None

    def get_stats(self):
        living = [one.contents for one in self.records() if one.contents]
        return len(self.iter_sessions()), len(living), sum(len(contents[-1].data) for contents in living)

    def cleanup(self, *, dry_run=False):
        artifacts = freed = 0
        for one in [one for one in self.artifacts.values() if self.due(one)]:
            if one.released and not dry_run:
                self.artifacts.pop(one.id)
            elif dry_run or one.until is None or not one.complete or not self.exists(one.id):
                gone, removed = self.release(one, dry_run=dry_run)
                artifacts, freed = artifacts + gone, freed + removed
        ended = [session for session, info in self.sessions.items() if self.over(info.expires)]
        for session in () if dry_run else ended:
            self.sessions.pop(session)
        return len(ended), artifacts, 0, freed

    def write_path(self, session_id, filename, data):
        found = self.named(session_id, filename)
        again = found and self.change(found[0].id, data=data)
        return [] if again else self.store_batch([{"data": data, "filename": filename}], session_id)


def bytes_of(found):
    """Return the contents of artifacts."""
    return [one.contents[-1].data for one in found]


ROWS = {
    "retrieve": lambda o, artifact_id, revision=None: o.kept(artifact_id, revision)[0].data,
    "retrieve_batch": lambda o, artifact_ids: bytes_of(o.find(one.id) for one in [*map(o.raw, artifact_ids)]),
    "metadata": Oracle.find,
    "versions": lambda o, artifact_id: o.kept(artifact_id),
    "delete": lambda o, artifact_id: o.delete_batch([artifact_id]) == 1,
    "delete_session": lambda o, session_id: bool(o.living(session_id)) and o.drop(session_id) >= 0,
    "delete_user": lambda o, user_id: sum(o.drop(info.id) for info in [*o.sessions.values()] if info.user == user_id),
    "archive": lambda o, session_id, prefix="": sorted(bytes_of(o.list_files(session_id, prefix))),
    "lookup": lambda o, session_id, filename: next(iter(o.named(session_id, filename)), None),
    "get_session_info": lambda o, session_id: o.living(session_id),
    "validate_session": lambda o, session_id: o.living(session_id) is not None,
    "cleanup_expired_sessions": lambda o: o.cleanup()[0],
    "read_path": lambda o, session_id, filename: next(iter(bytes_of(o.named(session_id, filename))), None),
    "find_path": lambda o, session_id: sorted({one.filename or one.id for one in o.list_files(session_id)}),
    "remove_path": lambda o, session_id, filename: o.delete_batch(one.id for one in o.named(session_id, filename)) > 0,
}
