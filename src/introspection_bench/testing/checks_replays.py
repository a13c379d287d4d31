"""Checks of replays, and of what is read in them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import get_args

import attrs
import numpy as np

from ..doses import Dose, Unit
from ..errors import ConformanceError, SpecError
from ..injection import Injection
from ..injectors.requests import Completion, Request
from ..measures.base import Read, ReadKind
from ..prompts import RenderedPrompt
from ..spans import Positions, Span
from .check import CheckSkipped, check
from .checks_requests import same_completion
from .checks_steers import require_like
from .subject import FloatArray, Subject, require, residuals


@check(28)
def replays_give_their_receipts_again(subject: Subject) -> str:
    """A sampled reply that is fed again has the same receipts, tokens and residuals, in any batch and with any seed.

    A pass over another prompt that nothing steers, in one call with it, is that of a model which was never steered.
    """
    layers = [subject.layer, subject.injector.model.n_layers - 1]
    steers = (
        subject.injection(Span.all(), magnitude=0.4, seed=1),
        subject.injection(Span.from_anchor("last"), magnitude=0.7, seed=2),
        subject.injection(Span.generation(), magnitude=0.5, seed=3, layer=0),
    )
    asked = [
        subject.request(prompt, *some, layers=layers, tokens=tokens, temperature=1.0, seed=40 + number)
        for number, (prompt, some, tokens) in enumerate(
            [
                (subject.prompts[0], steers, subject.reply_tokens),
                (subject.long, steers[:2], subject.reply_tokens),
                (subject.prompts[1], (), 2 * subject.reply_tokens),
                (subject.prompts[0], steers[2:], 2),
            ]
        )
    ]
    sampled = [subject.run(request)[0] for request in asked]
    # Greedy and of another seed: a replay draws nothing.
    replays = [
        attrs.evolve(r, forced=c.reply.token_ids, seed=r.seed + 1, sampling=attrs.evolve(r.sampling, temperature=0.0))
        for r, c in zip(asked, sampled, strict=True)
    ]
    for number, (first, again) in enumerate(zip(sampled, subject.run(*replays), strict=True)):
        what = f"replay {number} of {len(replays)}"
        same_completion(subject, again, first, what)
        for told, expected in zip(again.receipts, first.receipts, strict=True):
            require_like(subject, told, expected, f"{what}: a receipt")
    _prompts_alone_and_tokens_of_others(subject, steers)
    _unsteered_beside(subject, steers)
    return ""


def _unsteered_beside(subject: Subject, steers: tuple[Injection, ...]) -> None:
    """Require that an unsteered pass over another prompt, right behind steered replays, has nothing of their steers."""
    layers, (own, other) = [subject.layer, subject.injector.model.n_layers - 1], subject.prompts[:2]
    tokens = own.token_ids[: subject.reply_tokens]
    steered = subject.request(own, *steers, layers=layers, forced=tokens)
    beside = [subject.request(prompt, layers=layers, forced=tokens) for prompt in (other, own)]
    done = subject.run(steered, *beside, steered)
    for request, completion in zip(beside, done[1:3], strict=True):
        what = "an unsteered pass over another prompt" if request is beside[0] else "an unsteered pass"
        require(not completion.receipts, f"{what} beside steered ones has receipts: {completion.receipts}")
        clean = subject.clean(request.prompt, tokens, layers)
        subject.same(residuals(completion), clean, f"{what} beside steered ones")


def _prompts_alone_and_tokens_of_others(subject: Subject, steers: tuple[Injection, ...]) -> None:
    """Require that nothing forced runs the prompt alone, and that tokens which the model would not say are fed too."""
    prompt, layers = subject.prompt, [subject.layer]
    done = subject.run(subject.request(prompt, *steers[:2], layers=layers, forced=()))[0]
    alone = residuals(subject.run(subject.request(prompt, *steers[:2], layers=layers, tokens=1))[0])
    subject.same(residuals(done), alone, "a replay of the prompt alone")
    counts = [r.generation_positions for r in done.receipts]
    require(counts == [0, 0], f"a replay of the prompt alone has generated positions: {counts}")
    # The prompt's own tokens, among them its special ones, whichever end a reply.
    tokens = prompt.token_ids[::-1][: subject.reply_tokens]
    done = subject.run(subject.request(prompt, layers=layers, forced=tokens))[0]
    subject.same(residuals(done), subject.clean(prompt, tokens, layers), "a replay of tokens that were never sampled")


def _replayed(subject: Subject, *reads: Read) -> tuple[Request, Completion]:
    """A replay of a greedy, steered reply, with these reads behind the residuals of three layers."""
    model = subject.injector.model
    layers = list(dict.fromkeys((model.n_layers - 1, 0, subject.layer)))  # in no sorted order
    injection = subject.injection(Span.from_anchor("last"))
    sampled = subject.run(subject.request(subject.prompt, injection))[0]
    request = subject.request(subject.prompt, injection, layers=layers, forced=sampled.reply.token_ids, reads=reads)
    beside = subject.request(subject.prompts[1], layers=[0], forced=subject.prompts[1].token_ids[:3])
    return request, subject.run(request, beside)[0]


def _predicting(subject: Subject) -> Positions:
    """The positions from which a reply's tokens are predicted."""
    n = len(subject.prompt.token_ids)
    return Positions(n - 1, None, n)


