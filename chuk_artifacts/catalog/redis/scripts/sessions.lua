-- Return a portion of the sessions: for each its name, info and end; the number of keys finished; and score and entry
-- in the next one to continue behind.
-- KEYS: the sets "sessions" of roots. ARGV: how many sessions to look at, and score and entry to begin behind in the
-- first key ('': from its start)
local left, score, entry = tonumber(ARGV[1]), ARGV[2], ARGV[3]
local found = {}
for at, key in ipairs(KEYS) do
  local root = string.match(key, '^(.*/)sessions$')
  local first = entry == '' and 0 or rank_behind(key, score, entry)
  local sessions = redis.call('ZRANGE', key, first, first + left - 1, 'WITHSCORES')
  for i = 1, #sessions, 2 do
    local fields = redis.call('HMGET', root .. 'session/' .. sessions[i], 'info', 'expires_at')
    if fields[1] then
      found[#found + 1] = sessions[i]
      found[#found + 1] = fields[1]
      found[#found + 1] = fields[2] or ''
    end
  end
  left = left - #sessions / 2
  if left == 0 then return {found, at - 1, sessions[#sessions], sessions[#sessions - 1]} end
  score, entry = '', ''
end
return {found, #KEYS, '', ''}
