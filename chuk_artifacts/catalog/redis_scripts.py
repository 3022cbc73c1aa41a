r"""What the Redis server does by itself: a Lua script for each change, so that it is atomic and one round trip.

The names of all keys begin with a root, ``chuk:{tag}:{sandbox}/``, in which the tag is a hash tag: Redis Cluster keeps
what shares it on one node (https://redis.io/docs/latest/operate/oss_and_stack/reference/cluster-spec/#hash-tags).
The keys under a root are:

- ``record/{id}``: the record's line, a line feed, and the record;
- ``session/{session}``: a hash of ``info``, all but its end, of this as ``expires_at`` ('' is never) and as a number,
  ``expires``, and of ``mark``, that of the last change;
- ``index/{session}``: the places of its records, ``{filename}\0{id}``, in the order of bytes;
- ``due``: the lines of records by the moment when cleanup has to do with them (+inf is never);
- ``sessions``: sessions by their end, or one up to a day before it.

The line of a record tells what scripts need of it, between NULs: revision, mark, session, bytes, end and place. Redis
drops records and sessions some time after their end, and what they share after the last of them; what is left of a
dropped one in there is removed where it is met.

Repeating a script does no harm, and those that answer differently then can be told by their mark.

A script makes the names of keys from roots. KEYS are those that are known before, so that while a Cluster moves them
from one node to another it can see that they are not together, and says TRYAGAIN. Where a script takes a missing record
for a dropped one, it asks for it together with a key that is there: that fails too while the two are not together. What
fails on the way is a key that has moved, or would have to be made: so each script comes to these before it changes
anything that counts.
"""

from __future__ import annotations

import hashlib

import attrs

