"""Redaction of URLs and options: messages and pickles get only the parts that are known to be harmless."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

# Patterns are compiled on first use; most stores never need them.
PASSWORD = r"(?<=://)([^/:@]*?)(?::|%3[Aa])([^/]*)@"  # noqa: S105 - a pattern
QUERY = r"\?(.*?)(?=::|$)"
_CREDENTIALS = r"(?:^|//)([^/@:]*):?([^/@]*)@"
_SECRET_NAME = (
    r"(?i)pass|pwd|secret|token|key|cred|auth|sas|sign|cookie|header|conn.*str|private|cert|user_?info"  # noqa: S105
    r"|jwt|bearer|ticket|otp|^(pin|pat|acct)$"
)
_SUSPICIOUS = r"[@?=;]"  # in a user with a password, a query, or a list of settings
_USERS = frozenset({"user", "username"})
_PLAIN_TEXTS = _USERS | {
    "account_name", "acl", "addressing_style", "base_url", "branch", "bucket", "cache_storage", "cache_type",
    "compression", "consistency", "container", "container_name", "database", "default_acl", "default_cache_type",
    "default_location", "domain", "encoding", "endpoint", "endpoint_override", "endpoint_url", "host", "hostname",
    "location", "mode", "org", "path", "port", "profile", "profile_name", "project", "protocol", "ref", "region",
    "region_name", "remote_protocol", "repo", "root", "share", "share_access", "signature_version", "target_protocol",
    "tenant_id", "version", "workspace",
}  # fmt: skip
"""The options of filesystems whose values are pickled if they are strings. Any other string may be a secret."""

_PLAIN_CONFIG = frozenset(
    {
        "client_cert", "connect_timeout", "defaults_mode", "disable_request_compression", "endpoint_discovery_enabled",
        "ignore_configured_endpoint_urls", "inject_host_prefix", "max_pool_connections", "parameter_validation",
        "proxies", "proxies_config", "read_timeout", "region_name", "request_checksum_calculation",
        "request_min_compression_size_bytes", "response_checksum_validation", "retries", "s3",
        "s3_disable_express_session_auth", "signature_version", "sigv4a_signing_region_set", "tcp_keepalive",
        "use_dualstack_endpoint", "use_fips_endpoint",
    }
)  # fmt: skip
"""The options of botocore's ``Config`` that are pickled if their values are plain."""
_CONFIGS = frozenset({("botocore.config", "Config"), ("ibm_botocore.config", "Config")})

_PLAIN_REDIS = frozenset(
    {
        "client_name", "db", "decode_responses", "encoding", "encoding_errors", "health_check_interval",
        "max_connections", "protocol", "retry_on_timeout", "socket_connect_timeout", "socket_keepalive",
        "socket_read_size", "socket_timeout", "ssl_ca_certs", "ssl_ca_path", "ssl_cert_reqs", "ssl_certfile",
        "ssl_check_hostname", "ssl_ciphers", "ssl_keyfile", "ssl_min_version", "ssl_validate_ocsp", "timeout",
    }
)  # fmt: skip
"""The options in the query of a Redis URL that are shown; those of Sentinels begin with ``sentinel_``."""
_HOST = r"(\[[0-9A-Fa-f:.%]+\]|[^][@:/?#,;=&]*)(:\d*)?"
_REDIS_URL = (
    r"(?P<scheme>(redis|rediss|unix)(\+[a-z]+)?://)((?P<user>[^:@/?#]*)(:[^@/?#]*)?@)?"
    rf"(?P<server>{_HOST}(,{_HOST})*(/[^@?#;=&]*)?)([?](?P<query>[^@#]*))?"
)


_PLAIN_POSTGRES = frozenset(
    {
        "application_name", "channel_binding", "client_encoding", "connect_timeout", "dbname",
        "fallback_application_name", "gssencmode", "host", "hostaddr", "keepalives", "keepalives_count",
        "keepalives_idle", "keepalives_interval", "load_balance_hosts", "port", "require_auth", "service", "sslcert",
        "sslcrl", "sslkey", "sslmode", "sslnegotiation", "sslrootcert", "sslsni", "ssl_min_protocol_version",
        "target_session_attrs", "tcp_user_timeout", "user",
    }
)  # fmt: skip
"""The options in the query of a PostgreSQL URL that are shown."""
_POSTGRES_URL = (
    r"(?P<scheme>postgres(ql)?://)((?P<user>[^:@/?#]*)(:[^@/?#]*)?@)?"
    rf"(?P<server>({_HOST}(,{_HOST})*)?(/[^@?#;=&:]*)?)([?](?P<query>[^@#]*))?"
)


def public_url(url: str) -> str:
    """Return a URL, or a chain of URLs, without passwords and queries, which may contain a signature."""
    return re.sub(QUERY, "", re.sub(PASSWORD, r"\1@", url))


def public_redis_url(url: str) -> str:
    """Return the URL of a Redis server without passwords and options that may contain one.

    Return ``redis`` if the URL can't be parsed.
    """
    return _public_server(_REDIS_URL, url, _is_plain_redis_option) or "redis"


