"""What values look like where Python or a notebook prints them."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from html.parser import HTMLParser
from typing import Any

import pytest

import introspection_bench as ib
from introspection_bench import sweep
from introspection_bench.errors import ScaffoldError, VectorError
from introspection_bench.testing import save_tiny_model, tiny_tokenizer
from introspection_bench.vectors import Provenance
from tests.sample_trials import answered_records

HOSTILE = "<script>alert('x')</script>\x1b[31m\u202e"
LONG = "All the words of a very long question. " * 200
DESIGN = ib.Design(
    ["lindsey", "lindsey_405b"],
    "lindsey2026",
    layers=[*range(20), range(20, 30)],
    doses=[f"{n} raw" for n in range(1, 30)],
    arms=[sweep.Injected(50), sweep.Unsteered(20)],
)


def made(concept: str, values: Sequence[float] = (1, 0, 0), layer: int = 3, model: str = "tiny") -> ib.ConceptVector:
    return ib.ConceptVector(values, concept, layer, Provenance("word", model, model, "p", 1, -1, 1.0, 0.9))


TURNS = [ib.Turn("user", HOSTILE + LONG)]
#: Each with what its line must say.
VALUES: list[tuple[Any, list[str]]] = [
    (ib.Results("demo", answered_records() * 2000), ["4,000 trials", "control 2,000", "love", "rules/strict4"]),
    (answered_records()[0], ["injected 'love'", "layer 19", "I do not detect", "strict4: coherent", "1 receipt"]),
    (answered_records()[0].reply, ["“I do not detect", "stop"]),
    (ib.load_concepts("latent2026").concepts[0], ["1 pair"]),
    (DESIGN, ["lindsey2026: Dust", "and 46 more", "1 raw", "injected 50", "from(trial)"]),
    (ib.Study(DESIGN, ["demo"], "runs/study"), ["runs/study", "demo (torch)", "Design("]),
    (sweep.Confirmed(DESIGN, sweep.Confirmation(sweep.SelectionRule(["layers"]))), ["Design("]),
    (ib.LINDSEY, ["'lindsey'", "3 turns", "Ok, let's get started.", "anchors trial"]),
    (ib.Scaffold("{s}", [ib.Turn("user", "{a} or {b}?")]), ["slots a and b"]),
    (ib.Scaffold(HOSTILE, TURNS), ["1 turn"]),
    (ib.load_concepts("lindsey2026"), ["50 concepts: Dust", "46 more", "100 baseline words"]),
    (made("love"), ["'love'", "layer 3", "hidden 3", "norm 1", "word on tiny"]),
    (made(HOSTILE, model=HOSTILE), ["layer 3"]),
    (ib.nearest_concepts(made("love"), [made(HOSTILE, [1, 1, 0])]), ["'love'", "0.71", "among 1 vector"]),
    (ib.load_battery("questions"), ["'questions'", "items: world01"]),
    (ib.load_rubric("strict4"), ["'strict4/", "success affirmative, identifies, immediate and coherent"]),
    (ib.load_protocol("lindsey2026"), ["'lindsey2026'", "scaffolds lindsey", "arms injected"]),
    (ib.Injection(made("love"), 3, "0.3 residual", "all"), ["'love'", "layer 3", "0.3 residual", "all"]),
    (answered_records()[0].trial, ["injected 'love'", "layer 19"]),
    (ib.RenderedPrompt(range(1, 5000), LONG, {"trial": 163}), ["4,999 tokens", "trial at 163"]),
]


@pytest.mark.parametrize(("value", "says"), VALUES, ids=lambda v: type(v).__name__)
def test_a_value_says_what_it_is_in_a_short_line_that_steers_no_terminal(value: Any, says: list[str]) -> None:
    told = repr(value)
    assert len(told) < 1000
    assert told.isprintable()
    assert [words for words in says if words not in told] == []


class Page(HTMLParser):
    """The tags and the text of a page; a tag that stays open is in ``open``."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.open: list[str] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: Any) -> None:  # HTMLParser's signature
        self.tags.add(tag)
        self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.mark.parametrize(
    "value",
    [
        ib.Results(HOSTILE, answered_records(), source=HOSTILE, notes=[HOSTILE]),
        ib.Scaffold(HOSTILE, [ib.Turn("user", HOSTILE)], system=HOSTILE, prefill=HOSTILE),
        ib.Design([ib.Scaffold(HOSTILE, [ib.Turn("user", HOSTILE)])], span="all", arms=[sweep.Unsteered(1)]),
        made(HOSTILE, model=HOSTILE),
        ib.nearest_concepts(made(HOSTILE), [made(HOSTILE, [1, 1, 0])]),
        ib.Study(DESIGN, ["demo"], HOSTILE.partition("/")[0] + ">"),
        ib.MarkedPrompt(HOSTILE, ib.RenderedPrompt([1], HOSTILE), [HOSTILE], ib.Span.all()),
    ],
    ids=lambda v: type(v).__name__,
)
def test_what_a_notebook_shows_of_hostile_text_is_text(value: Any) -> None:
    page = Page(value._repr_html_())
    assert "<script>alert" in page.text
    assert "script" not in page.tags
    assert page.open == []
    assert "\x1b" not in page.text
    assert "\u202e" not in page.text


