-- What all scripts begin with. A scope is two keys of one slot:
--   v  sorted set, a<cell> and h<cell> with the number of the cell's last soft and hard flush; b is the base
--   n  list of the last numbers, newest first: tells a process whether the history that it knows is this one
-- ARGV[1]: this process's part of a number. ARGV[2]: the highest number that the process knows of.
local v, n = KEYS[1], KEYS[2]
local node, known = tonumber(ARGV[1]), tonumber(ARGV[2])

-- Lua would write it with an exponent.
local function text(number)
  return string.format('%.0f', number)
end

-- The next number: above all that is here, all that the process knows, and the clock, which numbers of a lost history were too.
-- In a whole scope nothing is above the last one.
local function new_number(last)
  local highest = math.max(known, last or 0)
  if not last then
    local best = redis.call('ZREVRANGE', v, 0, 0, 'WITHSCORES')[2]
    highest = math.max(highest, tonumber(best or '0'), tonumber(redis.call('LINDEX', n, 0) or '0'))
  end
  local time = redis.call('TIME')
  local milliseconds = time[1] * 1000 + math.floor(time[2] / 1000)
  local number = (math.max(math.floor(highest / 1024), milliseconds) + 1) * 1024 + node
  -- A double holds no greater one exactly.
  if number >= 9007199254740992 then error('the numbers of this scope are used up') end
  return number
end

-- Nothing where the scope is not there or not whole.
local function newest()
  local last = redis.call('LINDEX', n, 0)
  if last and redis.call('ZSCORE', v, 'hb') then return tonumber(last) end
end

-- Before anything is raised to it. Each step of a script takes as long as a command: what is too many goes together.
local function record(number)
  if redis.call('LPUSH', n, text(number)) > 160 then redis.call('LTRIM', n, 0, 127) end
end

-- With a fresh base, so that nothing that was stored before is served, and a new history, so that everybody teaches.
local function make(number)
  redis.call('DEL', n)
  redis.call('ZADD', v, text(number), 'hb')
  record(number)
end

local function whole(number)
  return { 2, text(number), redis.call('ZRANGE', v, 0, -1, 'WITHSCORES') }
end
