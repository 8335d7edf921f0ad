-- Evicts what strangers sent until it takes at most `limit` bytes. If that was not enough, replies the oldest delivered ones, at most
-- `count`, whose content has to go too: only their receipts are to stay.
-- Arguments: limit, count, evicted (the counter's text, with %s for the source).
local ids = {}
make_room(0, args.limit, args.evicted)
local excess = tonumber(redis.call('HGET', K.unverified, 'bytes') or 0) - args.limit
if excess <= 0 then return ids end
local first = K.receipt_rank * K.eviction_rank_step
for _, id in ipairs(redis.call('ZRANGEBYSCORE', K.evictable, first, '+inf', 'LIMIT', 0, args.count)) do
  if excess <= 0 then break end
  ids[#ids + 1] = id
  excess = excess - (get(id, 'unverified_bytes') or 0)
end
return ids
