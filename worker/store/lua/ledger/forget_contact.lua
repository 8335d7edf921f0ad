-- Removes a cached person or organisation, unless another id was cached meanwhile. Replies 1 or 0.
-- Arguments: key, field (of a person's hash; absent: the key holds the id itself), contact_id.
local cached
if args.field then cached = redis.call('HGET', args.key, args.field) else cached = redis.call('GET', args.key) end
if cached ~= tostring(args.contact_id) then return 0 end
return redis.call('DEL', args.key)
