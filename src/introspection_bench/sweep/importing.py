"""Other people's results as a run of ours, so that they can be judged, labelled and reported like our own."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import attrs

from ..boundaries import checked
from ..concepts import ConceptSet, load_concepts
from ..errors import ResultsFormatError, SpecError, explain
from ..judges.cases import built_in_question, concepts_of
from ..results import Results
from ..structuring import plain
from ..trials import TrialRecord
from .store import Store


@checked(SpecError)
def import_results(sources: Sequence[Results], directory: str | Path, concepts: ConceptSet | str) -> Store:
    """Return a new run that holds the trials of several results files, with the verdicts that came with them.

    ``concepts``, a set or its name, must hold every concept named in the files: judges are asked about them. Scaffolds
    whose names are built in get their transcript; of others the prompt is not known, and judges are told so. Raises
    :class:`ResultsFormatError` for an unknown concept, or a trial that two files hold, and
    :class:`~introspection_bench.errors.StoreError` where the directory holds a run.
    """
    concepts = load_concepts(concepts) if isinstance(concepts, str) else concepts
    records = [attrs.evolve(r, source=r.source or s.source) for s in sources for r in s.records]
    _check_once(records)
    used = concepts_of(records, concepts)
    names = ", ".join(sorted({r.condition.model for r in records}))
    spec = {
        "model": {"name": names, "backend": ", ".join(sorted({r.key.backend for r in records}))},
        "found": {"name": names, "fingerprint": "imported"},
        "numerics": 0,
        "imported": [{"name": s.name, "source": s.source, "notes": list(s.notes), **s.spec} for s in sources],
        "design": {
            "concepts": {"name": concepts.name, "concepts": [plain(c) for c in used]},
            "scaffolds": [
                {"name": name, "transcript": question}
                for name, question in {r.scaffold: built_in_question(r) for r in records}.items()
            ],
        },
    }
    return Store.create_from_records(directory, spec, records)


def _check_once(records: Iterable[TrialRecord]) -> None:
    seen: dict[str, str] = {}
    for record in records:
        other = seen.setdefault(record.key.digest, record.source)
        if other is not record.source and other != record.source:
            raise ResultsFormatError(
                explain("FILE", required="each trial in one file", got=f"{other} and {record.source}", hint="Drop one.")
            )
