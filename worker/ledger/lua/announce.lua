-- Written down before a create is sent, so that a create with unknown outcome is never repeated blindly. 1, or 0 when
-- the lease is lost: then nothing may be created.
-- Arguments: now, id, token, seconds of lease from here, step.
local id, token, seconds, step = ARGV[2], ARGV[3], tonumber(ARGV[4]), ARGV[5]
if get(id, 'state') ~= 'delivering' or get(id, 'lease') ~= token then return 0 end
redis.call('HSET', record(id), 'lease_until', now + seconds, 'announced', step, 'announced_at', now, 'announced_by', token)
redis.call('ZADD', K.leases, now + seconds, id)
return 1
