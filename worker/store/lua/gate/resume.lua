-- Ends an operator's pause. A gate that time opens is open; one that must be tried is tried at once, by one submission:
-- a person's wish does not make Pipedrive take calls again. Arguments: by (absent: nobody to name).
redis.call('DEL', K.pause, K.probe)
if redis.call('EXISTS', K.gate) == 1 then redis.call('HSET', K.gate, 'until', now, 'probes', 0) end
if args.by then audit(args.by, 'resume', 'delivery', '') end
return 1
