"""The HTML report: one page with the statistics, the figures and every transcript."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Any

import attrs
import pandas as pd
from markupsafe import Markup

from ...analysis.binomial import bounds, percent
from ...analysis.selection import dosed, shown_of, without_texts
from ...boundaries import checked
from ...errors import AnalysisError
from ...files import write_file
from ...results import JudgeName, Results
from ...trials import TrialRecord
from ...verdicts import CRITERIA
from ..doses import dose_section, find_doses
from ..effects import effects_section
from ..figures.gallery import Plate, gallery
from ..figures.printing import as_wide_as_paper, save_plate
from ..figures.style import DARK, FORMATS, LIGHT, svgs
from ..multiverse import multiverse
from ..tables import Section
from ..wording import listing, plural
from .answer import answer
from .appendix import appendix
from .assets import asset, source_hash, templates
from .beside import beside_section
from .citing import bibtex
from .conversations import known_prompts
from .experiments import experiment_section
from .explained import explained_section, told_by
from .headlines import headlines
from .judged import choose_judge, verdict_frame
from .log_odds import log_odds_section
from .making import made
from .naming import naming_section
from .parts import Kept, kept_transcripts
from .planned import plan_section
from .sections import clustered, control_section, judge_comparisons, judge_section, null_section
from .summary import cell_tables, facts, flatten, place
from .wordings import wording_section, wordings_of

#: A page with more figures than this would take long to make and to read.
MOST_FIGURES = 24
#: Above so many rows a table of cells has its intervals in numbers alone: drawings of thousands slow the page down.
_MOST_DRAWN = 500
_DOTS_PER_INCH = 96  # CSS pixels
_SIZE = re.compile(rb'<svg [^>]*?width="([\d.]+)pt" height="([\d.]+)pt"')


@checked(AnalysisError)
def write_report(
    records: Results | Iterable[TrialRecord],
    path: str | Path,
    *,
    title: str | None = None,
    spec: Mapping[str, Any] | None = None,
    judge: str | None = None,
    rubric: str | None = None,
    prompts: Mapping[tuple[str, str | None], str] | None = None,
    notes: Sequence[str] | None = None,
    beside: Results | None = None,
) -> Path:
    """Write the report of a run as an HTML page that makes no network request.

    Up to 8 MB of transcripts (about 10,000 trials) it is one file. Beyond that they lie beside it, in the folder
    ``<path>.transcripts``, in files that load as they are looked at: move the two together.

    Args:
        records: finished trials, or the :class:`~introspection_bench.analysis.Results` of a reader, whose name,
            spec and notes are then the defaults of ``title``, ``spec`` and ``notes``.
        path: the file to write; its folder is made, and an older file is replaced at once, never half.
        title: the page's heading.
        spec: the settings under which the trials were made, as nested plain values; shown with dotted keys. The
            keys ``created``, ``started``, ``date`` or ``timestamp`` and ``versions`` also appear at the top, before
            those of the run's ``manifest.json``, and so do the model's revision, fingerprint and dtype, and the seed.
            Values whose key names a credential are left out.
        judge: whose verdicts the tables and figures use; None takes the judge with the most verdicts and says so.
        rubric: the same for the rubric.
        prompts: the conversations as text (``Scaffold.transcript``), shown beside the replies, by the scaffold's name
            and the item's (None without one); None takes them from the spec and from the built-in scaffolds, by the
            digest in each trial's condition.
        notes: what a reader of the numbers must know.
        beside: the run of a model whose truth is known, at a layer and dose of this one; its rates are shown beside.

    Returns:
        The path.

    Raises:
        AnalysisError: no verdict is by ``judge`` and ``rubric``; ``beside`` has no layer and dose of this run, or one
            of the two has no verdict.
        SpecError: a trial has several verdicts of the chosen judge (for instance about two decoys).
    """
    results = _as_results(records, title, spec, notes)
    chosen = choose_judge(results, judge, rubric)
    frame = verdict_frame(results.records, chosen)
    plan = plan_section(records, chosen) if isinstance(records, Results) else None
    known = None if beside is None else beside_section(results, frame, beside)
    prompts = known_prompts(results) if prompts is None else prompts
    with kept_transcripts(Path(path), results.records, prompts) as kept:
        page = _page(results, frame, chosen, kept, plan=plan, known=known)
        return write_file(path, page.encode("utf-8", "xmlcharrefreplace"))


@checked(AnalysisError)
def write_figures(
    records: Results | Iterable[TrialRecord],
    folder: str | Path,
    *,
    judge: str | None = None,
    rubric: str | None = None,
    formats: Sequence[str] = FORMATS,
) -> list[Path]:
    """Write every figure of a run into a folder, in each format; returns the paths.

    ``<stem>`` is 7 inches wide, as a page's text, and ``<stem>-column`` 3.4 inches, as a column, where the figure fits
    one (those with a line for each cell, and maps of more than four doses, don't). ``<stem>.txt`` is the caption, with
    model and judge.

    The figures are those of :func:`write_report`, without its limit of 24. Arguments and errors as there.
    """
    results = _as_results(records, None, None, None)
    chosen = choose_judge(results, judge, rubric)
    frame = verdict_frame(results.records, chosen)
    plates = gallery(frame, find_doses(frame), judge_comparisons(results, chosen), multiverse(results), results.effects)
    return [
        path
        for plate in _attributed(plates, frame, chosen)
        for path in save_plate(plate, Path(folder), formats=formats)
    ]


def measured_sections(results: Results, frame: pd.DataFrame, chosen: JudgeName | None) -> dict[str, Section | None]:
    """Return the sections on wordings and on what measures read, by name; None for what the run lacks.

    ``frame`` holds the verdicts of ``chosen``.
    """
    return {
        "wordings": wording_section(frame, wordings_of(results)),
        "log-odds": log_odds_section(results),
        "naming": naming_section(results, chosen),
    }


def success_of(results: Results, judge: JudgeName | None) -> tuple[str, ...]:
    """Return what the rubric of this judge takes for success; the four criteria without verdicts."""
    verdicts = (v for r in results for v in r.verdicts if judge is not None and judge.gave(v))
    return next((v.success for v in verdicts), CRITERIA)


def _as_results(
    records: Results | Iterable[TrialRecord],
    title: str | None,
    spec: Mapping[str, Any] | None,
    notes: Sequence[str] | None,
) -> Results:
    given = records if isinstance(records, Results) else Results("Concept injection", records)
    changes: dict[str, Any] = {"name": title, "spec": spec, "notes": notes}
    # Whatever chose a cell is no evidence of it: where trials confirm, the page and the figures are about these.
    return attrs.evolve(given.of_part(), **{name: value for name, value in changes.items() if value is not None})


def _page(
    results: Results,
    frame: pd.DataFrame,
    chosen: JudgeName | None,
    kept: Kept,
    *,
    plan: Section | None,
    known: Section | None,
) -> str:
    style, script = asset("report.css"), asset("tables.js") + asset("report.js")
    controls = control_section(frame)  # wrong names are read from the replies
    frame = without_texts(frame)
    comparisons = judge_comparisons(results, chosen)
    doses = find_doses(frame)
    success = success_of(results, chosen)
    judged = multiverse(results)
    measured = measured_sections(results, frame, chosen)
    first = {"known": known, "experiment": experiment_section(results, frame, chosen)}
    measured = {**first, "wordings": measured["wordings"], "alive": effects_section(results), **measured}
    further = {id_: section for id_, section in measured.items() if section is not None}
    plates = _attributed(gallery(frame, doses, comparisons, judged, results.effects), frame, chosen)
    shown = [_inline(plate) for plate in plates[:MOST_FIGURES]]
    environment = templates()
    environment.filters["percent"] = percent
    environment.globals |= {"bounds": bounds, "place": place}
    sections = {
        "summary": "Summary",
        "cells": "Cells",
        "detection": "Controls and detection",
        "dose": "Dose and response" if doses else "",
        **{id_: section.title for id_, section in further.items()},
        "figures": "Figures" if len(shown) > 1 else "",
        "judges": "Judges" if len(results.judges) else "",
        "transcripts": "Transcripts",
        "specification": "Specification",
        "cite": "How to cite",
    }
    return environment.get_template("report.html.j2").render(
        title=results.name,
        facts=facts(frame, {**made(results), **results.spec}, None if chosen is None else str(chosen)),
        sections=[(id_, name) for id_, name in sections.items() if name],
        warnings=_warnings(results, frame, chosen),
        headlines=[
            *headlines(
                frame,
                success,
                blinded=chosen is None or chosen.blinded,
                effects=results.effects,
                wordings=wordings_of(results),
            ),
            *([] if judged is None else [judged.headline]),
        ],
        answer=answer(frame, success, blinded=chosen is None or chosen.blinded),
        appendix=appendix(results.records, frame),
        explained=explained_section(told_by(results, chosen, frame)),
        plan=plan,
        nulls=null_section(frame, success, results.effects),
        cells=cell_tables(frame),
        most_drawn=_MOST_DRAWN,
        clustered=clustered(frame),
        outcomes=shown_of(frame),
        controls=controls,
        dose=dose_section(frame, doses),
        further=list(further.items()),
        figures=shown,
        figures_left_out=_left_out(len(plates)),
        judges=judge_section(results, comparisons),
        judged=None if judged is None else judged.section,
        notes=results.notes,
        spec=flatten({name: told for name, told in results.spec.items() if name != "frozen"}),
        bibtex=bibtex(),
        version=metadata.version("introspection-bench"),
        counted=plural(len(results), "trial"),
        style=Markup(style),  # noqa: S704  # our own asset; autoescape would break it
        script=Markup(script),  # noqa: S704  # our own asset
        style_hash=source_hash(style),
        script_hash=source_hash(script),
        kept=kept,
        data=Markup(kept.data),  # noqa: S704  # script_json escapes every character that could end the element
    )


def _warnings(results: Results, frame: pd.DataFrame, chosen: JudgeName | None) -> list[str]:
    said = []
    judges = [j for j in results.judges if j.asked == "own"]
    if len(judges) > 1 and chosen is not None:
        said.append(
            f"{len(judges)} judges gave verdicts; tables and figures use {chosen}. The section on judges compares them."
        )
    if chosen is not None and not chosen.blinded and not any("blinded" in note for note in results.notes):
        said.append("The judge was not blinded: it was told the arm and the dose of each reply that it judged.")
    given = dosed(frame)
    if given["unit"].isna().any():
        said.append("Some trials were steered by a dose that their source does not state in one of our units.")
    missing = int(given["mean_ratio"].isna().sum())
    if missing:
        said.append(
            f"{plural(missing, 'steered trial')} of {len(given):,} came without a receipt: nothing here proves that "
            "the injection happened as stated."
        )
    return said


def _attributed(plates: Sequence[Plate], frame: pd.DataFrame, chosen: JudgeName | None) -> list[Plate]:
    """Return the figures with their model and judge in the caption, where they are of one."""
    models = [str(m) for m in frame["model"].dropna().unique()]
    model = f" Model: {listing(models, 3)}." if models else ""
    judge = "" if chosen is None else f" Judge: {chosen}."
    return [attrs.evolve(p, caption=f"{p.caption}{model}{judge if p.one_judge else ''}") for p in plates]


def _left_out(count: int) -> str:
    if count <= MOST_FIGURES:
        return ""
    return f"The first {MOST_FIGURES} of {count} figures; report.write_figures writes them all to a folder."


@attrs.frozen
class _Inline:
    stem: str
    light: str
    dark: str
    alt: str
    caption: str
    width: int
    height: int
    wide: bool


def _inline(plate: Plate) -> _Inline:
    light, dark = svgs(partial(as_wide_as_paper, plate), (LIGHT, DARK), ramped=plate.ramped)
    width, height = (round(float(points) / 72 * _DOTS_PER_INCH) for points in _SIZE.findall(light)[0])
    return _Inline(
        plate.stem,
        _data_uri(light),
        _data_uri(dark),
        plate.alt,
        plate.caption,
        width,
        height,
        plate.wide,
    )


def _data_uri(svg: bytes) -> str:
    return "data:image/svg+xml;base64," + base64.b64encode(svg).decode()
