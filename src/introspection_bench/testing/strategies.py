"""Hypothesis strategies for our values: spans, prompts, vectors, injections, verdicts, trial records."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from ..arms import BUILTIN, CONTROL
from ..injection import Injection, Positions, Receipt, Span, Unit
from ..scaffolds import RenderedPrompt
from ..trials import Arm, Reply, Sampling, SteerKey, TrialKey, TrialRecord, Verdict
from ..vectors import ConceptVector, Provenance

#: Anchors of the prompts that :func:`prompts` draws, in their order in the prompt.
ANCHORS = ("first", "second", "third")
#: Text without surrogates, which no file can hold.
_TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=80)
_DIGESTS = st.binary(min_size=32, max_size=32).map(bytes.hex)


def prompts(min_tokens: int = 4, max_tokens: int = 40, vocabulary: int = 300) -> st.SearchStrategy[RenderedPrompt]:
    """Prompts of token ids below ``vocabulary``, with the anchors ``first`` < ``second`` < ``third``."""

    def anchored(ids: list[int]) -> st.SearchStrategy[RenderedPrompt]:
        places = st.lists(st.integers(0, len(ids) - 1), min_size=3, max_size=3, unique=True).map(sorted)
        return places.map(lambda at: RenderedPrompt(ids, "", dict(zip(ANCHORS, at, strict=True))))

    ids = st.lists(st.integers(0, vocabulary - 1), min_size=max(min_tokens, 3), max_size=max_tokens)
    return ids.flatmap(anchored)


def spans() -> st.SearchStrategy[Span]:
    """Spans of every kind that steer at least one position of any prompt of :func:`prompts`."""
    stop = st.booleans()
    pairs = st.sampled_from([("first", "second"), ("first", "third"), ("second", "third")])
    return st.one_of(
        stop.map(lambda s: Span.all(stop_at_prompt_end=s)),
        st.just(Span.prompt()),
        st.just(Span.generation()),
        st.builds(lambda a, s: Span.from_anchor(a, stop_at_prompt_end=s), st.sampled_from(ANCHORS), stop),
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
    )


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
        magnitude=st.just(0.0) | st.floats(-8, 8),
        unit=st.sampled_from(Unit),
        span=spans(),
    )


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
    """Replies, with markup, control characters and other scripts in their text."""
    text = _TEXT | st.sampled_from(["<script>alert(1)</script>", "Yes. I detect \x00 it.", "", "| a | b |\n|---|---|"])
    return st.builds(
        Reply, text, st.lists(st.integers(0, 150_000), min_size=1, max_size=20), st.sampled_from(["stop", "length"])
    )


def verdicts(judge: str = "rules", rubric: str = "strict4") -> st.SearchStrategy[Verdict]:
    """Verdicts of one judge and rubric, unscored ones among them."""
    criterion = st.booleans()
    scored = st.builds(
        Verdict,
        judge=st.just(judge),
        rubric=st.just(rubric),
        rubric_digest=_DIGESTS,
        concept=_TEXT,
        affirmative=criterion,
        identifies=criterion,
        immediate=st.none() | criterion,
        coherent=criterion,
        refused=criterion,
        judge_model=st.none() | st.just("model"),
        blinded=st.booleans(),
        notes=_TEXT,
        raw=_TEXT,
        cost_usd=st.none() | st.floats(0, 1),
    )
    unscored = st.builds(
        Verdict,
        judge=st.just(judge),
        rubric=st.just(rubric),
        rubric_digest=_DIGESTS,
        concept=_TEXT,
        unscored=_TEXT.filter(bool),
    )
    return scored | unscored


@st.composite
def trial_records(draw: st.DrawFn) -> TrialRecord:
    """Finished trials of every arm and of somebody's own, with or without a verdict; a control's key has no steer."""
    arm: Arm = draw(st.sampled_from([*BUILTIN, "sham"]))
    control = arm == CONTROL
    key = TrialKey(
        model=draw(_DIGESTS),
        backend=draw(st.sampled_from(["torch", "nnsight", "vllm-lens"])),
        numerics=draw(st.integers(1, 9)),
        prompt=draw(_DIGESTS),
        steers=() if control else (draw(_steer_keys()),),
        sampling=draw(samplings()),
        draw=draw(st.integers(0, 999)),
    )
    touched = draw(st.integers(1, 300)), draw(st.integers(0, 300))
    ratio = draw(st.floats(1e-3, 10))
    return TrialRecord(
        key,
        arm,
        draw(_TEXT.filter(bool)) if not control else draw(st.none() | _TEXT.filter(bool)),
        draw(st.sampled_from(["lindsey", "thinking_about"])),
        "model",
        draw(replies()),
        Receipt.nothing() if control else Receipt(*touched, ratio, ratio),
        key.seed,
        draw(st.lists(verdicts(), max_size=1)),
        span=None if control else str(draw(spans())),
        scaffold_digest=draw(_DIGESTS),
    )


def _steer_keys() -> st.SearchStrategy[SteerKey]:
    return st.builds(
        SteerKey,
        vector=_DIGESTS,
        layer=st.integers(0, 125),
        magnitude=st.floats(0.01, 20),
        unit=st.sampled_from([unit.value for unit in Unit]),
        start=st.integers(0, 600),
        stop=st.none() | st.integers(601, 900),
    )
