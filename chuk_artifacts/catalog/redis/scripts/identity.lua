-- Return the identity of the catalog, which is the one in ARGV if it had none.
local found = redis.call('GET', KEYS[1])
if found then return found end
redis.call('SET', KEYS[1], ARGV[1])
return ARGV[1]
