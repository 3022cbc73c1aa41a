-- Return sessions of a user and when each was added, in this sequence.
-- ARGV: how many at most, and time and session to begin behind ('': from the start)
local first = ARGV[3] == '' and 0 or rank_behind(KEYS[1], ARGV[2], ARGV[3])
return redis.call('ZRANGE', KEYS[1], first, first + ARGV[1] - 1, 'WITHSCORES')
