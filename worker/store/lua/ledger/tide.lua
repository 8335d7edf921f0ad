-- A process says what it has announced, and hears whether this is still the store it knows (worker/ledger/rollback.py). Replies
-- {agreed (1/0), server, horizon ('' = none), in doubt (1/0), on the roll (1/0), leap ('' = none), how many creates all have
-- announced}: while not agreed it asks again in a moment. Arguments: now, settle seconds, seconds to wait for others (and without a beat of anybody, a leap of the clock),
-- seconds after which nobody waits for a silent one, the id of a record to judge ('' = none), whether it leaves (1/0), then name,
-- mark, the server it knew ('' = none) and how many all had announced as it last heard, of each: its own, and those of processes
-- that died on its machine.
local settle, patience, lifetime = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local id, leaves, me = ARGV[5], ARGV[6] == '1', ARGV[7]
local here = server()
local agreed = redis.call('HGET', K.tide, 'server')

-- A clock that is far ahead of the last beat was set, or nobody was there to see: how long ago anything was, it cannot say.
local beat, leap = tonumber(redis.call('HGET', K.tide, 'beat') or now), redis.call('HGET', K.tide, 'leap') or ''
if now - beat > patience then leap = tostring(now) elseif leap ~= '' and tonumber(leap) > now then leap = '' end
redis.call('HSET', K.tide, 'beat', now, 'leap', leap)

local function forget(process)
  redis.call('HDEL', K.tide_marks, process)
  redis.call('ZREM', K.tide_roll, process)
end

-- A new life of the server: everybody who was there at the end of the old one is called, as far as this store knows.
if agreed ~= here and redis.call('HGET', K.tide, 'calling') ~= here then
  redis.call('HSET', K.tide, 'calling', here, 'called_at', now)
  redis.call('DEL', K.tide_absent)
  local newest = tonumber(redis.call('ZRANGE', K.tide_roll, -1, -1, 'WITHSCORES')[2] or now)
  for _, process in ipairs(redis.call('ZRANGEBYSCORE', K.tide_roll, newest - lifetime, '+inf')) do
    redis.call('SADD', K.tide_absent, process)
  end
end

-- Whoever announced more than is written here has seen a later store than this. One without a mark was only silent for long, if
-- the server is still the one it knew. Whoever heard of more than is written here has too: others may have announced them, and left.
local back, all = false, tonumber(redis.call('HGET', K.tide, 'all') or 0)
for i = 7, #ARGV, 4 do
  local process, mark, known = ARGV[i], tonumber(ARGV[i + 1]), ARGV[i + 2]
  if tonumber(ARGV[i + 3]) > all then back, all = true, tonumber(ARGV[i + 3]) end
  local standing = tonumber(redis.call('HGET', K.tide_marks, process) or '')
  if not standing and known == here and agreed == here then standing = mark end
  if (standing or 0) < mark then back = true end
  redis.call('SREM', K.tide_absent, process)
end
redis.call('HSET', K.tide_marks, me, math.max(tonumber(ARGV[8]), tonumber(redis.call('HGET', K.tide_marks, me) or 0)))
redis.call('ZADD', K.tide_roll, now, me)
redis.call('HSET', K.tide, 'all', all)

if agreed ~= here then
  local absent = redis.call('SMEMBERS', K.tide_absent)
  local called_at = tonumber(redis.call('HGET', K.tide, 'called_at'))
  -- Somebody who cannot be asked may have announced more: then nobody can show that nothing is missing.
  if #absent > 0 and (now >= called_at + patience or now < called_at) then
    back = true
    for _, process in ipairs(absent) do forget(process) end
  end
  if back or #absent == 0 then
    redis.call('HSET', K.tide, 'server', here)
    redis.call('HDEL', K.tide, 'calling', 'called_at')
    redis.call('DEL', K.tide_absent)
    agreed = here
  end
end
if back then
  local before = tonumber(redis.call('HGET', K.tide, 'horizon') or 0)
  redis.call('HSET', K.tide, 'horizon', math.max(now + settle, before + 1))
end

if agreed == here then
  for i = 11, #ARGV, 4 do forget(ARGV[i]) end
  for _, process in ipairs(redis.call('ZRANGEBYSCORE', K.tide_roll, '-inf', now - lifetime)) do forget(process) end
end
-- The last to leave stays on the roll: after the next start somebody has to answer for it.
if leaves and redis.call('ZCARD', K.tide_roll) > 1 then forget(me) end

-- By the clock of this store where there is a moment by it: the service that received it may have another.
local horizon, doubt = redis.call('HGET', K.tide, 'horizon'), 0
if horizon and id ~= '' and (get(id, 'looked') or '') ~= horizon then
  local came = tonumber(get(id, 'received_at') or now)
  local first = redis.call('LINDEX', record(id) .. ':timeline', 0)
  if first then came = math.min(came, cjson.decode(first).at) end
  if came < tonumber(horizon) then doubt = 1 end
end
return { agreed == here and 1 or 0, here, horizon or '', doubt, redis.call('ZSCORE', K.tide_roll, me) and 1 or 0, leap, all }
