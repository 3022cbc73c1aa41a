-- Remove sessions from those of a user unless they were added later. ARGV: the latest time, then sessions
local latest = tonumber(ARGV[1])
for i = 2, #ARGV do
  local added = redis.call('ZSCORE', KEYS[1], ARGV[i])
  if added and tonumber(added) <= latest then redis.call('ZREM', KEYS[1], ARGV[i]) end
end
return #ARGV - 1
