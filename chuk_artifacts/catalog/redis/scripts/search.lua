-- Search sessions, in the sequence of their places. Return the records that may match; the number of sessions that are
-- finished; and the first bound of the rest in the next one ('': from its start).
-- ARGV: now; the query as JSON; how many records to return at most; how many to look at; the first bound of
-- ZRANGEBYLEX in the first session ('': as in the others); the first and last bound in the others; roots and sessions
local now, query, limit, left, first = ARGV[1], cjson.decode(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4]), ARGV[5]
local PORTION = 100
local found = {}

local function has_value(meta, condition)
  local value = meta[condition.name]
  return type(value) == condition.type and (condition.value == nil or value == condition.value)
end

-- Return whether a record may match: Python looks closer.
local function is_wanted(value)
  local record = parsed(value)
  if not record then return true end -- Python reports it as damaged
  if record.revision == '0' or (record.expires_at ~= '' and record.expires_at <= now) then return false end
  for _, part in ipairs(query.parts) do
    if not string.find(value, part, 1, true) then return false end
  end
  if query.lower_part ~= '' and not string.find(string.lower(value), query.lower_part, 1, true) then return false end
  if not query.looks_inside then return true end
  local is_json, fields = pcall(cjson.decode, string.sub(value, #record.line + 2))
  if not is_json or type(fields) ~= 'table' or type(fields.meta) ~= 'table' or type(fields.stored_at) ~= 'string' then
    return true
  end
  if query.stored_after and fields.stored_at < query.stored_after then return false end
  if query.stored_before and fields.stored_at >= query.stored_before then return false end
  for _, condition in ipairs(query.conditions) do
    if not has_value(fields.meta, condition) then return false end
  end
  return true
end

local done = 0
for at = 8, #ARGV, 2 do
  local root, index = ARGV[at], ARGV[at] .. 'index/' .. ARGV[at + 1]
  local bound = first == '' and ARGV[6] or first
  first = ''
  while true do
    local wanted = math.min(left, PORTION)
    local places = redis.call('ZRANGEBYLEX', index, bound, ARGV[7], 'LIMIT', 0, wanted)
    for i, value in ipairs(#places > 0 and records(root, index, places) or {}) do
      if value and is_wanted(value) then
        found[#found + 1] = value
        if #found == limit then return {found, done, '(' .. places[i]} end
      end
    end
    left = left - #places
    if #places < wanted then break end
    bound = '(' .. places[#places]
    if left == 0 then return {found, done, bound} end
  end
  done = done + 1
  left = left - 1
  if left <= 0 then break end
end
return {found, done, ''}
