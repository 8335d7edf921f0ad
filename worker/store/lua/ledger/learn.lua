-- A step is done: its fields are written and its announcement ends. A fact is kept even when the lease was lost since,
-- as long as the announcement is still this worker's; 0 means somebody else went on with the step. 2: it is written, and
-- the submission was erased meanwhile; nothing more may be done for it.
-- Arguments: now, id, token, step ('' for facts that were not announced), then field, value pairs.
local id, token, step = ARGV[2], ARGV[3], ARGV[4]
if step ~= '' then
  if get(id, 'announced') ~= step or get(id, 'announced_by') ~= token then return 0 end
elseif get(id, 'lease') ~= token then
  return 0
end
for i = 5, #ARGV, 2 do
  if ARGV[i + 1] == '' then redis.call('HDEL', record(id), ARGV[i])
  else redis.call('HSET', record(id), ARGV[i], ARGV[i + 1]) end
end
if step ~= '' then redis.call('HDEL', record(id), 'announced', 'announced_at', 'announced_by') end
return get(id, 'state') == 'erased' and 2 or 1
