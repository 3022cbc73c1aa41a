"""The settings of a store, as one frozen value: an argument overrides the environment, which overrides the default.

No other module reads the environment.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any, Literal

import attrs

from chuk_artifacts.arguments import (
    LIMITS,
    MAX_AT_ONCE,
    MAX_VERSIONS,
    Limits,
    check_count,
    check_hours,
    check_path,
    check_positive,
    check_text,
    check_text_or_none,
    check_ttl,
    parse_duration,
)
from chuk_artifacts.errors import InvalidInputError, shown
from chuk_artifacts.grid import IDENTITY, ROOT, check_part, check_sandbox_id
from chuk_artifacts.instrumentation import AUTO, OTEL, Instrumentation
from chuk_artifacts.ownership import resolve_links
from chuk_artifacts.redaction import (
    public_bucket_options,
    public_options,
    public_postgres_url,
    public_redis_url,
    public_url,
    secret_values,
    secrets_of_url,
)

MEMORY, FILESYSTEM, SQLITE, REDIS, POSTGRES = "memory", "filesystem", "sqlite", "redis", "postgres"
S3, IBM_COS, IBM_COS_IAM = "s3", "ibm_cos", "ibm_cos_iam"
StorageProvider = Literal["memory", "filesystem", "fs", "s3", "ibm_cos", "ibm_cos_iam"] | str  # noqa: PYI051 - see below
"""The name of a storage provider, which editors complete, or a URL."""
SessionProvider = Literal["memory", "sqlite", "redis", "postgres"]
"""The name of a session provider."""
_DERIVED = re.compile("fs-[0-9a-f]{16}")  # see _derived_sandbox
_STORAGE_ALIASES = {"fs": FILESYSTEM}
_STORAGE_PROVIDERS = (MEMORY, FILESYSTEM, S3, IBM_COS, IBM_COS_IAM)
_SESSION_PROVIDERS = (MEMORY, SQLITE, REDIS, POSTGRES)
PUT_OPTIONS = frozenset(
    {
        "ACL",
        "BucketKeyEnabled",
        "CacheControl",
        "SSEKMSEncryptionContext",
        "SSEKMSKeyId",
        "ServerSideEncryption",
        "StorageClass",
        "Tagging",
    }
)
"""The storage options of buckets that are sent with each write; the others configure the client."""
SESSION_OPTIONS = frozenset({"aws_access_key_id", "aws_secret_access_key", "aws_session_token", "profile_name"})
"""The storage options of buckets that select credentials."""
TIMEOUT_OPTIONS = frozenset({"connect_timeout", "read_timeout"})
"""The storage options of buckets that limit the wait for a connection and for a response, in seconds."""
OWN_OPTIONS = frozenset({"direct", "part_size", "presign_upload"})
"""The storage options of buckets that this package handles and no SDK sees."""
NATIVE, GATEWAY = "native", "gateway"
"""The values of ``presign_upload``: upload to the service's own URLs, or through the gateway."""
_CLIENT_OPTIONS = TIMEOUT_OPTIONS | frozenset({"api_version", "config", "use_ssl", "verify"})
_PUBLIC_OPTIONS = (
    PUT_OPTIONS
    | TIMEOUT_OPTIONS
    | OWN_OPTIONS
    | {"api_version", "ibm_auth_endpoint", "profile_name", "use_ssl", "verify"}
)
"""The storage options of buckets that are pickled; so are the harmless options in ``config``."""
_STORAGE_OPTIONS = {
    MEMORY: frozenset[str](),
    FILESYSTEM: frozenset({"fsync"}),
    S3: PUT_OPTIONS | OWN_OPTIONS | _CLIENT_OPTIONS | SESSION_OPTIONS,
    IBM_COS: PUT_OPTIONS | OWN_OPTIONS | _CLIENT_OPTIONS | SESSION_OPTIONS,
    IBM_COS_IAM: PUT_OPTIONS | OWN_OPTIONS | _CLIENT_OPTIONS | {"ibm_api_key_id", "ibm_auth_endpoint"},
}
OBJECT_STORES = frozenset({"gs", "gcs", "abfs", "abfss", "az", "s3", "s3a", "oci", "ocilake", "oss"})
"""The protocols whose URLs begin with a bucket or container. A put is atomic there: the whole object or none."""
_LONGEST_TIMEOUT = 7 * 86400.0  # seconds; poll() accepts at most 24 days
# Bytes; limits of S3: https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html
_SHORTEST_PART, _LONGEST_PART = 5 * 1024**2, 5 * 1024**3
_DEFAULT_BUCKET = "artifacts"
_S3_URL = "s3://"
# https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucketnamingrules.html, and older, wider rules of other services
_BUCKET_NAME = r"[A-Za-z0-9][A-Za-z0-9._-]{2,254}"
_DEFAULT_ROOT = "./artifacts"
_CATALOG_FILE = "catalog.sqlite3"
_RANDOM_SANDBOX = "memory-"
# Patterns are compiled on first use; most stores never need them.
_BROKEN_PASSWORD = r"://[^/:@]*:(?!\d*(/|$|::))[^/@]*/.*@"  # noqa: S105
_FILE_URL = r"(file|local)://"
_URL = r"[a-z][a-z0-9+.-]*(://|::)"
_PROTOCOL = r"[a-z][a-z0-9+._-]*"
_SHORTEST_KEY_BYTES = 16  # RFC 2104 section 3 recommends the length of the hash (32), and at least half
_DEFAULT_REDIS_URL = "redis://localhost:6379/0"
_DEFAULT_POSTGRES_URL = "postgresql://"  # libpq's own defaults, and the variables PG*
_POSTGRES_URL = r"postgres(ql)?://.*"
_DEFAULT_POSTGRES_SCHEMA = "chuk_artifacts"
_POSTGRES_SCHEMA = r"(?!pg_)[A-Za-z_][A-Za-z0-9_-]{0,62}"  # PostgreSQL cuts longer names
_BASE_URL = r"(?ai)https?://[^/?#@\s\\]+(/[^?#\s\\]*)?"


