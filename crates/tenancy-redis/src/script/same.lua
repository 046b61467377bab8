-- Changes nothing, and is refused by a replica: who was the master once, or never was, must not say that nothing has changed.
redis.call('ZREM', KEYS[1], '-')
-- First of all, since it is mostly so: nothing has changed since ARGV[2]. The rest, which is as below, costs as much again.
if redis.call('LINDEX', KEYS[2], 0) == ARGV[2] and redis.call('ZSCORE', KEYS[1], 'hb') then return { 0 } end
