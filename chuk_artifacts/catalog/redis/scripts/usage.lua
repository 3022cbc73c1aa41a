-- Return the usage of a session: artifacts, bytes, and 1. If it is not known, count a BATCH of its records; if some are
-- left, return 0 in place of the 1.
-- ARGV: the root, the session, '' or a word to count it anew
local root, session, anew = ARGV[1], ARGV[2], ARGV[3]
local usage = usage_of(root, session)
if anew ~= '' or not usage.is_known or usage.entries ~= entries_of(usage) then
  usage.entries, usage.artifacts, usage.bytes, usage.upto = 0, 0, 0, ''
end
if usage.upto then
  allow_full(usage.index)
  local is_there = redis.call('EXISTS', usage.key) == 1
  local first = usage.upto == '' and '-' or '(' .. usage.upto
  local places = redis.call('ZRANGEBYLEX', usage.index, first, '+', 'LIMIT', 0, BATCH)
  for i, value in ipairs(#places > 0 and records(root, usage.index, places) or {}) do
    local record = value and parsed(value)
    if record then
      local artifacts, bytes = counted(value, record)
      usage.artifacts = usage.artifacts + artifacts
      usage.bytes = usage.bytes + bytes
    end
    if value then
      usage.entries = usage.entries + 1
    else
      redis.call('ZREM', usage.index, places[i])
    end
  end
  usage.upto = #places == BATCH and places[BATCH]
  save(usage)
  if usage.upto then redis.call('HSET', usage.key, 'upto', usage.upto) else redis.call('HDEL', usage.key, 'upto') end
  if not is_there then -- the session has ended, its records are still there
    local left = redis.call('PTTL', usage.index)
    if left > 0 then redis.call('PEXPIRE', usage.key, left) end
    if left == -2 then redis.call('DEL', usage.key) end
  end
end
return {string.format('%.0f', usage.artifacts), string.format('%.0f', usage.bytes), usage.upto and 0 or 1}
