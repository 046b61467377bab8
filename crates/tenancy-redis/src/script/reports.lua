-- KEYS[1]: as for report. Process and what it told, by turns.
local now = tonumber(redis.call('TIME')[1])
local all, live = redis.call('HGETALL', KEYS[1]), {}
for i = 1, #all, 2 do
  local ends, text = all[i + 1]:match('^(%d+) (.*)$')
  if ends and tonumber(ends) > now then
    live[#live + 1] = all[i]
    live[#live + 1] = text
  end
end
return live
