-- A person decides: retry, accept, discard, undo. Replies {1, new state} or {0, state} when the state does not allow it.
-- Arguments: now, id, new state ('' = where it was before the discard), states it may come from (space-separated), by, why,
-- lead ('' = unchanged).
local id, to, from, by, why, lead = ARGV[2], ARGV[3], ARGV[4], ARGV[5], ARGV[6], ARGV[7]
local state = get(id, 'state')
if not state or not string.find(' ' .. from .. ' ', ' ' .. state .. ' ', 1, true) then return { 0, state or '' } end
if to == '' then to = get(id, 'discarded_from') or 'dead' end

if lead ~= '' then
  redis.call('HSET', record(id), 'lead', lead, 'edited_by', by)
  redis.call('HDEL', record(id), 'fetch')
  -- Whom the old lead named may be somebody else; our memory knows them if not.
  if not get(id, 'lead_id') then redis.call('HDEL', record(id), 'person_id', 'person_created', 'organization_id') end
end
if to == 'discarded' then redis.call('HSET', record(id), 'discarded_from', state) end
if to == 'queued' then
  redis.call('HSET', record(id), 'attempts', 0, 'crashes', 0, 'replayed', 1)
  redis.call('HDEL', record(id), 'cause', 'next_at', 'reason', 'first_attempt_at', 'forgotten')
  remember_duplicates(id, nil)
else
  remember_duplicates(id, K.remember)
end
move(id, to, by, why)
return { 1, to }
