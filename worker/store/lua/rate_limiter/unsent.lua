-- A call that was allowed is not sent after all: its place and its tokens are given back.
-- Arguments: member, cost.
local member, cost = args.member, args.cost
redis.call('ZREM', K.search, member)
if redis.call('ZREM', K.burst, member) == 0 then return 0 end
for _, key in ipairs({ day, K.left }) do
  if redis.call('EXISTS', key) == 1 then redis.call('INCRBY', key, key == day and -cost or cost) end
end
return 1
