-- Puts a submission back into the queue if it is due there: its wait is over, or its lease expired because its worker died.
-- Replies 'dispatched', 'dead' (too many workers died while they delivered it) or 'not-due'.
-- Arguments: id, crashes_allowed, cause (if it is dead), counter (of dead letters; '@' stands for the source).
local id, allowed = args.id, args.crashes_allowed
local state = get(id, 'state')

if state == 'waiting' then
  local due = tonumber(redis.call('ZSCORE', K.due, id) or now)
  if due > now and due < K.backfill_score then return 'not-due' end
  redis.call('HDEL', record(id), 'next_at', 'reason')
  move(id, 'queued', 'sweeper', '')
  return 'dispatched'
elseif state == 'delivering' then
  local ends = get(id, 'lease_until')
  if ends and tonumber(ends) > now then return 'not-due' end
  redis.call('ZREM', K.leases, id)
  redis.call('HDEL', record(id), 'lease', 'lease_until')
  if redis.call('HINCRBY', record(id), 'crashes', 1) >= allowed then
    leave_person_queues(id)
    redis.call('HSET', record(id), 'cause', args.cause)
    move(id, 'dead', 'sweeper', 'its worker died ' .. allowed .. ' times')
    count((string.gsub(args.counter, '@', get(id, 'source'))))
    remember_duplicates(id, K.duplicate_key_seconds)
    return 'dead'
  end
  move(id, 'queued', 'sweeper', 'its worker died')
  return 'dispatched'
elseif state == 'queued' then
  redis.call('ZREM', K.due, id)
  return 'dispatched'
end
redis.call('ZREM', K.due, id)
redis.call('ZREM', K.leases, id)
return 'not-due'
