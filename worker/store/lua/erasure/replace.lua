-- Replaces elements of a key, each only if it still is what was read. Replies how many it replaced.
-- Arguments: key, kind (its type), id (of the submission it belongs to, which is then read again; absent: none), items: lists of old,
-- new, and where it stands: the field of a hash, the index of a list.
local key, kind, replaced = args.key, args.kind, 0
for _, item in ipairs(args.items) do
  local old, new, place = item[1], item[2], item[3]
  local matches = false
  if kind == 'string' then
    matches = redis.call('GET', key) == old
    if matches then redis.call('SET', key, new, 'KEEPTTL') end
  elseif kind == 'hash' then
    matches = redis.call('HGET', key, place) == old
    if matches then redis.call('HSET', key, place, new) end
  elseif kind == 'list' then
    matches = redis.call('LINDEX', key, place) == old
    if matches then redis.call('LSET', key, place, new) end
  elseif kind == 'set' then
    matches = redis.call('SREM', key, old) == 1
    if matches then redis.call('SADD', key, new) end
  elseif kind == 'zset' then
    local score = redis.call('ZSCORE', key, old)
    matches = score and true or false
    if matches then
      redis.call('ZREM', key, old)
      redis.call('ZADD', key, score, new)
    end
  end
  if matches then replaced = replaced + 1 end
end
if args.id and replaced > 0 then redis.call('XADD', K.changes, 'MAXLEN', '~', K.max_changes, '*', 'id', args.id) end
return replaced
