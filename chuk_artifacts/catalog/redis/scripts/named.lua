-- Return the records of a session with some filenames, sorted by place: those of the first filenames that have no more
-- than a BATCH of records together; and how many filenames these are.
-- ARGV: the root, the session, the filenames
local root, session = ARGV[1], ARGV[2]
local index = root .. 'index/' .. session
local places = {}
local done = 0
for i = 3, #ARGV do
  local first, last = '[' .. ARGV[i] .. '\0', '(' .. ARGV[i] .. '\1'
  local some = redis.call('ZRANGEBYLEX', index, first, last, 'LIMIT', 0, BATCH + 1 - #places)
  if #places + #some > BATCH then break end
  for _, place in ipairs(some) do places[#places + 1] = place end
  done = done + 1
end
local found = {}
if #places > 0 then
  for _, value in ipairs(records(root, index, places)) do
    if value then found[#found + 1] = value end
  end
end
return {found, done}
