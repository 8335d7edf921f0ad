-- Announces a create before it is sent, so that a create with unknown outcome is never repeated blindly. Replies the process's new
-- create count; 0 if the lease is lost; -1 if the store is not the one that this delivery began with: then nothing may be created.
-- Arguments: id, token, lease_seconds from now, step; if the process detects rollbacks, its name (process), its create_count, the
-- server it knows, and the restored_at when the delivery began ('' if the store never went back).
local id, token, lease_until, process, create_count = args.id, args.token, now + args.lease_seconds, args.process, args.create_count
if get(id, 'state') ~= 'delivering' or get(id, 'lease') ~= token then return 0 end
if process then
  local restored_at = redis.call('HGET', K.rollback, 'restored_at') or ''
  if server() ~= args.server or restored_at ~= args.restored_at then return -1 end
  -- A process without a count here was silent for so long that the others no longer wait for it (rollback.lua).
  local stored = tonumber(redis.call('HGET', K.rollback_create_counts, process) or create_count)
  if stored < create_count then return -1 end
  create_count = stored + 1
  redis.call('HSET', K.rollback_create_counts, process, create_count)
  redis.call('HINCRBY', K.rollback, 'total', 1)
end
redis.call('HSET', record(id), 'lease_until', lease_until, 'announced', args.step, 'announced_at', now, 'announced_by', token)
redis.call('ZADD', K.leases, lease_until, id)
return process and create_count or 1
