"""Spans: written form, resolution to positions, and how many positions a correct run steers."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

import introspection_bench as ib
from introspection_bench.errors import AnchorNotFoundError, EmptySpanError, InjectionError
from introspection_bench.spans import Positions, place_of

NAMES = st.from_regex(r"[\w.:-]+", fullmatch=True)
FLAG = st.booleans()
SPANS = st.one_of(
    st.builds(ib.Span.all, stop_at_prompt_end=FLAG),
    st.builds(ib.Span.prompt),
    st.builds(ib.Span.generation),
    st.builds(ib.Span.from_anchor, NAMES, stop_at_prompt_end=FLAG),
    st.builds(ib.Span.between, NAMES, NAMES, stop_at_prompt_end=FLAG),
)


@given(SPANS)
def test_a_span_reads_its_own_written_form(span: ib.Span) -> None:
    assert ib.Span.parse(str(span)) == span


@given(SPANS, SPANS)
def test_two_spans_are_written_alike_only_if_they_are_one(a: ib.Span, b: ib.Span) -> None:
    # The written form goes into a trial's condition: two spans under one name would be one cell.
    assert (str(a) == str(b)) == (a == b)


@pytest.mark.parametrize(
    ("written", "span"),
    [
        (" all ", ib.Span.all()),
        ("all stop_at_prompt_end", ib.Span.all(stop_at_prompt_end=True)),
        ("from( trial )", ib.Span.from_anchor("trial")),
        ("between(a,b)", ib.Span.between("a", "b")),
        ("between(a, b) stop_at_prompt_end", ib.Span.between("a", "b", stop_at_prompt_end=True)),
    ],
)
def test_the_written_form_of_a_file_is_read(written: str, span: ib.Span) -> None:
    assert ib.Span.parse(written) == span


@pytest.mark.parametrize(
    "written",
    [
        "",
        "everything",
        "from",
        "from()",
        "from(a, b)",
        "from(a",
        "froma)",
        "from(a)b",
        "from((a))",
        "from(a b)",
        "between(a)",
        "between(a, b, c)",
        "prompt(a)",
        "all stop_at_prompt_end now",
        "allstop_at_prompt_end",
        "generation stop_at_prompt_end",
    ],
)
def test_a_span_that_says_nothing_definite_is_an_error(written: str) -> None:
    with pytest.raises(InjectionError):
        ib.Span.parse(written)


@pytest.mark.parametrize("name", ["", "a,b", "a b", "a)", " a", "x stop_at_prompt_end"])
def test_an_anchor_name_that_would_make_the_written_form_ambiguous_is_refused(name: str) -> None:
    with pytest.raises(InjectionError, match="letters, digits"):
        ib.Span.from_anchor(name)


def steered(span: ib.Span, anchors: dict[str, int], prompt: int, total: int) -> set[int]:
    """The positions by the words of the design, one position at a time."""
    chosen = set()
    for t in range(total):
        inside = {
            "all": True,
            "prompt": t < prompt,
            "generation": t >= prompt,
            "from": t >= anchors.get(span.start_anchor or "", 0),
            "between": anchors.get(span.start_anchor or "", 0) <= t < anchors.get(span.stop_anchor or "", 0),
        }[span.kind]
        if inside and not (span.stop_at_prompt_end and t >= prompt):
            chosen.add(t)
    return chosen


@given(
    st.sampled_from(["all", "prompt", "generation", "from", "between"]),
    FLAG,
    st.integers(1, 12).flatmap(lambda n: st.tuples(st.just(n), st.integers(0, n - 1), st.integers(0, n - 1))),
    st.integers(0, 8),
)
def test_counts_are_those_of_the_positions_taken_one_by_one(
    kind: str, stop: bool, places: tuple[int, int, int], sampled: int
) -> None:
    length, a, b = places
    prompt = ib.RenderedPrompt(range(length), "x", {"a": a, "b": b})
    names = {"from": ("a",), "between": ("a", "b")}.get(kind, ())
    if kind == "generation":
        stop = False
    span = ib.Span(kind, *names, stop_at_prompt_end=stop)  # type: ignore[arg-type]  # kind is one of the five
    # The last sampled token is never fed back, so it has no position.
    chosen = steered(span, {"a": a, "b": b}, length, length + max(sampled - 1, 0))
    if kind == "between" and b <= a:
        with pytest.raises(EmptySpanError, match="at least one position"):
            span.resolve(prompt)
        return
    positions = span.resolve(prompt)
    in_prompt = {t for t in chosen if t < length}
    assert positions.expected(sampled) == (len(in_prompt), len(chosen - in_prompt))


def test_a_span_of_an_anchor_that_the_prompt_lacks_names_those_that_it_has() -> None:
    prompt = ib.RenderedPrompt((1, 2, 3), "abc", {"trial": 1})
    with pytest.raises(AnchorNotFoundError, match=r"one of the prompt's, \['reply', 'start', 'trial'\]; got trail"):
        ib.Span.from_anchor("trail").resolve(prompt)


def test_a_reply_of_one_token_has_no_generated_position() -> None:
    assert Positions(0, None, 5).expected(1) == (5, 0)
    assert Positions(5, None, 5).expected(1) == (0, 0)
    assert Positions(5, None, 5).expected(0) == (0, 0)


PROMPT = ib.RenderedPrompt(range(10), "0123456789", {"a": 2, "b": 5, "end": 10})


def test_every_prompt_has_its_first_token_and_the_first_of_its_reply() -> None:
    assert {name: place_of(PROMPT, name) for name in ("start", "a", "end", "reply")} == {
        "start": 0,
        "a": 2,
        "end": 10,
        "reply": 10,
    }
    assert place_of(ib.RenderedPrompt((7,), "x"), "reply") == 1


@pytest.mark.parametrize(
    ("span", "as_other"),
    [
        (ib.Span.from_anchor("start"), ib.Span.all()),
        (ib.Span.between("start", "reply"), ib.Span.prompt()),
        (ib.Span.from_anchor("reply"), ib.Span.generation()),
        (ib.Span.from_anchor("end"), ib.Span.generation()),
        (ib.Span.between("a", "reply"), ib.Span.from_anchor("a", stop_at_prompt_end=True)),
        (ib.Span.all().until("reply"), ib.Span.prompt()),
        (ib.Span.all().in_prompt, ib.Span.prompt()),
        (ib.Span.from_anchor("a").until("reply"), ib.Span.from_anchor("a").in_prompt),
        (ib.Span.from_anchor("a").until("b"), ib.Span.between("a", "b")),
        (ib.Span.prompt().until("b"), ib.Span.between("start", "b")),
        (ib.Span.between("a", "reply").until("b"), ib.Span.between("a", "b")),
    ],
)
def test_spans_that_say_the_same_come_to_the_same_positions(span: ib.Span, as_other: ib.Span) -> None:
    assert span.resolve(PROMPT) == as_other.resolve(PROMPT)


@given(SPANS)
def test_a_span_in_the_prompt_has_no_generated_position(span: ib.Span) -> None:
    if span.kind == "generation":
        with pytest.raises(EmptySpanError):
            span.in_prompt  # noqa: B018  # the access is what is tested
        return
    assert span.in_prompt.in_prompt == span.in_prompt
    names = [n for n in (span.start_anchor, span.stop_anchor) if n not in (None, "start", "reply")]
    if len(set(names)) < len(names) or {span.start_anchor, span.stop_anchor} & {"start", "reply"}:
        return
    prompt = ib.RenderedPrompt(range(10), "x", {name: n + 1 for n, name in enumerate(names)})
    in_prompt, generated = span.in_prompt.resolve(prompt).expected(7)
    assert (in_prompt, generated) == (span.resolve(prompt).expected(7)[0], 0)


def test_what_begins_in_the_reply_or_ends_by_itself_has_no_part_up_to_an_anchor() -> None:
    with pytest.raises(EmptySpanError, match="begins in the prompt"):
        ib.Span.generation().until("a")
    with pytest.raises(EmptySpanError, match="no end of its own"):
        ib.Span.between("a", "b").until("reply")
    for empty in (ib.Span.from_anchor("b").until("a"), ib.Span.from_anchor("reply").until("b")):
        with pytest.raises(EmptySpanError):
            empty.resolve(PROMPT)
    with pytest.raises(EmptySpanError):
        ib.Span.from_anchor("reply", stop_at_prompt_end=True).resolve(PROMPT)
