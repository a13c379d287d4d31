"""What several requests may share: caches of which rows are taken, steers, and tokens that begin alike."""

from __future__ import annotations

import copy
import enum
import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import attrs
import torch

from ..requests import Request
from .hooks import Row

#: Replays of one prompt that are fewer than this share a batch with those of other prompts.
_FEW = 8


class Sharing(enum.Enum):
    """How much of the work is done once for several requests: the most that was proved when the model was opened."""

    #: What prompts or injections have in common is run once, and continued from its cache.
    PREFIX = "common beginnings"
    #: Each prompt is run in one pass for each injection; samples continue from its cache, token by token.
    PROMPT = "whole prompts"
    #: Each request runs its own prompt.
    NOTHING = "nothing"


def select(cache: Any, rows: Sequence[int]) -> Any:
    """Return a new cache that holds these rows of ``cache``, in this order, repeats allowed.

    Nothing that is written to later is shared with ``cache``, and a large one is not copied whole to take a few rows.
    """
    selected = copy.copy(cache)
    selected.layers = [_apart(layer) for layer in cache.layers]
    # As for beams: this alone selects recurrent and convolutional states too, and makes new tensors of all.
    selected.reorder_cache(torch.tensor(rows))
    return selected


def _apart(layer: Any) -> Any:
    """Copy a cache layer and the tables in it, whose tensors are then replaced by the selected rows."""
    apart = copy.copy(layer)
    for name, value in vars(layer).items():
        if isinstance(value, dict | list):
            setattr(apart, name, copy.copy(value))
    return apart


def batches_by_length(ids: Sequence[Sequence[int]], size: int, *, padded: bool) -> Iterator[list[int]]:
    """Yield the prompts' indices by length, at most ``size`` at once; of one length unless they may be padded."""
    by_length = sorted(range(len(ids)), key=lambda n: len(ids[n]))
    for _, group in itertools.groupby(by_length, key=lambda n: 0 if padded else len(ids[n])):
        alike = list(group)
        yield from (alike[start : start + size] for start in range(0, len(alike), size))


def common_prefix(prompts: Sequence[Sequence[int]]) -> int:
    """Return how many tokens all prompts begin with, leaving at least one token to each."""
    shortest = min(map(len, prompts)) - 1
    first = prompts[0]
    return next((n for n in range(shortest) if any(p[n] != first[n] for p in prompts)), shortest)


@attrs.frozen(eq=False)
class Cell:
    """The requests of one call that share prompt, sampling and steers, hence all work but the sampling."""

    steers: Row
    indices: tuple[int, ...]


def cells(requests: Sequence[Request], indices: Sequence[int]) -> list[Cell]:
    """Return the cells of requests that share prompt and sampling."""
    members: dict[Row, list[int]] = {}
    for index in indices:
        members.setdefault(requests[index].steers, []).append(index)
    return [Cell(steers, tuple(found)) for steers, found in members.items()]


def beginning(request: Request) -> int:
    """Return how many of a replay's first positions are neither steered nor read."""
    steered = [steer.positions.start for steer in request.steers]
    return min([len(request.fed), *steered, *(read.positions.start for read in request.reads)])


def replays_alike(requests: Mapping[int, Request]) -> list[list[int]]:
    """Return the indices of replays in groups: those of one prompt and :func:`beginning`, and all others together."""
    groups: dict[tuple[tuple[int, ...], int], list[int]] = {}
    for index, request in requests.items():
        ids = request.prompt.token_ids
        groups.setdefault((ids, min(beginning(request), len(ids))), []).append(index)
    many = [found for found in groups.values() if len(found) >= _FEW]
    few = [index for found in groups.values() if len(found) < _FEW for index in found]
    return [*many, few] if few else many
