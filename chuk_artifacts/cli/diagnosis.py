"""The command doctor."""

from __future__ import annotations

import platform
import shutil
import sys
from collections.abc import Iterator, Mapping
from typing import Any

import attrs
import click

from chuk_artifacts import __version__
from chuk_artifacts.cli.opening import STORE_OPTIONS, chosen, missing_part, no_store, open_store, settings
from chuk_artifacts.cli.output import errors_in_one_line, in_words_of_options, print_json, shown
from chuk_artifacts.cli.tables import form_options, is_terminal, print_csv
from chuk_artifacts.cli.values import examples
from chuk_artifacts.settings import MEMORY, Settings, default_provider_of_commands, first_set

_PACKAGES = ("click", "rich", "fsspec", "boto3", "redis", "psycopg")
_SOURCES = {variable: option for option, (variable, _, _) in STORE_OPTIONS.items()}
_REMEDIES = {
    "storage": "check its settings (above), and that it can be reached",
    "session": "check --session-provider, the variable that names the catalog (above), and its server",
}
_HOUR = 3600


@attrs.frozen
class Setting:
    """A setting.

    Attributes:
        name: its name.
        value: its value, without secrets.
        source: what decided: an option, a variable, or ``default``.

    """

    name: str
    value: str
    source: str


@click.command(epilog=examples("chuk-artifacts doctor", "chuk-artifacts doctor --json"))
@form_options
def doctor(form: str | None) -> None:
    """Check the storage and the catalog, and report what they are.

    Prints where bytes and records are, each setting with what decided it, the versions, and warnings with what to do.
    The check writes and removes a few KiB. The exit status is 1 if one of them does not work, or may lose data, and if
    there is no store yet.
    """
    with errors_in_one_line():
        found = settings()
        missing = missing_part(found)
        sides = _absent(found) if missing is not None else _checked()
        warnings = [*_warnings(sides, found), *([] if missing is None else [f"{no_store(missing)}, or run init"])]
        _print(form, sides, list(_settings(found)), warnings)
    if warnings:
        sys.exit(1)


def _checked() -> dict[str, dict[str, str]]:
    with open_store(in_memory=True) as store:
        return store.validate_configuration(thorough=True)


def _absent(found: Settings) -> dict[str, dict[str, str]]:
    return {
        "storage": {"status": "absent", "provider": found.storage_provider},
        "session": {"status": "absent", "provider": found.session_provider},
    }


def _warnings(sides: Mapping[str, Mapping[str, str]], found: Settings) -> Iterator[str]:
    for side, facts in sides.items():
        if facts["status"] == "error":
            yield f"{side}: {facts['message']}: {_REMEDIES[side]}"
        if "warning" in facts:
            yield f"{side}: {in_words_of_options(facts['warning'])}"
    if found.session_provider == MEMORY != found.storage_provider:
        yield "session: choose --session-provider sqlite, redis or postgres (SESSION_PROVIDER)"
    if found.storage_provider == MEMORY != found.session_provider:
        yield "storage: choose --provider filesystem or another (ARTIFACT_PROVIDER)"


