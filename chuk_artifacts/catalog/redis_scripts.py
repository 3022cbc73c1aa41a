r"""What the Redis server does by itself: a Lua script for each change, so that it is atomic and one round trip.

The names of all keys begin with a root, ``chuk:{tag}:{sandbox}/``, in which the tag is a hash tag: Redis Cluster keeps
what shares it on one node (https://redis.io/docs/latest/operate/oss_and_stack/reference/cluster-spec/#hash-tags).
KEYS are roots, not keys: which keys there are under one, a script finds out. They are:

- ``record/{id}``: the record's line, a line feed, and the record;
- ``session/{session}``: a hash of ``info``, all but its end, ``expires_at``, its end ('' is never), and ``mark``, that
  of the last change;
- ``index/{session}``: the places of its records, ``{filename}\0{id}``, in the order of bytes;
- ``due``: the lines of records by the moment when cleanup has to do with them (+inf is never);
- ``sessions``: sessions by their end.

The line of a record tells what scripts need of it, between NULs: revision, mark, session, bytes, end and place. Redis
drops records and sessions some time after their end, and what they share after the last of them; what is left of a
dropped one in there is removed where it is met.

Repeating a script does no harm, and those that answer differently then can be told by their mark.
"""

from __future__ import annotations

import hashlib

import attrs

_COMMON = r"""
local DAY = 86400000

local function parsed(value)
  local line = string.match(value, '^[^\n]*')
  local revision, mark, session, bytes, expires_at, place =
    string.match(line, '^(.-)%z(.-)%z(.-)%z(.-)%z(.-)%z(.*)$')
  return {
    line = line, revision = revision, mark = mark, session = session, bytes = bytes, expires_at = expires_at,
    place = place, id = string.match(place, '%z(.*)$')
  }
end

-- Write to a key, and have Redis keep it so many milliseconds at least ('' is for ever).
local function write(milliseconds, command, key, ...)
  local left = redis.call('PTTL', key)
  redis.call(command, key, ...)
  if milliseconds == '' then
    redis.call('PERSIST', key)
  elseif left == -2 or (left >= 0 and left < tonumber(milliseconds)) then
    redis.call('PEXPIRE', key, tonumber(milliseconds) + DAY) -- a day more, so that this is not done every time
  end
end

local function put(root, value, due, milliseconds)
  local record = parsed(value)
  local key = root .. 'record/' .. record.id
  if milliseconds == '' then
    redis.call('SET', key, value)
  else
    redis.call('SET', key, value, 'PX', milliseconds)
  end
  write(milliseconds, 'ZADD', root .. 'index/' .. record.session, 0, record.place)
  write(milliseconds, 'ZADD', root .. 'due', due, record.line)
end

local function take(root, record)
  redis.call('DEL', root .. 'record/' .. record.id)
  redis.call('ZREM', root .. 'index/' .. record.session, record.place)
  redis.call('ZREM', root .. 'due', record.line)
end

-- Return info, end and mark of a session that has not ended, and empty strings for any other.
local function living(root, session, now)
  local found = redis.call('HMGET', root .. 'session/' .. session, 'info', 'expires_at', 'mark')
  if found[1] and (found[2] == '' or found[2] > now) then return {found[1], found[2], found[3] or ''} end
  return {'', '0', ''}
end

-- Write something of a session, and let it live until a moment at least. That is the rule of `prolonged` in Python,
-- which knows the end that the session had a while ago; here is the one that it has.
local function prolong(root, session, known, expires_at, expires, milliseconds, ...)
  local key = root .. 'session/' .. session
  if known ~= '' and (expires_at == '' or expires_at > known) then
    write(milliseconds, 'HSET', key, 'expires_at', expires_at, ...)
    write(milliseconds, 'ZADD', root .. 'sessions', expires, session)
  elseif #{...} > 0 then
    redis.call('HSET', key, ...)
  end
end
"""


@attrs.frozen
class Script:
    """A Lua script, and the name by which a server knows it once it has seen it."""

    text: str = attrs.field(repr=False)
    sha: str


