-- Removes erased submissions whose time as a receipt is over; only their number is kept. Replies how many it removed.
-- Arguments: since (when they must have been erased at the latest), ids.
local gone = 0
for _, id in ipairs(args.ids) do
  local since = redis.call('ZSCORE', K.state .. 'erased', id)
  if since and tonumber(since) <= args.since then
    redis.call('ZREM', K.state .. 'erased', id)
    redis.call('DEL', record(id), record(id) .. ':timeline', record(id) .. ':attempts')
    redis.call('HDEL', K.duplicates, id)
    redis.call('XADD', K.changes, 'MAXLEN', '~', K.max_changes, '*', 'id', id)
    gone = gone + 1
  end
end
if gone > 0 then redis.call('INCRBY', K.forgotten, gone) end
return gone
