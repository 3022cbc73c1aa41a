-- Remove records. Return those removed, and the ids of those whose lines are damaged, which stay.
-- ARGV: only those of this session, or ''; only those that end by this time, or ''; then roots and ids
local session, moment = ARGV[1], ARGV[2]
local found, removed, damaged, seen = {}, {}, {}, {}
for at = 3, #ARGV, 2 do
  local root, id = ARGV[at], ARGV[at + 1]
  local key = root .. 'record/' .. id
  local value = not seen[key] and redis.call('MGET', key)[1]
  local record = value and parsed(value)
  if not (record and record.id == id) then
    if not seen[key] and redis.call('EXISTS', key) == 1 then damaged[#damaged + 1] = id end
  elseif (session == '' or record.session == session)
    and (moment == '' or (record.expires_at ~= '' and record.expires_at <= moment)) then
    usage_of(root, record.session)
    found[#found + 1] = {root, record, value}
  end
  seen[key] = true -- an id may be given twice
end
for i, each in ipairs(found) do
  take(unpack(each))
  removed[i] = each[3]
end
save_usages()
return {removed, damaged}
