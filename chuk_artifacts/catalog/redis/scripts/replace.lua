-- Replace records that have the expected revisions, each independently, and prolong their sessions. Return for each 1,
-- or 0 if it has another revision or does not exist. Even if Redis is full, replace those that do not grow or are
-- released, so that cleanup can remove their bytes.
-- Return 2 for one that is too large for its session, 3 if the usage of its session is not known.
-- ARGV: '', or the largest number of bytes that a session may hold after a change that makes it larger; for each the root; the revision; '', or a word if it is released; the record's value, due as a number, and
-- milliseconds to keep it; its end, the end as a number, and milliseconds to keep the session
local most = ARGV[1]

local function replace(root, revision, released, value, due, milliseconds, ...)
  local new = parsed(value)
  local there = redis.call('GET', root .. 'record/' .. new.id)
  if not there then return 0 end
  local old = parsed(there)
  if not old then return 0 end
  if old.mark == new.mark then return 1 end -- a repetition: the first attempt succeeded, its answer was lost
  if old.revision ~= revision then return 0 end
  local usage = usage_of(root, old.session)
  if most ~= '' then
    local _, before = counted(there, old)
    local _, after = counted(value, new)
    if after > before and not is_complete(usage) then return 3 end
    if after > before and usage.bytes + after - before > tonumber(most) then return 2 end
  end
  if released ~= '' or #value <= #there then allow_full(root .. 'due') end
  set(root, new.id, value, milliseconds) -- first, because a Cluster refuses to create a key whose slot is moving
  file(root, new, due, milliseconds)
  supersede(root, usage, old, there, new, value)
  local known = redis.call('HGET', root .. 'session/' .. new.session, 'expires_at')
  if known then prolong(root, new.session, known, ...) end
  return 1
end

local replaced = {}
for at = 2, #ARGV, 9 do replaced[#replaced + 1] = replace(unpack(ARGV, at, at + 8)) end
save_usages()
return replaced
