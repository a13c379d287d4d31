"""Disks that are full, and folders that can't be written, for a moment."""

from __future__ import annotations

import os
import resource
from contextlib import contextmanager

NOBODY = 65534


@contextmanager
def without_privileges():
    """Lose root's right to write anywhere for a moment; anybody else has none to lose."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


@contextmanager
def largest_file(size: int):
    """Make every write beyond ``size`` fail, as a full disk does."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
