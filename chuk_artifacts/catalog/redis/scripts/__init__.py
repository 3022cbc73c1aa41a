r"""What the Redis server does by itself: a Lua script for each change, so that it is atomic and one round trip.

The names of all keys begin with a root, ``chuk:{tag}:{sandbox}/``, in which the tag is a hash tag: Redis Cluster keeps
what shares it on one node (https://redis.io/docs/latest/operate/oss_and_stack/reference/cluster-spec/#hash-tags).
The keys under a root are:

- ``record/{id}``: the record's line, a line feed, and the record;
- ``session/{session}``: a hash of ``info``, all but its end, of this as ``expires_at`` ('' is never) and as a number,
  ``expires``, and of ``mark``, that of the last change;
- ``index/{session}``: the places of its records, ``{filename}\0{id}``, in the order of bytes;
- ``due``: the lines of records by the moment when cleanup has to do with them (+inf is never);
- ``sessions``: sessions by their end, or one up to a day before it;
- ``removed/{token}``: what a portion of a session's removal has removed, kept for a minute, in which the call with that
  token may be repeated;
- ``identity``, under one root only: the identity of the catalog, which never expires.

The line of a record tells what scripts need of it, between NULs: revision, mark, session, bytes, end and place. Redis
drops records and sessions some time after their end, and what they share after the last of them; what is left of a
dropped one in there is removed where it is met, and so is what no record can have left there.

Where the value of a record does not begin with a line that ends in its id, it was damaged. A script that returns
records returns in its place the line or place under which it was found, and a line feed: so every value names its
record.

A server at its ``maxmemory`` refuses a script at the first command that may take memory, but only when the script has
not written before. Scripts that remove begin with a write that takes none, and run to their end; see "Memory management
with scripts" in https://redis.io/docs/latest/develop/programmability/eval-intro/.

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

-- Return what the line of a value or a line itself says; nil when it is damaged.
local function parsed(value)
  local line = string.match(value, '^[^\n]*')
  local revision, mark, session, bytes, expires_at, place, id =
    string.match(line, '^([^%z]*)%z([^%z]*)%z([^%z]*)%z([^%z]*)%z([^%z]*)%z([^%z]*%z([^%z]*))$')
  return id and {
    line = line, revision = revision, mark = mark, session = session, bytes = bytes, expires_at = expires_at,
    place = place, id = id
  }
end

-- Return the id at the end of a line or place.
local function id_of(text) return string.match(text, '%z([^%z]*)$') or '' end

-- Let a script go on that would be refused because Redis is full: it has written then, though nothing changes.
local function allow_full(set) redis.call('ZREM', set, '') end

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
-- exists. A damaged value is replaced by its place or line.
local function records(root, there, texts)
  local keys = {}
  for i, text in ipairs(texts) do keys[i] = root .. 'record/' .. id_of(text) end
  local values = redis.call('MGET', there, unpack(keys))
  table.remove(values, 1)
  for i, text in ipairs(texts) do
    local record = values[i] and parsed(values[i])
    if not (record and record.id == id_of(text)) and redis.call('EXISTS', keys[i]) == 1 then -- or it is of another type
      values[i] = text .. '\n'
    end
  end
  return values
end

-- Remove a record, or what is left of one. It goes last: where one of these keys is not at hand, nothing has happened
-- yet.
local function take(root, record)
  redis.call('ZREM', root .. 'index/' .. record.session, record.place)
  redis.call('ZREM', root .. 'due', record.line)
  redis.call('DEL', root .. 'record/' .. record.id)
end

-- Remove a line that stands for no record any more, and what else is left of that.
local function forget_line(root, line)
  local record = parsed(line)
  if record then take(root, record) else redis.call('ZREM', root .. 'due', line) end
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
      local other = value and parsed(value) -- one that is damaged takes no filename
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
    if redis.call('EXISTS', root .. 'due', root .. 'record/' .. id_of(line)) == 1 then forget_line(root, line) end
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
-- it has another revision or is not there. Though Redis is full, those are replaced that get no longer or are released,
-- so that cleanup can remove their bytes.
-- ARGV: for each the root; the revision; '' or a word when it is released; the record's value, due as a number, and
-- milliseconds to keep it; its end, its end as a number, and milliseconds to keep the session
local function replace(root, revision, released, value, due, milliseconds, ...)
  local new = parsed(value)
  local there = redis.call('GET', root .. 'record/' .. new.id)
  if not there then return 0 end
  local old = parsed(there)
  if not old then return 0 end
  if old.mark == new.mark then return 1 end -- this is a repetition, and the call before it came through
  if old.revision ~= revision then return 0 end
  if released ~= '' or #value <= #there then allow_full(root .. 'due') end
  put(root, value, due, milliseconds) -- before anything is removed, because a key that moves can't be made anew
  if old.place ~= new.place then redis.call('ZREM', root .. 'index/' .. old.session, old.place) end
  redis.call('ZREM', root .. 'due', old.line)
  local known = redis.call('HGET', root .. 'session/' .. new.session, 'expires_at')
  if known then prolong(root, new.session, known, ...) end
  return 1
end

local replaced = {}
for at = 1, #ARGV, 9 do replaced[#replaced + 1] = replace(unpack(ARGV, at, at + 8)) end
return replaced
""")

