"""The example with every control on a tiny random model, and what is to be true of it on any backend."""

from __future__ import annotations

from collections import Counter, defaultdict
from pathlib import Path

import attrs

from introspection_bench.sweep import RunSpec, Sweep

FILE = Path(__file__).parents[1] / "examples" / "controls.toml"
#: What the tiny models need otherwise: they have four blocks, and no token of their tokenizer is a longer word.
FOR_TINY_MODELS = (
    "design.layers=[1]",
    "design.sampling.max_new_tokens=3",
    "effects.n_random=2",
)
MEASURES = ("yes_no", "naming", "observer", "concept_lens", "cosines")
STILL = {
    "control",
    "mention",
    "edited_input",
    "edited_input_clean",
    "no_questions_clean",
    "yes_questions_clean",
    "neutral_labels_clean",
}
#: Of these the concept that stands in the text, or under whose injection the question is asked, is ``asked``.
ABOUT_A_CONCEPT = STILL - {"control"}


def run_all(injector, directory):
    """Run the file but for its judges; return the sweep."""
    spec = RunSpec.from_toml(FILE, FOR_TINY_MODELS)
    yes_no, *others = spec.measures
    spec = attrs.evolve(spec, measures=[attrs.evolve(yes_no, yes=("y",), no=("n",)), *others])
    sweep = Sweep(spec.design, injector, directory, spec=spec)
    for measure in spec.measures:
        sweep.check_measure(measure)
    sweep.generate()
    for measure in spec.measures:
        sweep.measure(measure)
    return sweep


def require_all(sweep):
    """Every arm with all of its trials, receipts, places and random numbers, and every measure of each of them."""
    results, planned = sweep.results(), {p.key.digest: p for p in sweep.planned}
    records = results.records
    assert Counter(r.arm for r in records) == Counter(p.condition.arm for p in sweep.planned)
    assert {r.arm for r in records} == {arm.name for arm in sweep.design.arms}
    assert len(results.effects) == len(sweep.design.concepts)
    prompts = {key: p.request.prompt for key, p in planned.items()}
    for record in records:
        assert sorted(r.measure for r in record.readings) == sorted(MEASURES), record.arm
        require_places(record, prompts[record.key.digest], sweep.injector.tokenizer)
    require_pairs(records, prompts)


def require_places(record, prompt, tokenizer):
    """Steered are the positions that the arm says, told by the text that stands there, and no others."""
    places = [(s.start, s.stop) for s in record.key.steers]
    if record.arm in STILL:
        assert not places
        assert not record.receipts
        return
    begins, end, replied = prompt.anchors["trial"], len(prompt.token_ids), len(record.reply.token_ids) - 1
    shown = tokenizer.decode(prompt.token_ids[begins:]).lstrip()
    assert shown.startswith("Question:" if record.arm == "third_person" else "Trial 1"), shown[:40]
    start, stop = {"prompt_only": (begins, end), "removed": (0, begins)}.get(record.arm, (begins, None))
    steers = 1 + (2 if record.arm.startswith("projected") else 0)  # with blocks 2 and 3
    assert places == [(start, stop)] * steers, record.arm
    counted = [(r.prompt_positions, r.generation_positions) for r in record.receipts]
    assert counted == [((stop or end) - start, 0 if stop else replied)] * steers, record.arm


def require_pairs(records, prompts):
    """A control has the random numbers of an injected trial of its concept, each another one's.

    What somebody else's trial is steered over begins as far from the answer as in that injected trial.
    """
    paired = {r.key.given_seed: r for r in records if r.arm == "injected"}
    seen = defaultdict(set)
    for record in records:
        seed = record.key.given_seed
        assert seed not in seen[record.arm], record.arm
        seen[record.arm].add(seed)
        concept = record.concept if record.concept or record.arm not in ABOUT_A_CONCEPT else record.condition.asked
        if concept is not None:
            assert paired[seed].concept == concept, record.arm
        if record.arm == "third_person":
            assert _distance(record, prompts) == _distance(paired[seed], prompts)
    for arm, seeds in seen.items():
        assert len(seeds & set(paired)) == min(len(seeds), len(paired)), arm


def _distance(record, prompts):
    prompt = prompts[record.key.digest]
    return len(prompt.token_ids) - prompt.anchors["trial"]
