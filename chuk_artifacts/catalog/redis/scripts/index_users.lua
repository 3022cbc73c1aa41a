-- Add sessions to those of users. KEYS: the key of each user's sessions. ARGV: the present, and a session for each key
for i, key in ipairs(KEYS) do redis.call('ZADD', key, ARGV[1], ARGV[i + 1]) end
return #KEYS
