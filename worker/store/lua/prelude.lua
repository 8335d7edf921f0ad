-- Shared by every script. `K` (the key table of worker/store/keys.py) is written in front of this text.
-- The first argument of every script is the time in Unix seconds; empty means: ask Redis, so that all workers share one clock.

local function clock()
  if ARGV[1] ~= '' then return tonumber(ARGV[1]) end
  local t = redis.call('TIME')
  return tonumber(t[1]) + tonumber(t[2]) / 1000000
end

local now = clock()

-- Which life of which server this is: another after a restart, a failover, or a change of whom it follows. Empty where it may
-- not be asked.
local function server()
  local function told(section, name)
    local said = redis.pcall('INFO', section)
    return type(said) == 'string' and string.match(said, name .. ':(%x+)') or ''
  end
  return told('server', 'run_id') .. told('replication', 'master_replid')
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

-- One change of state: the record, the index by state, the timeline and the stream of changes together.
local function move(id, to, by, why)
  local from = get(id, 'state')
  if from then redis.call('ZREM', K.state .. from, id) end
  if to ~= 'waiting' then redis.call('ZREM', K.due, id) end
  redis.call('ZREM', K.newer, id)
  redis.call('ZADD', K.state .. to, now, id)
  redis.call('HSET', record(id), 'state', to, 'updated_at', now)
  local moment = { at = now, state = to, by = by }
  if why and why ~= '' then moment.why = why end
  local timeline = record(id) .. ':timeline'
  if redis.call('RPUSH', timeline, cjson.encode(moment)) > 200 then
    -- The first stays, for it says when it came by this store's clock (`tide.lua`): the second goes.
    redis.call('LSET', timeline, 1, redis.call('LINDEX', timeline, 0))
    redis.call('LPOP', timeline)
  end
  redis.call('XADD', K.changes, 'MAXLEN', '~', K.changes_kept, '*', 'id', id)
end

-- Leaves every line the submission stands in. Whoever is then first is due at once; their ids are returned.
local function leave_lines(id)
  local woken = {}
  local lines = get(id, 'lines')
  if not lines then return woken end
  for line in string.gmatch(lines, '%S+') do
    if redis.call('LINDEX', line, 0) == id then
      redis.call('LPOP', line)
      local first = redis.call('LINDEX', line, 0)
      if first and get(first, 'state') == 'waiting' then
        redis.call('ZADD', K.due, now, first)
        woken[#woken + 1] = first
      end
    else
      redis.call('LREM', line, 0, id)
    end
  end
  redis.call('HDEL', record(id), 'lines')
  return woken
end

-- The duplicate key is remembered for a while after a final state, and for as long as it takes before.
local function remember_duplicates(id, seconds)
  local key = get(id, 'duplicate_key')
  if not key or get(id, 'duplicate_kind') == 'content' then return end
  if seconds then redis.call('EXPIRE', key, seconds) else redis.call('PERSIST', key) end
end

-- The turn of what waits: the order in which the sweeper takes it, as one number.
--
--   -2e10  forms and browsers
--   -1e10  webhooks
--   time   whose wait ends by itself: retries, a create that settles, a place in line
--    2e10  replays, and what came late out of a spool: only as far as RQ's queue is short
--
-- Around the three marks stand, by their receipt, those for whom a gate must open: the oldest first. When a day's tokens are
-- back it is the newest: who asked a minute ago is still at the desk.
local MARKS = { ['0'] = -2e10, ['1'] = -1e10, ['2'] = 2e10 }

local function turn(id, newest_first)
  local received = tonumber(get(id, 'received_at'))
  return (MARKS[get(id, 'precedence') or ''] or MARKS['1']) + (newest_first and -received or received)
end

local function wait(id, until_, reason, by, why)
  move(id, 'waiting', by, why)
  redis.call('HSET', record(id), 'next_at', until_, 'reason', reason)
  redis.call('HDEL', record(id), 'lease', 'lease_until')
  redis.call('ZREM', K.leases, id)
  local everybody = reason == 'paused' or reason == redis.call('HGET', K.gate, 'reason')
  redis.call('ZADD', K.due, everybody and turn(id, reason == 'budget') or until_, id)
end

-- Who did what, in the same step as the deed.
local function audit(who, action, target, detail)
  local entry = { 'who', string.sub(who, 1, K.audit_longest), 'action', action, 'target', target }
  if detail and detail ~= '' then
    entry[#entry + 1] = 'detail'
    entry[#entry + 1] = string.sub(detail, 1, K.audit_longest)
  end
  redis.call('XADD', K.audit, 'MAXLEN', '~', K.audit_kept, '*', unpack(entry))
end

-- One of a bulk action's has its outcome, which is counted once, whichever of its two lists it stood in.
local function bulk_drop(bulk, id, outcome)
  local name = K.bulk .. bulk
  if redis.call('ZREM', name .. ':left', id) + redis.call('ZREM', name .. ':out', id) == 0 then return end
  redis.call('HINCRBY', name, outcome, 1)
  if redis.call('HGET', K.bulk_claims, id) == bulk then redis.call('HDEL', K.bulk_claims, id) end
end
