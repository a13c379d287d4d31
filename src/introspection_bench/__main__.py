"""``python -m introspection_bench`` is the command ``introspection-bench``."""

from .cli import main

main()