GATEWAY_PORT = 8765
"""The default port of ``chuk-artifacts serve``."""


class _Default(int):
    """An int that is distinguishable, by identity, from the same number passed by a caller."""


DEFAULT_SESSION_TTL_HOURS = _Default(24)
"""The default of ``session_ttl_hours``. The environment overrides it, but not a number that the caller passes."""
DEFAULT_KEEP_VERSIONS = _Default(0)
"""The default of ``keep_versions``, likewise."""


class ServerUrl:
    """The URL of a server. Only *text* contains its passwords; ``str``, ``repr`` and pickles do not.

    Unpickling takes the passwords from the variable of that process, if it names the same server.

    Args:
        text: the URL.

    Attributes:
        text: the URL, with passwords.
        VARIABLE: the variable of the environment that configures such a URL.

    """

    __slots__ = ("text",)
    VARIABLE = ""

    def __init__(self, text: str) -> None:
        """Keep the URL."""
        self.text: str = text

    def __eq__(self, other: object) -> bool:
        """Return whether both are the same URL, including passwords."""
        return self.text == other.text if isinstance(other, type(self)) else NotImplemented

    def __hash__(self) -> int:
        """Return the hash of the URL."""
        return hash(self.text)

    def __str__(self) -> str:
        """Return the URL without passwords and options that may be secret; only a word if it can't be parsed."""
        raise NotImplementedError

    def __repr__(self) -> str:
        """Return ``str`` of the URL, quoted."""
        return repr(str(self))

    def __reduce__(self) -> tuple[object, ...]:
        """Pickle without passwords."""
        return _url_here, (type(self), str(self))


class RedisUrl(ServerUrl):
    """The URL of a Redis server."""

    __slots__ = ()
    VARIABLE = "SESSION_REDIS_URL"

    def __str__(self) -> str:
        """Return the URL without passwords and options that may be secret; ``redis`` if it can't be parsed."""
        return public_redis_url(self.text)


class PostgresUrl(ServerUrl):
    """The URL of a PostgreSQL server."""

    __slots__ = ()
    VARIABLE = "SESSION_POSTGRES_URL"

    def __str__(self) -> str:
        """Return the URL without passwords and options that may be secret; ``postgres`` if it can't be parsed."""
        return public_postgres_url(self.text)


def _url_here(kind: type[ServerUrl], shown: str) -> ServerUrl:
    """Return the URL *shown*, with passwords if the environment has them."""
    here = kind(_environment(kind.VARIABLE) or "")
    return here if str(here) == shown else kind(shown)


def default_provider_of_commands() -> str:
    """Return the storage provider of the command line. The default keeps data for the next command."""
    return _environment("ARTIFACT_PROVIDER") or FILESYSTEM