def test_the_table_of_results_counts_trials_and_verdicts_by_arm() -> None:
    page = Page(ib.Results("r", answered_records() * 3)._repr_html_())
    assert "control303 verdicts" in page.text
    assert "injected313 verdicts" in page.text


def test_a_sweep_and_its_injector_say_model_directory_and_size(tmp_path: Any) -> None:
    design = ib.Design(arms=[sweep.Unsteered(3)], concepts="pairs", sampling=ib.Sampling(max_new_tokens=2))
    with ib.open_injector("torch", save_tiny_model("llama", tmp_path / "tiny"), device="cpu") as injector:
        assert repr(injector).startswith("TorchInjector('tiny', ")
        page = Page(injector._repr_html_())
        assert "TorchInjector tiny" in page.text
        assert "layers4" in page.text
        told = repr(ib.Sweep(design, injector, tmp_path / "run"))
    assert len(told) < 1000
    assert [words for words in ("Sweep(", "3 trials planned", "tiny", "control 3", "run'") if words not in told] == []


@pytest.mark.parametrize("text", ["Ok, Trial 1: a thought?", "Grüße, 🙂 and 漢字. Trial 1: noticed?"])
def test_the_marked_tokens_are_the_whole_prompt_and_begin_at_the_anchor(text: str) -> None:
    scaffold = ib.Scaffold("s", [ib.Turn("user", text)], [ib.Anchor("trial", "Trial 1")])
    marked = ib.mark_span(scaffold, tiny_tokenizer(), date=datetime.date(2026, 1, 2))
    assert "".join(marked.tokens) == marked.prompt.text
    assert marked.steered == tuple(range(marked.prompt.anchors["trial"], len(marked.tokens)))
    assert "⟦Trial 1: " in str(marked)
    assert str(marked).endswith("⟧⟦reply⟧")
    page = marked._repr_html_()
    assert page.count("<mark") == len(marked.steered) + 1
    assert Page(page).open == []


def test_a_span_that_ends_with_the_prompt_leaves_the_reply_unmarked() -> None:
    marked = ib.mark_span("lindsey", tiny_tokenizer(), "from(trial) stop_at_prompt_end")
    assert not marked.steers_reply
    assert "[reply]</pre>" in marked._repr_html_()
    assert "<mark>[reply]" not in marked._repr_html_()


def test_marked_tokens_of_another_prompt_are_refused() -> None:
    with pytest.raises(ScaffoldError, match="tokens"):
        ib.MarkedPrompt("m", ib.RenderedPrompt([1, 2], "a b"), ["a"], ib.Span.all())


def test_a_vector_is_compared_with_those_of_its_model_and_layer_alone() -> None:
    love = made("love")
    near, far, opposite = made("peace", [1, 1, 0]), made("war", [0.1, 1, 0]), made("hate", [-1, 0, 0])
    others = [made("elsewhere", layer=4), made("other", model="another")]
    found = ib.nearest_concepts(love, [opposite, *others, far, near, love], most=2)
    assert [v.concept for v in found.found] == ["peace", "war"]
    assert found.cosines == pytest.approx([0.7071, 0.0995], abs=1e-4)
    assert (found.compared, found.left_out) == (3, 2)
    assert "2 of another model or layer left out" in repr(found)
    with pytest.raises(VectorError, match=r"tiny at layer 3.*got 2 other vectors, 0 of them"):
        ib.nearest_concepts(love, [love, *others])
