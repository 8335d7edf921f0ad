-- Gives back the place and the tokens of a call that was allowed but is not sent.
-- Arguments: member, cost.
local member, cost = args.member, args.cost
redis.call('ZREM', K.search, member)
if redis.call('ZREM', K.burst, member) == 0 then return 0 end
for _, key in ipairs({ day, K.left }) do
  if redis.call('EXISTS', key) == 1 then redis.call('INCRBY', key, key == day and -cost or cost) end
end
return 1