@contextlib.contextmanager
def overridden(variables: Mapping[str, str]) -> Iterator[None]:
    """Set variables of the environment for a block, so that processes which it starts inherit them."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def configured() -> list[str]:
    """Return the names of the variables in the environment that choose where stores are, and how they behave."""
    return [name for name in os.environ if name.startswith(("ARTIFACT_", "SESSION_"))]


def of_one_store(kept: Collection[str] = ()) -> dict[str, str]:
    """Return the variables to override so that none of this process describes another store, apart from those *kept*.

    An empty variable counts as unset.
    """
    return {name: "" for name in configured() if name not in kept}


def first_set(*names: str) -> str | None:
    """Return the first of these variables that the environment sets, or None."""
    return next((name for name in names if _environment(name) is not None), None)


def complete_url(url: str) -> str:
    """Return *url*, which was pickled without secrets, with the secrets that ``ARTIFACT_PROVIDER`` has for it."""
    here = _environment("ARTIFACT_PROVIDER") or ""
    return here if public_url(here) == url else url


def default_gateway_of_commands() -> str:
    """Return the gateway URL of the command line; the default is that of a local ``chuk-artifacts serve``."""
    return _environment("ARTIFACT_GATEWAY_URL") or f"http://127.0.0.1:{GATEWAY_PORT}"


class SigningKeys:
    """The keys that sign URLs. Only *secrets* contains them; ``repr`` and pickles do not.

    Unpickling takes the keys from ``ARTIFACT_SIGNING_KEY`` of that process.

    Args:
        secrets: the keys; the first signs, all verify. Empty: not configured.
        lost: whether keys were configured where this was pickled, but are not in this process.

    Attributes:
        secrets: the keys.
        lost: whether they were lost by pickling.

    """

    __slots__ = ("lost", "secrets")

    def __init__(self, secrets: tuple[str, ...], *, lost: bool = False) -> None:
        """Keep the keys."""
        self.secrets: tuple[str, ...] = secrets
        self.lost: bool = lost

    def __eq__(self, other: object) -> bool:
        """Return whether both are the same keys."""
        if not isinstance(other, SigningKeys):
            return NotImplemented
        return (self.secrets, self.lost) == (other.secrets, other.lost)

    def __hash__(self) -> int:
        """Return the hash of the keys."""
        return hash((self.secrets, self.lost))

    def __repr__(self) -> str:
        """Return the number of keys."""
        return f"<{len(self.secrets)} signing keys>"

    def __reduce__(self) -> tuple[object, ...]:
        """Pickle only whether there are keys."""
        return _signing_keys_here, (bool(self.secrets) or self.lost,)


def _signing_keys_here(configured: bool) -> SigningKeys:  # noqa: FBT001 - pickle knows no keywords
    here = _signing_keys(None)
    return here if here.secrets else SigningKeys((), lost=configured)


def ibm_api_key() -> str | None:
    """Return the API key of IBM Cloud. It is read when a client is made, and not kept."""
    return _environment("IBM_COS_APIKEY")


@attrs.frozen(kw_only=True)
class Bucket:
    """A bucket, and the prefix of the keys in it.

    Attributes:
        name: the name of the bucket.
        prefix: the prefix of all keys: empty, or ending with a slash.
        endpoint_url: the URL of the service, or None for AWS; IBM has no default.
        region: the region, or None for the SDK's configuration.
        instance_crn: the service instance of IBM Cloud, or None.

    """

    name: str
    prefix: str
    endpoint_url: str | None
    region: str | None
    instance_crn: str | None


@attrs.frozen(kw_only=True)
class Settings:
    """The complete settings of a store, checked.

    Attributes:
        storage_provider: the backend of the bytes.
        session_provider: the backend of records and sessions.
        sandbox_id: the namespace of the store.
        fs_root: the folder of the filesystem provider, absolute and without links; None for others.
        sqlite_path: the database file of the sqlite session provider; None for others.
        bucket: where the bytes of a bucket provider are; None for others.
        redis_url: the server of the redis session provider; None for others.
        postgres_url: the server of the postgres session provider; None for others.
        postgres_schema: the schema of its tables there.
        session_ttl: the default time to live of a session, in seconds; None: it does not expire.
        max_retries: how often a driver retries a failed request.
        max_connections: the largest number of connections of a driver.
        gateway_url: the URL of the gateway, without a trailing slash, or None to start one in this process.
        signing_keys: the keys that sign the URLs of the gateway.
        storage_options: further options of the storage.
        limits: the longest summaries, metas and user ids.
        keep_versions: how many earlier contents an artifact keeps for good, unless it has a number of its own.
        max_artifact_bytes: the largest artifact, in bytes; None: no limit.
        max_session_bytes: how many bytes the artifacts of a session may have together; None: no limit.
        url: the fsspec URL of the storage; None for other providers.
        instrumentation: what is informed of calls, or its name; None: nothing.

    """

    storage_provider: str
    session_provider: str
    sandbox_id: str
    fs_root: str | None
    sqlite_path: str | None
    bucket: Bucket | None
    redis_url: RedisUrl | None
    session_ttl: float | None
    max_retries: int
    max_connections: int
    gateway_url: str | None
    signing_keys: SigningKeys
    storage_options: Mapping[str, Any] = attrs.field(repr=False)
    limits: Limits = LIMITS
    keep_versions: int = 0
    max_artifact_bytes: int | None = None
    max_session_bytes: int | None = None
    url: str | None = attrs.field(default=None, repr=False)
    postgres_url: PostgresUrl | None = None
    postgres_schema: str = _DEFAULT_POSTGRES_SCHEMA
    instrumentation: Instrumentation | str | None = attrs.field(default=None, repr=False)

    def agrees(self, other: Settings) -> bool:
        """Return whether both describe the same store; the random sandbox names of stores in memory are ignored."""
        if self.sandbox_id.startswith(_RANDOM_SANDBOX) and other.sandbox_id.startswith(_RANDOM_SANDBOX):
            return self == attrs.evolve(other, sandbox_id=self.sandbox_id)
        return self == other

    def without_secrets(self) -> Settings:
        """Return the settings to pickle; the process that unpickles them reads secrets from its own environment.

        An instrumentation has connections and locks of its own: it stays, and another process uses its default.
        """
        if self.instrumentation is not None and not isinstance(self.instrumentation, str):
            return attrs.evolve(self, instrumentation=AUTO).without_secrets()
        if self.url is not None:
            options = public_options(self.storage_options)
            return attrs.evolve(self, url=public_url(self.url), storage_options=options)
        if self.bucket is not None:
            return attrs.evolve(self, storage_options=public_bucket_options(self.storage_options, _PUBLIC_OPTIONS))
        return attrs.evolve(self, storage_options={"fsync": True} if self.fsync else {})

    @property
    def location(self) -> str | None:
        """Where the bytes are, without secrets: a folder, ``s3://bucket/prefix`` or a URL; None: in memory."""
        if self.url is not None:
            return public_url(self.url)
        if self.bucket is not None:
            return f"s3://{self.bucket.name}/{self.bucket.prefix}".rstrip("/")
        return self.fs_root if self.storage_provider == FILESYSTEM else None

    @property
    def secrets(self) -> tuple[str, ...]:
        """The secrets of the URL and its options, which no message may contain, the longest first."""
        found = {*secret_values(self.storage_options), *secrets_of_url(self.url or "")}
        return tuple(sorted(filter(None, found), key=len, reverse=True))

    @property
    def fsync(self) -> bool:
        """Whether a write is on the disk before it returns."""
        return bool(self.storage_options.get("fsync", False))

    @property
    def part_size(self) -> int | None:
        """The size in bytes of the parts of a multipart upload; None: the storage decides."""
        size: int | None = self.storage_options.get("part_size")
        return size

    @property
    def presign_upload(self) -> str | None:
        """Which URLs take uploads to a bucket, ``NATIVE`` or ``GATEWAY``; None: the service decides."""
        chosen: str | None = self.storage_options.get("presign_upload")
        return chosen