_COMMON = r"""
local DAY = 86400000
local BATCH = 1000 -- unpack can do a few thousand

local function parsed(value)
  local line = string.match(value, '^[^\n]*')
  local revision, mark, session, bytes, expires_at, place =
    string.match(line, '^([^%z]*)%z([^%z]*)%z([^%z]*)%z([^%z]*)%z([^%z]*)%z(.*)$')
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

-- Return the values of records by their places or lines, false for one that Redis has dropped; *there* is a key that
-- exists.
local function records(root, there, texts)
  local keys = {}
  for i, text in ipairs(texts) do keys[i] = root .. 'record/' .. string.match(text, '%z([^%z]*)$') end
  local values = redis.call('MGET', there, unpack(keys))
  table.remove(values, 1)
  return values
end

-- The record goes last: where one of these keys is not at hand, nothing has happened yet.
local function take(root, record)
  redis.call('ZREM', root .. 'index/' .. record.session, record.place)
  redis.call('ZREM', root .. 'due', record.line)
  redis.call('DEL', root .. 'record/' .. record.id)
end

-- Return info, end and mark of a session that has not ended, and empty strings for any other.
local function living(root, session, now)
  local found = redis.call('HMGET', root .. 'session/' .. session, 'info', 'expires_at', 'mark')
  if found[1] and (found[2] == '' or found[2] > now) then return {found[1], found[2], found[3] or ''} end
  return {'', '0', ''}
end

-- Write something of a session, and let it live until a moment at least. Who adds a record takes that from `prolonged`
-- in Python, which knows the end that the session had a while ago; here is the one that it has.
local function prolong(root, session, known, expires_at, expires, milliseconds, ...)
  local key = root .. 'session/' .. session
  if known == '' or (expires_at ~= '' and expires_at <= known) then
    if select('#', ...) > 0 then redis.call('HSET', key, ...) end
  elseif string.sub(known, 1, 10) == string.sub(expires_at, 1, 10) then -- of one day, so that the rest may wait
    redis.call('HSET', key, 'expires_at', expires_at, 'expires', expires, ...)
  else
    write(milliseconds, 'HSET', key, 'expires_at', expires_at, 'expires', expires, ...)
    write(milliseconds, 'ZADD', root .. 'sessions', expires, session)
  end
end

-- Say whether a text is before another in the order of bytes. That of `<` is the one of the server's language.
local function is_before(text, other)
  for i = 1, math.min(#text, #other) do
    local byte, another = string.byte(text, i), string.byte(other, i)
    if byte ~= another then return byte < another end
  end
  return #text < #other
end

-- Return the rank of the first entry of a sorted set behind a place, whether or not the entry of that is there still.
local function rank_behind(key, score, entry)
  local rank = redis.call('ZRANK', key, entry)
  if rank and tonumber(redis.call('ZSCORE', key, entry)) == tonumber(score) then return rank + 1 end
  local first, stop = redis.call('ZCOUNT', key, '-inf', '(' .. score), redis.call('ZCOUNT', key, '-inf', score)
  while first < stop do
    local middle = math.floor((first + stop) / 2)
    if is_before(entry, redis.call('ZRANGE', key, middle, middle)[1]) then
      stop = middle
    else
      first = middle + 1
    end
  end
  return first
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
-- With a word for it, return 1 and change nothing when another record takes one of the filenames: one that has not
-- ended, and whose bytes are there, as those of revision 0 are not. A record itself is not in its way, so that this can
-- be repeated.
-- ARGV: now; '' or a moment: of what had to go before it, a bit of what Redis dropped is forgotten; '' or that word;
-- how many sessions; for each the root, the session and its info as the caller knows it ('' is no session); then for
-- each again the session's new info, or '' when that stays, its end, end as a number and milliseconds to keep it,
-- the number of its records, and for each of these its value, due as a number and milliseconds to keep it.
local now, before, exclusive, count = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4])
local at = 5
local sessions, unlike = {}, {}
for i = 1, count do
  local root, session, info = unpack(ARGV, at, at + 2)
  at = at + 3
  local found = living(root, session, now)
  sessions[i] = {root, session, found[2]}
  if found[1] ~= info then unlike[#unlike + 1] = {session, unpack(found)} end
end
if #unlike > 0 then return unlike end

local function taken(root, record)
  local filename = string.match(record.place, '^[^%z]*')
  if filename == '' then return false end
  local index = root .. 'index/' .. record.session
  local places = redis.call('ZRANGEBYLEX', index, '[' .. filename .. '\0', '(' .. filename .. '\1')
  for begin = 1, #places, BATCH do
    for _, value in ipairs(records(root, index, {unpack(places, begin, math.min(begin + BATCH - 1, #places))})) do
      local other = value and parsed(value)
      if other and other.id ~= record.id and other.revision ~= '0'
        and (other.expires_at == '' or other.expires_at > now) then return true end
    end
  end
  return false
end

if exclusive ~= '' then
  local next = at
  for i = 1, count do
    local number = tonumber(ARGV[next + 4])
    next = next + 5
    for _ = 1, number do
      if taken(sessions[i][1], parsed(ARGV[next])) then return 1 end
      next = next + 3
    end
  end
end

-- Where nobody cleans up, what is left of dropped records and sessions would add up.
local function forget(root)
  for _, line in ipairs(redis.call('ZRANGEBYSCORE', root .. 'due', '-inf', before, 'LIMIT', 0, 32)) do
    local record = parsed(line)
    if redis.call('EXISTS', root .. 'due', root .. 'record/' .. record.id) == 1 then take(root, record) end
  end
  for _, session in ipairs(redis.call('ZRANGEBYSCORE', root .. 'sessions', '-inf', before, 'LIMIT', 0, 32)) do
    if redis.call('EXISTS', root .. 'sessions', root .. 'session/' .. session) == 1 then
      redis.call('ZREM', root .. 'sessions', session)
    end
  end
end

for i = 1, count do
  local root, session, known = unpack(sessions[i])
  if before ~= '' then forget(root) end
  local info, expires_at, expires, milliseconds, records = unpack(ARGV, at, at + 4)
  at = at + 5
  if info == '' then
    prolong(root, session, known, expires_at, expires, milliseconds)
  else
    prolong(root, session, known, expires_at, expires, milliseconds, 'info', info)
  end
  for _ = 1, records do
    put(root, unpack(ARGV, at, at + 2))
    at = at + 3
  end
end
return {}
""")

