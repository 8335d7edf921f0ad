-- Creates a bulk action over a fixed list. Replies {1, count}, or {0, count, taken} if the count is not the expected one: `count`
-- are free and in a state that allows the action, `taken` more belong to an unfinished bulk action.
-- Arguments: bulk, action, by, expected, edit (encrypted; may be absent), detail, states, ids.
local bulk, action, by = args.bulk, args.action, args.by

-- Redis does nothing else meanwhile and there may be 100,000 ids, so they are read and written many at a time.
local MAX_IDS_PER_CALL = 1000
local names, is_listed = {}, {}
for _, id in ipairs(args.ids) do
  if not is_listed[id] then names[#names + 1] = id end
  is_listed[id] = true
end

local free, taken = {}, 0
for first = 1, #names, MAX_IDS_PER_CALL do
  local last = math.min(first + MAX_IDS_PER_CALL - 1, #names)
  local allowed = {}
  for _, state in ipairs(args.states) do
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
if #free ~= args.expected then return { 0, #free, taken } end

redis.call('HSET', K.bulk .. bulk, 'action', action, 'by', by, 'at', now, 'count', #free, 'edit', args.edit or '')
for first = 1, #free, MAX_IDS_PER_CALL do
  local places, claims = {}, {}
  for place = first, math.min(first + MAX_IDS_PER_CALL - 1, #free) do
    places[#places + 1], places[#places + 2] = place, free[place]
    claims[#claims + 1], claims[#claims + 2] = free[place], bulk
  end
  redis.call('ZADD', K.bulk .. bulk .. ':left', unpack(places))
  redis.call('HSET', K.bulk_claims, unpack(claims))
end
redis.call('ZADD', K.bulk_actions, now, bulk)
redis.call('ZADD', K.bulk_running, now, bulk)
audit(by, 'bulk ' .. action, bulk, args.detail)
return { 1, #free }
