-- ARGV[2]: up to which number the asker knows everything, or 0.
local seen = ARGV[2]
local last = newest()
if not last then
  last = new_number()
  make(last)
end
if text(last) == seen then return { 0 } end
if seen == '0' then return whole(last) end
if not redis.call('LPOS', n, seen) then return { 3 } end
local levels = redis.call('ZRANGEBYSCORE', v, '(' .. seen, '+inf', 'WITHSCORES')
for i = 1, #levels, 2 do
  -- The other number of the same cell may be older.
  local other = (levels[i]:sub(1, 1) == 'a' and 'h' or 'a') .. levels[i]:sub(2)
  local score = redis.call('ZSCORE', v, other)
  if score then
    levels[#levels + 1] = other
    levels[#levels + 1] = score
  end
end
return { 1, text(last), levels }