def _script(text: str) -> Script:
    text = _COMMON + text
    return Script(text, hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest())


ADD = _script(r"""
-- Add records with their sessions if these are what the caller takes them for; else return what they are.
-- ARGV: now; '' or a moment: of what had to go before it, a bit of what Redis dropped is forgotten;
-- for each of KEYS a session and its info as the caller knows it ('' is no session); then for each again
-- the session's new info, end, end as a number and milliseconds to keep it (all '' when it does not change),
-- the number of its records, and for each of these its value, due as a number and milliseconds to keep it.
local now, before = ARGV[1], ARGV[2]
local was, unlike = {}, {}
for i, root in ipairs(KEYS) do
  local session, info = ARGV[2 * i + 1], ARGV[2 * i + 2]
  was[i] = living(root, session, now)
  if was[i][1] ~= info then unlike[#unlike + 1] = {session, unpack(was[i])} end
end
if #unlike > 0 then return unlike end

-- Where nobody cleans up, what is left of dropped records and sessions would add up.
local function forget(root)
  for _, line in ipairs(redis.call('ZRANGEBYSCORE', root .. 'due', '-inf', before, 'LIMIT', 0, 32)) do
    local record = parsed(line)
    if redis.call('EXISTS', root .. 'record/' .. record.id) == 0 then take(root, record) end
  end
  for _, session in ipairs(redis.call('ZRANGEBYSCORE', root .. 'sessions', '-inf', before, 'LIMIT', 0, 32)) do
    if redis.call('EXISTS', root .. 'session/' .. session) == 0 then
      redis.call('ZREM', root .. 'sessions', session)
    end
  end
end

local at = 2 * #KEYS + 3
for i, root in ipairs(KEYS) do
  local session = ARGV[2 * i + 1]
  local info, expires_at, expires, milliseconds, count = unpack(ARGV, at, at + 4)
  at = at + 5
  if info ~= '' then prolong(root, session, was[i][2], expires_at, expires, milliseconds, 'info', info) end
  for _ = 1, count do
    put(root, unpack(ARGV, at, at + 2))
    at = at + 3
  end
  if before ~= '' then forget(root) end
end
return {}
""")

REPLACE = _script(r"""
-- Replace a record if it has the revision, and prolong its session. Return 1, or 0 when it has another or is not there.
-- ARGV: the revision; the record's value, due as a number, and milliseconds to keep it;
-- its end, its end as a number, and milliseconds to keep the session
local root = KEYS[1]
local new = parsed(ARGV[2])
local value = redis.call('GET', root .. 'record/' .. new.id)
if not value then return 0 end
local old = parsed(value)
if old.mark == new.mark then return 1 end -- this is a repetition, and the call before it came through
if old.revision ~= ARGV[1] then return 0 end
take(root, old)
put(root, unpack(ARGV, 2, 4))
local known = redis.call('HGET', root .. 'session/' .. new.session, 'expires_at')
if known then prolong(root, new.session, known, unpack(ARGV, 5, 7)) end
return 1
""")

REMOVE = _script(r"""
-- Remove records, and return those that were there.
-- ARGV: only those of this session, or ''; only those that end at this moment or before, or ''; for each of KEYS an id
local session, moment = ARGV[1], ARGV[2]
local removed = {}
for i, root in ipairs(KEYS) do
  local value = redis.call('GET', root .. 'record/' .. ARGV[i + 2])
  local record = value and parsed(value)
  if record and (session == '' or record.session == session)
    and (moment == '' or (record.expires_at ~= '' and record.expires_at <= moment)) then
    take(root, record)
    removed[#removed + 1] = value
  end
end
return removed
""")

