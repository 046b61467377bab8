-- ARGV[1]: who claims. ARGV[2]: for how many milliseconds. Who has it may claim it again, so that a call may be sent twice.
if redis.call('SET', KEYS[1], ARGV[1], 'NX', 'PX', ARGV[2]) then return 1 end
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return 1
