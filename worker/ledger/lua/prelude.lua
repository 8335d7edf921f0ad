-- Shared by every script. `K` (the key table of worker/keys.py) is written in front of this text.
-- The first argument of every script is the time in Unix seconds; empty means: ask Redis, so that all workers share one clock.

local function clock()
  if ARGV[1] ~= '' then return tonumber(ARGV[1]) end
  local t = redis.call('TIME')
  return tonumber(t[1]) + tonumber(t[2]) / 1000000
end

local now = clock()

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
  redis.call('ZADD', K.state .. to, now, id)
  redis.call('HSET', record(id), 'state', to, 'updated_at', now)
  local moment = { at = now, state = to, by = by }
  if why and why ~= '' then moment.why = why end
  redis.call('RPUSH', record(id) .. ':timeline', cjson.encode(moment))
  redis.call('LTRIM', record(id) .. ':timeline', -200, -1)
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

local function wait(id, until_, reason, by, why)
  move(id, 'waiting', by, why)
  redis.call('HSET', record(id), 'next_at', until_, 'reason', reason)
  redis.call('HDEL', record(id), 'lease', 'lease_until')
  redis.call('ZREM', K.leases, id)
  -- When a day's tokens are back, the newest go first: who asked a minute ago is still at the desk.
  local turn = until_
  if reason == 'budget' then turn = -tonumber(get(id, 'received_at')) end
  redis.call('ZADD', K.due, turn, id)
end
