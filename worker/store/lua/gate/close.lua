-- Closes the gate: everybody waits. Many deliveries in hand meet the same refusal at once; they are one reason to close it,
-- and only the submission that was let through to try it counts as a try in vain.
-- Arguments: now, id, reason, mode (probe/timed), until.
local id, reason, mode, until_ = ARGV[2], ARGV[3], ARGV[4], tonumber(ARGV[5])
local gate = redis.call('HMGET', K.gate, 'mode', 'until')
local standing, ends = gate[1], tonumber(gate[2] or 0)

if standing == 'timed' and ends <= now then
  redis.call('DEL', K.gate)
  standing = false
end
if not standing or redis.call('GET', K.probe) == id then
  redis.call('HSET', K.gate, 'reason', reason, 'mode', mode, 'until', until_)
  redis.call('HSETNX', K.gate, 'since', now)
  redis.call('HINCRBY', K.gate, 'probes', 1)
  redis.call('DEL', K.probe)
elseif mode == 'timed' then
  redis.call('HSET', K.gate, 'until', math.max(until_, ends))
elseif standing == 'timed' then
  redis.call('HSET', K.gate, 'reason', reason, 'mode', mode, 'until', math.max(until_, ends))
end
return 1
