-- A process reports how many creates it has announced, and learns whether this is still the store it knows
-- (worker/ledger/rollback.py). Replies {agreed (1/0), server, restored_at ('' = never), needs lookup (1/0), on the roll (1/0),
-- clock jump ('' = none), how many creates all processes have announced}; until they agree, it asks again in a moment.
-- Arguments: settle_seconds, roll_call_seconds (how long to wait for other processes; if nobody reported for so long, the clock has
-- jumped), silent_seconds (after which nobody waits for a process), id (of a record to check; absent: none), leaves (true: the
-- process ends), reports {name, create_count, server ('' = none), total_create_count}: its own first, then those of processes that
-- died on its machine.
local patience, id = args.roll_call_seconds, args.id
local own_report = args.reports[1]
local me = own_report.name
local here = server()
local agreed = redis.call('HGET', K.rollback, 'server')

-- A clock far ahead of the last report was set ahead, or no process was running: either way it cannot say how long ago things were.
local tick_at = tonumber(redis.call('HGET', K.rollback, 'tick_at') or now)
local clock_jump_at = redis.call('HGET', K.rollback, 'clock_jump_at') or ''
if now - tick_at > patience then clock_jump_at = tostring(now)
elseif clock_jump_at ~= '' and tonumber(clock_jump_at) > now then clock_jump_at = '' end
redis.call('HSET', K.rollback, 'tick_at', now, 'clock_jump_at', clock_jump_at)

local function forget(process)
  redis.call('HDEL', K.rollback_create_counts, process)
  redis.call('ZREM', K.rollback_processes, process)
end

-- A new run of the server: call the roll of all processes that were there at the end of the old one, as far as this store knows.
if agreed ~= here and redis.call('HGET', K.rollback, 'roll_call') ~= here then
  redis.call('HSET', K.rollback, 'roll_call', here, 'roll_call_at', now)
  redis.call('DEL', K.rollback_missing)
  local newest = tonumber(redis.call('ZRANGE', K.rollback_processes, -1, -1, 'WITHSCORES')[2] or now)
  for _, process in ipairs(redis.call('ZRANGEBYSCORE', K.rollback_processes, newest - args.silent_seconds, '+inf')) do
    redis.call('SADD', K.rollback_missing, process)
  end
end

-- A process that announced more than this store has counted has seen a later store. A process without a count was only silent for
-- long, if the server is still the one it knew. A process that saw a higher total than this one has seen a later store too: others
-- may have announced those creates, and left. And a process that knows a server has seen more than a store which knows none: that
-- store is empty, and lists nobody whom one could wait for.
local set_back, total = false, tonumber(redis.call('HGET', K.rollback, 'total') or 0)
for _, report in ipairs(args.reports) do
  if report.total_create_count > total then set_back, total = true, report.total_create_count end
  if not agreed and report.server and report.server ~= '' and report.server ~= here then set_back = true end
  local stored = tonumber(redis.call('HGET', K.rollback_create_counts, report.name) or '')
  if not stored and report.server == here and agreed == here then stored = report.create_count end
  if (stored or 0) < report.create_count then set_back = true end
  redis.call('SREM', K.rollback_missing, report.name)
end
local counted = tonumber(redis.call('HGET', K.rollback_create_counts, me) or 0)
redis.call('HSET', K.rollback_create_counts, me, math.max(own_report.create_count, counted))
redis.call('ZADD', K.rollback_processes, now, me)
redis.call('HSET', K.rollback, 'total', total)

if agreed ~= here then
  local missing = redis.call('SMEMBERS', K.rollback_missing)
  local called_at = tonumber(redis.call('HGET', K.rollback, 'roll_call_at'))
  -- A process that does not report may have announced more, so nobody can show that nothing is missing.
  if #missing > 0 and (now >= called_at + patience or now < called_at) then
    set_back = true
    for _, process in ipairs(missing) do forget(process) end
  end
  if set_back or #missing == 0 then
    redis.call('HSET', K.rollback, 'server', here)
    redis.call('HDEL', K.rollback, 'roll_call', 'roll_call_at')
    redis.call('DEL', K.rollback_missing)
    agreed = here
  end
end
if set_back then
  local before = tonumber(redis.call('HGET', K.rollback, 'restored_at') or 0)
  redis.call('HSET', K.rollback, 'restored_at', math.max(now + args.settle_seconds, before + 1))
end

if agreed == here then
  for place = 2, #args.reports do forget(args.reports[place].name) end
  for _, process in ipairs(redis.call('ZRANGEBYSCORE', K.rollback_processes, '-inf', now - args.silent_seconds)) do forget(process) end
end
-- The last process to leave stays on the roll: after the next start somebody has to report for it.
if args.leaves and redis.call('ZCARD', K.rollback_processes) > 1 then forget(me) end

-- Use the time of the first moment, which is by this store's clock, if it is earlier: the service's clock may differ.
local restored_at, needs_lookup = redis.call('HGET', K.rollback, 'restored_at'), 0
if restored_at and id and (get(id, 'looked_up_for') or '') ~= restored_at then
  local came = tonumber(get(id, 'received_at') or now)
  local first = redis.call('LINDEX', record(id) .. ':timeline', 0)
  if first then came = math.min(came, cjson.decode(first).at) end
  if came < tonumber(restored_at) then needs_lookup = 1 end
end
return {
  agreed == here and 1 or 0, here, restored_at or '', needs_lookup,
  redis.call('ZSCORE', K.rollback_processes, me) and 1 or 0, clock_jump_at, total,
}
