"""Redaction: only the parts of URLs and options that are known to be harmless are shown and pickled."""

from __future__ import annotations

import pickle
import traceback

import pytest
from botocore.config import Config

from chuk_artifacts import ArtifactStore, ProviderError
from chuk_artifacts.settings import PostgresUrl, RedisUrl

SECRET = "hunter2"


class Handed:
    """An object of the caller whose pickle contains a secret."""

    def __init__(self):
        self.password = SECRET


PROXY = f"http://user:{SECRET}@127.0.0.1:3128"
BUCKET_OPTIONS = [
    {"config": Config(proxies={"https": PROXY, "http": "http://127.0.0.1:3128"})},
    {"config": Config(proxies={"https": f"user:{SECRET}@127.0.0.1:3128"})},
    {"config": Config(proxies={"https": f"http://{SECRET}@127.0.0.1:3128"})},
    {"config": Config(client_context_params={"x": SECRET})},
    {"config": Config(user_agent_extra=SECRET)},
    {"config": Config(s3={"addressing_style": "path", "x": Handed()})},
    {"config": Handed()},
    {"verify": Handed()},
    {"StorageClass": Handed()},
    {"StorageClass": [SECRET]},
    {"aws_session_token": SECRET, "aws_access_key_id": "a", "aws_secret_access_key": "b"},
]


@pytest.mark.parametrize("options", BUCKET_OPTIONS, ids=range(len(BUCKET_OPTIONS)))
def test_pickle_of_a_bucket(options):
    """Options of a bucket that are not known to be harmless are neither pickled nor shown."""
    with ArtifactStore(storage_provider="s3", endpoint_url="http://127.0.0.1:1", storage_options=options) as store:
        assert SECRET.encode() not in pickle.dumps(store)
        assert SECRET not in repr(store) + repr(store.scope.core.settings)
        with pickle.loads(pickle.dumps(store)) as copy:
            assert SECRET not in str(copy.scope.core.settings.storage_options)


def test_harmless_options_of_a_bucket_are_pickled():
    """A Config keeps its harmless options, and unset ones stay unset."""
    given = {"s3": {"addressing_style": "path"}, "read_timeout": 3, "retries": {"max_attempts": 2, "mode": "standard"}}
    proxies = {"http": "http://127.0.0.1:3128"}
    plain = {"verify": "/ca.pem", "use_ssl": False, "Tagging": "a=b&c=d", "profile_name": "p", "connect_timeout": 2}
    config = Config(proxies={**proxies, "https": PROXY}, **given)
    with ArtifactStore(storage_provider="s3", storage_options={**plain, "config": config}) as store:
        copy = pickle.loads(pickle.dumps(store))
    options = dict(copy.scope.core.settings.storage_options)
    config = options.pop("config")
    assert options == plain
    assert config.proxies == proxies
    assert {name: getattr(config, name) for name in given} == given
    assert Config(connect_timeout=7).merge(config).connect_timeout == 7
    copy.close()


URL_OPTIONS = [
    {"password": SECRET},
    {"pat": SECRET},
    {"anything": SECRET},
    {"anything": SECRET.encode()},
    {"anything": [{"x": SECRET}]},
    {"anything": [SECRET]},
    {"client_kwargs": {"endpoint_url": PROXY}},
    {"client_kwargs": {"a": {"b": {"c": SECRET}}}},
    {"endpoint_url": f"https://127.0.0.1?sig={SECRET}"},
    {"endpoint_url": f"https://{SECRET}@127.0.0.1"},
    {"proxy": PROXY},
    {"host": f"AccountName=x;AccountKey={SECRET}"},
    {"username": f"user:{SECRET}"},
    {"region": Handed()},
]


@pytest.mark.parametrize("options", URL_OPTIONS, ids=range(len(URL_OPTIONS)))
def test_pickle_of_a_url(options):
    """A string in the options of a filesystem is pickled only if its name is known to be harmless."""
    with ArtifactStore(storage_provider="memory://redaction", storage_options=options) as store:
        assert SECRET.encode() not in pickle.dumps(store)
        assert SECRET not in repr(store) + repr(store.scope.core.settings)


def test_harmless_options_of_a_url_are_pickled():
    """Numbers are pickled, and so are strings with well-known names, at any depth."""
    options = {
        "host": "127.0.0.1",
        "username": "bob@example.org",
        "timeout": 5,
        "anon": False,
        "client_kwargs": {"endpoint_url": "http://127.0.0.1:1", "region_name": "x"},
    }
    with ArtifactStore(storage_provider="memory://redaction", storage_options=options) as store:
        copy = pickle.loads(pickle.dumps(store))
    assert dict(copy.scope.core.settings.storage_options) == options
    copy.close()


