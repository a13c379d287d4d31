"""Hypothesis strategies for our values: spans, prompts, vectors, injections, verdicts, readings, trial records."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from ..conditions import BUILTIN, CONTROL, Beside, Condition
from ..doses import Dose, Unit
from ..injection import Injection, Receipt, Steer
from ..items import Item
from ..measures import Reading
from ..prompts import RenderedPrompt
from ..spans import REPLY, START, Positions, Span
from ..trials import Reply, Sampling, SteerKey, Trial, TrialKey, TrialRecord
from ..vectors import ConceptVector, Provenance
from ..verdicts import CRITERIA, FURTHER, Evidence, Verdict

#: Anchors of the prompts that :func:`prompts` draws, in their order in the prompt.
ANCHORS = ("first", "second", "third")
#: Text without surrogates, which no file can hold.
_TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=80)
_NAMES = _TEXT.filter(bool)
_DIGESTS = st.binary(min_size=32, max_size=32).map(bytes.hex)


def prompts(min_tokens: int = 4, max_tokens: int = 40, vocabulary: int = 300) -> st.SearchStrategy[RenderedPrompt]:
    """Prompts of token ids below ``vocabulary``, with the anchors ``first`` < ``second`` < ``third``."""

    def anchored(ids: list[int]) -> st.SearchStrategy[RenderedPrompt]:
        places = st.lists(st.integers(0, len(ids) - 1), min_size=3, max_size=3, unique=True).map(sorted)
        return places.map(lambda at: RenderedPrompt(ids, "", dict(zip(ANCHORS, at, strict=True))))

    ids = st.lists(st.integers(0, vocabulary - 1), min_size=max(min_tokens, 3), max_size=max_tokens)
    return ids.flatmap(anchored)


def spans() -> st.SearchStrategy[Span]:
    """Spans of every kind that steer at least one position of any prompt of :func:`prompts`, once two are sampled."""
    stop = st.booleans()
    places = (START, *ANCHORS, REPLY)
    pairs = st.sampled_from(
        [(a, b) for n, a in enumerate(places) for b in places[n + 1 :] if (a, b) != (START, ANCHORS[0])]
    )
    return st.one_of(
        stop.map(lambda s: Span.all(stop_at_prompt_end=s)),
        st.just(Span.prompt()),
        st.just(Span.generation()),
        st.just(Span.from_anchor(REPLY)),
        st.builds(lambda a, s: Span.from_anchor(a, stop_at_prompt_end=s), st.sampled_from((START, *ANCHORS)), stop),
        st.builds(lambda p, s: Span.between(*p, stop_at_prompt_end=s), pairs, stop),
    )


def positions() -> st.SearchStrategy[Positions]:
    """Resolved spans."""
    return st.builds(lambda span, prompt: span.resolve(prompt), spans(), prompts())


def provenances() -> st.SearchStrategy[Provenance]:
    """Provenances of extracted vectors."""
    return st.builds(
        Provenance,
        recipe=st.sampled_from(["pairs", "word"]),
        model_name=_TEXT,
        model_fingerprint=_DIGESTS,
        prompts_digest=_DIGESTS,
        prompts=st.integers(1, 200),
        token_position=st.just(-1),
        raw_norm=st.floats(1e-3, 1e3),
        cosine=st.none() | st.floats(-1, 1),
        steps=st.lists(_TEXT, max_size=2),
        date=st.none() | st.dates().map(str),
        beside=st.lists(_TEXT, max_size=1),
    )


def doses() -> st.SearchStrategy[Dose]:
    """Doses in every unit, none and negative ones among them."""
    return st.builds(Dose, st.just(0.0) | st.floats(-8, 8) | st.integers(-4, 4), st.sampled_from(Unit))


def vectors(hidden_size: int = 64, layers: int = 4) -> st.SearchStrategy[ConceptVector]:
    """Concept vectors of one width whose norm is neither lost in float32 nor beyond it."""
    values = npst.arrays(np.float32, hidden_size, elements=st.floats(-100, 100, width=32)).filter(
        lambda v: float(np.linalg.norm(v)) > 1e-3
    )
    return st.builds(
        ConceptVector,
        values=values,
        concept=_TEXT.filter(bool),
        layer=st.integers(0, layers - 1),
        provenance=provenances(),
    )


def injections(hidden_size: int = 64, layers: int = 4) -> st.SearchStrategy[Injection]:
    """Injections that fit a model of that width and depth, magnitude 0 and negative ones among them."""
    return st.builds(
        Injection,
        vector=vectors(hidden_size, layers),
        layer=st.integers(0, layers - 1),
        dose=doses(),
        span=spans(),
    )


def steers(hidden_size: int = 64, layers: int = 4) -> st.SearchStrategy[Steer]:
    """Injections that add something, settled for a prompt."""
    wanted = injections(hidden_size, layers).filter(lambda i: not i.is_null)
    return st.builds(lambda i, prompt: Steer(i, i.span.resolve(prompt)), wanted, prompts())


def items(*slots: str) -> st.SearchStrategy[Item]:
    """Items with a text for each of the slots: of any characters, braces and names of slots among them."""
    texts = st.text(st.characters(exclude_categories=["Cs", "Co"]), max_size=30) | st.sampled_from(
        ["{sentence}", "{}", "{a}{b}", r"\1", "a {word} b"]
    )
    return st.builds(Item, _NAMES, st.fixed_dictionaries({slot: texts.filter(str.strip) for slot in slots}))


def samplings() -> st.SearchStrategy[Sampling]:
    """Sampling settings, greedy ones among them."""
    return st.builds(
        Sampling,
        temperature=st.just(0.0) | st.floats(0.1, 2),
        top_p=st.just(1.0) | st.floats(0.1, 1),
        top_k=st.sampled_from([0, 1, 20]),
        max_new_tokens=st.integers(1, 200),
    )


def replies() -> st.SearchStrategy[Reply]:
    """Replies, with markup, control characters and other scripts in their text, some with reasoning set apart."""
    text = _TEXT | st.sampled_from(["<script>alert(1)</script>", "Yes. I detect \x00 it.", "", "| a | b |\n|---|---|"])
    return st.builds(
        Reply,
        text=text,
        token_ids=st.lists(st.integers(0, 150_000), min_size=1, max_size=20),
        finish_reason=st.sampled_from(["stop", "length"]),
        reasoning=st.none() | _TEXT,
        unclear=st.none() | _TEXT,
    )


def verdicts(judge: str = "rules", rubric: str = "strict4") -> st.SearchStrategy[Verdict]:
    """Verdicts of one judge and rubric, unscored ones and such of a rubric with other criteria among them."""
    of_ours = dict.fromkeys((*CRITERIA, *FURTHER), st.none() | st.booleans())
    others = st.dictionaries(st.from_regex(r"own_[a-z0-9_]{1,20}", fullmatch=True), st.booleans(), max_size=3)
    common = {
        "judge": st.just(judge),
        "rubric": st.just(rubric),
        "rubric_digest": _DIGESTS,
        "concept": _TEXT,
        "success": st.just(CRITERIA) | st.lists(st.sampled_from(CRITERIA), min_size=1, unique=True),
        "judge_model": st.none() | st.just("model"),
        "blinded": st.booleans(),
        "notes": _TEXT,
        "raw": _TEXT,
        "cost_usd": st.none() | st.floats(0, 1),
        "judged": st.sampled_from(["answer", "whole"]),
    }
    scored = st.builds(
        Verdict,
        answers=st.fixed_dictionaries({}, optional=of_ours) | others,
        evidence=st.lists(st.builds(Evidence, _NAMES, st.integers(0, 9), st.integers(9, 99), _TEXT), max_size=2),
        ground=st.none() | st.sampled_from(["claim", "denial", "neither"]),
        **common,
    )
    return scored | st.builds(Verdict, unscored=_NAMES, **common)


def readings() -> st.SearchStrategy[Reading]:
    """Readings of one to three axes, with labels of either kind, and numbers that are infinite or NaN among them."""
    labels = st.lists(st.integers(-5, 900), min_size=0, max_size=3, unique=True) | st.lists(
        _TEXT, min_size=1, max_size=3, unique=True
    )
    axes = st.dictionaries(_NAMES, labels.map(tuple), min_size=1, max_size=3)

    def filled(chosen: dict[str, Any]) -> st.SearchStrategy[Reading]:
        shape = tuple(len(places) for places in chosen.values())
        return st.builds(
            Reading,
            measure=_NAMES,
            measure_digest=_DIGESTS,
            axes=st.just(chosen),
            values=npst.arrays(np.float32, shape, elements=st.floats(width=32)),
            model=_DIGESTS,
            backend=st.sampled_from(["torch", "nnsight", "vllm", "vllm-lens"]),
            numerics=st.integers(1, 9),
            dtype=st.sampled_from(["float32", "bfloat16"]),
        )

    return axes.flatmap(filled)


@st.composite
def conditions(draw: st.DrawFn) -> Condition:
    """Conditions of every arm and of somebody's own: bands, further steers, and a control with a decoy."""
    arm = draw(st.sampled_from([*BUILTIN, "sham"]))
    control = arm == CONTROL
    beside = st.builds(Beside, _NAMES, st.lists(st.integers(0, 125), min_size=1, max_size=4), doses(), spans().map(str))
    return Condition(
        arm=arm,
        scaffold=draw(st.sampled_from(["lindsey", "thinking_about"])),
        concept=None if control else draw(_NAMES),
        asked=draw(st.none() | _NAMES),
        layers=() if control else draw(st.lists(st.integers(0, 125), min_size=1, max_size=4, unique=True).map(sorted)),
        dose=None if control else draw(doses()),
        span=None if control else str(draw(spans())),
        beside=draw(st.lists(beside, max_size=2)),
        model="model",
        wording=draw(_DIGESTS),
    )


