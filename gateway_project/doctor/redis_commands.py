"""Which commands Redis refuses of those that the gateway's scripts and stores use."""

from typing import Any, Final

from resilience.redis_client import FAILURES, UNKNOWN_SCRIPT

COMMANDS: Final = (
    "INFO server",
    "TIME",
    "SCAN 0 MATCH none",
    *("TYPE k", "EXISTS k", "TTL k", "PTTL k", "EXPIRE k 10", "PEXPIRE k 10000", "EXPIREAT k 1", "DEL k", "UNLINK k"),
    "RENAME k k",
    *("GET s", "SET s 1 EX 10", "STRLEN s", "GETRANGE s 0 1", "INCR s"),
    *("HGET h f", "HSET h f 1", "HSETNX h f 1", "HDEL h g", "HGETALL h", "HMGET h f", "HVALS h", "HLEN h"),
    *("HINCRBY h f 1", "HEXISTS h f"),
    *("ZADD z 1 m", "ZREM z n", "ZCARD z", "ZRANGE z 0 1", "ZREVRANGE z 0 1", "ZRANGEBYSCORE z 0 1", "ZSCORE z m"),
    *("ZINCRBY z 1 m", "ZREMRANGEBYRANK z 5 6"),
    *("RPUSH l 1", "LTRIM l 0 1", "LRANGE l 0 1"),
    *("XADD x * f 1", "XLEN x", "XRANGE x - + COUNT 1", "XREVRANGE x + - COUNT 1", "XDEL x 1-1", "XTRIM x MAXLEN 9"),
    *("XGROUP CREATE x g 0", "XREADGROUP GROUP g c COUNT 1 STREAMS x >", "XACK x g 1-1", "XPENDING x g"),
    *("XCLAIM x g c 0 1-1", "XAUTOCLAIM x g c 0 0 COUNT 1", "XINFO CONSUMERS x g", "XGROUP DELCONSUMER x g c"),
    "PUBLISH channel 1",
)
"""Each as it is called. Names of one letter, or `channel`, are those of keys and channels of the check itself."""
_KEYS: Final = frozenset("kshzlx")
_CALL_EACH: Final = """
local refused, at = {}, 1
while ARGV[at] do
  local words = {}
  for i = 1, tonumber(ARGV[at]) do words[i] = ARGV[at + i] end
  local reply = redis.pcall(unpack(words))
  local fault = type(reply) == 'table' and reply.err or ''
  if string.find(fault, 'NOPERM') or string.find(fault, 'permissions') or string.find(fault, "can't run")
      or string.find(fault, 'Unknown') then
    refused[#refused + 1] = words[1]
  end
  at = at + #words + 1
end
for _, key in ipairs(KEYS) do
  redis.pcall('EXPIRE', key, 10)
  redis.pcall('DEL', key)
end
return refused
"""
"""Of an error for another reason, such as a group that is missing, the command itself may be used."""


def refused_commands(client: Any, key: str) -> list[str]:
    """Their names. `key` begins all keys and channels of the check, which are removed. Raises FAILURES if scripts are
    refused altogether.
    """
    keys = {name: f"{key}:{name}" for name in sorted(_KEYS)}
    names = keys | {"channel": f"{key}:channel"}
    arguments: list[str] = []
    for command in COMMANDS:
        words = command.split()
        arguments += [str(len(words)), *(names.get(word, word) for word in words)]
    found = client.eval(_CALL_EACH, len(keys), *keys.values(), *arguments)
    refused = {name.decode() if isinstance(name, bytes) else str(name) for name in found}
    return sorted(refused | _refused_digest(client))


def _refused_digest(client: Any) -> set[str]:
    """Scripts are sent by their digest, which the server need not know."""
    try:
        client.evalsha("0" * 40, 0)
    except UNKNOWN_SCRIPT:
        return set()
    except FAILURES:
        pass
    return {"EVALSHA"}
