-- Change a session if the caller knows it as it is stored, and return nothing; otherwise return it as stored.
-- ARGV: the root; the session; now; its info and end as the caller knows them; its new info, end, the end as a number,
-- milliseconds to keep it, and the mark of this change
local root, session = ARGV[1], ARGV[2]
local found = living(root, session, ARGV[3])
if found[1] == '' or found[1] ~= ARGV[4] or found[2] ~= ARGV[5] then return found end
local info, expires_at, expires, milliseconds, mark = unpack(ARGV, 6, 10)
prolong(root, session, found[2], expires_at, expires, milliseconds, 'info', info, 'mark', mark)
return {}
