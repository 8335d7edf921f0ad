-- Functions that the scripts of the ledger share.

-- Identifies the server and its current run: changes with a restart, a failover, or a new master to follow. Empty if INFO is not
-- allowed.
local function server()
  local function ask(section, name)
    local info = redis.pcall('INFO', section)
    return type(info) == 'string' and string.match(info, name .. ':(%x+)') or ''
  end
  return ask('server', 'run_id') .. ask('replication', 'master_replid')
end

local function record(id) return K.submission .. id end

local function get(id, field)
  local value = redis.call('HGET', record(id), field)
  if value == '' then return false end
  return value
end

local function count(series, amount)
  if series and series ~= '' then redis.call('HINCRBYFLOAT', K.metrics, series, amount or 1) end
end

-- Only moves in the table of worker/contract.py are allowed; any other is a bug, and the script fails. Redis does not undo what a
-- failed script has written, so a script that gets its target state as an argument checks the move before it writes.
local function check_move(id, from, to)
  if not (K.moves[from] or {})[to] then
    error(string.format('no move from "%s" to "%s" for %s', from, tostring(to), id))
  end
end

-- Changes the state in the record, the index by state, the timeline and the stream of changes.
local function move(id, to, by, why)
  local from = get(id, 'state')
  check_move(id, from or '', to)
  if from then redis.call('ZREM', K.state .. from, id) end
  if to ~= 'waiting' then redis.call('ZREM', K.due, id) end
  redis.call('ZREM', K.newer, id)
  redis.call('ZADD', K.state .. to, now, id)
  redis.call('HSET', record(id), 'state', to, 'updated_at', now)
  local moment = { at = now, state = to, by = by }
  if why and why ~= '' then moment.why = why end
  local timeline = record(id) .. ':timeline'
  if redis.call('RPUSH', timeline, cjson.encode(moment)) > K.max_history then
    -- The first moment stays, because it has the time of acceptance by this store's clock (`rollback.lua`); the second goes.
    redis.call('LSET', timeline, 1, redis.call('LINDEX', timeline, 0))
    redis.call('LPOP', timeline)
  end
  redis.call('XADD', K.changes, 'MAXLEN', '~', K.max_changes, '*', 'id', id)
  if get(id, 'unverified_bytes') then
    local rank = K.eviction_ranks[to]
    if rank then redis.call('ZADD', K.evictable, rank * K.eviction_rank_step + now, id) else redis.call('ZREM', K.evictable, id) end
  end
end

