-- Notes that a delivery did not reach Pipedrive. Replies 1 if it is an outage: several submissions failed like this, over some
-- seconds, and none was delivered since. One submission alone is never an outage, because Pipedrive may fail on just that one.
-- Arguments: id, submissions, seconds.
local id, submissions, seconds = args.id, args.submissions, args.seconds
redis.call('ZADD', K.outage, 'NX', now, id)
redis.call('EXPIRE', K.outage, 86400)
local first = redis.call('ZRANGE', K.outage, 0, 0, 'WITHSCORES')
if redis.call('ZCARD', K.outage) < submissions or now - tonumber(first[2]) < seconds then return 0 end
return 1
