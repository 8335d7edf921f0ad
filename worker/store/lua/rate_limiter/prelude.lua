-- What the scripts of the rate limiter have in common; spans in `K` are in seconds.
--
-- K.burst and K.search hold a call as `ticket:cost` with the latest moment at which it can have reached the receiver: a good
-- while ahead when it is sent, the answer's time once that is there. Whatever is then sent two seconds later also arrives two
-- seconds later, however long either call is on its way.

local midnight = (math.floor(now / 86400) + 1) * 86400
local day = K.day .. math.floor(now / 86400)

local function exact(seconds) return string.format('%.6f', seconds) end
local function until_(moment) return math.max(1, math.ceil((moment - now) * 1000)) end
local function number(key) return tonumber(redis.call('GET', key) or '') end

-- The day's tokens that are left to us, by our own count where no answer said better.
local function left(tokens) return number(K.left) or math.max(0, tokens - (number(day) or 0)) end
