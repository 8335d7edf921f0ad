-- Ends an operator's pause. A gate that time opens is open; one that must be tried is tried at once, by one submission:
-- a person's wish does not make Pipedrive take calls again. Arguments: now, by ('' = nobody to name).
redis.call('DEL', K.pause, K.probe)
if redis.call('EXISTS', K.gate) == 1 then redis.call('HSET', K.gate, 'until', now, 'probes', 0) end
if ARGV[2] ~= '' then audit(ARGV[2], 'resume', 'delivery', '') end
return 1
