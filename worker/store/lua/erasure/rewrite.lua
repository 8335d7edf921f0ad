-- Writes a stream anew with other texts in some entries: their ids stay, which a stream allows only in a copy. Copies at most `limit`
-- entries and is called until it replies 1: then the copy has replaced the stream, with all that was added meanwhile.
-- Arguments: key, copy (the key of the copy), begin (true: a copy that an earlier attempt left is removed), limit, texts (entry id ->
-- its fields and values).
if args.begin then redis.call('DEL', args.copy) end
local last = redis.call('XREVRANGE', args.copy, '+', '-', 'COUNT', 1)[1]
local entries = redis.call('XRANGE', args.key, last and '(' .. last[1] or '-', '+', 'COUNT', args.limit)
for _, entry in ipairs(entries) do
  redis.call('XADD', args.copy, entry[1], unpack(args.texts[entry[1]] or entry[2]))
end
if #entries == args.limit then return 0 end
redis.call('RENAME', args.copy, args.key)
return 1
