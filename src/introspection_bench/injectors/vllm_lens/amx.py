"""Leave to use the CPU's matrix unit, which a process has to ask the kernel for."""

from __future__ import annotations

import torch


def ask_for_amx() -> None:
    """Ask Linux for the AMX tiles, where the CPU has them; elsewhere do nothing.

    vLLM's bfloat16 attention for CPUs uses them as soon as the CPU announces them. A process that never asked is ended
    by the kernel at their first use ("Illegal instruction"), unless some other library asked for it before.
    """
    if torch.cpu._is_amx_tile_supported():
        torch.cpu._init_amx()
