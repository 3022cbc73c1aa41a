"""Records and sessions in Redis, shared by any number of processes and machines."""

from chuk_artifacts.catalog.redis.catalog import KEPT_SECONDS, RedisCatalog, open_redis

__all__ = ["KEPT_SECONDS", "RedisCatalog", "open_redis"]