REPLACE = _script(r"""
-- Replace records that have their revisions, each by itself, and prolong their sessions. Return for each 1, or 0 when
-- it has another revision or is not there.
-- ARGV: for each the root; the revision; the record's value, due as a number, and milliseconds to keep it;
-- its end, its end as a number, and milliseconds to keep the session
local function replace(root, revision, value, due, milliseconds, ...)
  local new = parsed(value)
  local there = redis.call('GET', root .. 'record/' .. new.id)
  if not there then return 0 end
  local old = parsed(there)
  if old.mark == new.mark then return 1 end -- this is a repetition, and the call before it came through
  if old.revision ~= revision then return 0 end
  put(root, value, due, milliseconds) -- before anything is removed, because a key that moves can't be made anew
  if old.place ~= new.place then redis.call('ZREM', root .. 'index/' .. old.session, old.place) end
  redis.call('ZREM', root .. 'due', old.line)
  local known = redis.call('HGET', root .. 'session/' .. new.session, 'expires_at')
  if known then prolong(root, new.session, known, ...) end
  return 1
end

local replaced = {}
for at = 1, #ARGV, 8 do replaced[#replaced + 1] = replace(unpack(ARGV, at, at + 7)) end
return replaced
""")

REMOVE = _script(r"""
-- Remove records, and return those that were there.
-- ARGV: only those of this session, or ''; only those that end at this moment or before, or ''; then roots and ids
local session, moment = ARGV[1], ARGV[2]
local removed = {}
for at = 3, #ARGV, 2 do
  local root, id = ARGV[at], ARGV[at + 1]
  local value = redis.call('GET', root .. 'record/' .. id)
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
-- Return records of a session in their order, those of which the places lie between two bounds of ZRANGEBYLEX; and the
-- first bound of the rest when too much was met that Redis has dropped, else ''.
-- ARGV: the root, the session, the bounds, how many at most, which is a BATCH or less
local root, session, first, last, limit = unpack(ARGV, 1, 5)
local index = root .. 'index/' .. session
local left = BATCH
local found, dropped = {}, {}
repeat
  dropped = {}
  local places = redis.call('ZRANGEBYLEX', index, first, last, 'LIMIT', 0, math.min(limit - #found, left))
  if #places == 0 then break end
  for i, value in ipairs(records(root, index, places)) do
    if value then found[#found + 1] = value else dropped[#dropped + 1] = places[i] end
  end
  if #dropped > 0 then redis.call('ZREM', index, unpack(dropped)) end
  first = '(' .. places[#places]
  left = left - #places
until #dropped == 0 or left == 0
return {found, #dropped > 0 and first or ''}
""")

DUE = _script(r"""
-- Return records that are due; how many of the roots are done with, and how many to skip under the next one, when so
-- many were looked at that others have waited enough.
-- ARGV: the moment as a number, how many at most, how many to skip under the first root, then roots
local moment, limit, skip = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local left = BATCH
local found = {}
for at = 4, #ARGV do
  local root = ARGV[at]
  local due = root .. 'due'
  repeat
    local dropped = {}
    local lines = redis.call('ZRANGEBYSCORE', due, '-inf', moment, 'LIMIT', skip, math.min(limit - #found, left))
    if #lines == 0 then break end
    for i, value in ipairs(records(root, due, lines)) do
      if value then found[#found + 1] = value else dropped[#dropped + 1] = lines[i] end
    end
    skip = skip + #lines - #dropped
    for _, line in ipairs(dropped) do take(root, parsed(line)) end
    left = left - #lines
    if left == 0 or #found == limit then return {found, at - 4, skip} end
  until false
  skip = 0
end
return {found, #ARGV - 3, 0}
""")

UPDATE_SESSION = _script(r"""
-- Change a session if it is what the caller takes it for: return nothing; else return what it is.
-- ARGV: the root; the session; now; its info and end as the caller knows them; its new info, end, end as a number,
-- milliseconds to keep it, and the mark of this change
local root, session = ARGV[1], ARGV[2]
local found = living(root, session, ARGV[3])
if found[1] == '' or found[1] ~= ARGV[4] or found[2] ~= ARGV[5] then return found end
local info, expires_at, expires, milliseconds, mark = unpack(ARGV, 6, 10)
prolong(root, session, found[2], expires_at, expires, milliseconds, 'info', info, 'mark', mark)
return {}
""")