REMOVE = _script(r"""
-- Remove records. Return those that were there, and the ids of those whose line is damaged, which are left.
-- ARGV: only those of this session, or ''; only those that end at this moment or before, or ''; then roots and ids
local session, moment = ARGV[1], ARGV[2]
local removed, damaged = {}, {}
for at = 3, #ARGV, 2 do
  local root, id = ARGV[at], ARGV[at + 1]
  local key = root .. 'record/' .. id
  local value = redis.call('MGET', key)[1]
  local record = value and parsed(value)
  if not (record and record.id == id) then
    if redis.call('EXISTS', key) == 1 then damaged[#damaged + 1] = id end
  elseif (session == '' or record.session == session)
    and (moment == '' or (record.expires_at ~= '' and record.expires_at <= moment)) then
    take(root, record)
    removed[#removed + 1] = value
  end
end
return {removed, damaged}
""")

FIND = _script(r"""
-- Look for the line of a record among a BATCH of those that are due. Return it, or the rank at which to go on, or nil.
-- ARGV: the id, the rank at which to begin
local first = tonumber(ARGV[2])
local lines = redis.call('ZRANGE', KEYS[1], first, first + BATCH - 1)
for _, line in ipairs(lines) do
  if id_of(line) == ARGV[1] then return line end
end
return #lines == BATCH and first + BATCH
""")

TAKE = _script(r"""
-- Remove a record whose line is damaged. ARGV: the root, the id, the line that it had, or ''
if ARGV[3] ~= '' then forget_line(ARGV[1], ARGV[3]) end
return redis.call('DEL', ARGV[1] .. 'record/' .. ARGV[2])
""")

PAGE = _script(r"""
-- Return records of a session in their order, those of which the places lie between two bounds of ZRANGEBYLEX; and the
-- first bound of the rest, or '' where there is none.
-- ARGV: the root, the session, the bounds, how many at most, which is a BATCH or less
local root, session, first, last, limit = unpack(ARGV, 1, 5)
local index = root .. 'index/' .. session
local left = BATCH
local found = {}
repeat
  local dropped = {}
  local wanted = math.min(limit - #found, left)
  local places = redis.call('ZRANGEBYLEX', index, first, last, 'LIMIT', 0, wanted)
  if #places == 0 then return {found, ''} end
  for i, value in ipairs(records(root, index, places)) do
    if value then found[#found + 1] = value else dropped[#dropped + 1] = places[i] end
  end
  if #dropped > 0 then redis.call('ZREM', index, unpack(dropped)) end
  if #places < wanted then return {found, ''} end
  first = '(' .. places[#places]
  left = left - #places
until #dropped == 0 or left == 0
return {found, first}
""")

WALK = _script(r"""
-- Return records in the order in which they are due; how many of the roots are done with; and score and line in the
-- next one behind which to go on. No more than a BATCH is looked at.
-- ARGV: the last moment as a number; '', or the present, when only unexpired artifacts are wanted; how many records at
-- most; score and line behind which to begin under the first root ('' is its beginning); then roots
local last, now, limit, score, entry = ARGV[1], ARGV[2], tonumber(ARGV[3]), ARGV[4], ARGV[5]
local left = BATCH
local found = {}

local function is_wanted(line)
  local record = now ~= '' and parsed(line)
  return not record or (record.revision ~= '0' and (record.expires_at == '' or record.expires_at > now))
end

for at = 6, #ARGV do
  local root = ARGV[at]
  local due = root .. 'due'
  while true do
    local stop = redis.call('ZCOUNT', due, '-inf', last)
    local first = entry == '' and 0 or rank_behind(due, score, entry)
    if first >= stop then break end
    if left == 0 or #found == limit then return {found, at - 6, score, entry} end
    local lines = redis.call('ZRANGE', due, first, math.min(first + math.min(left, limit - #found), stop) - 1)
    entry = lines[#lines]
    score = redis.call('ZSCORE', due, entry)
    left = left - #lines
    local wanted = {}
    for _, line in ipairs(lines) do
      if is_wanted(line) then wanted[#wanted + 1] = line end
    end
    for i, value in ipairs(records(root, due, wanted)) do
      if value then found[#found + 1] = value else forget_line(root, wanted[i]) end
    end
  end
  score, entry = '', ''
end
return {found, #ARGV - 5, '', ''}
""")

