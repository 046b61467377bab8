-- KEYS[1]: the counter. ARGV[1]: what is added. ARGV[2]: after how many milliseconds a new one ends, 0 for never. ARGV[3]: the most
-- that it may come to, or nothing. Replies whether it was added, what the counter is at, and for how long; -1 for ever, -2: there is none.
-- Values stay text: Lua's numbers are doubles.
local most = tonumber(ARGV[3])
if most then
  local present = redis.call('GET', KEYS[1]) or '0'
  if tonumber(present) + tonumber(ARGV[1]) > most then
    -- One that lasts for ever would refuse for ever.
    if ARGV[2] ~= '0' and redis.call('PTTL', KEYS[1]) == -1 then
      redis.call('PEXPIRE', KEYS[1], ARGV[2])
    end
    return { 0, present, redis.call('PTTL', KEYS[1]) }
  end
end
redis.call('INCRBY', KEYS[1], ARGV[1])
local left = redis.call('PTTL', KEYS[1])
if left < 0 and ARGV[2] ~= '0' then
  redis.call('PEXPIRE', KEYS[1], ARGV[2])
  left = redis.call('PTTL', KEYS[1])
end
return { 1, redis.call('GET', KEYS[1]), left }
