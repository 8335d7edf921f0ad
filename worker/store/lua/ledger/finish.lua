-- Ends a delivery: in a final state, waiting, or back in the queue. Replies {1, woken ids…}, or {0} if the lease is lost.
-- Arguments: id, token, state, why, next_at and reason (of a wait), used (attempts), keep_place (true: it stays in its person
-- queues), cause (JSON), counter, facts (fields of the record; an empty value removes one), attempts (list of JSON).
local id, to = args.id, args.state

if get(id, 'state') ~= 'delivering' or get(id, 'lease') ~= args.token then return { 0 } end
check_move(id, 'delivering', to)

write(id, args.facts)
local attempts = record(id) .. ':attempts'
for _, attempt in ipairs(args.attempts) do redis.call('RPUSH', attempts, attempt) end
redis.call('LTRIM', attempts, -K.max_history, -1)
redis.call('HINCRBY', record(id), 'attempts', args.used)
redis.call('HSET', record(id), 'crashes', 0)
if args.cause then redis.call('HSET', record(id), 'cause', args.cause) end
count(args.counter)

-- If this was the gate's probe: the gate opens if Pipedrive gave a decision, and is probed again later if not. A submission that
-- ended without a call (the source file made it fail) probed nothing, so the next one probes at once.
local called = #args.attempts > 0
if redis.call('GET', K.probe) == id then
  redis.call('DEL', K.probe)
  if called and (to == 'delivered' or to == 'dead') then redis.call('DEL', K.gate)
  elseif called and redis.call('EXISTS', K.gate) == 1 then
    local closed_until = tonumber(redis.call('HGET', K.gate, 'until'))
    redis.call('HSET', K.gate, 'until', math.max(closed_until, now + K.probe_retry_seconds))
  end
end

if to == 'delivered' then redis.call('DEL', K.outage) end

local woken = {}
if not args.keep_place then woken = leave_person_queues(id) end
redis.call('ZREM', K.leases, id)
redis.call('HDEL', record(id), 'lease', 'lease_until')
if to == 'waiting' then
  wait(id, args.next_at, args.reason, 'worker', args.why)
else
  move(id, to, 'worker', args.why)
  if to == 'delivered' then redis.call('HDEL', record(id), 'cause') end
  if to ~= 'queued' then remember_duplicates(id, K.duplicate_key_seconds) end
end
table.insert(woken, 1, 1)
return woken
