-- Ends an operator's pause. A gate that is closed for a time opens; one that must be probed is probed at once by one submission,
-- because a person's wish does not make Pipedrive take calls again. Arguments: by (absent: no entry in the audit trail).
redis.call('DEL', K.pause, K.probe)
if redis.call('EXISTS', K.gate) == 1 then redis.call('HSET', K.gate, 'until', now, 'probes', 0) end
if args.by then audit(args.by, 'resume', 'delivery', '') end
return 1
