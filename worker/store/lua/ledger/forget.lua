-- Erased submissions whose time as a receipt is over go altogether; how many there were stays in the books.
-- Arguments: now, since when they are erased at the latest, the key of that number, the key of the doubles, ids.
local latest, number, doubles, gone = tonumber(ARGV[2]), ARGV[3], ARGV[4], 0
for i = 5, #ARGV do
  local id = ARGV[i]
  local since = redis.call('ZSCORE', K.state .. 'erased', id)
  if since and tonumber(since) <= latest then
    redis.call('ZREM', K.state .. 'erased', id)
    redis.call('DEL', record(id), record(id) .. ':timeline', record(id) .. ':attempts')
    redis.call('HDEL', doubles, id)
    redis.call('XADD', K.changes, 'MAXLEN', '~', K.changes_kept, '*', 'id', id)
    gone = gone + 1
  end
end
if gone > 0 then redis.call('INCRBY', number, gone) end
return gone
