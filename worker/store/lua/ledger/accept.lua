-- Records each submission of a batch unless it is known. Replies {id, state, duplicate, conflict, no room} for each one.
-- Arguments: spooled (true: these come from a spool), server (the run of the server that these are meant for; absent: any),
-- unverified_max (bytes that strangers may store; absent: no bound), memory_low (true: they may store no more than now), evicted (the
-- counter's text, with %s for the source). From ARGV[3] on: a map for each submission, packed before its batch:
-- id, source, state, received_at, raw, precedence, verified (1 or 0), and the counters accepted, duplicate and also; if present,
-- lead, cause, why, fetch, and for its duplicate key: duplicate_key, duplicate_kind, fingerprint, window (milliseconds); for a source
-- without verification leads_per_hour, and the counters flooded and limited. The events
-- of one request have its first event's id as raw_of, and raw only with the first of them in the batch; with none of them if
-- somebody in it was erased. Those of strangers have the bytes that each takes, and in `room` those of the whole request: all of its
-- events get room, or none.
-- A spooled submission was acknowledged, so it always gets a record: a duplicate points to the first one, and one that reuses a
-- key with another body is kept under key and body together, so that its own duplicates point to it. One with duplicate_of, and
-- without a duplicate key, was a duplicate before Redis lost its memory, and still is.

local shared = {}

local function store_raw(id, item)
  if not item.raw_of then
    redis.call('HSET', record(id), 'raw', item.raw)
    return
  end
  local request, raw = K.raw .. item.raw_of, shared[item.raw_of]
  redis.call('HSET', record(id), 'raw_of', item.raw_of)
  if not raw then return end
  if redis.call('HEXISTS', request, 'raw') == 0 then
    redis.call('HSET', request, 'raw', raw)
    if item.bytes then redis.call('HINCRBY', K.unverified, 'bytes', #raw) end
  end
  redis.call('HSET', request, id, '')
end

local admitted = {}
local limit = args.unverified_max or math.huge
if args.memory_low then limit = math.min(limit, tonumber(redis.call('HGET', K.unverified, 'bytes') or 0)) end

-- Whether a stranger's request fits. A spooled one was acknowledged, so it always does.
local function admit(item)
  local request = item.raw_of or item.id
  if admitted[request] == nil then
    admitted[request] = make_room(item.room, limit, args.evicted) or args.spooled
    if not admitted[request] then
      redis.call('HINCRBY', K.unverified, 'refused', 1)
      redis.call('HSET', K.unverified, 'refused_at', now)
    end
  end
  return admitted[request]
end

local function count_bytes(id, bytes)
  redis.call('HSET', record(id), 'unverified_bytes', bytes)
  redis.call('HINCRBY', K.unverified, 'bytes', bytes)
end

-- Counts a lead, and returns whether it is beyond what may flow in an hour. The hour before counts in proportion to its part in the
-- last sixty minutes. The time is that of receipt, so that a spool of many hours is not a flood when it is handed over.
local function floods(item)
  local hour = math.floor(item.received_at / 3600)
  local here, before, field = K.bounds .. hour, K.bounds .. (hour - 1), item.source .. ' leads'
  local leads = tonumber(redis.call('HGET', before, field) or 0) * (hour + 1 - item.received_at / 3600)
    + tonumber(redis.call('HGET', here, field) or 0)
  local beyond = leads + 1 > item.leads_per_hour
  redis.call('HINCRBY', here, beyond and field .. '_per_hour' or field, 1)
  redis.call('EXPIRE', here, 7200)
  return beyond
end

-- A server that has been restarted may have forgotten the twin of one of these.
if args.server and args.server ~= server() then return redis.error_reply(K.another_run) end

local replies = {}
for i = 3, #ARGV do
  local item = cmsgpack.unpack(ARGV[i])
  local id, state, key, fingerprint = item.id, item.state, item.duplicate_key, item.fingerprint
  if item.raw_of and item.raw then shared[item.raw_of] = item.raw end

  local first, first_id, first_print = false, '', ''
  if key then first = redis.call('GET', key) end
  if first then first_id, first_print = string.match(first, '^(%S+) (%S+)$') end
  local conflict = first and item.duplicate_kind == 'key' and first_print ~= fingerprint
  if args.spooled and conflict then
    key, conflict = key .. ':' .. fingerprint, false
    first = redis.call('GET', key)
    if first then first_id = string.match(first, '^%S+') end
  end
  if item.duplicate_of then first, first_id = true, item.duplicate_of end

  if redis.call('EXISTS', record(id)) == 1 then
    -- The same submission is handed over again, after a reply that got lost.
    replies[#replies + 1] = { id, get(id, 'accepted_as'), 0, 0, 0 }
  elseif conflict then
    replies[#replies + 1] = { first_id, '', 0, 1, 0 }
  elseif first then
    count(item.duplicate)
    if args.spooled then
      redis.call('HSET', record(id), 'v', K.version, 'source', item.source, 'accepted_as', state, 'received_at', item.received_at,
        'attempts', 0, 'crashes', 0, 'duplicate_of', first_id, 'duplicate_key', '', 'duplicate_kind', '',
        'verified', item.verified)
      if item.bytes then count_bytes(id, K.record_bytes) end
      move(id, 'ignored', 'intake', 'duplicate of ' .. first_id)
      count(item.accepted)
    end
    replies[#replies + 1] = { first_id, get(first_id, 'accepted_as') or 'queued', 1, 0, 0 }
  elseif item.bytes and not admit(item) then
    replies[#replies + 1] = { id, '', 0, 0, 1 }
  else
    local why, also = item.why, item.also
    if state == 'queued' and item.leads_per_hour and floods(item) then
      state, why, also = 'quarantined', K.flood, item.flooded
      count(item.limited)
    end
    check_move(id, '', state)
    if key then
      if item.window then redis.call('SET', key, id .. ' ' .. fingerprint, 'PX', item.window)
      else redis.call('SET', key, id .. ' ' .. fingerprint) end
    end
    redis.call('HSET', record(id), 'v', K.version, 'source', item.source, 'accepted_as', state, 'received_at', item.received_at,
      'lead', item.lead or '', 'attempts', 0, 'crashes', 0, 'duplicate_key', key or '',
      'duplicate_kind', item.duplicate_kind or '', 'precedence', item.precedence, 'verified', item.verified)
    store_raw(id, item)
    if item.bytes then count_bytes(id, item.bytes) end
    if item.cause then redis.call('HSET', record(id), 'cause', item.cause) end
    if item.fetch then redis.call('HSET', record(id), 'fetch', item.fetch) end
    move(id, state, 'intake', why)
    if state == 'queued' and item.precedence == K.backfill then redis.call('ZADD', K.due, due_score(id), id) end
    count(item.accepted)
    count(also)
    if state ~= 'queued' then remember_duplicates(id, K.duplicate_key_seconds) end
    replies[#replies + 1] = { id, state, 0, 0, 0 }
  end
end
return replies
