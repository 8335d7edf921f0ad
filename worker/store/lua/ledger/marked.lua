-- Replies which of these erasure marks are set, and when they were: {mark, before, …}. Arguments: marks.
local reply = {}
for _, mark in ipairs(args.marks) do
  local before = redis.call('HGET', mark, 'before')
  if before then
    reply[#reply + 1] = mark
    reply[#reply + 1] = before
  end
end
return reply
