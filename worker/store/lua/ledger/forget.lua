-- Erased submissions whose time as a receipt is over go altogether; how many there were stays in the books.
-- Arguments: now, since when they are erased at the latest, ids.
local latest, gone = tonumber(ARGV[2]), 0
for i = 3, #ARGV do
  local id = ARGV[i]
  local since = redis.call('ZSCORE', K.state .. 'erased', id)
  if since and tonumber(since) <= latest then
    redis.call('ZREM', K.state .. 'erased', id)
    redis.call('DEL', record(id), record(id) .. ':timeline', record(id) .. ':attempts')
    redis.call('HDEL', K.duplicates, id)
    redis.call('XADD', K.changes, 'MAXLEN', '~', K.max_changes, '*', 'id', id)
    gone = gone + 1
  end
end
if gone > 0 then redis.call('INCRBY', K.forgotten, gone) end
return gone
