-- Closes the gate: every delivery waits. Many running deliveries may meet the same error at once; together they are one reason to
-- close it, and only the submission that was let through as a probe counts as a failed probe.
-- Arguments: id, reason, mode (probe or timed), closed_until, advice (absent: none).
local id, reason, mode, until_ = args.id, args.reason, args.mode, args.closed_until
local gate = redis.call('HMGET', K.gate, 'mode', 'until')
local closed_as, ends = gate[1], tonumber(gate[2] or 0)

if closed_as == 'timed' and ends <= now then
  redis.call('DEL', K.gate)
  closed_as = false
end
local function describe(ends_at)
  redis.call('HSET', K.gate, 'reason', reason, 'mode', mode, 'until', ends_at, 'advice', args.advice or '')
end
local is_probe = redis.call('GET', K.probe) == id
-- Another submission probes next: what is refused may be this one alone.
if is_probe and get(id, 'state') then redis.call('HSET', record(id), 'probed_at', now) end
if not closed_as or is_probe then
  describe(until_)
  redis.call('HSETNX', K.gate, 'since', now)
  redis.call('HINCRBY', K.gate, 'probes', 1)
  redis.call('DEL', K.probe)
elseif mode == 'timed' then
  redis.call('HSET', K.gate, 'until', math.max(until_, ends))
elseif closed_as == 'timed' then
  describe(math.max(until_, ends))
end
return 1
