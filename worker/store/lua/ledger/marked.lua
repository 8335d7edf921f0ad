-- Which of these marks of erasure are set, and when they were: {mark, before, …}. Arguments: now, marks.
local found = {}
for i = 2, #ARGV do
  local before = redis.call('HGET', ARGV[i], 'before')
  if before then
    found[#found + 1] = ARGV[i]
    found[#found + 1] = before
  end
end
return found
