-- What a delivery found out about a person, unless the person was erased meanwhile: then nothing is remembered again.
-- Arguments: id (of the submission; absent: nobody's), key, seconds, anew (true: what was there goes), facts.
if args.id and get(args.id, 'state') == 'erased' then return 0 end
if args.anew then redis.call('DEL', args.key) end
for field, value in pairs(args.facts) do redis.call('HSET', args.key, field, value) end
redis.call('EXPIRE', args.key, args.seconds)
return 1
