-- Return the values of records: false for a missing record, '' for one whose entries in `index` or `due` are missing.
-- ARGV: roots and ids
local values = {}
for at = 1, #ARGV, 2 do
  local root, id = ARGV[at], ARGV[at + 1]
  local key = root .. 'record/' .. id
  local value = redis.call('MGET', key)[1]
  local record = value and parsed(value)
  if record and not (record.id == id and redis.call('ZSCORE', root .. 'due', record.line)
    and redis.call('ZSCORE', root .. 'index/' .. record.session, record.place)) then record = nil end
  values[#values + 1] = record and value or (redis.call('EXISTS', key) == 1 and '')
end
return values
