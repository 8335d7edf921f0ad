-- An operator's pause: no delivery starts until it is resumed. Arguments: now, reason, by.
local reason, by = ARGV[2], ARGV[3]
redis.call('HSET', K.pause, 'reason', reason, 'since', now, 'by', by)
audit(by, 'pause', 'delivery', reason)
return 1
