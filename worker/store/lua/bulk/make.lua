-- A new bulk action over a fixed list. Replies {1, how many}, or {0, how many it could have, how many others have} when that is
-- not what was expected: those whose state does not allow it and those of an unfinished bulk action do not count.
-- Arguments: now, bulk, action, by, expected, edit (sealed; '' = none), detail, states (space-separated), then the ids.
local bulk, action, by, expected = ARGV[2], ARGV[3], ARGV[4], tonumber(ARGV[5])
local edit, detail, from = ARGV[6], ARGV[7], ARGV[8]

-- Redis does nothing else meanwhile, and there may be a hundred thousand: they are asked for, and written, many at a time.
local A_CALL = 1000
local names, seen = {}, {}
for i = 9, #ARGV do
  if not seen[ARGV[i]] then names[#names + 1] = ARGV[i] end
  seen[ARGV[i]] = true
end

local free, taken = {}, 0
for first = 1, #names, A_CALL do
  local last = math.min(first + A_CALL - 1, #names)
  local allowed = {}
  for state in string.gmatch(from, '%S+') do
    for place, since in ipairs(redis.call('ZMSCORE', K.state .. state, unpack(names, first, last))) do
      if since then allowed[place] = true end
    end
  end
  for place, holder in ipairs(redis.call('HMGET', K.bulk_claims, unpack(names, first, last))) do
    if allowed[place] then
      if holder then taken = taken + 1 else free[#free + 1] = names[first + place - 1] end
    end
  end
end
if #free ~= expected then return { 0, #free, taken } end

redis.call('HSET', K.bulk .. bulk, 'action', action, 'by', by, 'at', now, 'count', #free, 'edit', edit)
for first = 1, #free, A_CALL do
  local places, claims = {}, {}
  for place = first, math.min(first + A_CALL - 1, #free) do
    places[#places + 1], places[#places + 2] = place, free[place]
    claims[#claims + 1], claims[#claims + 2] = free[place], bulk
  end
  redis.call('ZADD', K.bulk .. bulk .. ':left', unpack(places))
  redis.call('HSET', K.bulk_claims, unpack(claims))
end
redis.call('ZADD', K.bulk_actions, now, bulk)
redis.call('ZADD', K.bulk_running, now, bulk)
audit(by, 'bulk ' .. action, bulk, detail)
return { 1, #free }
