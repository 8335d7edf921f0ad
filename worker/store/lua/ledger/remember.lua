-- Caches what a delivery found out about a person, unless its submission was erased meanwhile. Replies 1 or 0.
-- Arguments: id (of the submission; absent: none), key, seconds, anew (true: replaces the old entry), facts.
if args.id and get(args.id, 'state') == 'erased' then return 0 end
if args.anew then redis.call('DEL', args.key) end
for field, value in pairs(args.facts) do redis.call('HSET', args.key, field, value) end
redis.call('EXPIRE', args.key, args.seconds)
return 1
