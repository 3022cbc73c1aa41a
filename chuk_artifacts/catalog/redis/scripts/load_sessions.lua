-- Return info and end of sessions; two empty texts for a missing one. ARGV: roots and sessions
local found = {}
for at = 1, #ARGV, 2 do
  local fields = redis.call('HMGET', ARGV[at] .. 'session/' .. ARGV[at + 1], 'info', 'expires_at')
  found[#found + 1] = fields[1] or ''
  found[#found + 1] = fields[2] or ''
end
return found
