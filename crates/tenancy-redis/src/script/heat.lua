-- KEYS[1]: sorted set, scope and how much it is used. KEYS[2]: when that was halved last, in seconds. ARGV[1]: how many are kept.
-- ARGV[2…]: scope, and its new uses; and so on.
local heat, cooled = KEYS[1], KEYS[2]
local now = tonumber(redis.call('TIME')[1])
local before = tonumber(redis.call('GET', cooled) or now)
local age = now - before
if age >= 3600 and redis.call('EXISTS', heat) == 1 then
  -- Halved in a day.
  redis.call('ZUNIONSTORE', heat, 1, heat, 'WEIGHTS', string.format('%.17g', 0.5 ^ (age / 86400)))
end
if age >= 3600 or age <= 0 then redis.call('SET', cooled, string.format('%.0f', now), 'EX', 2592000) end
for i = 2, #ARGV, 2 do redis.call('ZINCRBY', heat, ARGV[i + 1], ARGV[i]) end
redis.call('ZREMRANGEBYRANK', heat, 0, -tonumber(ARGV[1]) - 1)
redis.call('EXPIRE', heat, 2592000)
return 1
