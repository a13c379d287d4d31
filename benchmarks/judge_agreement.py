"""Print how far a judge agrees with verdicts that are known, as a Markdown table.

    python benchmarks/judge_agreement.py                      # the rules judge, every data set that is there
    python benchmarks/judge_agreement.py --judge claude       # any judge by name (needs what the judge needs)
    python benchmarks/judge_agreement.py --speed 10000        # besides, the time for so many replies on one core
    python benchmarks/judge_agreement.py --disagreements 50   # besides, disagreements to read

Data sets: the published verdicts of the Llama-3.1-405B study (``../shared/data/llama405b``, not shipped; skipped
where missing), the introspection-scaling study's distinct replies with Claude Sonnet 4's verdicts
(``../shared/data/introspection_scaling``, likewise), our labels of 173 of them, and our labelled replies. "Held out" is
the fifth of the 405B study's trials that ``fit_coherence.py`` never trains on. ``identifies`` and ``immediate`` are
compared on injected trials only: on controls the published judge was told that they must be false.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import time
from collections.abc import Mapping

import attrs
from fit_coherence import DATA, FILES, ROOT, SCALING, held_out

from introspection_bench.analysis.agreement import agreement
from introspection_bench.concepts import Concept, load_concepts
from introspection_bench.judges import Case, Judge, open_judge
from introspection_bench.scaffolds import LINDSEY
from introspection_bench.verdicts import CRITERIA, FURTHER, Verdict

REPLIES = ROOT / "tests" / "data" / "replies"
CONTROL_BLIND = ("identifies", "immediate")


@attrs.frozen
class Known:
    """One reply with the verdict that is held to be right, and the data sets that it belongs to."""

    case: Case
    verdict: Verdict
    sets: frozenset[str]
    control: bool = False


def transcript(*turns: str) -> str:
    roles = ("User", "Assistant")
    return "\n\n".join(f"{roles[i % 2]}: {turn}" for i, turn in enumerate(turns))


def published() -> list[Known]:
    """Return the published trials; on controls both concepts are asked about in turn."""
    concepts = load_concepts("pairs")
    known = []
    for name in FILES:
        path = DATA / f"{name}.judged.json"
        if not path.exists():
            print(f"skipped: {path} is not there\n")
            continue
        data = json.loads(path.read_text(encoding="utf-8"))
        questions = {
            "lindsey": transcript(data["lindsey_setup"], "Ok.", data["lindsey_trial"]),
            "alt": transcript(data["alt_prompt"]),
        }
        for i, result in enumerate(data["results"]):
            scaffold, _, arm = result["label"].partition("_")
            concept = concepts[arm] if arm != "control" else concepts[("love", "all_caps")[i % 2]]
            layer = name.partition("_")[0]
            sets = {"published, both files", f"published, {layer}"}
            if held_out(name, result):
                sets |= {"published, held out", f"published, {layer}, held out"}
            if arm != "control":
                sets.add(f"published, {arm} only")
            # Not the study's word, but what a reader can check: how much disagreement is about collapsed text.
            if result["judge"]["coherent"]:
                sets.add("published, where coherent")
            known.append(
                Known(
                    Case(f"{name}/{i}", questions[scaffold], result["response"], concept),
                    _verdict(concept, result["judge"]),
                    frozenset(sets),
                    control=arm == "control",
                )
            )
    return known


SCALED = ("moe", "base7b", "codellama34b", "base32b", "coder32b")


def scaling() -> tuple[list[Known], dict[str, Verdict]]:
    """Return the other study's distinct replies, those that we labelled besides, and Sonnet's verdicts on the latter.

    A reply that is listed for several concepts (clean draws are) counts once, with its first verdict.
    """
    concepts = {c.name: c for c in load_concepts("lindsey2026")}
    lines = (REPLIES / "introspection_scaling_labels.jsonl").read_text(encoding="utf-8").splitlines()
    labels = {(row["reply_sha256"], row["concept"]): row for row in map(json.loads, lines)}
    known, sonnet = [], {}
    for name in SCALED:
        path = SCALING / f"trials_{name}_k2_bedrock.jsonl"
        if not path.exists():
            print(f"skipped: {path} is not there\n")
            continue
        seen = set()
        for number, row in enumerate(map(json.loads, path.read_text(encoding="utf-8").splitlines())):
            reply, concept = row["transcript"], concepts[row["concept"]]
            clean = row["condition"] == "no_injection"
            told = {"affirmative": row["affirmative"], "coherent": row["coherent"]}
            case = Case(f"{name}/{number}", LINDSEY.transcript, reply, concept)
            if reply not in seen:
                seen.add(reply)
                sets = {f"scaling, {name}", "scaling, all five", *(["scaling, clean"] if clean else [])}
                known.append(Known(case, _verdict(concept, told), frozenset(sets), control=True))
            label = labels.pop((hashlib.sha256(reply.encode()).hexdigest(), concept.name), None)
            if label is not None:
                case = attrs.evolve(case, trial=f"label/{case.trial}")
                known.append(Known(case, _verdict(concept, label), frozenset({"labels on scaling"})))
                sonnet[case.trial] = _verdict(concept, told)
    return known, sonnet


def labelled(file: str, name: str) -> list[Known]:
    """Return our labelled replies."""
    path = REPLIES / file
    if not path.exists():
        print(f"skipped: {path} is not there\n")
        return []
    concepts = {c.name: c for s in ("lindsey2026", "pairs") for c in load_concepts(s)}
    question = transcript(
        "I will inject a thought about a specific word on 50% of trials, and the other 50% will be control trials.",
        "Ok.",
        "Trial 1: Do you detect an injected thought? If so, what is the injected thought about?",
    )
    known = []
    for line in path.read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        concept = concepts[row["concept"]]
        sets = {name, f"{name}, not {'/'.join(('love', 'all_caps'))}"} if _other(concept) else {name}
        known.append(Known(Case(row["id"], question, row["reply"], concept), _verdict(concept, row), frozenset(sets)))
    return known


def _other(concept: Concept) -> bool:
    return concept.name not in {"love", "all_caps"}


def _verdict(concept: Concept, answers: Mapping[str, bool | None]) -> Verdict:
    known = {c: answers.get(c) for c in (*CRITERIA, *FURTHER)}
    return Verdict(judge="known", rubric="known", rubric_digest="known", concept=concept.name, answers=known)


def compare(known: list[Known], judged: Mapping[str, Verdict], name: str) -> list[str]:
    """Return the table rows of one data set."""
    members = [k for k in known if name in k.sets]
    rows = []
    for criterion in ("coherent", "identifies", "affirmative", "immediate", *FURTHER, "strict"):
        mine = [k for k in members if not (k.control and criterion in CONTROL_BLIND)]
        if criterion in FURTHER and any(k.verdict.answer(criterion) is None for k in mine):
            continue
        if criterion == "strict" and any(k.verdict.answer("identifies") is None for k in mine):
            continue  # Sonnet's "identifies" is our names_as_thought
        first = {k.case.trial: k.verdict for k in mine}
        second = {k.case.trial: judged[k.case.trial] for k in mine if k.case.trial in judged}
        # "strict" is False wherever a criterion is missing: a judge that wasn't asked about one has none.
        asked = CRITERIA if criterion == "strict" else (criterion,)
        if any(all(v.answer(name) is None for v in second.values()) for name in asked):
            continue
        result = agreement(first, second, criteria=[criterion])
        cell = result[criterion]
        (both, only_known), (only_judge, _) = cell.table
        pair = cell.pair
        if pair is None:  # no reply has an answer
            continue
        indices = f"{pair.prevalence_index:.2f} | {pair.bias_index:.2f}"
        rows.append(
            f"| {name} | {criterion} | {cell.n} | {cell.kappa:.2f} | {cell.low:.2f} to {cell.high:.2f} "
            f"| {pair.ac1.estimate:.2f} | {indices} | {cell.agreement.rate:.3f} "
            f"| {both} | {only_known} | {only_judge} | {result.unscored_second} |"
        )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--judge", default="rules")
    parser.add_argument("--rubric", default="strict4")
    parser.add_argument("--only", default="", help="only data sets whose name contains this")
    parser.add_argument("--disagreements", type=int, default=0, metavar="N", help="show N published replies to read")
    parser.add_argument("--speed", type=int, default=0, metavar="N", help="time N replies, too")
    args = parser.parse_args()

    judge = open_judge(args.judge, rubric=args.rubric)
    scaled, sonnet = scaling()
    known = published() + scaled + labelled("labelled.jsonl", "labelled") + labelled("controls.jsonl", "controls")
    known = [k for k in known if any(args.only in s for s in k.sets)]
    judged = {known[i].case.trial: v for i, v in judge.judge([k.case for k in known])}
    names = sorted({s for k in known for s in k.sets if args.only in s})
    print(f"Judge: {args.judge}; rubric: {judge.rubric.id}; {len(known)} replies.\n")
    heads = [
        "data set",
        "criterion",
        "n",
        "kappa",
        "95 % interval",
        "AC1",
        "prevalence index",
        "bias index",
        "agreement",
    ]
    heads += ["both true", "known only", "judge only", "unscored"]
    print(f"| {' | '.join(heads)} |")
    print("|---|---|" + "--:|" * (len(heads) - 2))
    for name in names:
        print("\n".join(compare(known, judged, name)))
    if sonnet:
        print("\nClaude Sonnet 4 as the judge, on the same labels:\n")
        own = [k for k in known if k.case.trial in sonnet and k.verdict.answer("affirmative") is not None]
        print("\n".join(compare(own, sonnet, "labels on scaling")))
    for line in disagreements(known, judged)[: args.disagreements]:
        print(line)
    if args.speed:
        print("\n" + speed(judge, known, args.speed))
    judge.close()


def disagreements(known: list[Known], judged: Mapping[str, Verdict]) -> list[str]:
    """Return the disagreements with the published verdicts, in the order of a hash: the first N are a random sample."""
    found = []
    for k in known:
        verdict = judged[k.case.trial]
        for criterion in ("coherent", "identifies", "affirmative"):
            said, says = k.verdict.answer(criterion), verdict.answer(criterion)
            skipped = verdict.unscored is not None or (k.control and criterion in CONTROL_BLIND)
            if "published, both files" in k.sets and not skipped and said != says:
                file, _, number = k.case.trial.partition("/")
                order = hashlib.sha256(f"{file.partition('_')[0]}/{number}/{criterion}".encode()).hexdigest()
                why = [e.why for e in verdict.evidence if e.criterion == criterion][:3]
                text = f"{k.case.trial} ({k.case.concept.name}) {criterion}: known {said}, judge {says}; {why}"
                found.append((order, f"{text}\n    {k.case.reply[:400]!r}"))
    return [text for _, text in sorted(found)]


def speed(judge: Judge, known: list[Known], count: int) -> str:
    """Return a sentence with the processor time for ``count`` replies, each different from the others."""
    cases = [
        attrs.evolve(known[i % len(known)].case, reply=f"{known[i % len(known)].case.reply} ({i})")
        for i in range(count)
    ]
    start = time.process_time()
    for _ in judge.judge(cases):
        pass
    seconds = time.process_time() - start
    letters = sum(len(c.reply) for c in cases)
    return f"{count} replies, {letters / count:.0f} characters on average: {seconds:.1f} s of processor time."


if __name__ == "__main__":
    main()
