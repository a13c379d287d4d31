"""Checks of what requests share: that a group with a common beginning gets what each of it gets alone."""

from __future__ import annotations

import attrs
import numpy as np

from ..prompts import RenderedPrompt
from ..spans import Span
from .check import check
from .checks_requests import same_completion
from .subject import Subject, residuals


@check(22)
def grouped_captures_equal_each_alone(subject: Subject) -> str:
    """Captures of prompts that begin alike, of several lengths, equal each one's alone, in any order and again."""
    last = subject.injector.model.n_layers - 1
    layers = list(dict.fromkeys((subject.layer, last)))
    ids = subject.long.token_ids
    for shared in (ids[: 2 * len(ids) // 3], ids[:11]):
        tails = [prompt.token_ids[-length:] for length, prompt in zip((1, 9, 4), subject.prompts, strict=False)]
        group = [RenderedPrompt((*shared, *tail), "") for tail in (*tails, ids[len(shared) : len(shared) + 13])]
        together = subject.injector.capture(group, layers)
        backwards = subject.injector.capture(group[::-1], layers)[::-1]
        for number, prompt in enumerate(group):
            alone = subject.injector.capture([prompt], layers)[0]
            read = residuals(subject.run(subject.request(prompt, layers=layers, tokens=1))[0])[:, -1]
            what = f"prompt {number} of {len(group)} with {len(shared)} tokens in common"
            subject.same(together[number], alone, f"{what}: in the group against alone")
            subject.same(np.asarray(backwards[number]), alone, f"{what}: in the group backwards against alone")
            subject.same(alone, read, f"{what}: captured against what generation sees")
    return ""


@check(23)
def grouped_replies_equal_each_alone(subject: Subject) -> str:
    """Requests of one prompt, steered from several places on or not at all, get what each of them gets alone."""
    layers = sorted({0, subject.layer, subject.injector.model.n_layers - 1})
    for whole in (subject.prompt, subject.long):
        n = len(whole.token_ids)
        prompt = attrs.evolve(whole, anchors={**whole.anchors, "early": min(5, n - 1)})
        places = ("tail", "last", "first", "early")
        injections = [subject.injection(Span.from_anchor(place), seed=n) for n, place in enumerate(places)]
        requests = [
            subject.request(prompt, *steered, layers=layers, temperature=1.0, seed=seed)
            for seed, steered in enumerate(((), *([i] for i in injections), injections[1:3], injections[1:2], ()))
        ]
        # The same tokens and the same injection, whose anchor stands elsewhere: another place to steer.
        moved = attrs.evolve(prompt, anchors={**prompt.anchors, "last": prompt.anchors["early"]})
        requests.append(subject.request(moved, injections[1], layers=layers, temperature=1.0, seed=2))
        together = subject.run(*requests)
        again = subject.run(*requests)
        for number, request in enumerate(requests):
            alone = subject.run(request)[0]
            what = f"request {number} of {len(requests)} with {n} prompt tokens"
            same_completion(subject, together[number], alone, f"{what}: in the group against alone")
            same_completion(subject, again[number], alone, f"{what}: in the group again against alone")
    return ""