@attrs.frozen(kw_only=True)
class StoreArguments:
    """The keyword arguments of ``ArtifactStore``, without the clock, as the caller gave them: not checked yet."""

    storage_provider: object = None
    session_provider: object = None
    bucket: object = None
    sandbox_id: object = None
    fs_root: object = None
    session_ttl_hours: object = DEFAULT_SESSION_TTL_HOURS
    max_retries: object = 3
    max_connections: object = 32
    endpoint_url: object = None
    region: object = None
    redis_url: object = attrs.field(default=None, repr=False)
    postgres_url: object = attrs.field(default=None, repr=False)
    postgres_schema: object = None
    gateway_url: object = None
    signing_key: object = attrs.field(default=None, repr=False)
    storage_options: object = attrs.field(default=None, repr=False)
    max_summary_bytes: object = LIMITS.summary
    max_meta_bytes: object = LIMITS.meta
    max_user_id_bytes: object = LIMITS.user_id
    keep_versions: object = DEFAULT_KEEP_VERSIONS
    max_artifact_bytes: object = None
    max_session_bytes: object = None
    instrumentation: object = AUTO

    @property
    def limits(self) -> Limits:
        """The limits of a record.

        Raises:
            InvalidInputError: a limit is not an int or is below 0, or *max_meta_bytes* is below 2, the length of
                ``{}``.

        """
        return Limits(
            summary=check_count("max_summary_bytes", self.max_summary_bytes, 0),
            meta=check_count("max_meta_bytes", self.max_meta_bytes, 2),
            user_id=check_count("max_user_id_bytes", self.max_user_id_bytes, 0),
        )


