-- Ends a bulk action if no submission is on its way and none is left, or it was stopped. Replies 1, or 0 if it is not over.
-- Arguments: bulk, retention_seconds.
local bulk, keep = args.bulk, args.retention_seconds
local name = K.bulk .. bulk
local left = redis.call('ZCARD', name .. ':left')
if redis.call('ZCARD', name .. ':out') > 0 then return 0 end
if left > 0 and redis.call('HEXISTS', name, 'stopped') == 0 then return 0 end
if redis.call('ZREM', K.bulk_running, bulk) == 0 then return 0 end
redis.call('HSET', name, 'ended_at', now, 'remaining', left)
redis.call('DEL', name .. ':left')
redis.call('HDEL', name, 'edit')
redis.call('EXPIRE', name, keep)
redis.call('ZREMRANGEBYSCORE', K.bulk_actions, '-inf', now - keep - 86400)
local tally = redis.call('HMGET', name, 'action', 'by', 'delivered', 'dead', 'done', 'skipped')
local counts = {}
for place, word in ipairs({ '', '', 'delivered', 'dead', 'done', 'skipped' }) do
  if place > 2 and tally[place] then counts[#counts + 1] = word .. ': ' .. tally[place] end
end
if left > 0 then counts[#counts + 1] = 'left: ' .. left end
audit(tally[2], 'bulk ' .. tally[1] .. ' ended', bulk, table.concat(counts, '; '))
return 1
