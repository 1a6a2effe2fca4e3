"""The Lua scripts of the cache in Redis. Each is atomic. See redis.py for the keys, and stored.py for the values.

Entries, and what is known of invalidations, are valid only in the run of the server that they were written in: after a
restart or a failover, data may be from before an invalidation.
"""

from typing import Final

from resilience.cache.redis_leases import CLAIM_FUNCTION, RELEASE_FUNCTION
from resilience.redis import Script

# `run` identifies the server's process. `clock` is in microseconds.
# `begin_run` discards what an earlier run, or another program, has recorded. `KEYS[1]` holds the fences; it counts as
# empty if it is of another type.
_PRELUDE: Final = """
local about = redis.call('INFO', 'server')
local start = string.find(about, 'run_id:', 1, true) + 7
local run = string.sub(about, start, start + 15)
local function clock()
  local time = redis.call('TIME')
  return time[1] * 1000000 + time[2]
end
local function text(member)
  local found = redis.pcall('ZSCORE', KEYS[1], member)
  return type(found) == 'string' and found
end
local function score(member) return tonumber(text(member) or '0') end
local function begin_run(ttl)
  local last = score('seq') + 1
  local number = string.format('%.0f', math.max(last < 2^53 and last or 0, clock()))
  local refused = redis.pcall('DEL', KEYS[1])
  if type(refused) == 'table' then return refused end
  refused = redis.pcall('ZADD', KEYS[1], number, 'run:' .. run, number, 'seq')
  if type(refused) == 'table' then return refused end
  redis.call('PEXPIRE', KEYS[1], ttl)
end
"""

# Gets entries that are still in the index of each of their tags: an index may have been evicted before its entries,
# and an invalidation then misses them. Results are the fence, the number of entries that were lost, and the entries:
# false, 1 for a large one, or the value. A lookup with an owner has the key of a lease; these follow those of entries.
# If its entry is missing, it claims the lease, and the result is a list with that of the claim: as the entry was looked
# for at the same time, an earlier fetch that has stored it is of no use. A server that cannot record a fence returns
# -1, with which nothing is stored.
GET: Final = Script(
    _PRELUDE
    + CLAIM_FUNCTION
    + """
local fence = text('run:' .. run) and text('seq')
if not fence then
  local refused = begin_run(ARGV[3])
  if refused and string.find(refused.err, 'READONLY', 1, true) then return refused end
  fence = refused and '-1' or text('seq')
end
local function is_indexed(key, value)
  if string.sub(value, 1, 16) ~= run then return false end
  local size = struct.unpack('>I4', value, 33)
  if 36 + size > #value then return false end
  for _, tag in ipairs(cmsgpack.unpack(string.sub(value, 37, 36 + size))) do
    if not redis.call('ZSCORE', ARGV[1] .. tag, key) then return false end
  end
  return true
end
local count, results, lost, large = #ARGV - 4, {fence, 0}, 0, tonumber(ARGV[2])
local lease = count + 1
for i = 1, count do
  local key, owner = KEYS[i + 1], ARGV[i + 4]
  if owner ~= '' then lease = lease + 1 end
  local value = redis.pcall('GETRANGE', key, 0, large)
  if type(value) == 'table' and not string.find(value.err, 'WRONGTYPE', 1, true) then return value end
  local ok = type(value) == 'string' and #value > 36
  if ok then
    local ran, indexed = pcall(is_indexed, key, value)
    ok = ran and indexed
    if not ok then lost = lost + 1 redis.pcall('UNLINK', key) end
  end
  if ok then
    results[i + 2] = #value > large and 1 or value
  else
    results[i + 2] = owner ~= '' and {claim(KEYS[lease], owner, true, ARGV[4])}
  end
end
results[2] = lost
return results
"""
)

