-- One of a bulk action's that could not be tried: its outcome. Arguments: now, bulk, id, the token of who advances it.
local bulk, id, holder = ARGV[2], ARGV[3], ARGV[4]
if redis.call('GET', K.bulk_lock) ~= holder then return 0 end
if not redis.call('ZSCORE', K.bulk .. bulk .. ':left', id) then return 0 end
bulk_drop(bulk, id, 'skipped')
return 1
