-- Records a submission as skipped that a bulk action could not try. Arguments: bulk, id, holder (token of the process that
-- advances the action).
local bulk, id, holder = args.bulk, args.id, args.holder
if redis.call('GET', K.bulk_lock) ~= holder then return 0 end
if not redis.call('ZSCORE', K.bulk .. bulk .. ':left', id) then return 0 end
bulk_drop(bulk, id, 'skipped')
return 1