# Several puts, each fenced by its own tags. Each put also removes up to a hundred expired keys from the index of its
# tags, which spreads the cost. A fence above the current number, or below that of the run's beginning, is from before
# the server lost its data, and with it invalidations. The fence 0 means that nothing was ever invalidated. The result
# is 1 for an entry that was stored, 0 for one that was not, and -1 if an index is of another type (see INVALIDATE).
# A put of a fetch that has a lease has its owner, and its key follows those of the put's tags: it ends with the put.
PUT: Final = Script(
    _PRELUDE
    + RELEASE_FUNCTION
    + """
local number, begun, floor = score('seq'), score('run:' .. run), score('floor')
local function allowed(fence, first, last)
  if fence == 0 then return number == begun end
  if number < fence or begun == 0 or begun > fence or floor > fence then return false end
  for i = first, last do
    if score('t:' .. ARGV[i]) > fence then return false end
  end
  return true
end
local now = math.floor(clock() / 1000)
local function are_indexes(first, last)
  for i = first, last do
    local ended = redis.pcall('ZRANGEBYSCORE', KEYS[i], '-inf', now, 'LIMIT', 0, 100)
    if ended.err then return false end
    if #ended > 0 then redis.call('ZREM', KEYS[i], unpack(ended)) end
  end
  return true
end
local written = run .. '0000000000000000'
local kept, key, argument = {}, 2, 1
while key <= #KEYS do
  local lives, tags = tonumber(ARGV[argument + 1]), tonumber(ARGV[argument + 3])
  local owner, first = ARGV[argument + 4], argument + 7
  local may = allowed(tonumber(ARGV[argument + 2]), first, first + tags - 1) and 1 or 0
  if may == 1 and not are_indexes(key + 1, key + tags) then may = -1 end
  if may == 1 then
    redis.call('SET', KEYS[key], written .. ARGV[argument], 'PX', lives)
    for i = key + 1, key + tags do
      redis.call('ZADD', KEYS[i], now + lives, KEYS[key])
      if redis.call('PTTL', KEYS[i]) < lives then redis.call('PEXPIRE', KEYS[i], lives) end
    end
    if owner ~= '' then release(KEYS[key + tags + 1], owner, ARGV[argument + 5], ARGV[argument + 6]) end
  end
  kept[#kept + 1] = may
  key, argument = key + 1 + tags + (owner == '' and 0 or 1), first + tags
end
return kept
"""
)

# The number is raised atomically with the removal, so that an entry read before comes with the older number.
# The first write needs no memory: a server that is out of memory then allows the script's other writes too.
# If another program has overwritten an index, it is unknown which entries had the tag: the result is -1, and all
# entries of the service must be removed before the index. Until then none is stored with that tag.
INVALIDATE: Final = Script(
    _PRELUDE
    + """
for i = 2, 3 do
  local kind = redis.call('TYPE', KEYS[i]).ok
  if kind ~= 'zset' and kind ~= 'none' then return {-1, '0', 1} end
end
redis.call('ZREM', KEYS[2], '')
if score('run:' .. run) == 0 then
  local refused = begin_run(ARGV[5])
  if refused then return refused end
end
local seq = math.max(score('seq') + 1, clock())
local number = string.format('%.0f', seq)
redis.call('ZADD', KEYS[1], number, 'seq', number, 't:' .. ARGV[1])
if redis.call('ZCARD', KEYS[1]) > tonumber(ARGV[4]) + 2 then
  local oldest = redis.call('ZRANGE', KEYS[1], 1, 2, 'WITHSCORES')
  local lost = oldest[1] == 'floor' and 3 or 1
  redis.call('ZREM', KEYS[1], oldest[lost])
  redis.call('ZADD', KEYS[1], oldest[lost + 1], 'floor')
end
redis.call('PEXPIRE', KEYS[1], ARGV[5])
local members, count = redis.call('ZRANGE', KEYS[2], 0, ARGV[3] - 1), 0
if #members > 0 then
  count = redis.call('UNLINK', unpack(members))
  redis.call('ZREM', KEYS[2], unpack(members))
  redis.call('ZREM', KEYS[3], unpack(members))
end
local left = redis.call('ZCARD', KEYS[2])
if left == 0 then redis.call('PUBLISH', ARGV[6], ARGV[2] .. number .. '}') end
return {count, number, left}
"""
)

MEASURE: Final = Script(
    """
local members, entries, bytes = redis.call('ZRANGE', KEYS[1], ARGV[1], ARGV[2]), 0, 0
for _, member in ipairs(members) do
  local length = redis.pcall('STRLEN', member)
  if type(length) == 'number' and length > 0 then entries, bytes = entries + 1, bytes + length end
end
return {#members, entries, bytes}
"""
)
