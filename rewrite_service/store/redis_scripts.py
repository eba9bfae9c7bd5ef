"""What the Redis store does inside Redis, so that each call is one round trip and all or nothing: scripts in Lua.

Keys of a user, all in one hash slot by the tag in braces, so that a cluster keeps them together:
- qr1:{USER}:user    hash: r revision, n time of the newest turn there has been, b bytes of turns, c number of
                     preferences, t<id hash> -> a turn, p<id hash> -> a preference (`codec`)
- qr1:{USER}:useful  sorted set: timestamp (15 digits), id hash -> score (`usefulness`)
- qr1:{USER}:gone    the tombstone: the moment up to which the user was forgotten
USER is `user_key` in hex. Notes of a space: qr1:notes:SPACE, a hash of `user_key` -> note; the spaces that have any:
qr1:spaces, a set. Counts of a space: qr1:counts:SPACE, a hash of key -> numbers with commas between.

Every key has a time to live. Revisions are the server's clock in microseconds, or one more than the last: one is never
had twice, not even after the store was emptied.
"""

from __future__ import annotations

STAMP_DIGITS = 15

# Redis undoes nothing of a script that fails midway: what may be forbidden to it comes before the first write.
_REVISE = """
local now = redis.call('TIME')
local function revise(key, ttl_ms)
  local last = tonumber(redis.call('HGET', key, 'r') or '0')
  local revision = math.max(last + 1, now[1] * 1000000 + now[2])
  redis.call('HSET', key, 'r', string.format('%.0f', revision))
  redis.call('PEXPIRE', key, ttl_ms)
end
"""

# The lowest scores first, those of the last hour after all others.
_SETTLE = _REVISE + """
local function settle(key, useful, ttl_ms, max_turns, max_bytes, protected_ms)
  local held = redis.call('ZCARD', useful)
  local bytes = tonumber(redis.call('HGET', key, 'b') or '0')
  local since = tonumber(redis.call('HGET', key, 'n') or '0') - protected_ms
  for pass = 1, 2 do
    local place = 0
    while held > max_turns or bytes > max_bytes do
      local member = redis.call('ZRANGE', useful, place, place)[1]
      if not member then break end
      if pass == 1 and tonumber(string.sub(member, 1, 15)) > since then
        place = place + 1
      else
        local name = 't' .. string.sub(member, 16)
        bytes = bytes - redis.call('HSTRLEN', key, name)
        redis.call('HDEL', key, name)
        redis.call('ZREM', useful, member)
        held = held - 1
      end
    end
  end
  redis.call('HSET', key, 'b', string.format('%.0f', bytes))
  redis.call('PEXPIRE', useful, ttl_ms)
  revise(key, ttl_ms)
end
"""

FETCH = """
if (redis.call('HGET', KEYS[1], 'r') or '0') == ARGV[1] then return false end
return {redis.call('HGETALL', KEYS[1]), redis.call('GET', KEYS[2])}
"""
"""user, gone; revision known, or nothing -> the hash and the tombstone; nil where the revision is the one known."""

APPEND = _SETTLE + """
local gone = tonumber(redis.call('GET', KEYS[3]) or '0')
local ttl_ms, max_turns, max_bytes = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local new = 0
for i = 5, #ARGV, 4 do
  local id, stamp, score, row = ARGV[i], ARGV[i + 1], ARGV[i + 2], ARGV[i + 3]
  if tonumber(stamp) > gone then
    if #row > max_bytes then
      new = new + 1
    elseif redis.call('HSETNX', KEYS[1], 't' .. id, row) == 1 then
      redis.call('ZADD', KEYS[2], score, stamp .. id)
      redis.call('HINCRBY', KEYS[1], 'b', #row)
      if tonumber(stamp) > tonumber(redis.call('HGET', KEYS[1], 'n') or '0') then
        redis.call('HSET', KEYS[1], 'n', stamp)
      end
      new = new + 1
    end
  end
end
if new > 0 then settle(KEYS[1], KEYS[2], ttl_ms, max_turns, max_bytes, tonumber(ARGV[4])) end
return new
"""
"""user, useful, gone; ms to live, most turns, most bytes, ms protected, then of each turn: id hash, timestamp, score,
row -> how many were new."""

