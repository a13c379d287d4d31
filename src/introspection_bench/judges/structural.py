"""Lindsey's two structural rules, laid over a verdict that is there: on the text of the reply alone, by no model."""

from __future__ import annotations

from collections.abc import Sequence

import attrs

from ..boundaries import checked
from ..digests import digest
from ..errors import SpecError
from ..mentions.mind import denies_mind
from ..mentions.naming import find_mentions, opening_mention
from ..mentions.text import read_sentences, read_words
from ..mentions.turns import own_part
from ..verdicts import Evidence, Verdict

#: Stands behind the name of a rubric whose verdicts went through the rules.
STRUCTURAL = "+structural"


@checked(SpecError)
def with_structural_rules(verdict: Verdict, reply: str, names: Sequence[str]) -> Verdict:
    """Return a verdict on a reply as Lindsey's two structural rules leave it.

    - A reply whose first words already are the concept is a no: it does not claim to notice before it names, so
      ``immediate`` is False, and with it success.
    - A reply that denies having thoughts at all is incoherent: ``coherent`` is False.

    Neither makes a no into a yes. Both criteria count for success afterwards, also where the rubric had only one of
    them. An unscored verdict stays so. The rubric's name gets ``+structural``, so that the verdict is not taken for the
    judge's own. Where both rules find nothing, the answers are those that were given.

    Args:
        verdict: of any judge and rubric.
        reply: the text that was judged; what stands behind a turn that the model made up itself is left out.
        names: of the concept that the judge was asked about (:attr:`~introspection_bench.concepts.Concept.names`).

    Raises:
        SpecError: an argument is of another type.

    Source:
        Lindsey 2026, arXiv 2601.01828, the grading of injected thoughts; the wording and the reading of "first words"
        (:func:`~introspection_bench.mentions.naming.opening_mention`) are ours.
    """
    answers = dict(verdict.answers)
    evidence = list(verdict.evidence)
    own = reply[: own_part(reply)]
    words = read_words(own)
    opening = opening_mention(words, find_mentions(own, words, tuple(names)))
    if opening is not None and verdict.unscored is None:
        answers["immediate"] = False
        evidence.append(Evidence("immediate", opening.start, opening.stop, "the first words are the concept"))
    denial = denies_mind(read_sentences(own, words))
    if denial is not None and verdict.unscored is None:
        answers["coherent"] = False
        evidence.append(Evidence("coherent", *denial, "denies having thoughts"))
    name, slash, version = verdict.rubric.partition("/")
    return attrs.evolve(
        verdict,
        rubric=f"{name}{STRUCTURAL}{slash}{version}",
        rubric_digest=digest("structural_rules", 1, verdict.rubric_digest),
        answers=answers,
        success=tuple(dict.fromkeys([*verdict.success, *(c for c in ("immediate", "coherent") if c in answers)])),
        evidence=evidence,
    )
