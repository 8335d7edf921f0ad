-- Stores where delivered leads came from, once each; not for a submission that was erased meanwhile.
-- Arguments: rows (id -> row).
for id, row in pairs(args.rows) do
  if get(id, 'state') == 'delivered' then redis.call('HSETNX', K.attribution, id, row) end
end
return 1
