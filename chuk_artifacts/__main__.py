"""``python -m chuk_artifacts`` and the command ``chuk-artifacts``."""

from __future__ import annotations

import sys

from chuk_artifacts.errors import how_to_install


def main() -> None:
    """Run the command line, or print how to install click."""
    try:
        from chuk_artifacts.cli import cli  # noqa: PLC0415 - it needs an extra
    except ModuleNotFoundError as error:
        if error.name != "click":
            raise
        sys.exit(f"the command line needs click: {how_to_install('cli')}")
    except KeyboardInterrupt:
        sys.exit(130)  # 128 + SIGINT, as shells report it
    cli(prog_name="chuk-artifacts")


if __name__ == "__main__":
    main()
