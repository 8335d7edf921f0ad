-- Heartbeat: keeps the lease for `seconds` more. 1 if it is still ours, else 0.
-- Arguments: now, id, token, seconds.
local id, token, seconds = ARGV[2], ARGV[3], tonumber(ARGV[4])
if get(id, 'state') ~= 'delivering' or get(id, 'lease') ~= token then return 0 end
redis.call('HSET', record(id), 'lease_until', now + seconds)
redis.call('ZADD', K.leases, now + seconds, id)
return 1