@check(29)
def reads_of_the_stream_are_right(subject: Subject) -> str:
    """Residuals and cosines are those of the steered stream, at the layers and positions asked for, in their order."""
    n, last = len(subject.prompt.token_ids), subject.injector.model.n_layers - 1
    window = Positions(n - 3, n + 2, n)
    vectors = (subject.direction(), subject.vector(1), subject.vector(2) * 3.0)
    reads = [Read("residuals", window, (subject.layer,)), Read("residuals", Positions(1, 2, n), (0, last))]
    layers = (last, 0)
    if "cosines" in subject.injector.reads:
        reads.append(Read("cosines", window, layers, vectors=vectors))
    request, done = _replayed(subject, *reads)
    stream = dict(zip(request.reads[0].layers, residuals(done), strict=True))
    subject.same(done.readings[1][0], stream[subject.layer][n - 3 : n + 2], "residuals of a window")
    subject.same(done.readings[2], np.stack([stream[at][1:2] for at in (0, last)]), "residuals of one position")
    if len(reads) < 3:
        return "cosines are not declared"
    for layer, told in zip(layers, done.readings[3], strict=True):
        h = stream[layer][n - 3 : n + 2].astype(np.float64)
        directions = np.stack([v.values / v.norm for v in vectors])
        expected = h @ directions.T / np.linalg.norm(h, axis=1, keepdims=True)
        worst = float(np.abs(told - expected).max())
        require(worst <= 1e-3, f"cosines at layer {layer} are off those of the residuals by {worst:.3g}")
    return ""


@check(30)
def reads_of_probabilities_are_right(subject: Subject) -> str:
    """Log-probabilities sum to 1 at most and agree with greedy choice; the last layer's lens is the model's logits."""
    able = subject.injector.reads
    if not able & {"logprobs", "likelihood", "distribution", "lens"}:
        raise CheckSkipped("the backend declares none of logprobs, likelihood, distribution and lens")
    where, last = _predicting(subject), subject.injector.model.n_layers - 1
    reply = _replayed(subject)[0].forced or ()
    candidates = _candidates(subject, reply)
    singles = [(token,) for token in candidates]
    pairs = [tuple(candidates[:2]), (candidates[2],)]
    layers = (last, subject.layer)
    wanted = {
        "singles": Read("logprobs", where, sets=singles),
        "pairs": Read("logprobs", where, sets=pairs),
        "likelihood": Read("likelihood", where),
        "distribution": Read("distribution", where),
        "lens": Read("lens", where, layers, singles),
    }
    wanted = {name: read for name, read in wanted.items() if read.kind in able}
    request, done = _replayed(subject, *wanted.values())
    found = dict(zip(wanted, done.readings[1:], strict=True))
    at = [candidates.index(token) for token in reply]
    rows = np.arange(len(reply))
    # Half precision rounds logits to steps of about their size, and prompts are fed in other batches than tokens.
    slack = 1e-3 if subject.exact else 0.5
    for name in {"singles", "lens"} & found.keys():
        for values in found[name] if name == "lens" else [found[name]]:
            _require_masses(values, name)
    for name, values in (("logprobs", found.get("singles")), ("lens", found.get("lens", [None])[0])):
        if values is not None:
            short = float((values[:, :-1].max(axis=1) - values[rows, at]).max())
            require(short <= slack, f"{name}: a token that greedy choice did not take is likelier, by {short:.3g}")
    if "singles" in found:
        _agree(found["pairs"][:, 0], np.logaddexp(*found["singles"][:, :2].T), 1e-3, "a set of two against both alone")
    if {"singles", "likelihood"} <= found.keys():
        _agree(found["likelihood"], found["singles"][rows, at], 1e-3, "likelihood against logprobs")
    if "distribution" in found:
        _require_distribution(found["distribution"], candidates, subject.injector.limits.vocabulary)
    if {"distribution", "singles"} <= found.keys():
        _agree(found["distribution"][:, candidates], found["singles"][:, :-1], 1e-3, "distribution against logprobs")
    if {"distribution", "likelihood"} <= found.keys():
        _agree(found["distribution"][rows, list(reply)], found["likelihood"], 1e-3, "distribution against likelihood")
    if {"singles", "lens"} <= found.keys():
        _agree(found["lens"][0], found["singles"], slack / 2, "lens at the last layer against logprobs")
    if "lens" in found and layers[0] != layers[1]:
        moved = np.abs(found["lens"][1] - found["lens"][0]).max()
        require(float(moved) > slack, "the lens says the same in the middle as at the last layer")
    return _against_the_reference(subject, request, wanted, found)


