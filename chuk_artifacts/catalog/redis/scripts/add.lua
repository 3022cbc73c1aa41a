-- Add records with their sessions, if the caller knows these as they are stored; otherwise return them as stored.
-- An exclusive add returns 1 and changes nothing if another record takes one of the filenames: one that has not ended
-- and is not pending (revision 0). A record does not conflict with itself, so that the script can be repeated.
-- ARGV: now; '', or a time: remove some leftovers of what Redis dropped before it; '', or a word for an exclusive add;
-- the number of sessions; for each the root, the session and its info as the caller knows it ('': no session); then for
-- each again the session's new info ('': unchanged), its end, the end as a number and milliseconds to keep it,
-- the number of its records, and for each record its value, due as a number and milliseconds to keep it.
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
      local other = value and parsed(value) -- a damaged record takes no filename
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
