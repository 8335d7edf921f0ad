-- Functions that the scripts of the rate limiter share; durations in `K` are in seconds.
--
-- K.burst and K.search hold each call as `ticket:cost` with the latest moment at which it can have reached the receiver: far in the
-- future when it is sent, and the time of its answer once that is there. A call that is sent two seconds after that also arrives
-- at least two seconds later, however long either call is on its way.

local midnight = (math.floor(now / 86400) + 1) * 86400
local day = K.day .. math.floor(now / 86400)

local function exact(seconds) return string.format('%.6f', seconds) end
local function until_(moment) return math.max(1, math.ceil((moment - now) * 1000)) end
local function number(key) return tonumber(redis.call('GET', key) or '') end

-- The tokens that we have left today; by our own count if no answer has stated them.
local function left(tokens) return number(K.left) or math.max(0, tokens - (number(day) or 0)) end
