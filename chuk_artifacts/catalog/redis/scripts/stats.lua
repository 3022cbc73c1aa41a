-- Count the sessions and artifacts that have not ended, and the artifacts' bytes. Change nothing.
-- Return sessions, artifacts and bytes in a portion of the entries, the number of keys finished, and score and entry in
-- the next one to continue behind.
-- KEYS: the sets "due" and "sessions" of roots. ARGV: now, now as a number, how many entries to look at, and score and
-- entry to begin behind in the first key ('': from its start)
local now, number, left, score, entry = ARGV[1], ARGV[2], tonumber(ARGV[3]), ARGV[4], ARGV[5]
local sessions, count, bytes = 0, 0, 0

local function count_record(line)
  local revision, length, expires_at = string.match(line, '^([^%z]*)%z[^%z]*%z[^%z]*%z([^%z]*)%z([^%z]*)%z')
  length = tonumber(length)
  if length and revision ~= '0' and (expires_at == '' or expires_at > now) then -- 0: pending
    count = count + 1
    bytes = bytes + length
  end
end

-- Count a session whose entry has ended: it may have been prolonged since it was sorted.
local function count_session(root, session)
  local ends = redis.pcall('HMGET', root .. 'session/' .. session, 'expires_at')[1] -- nil if the key holds another type
  if ends and (ends == '' or ends > now) then sessions = sessions + 1 end
end

for at, key in ipairs(KEYS) do
  local root = string.match(key, '^(.*/)sessions$')
  local first = entry == '' and 0 or rank_behind(key, score, entry)
  local stop = root and redis.call('ZCOUNT', key, '-inf', number) or redis.call('ZCARD', key)
  local last = math.min(first + left, stop) - 1
  local entries = first <= last and redis.call('ZRANGE', key, first, last) or {}
  for _, each in ipairs(entries) do
    if root then count_session(root, each) else count_record(each) end
  end
  left = left - #entries
  if last + 1 < stop then
    if #entries > 0 then
      entry = entries[#entries]
      score = redis.call('ZSCORE', key, entry)
    end
    return {sessions, count, bytes, at - 1, score, entry}
  end
  if root then sessions = sessions + redis.call('ZCOUNT', key, '(' .. number, '+inf') end
  score, entry = '', ''
end
return {sessions, count, bytes, #KEYS, '', ''}
