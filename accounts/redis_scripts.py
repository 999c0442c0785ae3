"""The Lua scripts of the accounts, each one atomic step.

One tenant has four keys in one slot, and each script is given all of them:
  1 counters: a hash; of each counter `@<field>` the start of its window, `=<field>` what was spent
    in it, `~<field>` what open reservations hold of it. An older start means: all of it is over.
  2 holds: a hash from a reservation's id to its record {last step, entries}; an entry is {field,
    window's start, amount, measure}.
  3 open: open reservations by the time when they expire, ms.
  4 closed: settled and expired ones by the time when they are forgotten, ms. Until then a step that
    comes twice is known by its number, and a step that comes late still counts.
The clock is Redis's own, so that gateways whose clocks differ agree on every window.
"""

_COMMON = """
local function moment(given)
  local ms = tonumber(given)
  if ms > 0 then return ms end
  local time = redis.call('TIME')
  return tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
end

local function release(entries)
  for _, entry in ipairs(entries) do
    if entry[3] ~= 0 and redis.call('HGET', KEYS[1], '@' .. entry[1]) == tostring(entry[2]) then
      redis.call('HINCRBY', KEYS[1], '~' .. entry[1], -entry[3])
    end
  end
end

local function close(id, until_ms)
  redis.call('ZADD', KEYS[4], until_ms, id)
  local ends = redis.call('EXPIRETIME', KEYS[1])
  if ends > 0 then redis.call('EXPIREAT', KEYS[4], ends) end
end

local function expire(now)
  for _, id in ipairs(redis.call('ZRANGEBYSCORE', KEYS[3], '-inf', now)) do
    local record = redis.call('HGET', KEYS[2], id)
    if record then release(cmsgpack.unpack(record)[2]) end
    redis.call('ZREM', KEYS[3], id)
    close(id, now + 3600000)
  end
  for _, id in ipairs(redis.call('ZRANGEBYSCORE', KEYS[4], '-inf', now, 'LIMIT', 0, 64)) do
    redis.call('HDEL', KEYS[2], id)
    redis.call('ZREM', KEYS[4], id)
  end
end
"""

# now ms (0: Redis's), id, life ms, forced (1: whatever the limits), forget at (s, 0: never), then
# for each counter field, window start s, window end s, hard bound (-1: none), amount, measure
#   -> {'ok', now, spent, held, ...}, {'refused', now, index, spent, held}, {'clock', now}
# A measure of `r` is spent at once; every other amount is held until it is settled or expires.
RESERVE = (
    _COMMON
    + """
local now = moment(ARGV[1])
local id, forced = ARGV[2], ARGV[4] == '1'
expire(now)
if redis.call('HEXISTS', KEYS[2], id) == 1 then return {'ok', now} end
local answer, entries, counters = {'ok', now}, {}, {}
for at = 6, #ARGV, 6 do
  local field, start, stop = ARGV[at], tonumber(ARGV[at + 1]), tonumber(ARGV[at + 2])
  local bound, amount = tonumber(ARGV[at + 3]), tonumber(ARGV[at + 4])
  if stop > 0 and not forced and (now < start * 1000 or now >= stop * 1000) then
    return {'clock', now}
  end
  local told = redis.call('HMGET', KEYS[1], '@' .. field, '=' .. field, '~' .. field)
  local since, spent, held = tonumber(told[1] or -1), tonumber(told[2] or 0), tonumber(told[3] or 0)
  local fresh = since < start
  if fresh then spent, held = 0, 0 end
  if bound >= 0 and not forced and spent + held + amount > bound then
    return {'refused', now, (at - 6) / 6, spent, held}
  end
  answer[#answer + 1], answer[#answer + 2] = spent, held
  counters[#counters + 1] = {field, start, amount, ARGV[at + 5], fresh, since > start}
end
for _, one in ipairs(counters) do
  local field, start, amount, measure = one[1], one[2], one[3], one[4]
  if one[5] then
    redis.call('HSET', KEYS[1], '@' .. field, start, '=' .. field, 0, '~' .. field, 0)
  end
  local side = measure == 'r' and '=' or '~'
  if not one[6] or not forced then redis.call('HINCRBY', KEYS[1], side .. field, amount) end
  if one[6] and not forced then start = tonumber(redis.call('HGET', KEYS[1], '@' .. field)) end
  if measure ~= 'r' then entries[#entries + 1] = {field, start, amount, measure} end
end
redis.call('HSET', KEYS[2], id, cmsgpack.pack({0, entries}))
redis.call('ZADD', KEYS[3], now + tonumber(ARGV[3]), id)
if ARGV[5] ~= '0' then
  for _, key in ipairs(KEYS) do redis.call('EXPIREAT', key, ARGV[5], 'NX') end
  for _, key in ipairs(KEYS) do redis.call('EXPIREAT', key, ARGV[5], 'GT') end
end
return answer
"""
)

# now ms (0: Redis's), id, step's number, last (1: nothing is held any more), remember ms,
# micro-USD, tokens -> 1 counted, 0 counted before, -1 the reservation is unknown
SETTLE = (
    _COMMON
    + """
local now = moment(ARGV[1])
local id, step, last = ARGV[2], tonumber(ARGV[3]), ARGV[4] == '1'
expire(now)
local packed = redis.call('HGET', KEYS[2], id)
if not packed then return -1 end
local record = cmsgpack.unpack(packed)
if step <= record[1] then return 0 end
if last and redis.call('ZREM', KEYS[3], id) == 1 then
  release(record[2])
  close(id, now + tonumber(ARGV[5]))
end
for _, entry in ipairs(record[2]) do
  local used = entry[4] == 'u' and ARGV[6] or entry[4] == 't' and ARGV[7] or '0'
  if used ~= '0' and redis.call('HGET', KEYS[1], '@' .. entry[1]) == tostring(entry[2]) then
    redis.call('HINCRBY', KEYS[1], '=' .. entry[1], used)
  end
end
record[1] = step
redis.call('HSET', KEYS[2], id, cmsgpack.pack(record))
return 1
"""
)

# id, record as it was ('' for a new one), record as it is to be, then in turn a hash of a secret
# that leads to it and '1', or one that no longer does and '0' -> 1, or 0 when it was changed
CHANGE_KEY = """
if (redis.call('HGET', KEYS[1], ARGV[1]) or '') ~= ARGV[2] then return 0 end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[3])
for at = 4, #ARGV, 2 do
  if ARGV[at + 1] == '1' then redis.call('HSET', KEYS[2], ARGV[at], ARGV[1])
  else redis.call('HDEL', KEYS[2], ARGV[at]) end
end
return 1
"""

# hash of a secret -> the record that it leads to, or false
FIND_KEY = """
local id = redis.call('HGET', KEYS[2], ARGV[1])
return id and redis.call('HGET', KEYS[1], id)
"""