def _settings(found: Settings) -> Iterator[Setting]:
    """Yield each setting that this store uses."""
    yield _of("provider", found.storage_provider, "ARTIFACT_PROVIDER")
    yield _of("session-provider", found.session_provider, "SESSION_PROVIDER")
    if found.fs_root is not None:
        names = ("ARTIFACT_PROVIDER",) if _is_in_url() else ("ARTIFACT_FS_ROOT",)
        yield _of("root", found.fs_root, *names)
    if found.sqlite_path is not None:
        yield _of("catalog", found.sqlite_path, "SESSION_SQLITE_PATH", default="default: in the root")
    if found.redis_url is not None:
        yield _of("catalog", str(found.redis_url), "SESSION_REDIS_URL")
    if found.postgres_url is not None:
        yield _of("catalog", str(found.postgres_url), "SESSION_POSTGRES_URL")
        yield _of("schema", found.postgres_schema, "SESSION_POSTGRES_SCHEMA")
    if found.url is not None:
        yield _of("location", found.location or "-", "ARTIFACT_PROVIDER")
    if found.bucket is not None:
        names = ("ARTIFACT_PROVIDER",) if _is_in_url() else ("ARTIFACT_BUCKET",)
        yield _of("bucket", found.bucket.name, *names)
        endpoints = ("S3_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "IBM_COS_ENDPOINT")
        yield _of("endpoint", found.bucket.endpoint_url or "of the SDK", *endpoints)
        yield _of("region", found.bucket.region or "of the SDK", "AWS_REGION")
    yield _of("sandbox", found.sandbox_id, "ARTIFACT_SANDBOX_ID", default="default: derived from where the files are")
    ttl = "never" if found.session_ttl is None else f"{found.session_ttl / _HOUR:g} h"
    yield _of("session-ttl", ttl, "ARTIFACT_SESSION_TTL_HOURS")
    yield _of("gateway", found.gateway_url or "of this machine", "ARTIFACT_GATEWAY_URL")
    yield _of("keep-versions", str(found.keep_versions), "ARTIFACT_KEEP_VERSIONS")
    for name, limit in (("max-bytes", found.max_artifact_bytes), ("max-session-bytes", found.max_session_bytes)):
        yield _of(name, "no limit" if limit is None else str(limit), f"ARTIFACT_{name.replace('-', '_').upper()}")
    keys = len(found.signing_keys.secrets)
    yield _of("signing-key", f"{keys} configured" if keys else "made when needed", "ARTIFACT_SIGNING_KEY")


def _is_in_url() -> bool:
    """Return whether the provider is a URL, which names its folder or bucket."""
    return "://" in default_provider_of_commands()


def _of(name: str, value: str, *variables: str, default: str = "default") -> Setting:
    variable = first_set(*variables)
    if variable is None:
        return Setting(name, value, default)
    option = _SOURCES.get(variable)
    if option is not None and variable in chosen(click.get_current_context()):
        return Setting(name, value, f"option {option}")
    return Setting(name, value, f"variable {variable}")


def _versions() -> dict[str, str]:
    import sqlite3  # noqa: PLC0415 - the other commands start faster without
    from importlib.metadata import PackageNotFoundError, version  # noqa: PLC0415 - as above

    found = {"chuk-artifacts": __version__, "python": platform.python_version(), "sqlite": sqlite3.sqlite_version}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found


def _print(
    form: str | None, sides: Mapping[str, Mapping[str, str]], settings: list[Setting], warnings: list[str]
) -> None:
    rows = [attrs.asdict(setting) for setting in settings]
    if form == "csv":
        print_csv(rows, ("name", "value", "source"))
    elif form is not None:
        print_json({**sides, "settings": rows, "versions": _versions(), "warnings": warnings})
    else:
        for line in _report(sides, settings, warnings):
            click.echo(shown(line))


def _report(sides: Mapping[str, Mapping[str, Any]], settings: list[Setting], warnings: list[str]) -> Iterator[str]:
    for side, facts in sides.items():
        yield f"{side}: {facts['provider']}, {facts['status']}"
        for name, value in facts.items():
            if name not in {"provider", "status"}:
                yield f"  {name}: {value}"
    yield "settings:"
    yield from _columns(settings)
    yield "versions:"
    yield from (f"  {name} {found}" for name, found in _versions().items())
    if warnings:
        yield "warnings:"
        yield from (f"  {warning}" for warning in warnings)


def _columns(settings: list[Setting]) -> Iterator[str]:
    """Yield a line for each setting; on a narrow terminal two."""
    names = max(len(one.name) for one in settings)
    values = max(len(one.value) for one in settings)
    longest = names + values + max(len(one.source) for one in settings) + len("      ()")
    is_narrow = is_terminal() and shutil.get_terminal_size().columns < longest
    for one in settings:
        if is_narrow:
            yield f"  {one.name}: {one.value}"
            yield f"    ({one.source})"
        else:
            yield f"  {one.name:{names}}  {one.value:{values}}  ({one.source})"
