-- Erases a submission's content for good. Replies 1, or 0 if there is nothing to erase.
-- Arguments: id, by, why, state (that it must be in; absent: any), since (when it must have entered that state at the latest;
-- absent: any time), mark (of the person to erase; absent: its retention is over), by_mark (true: erase it only if it is older than
-- the mark, in the name of whoever set the mark), memories (keys of the cached contacts to remove).
local id, by, mark = args.id, args.by, args.mark

-- The receipt, what is needed to recognise a redelivery, and the ids in Pipedrive, for whoever removes those records by hand. With
-- its lease and announcement, a create that is on its way can still record what it made (learn.lua).
local RETAINED_FIELDS = {
  v = 1, source = 1, state = 1, accepted_as = 1, received_at = 1, updated_at = 1, attempts = 1, crashes = 1, result = 1,
  duplicate_key = 1, duplicate_kind = 1, duplicate_of = 1, verified = 1, person_id = 1, organization_id = 1, lead_id = 1, note_id = 1,
  lease = 1, announced = 1, announced_at = 1, announced_by = 1,
}

local state = get(id, 'state')
if not state or state == 'erased' or (args.state and state ~= args.state) then return 0 end
if args.since and tonumber(get(id, 'updated_at')) > args.since then return 0 end
if args.by_mark then
  local request = redis.call('HMGET', mark, 'before', 'by')
  if not request[1] or tonumber(get(id, 'received_at')) > tonumber(request[1]) then return 0 end
  by = request[2] or by
end

-- Record the ids at the mark before the contact is removed, so that they are also listed if the erasure is repeated after a crash.
for _, memory in ipairs(args.memories or {}) do
  local ids = redis.call('HMGET', memory, 'person_id', 'lead_id')
  if ids[1] then redis.call('HSET', mark, 'person:' .. ids[1], '') end
  if ids[2] then redis.call('HSET', mark, 'lead:' .. ids[2], '') end
  redis.call('DEL', memory)
end
if mark then redis.call('HSET', mark, 'submission:' .. id, '') end

-- Figures about campaigns outlive the retention, because they say nothing of a person; but what leads to an erased person goes.
if mark then
  for _, key in ipairs({ K.attribution, K.outcomes, K.outcomes_next }) do redis.call('HDEL', key, id) end
end

leave_person_queues(id)
redis.call('ZREM', K.due, id)
redis.call('ZREM', K.leases, id)
redis.call('ZREM', K.outage, id)
if redis.call('GET', K.probe) == id then redis.call('DEL', K.probe) end

release(id, mark)
local content = {}
for _, field in ipairs(redis.call('HKEYS', record(id))) do
  if not RETAINED_FIELDS[field] then content[#content + 1] = field end
end
if #content > 0 then redis.call('HDEL', record(id), unpack(content)) end
redis.call('DEL', record(id) .. ':attempts')

-- Reasons may quote what was sent, so they go; what happened when, and who did it, stays.
local timeline = record(id) .. ':timeline'
local moments = redis.call('LRANGE', timeline, 0, -1)
for place, text in ipairs(moments) do
  local moment = cjson.decode(text)
  moment.why = nil
  moments[place] = cjson.encode(moment)
end
redis.call('DEL', timeline)
if #moments > 0 then redis.call('RPUSH', timeline, unpack(moments)) end
move(id, 'erased', by, args.why)

-- A key that already expires keeps its time.
local key = get(id, 'duplicate_key')
if key and redis.call('TTL', key) == -1 then remember_duplicates(id, K.duplicate_key_seconds) end
return 1
