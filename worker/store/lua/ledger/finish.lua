-- A delivery ends: in a final state, in waiting, or back in the queue. Replies {1, woken ids…}, or {0} when the lease is lost.
-- Arguments: now, id, token, state, why, next_at, reason, attempts used, keep its place in the person queues (1/0), cause, counter,
-- number of fields, then field, value pairs (an empty value removes the field), then JSON attempts.
local id, token, to, why = ARGV[2], ARGV[3], ARGV[4], ARGV[5]
local next_at, reason, used, keep_place = ARGV[6], ARGV[7], ARGV[8], ARGV[9]
local cause, counter, pairs_ = ARGV[10], ARGV[11], tonumber(ARGV[12])

if get(id, 'state') ~= 'delivering' or get(id, 'lease') ~= token then return { 0 } end

for i = 13, 12 + 2 * pairs_, 2 do
  if ARGV[i + 1] == '' then redis.call('HDEL', record(id), ARGV[i])
  else redis.call('HSET', record(id), ARGV[i], ARGV[i + 1]) end
end
for i = 13 + 2 * pairs_, #ARGV do redis.call('RPUSH', record(id) .. ':attempts', ARGV[i]) end
redis.call('LTRIM', record(id) .. ':attempts', -200, -1)
redis.call('HINCRBY', record(id), 'attempts', used)
redis.call('HSET', record(id), 'crashes', 0)
if cause ~= '' then redis.call('HSET', record(id), 'cause', cause) end
count(counter)

-- The submission that tried the gate: it opens when Pipedrive answered with a decision, and is tried again later when not.
-- One that ended without a call (it died of the source file) tried nothing: the next one tries at once.
local called = #ARGV >= 13 + 2 * pairs_
if redis.call('GET', K.probe) == id then
  redis.call('DEL', K.probe)
  if called and (to == 'delivered' or to == 'dead') then redis.call('DEL', K.gate)
  elseif called and redis.call('EXISTS', K.gate) == 1 then
    redis.call('HSET', K.gate, 'until', math.max(tonumber(redis.call('HGET', K.gate, 'until')), now + K.probe_retry_seconds))
  end
end

if to == 'delivered' then redis.call('DEL', K.outage) end

local woken = {}
if keep_place ~= '1' then woken = leave_person_queues(id) end
redis.call('ZREM', K.leases, id)
redis.call('HDEL', record(id), 'lease', 'lease_until')
if to == 'waiting' then
  wait(id, tonumber(next_at), reason, 'worker', why)
else
  move(id, to, 'worker', why)
  if to == 'delivered' then redis.call('HDEL', record(id), 'cause') end
  if to ~= 'queued' then remember_duplicates(id, K.duplicate_key_seconds) end
end
table.insert(woken, 1, 1)
return woken
