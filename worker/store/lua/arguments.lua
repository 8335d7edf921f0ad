-- Every script starts with `K`, the keys and numbers that Python passes in, and then this text.
-- ARGV[1] is the time in Unix seconds; if it is empty, Redis's time is used, so that all workers share one clock.
-- ARGV[2] is a map in MessagePack: the script's arguments by name. An absent argument is nil.

local function clock()
  if ARGV[1] ~= '' then return tonumber(ARGV[1]) end
  local t = redis.call('TIME')
  return tonumber(t[1]) + tonumber(t[2]) / 1000000
end

local now = clock()
local args = cmsgpack.unpack(ARGV[2])

