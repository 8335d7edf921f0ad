-- A person decides: retry, accept, discard, undo. Replies {1, new state}, or {0, state, why not} and nothing is changed: `state`
-- does not allow it, the record was `changed` since it was read, or a bulk action is `not-its-turn`.
-- Arguments: now, id, new state ('' = where it was before the discard), states it may come from (space-separated), by, why,
-- lead ('' = unchanged), action for the audit trail ('' = none), its detail, `updated_at` when the record was read ('' = any),
-- bulk action ('' = none), the token of who advances it.
local id, to, from, by, why, lead = ARGV[2], ARGV[3], ARGV[4], ARGV[5], ARGV[6], ARGV[7]
local action, detail, seen, bulk, holder = ARGV[8], ARGV[9], ARGV[10], ARGV[11], ARGV[12]
local state = get(id, 'state')

-- One of a bulk action's goes once, whoever advances it and wherever he was killed; never after a stop.
if bulk ~= '' then
  local mine = redis.call('GET', K.bulk_lock) == holder and redis.call('HEXISTS', K.bulk .. bulk, 'stopped') == 0
  if not mine or not redis.call('ZSCORE', K.bulk .. bulk .. ':left', id) then return { 0, state or '', 'not-its-turn' } end
end
if not state or not string.find(' ' .. from .. ' ', ' ' .. state .. ' ', 1, true) then
  if bulk ~= '' then bulk_drop(bulk, id, 'skipped') end
  return { 0, state or '', 'state' }
end
if seen ~= '' and tonumber(seen) ~= tonumber(get(id, 'updated_at')) then return { 0, state, 'changed' } end
-- Content of a newer version cannot be mended here.
if lead ~= '' and tonumber(get(id, 'v') or 1) > K.version then
  if bulk ~= '' then bulk_drop(bulk, id, 'skipped') end
  return { 0, state, 'newer' }
end
if to == '' then to = get(id, 'discarded_from') or 'dead' end

if lead ~= '' then
  redis.call('HSET', record(id), 'lead', lead, 'edited_by', by)
  redis.call('HDEL', record(id), 'fetch')
  -- Whom the old lead named may be somebody else; our memory knows them if not. One that may have been created is looked for
  -- among theirs first.
  if not get(id, 'lead_id') and get(id, 'announced') ~= 'lead' then redis.call('HDEL', record(id), 'person_id', 'person_created', 'organization_id') end
end
if to == 'discarded' then redis.call('HSET', record(id), 'discarded_from', state) end
if to == 'queued' then
  redis.call('HSET', record(id), 'attempts', 0, 'crashes', 0, 'replayed', 1, 'precedence', 2)
  redis.call('HDEL', record(id), 'cause', 'next_at', 'reason', 'first_attempt_at', 'forgotten')
  remember_duplicates(id, nil)
else
  remember_duplicates(id, K.duplicate_key_seconds)
end
move(id, to, by, why)
-- Thousands may be replayed at once: they wait here for their turn, and not in RQ's queue before those who come meanwhile.
if to == 'queued' then redis.call('ZADD', K.due, due_score(id), id) end
if action ~= '' then audit(by, action, id, detail) end
if bulk ~= '' then
  if to == 'queued' then
    redis.call('ZREM', K.bulk .. bulk .. ':left', id)
    redis.call('ZADD', K.bulk .. bulk .. ':out', now, id)
  else
    bulk_drop(bulk, id, 'done')
  end
end
return { 1, to }
