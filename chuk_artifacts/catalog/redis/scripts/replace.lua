-- Replace records that have the expected revisions, each independently, and prolong their sessions. Return for each 1,
-- or 0 if it has another revision or does not exist. Even if Redis is full, replace those that do not grow or are
-- released, so that cleanup can remove their bytes.
-- ARGV: for each the root; the revision; '', or a word if it is released; the record's value, due as a number, and
-- milliseconds to keep it; its end, the end as a number, and milliseconds to keep the session
local function replace(root, revision, released, value, due, milliseconds, ...)
  local new = parsed(value)
  local there = redis.call('GET', root .. 'record/' .. new.id)
  if not there then return 0 end
  local old = parsed(there)
  if not old then return 0 end
  if old.mark == new.mark then return 1 end -- a repetition: the first attempt succeeded, its answer was lost
  if old.revision ~= revision then return 0 end
  if released ~= '' or #value <= #there then allow_full(root .. 'due') end
  put(root, value, due, milliseconds) -- first, because a Cluster refuses to create a key whose slot is moving
  if old.place ~= new.place then redis.call('ZREM', root .. 'index/' .. old.session, old.place) end
  redis.call('ZREM', root .. 'due', old.line)
  local known = redis.call('HGET', root .. 'session/' .. new.session, 'expires_at')
  if known then prolong(root, new.session, known, ...) end
  return 1
end

local replaced = {}
for at = 1, #ARGV, 9 do replaced[#replaced + 1] = replace(unpack(ARGV, at, at + 8)) end
return replaced
