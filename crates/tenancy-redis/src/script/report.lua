-- KEYS[1]: hash, process and what it told, after the second until which that is kept. ARGV[1]: the process. ARGV[2]: for how many
-- seconds. ARGV[3]: what it tells.
local reports = KEYS[1]
local now = tonumber(redis.call('TIME')[1])
local all = redis.call('HGETALL', reports)
for i = 1, #all, 2 do
  if tonumber(all[i + 1]:match('^%d+') or '0') <= now then redis.call('HDEL', reports, all[i]) end
end
redis.call('HSET', reports, ARGV[1], string.format('%.0f', now + ARGV[2]) .. ' ' .. ARGV[3])
redis.call('EXPIRE', reports, ARGV[2])
return 1