def public_postgres_url(url: str) -> str:
    """Return the URL of a PostgreSQL server without passwords and options that may contain one.

    Return ``postgres`` if the URL can't be parsed.
    """
    return _public_server(_POSTGRES_URL, url, _is_plain_postgres_option) or "postgres"


def _public_server(pattern: str, url: str, is_plain: Callable[[str], bool]) -> str | None:
    match = re.fullmatch(pattern, url)
    if match is None:
        return None
    user = "" if not match["user"] or ":" in _decoded(match["user"]) else f"{match['user']}@"
    query = "&".join(filter(is_plain, (match["query"] or "").split("&")))
    return f"{match['scheme']}{user}{match['server']}{'?' if query else ''}{query}"


def _is_plain_postgres_option(option: str) -> bool:
    name, _, value = map(_decoded, option.partition("="))
    return name in _PLAIN_POSTGRES and not re.search(_SUSPICIOUS, value) and not (name == "user" and ":" in value)


def _is_plain_redis_option(option: str) -> bool:
    name, _, value = map(_decoded, option.partition("="))
    return name.removeprefix("sentinel_") in _PLAIN_REDIS and not re.search(_SUSPICIOUS, value)


def public_options(options: Mapping[str, object]) -> dict[str, object]:
    """Return the options of a filesystem that are known to be harmless.

    A number is harmless unless its name suggests a secret; a string only if its name is in a list.
    """
    public: dict[str, object] = {}
    for name, value in options.items():
        if name not in _PLAIN_TEXTS and re.search(_SECRET_NAME, str(name)):
            continue
        if isinstance(value, Mapping):
            public[name] = public_options(value)
        elif _is_plain(value, text=name in _PLAIN_TEXTS, user=name in _USERS):
            public[name] = value
    return public


def public_bucket_options(options: Mapping[str, object], plain: frozenset[str]) -> dict[str, object]:
    """Return the storage options of a bucket that are named in *plain* and whose values are harmless."""
    public = {name: value for name, value in options.items() if name in plain and _is_plain_in_bucket(name, value)}
    config = _public_config(options.get("config"))
    return public if config is None else {**public, "config": config}


def _is_plain_in_bucket(name: str, value: object) -> bool:
    return (
        type(value) is str if name[0].isupper() else _is_plain(value)
    )  # an option of S3 itself, for example "Tagging": "a=b"


def _public_config(config: Any) -> object:
    """Return a copy of botocore's ``Config`` with its harmless options; None for any other value."""
    if (type(config).__module__, type(config).__name__) not in _CONFIGS:
        return None
    given = config._user_provided_options  # noqa: SLF001 - as its ``merge`` does; attributes include defaults
    return type(config)(**_plain_items({name: given[name] for name in given if name in _PLAIN_CONFIG}))


def _plain_items(options: Mapping[str, object]) -> dict[str, object]:
    """Return the plain items of a mapping, including those of nested mappings."""
    items = {name: _plain_items(value) if isinstance(value, Mapping) else value for name, value in options.items()}
    return {name: value for name, value in items.items() if isinstance(value, dict) or _is_plain(value)}


def _is_plain(value: object, *, text: bool = True, user: bool = False) -> bool:
    """Return whether a value is a number, None, or, if *text* is allowed, a string without suspicious characters."""
    if isinstance(value, (list, tuple)):
        return all(_is_plain(item, text=text, user=user) for item in value)
    if type(value) is str:
        return text and not re.search(r"[:?]" if user else _SUSPICIOUS, value)
    return value is None or type(value) in {bool, int, float}


def secret_values(options: object, *, secret: bool = False) -> Iterator[str]:
    """Iterate over the strings in options that no message may contain: values of secret names, passwords in URLs."""
    if isinstance(options, Mapping):
        for name, value in options.items():
            yield from secret_values(value, secret=secret or _is_secret_name(name))
    elif isinstance(options, (list, tuple)):
        for value in options:
            yield from secret_values(value, secret=secret)
    elif isinstance(options, bytes):
        yield from secret_values(options.decode(errors="replace"), secret=secret)
    elif isinstance(options, str) and secret:
        yield options
    elif isinstance(options, str):
        yield from _passwords(options)


def _is_secret_name(name: object) -> bool:
    return name not in _PLAIN_TEXTS and bool(re.search(_SECRET_NAME, str(name)))


def _passwords(url: str) -> Iterator[str]:
    for match in re.finditer(_CREDENTIALS, url):
        if match[2]:
            yield from (match[2], _decoded(match[2]))


def secrets_of_url(url: str) -> Iterator[str]:
    """Iterate over the passwords and queries of a URL, or a chain of URLs, encoded and decoded."""
    for pattern, group in ((PASSWORD, 2), (QUERY, 1)):
        for match in re.finditer(pattern, url):
            yield from (match[group], _decoded(match[group]))


def _decoded(text: str) -> str:
    from urllib.parse import unquote  # noqa: PLC0415 - only URLs need it

    return unquote(text)
