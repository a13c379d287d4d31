"""A set of finished trials from anywhere: what every reader returns and every analysis takes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import attrs

from .arms import CONTROL
from .boundaries import checked, guarded
from .errors import AnalysisError
from .freezing import frozen_mapping, frozen_tuple
from .trials import Part, TrialRecord, Verdict

if TYPE_CHECKING:
    import pandas as pd


@guarded(AnalysisError)
@attrs.frozen
class JudgeName:
    """Which judge gave a set of verdicts: ``judge``, ``rubric``, ``model`` (None without a model), blinded or not.

    ``judged`` is the part of the replies that it read.
    """

    judge: str
    rubric: str
    model: str | None
    blinded: bool
    judged: Part = "answer"

    @classmethod
    @checked(AnalysisError)
    def of(cls, verdict: Verdict) -> JudgeName:
        """The judge that gave a verdict."""
        return cls(verdict.judge, verdict.rubric, verdict.judge_model, verdict.blinded, verdict.judged)

    def __str__(self) -> str:
        model = f" ({self.model})" if self.model else ""
        read = "" if self.judged == "answer" else ", reasoning and answer"
        return f"{self.judge}/{self.rubric}{model}, {'blinded' if self.blinded else 'not blinded'}{read}"


@guarded(AnalysisError)
@attrs.frozen
class Results:
    """Trials with their verdicts, and the specification under which they were made.

    ``name`` is a short label for tables and figures; ``records`` the trials, in the order of the source;
    ``spec`` whatever the source says of how they were made, as plain JSON-like values (empty where it says
    nothing beyond the records); ``source`` the path that was read; ``notes`` what a reader of the numbers must
    know of this source (what was unknown, assumed, or fixed by construction).
    """

    name: str
    records: tuple[TrialRecord, ...] = attrs.field(converter=frozen_tuple)
    spec: Mapping[str, Any] = attrs.field(converter=frozen_mapping, factory=dict, hash=False)
    source: str = ""
    notes: tuple[str, ...] = attrs.field(converter=frozen_tuple, default=())

    def __len__(self) -> int:
        return len(self.records)

    def __iter__(self) -> Iterator[TrialRecord]:
        return iter(self.records)

    @property
    def judges(self) -> tuple[JudgeName, ...]:
        """The judges that gave verdicts here, the one with the most verdicts first."""
        counts = Counter(JudgeName.of(v) for record in self.records for v in record.verdicts)
        return tuple(name for name, _ in sorted(counts.items(), key=lambda item: (-item[1], str(item[0]))))

    @property
    def concepts(self) -> tuple[str, ...]:
        """The names of the concepts of all arms but controls, in the order in which they first occur."""
        return tuple(dict.fromkeys(r.concept for r in self.records if r.concept is not None and r.arm != CONTROL))

    @property
    def facts(self) -> dict[str, list[Any]]:
        """What the trials themselves say of how they were made: the sorted different values of each field."""
        columns: dict[str, set[Any]] = {}
        for record in self.records:
            key = record.key
            facts = {
                "model_name": record.model_name,
                "model": key.model,
                "backend": key.backend,
                "scaffold": record.scaffold,
                "scaffold_digest": record.scaffold_digest or None,
                "concept": record.concept,
                "vector": key.vector,
                "layer": key.layer,
                "magnitude": key.magnitude,
                "unit": key.unit,
                "span": record.span,
                **{f"sampling_{name}": value for name, value in attrs.asdict(key.sampling).items()},
            }
            for name, value in facts.items():
                columns.setdefault(name, set()).update(() if value is None else (value,))
        return {name: sorted(values) for name, values in columns.items()} | {"judge": sorted(map(str, self.judges))}

    def frame(self, judge: str | None = None, rubric: str | None = None, *, repeats: bool = False) -> pd.DataFrame:
        """Return one row per trial; see :func:`introspection_bench.analysis.records_frame`."""
        from .frames import records_frame

        return records_frame(self.records, judge, rubric, repeats=repeats)