@pytest.mark.parametrize("user", [f"user:{SECRET}", f"user%3A{SECRET}", f"user%3a{SECRET}", f":{SECRET}"])
def test_password_of_an_fsspec_url(user):
    """A colon between user and password may be percent-encoded."""
    with ArtifactStore(storage_provider=f"ftp://{user}@127.0.0.1:1/p", storage_options={"timeout": 1}) as store:
        assert SECRET.encode() not in pickle.dumps(store)
        with pytest.raises(ProviderError) as caught:
            store.store(b"x")
    assert SECRET not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize(
    "url",
    [
        f"redis://127.0.0.1:1/0?password={SECRET}",
        f"redis://127.0.0.1:1/0?%70assword={SECRET}",
        f"redis://127.0.0.1:1/0?db=0&pass%77%6Frd={SECRET}",
        f"redis://127.0.0.1:1/0?PASSWORD={SECRET}",
        f"redis://127.0.0.1:1/0?pass\nword={SECRET}",
        f"redis://127.0.0.1:1/0?db=0;password={SECRET}",
        f"redis://127.0.0.1:1/0;password={SECRET}",
        f"rediss://127.0.0.1:1/0?ssl_password={SECRET}",
        f"rediss://127.0.0.1:1/0?ssl_keyfile_pass={SECRET}",
        f"redis://127.0.0.1:1/0?credential_provider={SECRET}",
        f"redis://127.0.0.1:1/0?username=user:{SECRET}",
        f"redis://127.0.0.1:1/0?client_name=x%3Fpassword%3D{SECRET}",
        f"redis://user:{SECRET}@127.0.0.1:1",
        f"redis://user%3A{SECRET}@127.0.0.1:1",
        f"redis://:{SECRET}@127.0.0.1:1",
        f"redis://:{SECRET}",
        f"redis://:{SECRET}/a@127.0.0.1:1",
        f"redis://:a?{SECRET}@127.0.0.1:1",
        f"redis://:a#{SECRET}@127.0.0.1:1",
        f"unix://:{SECRET}@/run/redis.sock?db=0",
        f"unix:///run/redis.sock?%70assword={SECRET}",
        f"redis+sentinel://127.0.0.1:1,127.0.0.1:2/service/0?sentinel_password={SECRET}",
        f"redis+sentinel://127.0.0.1:1/service/0?sentinel_%70assword={SECRET}",
        f"redis+sentinel://127.0.0.1:1/service/0?%73entinel_password={SECRET}",
        f"redis+cluster://user:{SECRET}@127.0.0.1:1,127.0.0.1:2",
        f"redis+sentinel://a:b@127.0.0.1:1,user:{SECRET}@127.0.0.1:2/service/0",
        f"nonsense {SECRET}",
    ],
)
def test_password_of_a_redis_url(url):
    """No spelling of a password in a Redis URL is shown or pickled."""
    assert SECRET not in str(RedisUrl(url)) + repr(RedisUrl(url))
    assert SECRET.encode() not in pickle.dumps(RedisUrl(url))


@pytest.mark.parametrize(
    "url",
    [
        "redis://localhost:6379/0",
        "redis://bob@localhost/1?socket_timeout=5&ssl_cert_reqs=none",
        "rediss://[::1]:6379",
        "unix:///run/redis%20a.sock?db=0",
        "redis+sentinel://a:1,b:2,c/service/0?sentinel_socket_timeout=1",
        "redis+cluster://[::1]:1,b:2",
    ],
)
def test_harmless_redis_url(url):
    """The harmless parts of a Redis URL are shown."""
    assert str(RedisUrl(url)) == url


def test_redis_url_of_any_length():
    """A long URL that can't be parsed is rejected quickly."""
    assert str(RedisUrl("redis://" + "a" * 100_000 + "@:;")) == "redis"
    assert str(RedisUrl("redis://" + "a:1," * 100_000 + ";")) == "redis"


@pytest.mark.parametrize(
    "url",
    [
        f"postgresql://user:{SECRET}@127.0.0.1:1/db",
        f"postgres://user%3A{SECRET}@127.0.0.1:1/db",
        f"postgresql://:{SECRET}@127.0.0.1:1",
        f"postgresql://:{SECRET}@",
        f"postgresql://127.0.0.1:1/db?password={SECRET}",
        f"postgresql://127.0.0.1:1/db?pass%77ord={SECRET}",
        f"postgresql://127.0.0.1:1/db?user=u:{SECRET}",
        f"postgresql://127.0.0.1:1/db?sslmode=require&sslpassword={SECRET}",
        f"postgresql://127.0.0.1:1/db?options=-c%20my.secret%3D{SECRET}",
        f"postgresql://127.0.0.1:1/db?application_name=a%3Fpassword%3D{SECRET}",
        f"postgresql://127.0.0.1:1/db?passfile=/{SECRET}",
        f"postgresql://user:a/{SECRET}@127.0.0.1:1/db",
        f"postgresql://user:a?{SECRET}@127.0.0.1:1/db",
        f"postgresql://user:a#{SECRET}@127.0.0.1:1/db",
        f"postgresql://user:{SECRET}@h1:1,h2:2/db?target_session_attrs=read-write",
        f"postgresql://a:b@h1,user:{SECRET}@h2/db",
        f"postgresql://h/db:{SECRET}",
        f"host=h password={SECRET}",
        f"nonsense {SECRET}",
    ],
)
def test_password_of_a_postgres_url(url):
    """No spelling of a password in a PostgreSQL URL is shown or pickled."""
    assert SECRET not in str(PostgresUrl(url)) + repr(PostgresUrl(url))
    assert SECRET.encode() not in pickle.dumps(PostgresUrl(url))


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://",
        "postgresql:///files",
        "postgresql://bob@localhost:5432/files?sslmode=verify-full&connect_timeout=5",
        "postgres://h1:1,h2:2/files?target_session_attrs=read-write",
        "postgresql://[::1]:5432/files",
        "postgresql:///files?host=/run/postgresql&service=s",
    ],
)
def test_harmless_postgres_url(url):
    """The harmless parts of a PostgreSQL URL are shown."""
    assert str(PostgresUrl(url)) == url
    assert PostgresUrl(url) == pickle.loads(pickle.dumps(PostgresUrl(url)))
    assert PostgresUrl(url) != RedisUrl(url)


def test_postgres_url_of_any_length():
    """A long URL that can't be parsed is rejected quickly."""
    assert str(PostgresUrl("postgresql://" + "a" * 100_000 + "@:;")) == "postgres"
    assert str(PostgresUrl("postgresql://" + "a:1," * 100_000 + ";")) == "postgres"
