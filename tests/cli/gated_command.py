"""The command line in a process of its own that stops at a known point: gated_command.py N WORD...

Once N trials are recorded it prints a line and goes no further, whatever the machine's speed, until it is interrupted.
"""

from __future__ import annotations

import signal
import sys

from introspection_bench.cli import main
from introspection_bench.sweep import Store


def stop_after(number: int) -> None:
    record, left = Store.record_all, iter(range(number - 1, -1, -1))

    def gated(*args: object) -> None:
        record(*args)
        if next(left) == 0:
            print("recorded", flush=True)
            while True:  # at the end of the input too: the interruption may come a moment after it
                sys.stdin.read(1)

    Store.record_all = gated


if __name__ == "__main__":
    # A shell's background job (nohup, CI) starts with the interrupt ignored, and so do its children.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    stop_after(int(sys.argv.pop(1)))
    main()
