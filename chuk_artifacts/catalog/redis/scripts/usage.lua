-- Count sessions whose usage is not known, one after the other, until a BATCH of records was looked at. Return artifacts
-- and bytes of the last one looked at, 1 if it is counted (0: some of its records are left), and how many that were.
-- ARGV: '' or a word to count all of them anew, then root and session of each
local anew = ARGV[1]
local left = BATCH

local function counted_usage(root, session)
  local usage = usage_of(root, session)
  if anew ~= '' or not usage.is_known or usage.entries ~= entries_of(usage) then
    usage.entries, usage.artifacts, usage.bytes, usage.upto = 0, 0, 0, ''
  end
  if not usage.upto then return usage end
  allow_full(usage.index)
  local is_there = redis.call('EXISTS', usage.key) == 1
  local first = usage.upto == '' and '-' or '(' .. usage.upto
  local places = redis.call('ZRANGEBYLEX', usage.index, first, '+', 'LIMIT', 0, left)
  for i, value in ipairs(#places > 0 and records(root, usage.index, places) or {}) do
    local record = value and parsed(value)
    if record then
      local artifacts, bytes = counted(value, record)
      usage.artifacts = usage.artifacts + artifacts
      usage.bytes = usage.bytes + bytes
    end
    if value then
      usage.entries = usage.entries + 1
    else
      redis.call('ZREM', usage.index, places[i])
    end
  end
  usage.upto = #places == left and places[left]
  left = left - #places
  save(usage)
  if usage.upto then redis.call('HSET', usage.key, 'upto', usage.upto) else redis.call('HDEL', usage.key, 'upto') end
  if not is_there then -- the session has ended, its records are still there
    local milliseconds = redis.call('PTTL', usage.index)
    if milliseconds > 0 then redis.call('PEXPIRE', usage.key, milliseconds) end
    if milliseconds == -2 then redis.call('DEL', usage.key) end
  end
  return usage
end

local usage
local done = 0
repeat
  usage = counted_usage(ARGV[2 * done + 2], ARGV[2 * done + 3])
  done = done + 1
until usage.upto or left == 0 or not ARGV[2 * done + 2]
return {string.format('%.0f', usage.artifacts), string.format('%.0f', usage.bytes), usage.upto and 0 or 1, done}
