-- Add up the usages of sessions that are known. Return artifacts, bytes, the sessions that are not counted yet with
-- their roots, the number of keys finished, and score and entry in the next one to continue behind.
-- KEYS: the sets "sessions" of roots. ARGV: how many sessions to look at, and score and entry to begin behind in the
-- first key ('': from its start)
local left, score, entry = tonumber(ARGV[1]), ARGV[2], ARGV[3]
local artifacts, bytes, unknown = 0, 0, {}

local function answer(done)
  return {string.format('%.0f', artifacts), string.format('%.0f', bytes), unknown, done, score, entry}
end

for at, key in ipairs(KEYS) do
  local root = string.match(key, '^(.*/)sessions$')
  local first = entry == '' and 0 or rank_behind(key, score, entry)
  local sessions = redis.call('ZRANGE', key, first, first + left - 1)
  for _, session in ipairs(sessions) do
    local usage = usage_of(root, session)
    if is_complete(usage) then
      artifacts = artifacts + usage.artifacts
      bytes = bytes + usage.bytes
    else
      unknown[#unknown + 1] = root
      unknown[#unknown + 1] = session
    end
  end
  left = left - #sessions
  if left == 0 then
    entry = sessions[#sessions] or entry
    score = redis.call('ZSCORE', key, entry) or score
    return answer(at - 1)
  end
  score, entry = '', ''
end
return answer(#KEYS)
