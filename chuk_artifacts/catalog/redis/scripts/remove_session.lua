-- Remove a portion of a session's records, and the session too if none is left. Return 1 if the session is gone,
-- otherwise 0, and then the records; nil if the session does not exist. A call with a token that was used before
-- returns the same answer again, for as long as Redis keeps it.
-- KEYS: first the key of the token, then those of tokens that will not be used again. ARGV: the root, the session, now,
-- how many records at most (no more than a BATCH), milliseconds to keep what was removed, the number of token keys
local root, session, limit, milliseconds = ARGV[1], ARGV[2], tonumber(ARGV[4]), ARGV[5]
local kept = KEYS[1]
for i = 2, tonumber(ARGV[6]) do redis.call('UNLINK', KEYS[i]) end
local before = redis.call('LRANGE', kept, 0, -1)
if #before > 0 then return before end
if living(root, session, ARGV[3])[1] == '' then return false end
allow_full(root .. 'sessions')
local index, usage = root .. 'index/' .. session, usage_of(root, session)
local places = redis.call('ZRANGE', index, 0, limit - 1)
local values = #places > 0 and records(root, index, places) or {}
local gone = redis.call('ZCARD', index) == #places
local removed = {gone and '1' or '0'}
for _, value in ipairs(values) do
  if value then removed[#removed + 1] = value end
end
redis.call('RPUSH', kept, unpack(removed)) -- first: if a Cluster is moving the key, this fails with nothing removed
redis.call('PEXPIRE', kept, milliseconds)
for i, place in ipairs(places) do
  local record = values[i] and parsed(values[i])
  if record then redis.call('ZREM', root .. 'due', record.line) end
  count(usage, -1, record or {place = place}, record and values[i])
  redis.call('DEL', root .. 'record/' .. id_of(place))
end
if #places > 0 then redis.call('ZREM', index, unpack(places)) end
save_usages()
if gone then
  redis.call('DEL', root .. 'session/' .. session)
  redis.call('ZREM', root .. 'sessions', session)
end
return removed