def resolve(*, now: float, **arguments: object) -> Settings:
    """Return complete settings from the arguments of ``ArtifactStore``, the environment and the defaults.

    Args:
        now: the current time in seconds since the epoch.
        arguments: the fields of :class:`StoreArguments`.

    Raises:
        InvalidInputError: a provider is unknown, or a value is invalid.

    """
    given = StoreArguments(**arguments)
    storage, url = _storage_provider(given.storage_provider)
    sessions = _session_provider(given.session_provider, storage)
    root = _folder(_root_of(storage, url, given.fs_root) or _environment("ARTIFACT_FS_ROOT") or _DEFAULT_ROOT)
    bucket = _bucket(storage, url, given) if storage in {S3, IBM_COS, IBM_COS_IAM} else None
    sqlite_path = _sqlite_path(root) if sessions == SQLITE else None
    moves = sqlite_path is not None and os.path.dirname(sqlite_path) == root  # with its folder
    return Settings(
        storage_provider=storage,
        session_provider=sessions,
        sandbox_id=_sandbox(given.sandbox_id) or _derived_sandbox(storage, root, bucket, url, moves=moves),
        fs_root=root if storage == FILESYSTEM else None,
        sqlite_path=sqlite_path,
        bucket=bucket,
        redis_url=_redis_url(given.redis_url) if sessions == REDIS else None,
        postgres_url=_postgres_url(given.postgres_url) if sessions == POSTGRES else None,
        postgres_schema=_postgres_schema(given.postgres_schema) if sessions == POSTGRES else _DEFAULT_POSTGRES_SCHEMA,
        session_ttl=_session_ttl(given.session_ttl_hours, now),
        max_retries=check_count("max_retries", given.max_retries, 0, MAX_AT_ONCE),
        max_connections=check_count("max_connections", given.max_connections, 1, MAX_AT_ONCE),
        gateway_url=_gateway_url(given.gateway_url),
        signing_keys=_signing_keys(given.signing_key),
        storage_options=_options(storage, url, given.storage_options),
        limits=given.limits,
        keep_versions=_keep_versions(given.keep_versions),
        max_artifact_bytes=_quota("max_artifact_bytes", given.max_artifact_bytes, "ARTIFACT_MAX_BYTES"),
        max_session_bytes=_quota("max_session_bytes", given.max_session_bytes, "ARTIFACT_MAX_SESSION_BYTES"),
        url=url if _is_url(storage) else None,
        instrumentation=_instrumentation(given.instrumentation),
    )


def _environment(name: str) -> str | None:
    """Return a variable of the environment; None if it is unset or empty."""
    return os.environ.get(name) or None


def _storage_provider(given: object) -> tuple[str, str | None]:
    """Return the provider, and for a URL its bucket and prefix (S3) or the URL itself; None for a plain name."""
    text = check_text("storage_provider", given or _environment("ARTIFACT_PROVIDER") or MEMORY)
    provider = _STORAGE_ALIASES.get(text, text)
    if provider in _STORAGE_PROVIDERS:
        return provider, None
    if provider.startswith(_S3_URL):
        return S3, provider.removeprefix(_S3_URL)
    if re.match(_FILE_URL, provider) and "::" not in provider:
        return FILESYSTEM, provider
    if re.match(_URL, provider):
        return _protocols(provider), provider
    raise _unknown("storage_provider", text, (*_STORAGE_PROVIDERS, *_STORAGE_ALIASES, "protocol://path"))


def _is_url(provider: str) -> bool:
    return provider.endswith("://")


def _protocols(url: str) -> str:
    """Return the protocols of a URL or a chain of URLs, for example ``dir::sftp://``; check that each has a driver.

    Raises:
        InvalidInputError: fsspec has no driver for a protocol, or its package is missing, or the URL can't be parsed.

    """
    from fsspec.registry import get_filesystem_class  # noqa: PLC0415 - only URLs need it

    if re.search(_BROKEN_PASSWORD, url):
        raise InvalidInputError("storage_provider: a password with a slash can't be in a URL, but in storage_options")
    chain = [one.partition("://") for one in url.split("::")]
    protocols = [protocol for protocol, _, _ in chain]
    if protocols[-1] in OBJECT_STORES and not _names_bucket(chain):
        raise InvalidInputError(f"storage_provider {shown(protocols[-1] + '://')} must name a bucket or container")
    for protocol in protocols:
        if not re.fullmatch(_PROTOCOL, protocol):  # no value in the message: it may contain a password
            raise InvalidInputError("storage_provider is neither a URL nor a chain of URLs")
        try:
            get_filesystem_class(protocol)
        except (ImportError, ValueError) as error:  # a package is missing, or the protocol is unknown
            raise InvalidInputError(f"storage_provider {shown(protocol + '://')}: {error}") from error
    return "::".join(protocols) + "://"