REMOVE_SESSION = _script(r"""
-- Remove a session with its records, and return those; nil when there is none.
-- ARGV: the root, the session, now
local root, session = ARGV[1], ARGV[2]
if living(root, session, ARGV[3])[1] == '' then return false end
local index = root .. 'index/' .. session
local places = redis.call('ZRANGE', index, 0, -1)
local removed = {}
for first = 1, #places, BATCH do
  local some = {unpack(places, first, math.min(first + BATCH - 1, #places))}
  for _, value in ipairs(records(root, index, some)) do
    if value then removed[#removed + 1] = value end
  end
end
redis.call('DEL', root .. 'session/' .. session)
redis.call('ZREM', root .. 'sessions', session)
redis.call('DEL', index)
for _, value in ipairs(removed) do
  local record = parsed(value)
  redis.call('ZREM', root .. 'due', record.line)
  redis.call('DEL', root .. 'record/' .. record.id)
end
return removed
""")

EXPIRE_SESSIONS = _script(r"""
-- Remove sessions that have ended, and sort anew those that had when they were last sorted but live longer since.
-- Return how many were removed, and how many more might have been looked at: where none, there may be others.
-- ARGV: the moment, the same as a number, how many may be looked at, then roots
local now, number, left = ARGV[1], ARGV[2], tonumber(ARGV[3])
local count = 0
for at = 4, #ARGV do
  local root = ARGV[at]
  local sessions = redis.call('ZRANGEBYSCORE', root .. 'sessions', '-inf', number, 'LIMIT', 0, left)
  for _, session in ipairs(sessions) do
    local ends = redis.call('HMGET', root .. 'session/' .. session, 'expires_at', 'expires')
    if ends[1] and (ends[1] == '' or ends[1] > now) then
      redis.call('ZADD', root .. 'sessions', ends[2], session)
    else
      redis.call('DEL', root .. 'session/' .. session)
      redis.call('ZREM', root .. 'sessions', session)
      count = count + 1
    end
  end
  left = left - #sessions
end
return {count, left}
""")

STATS = _script(r"""
-- Count the sessions and records that have not ended, and the length of these records' bytes, and change nothing.
-- No more entries than are allowed are looked at: return the sessions, records and bytes among these, how many of the
-- keys are done with, and score and entry in the next one behind which to go on.
-- KEYS: the sets "due" and "sessions" of roots. ARGV: the moment, the same as a number, how many entries may be looked
-- at, and score and entry behind which to begin in the first key ('' is its beginning)
local now, number, left, score, entry = ARGV[1], ARGV[2], tonumber(ARGV[3]), ARGV[4], ARGV[5]
local sessions, count, bytes = 0, 0, 0

local function count_record(line)
  local revision, length, expires_at = string.match(line, '^([^%z]*)%z[^%z]*%z[^%z]*%z([^%z]*)%z([^%z]*)%z')
  if revision ~= '0' and (expires_at == '' or expires_at > now) then -- 0 is an upload that is awaited
    count = count + 1
    bytes = bytes + tonumber(length)
  end
end

-- One that was sorted by an end that it had before, and may live longer.
local function count_session(root, session)
  local ends = redis.call('HGET', root .. 'session/' .. session, 'expires_at')
  if ends and (ends == '' or ends > now) then sessions = sessions + 1 end
end

for at, key in ipairs(KEYS) do
  local root = string.match(key, '^(.*/)sessions$')
  local first = entry == '' and 0 or rank_behind(key, score, entry)
  local stop = root and redis.call('ZCOUNT', key, '-inf', number) or redis.call('ZCARD', key)
  local last = math.min(first + left, stop) - 1
  local entries = first <= last and redis.call('ZRANGE', key, first, last) or {}
  for _, each in ipairs(entries) do
    if root then count_session(root, each) else count_record(each) end
  end
  left = left - #entries
  if last + 1 < stop then
    if #entries > 0 then
      entry = entries[#entries]
      score = redis.call('ZSCORE', key, entry)
    end
    return {sessions, count, bytes, at - 1, score, entry}
  end
  if root then sessions = sessions + redis.call('ZCOUNT', key, '(' .. number, '+inf') end
  score, entry = '', ''
end
return {sessions, count, bytes, #KEYS, '', ''}
""")

CHECK = _script(r"""
-- Write something.
return redis.call('SET', KEYS[1], '1', 'PX', '1000')
""")
