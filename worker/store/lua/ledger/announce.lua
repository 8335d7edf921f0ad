-- Written down before a create is sent, so that a create with unknown outcome is never repeated blindly. Replies the process's
-- new mark; 0 when the lease is lost, -1 when the store is not the one that this delivery began with: then nothing may be created.
-- Arguments: now, id, token, seconds of lease from here, step, process ('' = keeps no tide), its mark, the server it knows, the
-- horizon that the delivery began under ('' = none).
local id, token, seconds, step = ARGV[2], ARGV[3], tonumber(ARGV[4]), ARGV[5]
local process, mark, known, horizon = ARGV[6], tonumber(ARGV[7]), ARGV[8], ARGV[9]
if get(id, 'state') ~= 'delivering' or get(id, 'lease') ~= token then return 0 end
if process ~= '' then
  if server() ~= known or (redis.call('HGET', K.tide, 'horizon') or '') ~= horizon then return -1 end
  -- Without a mark here it was quiet for so long that the others no longer count on it (tide.lua).
  local standing = tonumber(redis.call('HGET', K.tide_marks, process) or mark)
  if standing < mark then return -1 end
  mark = standing + 1
  redis.call('HSET', K.tide_marks, process, mark)
  redis.call('HINCRBY', K.tide, 'all', 1)
end
redis.call('HSET', record(id), 'lease_until', now + seconds, 'announced', step, 'announced_at', now, 'announced_by', token)
redis.call('ZADD', K.leases, now + seconds, id)
return process == '' and 1 or mark