REPLACE = _SETTLE + """
for i = 5, #ARGV, 5 do
  if redis.call('HGET', KEYS[1], 't' .. ARGV[i]) ~= ARGV[i + 3] then return 0 end
end
for i = 5, #ARGV, 5 do
  redis.call('HSET', KEYS[1], 't' .. ARGV[i], ARGV[i + 4])
  redis.call('ZADD', KEYS[2], ARGV[i + 2], ARGV[i + 1] .. ARGV[i])
  redis.call('HINCRBY', KEYS[1], 'b', #ARGV[i + 4] - #ARGV[i + 3])
end
settle(KEYS[1], KEYS[2], ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4]))
return 1
"""
"""user, useful; as for APPEND, then of each turn: id hash, timestamp, new score, the row as it was, the new row -> 1;
0 and nothing done where a row is not as it was."""

PUT_PREFERENCE = _REVISE + """
local name = 'p' .. ARGV[3]
local held = redis.call('HGET', KEYS[1], name)
if held == ARGV[4] then return 1 end
if not held then
  if tonumber(redis.call('HGET', KEYS[1], 'c') or '0') >= tonumber(ARGV[2]) then return 0 end
  redis.call('HINCRBY', KEYS[1], 'c', 1)
end
redis.call('HSET', KEYS[1], name, ARGV[4])
revise(KEYS[1], ARGV[1])
return 1
"""
"""user; ms to live, most preferences, id hash, row -> 1; 0 where there are as many as may be."""

REMOVE_PREFERENCE = _REVISE + """
if redis.call('HDEL', KEYS[1], 'p' .. ARGV[2]) == 0 then return 0 end
redis.call('HINCRBY', KEYS[1], 'c', -1)
revise(KEYS[1], ARGV[1])
return 1
"""
"""user; ms to live, id hash -> 1, or 0 where there was none."""

FORGET = _REVISE + """
local turns, preferences = redis.call('ZCARD', KEYS[2]), tonumber(redis.call('HGET', KEYS[1], 'c') or '0')
revise(KEYS[1], ARGV[1])
local revision = redis.call('HGET', KEYS[1], 'r')
redis.call('DEL', KEYS[1], KEYS[2])
redis.call('HSET', KEYS[1], 'r', revision)
redis.call('PEXPIRE', KEYS[1], ARGV[1])
local gone = math.max(tonumber(redis.call('GET', KEYS[3]) or '0'), tonumber(ARGV[3]))
redis.call('SET', KEYS[3], string.format('%.0f', gone), 'PX', ARGV[2])
return {turns, preferences}
"""
"""user, useful, gone; ms to live, the same of the tombstone, the moment -> turns and preferences removed."""

ADD_COUNTS = """
for i = 4, #ARGV, 2 do
  local total, held = {}, redis.call('HGET', KEYS[1], ARGV[i])
  for number in string.gmatch(held or '', '%d+') do total[#total + 1] = tonumber(number) end
  local place = 1
  for number in string.gmatch(ARGV[i + 1], '%d+') do
    total[place] = (total[place] or 0) + tonumber(number)
    place = place + 1
  end
  for n = 1, #total do total[n] = string.format('%.0f', total[n]) end
  if not held and redis.call('HLEN', KEYS[1]) >= tonumber(ARGV[2]) then
    local rarest, least
    local some = redis.call('HRANDFIELD', KEYS[1], ARGV[3], 'WITHVALUES')
    for s = 1, #some, 2 do
      local sum = 0
      for number in string.gmatch(some[s + 1], '%d+') do sum = sum + tonumber(number) end
      if not least or sum < least then rarest, least = some[s], sum end
    end
    redis.call('HDEL', KEYS[1], rarest)
  end
  redis.call('HSET', KEYS[1], ARGV[i], table.concat(total, ','))
end
redis.call('PEXPIRE', KEYS[1], ARGV[1])
return 1
"""
"""counts; ms to live, most keys, how many to choose from, then of each key: the key, the numbers to add."""

PUT_NOTE = """
redis.call('HSET', KEYS[1], ARGV[3], ARGV[4])
if redis.call('HLEN', KEYS[1]) > tonumber(ARGV[2]) then
  for _, user in ipairs(redis.call('HRANDFIELD', KEYS[1], 2)) do
    if user ~= ARGV[3] then
      redis.call('HDEL', KEYS[1], user)
      break
    end
  end
end
redis.call('PEXPIRE', KEYS[1], ARGV[1])
return 1
"""
"""notes of a space; ms to live, most notes, user key, note -> 1; one of another user goes where there are too many."""