def _candidates(subject: Subject, reply: tuple[int, ...]) -> list[int]:
    """Tokens to look at, each once: the reply's, the prompts', and some from all over the vocabulary."""
    prompts = [token for prompt in subject.prompts for token in prompt.token_ids]
    spread = range(0, subject.injector.limits.vocabulary or 0, 13)
    return list(dict.fromkeys([*reply, *prompts, *spread]))[: max(64, len(reply))]


def _require_masses(values: FloatArray, what: str) -> None:
    joint = np.logaddexp.reduce(values[:, :-1].astype(np.float64), axis=1)
    _agree(values[:, -1], joint, 1e-3, f"{what}: the joint mass against the sum of all sets")
    most = float(values.max())
    require(most <= 1e-3, f"{what}: probabilities of different tokens sum to {np.exp(most):.4g}")


def _require_distribution(values: FloatArray, known: Sequence[int], rows: int | None) -> None:
    """Require log-probabilities of a whole vocabulary, ``known`` ids among them, which sum to 1 at every position."""
    # An embedding may have more rows than there are logits, never fewer.
    fewest, most = max(known) + 1, values.shape[1] if rows is None else rows
    require(fewest <= values.shape[1] <= most, f"distribution: of {values.shape[1]} tokens, not of {fewest} to {most}")
    mass = np.logaddexp.reduce(values.astype(np.float64), axis=1)
    _agree(mass, np.zeros_like(mass), 1e-4, "distribution: the sum of all probabilities against 1, in logs")


def _agree(told: FloatArray, expected: FloatArray, allowed: float, what: str) -> None:
    # What underflows in float32 is -inf on one side; below e^-60 nothing is told apart.
    worst = float(np.abs(np.maximum(told, -60) - np.maximum(expected, -60)).max())
    require(worst <= allowed, f"{what}: off by {worst:.3g} (allowed {allowed:.3g})")


def _against_the_reference(
    subject: Subject, request: Request, wanted: dict[str, Read], found: dict[str, FloatArray]
) -> str:
    reference = subject.reference
    if reference is None or not subject.exact or reference.model.dtype != "float32":
        return ""
    both = {name: read for name, read in wanted.items() if read.kind in reference.reads}
    other = attrs.evolve(subject, injector=reference, reference=None, half=None)
    theirs = other.run(attrs.evolve(request, reads=both.values()))[0].readings
    for name, values in zip(both, theirs, strict=True):
        _agree(found[name], values, 0.02, f"{name} against {reference.name}")
    return ""


@check(31)
def refuses_what_it_does_not_declare(subject: Subject) -> str:
    """Units and reads that the backend does not declare are a SpecError before anything runs, for the whole call."""
    injector, prompt = subject.injector, subject.prompt
    require("residuals" in injector.reads, "residuals, which extraction and this suite read, are not declared")
    everywhere = Positions(0, 1, len(prompt.token_ids))
    cases = {
        f"unit {unit}": subject.request(
            prompt, Injection(subject.vector(), subject.layer, Dose(0.5, unit), Span.all()), tokens=1
        )
        for unit in Unit
        if unit not in injector.units
    }
    for kind in get_args(ReadKind):
        if kind not in injector.reads:
            sets = [(prompt.token_ids[0],)] if kind in ("logprobs", "lens") else ()
            layers = [0] if kind in ("lens", "cosines") else ()
            read = Read(kind, everywhere, layers, sets, [subject.vector()] if kind == "cosines" else ())
            cases[f"read {kind}"] = subject.request(prompt, forced=(), reads=[read])
    for what, bad in cases.items():
        _refused(subject, what, [subject.request(RenderedPrompt(prompt.token_ids, ""), tokens=1), bad])
    return "" if cases else "it declares all units and reads"


def _refused(subject: Subject, what: str, requests: list[Request]) -> None:
    answered = 0
    try:
        for _ in subject.injector.generate(requests):
            answered += 1
    except SpecError:
        require(answered == 0, f"{what}: a request was answered before the error")
        return
    except Exception as other:  # which error it is, is what is being looked at
        raise ConformanceError(f"{what}: raises {type(other).__name__}, not SpecError: {other}") from other
    raise ConformanceError(f"{what}: not declared, but accepted")