def _names_bucket(chain: list[tuple[str, str, str]]) -> bool:
    """Return whether the last URL of a chain, or a folder in it (``dir://bucket/folder::gs://``), names a bucket."""
    paths = [path for protocol, _, path in chain[:-1] if protocol == "dir"]
    return any(re.match(r"[^/?#@]", path) for path in (*paths, chain[-1][2]))


def _root_of(provider: str, url: str | None, fs_root: object) -> object:
    """Return the root folder from a file URL or from the argument."""
    if provider != FILESYSTEM or not url:
        return fs_root
    if fs_root is not None:
        raise InvalidInputError("fs_root and the path of storage_provider both name the root: pass only one of them")
    return re.sub(r"^/(?=[A-Za-z]:)", "", re.sub(_FILE_URL, "", url))  # file:///C:/data is C:/data


def _session_provider(given: object, storage: str) -> str:
    default = SQLITE if storage == FILESYSTEM else MEMORY
    provider = check_text("session_provider", given or _environment("SESSION_PROVIDER") or default)
    if provider not in _SESSION_PROVIDERS:
        raise _unknown("session_provider", provider, _SESSION_PROVIDERS)
    return provider


def _unknown(argument: str, name: str, known: tuple[str, ...]) -> InvalidInputError:
    scheme, is_url, _ = name.partition("://")
    what = "is not known"
    word = scheme + is_url  # the rest of a URL may contain a password
    return InvalidInputError(f"{argument} {shown(word)} {what}; known are {', '.join(map(repr, known))}")


def _folder(path: object) -> str:
    return os.path.realpath(os.path.expanduser(check_path("fs_root", path)))


def _sqlite_path(root: str) -> str:
    configured = _environment("SESSION_SQLITE_PATH")
    return resolve_links(os.path.expanduser(configured)) if configured else os.path.join(root, _CATALOG_FILE)


def _bucket(provider: str, url: str | None, given: StoreArguments) -> Bucket:
    name, _, path = ("", "", "") if url is None else url.partition("/")
    bucket = check_text_or_none("bucket", given.bucket)
    if url is None:
        name = bucket or _environment("ARTIFACT_BUCKET") or _DEFAULT_BUCKET
    elif bucket not in {None, name}:
        raise InvalidInputError("bucket and storage_provider name different buckets")
    return Bucket(
        name=_bucket_name(name),
        prefix=_prefix(path),
        endpoint_url=_endpoint(provider, given.endpoint_url, given.storage_options),
        region=check_text_or_none("region", given.region) or _environment("AWS_REGION"),
        instance_crn=_environment("IBM_COS_INSTANCE_CRN") if provider == IBM_COS_IAM else None,
    )


def _bucket_name(name: str) -> str:
    if not re.fullmatch(_BUCKET_NAME, name):
        raise InvalidInputError("bucket must be 3 to 255 letters, digits and any of '.', '-', '_'")
    return name


def _prefix(path: str) -> str:
    parts = path.strip("/").split("/")
    if parts == [""]:
        return ""
    for part in parts:
        check_part("the prefix of storage_provider", part)
    return "/".join(parts) + "/"


def _endpoint(provider: str, given: object, options: object) -> str | None:
    name = "S3_ENDPOINT_URL" if provider == S3 else "IBM_COS_ENDPOINT"
    url = check_text_or_none("endpoint_url", given) or _environment(name)
    if url is None and provider == S3:
        url = _endpoint_of_sdk(options if isinstance(options, Mapping) else {})
    if url is None:
        return None
    from urllib.parse import urlsplit  # noqa: PLC0415 - only endpoint_url needs it

    try:
        parts = urlsplit(url)
    except ValueError:
        parts = urlsplit("")
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.username is not None or parts.query:
        raise InvalidInputError("endpoint_url must be of the form https://host[:port], without user and password")
    return url.rstrip("/")


