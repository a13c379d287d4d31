"""What a run would be, before any weights are loaded: trials, tokens, time and money."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import attrs
import numpy as np

from ..background import Background
from ..boundaries import checked
from ..concepts import Concept
from ..errors import ModelError, SpecError, explain
from ..freezing import frozen_mapping
from ..injectors.base import ModelInfo
from ..injectors.registry import BUILTIN
from ..loading import Described
from ..prompts import Tokenizer
from ..vectors import ConceptVector, Provenance
from .choosing import Candidate, SelectionRule
from .confirming import Confirmed
from .design import Design
from .foreseen import Injected, JudgeCalls, judge_calls
from .places import by_place, source_layers
from .planner import Ground, PlannedTrial
from .spec import RunSpec
from .words import background, background_words


@attrs.frozen
class Outline:
    """What a plan comes to.

    ``trials`` count by arm, at most where a run may stop once it has said enough, or searches. ``prompt_tokens`` are
    those of all prompts together (engines share most of them), ``reply_tokens`` the most that all replies together can
    have. ``injected`` says what the run excludes if nothing is found, ``judging`` what its judges are asked.
    """

    model: str
    layers: int
    trials: Mapping[str, int] = attrs.field(converter=frozen_mapping, hash=False)
    prompt_tokens: int
    reply_tokens: int
    injected: Injected
    judging: tuple[JudgeCalls, ...]

    @property
    def total(self) -> int:
        """All trials."""
        return sum(self.trials.values())

    @checked(SpecError)
    def hours(self, tokens_per_second: float) -> float:
        """Return the hours that the longest replies take at a rate of generated tokens; more than 0."""
        if not tokens_per_second > 0:
            raise SpecError(
                explain(
                    "tokens_per_second", required="more than 0", got=tokens_per_second, hint="See the docs' page speed."
                )
            )
        return self.reply_tokens / tokens_per_second / 3600


@checked(SpecError)
def outline(spec: RunSpec, tokenizer: Tokenizer | None = None, config: Any = None) -> Outline:
    """Plan a specification on a model's configuration and tokenizer alone; nothing is written.

    Both are loaded if they are not given. Vectors and fingerprint, which need the weights, are stood in for, so that
    the trials have no keys here. Raises whatever planning raises, and
    :class:`~introspection_bench.errors.ModelNotFoundError` for a model without either.
    """
    told = spec.model.describe() if tokenizer is None or config is None else Described(tokenizer, config)
    info = ModelInfo(spec.model.name, "", told.n_layers, told.hidden_size, "")
    planner = spec.planner
    vectors, words = _stand_ins(planner.whole, info), _word_stand_ins(planner.design, info)
    ground = Ground(info, spec.model.backend, 1, told.tokenizer, spec.design.day, vectors, background=words)
    planned = planner.most(ground)
    if isinstance(planner, Confirmed):
        planned += planner.confirming(
            ground, _first_cell(planner.confirmation.rule, planned), [t.trial for t in planned]
        )
    return Outline(
        spec.model.name,
        info.n_layers,
        Counter(t.condition.arm for t in planned),
        sum(len(t.request.prompt.token_ids) for t in planned),
        sum(t.request.sampling.max_new_tokens for t in planned),
        Injected.of(t.condition for t in planned),
        tuple(judge_calls(spec, sum(t.condition.asked is not None for t in planned))),
    )


def check_early(spec: RunSpec) -> None:
    """Raise what planning will raise of layers, scaffolds and spans, before any weights are loaded.

    Only where a backend of ours opens the model: to another's a name may mean anything. What a model lacks to be
    described, opening it says better.
    """
    if spec.model.backend not in BUILTIN:
        return
    try:
        told = spec.model.describe()
    except ModelError:
        return
    outline(spec, told.tokenizer, told.config)


def _first_cell(rule: SelectionRule, planned: Sequence[PlannedTrial]) -> Candidate:
    """Return a cell that could be chosen: whichever it will be, as many trials confirm it."""
    first = next(t.condition for t in planned if t.condition.arm == rule.arm)
    return Candidate(
        first.scaffold if "scaffold" in rule.chooses else None,
        first.layers if "layers" in rule.chooses else (),
        first.stated_dose if "dose" in rule.chooses else None,
        *(0, 0, 1, 0),
    )


def _stand_ins(design: Design, info: ModelInfo) -> Mapping[tuple[str, int], ConceptVector]:
    """Return vectors that stand where extracted ones will, different for each concept and layer."""
    given = {v.concept for v in design.vectors}
    made = _made(design, info, [c for c in design.concepts or () if c.name not in given])
    return by_place(design, [*design.vectors, *made], info.n_layers)


def _word_stand_ins(design: Design, info: ModelInfo) -> Mapping[int, Background]:
    return background(design, _made(design, info, background_words(design)), info.n_layers)


def _made(design: Design, info: ModelInfo, concepts: Sequence[Concept]) -> list[ConceptVector]:
    provenance = Provenance("stand-in", info.name, "", "", 0, -1, 1.0, None)
    rng = np.random.default_rng(0)
    # Few numbers are enough to tell vectors apart, but given ones have the model's width.
    width = info.hidden_size if design.vectors else 8
    return [
        ConceptVector(rng.standard_normal(width), concept.name, layer, provenance)
        for concept in concepts
        for layer in sorted(set(source_layers(design, info.n_layers).values()))
    ]
