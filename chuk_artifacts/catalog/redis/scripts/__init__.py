r"""The Lua scripts that the Redis server runs: one for each change, so that a change is atomic and one round trip.

Each script is a file beside this one. ``prelude.lua`` comes before each of them when it is loaded: its functions are
local to a script, since Redis lets no script define globals
(https://redis.io/docs/latest/develop/programmability/lua-api/#global-variables-and-functions).

Every key begins with a root, ``chuk:{tag}:{sandbox}/``. The tag is a hash tag: Redis Cluster keeps keys with the same
tag on one node (https://redis.io/docs/latest/operate/oss_and_stack/reference/cluster-spec/#hash-tags). The keys under a
root are:

- ``record/{id}``: the record's line, a line feed, and the record as JSON;
- ``session/{session}``: a hash of ``info`` (the session without its end), ``expires_at`` (its end; '' means never),
  ``expires`` (the same as a number) and ``mark`` (the mark of the last change). Its usage is there too: ``artifacts``
  and ``bytes``, which its records count, and ``entries``, the number of its records. A session of an earlier version
  has none; it is counted when it is needed, in portions, and ``upto`` is the last place that was counted. If
  ``entries`` is not the number of index entries, the session is counted anew;
- ``index/{session}``: the places of the session's records, ``{filename}\0{id}``, in byte order;
- ``due``: the lines of records, sorted by the time at which cleanup must look at them (+inf means never);
- ``sessions``: session ids, sorted by their end or a time up to a day before it;
- ``user/{user}``: the sessions of a user, in whatever slots these are, sorted by when they were added. In a Cluster a
  session is added before it is written, and everywhere it is removed after the session, so that no session is missing;
- ``users``, under one root only: set when the sessions of earlier versions, too, are in the sets of their users;
- ``removed/{token}``: what one portion of a session's removal has removed; kept for a minute, during which a call
  with the same token returns the same answer;
- ``identity``, under one root only: the identity of the catalog, which never expires.

The line of a record holds the fields that scripts need, separated by NULs: revision, mark, session, bytes, end and
place. The mark is a random text and ``:``, followed by the artifacts and bytes that the record counts, separated by
``:``, if these are not one artifact with its bytes, or nothing for the revision 0 of a pending record. Redis drops
records and sessions some time after they end, and the shared keys after the last of them. Scripts remove leftovers of
dropped records when they meet them, and entries that no record can have left.

A record is damaged if its value does not begin with a line that ends in its id. In place of a damaged value, a script
returns the line or place under which it found the record, and a line feed. So every returned value names its record.

A server at its ``maxmemory`` refuses a script at the first command that may take memory, unless the script has already
written. Scripts that remove therefore begin with a write that takes no memory, and run to their end; see "Memory
management with scripts" in https://redis.io/docs/latest/develop/programmability/eval-intro/.

Repeating a script does no harm. A script that answers a repetition differently recognises it by its mark.

A script builds key names from roots, and KEYS holds those known in advance. While a Cluster moves a slot between nodes,
it sees from KEYS that some are missing, and answers TRYAGAIN. Before a script treats a missing record as dropped, it
asks for it together with a key that exists, so that this fails too while the two are on different nodes. A command
fails during the move if its key has moved or would have to be created. Each script therefore reaches those commands
before it changes anything that counts.
"""

from __future__ import annotations

import hashlib
from importlib.resources import files

import attrs

_FOLDER = files(__name__)  # the wheel may be a zip file: no paths


@attrs.frozen
class Script:
    """A Lua script, and the SHA-1 by which ``EVALSHA`` names it."""

    text: str = attrs.field(repr=False)
    sha: str


def _source(name: str) -> str:
    return _FOLDER.joinpath(f"{name}.lua").read_text("utf-8")


_PRELUDE = _source("prelude")


def _script(name: str) -> Script:
    text = f"{_PRELUDE}\n{_source(name)}"
    return Script(text, hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest())


ADD = _script("add")
CHECK = _script("check")
EXPIRE_SESSIONS = _script("expire_sessions")
FIND = _script("find")
IDENTITY = _script("identity")
INDEX_USERS = _script("index_users")
LOAD_SESSIONS = _script("load_sessions")
NAMED = _script("named")
PAGE = _script("page")
REMOVE = _script("remove")
REMOVE_SESSION = _script("remove_session")
REPLACE = _script("replace")
SEARCH = _script("search")
SESSIONS = _script("sessions")
STATS = _script("stats")
TAKE = _script("take")
UNINDEX_USER = _script("unindex_user")
UPDATE_SESSION = _script("update_session")
USAGE = _script("usage")
USAGES = _script("usages")
USER_SESSIONS = _script("user_sessions")
VERIFY = _script("verify")
WALK = _script("walk")
