-- Takes a batch: records each submission unless it is known. One reply per submission: {id, state, duplicate, conflict}.
-- Arguments after the time: whether these come out of a spool (1/0), then for each submission 17 texts, in the order read below.
-- What was spooled was acknowledged, so it always gets a record: a twin of an earlier one points to it, and one that reuses
-- a key with another body is kept under key and body together, so that its own twins point to it.

local spooled = ARGV[2] == '1'
local replies = {}
local i = 3
while i <= #ARGV do
  local id, source, state, received_at = ARGV[i], ARGV[i + 1], ARGV[i + 2], ARGV[i + 3]
  local lead, raw, cause, why = ARGV[i + 4], ARGV[i + 5], ARGV[i + 6], ARGV[i + 7]
  local key, kind, fingerprint, window = ARGV[i + 8], ARGV[i + 9], ARGV[i + 10], ARGV[i + 11]
  local accepted, also, duplicate, fetch = ARGV[i + 12], ARGV[i + 13], ARGV[i + 14], ARGV[i + 15]
  local precedence = ARGV[i + 16]
  i = i + 17

  local first, first_id, first_print = false, '', ''
  if key ~= '' then first = redis.call('GET', key) end
  if first then first_id, first_print = string.match(first, '^(%S+) (%S+)$') end
  local conflict = first and kind == 'key' and first_print ~= fingerprint
  if spooled and conflict then
    key, conflict = key .. ':' .. fingerprint, false
    first = redis.call('GET', key)
    if first then first_id = string.match(first, '^%S+') end
  end

  if redis.call('EXISTS', record(id)) == 1 then
    -- The same hand-over again, after a reply that got lost.
    replies[#replies + 1] = { id, get(id, 'accepted_as'), 0, 0 }
  elseif conflict then
    replies[#replies + 1] = { first_id, '', 0, 1 }
  elseif first then
    count(duplicate)
    if spooled then
      redis.call('HSET', record(id), 'v', K.version, 'source', source, 'accepted_as', state, 'received_at', received_at,
        'attempts', 0, 'crashes', 0, 'duplicate_of', first_id, 'duplicate_key', '', 'duplicate_kind', '')
      move(id, 'ignored', 'intake', 'duplicate of ' .. first_id)
      count(accepted)
    end
    replies[#replies + 1] = { first_id, get(first_id, 'accepted_as') or 'queued', 1, 0 }
  else
    if key ~= '' then
      if window ~= '' then redis.call('SET', key, id .. ' ' .. fingerprint, 'PX', window)
      else redis.call('SET', key, id .. ' ' .. fingerprint) end
    end
    redis.call('HSET', record(id), 'v', K.version, 'source', source, 'accepted_as', state, 'received_at', received_at,
      'lead', lead, 'raw', raw, 'attempts', 0, 'crashes', 0, 'duplicate_key', key, 'duplicate_kind', kind,
      'precedence', precedence)
    if cause ~= '' then redis.call('HSET', record(id), 'cause', cause) end
    if fetch ~= '' then redis.call('HSET', record(id), 'fetch', fetch) end
    move(id, state, 'intake', why)
    if state == 'queued' and precedence == '2' then redis.call('ZADD', K.due, due_score(id), id) end
    count(accepted)
    count(also)
    if state ~= 'queued' then remember_duplicates(id, K.duplicate_key_seconds) end
    replies[#replies + 1] = { id, state, 0, 0 }
  end
end
return replies
