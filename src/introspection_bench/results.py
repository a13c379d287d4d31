"""A set of finished trials from anywhere: what every reader returns and every analysis takes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import attrs

from .boundaries import checked, guarded
from .conditions import CELL_COLUMNS, Condition, ordered
from .effects import Effects, FoundDose
from .errors import AnalysisError
from .freezing import frozen_mapping, frozen_tuple
from .identity import Sampling
from .showing import named, plural, shown, table_html
from .trials import TrialPart, TrialRecord
from .verdicts import Asked, Part, Verdict

if TYPE_CHECKING:
    import pandas as pd


@guarded(AnalysisError)
@attrs.frozen
class JudgeName:
    """Which judge gave a set of verdicts: ``judge``, ``rubric``, ``model`` (None without a model), blinded or not.

    ``judged`` is the part of the replies that it read, ``asked`` which concept it was asked about.
    """

    judge: str
    rubric: str
    model: str | None
    blinded: bool
    judged: Part = "answer"
    asked: Asked = "own"

    @classmethod
    @checked(AnalysisError)
    def of(cls, verdict: Verdict) -> JudgeName:
        """The judge that gave a verdict."""
        return cls(*_named(verdict))

    def gave(self, verdict: Verdict) -> bool:
        """Whether a verdict is this judge's."""
        return _named(verdict) == (self.judge, self.rubric, self.model, self.blinded, self.judged, self.asked)

    def __str__(self) -> str:
        model = f" ({self.model})" if self.model else ""
        read = "" if self.judged == "answer" else ", reasoning and answer"
        about = "" if self.asked == "own" else ", asked about another concept"
        return f"{self.judge}/{self.rubric}{model}, {'blinded' if self.blinded else 'not blinded'}{read}{about}"


@guarded(AnalysisError)
@attrs.frozen
class Results:
    """Trials with their verdicts, and the specification under which they were made.

    ``name`` is a short label for tables and figures; ``records`` the trials, in the order of the source;
    ``spec`` whatever the source says of how they were made, as plain JSON-like values (empty where it says
    nothing beyond the records); ``source`` the path that was read; ``notes`` what a reader of the numbers must
    know of this source (what was unknown, assumed, or fixed by construction). ``effects`` are what its doses do to
    neutral prompts, where that was measured; ``doses`` those that were found by their effect.
    """

    name: str
    records: tuple[TrialRecord, ...] = attrs.field(converter=frozen_tuple)
    spec: Mapping[str, Any] = attrs.field(converter=frozen_mapping, factory=dict, hash=False)
    source: str = ""
    notes: tuple[str, ...] = attrs.field(converter=frozen_tuple, default=())
    effects: Effects = attrs.field(factory=Effects)
    doses: tuple[FoundDose, ...] = attrs.field(converter=frozen_tuple, default=())

    def __len__(self) -> int:
        return len(self.records)

    def __iter__(self) -> Iterator[TrialRecord]:
        return iter(self.records)

    def __repr__(self) -> str:
        counts = Counter(r.arm for r in self.records)
        arms = named("arms", [f"{arm} {counts[arm]:,}" for arm in ordered(counts)])
        judges = named("judged by", self.judges) or "not judged"
        notes = plural(len(self.notes), "note") if self.notes else ""
        told = plural(len(self.records), "trial"), arms, named("concepts", self.concepts), judges, notes
        return shown(self, repr(self.name), *told, f"source {self.source!r}" if self.source else "")

    def _repr_html_(self) -> str:
        parts = {arm: [r for r in self.records if r.arm == arm] for arm in ordered(r.arm for r in self.records)}
        rows = [
            (arm, len(part), len({r.concept for r in part} - {None}), *(_read_by(judge, part) for judge in self.judges))
            for arm, part in parts.items()
        ]
        head = ["arm", "trials", "concepts", *map(str, self.judges)]
        title = f"{self.name}: {plural(len(self.records), 'trial')}"
        return table_html(title, rows, head, [*self.notes, self.source])

    @property
    def judges(self) -> tuple[JudgeName, ...]:
        """The judges that gave verdicts here: the one with the most verdicts first, on other concepts last."""
        counts = Counter(_named(v) for record in self.records for v in record.verdicts)
        named = [(JudgeName(*told), n) for told, n in counts.items()]
        return tuple(
            name for name, _ in sorted(named, key=lambda item: (item[0].asked != "own", -item[1], str(item[0])))
        )

    @property
    def conditions(self) -> tuple[Condition, ...]:
        """The different conditions, in the order in which they first occur."""
        # Trials of one condition share the object; comparing objects first spares comparing each record's fields.
        return tuple(dict.fromkeys({id(r.condition): r.condition for r in self.records}.values()))

    @property
    def concepts(self) -> tuple[str, ...]:
        """The names of the injected concepts, in the order in which they first occur."""
        return tuple(dict.fromkeys(c.concept for c in self.conditions if c.concept is not None))

    @property
    def facts(self) -> dict[str, list[Any]]:
        """What the trials themselves say of how they were made: the sorted different values of each field."""
        keys = [record.key for record in self.records]
        samplings = {key.sampling for key in keys}
        cells = [{"wording": condition.wording or None} | condition.columns for condition in self.conditions]
        found: dict[str, set[Any]] = {name: {cell[name] for cell in cells} for name in (*CELL_COLUMNS, "wording")}
        found |= {
            "model_fingerprint": {key.model for key in keys},
            "backend": {key.backend for key in keys},
            "vector": {steer.vector for key in keys for steer in key.steers},
            "item": {record.trial.item for record in self.records},
            "judge": set(map(str, self.judges)),
        }
        for field in attrs.fields(Sampling):
            found[f"sampling_{field.name}"] = {getattr(sampling, field.name) for sampling in samplings}
        return {name: sorted(values - {None}) for name, values in found.items()}

    @checked(AnalysisError)
    def of_part(self, part: TrialPart | Literal["all"] | None = None) -> Results:
        """Return the trials of one part of the run; by default those that confirm, where some do, else all.

        What was chosen for being the best is no evidence of being good: only trials that had no say in the choice are.
        """
        if part is None:
            part = "confirmation" if any(r.trial.part == "confirmation" for r in self.records) else "all"
        return self if part == "all" else attrs.evolve(self, records=[r for r in self.records if r.trial.part == part])

    def frame(
        self,
        judge: str | None = None,
        rubric: str | None = None,
        *,
        repeats: bool = False,
        part: TrialPart | Literal["all"] | None = None,
        asked: Asked = "own",
    ) -> pd.DataFrame:
        """Return one row per trial of one part (:meth:`of_part`); see :func:`introspection_bench.frames.records_frame`.

        Functions that pool trials refuse a frame of ``"all"`` where both parts are in it.
        """
        from .frames import records_frame

        return records_frame(self.of_part(part).records, judge, rubric, repeats=repeats, asked=asked)


def frame_of(frame: pd.DataFrame | Results) -> pd.DataFrame:
    """Return results as a frame (:meth:`Results.frame`, of their only judge), and a frame as it is."""
    return frame.frame() if isinstance(frame, Results) else frame


def _read_by(judge: JudgeName, records: Sequence[TrialRecord]) -> str:
    verdicts = [v for record in records for v in record.verdicts if judge.gave(v)]
    unscored = sum(v.unscored is not None for v in verdicts)
    return plural(len(verdicts), "verdict") + (f", {unscored:,} unscored" if unscored else "")


def _named(verdict: Verdict) -> tuple[str, str, str | None, bool, Part, Asked]:
    return verdict.judge, verdict.rubric, verdict.judge_model, verdict.blinded, verdict.judged, verdict.asked
