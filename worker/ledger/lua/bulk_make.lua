-- A new bulk action over a fixed list. Replies {1, how many}, or {0, how many it could have, how many others have} when that is
-- not what was expected: those whose state does not allow it and those of an unfinished bulk action do not count.
-- Arguments: now, bulk, action, by, expected, edit (sealed; '' = none), detail, states (space-separated), then the ids.
local bulk, action, by, expected = ARGV[2], ARGV[3], ARGV[4], tonumber(ARGV[5])
local edit, detail, from = ARGV[6], ARGV[7], ' ' .. ARGV[8] .. ' '
local free, taken, seen = {}, 0, {}
for i = 9, #ARGV do
  local id = ARGV[i]
  local state = get(id, 'state')
  if not seen[id] and state and string.find(from, ' ' .. state .. ' ', 1, true) then
    if redis.call('HEXISTS', K.bulk_claims, id) == 1 then taken = taken + 1 else free[#free + 1] = id end
  end
  seen[id] = true
end
if #free ~= expected then return { 0, #free, taken } end

redis.call('HSET', K.bulk .. bulk, 'action', action, 'by', by, 'at', now, 'count', #free, 'edit', edit)
for place, id in ipairs(free) do
  redis.call('ZADD', K.bulk .. bulk .. ':left', place, id)
  redis.call('HSET', K.bulk_claims, id, bulk)
end
redis.call('ZADD', K.bulks, now, bulk)
redis.call('ZADD', K.bulks_running, now, bulk)
audit(by, 'bulk ' .. action, bulk, detail)
return { 1, #free }
