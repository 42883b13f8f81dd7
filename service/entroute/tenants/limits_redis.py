"""The books in Redis, shared by all gateways: one script, one round trip, two hashes a key.

Both hashes of a key have its id as their hash tag, so that a cluster keeps them on one node. The
time is that of the Redis server. A hash holds `w` (begin of its window), `u` (what folded lines
had spent) and one line a gateway: number, end of its lease, spent, caps.
"""

from hashlib import sha1
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import NoScriptError

from entroute.errors import StoreUnavailable
from entroute.redis_link.budgeted import BudgetedRedis, RedisUnavailable
from entroute.tenants.leases import FOLD_MS, LEASE_MS, Grant, Granted, Report
from entroute.tenants.limits import DIMENSIONS, WINDOWS

_SCRIPT = """
local DAY = 86400000
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000) + ARGV[1]
local me, number, lease, fold = ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])

local function whole(value) return string.format('%.0f', value) end

local function month(moment)  -- civil calendar from days since the epoch
  local days = math.floor(moment / DAY)
  local shifted = days + 719468
  local era = math.floor(shifted / 146097)
  local doe = shifted - era * 146097
  local yoe = math.floor((doe - math.floor(doe / 1460) + math.floor(doe / 36524)
    - math.floor(doe / 146096)) / 365)
  local doy = doe - (365 * yoe + math.floor(yoe / 4) - math.floor(yoe / 100))
  local mp = math.floor((5 * doy + 2) / 153)
  local first = days - (doy - math.floor((153 * mp + 2) / 5))
  local m = mp < 10 and mp + 3 or mp - 9
  local y = yoe + era * 400 + (m <= 2 and 1 or 0)
  local length = ({31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31})[m]
  if m == 2 and y % 4 == 0 and (y % 100 ~= 0 or y % 400 == 0) then length = 29 end
  return first * DAY, (first + length) * DAY
end

local function bounds(place, moment)
  if place == 2 then return month(moment) end
  local start = moment - moment % 60000
  return start, start + 60000
end

local function numbers(text)
  local found = {}
  for part in string.gmatch(text, '%S+') do found[#found + 1] = tonumber(part) end
  return found
end

local function read(place)
  local flat, raw = redis.call('HGETALL', KEYS[place]), {}
  for i = 1, #flat, 2 do raw[flat[i]] = flat[i + 1] end
  local start, stop = bounds(place, math.max(now, tonumber(raw.w or '0')))
  if tonumber(raw.w or '0') ~= start then
    redis.call('DEL', KEYS[place])
    raw = {}
  end
  local book = {start = start, stop = stop, spent = {0, 0, 0}, leased = {0, 0, 0}, holders = 0}
  if raw.u then book.spent = numbers(raw.u) end
  local folded, gone = {unpack(book.spent)}, {}
  for name, text in pairs(raw) do
    if string.sub(name, 1, 2) == 'm:' then
      local line = numbers(text)
      if name == 'm:' .. me then
        book.mine = line
      else
        local holds = false
        for d = 1, 3 do
          local spent, cap = line[2 + d], line[5 + d]
          book.spent[d] = book.spent[d] + spent
          if line[2] > now and cap > spent then
            book.leased[d] = book.leased[d] + cap - spent
            holds = true
          end
        end
        if holds then book.holders = book.holders + 1 end
        if line[2] + fold <= now then
          for d = 1, 3 do folded[d] = folded[d] + line[2 + d] end
          gone[#gone + 1] = name
        end
      end
    end
  end
  if #gone > 0 then
    redis.call('HDEL', KEYS[place], unpack(gone))
    redis.call('HSET', KEYS[place], 'u', table.concat({whole(folded[1]), whole(folded[2]),
      whole(folded[3])}, ' '))
  end
  return book
end

local function grant(place, book)
  local at = 6 + (place - 1) * 16
  local function arg(field, d) return tonumber(ARGV[at + 1 + field * 3 + d - 1]) end
  local current = tonumber(ARGV[at]) == book.start
  local held = current and book.mine and book.mine[2] > now
  local line, caps, limited = {whole(number), whole(now + lease)}, {}, false
  for d = 1, 3 do
    local limit, spent = arg(0, d), current and arg(1, d) or 0
    line[2 + d] = whole(spent)
    caps[d] = -1
    if limit >= 0 then
      limited = true
      local left = limit - book.spent[d] - book.leased[d] - spent
      local fair = math.floor(left / (4 * (book.holders + 1)))
      local slice = math.min(left, math.max(arg(3, d), math.min(arg(4, d), fair)))
      local kept = held and math.min(arg(2, d), book.mine[5 + d]) or 0
      caps[d] = math.max(spent, kept, spent + slice)
    end
    line[5 + d] = whole(caps[d])
  end
  if limited then
    redis.call('HSET', KEYS[place], 'w', whole(book.start), 'm:' .. me, table.concat(line, ' '))
    redis.call('PEXPIRE', KEYS[place], whole(book.stop - now + DAY))
  end
  local reply = {whole(book.start), whole(book.stop)}
  for d = 1, 3 do reply[2 + d] = whole(caps[d]) end
  for d = 1, 3 do reply[5 + d] = whole(limited and book.spent[d] or 0) end
  return reply
end

local books = {read(1), read(2)}
for place = 1, 2 do
  if books[place].mine and books[place].mine[1] >= number then return {'stale'} end
end
return {whole(now), grant(1, books[1]), grant(2, books[2])}
"""

_SHA = sha1(_SCRIPT.encode(), usedforsecurity=False).hexdigest()
_CAPS = slice(2, 2 + len(DIMENSIONS))
_OTHERS = slice(2 + len(DIMENSIONS), None)


class RedisLeases:
    """`Leases` in Redis.

    Args:
        redis: Asked within its budget; whoever made it closes it.
        prefix: Put before every key, so that the database may be shared.
        ahead_ms: Added to the server's time: what a drill of a month's end goes by.
    """

    def __init__(
        self, redis: BudgetedRedis, prefix: str = "entroute:limits:", ahead_ms: int = 0
    ) -> None:
        self._redis = redis
        self._prefix = prefix
        self._ahead_ms = ahead_ms

    async def exchange(self, key: str, report: Report) -> Granted:
        """Take a report and lease anew. See `Leases`."""
        names = [f"{self._prefix}{{{key}}}:{window}" for window in WINDOWS]
        head: list[Any] = [self._ahead_ms, report.member, report.number, LEASE_MS, FOLD_MS]
        for share in report.shares:
            rows = (share.limits, share.spent, share.keep, share.need, share.want)
            head += [share.start, *(amount for row in rows for amount in row)]

        async def ask(redis: Redis) -> Any:
            try:
                return await redis.evalsha(_SHA, len(names), *names, *head)
            except NoScriptError:  # the first time, and after a restart
                return await redis.eval(_SCRIPT, len(names), *names, *head)

        try:
            reply = await self._redis.ask(ask)
        except RedisUnavailable as error:
            raise StoreUnavailable(str(error)) from error
        if reply[0] == b"stale":
            raise StoreUnavailable("a later report was here before")
        now, *windows = reply
        return Granted(int(now), tuple(_grant([int(each) for each in row]) for row in windows))


def _grant(row: list[int]) -> Grant:
    return Grant(row[0], row[1], tuple(row[_CAPS]), tuple(row[_OTHERS]))
