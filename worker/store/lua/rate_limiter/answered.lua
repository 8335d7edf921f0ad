-- Records the end of a call, with or without an answer. The receiver's counts correct ours where ours must be wrong.
-- Arguments: member, granted (absent: unknown), answered and accepted (with success; true/false), search (true/false), tokens (a
-- day), fixed (true/false), beyond (true: the call went although no tokens were left); if the answer has them, its x-ratelimit-limit
-- and -remaining (limit, remaining), the daily tokens left (tokens_left), the seconds for which nothing may be sent (closed), and the
-- seconds until the day's tokens may be asked for again (spent).
local member, granted, search = args.member, args.granted or now, args.search
local limit, remaining, tokens_left, closed, tokens = args.limit, args.remaining, args.tokens_left, args.closed, args.tokens
local took = math.max(0, now - granted)

-- We take the way back to be at least half of the quickest recent exchange, so the call arrived that much earlier.
local arrived = now
if args.answered then
  local minute = math.floor(now / 60)
  local quickest, before = number(K.fastest .. minute), number(K.fastest .. (minute - 1))
  if not quickest or took < quickest then redis.call('SET', K.fastest .. minute, exact(took), 'EX', 180) end
  if quickest and before then arrived = math.max(granted, now - math.min(quickest, before, took) / 2) end
end
redis.call('ZADD', K.burst, 'XX', exact(arrived), member)
if search then redis.call('ZADD', K.search, 'XX', exact(arrived), member) end
if closed then redis.call('SET', K.closed, exact(now + closed), 'PX', until_(now + closed)) end
if args.spent then
  redis.call('SET', K.left, 0, 'PX', until_(midnight))
  redis.call('SET', K.ask, exact(now + args.spent), 'PX', until_(now + args.spent + K.ask_again))
elseif args.accepted and args.beyond then
  -- There are tokens again. Where the answer does not say how many, they count as a new day's.
  redis.call('DEL', K.left, K.ask)
  if not args.fixed then redis.call('DEL', day) end
end
if took > K.kept - K.window then return 0 end

-- Count our calls that can be in the receiver's window at this answer, and the tokens that it may not have charged by then.
local ours, uncharged = 0, 0
local entries = redis.call('ZRANGEBYSCORE', K.burst, '(' .. exact(granted - K.window), '+inf', 'WITHSCORES')
for i = 1, #entries, 2 do
  ours = ours + 1
  if entries[i] ~= member and tonumber(entries[i + 1]) >= granted then
    uncharged = uncharged + tonumber(string.match(entries[i], ':(%d+)$'))
  end
end

-- A search's answer may be about the window of searches. Calls that others send with the same token take places too.
if limit and limit >= 1 and not search then
  redis.call('SET', K.limit, limit, 'EX', 3600)
  for i = 1, math.min(limit, limit - (remaining or limit)) - ours do
    redis.call('ZADD', K.burst, exact(arrived), 'other' .. exact(now) .. '-' .. i .. ':0')
  end
end

if tokens_left then
  local stored, least = left(tokens), math.max(0, tokens_left - uncharged)
  if stored < least or stored > tokens_left then
    if args.fixed then least = math.min(least, math.max(0, tokens - (number(day) or 0))) end
    redis.call('SET', K.left, least, 'PX', until_(midnight))
  end
end
return 1
