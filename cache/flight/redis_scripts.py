"""The Lua scripts of flights, each one atomic step.

KEYS are the flight's hash and its stream. The hash holds `owner` (the token of the lease),
`until` (when it runs out, Redis's own milliseconds), `start` (the stream id before the owner's
first entry), `landed`, and for every following process `p:<process>` with its callers and how
long that counts, as `<callers>:<until>`. Everything expires.
"""

_NOW = """
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
"""

# Each following process with callers, the asking one left out.
_OTHERS = """
local function others(process)
  local found, all = {}, redis.call('HGETALL', KEYS[1])
  for at = 1, #all, 2 do
    local name = string.match(all[at], '^p:(.*)$')
    local callers, till = string.match(all[at + 1], '^(%d+):(%d+)$')
    if name and name ~= process and callers and tonumber(till) > now then
      found[#found + 1] = {name, tonumber(callers)}
    end
  end
  return found
end
"""

# token, process, callers, lease in ms, keep in ms -> leads (1 or 0), owner, start. A lease is
# free when there is none or it ran out; asking twice with one token is harmless.
JOIN = (
    _NOW
    + """
local flight = redis.call('HMGET', KEYS[1], 'owner', 'until', 'start', 'landed')
if flight[1] and flight[1] ~= ARGV[1] and (flight[4] or tonumber(flight[2]) > now) then
  if not flight[4] then
    redis.call('HSET', KEYS[1], 'p:' .. ARGV[2], ARGV[3] .. ':' .. (now + ARGV[4]))
  end
  return {0, flight[1], flight[3]}
end
local start = redis.call('XADD', KEYS[2], '*', 'owner', ARGV[1], 'at', 0)
redis.call('XTRIM', KEYS[2], 'MINID', '=', start)
redis.call('HDEL', KEYS[1], 'landed', 'seal')
redis.call('HSET', KEYS[1], 'owner', ARGV[1], 'until', now + ARGV[4], 'start', start)
redis.call('PEXPIRE', KEYS[1], ARGV[5])
redis.call('PEXPIRE', KEYS[2], ARGV[5])
return {1, ARGV[1], start}
"""
)

# token, process, lease in ms, keep in ms, at, events, head -> callers in other processes, or -1.
APPEND = (
    _NOW
    + _OTHERS
    + """
if redis.call('HGET', KEYS[1], 'owner') ~= ARGV[1] then return -1 end
if ARGV[6] ~= '' then
  redis.call('XADD', KEYS[2], '*', 'owner', ARGV[1], 'at', ARGV[5], 'events', ARGV[6],
    'head', ARGV[7])
end
redis.call('HSET', KEYS[1], 'until', now + ARGV[3])
redis.call('PEXPIRE', KEYS[1], ARGV[4])
redis.call('PEXPIRE', KEYS[2], ARGV[4])
local callers = 0
for _, other in ipairs(others(ARGV[2])) do callers = callers + other[2] end
return callers
"""
)

# token, process, its callers, linger in ms, at, events, head, facts -> the seal as JSON, or nil.
# Landing twice with one token is harmless: the second learns what the first did.
LAND = (
    _NOW
    + _OTHERS
    + """
local flight = redis.call('HMGET', KEYS[1], 'owner', 'seal')
if flight[1] ~= ARGV[1] or flight[2] then return flight[1] == ARGV[1] and flight[2] end
local callers, parts = tonumber(ARGV[3]), {}
for at, other in ipairs(others(ARGV[2])) do
  parts[at] = {other[1], callers, other[2]}
  callers = callers + other[2]
end
local list = #parts > 0 and cjson.encode(parts) or '[]'
local seal = '{"callers":' .. callers .. ',"parts":' .. list .. '}'
redis.call('XADD', KEYS[2], '*', 'owner', ARGV[1], 'at', ARGV[5], 'events', ARGV[6],
  'head', ARGV[7], 'final', '{"facts":' .. ARGV[8] .. ',"seal":' .. seal .. '}')
redis.call('HSET', KEYS[1], 'landed', 1, 'seal', seal)
redis.call('PEXPIRE', KEYS[1], ARGV[4])
redis.call('PEXPIRE', KEYS[2], ARGV[4])
return seal
"""
)

# token, at, error, keep in ms: the lease is free at once, and readers are told why.
END = """
if redis.call('HGET', KEYS[1], 'owner') ~= ARGV[1] then return 0 end
local field = ARGV[3] ~= '' and 'error' or 'gone'
redis.call('XADD', KEYS[2], '*', 'owner', ARGV[1], 'at', ARGV[2], field, ARGV[3])
redis.call('PEXPIRE', KEYS[2], ARGV[4])
return redis.call('DEL', KEYS[1])
"""

# process, callers, lease in ms -> owner, runs (1 or 0), landed (1 or 0). A hash that is not there
# is not made: it would have no owner and would never expire.
CHECK_IN = (
    _NOW
    + """
local flight = redis.call('HMGET', KEYS[1], 'owner', 'until', 'landed')
if not flight[1] then return {'', 0, 0} end
if ARGV[2] == '0' then
  redis.call('HDEL', KEYS[1], 'p:' .. ARGV[1])
elseif not flight[3] then
  redis.call('HSET', KEYS[1], 'p:' .. ARGV[1], ARGV[2] .. ':' .. (now + ARGV[3]))
end
return {flight[1], tonumber(flight[2]) > now and 1 or 0, flight[3] and 1 or 0}
"""
)
