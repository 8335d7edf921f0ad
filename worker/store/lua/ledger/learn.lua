-- Writes the facts of a finished step and ends its announcement. The facts are kept even if the lease was lost since, as long as
-- the announcement is still this worker's. Replies 1; 0 if another worker went on with the step; 2 if the facts are written but the
-- submission was erased meanwhile: nothing more may be done for it.
-- Arguments: id, token, step (absent: the facts were not announced), facts (an empty value removes its field).
local id, token, step = args.id, args.token, args.step
if step then
  if get(id, 'announced') ~= step or get(id, 'announced_by') ~= token then return 0 end
elseif get(id, 'lease') ~= token then
  return 0
end
write(id, args.facts)
if step then redis.call('HDEL', record(id), 'announced', 'announced_at', 'announced_by') end
return get(id, 'state') == 'erased' and 2 or 1
