-- Remove sessions that have ended, and update the entries of those that were prolonged since they were sorted.
-- Return how many have ended, the number of roots finished, how many sessions to skip under the next one, the users and
-- sessions that were removed, and all sessions that were.
-- ARGV: now, now as a number, how many sessions to look at, how many to skip under the first root, '' or a word for a
-- dry run, then roots
local now, number, left, skip, dry = ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4]), ARGV[5]
local count, owned, gone = 0, {}, {}

-- Return true if the entry stays where it is, so that the next ZRANGEBYSCORE must skip it.
local function expire(root, session)
  local ends = redis.pcall('HMGET', root .. 'session/' .. session, 'expires_at', 'expires', 'info')
  local living = ends[1] and (ends[1] == '' or ends[1] > now)
  if not living then count = count + 1 end
  if dry ~= '' then return true end
  if not living then
    local is_json, info = pcall(cjson.decode, ends[3] or '')
    if is_json and type(info) == 'table' and type(info.user_id) == 'string' then
      owned[#owned + 1] = info.user_id
      owned[#owned + 1] = session
    end
    gone[#gone + 1] = session
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
    if left == 0 then return {count, at - 6, skip, owned, gone} end
  end
  skip = 0
end
return {count, #ARGV - 5, 0, owned, gone}
