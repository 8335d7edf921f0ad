-- Renews a lease for `lease_seconds` from now. Replies 1 if it is still ours, else 0.
-- Arguments: id, token, lease_seconds.
local id, token, lease_until = args.id, args.token, now + args.lease_seconds
if get(id, 'state') ~= 'delivering' or get(id, 'lease') ~= token then return 0 end
redis.call('HSET', record(id), 'lease_until', lease_until)
redis.call('ZADD', K.leases, lease_until, id)
return 1
