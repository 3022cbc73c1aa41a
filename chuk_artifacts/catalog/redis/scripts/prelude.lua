local DAY = 86400000
local BATCH = 1000 -- Lua's stack lets unpack return a few thousand values

-- Functions for all scripts; this file is loaded before each of them.

-- Parse a line, or the line of a value; return nil if it is damaged.
local function parsed(value)
  local stop = string.find(value, '\n', 1, true)
  local line = stop and string.sub(value, 1, stop - 1) or value
  local revision, mark, session, bytes, expires_at, place, id =
    string.match(line, '^(%Z*)%z(%Z*)%z(%Z*)%z(%Z*)%z(%Z*)%z(%Z*%z(%Z*))$')
  return id and {
    line = line, revision = revision, mark = mark, session = session, bytes = bytes, expires_at = expires_at,
    place = place, id = id
  }
end

-- Return the id at the end of a line or place.
local function id_of(text) return string.match(text, '%z([^%z]*)$') or '' end

-- Let the script run to its end although Redis is full, by a write that changes nothing: see "maxmemory" in
-- __init__.py.
local function allow_full(set) redis.call('ZREM', set, '') end

-- Write to a key, and have Redis keep it for at least that many milliseconds ('' means for ever).
-- Return the answer.
local function write(milliseconds, command, key, ...)
  local left = redis.call('PTTL', key)
  local answer = redis.call(command, key, ...)
  if milliseconds == '' then
    redis.call('PERSIST', key)
  elseif left == -2 or (left >= 0 and left < tonumber(milliseconds)) then
    redis.call('PEXPIRE', key, tonumber(milliseconds) + DAY) -- a day more, so that not every write must extend it
  end
  return answer
end

