-- Replies whether an address may post now: 0, or the milliseconds until it may.
-- KEYS[1] holds the time (ms) at which its allowance is full again.
-- ARGV: the interval between two requests (ms), the period of the limit (ms).

-- All processes use the clock of Redis. If that clock is set back, an address must not be locked out
-- for longer than the period, hence the `min`.
local now = redis.call('TIME')
now = now[1] * 1000 + now[2] / 1000
local interval, period = tonumber(ARGV[1]), tonumber(ARGV[2])
local full = math.min(tonumber(redis.call('GET', KEYS[1]) or '0'), now + period)
local next_full = math.max(full, now) + interval
local wait = next_full - now - period
if wait > 0.5 then return math.ceil(wait) end
redis.call('SET', KEYS[1], string.format('%.3f', next_full), 'PX', math.ceil(next_full - now) + 1)
return 0
