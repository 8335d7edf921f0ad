-- A worker asks for a submission. Replies {result}; `claimed` means it is leased to `token`.
-- Arguments: id, token, lease_seconds, person_queue, phone_queue and organization_queue (keys; absent if the lead names none), organization_key
-- (of the cached organisation), version (the newest that the worker knows).

local id = args.id

local state = get(id, 'state')
if not state then return { 'unknown' } end
-- Stale queue entries end here: only a queued submission may be claimed (the sweeper queues those of dead workers again).
if state ~= 'queued' then return { 'not-wanted' } end

-- Leave it for a worker that knows its version. If both kinds run, it may come here again, so it rests a while in between. Nobody
-- knows whether such a worker ever comes, so others of the person wait for it only if it may have created something.
local version = tonumber(get(id, 'v') or 1)
if version > args.version then
  if not get(id, 'announced') then leave_person_queues(id) end
  wait(id, now + K.newer_rest_seconds, 'newer', 'worker', 'of a newer version than this worker')
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
local probes = gate[1] == 'probe'
if gate[1] then
  local closed = tonumber(gate[2]) > now or (probes and redis.call('EXISTS', K.probe) == 1)
  if not closed and not probes then redis.call('DEL', K.gate) end
  if closed then
    wait(id, now, gate[3], 'worker', '')
    redis.call('HSET', record(id), 'next_at', gate[2])
    return { 'gated' }
  end
end

-- Deliveries for one person go one after another, because Pipedrive never deduplicates and its search lags. Every submission joins
-- the queues in the same order (person, phone, organisation), so two submissions cannot wait for each other.
local function is_first(queue)
  for _ = 1, 1000 do
    local head = redis.call('LINDEX', queue, 0)
    if not head then
      redis.call('RPUSH', queue, id)
      head = id
    end
    if head == id then return true end
    local holder = get(head, 'state')
    if holder == 'queued' or holder == 'delivering' or holder == 'waiting' then return false end
    redis.call('LPOP', queue)
  end
  return false
end

local joined = get(id, 'person_queues') or ''
local function join(queue)
  if not queue then return true end
  local first = is_first(queue)
  if not string.find(joined, queue, 1, true) then
    if not first then redis.call('RPUSH', queue, id) end
    joined = joined == '' and queue or (joined .. ' ' .. queue)
    redis.call('HSET', record(id), 'person_queues', joined)
  end
  return first
end

local organization_queue = args.organization_queue
if args.organization_key and redis.call('EXISTS', args.organization_key) == 1 then organization_queue = nil end
if not (join(args.person_queue) and join(args.phone_queue) and join(organization_queue)) then
  wait(id, now + K.person_queue_seconds, 'person-queue', 'worker', '')
  return { 'in-person-queue' }
end

-- Only a submission that is really delivered now may probe the gate.
if probes then redis.call('SET', K.probe, id, 'EX', K.probe_seconds) end
move(id, 'delivering', 'worker', '')
redis.call('HSET', record(id), 'lease', args.token, 'lease_until', now + args.lease_seconds)
redis.call('HDEL', record(id), 'next_at', 'reason')
redis.call('HSETNX', record(id), 'first_attempt_at', now)
redis.call('ZADD', K.leases, now + args.lease_seconds, id)
return { 'claimed' }