def _endpoint_of_sdk(options: Mapping[str, Any]) -> str | None:
    """Return the endpoint that the AWS SDK is configured with, in the environment or in its files."""
    ignored = _environment("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS") or ""
    if getattr(options.get("config"), "ignore_configured_endpoint_urls", None) or ignored.lower() == "true":
        return None
    url = _environment("AWS_ENDPOINT_URL_S3") or _environment("AWS_ENDPOINT_URL")
    if url is not None:
        return url
    from chuk_artifacts.aws_files import endpoint_in_files  # noqa: PLC0415 - only this needs it

    profile = options.get("profile_name")
    files = [
        _environment("AWS_CONFIG_FILE") or "~/.aws/config",
        _environment("AWS_SHARED_CREDENTIALS_FILE") or "~/.aws/credentials",
    ]
    return endpoint_in_files(files, profile if isinstance(profile, str) else None)


def _redis_url(given: object) -> RedisUrl:
    return RedisUrl(check_text("redis_url", given or _environment("SESSION_REDIS_URL") or _DEFAULT_REDIS_URL))


def _postgres_url(given: object) -> PostgresUrl:
    text = check_text("postgres_url", given or _environment("SESSION_POSTGRES_URL") or _DEFAULT_POSTGRES_URL)
    if not re.fullmatch(_POSTGRES_URL, text, re.DOTALL):  # no value in the message: it may contain a password
        raise InvalidInputError("postgres_url must begin with postgresql:// or postgres://")
    return PostgresUrl(text)


def _postgres_schema(given: object) -> str:
    name = _given("postgres_schema", given, "SESSION_POSTGRES_SCHEMA") or _DEFAULT_POSTGRES_SCHEMA
    if not re.fullmatch(_POSTGRES_SCHEMA, name):
        raise InvalidInputError(
            "postgres_schema has at most 63 letters, digits, '_' and '-', begins with a letter or '_', and not with"
            f" 'pg_': {shown(name)}"
        )
    return name


def _sandbox(given: object) -> str | None:
    """Return the configured sandbox id, or None when it is to be derived."""
    sandbox_id = _environment("ARTIFACT_SANDBOX_ID") if given is None else given
    return None if sandbox_id is None else check_sandbox_id(sandbox_id)


def _derived_sandbox(provider: str, root: str, bucket: Bucket | None, url: str | None, *, moves: bool) -> str:
    """Return a name that depends only on the root, bucket or URL; for memory, a random one.

    A folder whose catalog *moves* with it has its name in it, and keeps that when it is moved or copied. With records
    elsewhere it would be dangerous: a copy could remove the records of the original.
    """
    if bucket is not None:
        location = "\0".join((bucket.endpoint_url or "", bucket.name, bucket.prefix))
        return f"bucket-{hashlib.sha256(location.encode()).hexdigest()[:16]}"
    if _is_url(provider):
        return f"url-{hashlib.sha256(public_url(url or '').rstrip('/').encode()).hexdigest()[:16]}"
    if provider == FILESYSTEM:
        derived = f"fs-{hashlib.sha256(os.fsencode(root)).hexdigest()[:16]}"
        found = _derived_names(root) if moves else []
        return found[0] if len(found) == 1 else derived
    return f"{_RANDOM_SANDBOX}{os.urandom(8).hex()}"


def _derived_names(root: str) -> list[str]:
    """Return the names in a root folder that were derived, from this path or from an earlier one."""
    names: set[str] = set()
    for folder in (ROOT, IDENTITY):
        with contextlib.suppress(OSError):  # the first write makes it; what can't be read fails there
            names.update(os.listdir(os.path.join(root, folder)))
    return list(filter(_DERIVED.fullmatch, names))


def _session_ttl(hours: object, now: float) -> float | None:
    configured = _environment("ARTIFACT_SESSION_TTL_HOURS")
    if hours is not DEFAULT_SESSION_TTL_HOURS or configured is None:
        return check_hours("session_ttl_hours", hours, now)
    try:
        ttl = parse_duration(configured, unit="h")
    except InvalidInputError as error:
        raise InvalidInputError(
            f"ARTIFACT_SESSION_TTL_HOURS must be a number of hours, or a duration: {error}"
        ) from None
    return check_ttl("ARTIFACT_SESSION_TTL_HOURS", ttl, now)


def _instrumentation(given: object) -> Instrumentation | str | None:
    name = _environment("ARTIFACT_INSTRUMENTATION") or AUTO if given is AUTO else given
    if name is None or name == "none":
        return None
    if isinstance(name, str):
        if name not in {AUTO, OTEL}:
            raise _unknown("instrumentation", name, (AUTO, OTEL, "none"))
        return name
    if not isinstance(name, Instrumentation):
        raise InvalidInputError(f"instrumentation must have the methods begin and end: {shown(name)}")
    return name


