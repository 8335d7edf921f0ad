-- Removes erased submissions whose time as a receipt is over; only their number is kept. Replies how many it removed.
-- Arguments: since (when they must have been erased at the latest), ids.
local gone = 0
for _, id in ipairs(args.ids) do
  local since = redis.call('ZSCORE', K.state .. 'erased', id)
  if since and tonumber(since) <= args.since then
    remove(id)
    gone = gone + 1
  end
end
return gone
