-- Look for the line of a record among a BATCH of those that are due. Return it, or the rank at which to go on, or nil.
-- ARGV: the id, the rank at which to begin
local first = tonumber(ARGV[2])
local lines = redis.call('ZRANGE', KEYS[1], first, first + BATCH - 1)
for _, line in ipairs(lines) do
  if id_of(line) == ARGV[1] then return line end
end
return #lines == BATCH and first + BATCH
