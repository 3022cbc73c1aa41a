-- Search a BATCH of the due lines for that of a record. Return the line, or the rank to continue at, or nil at the end.
-- ARGV: the id, the rank to begin at
local first = tonumber(ARGV[2])
local lines = redis.call('ZRANGE', KEYS[1], first, first + BATCH - 1)
for _, line in ipairs(lines) do
  if id_of(line) == ARGV[1] then return line end
end
return #lines == BATCH and first + BATCH
