-- Counts the outcomes of the submissions that a bulk action let go. Those still on their way go to the end of the check list.
-- Replies {left, out, delivered, dead, stopped}. Arguments: bulk, limit (how many to check).
local bulk = args.bulk
local outcomes = { delivered = 'delivered', dead = 'dead' }
local out = K.bulk .. bulk .. ':out'
for _, id in ipairs(redis.call('ZRANGE', out, 0, args.limit - 1)) do
  local state = get(id, 'state')
  if state == 'queued' or state == 'delivering' or state == 'waiting' then
    redis.call('ZADD', out, now, id)
  else
    -- A person discarded it meanwhile, or it turned out to be a test: the bulk action did not decide it.
    bulk_drop(bulk, id, outcomes[state or ''] or 'skipped')
  end
end
local tally = redis.call('HMGET', K.bulk .. bulk, 'delivered', 'dead', 'stopped')
return {
  redis.call('ZCARD', K.bulk .. bulk .. ':left'), redis.call('ZCARD', out),
  tonumber(tally[1] or 0), tonumber(tally[2] or 0), tally[3] or '',
}
