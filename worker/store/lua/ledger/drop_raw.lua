-- Erases the raw request that a submission shares with others, because it holds somebody who is erased. Arguments: id.
drop_raw(args.id, true)
