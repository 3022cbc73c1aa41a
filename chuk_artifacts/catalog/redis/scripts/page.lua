-- Return the records of a session whose places lie between two bounds of ZRANGEBYLEX, sorted by place; and the first
-- bound of the rest, or '' at the end.
-- ARGV: the root, the session, the bounds, how many records at most (no more than a BATCH)
local root, session, first, last, limit = unpack(ARGV, 1, 5)
local index = root .. 'index/' .. session
local left = BATCH
local found = {}
repeat
  local dropped = {}
  local wanted = math.min(limit - #found, left)
  local places = redis.call('ZRANGEBYLEX', index, first, last, 'LIMIT', 0, wanted)
  if #places == 0 then return {found, ''} end
  for i, value in ipairs(records(root, index, places)) do
    if value then found[#found + 1] = value else dropped[#dropped + 1] = places[i] end
  end
  if #dropped > 0 then redis.call('ZREM', index, unpack(dropped)) end
  if #places < wanted then return {found, ''} end
  first = '(' .. places[#places]
  left = left - #places
until #dropped == 0 or left == 0
return {found, first}
