-- Return records in the order in which they are due; how many of the roots are done with; and score and line in the
-- next one behind which to go on. No more than a BATCH is looked at.
-- ARGV: the last moment as a number; '', or the present, when only unexpired artifacts are wanted; how many records at
-- most; score and line behind which to begin under the first root ('' is its beginning); then roots
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
    if left == 0 or #found == limit then return {found, at - 6, score, entry} end
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
return {found, #ARGV - 5, '', ''}
