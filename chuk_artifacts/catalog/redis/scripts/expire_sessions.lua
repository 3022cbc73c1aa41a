-- Remove sessions that have ended, and sort anew those that had when they were last sorted but live longer since.
-- Return how many have ended, how many of the roots are done with, and how many sessions to skip under the next one.
-- ARGV: the moment, the same as a number, how many may be looked at, how many to skip under the first root, '' or a
-- word when nothing is to change, then roots
local now, number, left, skip, dry = ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4]), ARGV[5]
local count = 0

-- Return whether it is to be skipped from now on.
local function expire(root, session)
  local ends = redis.pcall('HMGET', root .. 'session/' .. session, 'expires_at', 'expires')
  local living = ends[1] and (ends[1] == '' or ends[1] > now)
  if not living then count = count + 1 end
  if dry ~= '' then return true end
  if not living then
    redis.call('DEL', root .. 'session/' .. session)
    redis.call('ZREM', root .. 'sessions', session)
    return false
  end
  local expires = tonumber(ends[2])
  if not expires or expires <= tonumber(number) then return true end
  allow_full(root .. 'sessions')
  redis.call('ZADD', root .. 'sessions', ends[2], session)
  return false
end

for at = 6, #ARGV do
  local root = ARGV[at]
  while true do
    local sessions = redis.call('ZRANGEBYSCORE', root .. 'sessions', '-inf', number, 'LIMIT', skip, left)
    if #sessions == 0 then break end
    for _, session in ipairs(sessions) do
      if expire(root, session) then skip = skip + 1 end
    end
    left = left - #sessions
    if left == 0 then return {count, at - 6, skip} end
  end
  skip = 0
end
return {count, #ARGV - 5, 0}