PAGE = _script(r"""
-- Return records of a session in their order, those of which the places lie between two bounds of ZRANGEBYLEX.
-- ARGV: the session, the bounds, how many at most
local root, first, limit = KEYS[1], ARGV[2], tonumber(ARGV[4])
local index = root .. 'index/' .. ARGV[1]
local found, dropped = {}, {}
repeat
  dropped = {}
  local places = redis.call('ZRANGEBYLEX', index, first, ARGV[3], 'LIMIT', 0, limit - #found)
  if #places == 0 then break end
  local keys = {}
  for i, place in ipairs(places) do keys[i] = root .. 'record/' .. string.match(place, '%z(.*)$') end
  for i, value in ipairs(redis.call('MGET', unpack(keys))) do
    if value then found[#found + 1] = value else dropped[#dropped + 1] = places[i] end
  end
  if #dropped > 0 then redis.call('ZREM', index, unpack(dropped)) end
  first = '(' .. places[#places]
until #dropped == 0
return found
""")

DUE = _script(r"""
-- Return records that are due.
-- ARGV: the moment as a number, how many at most
local limit = tonumber(ARGV[2])
local found = {}
for _, root in ipairs(KEYS) do
  local kept, dropped = 0, false
  repeat
    dropped = false
    local lines = redis.call('ZRANGEBYSCORE', root .. 'due', '-inf', ARGV[1], 'LIMIT', kept, limit - #found)
    for _, line in ipairs(lines) do
      local record = parsed(line)
      local value = redis.call('GET', root .. 'record/' .. record.id)
      if value then
        kept = kept + 1
        found[#found + 1] = value
      else
        dropped = true
        take(root, record)
      end
    end
  until not dropped
  if #found >= limit then break end
end
return found
""")

UPDATE_SESSION = _script(r"""
-- Change a session if it is what the caller takes it for: return nothing; else return what it is.
-- ARGV: the session; now; its info and end as the caller knows them; its new info, end, end as a number, milliseconds
-- to keep it, and the mark of this change
local root, session = KEYS[1], ARGV[1]
local found = living(root, session, ARGV[2])
if found[1] == '' or found[1] ~= ARGV[3] or found[2] ~= ARGV[4] then return found end
local info, expires_at, expires, milliseconds, mark = unpack(ARGV, 5, 9)
prolong(root, session, found[2], expires_at, expires, milliseconds, 'info', info, 'mark', mark)
return {}
""")

REMOVE_SESSION = _script(r"""
-- Remove a session with its records, and return those; nil when there is none.
-- ARGV: the session, now
local root, session = KEYS[1], ARGV[1]
if living(root, session, ARGV[2])[1] == '' then return false end
redis.call('DEL', root .. 'session/' .. session)
redis.call('ZREM', root .. 'sessions', session)
local index = root .. 'index/' .. session
local removed = {}
for _, place in ipairs(redis.call('ZRANGE', index, 0, -1)) do
  local value = redis.call('GET', root .. 'record/' .. string.match(place, '%z(.*)$'))
  if value then
    take(root, parsed(value))
    removed[#removed + 1] = value
  end
end
redis.call('DEL', index)
return removed
""")

EXPIRE_SESSIONS = _script(r"""
-- Remove sessions that have ended, and return how many there were.
-- ARGV: the moment as a number, how many at most of each of KEYS
local count = 0
for _, root in ipairs(KEYS) do
  for _, session in ipairs(redis.call('ZRANGEBYSCORE', root .. 'sessions', '-inf', ARGV[1], 'LIMIT', 0, ARGV[2])) do
    redis.call('DEL', root .. 'session/' .. session)
    redis.call('ZREM', root .. 'sessions', session)
    count = count + 1
  end
end
return count
""")

STATS = _script(r"""
-- Return how many sessions and records have not ended, and the length of these records' bytes.
-- ARGV: the moment as a number, the moment
local root = KEYS[1]
local records, bytes = 0, 0
for _, line in ipairs(redis.call('ZRANGE', root .. 'due', 0, -1)) do
  local record = parsed(line)
  if record.expires_at == '' or record.expires_at > ARGV[2] then
    records = records + 1
    bytes = bytes + tonumber(record.bytes)
  end
end
return {redis.call('ZCOUNT', root .. 'sessions', '(' .. ARGV[1], '+inf'), records, bytes}
""")

CHECK = _script(r"""
-- Write something.
return redis.call('SET', KEYS[1] .. 'check', '1', 'PX', '1000')
""")
