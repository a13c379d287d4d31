"""``python -m introspection_bench`` is the command ``introspection-bench``."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command; Ctrl-C ends it with exit code 130 while it is still being loaded, too."""
    try:
        from .cli import main as command

        command()
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
