-- Which of these marks of erasure are set, and when that was: {mark, before, …}. Arguments: marks.
local found = {}
for _, mark in ipairs(args.marks) do
  local before = redis.call('HGET', mark, 'before')
  if before then
    found[#found + 1] = mark
    found[#found + 1] = before
  end
end
return found
