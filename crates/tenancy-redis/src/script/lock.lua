-- KEYS[1]: the lock. KEYS[2]: the last fencing number of the scope. ARGV[1]: the holder's token. ARGV[2]: milliseconds.
-- The same token takes it again: who was not told may ask once more.
local holder = redis.call('GET', KEYS[1])
if holder and holder ~= ARGV[1] then return { 0, redis.call('PTTL', KEYS[1]) } end
-- Above the last one, and above all that the clock has given: so it grows where the last one was lost, too.
local time = redis.call('TIME')
local number = math.max(tonumber(redis.call('GET', KEYS[2]) or '0') + 1, time[1] * 1000000 + time[2])
-- A double holds no greater one exactly.
if number >= 9007199254740992 then error('the fencing numbers are used up') end
number = string.format('%.0f', number)
redis.call('SET', KEYS[2], number)
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return { 1, number }
