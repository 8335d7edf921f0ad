-- A worker asks for a submission. Replies {verdict, woken…}; `claimed` means it is leased to `token`.
-- Arguments: now, id, token, lease seconds, the person's line, the organisation's line, the organisation's memory, the newest
-- version that the worker knows.

local id, token, lease = ARGV[2], ARGV[3], tonumber(ARGV[4])
local person_line, organization_line, organization_memory = ARGV[5], ARGV[6], ARGV[7]

local state = get(id, 'state')
if not state then return { 'unknown' } end
-- Stale queue entries end here: only what is queued may be claimed (the sweeper re-queues what a dead worker held).
if state ~= 'queued' then return { 'not-wanted' } end

-- Left for a worker that knows it. Where both kinds run it may be met here again, so it rests a while in between. Nobody knows
-- whether such a worker ever comes again: others of the person wait for it only where it may have made something.
local version = tonumber(get(id, 'v') or 1)
if version > tonumber(ARGV[8]) then
  if not get(id, 'announced') then leave_lines(id) end
  wait(id, now + K.newer_seconds, 'newer', 'worker', 'of a newer version than this worker')
  redis.call('ZREM', K.due, id)
  redis.call('ZADD', K.newer, version, id)
  return { 'newer' }
end

local pause = redis.call('HGET', K.pause, 'reason')
if pause then
  wait(id, now, 'paused', 'worker', pause)
  redis.call('HDEL', record(id), 'next_at')
  return { 'gated' }
end
local gate = redis.call('HMGET', K.gate, 'mode', 'until', 'reason')
local tries = gate[1] == 'probe'
if gate[1] then
  local closed = tonumber(gate[2]) > now or (tries and redis.call('EXISTS', K.probe) == 1)
  if not closed and not tries then redis.call('DEL', K.gate) end
  if closed then
    wait(id, now, gate[3], 'worker', '')
    redis.call('HSET', record(id), 'next_at', gate[2])
    return { 'gated' }
  end
end

-- Deliveries for one person go one after the other, because Pipedrive never deduplicates and its search lags. The lines
-- are always joined in the same order (person, organisation), so two submissions cannot wait for each other.
local function stand(line)
  for _ = 1, 1000 do
    local head = redis.call('LINDEX', line, 0)
    if not head then
      redis.call('RPUSH', line, id)
      head = id
    end
    if head == id then return true end
    local holder = get(head, 'state')
    if holder == 'queued' or holder == 'delivering' or holder == 'waiting' then return false end
    redis.call('LPOP', line)
  end
  return false
end

local standing = get(id, 'lines') or ''
local function join(line)
  if line == '' then return true end
  local first = stand(line)
  if not string.find(standing, line, 1, true) then
    if not first then redis.call('RPUSH', line, id) end
    standing = standing == '' and line or (standing .. ' ' .. line)
    redis.call('HSET', record(id), 'lines', standing)
  end
  return first
end

if organization_memory ~= '' and redis.call('EXISTS', organization_memory) == 1 then organization_line = '' end
if not (join(person_line) and join(organization_line)) then
  wait(id, now + 60, 'line', 'worker', '')
  return { 'in-line' }
end

-- Only what really goes out may try the gate.
if tries then redis.call('SET', K.probe, id, 'EX', 60) end
move(id, 'delivering', 'worker', '')
redis.call('HSET', record(id), 'lease', token, 'lease_until', now + lease)
redis.call('HDEL', record(id), 'next_at', 'reason')
redis.call('HSETNX', record(id), 'first_attempt_at', now)
redis.call('ZADD', K.leases, now + lease, id)
return { 'claimed' }
