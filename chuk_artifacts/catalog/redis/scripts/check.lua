-- Write a few KiB, and remove them.
redis.call('SET', KEYS[1], string.rep('x', 4096), 'PX', '1000')
return redis.call('DEL', KEYS[1])
