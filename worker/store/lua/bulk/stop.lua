-- Stops a bulk action: the rest stays as it is and is free for other actions. Replies 1, or 0 if it is over or stopped already.
-- Arguments: bulk, by, reason.
local bulk, by, reason = args.bulk, args.by, args.reason
if redis.call('ZSCORE', K.bulk_running, bulk) == false then return 0 end
if redis.call('HSETNX', K.bulk .. bulk, 'stopped', reason) == 0 then return 0 end
local left = redis.call('ZRANGE', K.bulk .. bulk .. ':left', 0, -1)
for first = 1, #left, 1000 do redis.call('HDEL', K.bulk_claims, unpack(left, first, math.min(first + 999, #left))) end
audit(by, 'bulk stop', bulk, reason .. '; left: ' .. #left)
return 1