def _keep_versions(given: object) -> int:
    configured = _environment("ARTIFACT_KEEP_VERSIONS")
    if given is DEFAULT_KEEP_VERSIONS and configured is not None:
        if not re.fullmatch(r"[0-9]{1,9}", configured):
            raise InvalidInputError(f"ARTIFACT_KEEP_VERSIONS must be a whole number: {shown(configured)}")
        return check_count("ARTIFACT_KEEP_VERSIONS", int(configured), 0, MAX_VERSIONS)
    return check_count("keep_versions", given, 0, MAX_VERSIONS)


def _quota(name: str, given: object, variable: str) -> int | None:
    """Return a number of bytes, or None for no limit."""
    configured = _environment(variable)
    if given is None and configured is not None:
        if re.fullmatch("[0-9]{1,19}", configured) is None:
            raise InvalidInputError(f"{variable} must be a whole number of bytes: {shown(configured)}")
        return check_count(variable, int(configured), 0)
    return None if given is None else check_count(name, given, 0)


def _gateway_url(given: object) -> str | None:
    url = _given("gateway_url", given, "ARTIFACT_GATEWAY_URL")
    if url is not None and not re.fullmatch(_BASE_URL, url):
        raise InvalidInputError("gateway_url must be an http or https URL without user, query and fragment")
    return None if url is None else url.rstrip("/")


def _signing_keys(given: object) -> SigningKeys:
    text = _given("signing_key", given, "ARTIFACT_SIGNING_KEY")
    secrets = tuple(key for key in map(str.strip, (text or "").split(",")) if key)
    if text is not None and not secrets:
        raise InvalidInputError("signing_key must hold a key, or several with commas between them")
    if any(len(key.encode()) < _SHORTEST_KEY_BYTES for key in secrets):
        found = "it" if len(secrets) == 1 else f"one of the {len(secrets)} (a comma separates keys)"
        raise InvalidInputError(
            f"signing_key must be at least {_SHORTEST_KEY_BYTES} bytes long, and {found} is shorter:"
            ' make one with "openssl rand -hex 32"'
        )
    return SigningKeys(secrets)


def _given(argument: str, value: object, variable: str) -> str | None:
    return check_text_or_none(argument, _environment(variable) if value is None else value)


def _options(provider: str, url: str | None, options: object) -> dict[str, object]:
    if options is None:
        return {}
    if not isinstance(options, Mapping):
        raise InvalidInputError(f"storage_options must be a mapping, not {type(options).__name__}")
    if _is_url(provider):
        return {check_text("a name in storage_options", name): value for name, value in options.items()}
    if (
        provider == FILESYSTEM and url is not None
    ):  # fsspec's own driver for these URLs needs the option; ours always makes folders
        options = {name: value for name, value in options.items() if name != "auto_mkdir"}
    if options.get("part_size") is not None:
        check_count("part_size in storage_options", options["part_size"], _SHORTEST_PART, _LONGEST_PART)
    known = _STORAGE_OPTIONS[provider]
    if not isinstance(options.get("direct", True), bool):
        raise InvalidInputError("storage_options['direct'] must be True or False")
    unknown = sorted(str(name) for name in options if name not in known)
    if unknown:
        listed = ", ".join(map(repr, sorted(known))) or "none"
        raise InvalidInputError(f"storage_options of {provider!r} has no {shown(unknown[0])}; known: {listed}")
    for name in sorted(TIMEOUT_OPTIONS & options.keys()):
        check_positive(f"storage_options[{name!r}]", options[name], _LONGEST_TIMEOUT)
    return {**options, **_presign_upload(provider, options)}


def _presign_upload(provider: str, options: Mapping[str, object]) -> dict[str, str]:
    """Return the option ``presign_upload``, checked."""
    if options.get("presign_upload") is None:
        return {}
    chosen = check_text("storage_options['presign_upload']", options["presign_upload"])
    if chosen not in {NATIVE, GATEWAY}:
        raise InvalidInputError(
            f"storage_options['presign_upload'] must be {NATIVE!r} or {GATEWAY!r}, not {shown(chosen)}"
        )
    if chosen == NATIVE and provider == IBM_COS_IAM:
        raise InvalidInputError(f"storage_options['presign_upload']: {provider!r} signs no URLs of its own")
    return {"presign_upload": chosen}
