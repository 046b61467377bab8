-- First of all, since it is mostly so: nothing has changed since ARGV[2]. The rest, which is as below, costs as much again.
if redis.call('LINDEX', KEYS[2], 0) == ARGV[2] and redis.call('ZSCORE', KEYS[1], 'hb') then return { 0 } end
