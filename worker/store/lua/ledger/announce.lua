-- Written down before a create is sent, so that a create with unknown outcome is never repeated blindly. Replies the process's
-- new create count; 0 when the lease is lost, -1 when the store is not the one that this delivery began with: then nothing may be
-- created.
-- Arguments: now, id, token, seconds of lease from here, step, process ('' = detects no rollback), its create count, the server it
-- knows, the `restored_at` that the delivery began under ('' = none).
local id, token, seconds, step = ARGV[2], ARGV[3], tonumber(ARGV[4]), ARGV[5]
local process, create_count, known_server, restored_at = ARGV[6], tonumber(ARGV[7]), ARGV[8], ARGV[9]
if get(id, 'state') ~= 'delivering' or get(id, 'lease') ~= token then return 0 end
if process ~= '' then
  if server() ~= known_server or (redis.call('HGET', K.rollback, 'restored_at') or '') ~= restored_at then return -1 end
  -- A process without a count here was quiet for so long that the others no longer wait for it (rollback.lua).
  local stored = tonumber(redis.call('HGET', K.rollback_create_counts, process) or create_count)
  if stored < create_count then return -1 end
  create_count = stored + 1
  redis.call('HSET', K.rollback_create_counts, process, create_count)
  redis.call('HINCRBY', K.rollback, 'total', 1)
end
redis.call('HSET', record(id), 'lease_until', now + seconds, 'announced', step, 'announced_at', now, 'announced_by', token)
redis.call('ZADD', K.leases, now + seconds, id)
return process == '' and 1 or create_count
