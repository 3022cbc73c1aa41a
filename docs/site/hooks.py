"""MkDocs calls this: it puts the help of each command where a page says ``<!-- commands -->``."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import click

from chuk_artifacts.cli import cli

PROGRAM = "chuk-artifacts"
PLACE = "<!-- commands -->"


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Return the Markdown of a page with the commands in it."""
    return markdown.replace(PLACE, "\n".join(_sections())) if PLACE in markdown else markdown


def _sections() -> Iterator[str]:
    root = click.Context(cli, info_name=PROGRAM)
    yield from _section(cli, root)
    for name, command in sorted(cli.commands.items()):
        context = click.Context(command, info_name=name, parent=root)
        if not isinstance(command, click.Group):
            yield from _section(command, context)
            continue
        for below, one in sorted(command.commands.items()):
            yield from _section(one, click.Context(one, info_name=below, parent=context))


def _section(command: click.Command, context: click.Context) -> Iterator[str]:
    with context:
        yield f"## {context.command_path}\n\n```text\n{command.get_help(context)}\n```\n"