@st.composite
def trial_records(draw: st.DrawFn) -> TrialRecord:
    """Finished trials of :func:`conditions`, with or without a verdict and a reading; a receipt for each steer."""
    condition = draw(conditions())
    steered = condition.arm != CONTROL
    keys = draw(st.lists(steer_keys(), min_size=1, max_size=3)) if steered else []
    key = TrialKey(
        model=draw(_DIGESTS),
        backend=draw(st.sampled_from(["torch", "nnsight", "vllm", "vllm-lens"])),
        numerics=draw(st.integers(1, 9)),
        prompt=draw(_DIGESTS),
        steers=keys,
        sampling=draw(samplings()),
        draw=draw(st.integers(0, 999)),
        given_seed=draw(st.none() | st.integers(0, 2**62)),
    )
    ratios = st.floats(1e-3, 10)
    receipt = st.builds(Receipt, st.integers(1, 300), st.integers(0, 300), ratios, ratios)
    return TrialRecord(
        Trial(key, condition, draw(st.none() | _NAMES), key.draw),
        draw(replies()),
        draw(st.lists(receipt, min_size=len(keys), max_size=len(keys))),
        draw(st.lists(verdicts(), max_size=1)),
        draw(st.lists(readings(), max_size=2)),
        source=draw(_TEXT),
        repeat_of=draw(st.none() | _DIGESTS),
    )


def steer_keys() -> st.SearchStrategy[SteerKey]:
    """What of steers stands in keys, of results read from elsewhere too."""
    return st.builds(
        SteerKey,
        vector=_DIGESTS,
        layer=st.none() | st.integers(0, 125),
        magnitude=st.floats(-20, 20),
        unit=st.none() | st.sampled_from([unit.value for unit in Unit]),
        start=st.none() | st.integers(0, 600),
        stop=st.none() | st.integers(601, 900),
    )
