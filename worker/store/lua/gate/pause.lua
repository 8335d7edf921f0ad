-- An operator's pause: no delivery starts until somebody resumes. Arguments: reason, by.
local reason, by = args.reason, args.by
redis.call('HSET', K.pause, 'reason', reason, 'since', now, 'by', by)
audit(by, 'pause', 'delivery', reason)
return 1
