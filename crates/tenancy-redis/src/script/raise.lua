-- ARGV[3]: the scope. ARGV[4]: the channel. ARGV[5]: a for a soft flush, h for a hard one. ARGV[6…]: the cells.
local mode = ARGV[5]
local previous = newest()
local number = new_number(previous)
local told = {}
if previous then
  record(number)
else
  make(number)
  -- A message has one kind, and the base was raised with it.
  mode = 'h'
  told[1] = 'b'
end
for i = 6, #ARGV do
  redis.call('ZADD', v, text(number), mode .. ARGV[i])
  if previous or ARGV[i] ~= 'b' then told[#told + 1] = ARGV[i] end
end
local before = text(previous or 0)
redis.call('PUBLISH', ARGV[4], table.concat({ ARGV[3], before, text(number), mode, table.concat(told, ' ') }, ' '))
return { text(number), before }
