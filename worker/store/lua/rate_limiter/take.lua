-- Decides whether a call may go. Replies {'go', granted, beyond} (1: it asks whether there are tokens again), {'wait', seconds,
-- until, place} (keep the place and ask again then), {'burst', until} (it would take too long), {'budget', until}, {'reserved', until}
-- or {'gated', until, reason}; times are Unix seconds.
-- Arguments: member (ticket:cost), cost, search (true/false), class (0 goes before 1), place (absent at first), patience (seconds),
-- calls and searches (per window), tokens (per day), fixed (true: never spend more than these), id (of the submission; absent:
-- none), reserve (tokens that this call must leave; absent: none).
local member, cost, search, place, calls, searches = args.member, args.cost, args.search, args.place, args.calls, args.searches

-- Gives up the place among the waiting calls.
local function give_up()
  if place then redis.call('ZREM', K.waiting, place) end
end

-- A delivery that began before the gate closed need not meet the same error: only the gate's probe may call.
local gate = redis.call('HMGET', K.gate, 'mode', 'until', 'reason')
if args.id and gate[1] == 'probe' and redis.call('GET', K.probe) ~= args.id then
  give_up()
  return { 'gated', gate[2], gate[3] }
end

local tokens_left, uncounted = left(args.tokens), math.max(0, args.tokens - (number(day) or 0))
if args.fixed then tokens_left = math.min(tokens_left, uncounted) end
local is_probe = args.id and redis.call('GET', K.probe) == args.id
local beyond = tokens_left < cost
if not beyond and args.reserve and tokens_left - cost < args.reserve and not is_probe then
  give_up()
  return { 'reserved', exact(math.min(midnight, now + K.ask_again)) }
end
if beyond then
  -- Tokens can be bought, and the receiver's day may end at another hour than ours: one call asks for them, whatever our count, when
  -- the receiver said that it will have some, or else once an hour; so does the gate's probe. A share that a person set is kept to.
  local share_spent = args.fixed and uncounted < cost
  local ask_at = share_spent and midnight or number(K.ask)
  if not ask_at then
    ask_at = now + K.ask_again
    redis.call('SET', K.ask, exact(ask_at), 'PX', until_(ask_at + K.ask_again))
  end
  if ask_at > now and (share_spent or not is_probe) then
    give_up()
    return { 'budget', exact(math.min(midnight, ask_at)) }
  end
end

-- A clock that was set back leaves times too far in the future: those calls count as just arrived.
local function held(key)
  redis.call('ZREMRANGEBYSCORE', key, '-inf', exact(now - K.kept))
  for _, odd in ipairs(redis.call('ZRANGEBYSCORE', key, exact(now + K.unanswered + 1), '+inf')) do
    redis.call('ZADD', key, now, odd)
  end
  return redis.call('ZCOUNT', key, '(' .. exact(now - K.window), '+inf')
end

-- Drop waiting calls that have not asked again in time. A place sorts by class, then by the time of its first request.
redis.call('ZREMRANGEBYSCORE', K.waiting, '-inf', exact(now))
redis.call('ZREMRANGEBYSCORE', K.waiting, exact(now + 60), '+inf')
if not place then place = args.class .. string.format('%017.6f', now) .. (search and 's' or 'c') .. member end
local since = tonumber(string.sub(place, 2, 18))
local calls_ahead, searches_ahead = 0, 0
for _, other in ipairs(redis.call('ZRANGE', K.waiting, 0, -1)) do
  if other < place then
    if string.sub(other, 19, 19) == 's' then searches_ahead = searches_ahead + 1 else calls_ahead = calls_ahead + 1 end
  end
end

calls = math.min(calls, number(K.limit) or calls)
local held_calls, held_searches = held(K.burst), held(K.search)
-- Searches that cannot go yet do not hold up other calls.
local ahead = calls_ahead + (search and searches_ahead or math.max(0, math.min(searches_ahead, searches - held_searches)))
local closed = number(K.closed) or 0
if closed > now + K.closed_most then closed = 0 end

if closed <= now and held_calls + ahead < calls and (not search or held_searches + searches_ahead < searches) then
  give_up()
  for _, key in ipairs(search and { K.burst, K.search } or { K.burst }) do
    redis.call('ZADD', key, exact(now + K.unanswered), member)
    redis.call('EXPIRE', key, 60)
  end
  redis.call('INCRBY', day, cost)
  redis.call('EXPIRE', day, 172800)
  local lasts = redis.call('PTTL', K.left)
  redis.call('SET', K.left, math.max(0, tokens_left - cost), 'PX', lasts > 0 and lasts or until_(midnight))
  if beyond then redis.call('SET', K.ask, exact(now + K.ask_again), 'PX', until_(now + 2 * K.ask_again)) end
  return { 'go', exact(now), beyond and 1 or 0 }
end

-- When enough places are free for the calls ahead and this one; a call without an answer frees its place in a window at best.
local function opens(key, limit, taken, before)
  local excess = taken + before - limit
  if excess < 0 then return now end
  local oldest = redis.call('ZRANGEBYSCORE', key, '(' .. exact(now - K.window), '+inf', 'WITHSCORES', 'LIMIT', excess % limit, 1)
  return math.min(tonumber(oldest[2] or now), now) + K.window * (1 + math.floor(excess / limit))
end

local free = math.max(closed, opens(K.burst, calls, held_calls, ahead))
if search then free = math.max(free, opens(K.search, searches, held_searches, searches_ahead)) end
if free - since > args.patience then
  give_up()
  return { 'burst', exact(free) }
end
-- It asks again within a window at the latest, because calls ahead may give up.
local again = math.min(free, now + K.window)
redis.call('ZADD', K.waiting, exact(again + K.grace), place)
redis.call('EXPIRE', K.waiting, 60)
return { 'wait', exact(again - now), exact(free), place }