-- Return whether a text precedes another in byte order; `<` compares by the locale of the server.
local function is_before(text, other)
  for i = 1, math.min(#text, #other) do
    local byte, another = string.byte(text, i), string.byte(other, i)
    if byte ~= another then return byte < another end
  end
  return #text < #other
end

local usages, fields_of = {}, {}

-- Return the usage of a session: see "usage" in __init__.py. A script calls this before it adds or removes records, and
-- save_usages() after that.
local function usage_of(root, session)
  local key, index = root .. 'session/' .. session, root .. 'index/' .. session
  local usage = usages[key]
  if not usage then
    local found = fields_of[key] or redis.call('HMGET', key, 'entries', 'artifacts', 'bytes', 'upto')
    local is_stored = found[1] and true
    usage = {
      key = key, index = index, is_stored = is_stored, upto = found[4],
      is_known = is_stored or redis.call('EXISTS', index) == 0,
      entries = tonumber(found[1] or 0), artifacts = tonumber(found[2] or 0), bytes = tonumber(found[3] or 0)
    }
    usages[key] = usage
  end
  return usage
end

-- Return the number of index entries that a usage should be about.
local function entries_of(usage)
  if usage.upto then return redis.call('ZLEXCOUNT', usage.index, '-', '[' .. usage.upto) end
  return redis.call('ZCARD', usage.index)
end

-- Return whether all records of a session are counted.
local function is_complete(usage)
  return usage.is_known and not usage.upto and usage.entries == redis.call('ZCARD', usage.index)
end

-- Return how many artifacts (0 or 1) and bytes a value counts, and whether this version has written it.
local function counted(value, record)
  if record.mark == ':' and record.revision ~= '0' then return 1, tonumber(record.bytes) or 0, true end -- the usual case
  local artifacts, bytes = string.match(record.mark, ':(%d+):(%d+)$')
  if artifacts then return tonumber(artifacts), tonumber(bytes), true end
  local is_ours = string.find(record.mark, ':', 1, true) and true
  if record.revision == '0' then return 0, 0, is_ours end
  local total = tonumber(record.bytes) or 0
  local usual = '"superseded":[],"released":false,"pending":null}'
  if is_ours or string.sub(value, -#usual) == usual then return 1, total, is_ours end
  local is_json, fields = pcall(cjson.decode, string.sub(value, #record.line + 2))
  if not is_json or type(fields) ~= 'table' then return 1, total, false end
  if fields.released == true then return 0, 0, false end
  return 1, total, false -- earlier versions keep no contents for good
end

-- Count a record that is added (sign 1) or removed (-1). The usage is lost, and counted anew when it is needed, if the
-- value is missing, or if an earlier version wrote it, perhaps after the record was counted.
local function count(usage, sign, record, value)
  usage.is_changed = true
  if not value then
    usage.is_lost = true
  elseif usage.is_known and not (usage.upto and is_before(usage.upto, record.place)) then
    local artifacts, bytes, is_ours = counted(value, record)
    usage.is_lost = usage.is_lost or not is_ours
    usage.entries = usage.entries + sign
    usage.artifacts = usage.artifacts + sign * artifacts
    usage.bytes = usage.bytes + sign * bytes
  end
end

local function save(usage)
  local bytes = string.format('%.0f', usage.bytes)
  redis.call('HSET', usage.key, 'entries', usage.entries, 'artifacts', usage.artifacts, 'bytes', bytes)
end

-- Store the usages that have changed, with their sessions. usage.lua finds out if one is about another number of
-- entries than there are: an earlier version has changed the session, or Redis has dropped records.
local function save_usages()
  for _, usage in pairs(usages) do
    if usage.is_changed and usage.is_known then
      if usage.is_lost then
        if usage.is_stored then redis.call('HDEL', usage.key, 'entries', 'artifacts', 'bytes', 'upto') end
      elseif usage.is_stored or redis.call('EXISTS', usage.key) == 1 then
        save(usage)
      end
    end
  end
end

-- Set the value of a record; return false if it has one, given NX.
local function set(root, id, value, milliseconds, ...)
  local key = root .. 'record/' .. id
  if milliseconds == '' then return redis.call('SET', key, value, ...) end
  return redis.call('SET', key, value, 'PX', milliseconds, ...)
end

-- Add the entries of a record to `index` and `due`, and return 1 if it had none in `index`.
local function file(root, record, due, milliseconds)
  local added = write(milliseconds, 'ZADD', root .. 'index/' .. record.session, 0, record.place)
  write(milliseconds, 'ZADD', root .. 'due', due, record.line)
  return added
end

-- Remove the entries of an old record that a new one has not replaced, and count the change.
local function supersede(root, usage, old, there, new, value)
  if old.place ~= new.place then redis.call('ZREM', root .. 'index/' .. old.session, old.place) end
  if old.line ~= new.line then redis.call('ZREM', root .. 'due', old.line) end
  count(usage, -1, old, there)
  count(usage, 1, new, value)
end

-- Return the values of records, given their places or lines; false for a record that Redis has dropped. In place of a
-- damaged value, return its place or line. `there` is a key that exists: without it a missing record might also be one
-- that a Cluster has moved to another node.
local function records(root, there, texts)
  local keys = {}
  for i, text in ipairs(texts) do keys[i] = root .. 'record/' .. id_of(text) end
  local values = redis.call('MGET', there, unpack(keys))
  table.remove(values, 1)
  for i, text in ipairs(texts) do
    local record = values[i] and parsed(values[i])
    if not (record and record.id == id_of(text)) and redis.call('EXISTS', keys[i]) == 1 then -- MGET skips other types
      values[i] = text .. '\n'
    end
  end
  return values
end

-- Remove a record with its value, or what is left of one. The record goes last: if a Cluster has moved one of these
-- keys, a repetition finds it again.
local function take(root, record, value)
  local usage = usage_of(root, record.session)
  local there = redis.call('ZREM', usage.index, record.place)
  count(usage, -1, record, there == 1 and value)
  redis.call('ZREM', root .. 'due', record.line)
  redis.call('DEL', root .. 'record/' .. record.id)
end

-- Remove a line whose record was dropped, and what else is left of that record.
local function forget_line(root, line)
  local record = parsed(line)
  if record then take(root, record) else redis.call('ZREM', root .. 'due', line) end
end

local MISSING = '0' -- precedes every end

-- Return info, end and mark of a session that has not ended; {'', MISSING, ''} for any other.
local function living(root, session, now)
  local key = root .. 'session/' .. session
  local found = redis.call('HMGET', key, 'info', 'expires_at', 'mark', 'entries', 'artifacts', 'bytes', 'upto')
  fields_of[key] = {unpack(found, 4)}
  if found[1] and (found[2] == '' or found[2] > now) then return {found[1], found[2], found[3] or ''} end
  return {'', MISSING, ''}
end

-- Write fields of a session, and let it live until `expires_at` at least. Python computes `expires_at` with `prolonged`
-- from the end that it has cached; `known` is the end that is stored.
local function prolong(root, session, known, expires_at, expires, milliseconds, ...)
  local key = root .. 'session/' .. session
  if known == '' or (expires_at ~= '' and expires_at <= known) then
    if select('#', ...) > 0 then redis.call('HSET', key, ...) end
  elseif string.sub(known, 1, 10) == string.sub(expires_at, 1, 10) then -- same day: the other two have a day to spare
    redis.call('HSET', key, 'expires_at', expires_at, 'expires', expires, ...)
  else
    write(milliseconds, 'HSET', key, 'expires_at', expires_at, 'expires', expires, ...)
    write(milliseconds, 'ZADD', root .. 'sessions', expires, session)
  end
end

-- Return the rank of the first entry of a sorted set behind a score and an entry, which may have been removed since.
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