-- Takes the submission out of every person queue that it is in. The next in each queue is due at once; returns those ids.
local function leave_person_queues(id)
  local woken = {}
  local queues = get(id, 'person_queues')
  if not queues then return woken end
  for queue in string.gmatch(queues, '%S+') do
    if redis.call('LINDEX', queue, 0) == id then
      redis.call('LPOP', queue)
      local first = redis.call('LINDEX', queue, 0)
      if first and get(first, 'state') == 'waiting' then
        redis.call('ZADD', K.due, now, first)
        woken[#woken + 1] = first
      end
    else
      redis.call('LREM', queue, 0, id)
    end
  end
  redis.call('HDEL', record(id), 'person_queues')
  return woken
end

-- Writes fields of the record; an empty value removes its field.
local function write(id, facts)
  for field, value in pairs(facts) do
    if value == '' then redis.call('HDEL', record(id), field)
    else redis.call('HSET', record(id), field, value) end
  end
end

-- Lets go of the raw request that a submission shares with the other events of its request. It goes with its last holder; or at once,
-- `for_all`, because somebody in it is erased.
local function drop_raw(id, for_all)
  local first = get(id, 'raw_of')
  if not first then return end
  local request = K.raw .. first
  redis.call('HDEL', request, id)
  if for_all or redis.call('HLEN', request) == 1 then
    if get(id, 'unverified_bytes') then redis.call('HINCRBY', K.unverified, 'bytes', -redis.call('HSTRLEN', request, 'raw')) end
    redis.call('DEL', request)
  end
end

-- Lets go of what a submission holds besides its record: its share of the raw request, and its part of what strangers may store.
local function release(id, for_all)
  drop_raw(id, for_all)
  local bytes = get(id, 'unverified_bytes')
  if not bytes then return end
  redis.call('HINCRBY', K.unverified, 'bytes', -bytes)
  redis.call('HDEL', record(id), 'unverified_bytes')
  redis.call('ZREM', K.evictable, id)
end

-- Removes the record itself; only the number of such submissions stays.
local function remove(id)
  redis.call('ZREM', K.state .. get(id, 'state'), id)
  redis.call('DEL', record(id), record(id) .. ':timeline', record(id) .. ':attempts')
  redis.call('HDEL', K.duplicates, id)
  redis.call('XADD', K.changes, 'MAXLEN', '~', K.max_changes, '*', 'id', id)
  redis.call('INCR', K.forgotten)
end

-- Removes a stranger's submission, receipt and all: receipts alone could fill the memory.
local function evict(id, series)
  release(id)
  local key = get(id, 'duplicate_key')
  if key and string.match(redis.call('GET', key) or '', '^%S+') == id then redis.call('DEL', key) end
  count(string.format(series, get(id, 'source')))
  redis.call('HINCRBY', K.unverified, 'evicted', 1)
  redis.call('HSET', K.unverified, 'evicted_at', now)
  remove(id)
end

-- Evicts until `bytes` more of unverified content fit below `limit`, first what is in quarantine, the oldest first; what waits for its
-- delivery or for a person never. Returns whether they fit.
local function make_room(bytes, limit, series)
  if bytes > limit then return false end
  local evictions = 0
  while tonumber(redis.call('HGET', K.unverified, 'bytes') or 0) + bytes > limit do
    local id = redis.call('ZRANGEBYSCORE', K.evictable, '-inf', '(' .. K.receipt_rank * K.eviction_rank_step, 'LIMIT', 0, 1)[1]
    if not id or evictions == K.max_evictions then return false end
    evict(id, series)
    evictions = evictions + 1
  end
  return true
end

-- Keeps the duplicate key for `seconds`, as after a final state; nil keeps it without a limit.
local function remember_duplicates(id, seconds)
  local key = get(id, 'duplicate_key')
  if not key or get(id, 'duplicate_kind') == 'content' then return end
  if seconds then redis.call('EXPIRE', key, seconds) else redis.call('PERSIST', key) end
end

-- The due score of a waiting submission: one number that sets the order in which the sweeper takes them.
--
--   -2e10  forms and browsers
--   -1e10  webhooks
--   time   those that wait for a time: retries, a create that settles, a place in a person queue
--    2e10  replays, and late submissions from a spool: only while RQ's queue is short
--
-- Submissions that wait for the gate are around the three ranks by the time they were received, oldest first. If they wait for the
-- next day's tokens it is newest first: a person who asked a minute ago is still at the desk. One that probed the gate in vain goes
-- behind all that were there by then, lest the gate stay closed because of it alone.
local RANKS = { ['0'] = -2 * K.backfill_score, ['1'] = -K.backfill_score, ['2'] = 2 * K.backfill_score }

local function due_score(id, newest_first)
  local rank, received = RANKS[get(id, 'precedence') or ''] or RANKS['1'], tonumber(get(id, 'received_at'))
  if newest_first then return rank - received end
  local probed_at = tonumber(get(id, 'probed_at') or '')
  if probed_at then return math.max(rank, RANKS['1']) + probed_at end
  return rank + received
end

local function wait(id, until_, reason, by, why)
  move(id, 'waiting', by, why)
  redis.call('HSET', record(id), 'next_at', until_, 'reason', reason)
  redis.call('HDEL', record(id), 'lease', 'lease_until')
  redis.call('ZREM', K.leases, id)
  local gated = reason == 'paused' or reason == redis.call('HGET', K.gate, 'reason')
  redis.call('ZADD', K.due, gated and due_score(id, reason == 'budget') or until_, id)
end

-- Writes an entry of the audit trail, in the same step as the action itself.
local function audit(who, action, target, detail)
  local entry = { 'who', string.sub(who, 1, K.max_audit_text_bytes), 'action', action, 'target', target }
  if detail and detail ~= '' then
    entry[#entry + 1] = 'detail'
    entry[#entry + 1] = string.sub(detail, 1, K.max_audit_text_bytes)
  end
  redis.call('XADD', K.audit, 'MAXLEN', '~', K.max_audit_entries, '*', unpack(entry))
end

-- Records the outcome of a submission in a bulk action; it counts only once, whichever of the two lists the submission was in.
local function bulk_drop(bulk, id, outcome)
  local name = K.bulk .. bulk
  if redis.call('ZREM', name .. ':left', id) + redis.call('ZREM', name .. ':out', id) == 0 then return end
  redis.call('HINCRBY', name, outcome, 1)
  if redis.call('HGET', K.bulk_claims, id) == bulk then redis.call('HDEL', K.bulk_claims, id) end
end
