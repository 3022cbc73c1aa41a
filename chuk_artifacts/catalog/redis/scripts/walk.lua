-- Return records root by root, sorted by when they are due; the number of roots finished; and score and line in the
-- next one to continue behind. Look at no more than a BATCH.
-- ARGV: the latest due time as a number; '', or the present to return only unexpired artifacts; how many records at
-- most; score and line to begin behind under the first root ('': from its start); then roots
local last, now, limit, score, entry = ARGV[1], ARGV[2], tonumber(ARGV[3]), ARGV[4], ARGV[5]
local left = BATCH
local found = {}

local function is_wanted(line)
  local record = now ~= '' and parsed(line)
  return not record or (record.revision ~= '0' and (record.expires_at == '' or record.expires_at > now))
end

for at = 6, #ARGV do
  local root = ARGV[at]
  local due = root .. 'due'
  while true do
    local stop = redis.call('ZCOUNT', due, '-inf', last)
    local first = entry == '' and 0 or rank_behind(due, score, entry)
    if first >= stop then break end
    if left == 0 or #found == limit then
      save_usages()
      return {found, at - 6, score, entry}
    end
    local lines = redis.call('ZRANGE', due, first, math.min(first + math.min(left, limit - #found), stop) - 1)
    entry = lines[#lines]
    score = redis.call('ZSCORE', due, entry)
    left = left - #lines
    local wanted = {}
    for _, line in ipairs(lines) do
      if is_wanted(line) then wanted[#wanted + 1] = line end
    end
    for i, value in ipairs(records(root, due, wanted)) do
      if value then found[#found + 1] = value else forget_line(root, wanted[i]) end
    end
  end
  score, entry = '', ''
end
save_usages()
return {found, #ARGV - 5, '', ''}
