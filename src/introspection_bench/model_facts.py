"""What is known of a model beside its weights: the facts by which models are compared."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Literal

import attrs

from .boundaries import checked, guarded
from .errors import SpecError, explain
from .structuring import strict_converter, worded

#: How far a stated number of parameters may be from the counted one, as a share: "135 million" for 134,515,008.
_ROUNDED = 0.02
_SCALES = ((10**12, "T"), (10**9, "B"), (10**6, "M"), (10**3, "K"))


@guarded(SpecError)
@attrs.frozen
class ModelFacts:
    """Facts of one model; None where nobody stated and nothing found it.

    Attributes:
        family: whose it is and of which generation, as its makers call it ("SmolLM2"); stated.
        architecture: the class of its blocks ("llama"; Hugging Face's ``model_type``), which many families share.
        parameters: how many weights it has, tied ones once.
        tuning: "base" (pretrained alone) or "instruct"; stated, since a base model may come with a chat template.
        quantisation: how its weights were rounded ("Q4_K_M", "fp8"), also where they were made floats again; "none".
        chat_template: whether its tokenizer has one. Without, a scaffold of ``template="auto"`` is a transcript.

    Raises :class:`SpecError` for an empty text, and for fewer parameters than one.
    """

    family: str | None = None
    architecture: str | None = None
    parameters: int | None = None
    tuning: Literal["base", "instruct"] | None = None
    quantisation: str | None = None
    chat_template: bool | None = None

    def __attrs_post_init__(self) -> None:
        texts = {"family": self.family, "architecture": self.architecture, "quantisation": self.quantisation}
        wrong: dict[str, Any] = {n: v for n, v in texts.items() if v is not None and not v.strip()}
        if self.parameters is not None and (isinstance(self.parameters, bool) or self.parameters < 1):
            wrong["parameters"] = self.parameters
        if self.tuning not in (None, "base", "instruct"):
            wrong["tuning"] = self.tuning
        if wrong:
            raise SpecError(
                explain(
                    "facts",
                    required='texts, parameters >= 1, tuning "base" or "instruct"',
                    got=wrong,
                    hint="Leave out what is not known.",
                )
            )

    @property
    def size(self) -> str | None:
        """The number of parameters to three digits, as models are called: ``135M``; None where it is not known."""
        if self.parameters is None:
            return None
        rounded = round(self.parameters, 2 - math.floor(math.log10(self.parameters)))
        scale, letter = next(((s, letter) for s, letter in _SCALES if rounded >= s), (1, ""))
        return f"{rounded / scale:.3g}{letter}"

    @checked(SpecError)
    def or_else(self, found: ModelFacts) -> ModelFacts:
        """Return these facts, and of those that are not known here the ones that were found."""
        mine = attrs.asdict(self)
        return attrs.evolve(found, **{name: value for name, value in mine.items() if value is not None})

    @checked(SpecError)
    def check(self, found: ModelFacts, name: str) -> None:
        """Raise :class:`SpecError` where what was stated of the model called ``name`` is not what was found of it.

        A number of parameters may be rounded (by 2 %). ``quantisation`` is not held against what was found: weights
        that were made floats again show none.
        """
        both = {
            field: (stated, there)
            for field in ("family", "architecture", "parameters", "tuning", "chat_template")
            if (stated := getattr(self, field)) is not None and (there := getattr(found, field)) is not None
        }
        wrong = {f: told for f, told in both.items() if not _alike(*told)}
        if wrong:
            raise SpecError(
                explain(
                    f"facts of {name}",
                    required=f"what was found: { ({f: there for f, (_, there) in wrong.items()}) }",
                    got={f: stated for f, (stated, _) in wrong.items()},
                    hint="Leave them out, or open the model that you mean.",
                )
            )

    @classmethod
    @checked(SpecError)
    def of_spec(cls, spec: Mapping[str, Any]) -> ModelFacts:
        """Return what the specification of a run's results says: what was stated, else what was found on opening.

        Results from elsewhere say nothing. Raises :class:`SpecError` for facts that are malformed.
        """
        tables = [spec.get("model"), spec.get("found")]
        told = [t.get("facts") if isinstance(t, Mapping) else None for t in tables]
        with worded(
            SpecError,
            "facts",
            root="facts",
            required="the keys and types of the docs' page studies",
            hint="Mend these keys.",
            also=(TypeError,),
        ):
            stated, found = (strict_converter().structure({} if t is None else t, cls) for t in told)
        return stated.or_else(found)


def _alike(stated: object, found: object) -> bool:
    if isinstance(stated, int) and isinstance(found, int) and not isinstance(found, bool):
        return abs(stated - found) <= _ROUNDED * found
    return stated == found
