"""What a Redis server reports about itself, and which of its settings may lose records."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import redis

_NEARLY_FULL = 0.9  # of maxmemory


def server_facts(server: redis.Redis) -> dict[str, str]:
    """Return facts about a server, and in ``warning`` which of its settings may lose records."""
    try:
        info: dict[str, Any] = server.info()
    except redis.ResponseError:  # an ACL may forbid INFO
        return {"server": "unknown: INFO is not permitted"}
    warnings = []
    persistence = "+".join(_persistence(server, info)) or "off"
    if persistence == "off":
        warnings.append("records do not survive a restart of the Redis server: turn on AOF")
    elif "aof" not in persistence:
        warnings.append("a crash of the Redis server loses the records since its last snapshot: turn on AOF")
    policy = str(info.get("maxmemory_policy", "unknown"))
    if policy not in {"noeviction", "unknown"}:
        warnings.append(f"Redis may evict records when full: set its maxmemory-policy to noeviction, not {policy}")
    used, limit = info.get("used_memory", 0), info.get("maxmemory", 0)
    if used > limit * _NEARLY_FULL > 0:
        warnings.append(f"Redis is nearly full and will refuse writes: {used:,} of {limit:,} bytes are used")
    return {
        "server": f"{info.get('server_name', 'redis')} {info.get('valkey_version', info.get('redis_version'))}",
        "mode": str(info.get("server_mode", info.get("redis_mode"))),
        "persistence": persistence,
        "eviction": policy,
        **({"warning": "; ".join(warnings)} if warnings else {}),
    }


def _persistence(server: redis.Redis, info: Mapping[str, object]) -> Iterator[str]:
    if info.get("aof_enabled"):
        yield "aof"
    try:
        if server.config_get("save").get("save"):
            yield "rdb"
    except redis.ResponseError:  # managed services forbid CONFIG
        yield "unknown"