VERIFY = _script(r"""
-- Return the values of records, false for what is not there, and '' for one that is not listed or due as it should be.
-- ARGV: roots and ids
local values = {}
for at = 1, #ARGV, 2 do
  local root, id = ARGV[at], ARGV[at + 1]
  local key = root .. 'record/' .. id
  local value = redis.call('MGET', key)[1]
  local record = value and parsed(value)
  if record and not (record.id == id and redis.call('ZSCORE', root .. 'due', record.line)
    and redis.call('ZSCORE', root .. 'index/' .. record.session, record.place)) then record = nil end
  values[#values + 1] = record and value or (redis.call('EXISTS', key) == 1 and '')
end
return values
""")

IDENTITY = _script(r"""
-- Return the identity of the catalog, which is the one in ARGV if it had none.
local found = redis.call('GET', KEYS[1])
if found then return found end
redis.call('SET', KEYS[1], ARGV[1])
return ARGV[1]
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
-- Remove a portion of a session's records, and the session too when none is left. Return 1 when it is gone and 0 when
-- not, and then the records; nil when there is no such session. A call with a token that was used before returns the
-- same again, for as long as Redis keeps it.
-- KEYS: that of the token, then those of tokens that are not used again. ARGV: the root, the session, now, how many
-- records at most, which is a BATCH or less; milliseconds to keep what was removed; how many keys are those of tokens
local root, session, limit, milliseconds = ARGV[1], ARGV[2], tonumber(ARGV[4]), ARGV[5]
local kept = KEYS[1]
for i = 2, tonumber(ARGV[6]) do redis.call('UNLINK', KEYS[i]) end
local before = redis.call('LRANGE', kept, 0, -1)
if #before > 0 then return before end
if living(root, session, ARGV[3])[1] == '' then return false end
allow_full(root .. 'sessions')
local index = root .. 'index/' .. session
local places = redis.call('ZRANGE', index, 0, limit - 1)
local values = #places > 0 and records(root, index, places) or {}
local gone = redis.call('ZCARD', index) == #places
local removed = {gone and '1' or '0'}
for _, value in ipairs(values) do
  if value then removed[#removed + 1] = value end
end
redis.call('RPUSH', kept, unpack(removed)) -- before anything is removed, because a key may be on its way elsewhere
redis.call('PEXPIRE', kept, milliseconds)
for i, place in ipairs(places) do
  local record = values[i] and parsed(values[i])
  if record then redis.call('ZREM', root .. 'due', record.line) end
  redis.call('DEL', root .. 'record/' .. id_of(place))
end
if #places > 0 then redis.call('ZREM', index, unpack(places)) end
if gone then
  redis.call('DEL', root .. 'session/' .. session)
  redis.call('ZREM', root .. 'sessions', session)
end
return removed
""")

EXPIRE_SESSIONS = _script(r"""
-- Remove sessions that have ended, and sort anew those that had when they were last sorted but live longer since.
-- Return how many have ended, how many of the roots are done with, and how many sessions to skip under the next one.
-- ARGV: the moment, the same as a number, how many may be looked at, how many to skip under the first root, '' or a
-- word when nothing is to change, then roots
local now, number, left, skip, dry = ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4]), ARGV[5]
local count = 0

-- Return whether it is to be skipped from now on.
local function expire(root, session)
  local ends = redis.pcall('HMGET', root .. 'session/' .. session, 'expires_at', 'expires')
  local living = ends[1] and (ends[1] == '' or ends[1] > now)
  if not living then count = count + 1 end
  if dry ~= '' then return true end
  if not living then
    redis.call('DEL', root .. 'session/' .. session)
    redis.call('ZREM', root .. 'sessions', session)
    return false
  end
  local expires = tonumber(ends[2])
  if not expires or expires <= tonumber(number) then return true end
  allow_full(root .. 'sessions')
  redis.call('ZADD', root .. 'sessions', ends[2], session)
  return false
end

for at = 6, #ARGV do
  local root = ARGV[at]
  while true do
    local sessions = redis.call('ZRANGEBYSCORE', root .. 'sessions', '-inf', number, 'LIMIT', skip, left)
    if #sessions == 0 then break end
    for _, session in ipairs(sessions) do
      if expire(root, session) then skip = skip + 1 end
    end
    left = left - #sessions
    if left == 0 then return {count, at - 6, skip} end
  end
  skip = 0
end
return {count, #ARGV - 5, 0}
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
  length = tonumber(length)
  if length and revision ~= '0' and (expires_at == '' or expires_at > now) then -- 0 is an upload that is awaited
    count = count + 1
    bytes = bytes + length
  end
end

-- One that was sorted by an end that it had before, and may live longer.
local function count_session(root, session)
  local ends = redis.pcall('HMGET', root .. 'session/' .. session, 'expires_at')[1] -- nil when it is of another type
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
-- Write a few KiB, and remove them.
redis.call('SET', KEYS[1], string.rep('x', 4096), 'PX', '1000')
return redis.call('DEL', KEYS[1])
""")
