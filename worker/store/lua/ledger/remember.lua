-- What a delivery found out of a person, unless the person was erased meanwhile: then nothing is remembered again.
-- Arguments: now, submission id ('' = nobody's), key, seconds, whether what was there goes (1/0), then field, value pairs.
local id, key, seconds, anew = ARGV[2], ARGV[3], ARGV[4], ARGV[5] == '1'
if id ~= '' and get(id, 'state') == 'erased' then return 0 end
if anew then redis.call('DEL', key) end
for i = 6, #ARGV, 2 do redis.call('HSET', key, ARGV[i], ARGV[i + 1]) end
redis.call('EXPIRE', key, seconds)
return 1
