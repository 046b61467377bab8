-- ARGV[3]: the scope. ARGV[4]: the channel. ARGV[5…]: cell, number of its last flush, number of its last hard flush; and so on.
local last = newest()
if not last then
  last = new_number()
  make(last)
end
local lifted, mode = {}, 'a'
for i = 5, #ARGV, 3 do
  local cell, any, hard = ARGV[i], tonumber(ARGV[i + 1]), tonumber(ARGV[i + 2])
  local here_hard = tonumber(redis.call('ZSCORE', v, 'h' .. cell) or '0')
  local here = math.max(here_hard, tonumber(redis.call('ZSCORE', v, 'a' .. cell) or '0'))
  if any > here or hard > here_hard then lifted[#lifted + 1] = cell end
  if hard > here_hard then mode = 'h' end
end
if #lifted > 0 then
  local number = new_number(last)
  record(number)
  -- One kind for all, since it must be one message: who heard half of a number would take it for the whole.
  for _, cell in ipairs(lifted) do redis.call('ZADD', v, text(number), mode .. cell) end
  redis.call('PUBLISH', ARGV[4], table.concat({ ARGV[3], text(last), text(number), mode, table.concat(lifted, ' ') }, ' '))
  last = number
end
return whole(last)
