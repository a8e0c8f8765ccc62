"""python -m localent, and the command `localent`."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line. Ctrl-C while it is still being imported ends it like later: quietly, with 130."""
    try:
        from localent.cli import main as commands

        commands(prog_name="localent")
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
