r"""Put every public trial-level result that the library reads on one scale: the authors' judge beside ``rules``.

The files (github.com/elsehow/lindsey-405b-replication and github.com/bamdadd/introspection-scaling, both MIT) are not
part of this package; point the script to copies of your own:

    python examples/published.py ../shared/data/llama405b/*.judged.json ../shared/data/introspection_scaling/*.jsonl \\
        --page docs/published.md

Everything printed is computed from the files; no text of a reply is copied.
"""

from __future__ import annotations

import argparse
import platform
import sys
import textwrap
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

import attrs
import pandas as pd

from introspection_bench.analysis import Results, interval, percent, render
from introspection_bench.concepts import load_concepts
from introspection_bench.interop import read_results
from introspection_bench.judges import Judge, open_judge
from introspection_bench.judges.cases import file_case_maker

ARMS = {"control": "clean", "random": "random vector", "injected": "injected"}
#: The base model whose clean replies the authors scored twice; the first count is from the study's own account.
TWICE, BY_EARLIER_RULES = "Qwen2.5-32B", 114


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Published results under two judges.")
    parser.add_argument("files", nargs="+", type=Path, help="results files that ib.read_results reads")
    parser.add_argument("--page", type=Path, help="write the documentation page here")
    options = parser.parse_args(arguments)
    judge = open_judge("rules")
    lines = page([judged(read_results(path), judge) for path in options.files])
    text = "\n".join(map(wrapped, lines)).rstrip() + "\n"
    if options.page:
        options.page.write_text(text, encoding="utf-8")
        print(f"wrote {options.page}", file=sys.stderr)
    else:
        print(text)
    return 0


def judged(found: Results, judge: Judge) -> Results:
    """Return the results with a verdict of ``judge`` beside those that came with them."""
    known = {concept.name: concept for name in ("lindsey2026", "pairs") for concept in load_concepts(name)}
    verdicts = dict(judge.judge(list(map(file_case_maker(found.records, known.values()), found))))
    records = [attrs.evolve(r, verdicts=(*r.verdicts, verdicts[n])) for n, r in enumerate(found)]
    return attrs.evolve(found, records=records)


def page(runs: Sequence[Results]) -> Iterator[str]:
    yield "# Published results on one scale\n"
    yield (
        "Every public trial-level result of concept injection that this library reads, under the judge of its authors "
        "and under [`rules`](rules_judge.md). Rates count each draw once: where a file lists one reply several times, "
        "`rows` is larger than `draws`. Intervals are exact (Clopper-Pearson, 95 %), of the trials of these concepts; "
        "they say nothing about other concepts. The files are not shipped: fetch them from the two studies and make "
        "this page again with\n"
    )
    yield "```console\n$ python examples/published.py FILE... --page docs/published.md\n```\n"
    yield f"Made on {datetime.now(tz=UTC).date()} on {platform.machine()} by that command.\n"
    yield "## Affirmed\n"
    yield (
        "How many replies claim to notice an injected thought, by arm. On clean trials this is the rate of false "
        "alarms.\n"
    )
    yield render(pd.DataFrame([row for run in runs for row in rows(run, "affirmative")]))
    yield "## Success\n"
    yield (
        "Each judge by its own rubric: the 405B study's four criteria; affirmed, named as the thought, in this order, "
        "and coherent (introspection-scaling); [`strict4`](judges.md) for `rules`. `excludes above` is the upper end "
        "of the interval: the largest true rate that the count is still compatible with.\n"
    )
    yield render(pd.DataFrame([row for run in runs for row in rows(run, "strict", arms=("injected",))]))
    yield "On clean trials the 405B study's judge was told that nothing can be identified, so none can succeed there.\n"
    yield from twice(runs)
    yield "## What the numbers rest on\n"
    together: dict[tuple[str, ...], list[str]] = {}
    for run in runs:
        together.setdefault(run.notes, []).append(f"**{model(run)}** (`{run.name}`)")
    for notes, names in together.items():
        yield ", ".join(names) + ":\n"
        yield from (f"- {note}" for note in notes)
        yield ""


def wrapped(text: str) -> str:
    """Break prose and list items into lines of a page's width; tables and code stay as they are."""
    if text.startswith(("|", "`")):
        return text
    indent = "  " if text.startswith("- ") else ""
    lines = textwrap.wrap(text, 118, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)
    return "\n".join(lines) + "\n" * (len(text) - len(text.rstrip("\n")))


def model(run: Results) -> str:
    return run.records[0].condition.model.rpartition("/")[2]


def rows(run: Results, outcome: str, arms: Sequence[str] = tuple(ARMS)) -> Iterator[dict[str, object]]:
    authors = next(name for name in run.judges if name.judge != "rules")
    every = run.frame(authors.judge, authors.rubric, repeats=True)
    theirs, ours = run.frame(authors.judge, authors.rubric), run.frame("rules")
    for arm in arms:
        place = theirs["arm"] == arm
        if not place.any():
            continue
        row: dict[str, object] = {"model": model(run), "layer": layer(run)}
        row |= {"arm": ARMS[arm], "rows": int((every["arm"] == arm).sum()), "draws": int(place.sum())}
        for who, frame in (("authors", theirs), ("rules", ours)):
            answers = frame.loc[frame["arm"] == arm, outcome].dropna()
            found = interval(int(answers.sum()), len(answers))
            row[who] = f"{found.k}/{found.n}"
            if outcome == "affirmative":
                row[f"{who}: 95 %"] = f"{percent(found.low)} to {percent(found.high)}"
            else:
                row[f"{who}: excludes above"] = percent(found.high)
        yield row


def layer(run: Results) -> int | None:
    return next((c.layer for c in run.conditions if c.layer is not None), None)


def twice(runs: Sequence[Results]) -> Iterator[str]:
    run = next((run for run in runs if model(run) == TWICE), None)
    if run is None:
        return
    frames = {"authors": run.frame("claude", repeats=True), "rules": run.frame("rules", repeats=True)}
    counted = {who: frame.loc[frame["arm"] == "control", "affirmative"].dropna() for who, frame in frames.items()}
    yield "## One set of replies, three judges\n"
    yield (
        f"The authors scored the 216 clean rows of {TWICE}, a base model, twice. Their earlier judge by rules affirms "
        f"{BY_EARLIER_RULES} of them, Claude Sonnet 4 {int(counted['authors'].sum())}, and `rules` "
        f"{int(counted['rules'].sum())} of {len(counted['rules'])}. The replies are the same. A rate of false alarms "
        "between 3 and 53 % hangs on the judge alone, which is why [a judge's error has to be known](judges.md) before "
        "a rate means anything.\n"
    )


if __name__ == "__main__":
    raise SystemExit(main())
