-- Replies {0, 0} if events may come in now; else the milliseconds until one may, and the number of the limit that says so. Either all
-- limits count the events, or none does.
-- KEYS: for each limit, the time (ms) at which its allowance is full again, and when that was written.
-- ARGV: the number of events; 1 if they have come in already, and only have to be counted; then for each limit the interval between two
-- events, the period, and the longest debt that counting may leave (all in ms).

local now = redis.call('TIME')
now = now[1] * 1000 + now[2] / 1000
local count, is_counted_only = tonumber(ARGV[1]), ARGV[2] == '1'
local moved, worst, number = {}, 0.5, 0
for i, key in ipairs(KEYS) do
  local interval, period, debt = tonumber(ARGV[3 * i]), tonumber(ARGV[3 * i + 1]), tonumber(ARGV[3 * i + 2])
  local full, written = string.match(redis.call('GET', key) or '0', '^(%S+) ?(%S*)$')
  full, written = tonumber(full), tonumber(written) or now
  -- All processes use the clock of Redis. If it was set back, nobody must be locked out for longer.
  if written > now then full = full - (written - now) end
  if full > now + period + debt then full = now + period end
  moved[i] = math.max(full, now) + count * interval
  local wait = moved[i] - now - period
  if is_counted_only then moved[i] = math.min(moved[i], now + period + debt)
  elseif wait > worst then worst, number = wait, i end
end
if number > 0 then return { math.ceil(worst), number } end
for i, key in ipairs(KEYS) do
  redis.call('SET', key, string.format('%.3f %.3f', moved[i], now), 'PX', math.ceil(moved[i] - now) + 1)
end
return { 0, 0 }
