-- A person's decision: retry, accept, discard, undo. Replies {1, new state}, or {0, state, why not} and changes nothing but a bulk
-- action's counts: the `state` does not allow it, the record has `changed` since it was read, its content is of a `newer` version,
-- or it is `not-its-turn` in a bulk action.
-- Arguments: id, to (absent: the state before the discard), from (states it may come from), by, why, lead (absent: unchanged),
-- action and detail for the audit trail (absent: no entry), if_updated_at (absent: not checked), bulk (absent: none) and holder
-- (token of the process that advances it).
local id, to, by, lead, bulk = args.id, args.to, args.by, args.lead, args.bulk
local state = get(id, 'state')

-- A submission of a bulk action goes only once, whoever advances the action and wherever it was killed; never after a stop.
if bulk then
  local mine = redis.call('GET', K.bulk_lock) == args.holder and redis.call('HEXISTS', K.bulk .. bulk, 'stopped') == 0
  if not mine or not redis.call('ZSCORE', K.bulk .. bulk .. ':left', id) then return { 0, state or '', 'not-its-turn' } end
end
local allowed = false
for _, from in ipairs(args.from) do allowed = allowed or from == state end
if not allowed then
  if bulk then bulk_drop(bulk, id, 'skipped') end
  return { 0, state or '', 'state' }
end
if args.if_updated_at and args.if_updated_at ~= tonumber(get(id, 'updated_at')) then return { 0, state, 'changed' } end
-- Content of a newer version cannot be edited here.
if lead and tonumber(get(id, 'v') or 1) > K.version then
  if bulk then bulk_drop(bulk, id, 'skipped') end
  return { 0, state, 'newer' }
end
if not to then to = get(id, 'discarded_from') or 'dead' end
check_move(id, state, to)

if lead then
  redis.call('HSET', record(id), 'lead', lead, 'edited_by', by)
  redis.call('HDEL', record(id), 'fetch')
  -- The old lead may have named somebody else; if not, our cache still knows the person. A lead that may already be created is
  -- first looked for among the old person's leads.
  if not get(id, 'lead_id') and get(id, 'announced') ~= 'lead' then redis.call('HDEL', record(id), 'person_id', 'person_created', 'organization_id') end
end
if to == 'discarded' then redis.call('HSET', record(id), 'discarded_from', state) end
if to == 'queued' then
  redis.call('HSET', record(id), 'attempts', 0, 'crashes', 0, 'replayed', 1, 'precedence', K.backfill)
  redis.call('HDEL', record(id), 'cause', 'next_at', 'reason', 'first_attempt_at', 'refused')
  remember_duplicates(id, nil)
else
  remember_duplicates(id, K.duplicate_key_seconds)
end
move(id, to, by, args.why)
-- Thousands may be replayed at once: they wait here, and not in RQ's queue ahead of submissions that come meanwhile.
if to == 'queued' then redis.call('ZADD', K.due, due_score(id), id) end
if args.action then audit(by, args.action, id, args.detail) end
if bulk then
  if to == 'queued' then
    redis.call('ZREM', K.bulk .. bulk .. ':left', id)
    redis.call('ZADD', K.bulk .. bulk .. ':out', now, id)
  else
    bulk_drop(bulk, id, 'done')
  end
end
return { 1, to }
