"""Read the Llama-3.1-405B study's null again: what its published trials show, and what they exclude.

The study's files (github.com/elsehow/lindsey-405b-replication, MIT licence) are not part of this package; point the
script to copies of your own:

    python examples/reread_405b.py layer84.judged.json layer70.judged.json
    python examples/reread_405b.py FILE... --page docs/rereading_405b.md --figures docs/_static

The first file is the main one; further files add their layers to the tables of crossovers. Everything printed is
computed from the files; no text of a reply is copied.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd
from reread_405b_structures import structures

from introspection_bench.analysis import (
    CELL_COLUMNS,
    Exclusion,
    Results,
    Scope,
    controls,
    counts,
    crossovers,
    default_guesses,
    detection,
    dose_response,
    excludes,
    injected,
    interval,
    mean_rate,
    migration,
    outcome_interval,
    percent,
    rates,
    render,
    sample_size,
    sweet_spots,
)
from introspection_bench.interop import read_results

OUTCOMES = ["affirmative", "identifies", "immediate", "coherent", "strict"]
#: The rate that the null is set against: Opus 4.1 at its best layer and strength (Lindsey 2026).
ALTERNATIVE = 0.2


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Re-read the 405B study's null.")
    parser.add_argument("files", nargs="+", type=Path, help="*.judged.json, the main file first")
    parser.add_argument("--page", type=Path, help="write the documentation page here")
    parser.add_argument("--figures", type=Path, help="draw the crossover figures into this folder")
    options = parser.parse_args(arguments)
    runs = [read_results(path) for path in options.files]
    drawn = draw(runs, options.figures) if options.figures else []
    beside = options.page.parent if options.page else Path.cwd()
    links = [(title, os.path.relpath(path, beside)) for title, path in drawn]
    text = "\n".join(page(runs, links)).rstrip() + "\n"
    if options.page:
        options.page.write_text(text, encoding="utf-8")
        print(f"wrote {options.page}" + "".join(f", {path}" for _, path in drawn), file=sys.stderr)
    else:
        print(text)
    return 0


def page(runs: Sequence[Results], figures: Sequence[tuple[str, str]]) -> Iterator[str]:
    main_run = runs[0]
    frame = main_run.frame()
    yield from provenance(runs)
    yield from null(frame)
    yield from cells(frame)
    yield from signal(frame)
    yield from concepts(frame)
    yield from doses(pd.concat([run.frame() for run in runs], ignore_index=True), frame, figures)
    yield from needed(frame)
    yield from structures(runs)


def provenance(runs: Sequence[Results]) -> Iterator[str]:
    today, machine = datetime.now(tz=UTC).date(), f"{os.cpu_count()} cores ({platform.machine()})"
    yield "# Re-reading the 405B null\n"
    yield (
        "A replication of concept injection on Llama-3.1-405B-Instruct "
        "([elsehow/lindsey-405b-replication](https://github.com/elsehow/lindsey-405b-replication), MIT "
        "licence) reports "
        "that no trial meets all four criteria. This page computes what its published trials show and what they "
        "exclude. The files are not shipped with this package: fetch them from the study, and make this page "
        "again with\n"
    )
    yield "```console\n$ python examples/reread_405b.py MAIN.judged.json OTHER.judged.json \\"
    yield "      --page docs/rereading_405b.md --figures docs/_static\n```\n"
    yield f"Made on {today} on {machine} by that command; everything below is computed from the files named here.\n"
    table = pd.DataFrame(
        [
            {
                "file": run.name,
                "model": run.spec["model_path"].rpartition("/")[2],
                "layer": run.spec["layer"],
                "trials": len(run),
                "controls": sum(r.arm == "control" for r in run),
                "unscored": sum(v.unscored is not None for r in run for v in r.verdicts),
                "judge": "; ".join(map(str, run.judges)),
            }
            for run in runs
        ]
    )
    yield render(table)
    yield "What the numbers rest on:\n"
    yield from (f"- {note}" for note in dict.fromkeys(note for run in runs for note in run.notes))
    units = sorted({c.dose.unit.value for run in runs for c in run.conditions if c.dose is not None})
    yield (
        f"\nThe unit of every magnitude on this page is `{', '.join(units)}`: at each position, magnitude · "
        "‖u‖ along the "
        "unit vector, u being what the block's MLP adds to the residual stream. It is neither the strength of Lindsey "
        "2026 (`raw`) nor a share of the residual norm (`residual`); see [the design](design.md) for the formulas.\n"
    )


def null(frame: pd.DataFrame) -> Iterator[str]:
    yield "## What the null excludes\n"
    lindsey = next((s for s in frame["scaffold"].unique() if s.startswith("lindsey")), None)
    found = excludes(frame, scopes=[Scope(scaffold=lindsey, min_magnitude=10, coherent_only=True)])
    pooled = found.pooled.null
    if pooled is None or found.best is None or any(pooled.counts.successes):
        yield from (f"- {sentence}" for sentence in found.sentences)
        yield "\nThe strict rate is not 0 in this file: there is no null to re-read.\n"
        return
    ends = f"{percent(pooled.these.high)} on these {pooled.counts.concepts} concepts"
    yield (
        f"{pooled.counts}. That excludes mean rates above {ends}. Over concepts like these it excludes hardly "
        f"anything: if {percent(pooled.high)} of all concepts did it always and the rest never, "
        f"{pooled.counts.concepts} concepts would show none with probability {percent((1 - pooled.confidence) / 2)}, "
        "however many trials each was given. What lies between the two is a matter of how much concepts vary, of which "
        f"{pooled.counts.concepts} say next to nothing.\n"
    )
    yield "Both estimands side by side (95 %, two-sided):\n"
    yield render(bounds(found))
    yield (
        "`high` bounds the rate on these concepts, with each concept weighing the same; for a chosen cell it holds for "
        "all cells at once. `like these` bounds the mean over concepts like these, however they vary.\n"
    )
    yield from varying(found)
    yield from weighing(found)
    yield from one_cell(found)


def bounds(found: Exclusion) -> pd.DataFrame:
    table = found.table()
    for name in ("rate", "high", "high_like_these", "corrected"):
        table[name] = [None if pd.isna(value) else percent(value) for value in table[name]]
    names = ["scope", "k", "n", "concepts", "rate", "high", "high_like_these", "corrected", "cells", "chosen"]
    return table[names].rename(columns={"high_like_these": "like these", "corrected": "corrected for the choice"})


def varying(found: Exclusion) -> Iterator[str]:
    """How the bound over concepts like these depends on how much they vary, and for how many concepts it holds."""
    null = found.pooled.null
    yield "### How it depends on how much concepts vary\n"
    yield (
        "The largest mean rate over concepts like these that the null leaves standing, if their intra-class "
        "correlation is at most so much. At 0 all concepts are alike and the trials are one sample; at 1 a concept "
        "does it always or never. Nothing in two concepts without a success tells which line to read.\n"
    )
    stated = {f"{b.scope}: {b.null.counts}": b.null.curve for b in found.bounds if b.null is not None}
    lines = {name: [percent(at.high) for at in curve] for name, curve in stated.items()}
    yield render(pd.DataFrame({"correlation at most": [f"{at.icc:g}" for at in null.curve], **lines}))
    yield (
        f"Of single concepts rather than their mean: "
        f"{null.tolerance.sentence[:1].lower()}{null.tolerance.sentence[1:]} The {null.tolerance.needs} are concepts, "
        f"not trials: more trials on {null.counts.concepts} concepts never say it.\n"
    )


def weighing(found: Exclusion) -> Iterator[str]:
    """Which trials could have succeeded, and why a mean over concepts is bounded less than the pooled count."""
    scope, injections, whole = found.scopes[0], found.pooled.counts, found.coherent.counts
    if scope.counts is None or scope.null is None or injections is None or whole is None:
        return
    each = ", ".join(f"{n} of {c}" for c, n in zip(scope.counts.concepts, scope.counts.counts.trials, strict=True))
    n = sum(scope.counts.counts.trials)
    yield "### Most trials could not have succeeded\n"
    yield (
        f"Of the {sum(injections.counts.trials)} injected trials, {sum(whole.counts.trials)} are coherent, and an "
        f"incoherent reply fails the strict rule by definition. Under the detection prompt at magnitudes of 10 and "
        f"above {n} are: {each}. As one sample, whichever concept they are of, they would exclude rates above "
        f"{percent(interval(0, n).high)}. A mean in which each concept weighs the same rests on the one with the "
        f"fewest trials, and is bounded at {percent(scope.null.these.high)}.\n"
    )


def one_cell(found: Exclusion) -> Iterator[str]:
    """The single cell, how it was chosen, and the published rate."""
    yield "### A single cell\n"
    yield from (f"- {sentence}" for sentence in found.cell_sentences)
    yield (
        f"\nThe published rate for Opus 4.1, about {percent(ALTERNATIVE)}, is that of its best layer and strength, so "
        "it is to be set against a single cell and not against the pooled bound, to which cells without any effect and "
        f"incoherent ones contribute. In the cell named above: {found.under(ALTERNATIVE).sentence} That holds for a "
        "cell picked beforehand; for all cells at once, only what is above the bound in the list is excluded.\n"
    )


def cells(frame: pd.DataFrame) -> Iterator[str]:
    yield "## Every cell\n"
    yield "Counts of trials. `strict` is all four criteria at once; magnitude 0 is the control.\n"
    shown = [
        "scaffold",
        "concept",
        "layers",
        "magnitude",
        "n_scored",
        "affirmative",
        "identifies",
        "immediate",
        "coherent",
    ]
    table = counts(frame)
    yield render(table.fillna({"concept": "(control)"})[[*shown, "strict"]])
    yield "What such a count says of the rate behind it (95 %, two-sided, Clopper-Pearson):\n"
    seen = sorted(
        {(n, k) for n in table["n_scored"] for k in table.loc[table["n_scored"] == n, OUTCOMES].to_numpy().flat}
    )
    lines = [
        {"count": f"{k} of {n}", "low %": 100 * i.low, "high %": 100 * i.high} for n, k in seen if (i := interval(k, n))
    ]
    yield render(pd.DataFrame(lines))


def signal(frame: pd.DataFrame) -> Iterator[str]:
    yield "## Controls, detection and identification\n"
    alarms = outcome_interval(controls(frame), "affirmative")
    yield (
        f"On the controls {alarms.k} of {alarms.n} replies claim a thought (at most {percent(alarms.high)}, "
        "95 % two-sided). "
        "That is the false-alarm rate that means something. The strict rate on controls is 0 by "
        "construction: the judge "
        "was told that they are controls and that `identifies` and `immediate` must be false. So the false alarms of "
        "identification below are 0 by construction too, and its d′ restates the hit rate.\n"
    )
    yield (
        "d′ over all magnitudes, on these concepts (melded exact bounds, 95 %; `∞` where no control is a false alarm: "
        "then d′ is bounded below alone), and the criterion, which is left out where a rate is 0 or 1:\n"
    )
    columns = ["scaffold", "concept", "task", "hits", "signals", "false_alarms", "noises", "d_prime", "d_low", "d_high"]
    yield render(detection(frame, ("scaffold", "concept"))[[*columns, "criterion"]])
    guesses = default_guesses(frame, by=("scaffold", "concept"))
    yield "Default guesses: what is named where a reply claims a thought and the judge says that the name is wrong:\n"
    yield render(guesses) if len(guesses) else "There is no such reply.\n"


def concepts(frame: pd.DataFrame) -> Iterator[str]:
    yield "## Two concepts are two\n"
    yield (
        "Trials of one concept are not independent, so the concept is the unit of sampling for any claim about others. "
        "The mean of the concepts' rates in the injected trials:\n"
    )
    yield from (f"- {mean_rate(frame, outcome).sentence}" for outcome in ("strict", "identifies", "affirmative"))
    yield ""


def doses(both: pd.DataFrame, frame: pd.DataFrame, figures: Sequence[tuple[str, str]]) -> Iterator[str]:
    yield "## Where identification overtakes coherence\n"
    crossed = crossovers(both)
    yield (
        "As the magnitude grows, the reply names the concept more often and falls apart more often. The "
        "crossover is the "
        "magnitude where the two rates meet: by linear interpolation between the observed rates (bootstrap "
        "interval over "
        "trials) and from the two logistic fits (Fieller interval, covariance clustered by trial).\n"
    )
    shown = ["scaffold", "concept", "layers", "interpolated", "interpolated_low", "interpolated_high", "fitted"]
    yield render(crossed[[*shown, "fitted_low", "fitted_high", "note"]], digits=4)
    for title, path in figures:
        yield f"![{title}]({path})\n\n*{title}. Bars are 95 % Clopper-Pearson intervals.*\n"
    moves = migration(crossed)
    if len(moves):
        yield "Does it move with the layer?\n"
        yield render(moves[["scaffold", "concept", "from_layers", "to_layers", "difference", "low", "high", "note"]])
    yield (
        "The fits. `lack_of_fit` is the p-value of the residual deviance: a small one says that no logistic curve "
        "describes the rates, for instance because identification falls again where the text falls apart. The fitted "
        "crossover of such a curve should not be used.\n"
    )
    fits = dose_response(both)
    shown = ["scaffold", "concept", "layers", "outcome", "status", "slope", "slope_low", "slope_high", "midpoint"]
    yield render(fits[[*shown, "midpoint_low", "midpoint_high", "lack_of_fit"]])
    yield "### The sweet-spot rule\n"
    yield from (f"- {name}: {sweet_spots(part).sentence}" for name, part in (("main file", frame), ("all files", both)))
    yield ""


def needed(frame: pd.DataFrame) -> Iterator[str]:
    yield "## What it would have taken\n"
    count = injected(frame).groupby(list(CELL_COLUMNS), dropna=False).ngroups
    yield from (
        f"- {sample_size(rate, cells=at_once).sentence}"
        for rate, at_once in ((ALTERNATIVE, 1), (ALTERNATIVE, count), (0.05, 1))
    )


def draw(runs: Sequence[Results], folder: Path) -> list[tuple[str, Path]]:
    """Draw the crossover of every concept under the detection prompt; return (title, path) of each."""
    from introspection_bench.report.figures.drawings import crossover
    from introspection_bench.report.figures.style import save_figure

    drawn = []
    for run in runs:
        frame = run.frame()
        frame = frame[frame["scaffold"].str.startswith("lindsey")]
        table = rates(injected(frame))
        for row in crossovers(frame).to_dict("records"):
            title = f"{row['concept']}, layer {row['layers']}"
            part = table[(table["concept"] == row["concept"]) & (table["layers"] == row["layers"])]
            crossing = None if pd.isna(row["interpolated"]) else row["interpolated"]
            stem = folder / f"rereading_405b_layer{row['layers']}_{row['concept']}"
            (path,) = save_figure(crossover(part, crossing=crossing, title=title), stem, formats=["svg"])
            drawn.append((f"{title}: rates of identifies and coherent against magnitude", path))
    return drawn


if __name__ == "__main__":
    raise SystemExit(main())
