-- Return the identity of the catalog; if it has none, store the one in ARGV first.
local found = redis.call('GET', KEYS[1])
if found then return found end
redis.call('SET', KEYS[1], ARGV[1])
return ARGV[1]
