-- Remove a record whose line is damaged. ARGV: the root, the id, the line it was due under, or ''
if ARGV[3] ~= '' then
  forget_line(ARGV[1], ARGV[3])
  save_usages()
end
return redis.call('DEL', ARGV[1] .. 'record/' .. ARGV[2])
