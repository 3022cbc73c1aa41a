-- Add records with their sessions, if the caller knows these as they are stored; otherwise return them as stored.
-- Return 2 and change nothing if that is too much, 3 if the usage of a session is not known.
-- The mode '' replaces a record of the same id: another process came upon its bytes first.
-- The mode 'exclusive' returns 1 and changes nothing if another record takes one of the filenames: one that has not
-- ended and is not pending (revision 0). A record does not conflict with itself, so that the script can be repeated.
-- The mode 'merge' adds missing records, and 'merge newer' replaces those of a lower revision too. They return 1 for
-- each record that was written, by this script or its repetition, which its mark tells apart, and 0 for the others.
-- ARGV: now; '', or a time: remove some leftovers of what Redis dropped before it; the mode; '', or the largest number of bytes that a session may hold after an add that makes it larger;
-- the number of sessions; for each the root, the session and its info as the caller knows it ('': no session); then for
-- each again the session's new info ('': unchanged), its end, the end as a number and milliseconds to keep it,
-- the number of its records, and for each record its value, due as a number and milliseconds to keep it; then the key
-- of a user's sessions, a session and the present for each session that belongs to a user from now on.
local now, before, mode, most, number = ARGV[1], ARGV[2], ARGV[3], ARGV[4], tonumber(ARGV[5])
local at = 6
local sessions, unlike = {}, {}
for i = 1, number do
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
      local other = value and parsed(value) -- a damaged record takes no filename
      if other and other.id ~= record.id and other.revision ~= '0'
        and (other.expires_at == '' or other.expires_at > now) then return true end
    end
  end
  return false
end

-- Return the number of the first session for which a function of its root, its name and the values of its records
-- returns something else than nil or false, and what it returned.
local function first_of(refuse)
  local next = at
  for i = 1, number do
    local values = {}
    next = next + 5
    for record = 1, tonumber(ARGV[next - 1]) do
      values[record] = ARGV[next]
      next = next + 3
    end
    local answer = refuse(sessions[i][1], sessions[i][2], values)
    if answer then return answer end
  end
end

local function any_taken(root, _, values)
  for _, value in ipairs(values) do
    if taken(root, parsed(value)) then return 1 end
  end
end

if mode == 'exclusive' and first_of(any_taken) then return 1 end

local function over_limit(root, session, values)
  local usage = usage_of(root, session)
  if not is_complete(usage) then return 3 end
  local total = usage.bytes
  for _, value in ipairs(values) do
    local record = parsed(value)
    local _, bytes = counted(value, record)
    if not redis.call('ZSCORE', usage.index, record.place) then total = total + bytes end -- else it is a repetition
  end
  return total > usage.bytes and total > tonumber(most) and 2
end

if most ~= '' then
  local answer = first_of(over_limit)
  if answer then return answer end
end

-- Remove leftovers of dropped records and sessions, which would pile up if no cleanup ever runs.
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

local merges = mode == 'merge' or mode == 'merge newer'

-- Return whether a record stays as it is, and is not replaced by another one of its id.
local function stays(old, new)
  if old and old.mark == new.mark then return false end -- a repetition, of a script that may not have run to its end
  if mode == 'merge' or not old or old.session ~= new.session then return true end
  return tonumber(old.revision) >= tonumber(new.revision)
end

-- Write a record, and return 1; or return 0 if the present one is not to be replaced.
local function add(root, usage, value, due, milliseconds)
  local new = parsed(value)
  local there = false
  if merges or not set(root, new.id, value, milliseconds, 'NX') then
    there = redis.call('MGET', root .. 'record/' .. new.id)[1]
    if merges and there and stays(parsed(there), new) then return 0 end
    set(root, new.id, value, milliseconds)
  end
  local old = there and there ~= value and parsed(there)
  local added = file(root, new, due, milliseconds)
  if old then
    supersede(root, usage, old, there, new, value)
  elseif added == 1 then
    count(usage, 1, new, value)
  end
  return 1
end

local written = {}
for i = 1, number do
  local root, session, known = unpack(sessions[i])
  if before ~= '' then forget(root) end
  local info, expires_at, expires, milliseconds, records = unpack(ARGV, at, at + 4)
  at = at + 5
  if info == '' and known ~= MISSING then
    prolong(root, session, known, expires_at, expires, milliseconds)
  elseif info ~= '' then
    prolong(root, session, known, expires_at, expires, milliseconds, 'info', info)
  end
  local usage = tonumber(records) > 0 and usage_of(root, session)
  for _ = 1, records do
    written[#written + 1] = add(root, usage, unpack(ARGV, at, at + 2))
    at = at + 3
  end
end
save_usages()
for user = at, #ARGV, 3 do redis.call('ZADD', ARGV[user], ARGV[user + 2], ARGV[user + 1]) end
return merges and written or {}
