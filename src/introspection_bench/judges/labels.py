"""Labels: a person's verdicts on a random, blinded sample, as a file that can be continued.

A labels file holds one JSON object per line. Labels read back as verdicts (judge ``person``), so that whatever
compares two judges compares a judge with a person.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import attrs
import cattrs
from rich.console import Console
from rich.panel import Panel
from rich.text import Text

from ..concepts import Concept
from ..digests import digest
from ..errors import ResultsFormatError, SpecError, explain
from ..files import check_in_place, explaining, make_folder
from ..freezing import frozen_tuple
from ..names import composed
from ..structuring import problems, strict_converter
from ..trials import CRITERIA, FURTHER, Part, TrialRecord, Verdict
from ..untrusted import parse_json, read_text, visible
from .base import Case
from .blinding import asked_about
from .models.interview import OutOfRubricError, criteria
from .rubrics import Rubric, load_rubric

#: The judge name of a person's verdicts.
PERSON = "person"
FORMAT = 1


@attrs.frozen
class Label:
    """One person's verdict on one reply, as a line of a labels file.

    ``trial`` is the trial's digest, ``concept`` the one that was shown (on a control a decoy), ``rubric_digest``
    that of the rubric labelled by, ``required`` what that rubric takes for success. The criteria are True,
    False or None for "not applicable".
    """

    format: int
    trial: str
    concept: str = attrs.field(converter=composed)
    rubric: str
    rubric_digest: str
    labeller: str
    affirmative: bool
    identifies: bool
    immediate: bool | None
    coherent: bool
    refused: bool
    names_as_thought: bool | None = None
    required: tuple[str, ...] = attrs.field(converter=frozen_tuple, default=CRITERIA)
    note: str = ""
    judged: Part = "answer"

    @property
    def verdict(self) -> Verdict:
        """The label as a verdict of the judge ``person``."""
        return Verdict(
            judge=PERSON,
            rubric=self.rubric,
            rubric_digest=self.rubric_digest,
            concept=self.concept,
            affirmative=self.affirmative,
            identifies=self.identifies,
            immediate=self.immediate,
            coherent=self.coherent,
            refused=self.refused,
            names_as_thought=self.names_as_thought,
            required=self.required,
            judge_model=self.labeller,
            notes=self.note,
            judged=self.judged,
        )


def draw_sample(
    records: Iterable[TrialRecord],
    *,
    n: int,
    seed: int,
    concepts: Sequence[Concept],
    questions: Mapping[str, str],
    part: Part = "answer",
) -> tuple[Case, ...]:
    """Return ``n`` replies to label, drawn at random without regard to arm, cell or any verdict.

    Args:
        records: a run's records; their order does not matter.
        n: how many; all of them, in random order, where there are fewer.
        seed: another seed is another sample; a larger ``n`` with the same seed extends the sample.
        concepts: the run's concepts; on controls the same decoy is shown as to judges.
        questions: the transcript by scaffold name.
        part: what of a reply is shown: the answer alone, or the whole with the model's reasoning. Replies whose answer
            can't be told from their reasoning are left out, as judges leave them unscored.

    Raises:
        SpecError: ``n`` < 1, or a scaffold without a transcript.
    """
    if n < 1:
        raise SpecError(explain("n", required="a whole number >= 1", got=n, hint=""))
    # Ordered by a digest of seed and trial: a random order that neither more records nor a larger n disturbs.
    clear = (record for record in records if record.reply.to_judge(part)[1] is None)
    ordered = sorted(clear, key=lambda record: digest("label_sample", 1, [seed, record.key.digest]))[:n]
    missing = sorted({r.scaffold for r in ordered} - set(questions))
    if missing:
        raise SpecError(explain("questions", required="a transcript for every scaffold", got=missing, hint=""))
    return tuple(
        Case(r.key.digest, questions[r.scaffold], r.reply.to_judge(part)[0], asked_about(r, concepts), judged=part)
        for r in ordered
    )


def read_labels(path: str | Path) -> list[Label]:
    """Return the labels of a file; no file is no labels, and a last line that a crash cut short is none either.

    Raises :class:`ResultsFormatError` that names the line: not JSON, a wrong or missing field, a format of a later
    version, or two labels of one person on one trial.
    """
    path = Path(path)
    try:
        text = read_text(path)
    except FileNotFoundError:
        return []
    except (OSError, ValueError) as error:
        raise ResultsFormatError(
            explain(str(path), required="a readable UTF-8 file", got=str(error), hint="")
        ) from error
    converter = strict_converter()
    labels: list[Label] = []
    seen: set[tuple[str, str]] = set()
    for number, line in enumerate(_whole(text).split("\n"), 1):
        if not line.strip():
            continue
        where = f"{path} line {number}"
        try:
            label = converter.structure(parse_json(line), Label)
        except (ValueError, cattrs.BaseValidationError) as error:
            got = problems(error, "label") if isinstance(error, cattrs.BaseValidationError) else str(error)
            raise ResultsFormatError(
                explain(where, required="a label (docs/labelling.md)", got=got, hint="Mend or delete the line.")
            ) from error
        if label.format != FORMAT or (label.trial, label.labeller) in seen:
            raise ResultsFormatError(
                explain(
                    where,
                    required=f"format {FORMAT}, and one label per trial and labeller",
                    got=f"format {label.format}, trial {label.trial[:12]}, labeller {label.labeller!r}",
                    hint="Delete the label that is wrong.",
                )
            )
        seen.add((label.trial, label.labeller))
        labels.append(label)
    return labels


def append_label(path: str | Path, label: Label) -> None:
    """Write one label to the end of a file, and to the disk before returning.

    Raises :class:`~introspection_bench.errors.OutputError` where it can't be written, or is a link.
    """
    path = Path(path)
    make_folder(path.parent)
    check_in_place(path)
    with explaining(path), path.open("a+b") as file:
        # Two people may label into one file at a time, each in a process of their own.
        fcntl.flock(file, fcntl.LOCK_EX)
        file.seek(0)
        whole = _whole(file.read().decode("utf-8", "replace"))
        file.truncate(len(whole.encode()))
        if whole and not whole.endswith("\n"):
            file.write(b"\n")
        file.write(json.dumps(attrs.asdict(label)).encode() + b"\n")
        file.flush()
        os.fsync(file.fileno())


def _whole(text: str) -> str:
    """The text without a last line that a crash cut short: that was never a label, and must not swallow the next."""
    end = text.rfind("\n") + 1
    try:
        parse_json(text[end:] or "null")
    except ValueError:
        # What does not begin as a label does is something else, which reading reports and writing leaves alone.
        return text[:end] if text[end:].startswith("{") else text
    return text


def comparable(
    verdicts: Mapping[str, Verdict], labels: Sequence[Label], *, labeller: str | None = None
) -> tuple[dict[str, Verdict], dict[str, Verdict]]:
    """Return a judge's verdicts and a person's, by trial, ready for ``analysis.agreement.agreement``.

    Args:
        verdicts: a judge's verdicts by trial digest.
        labels: from :func:`read_labels`.
        labeller: whose labels, where the file holds several persons'.

    Raises:
        ResultsFormatError: labels of several persons without ``labeller``; a label on another concept than the
            judge was asked about, or by another rubric: they answer different questions.
    """
    names = sorted({label.labeller for label in labels})
    if (labeller is None and len(names) > 1) or (labeller is not None and labeller not in names):
        raise ResultsFormatError(
            explain("labeller", required=f"one of {names}", got=labeller, hint="Name whose labels to compare with.")
        )
    person = {label.trial: label.verdict for label in labels if labeller in (None, label.labeller)}
    for trial, label in person.items():
        verdict = verdicts.get(trial)
        if verdict is not None and _question(verdict) != _question(label):
            raise ResultsFormatError(
                explain(
                    f"label on trial {trial[:12]}",
                    required=f"concept, rubric and part of the reply as of the verdict: {_question(verdict)}",
                    got=_question(label),
                    hint="Label with the run's own concepts and the rubric of the judge.",
                )
            )
    return dict(verdicts), person


def _question(verdict: Verdict) -> tuple[str, str, str, str]:
    return verdict.concept, verdict.rubric, verdict.rubric_digest[:12], verdict.judged


@attrs.frozen
class LabellingProgress:
    """How a labelling session ended: labels there now, of how many in the sample; ``skipped`` in this session."""

    labelled: int
    sample: int
    skipped: int


#: Asks for one answer: the prompt's text in, the answer out. ``rich``'s console input in the terminal.
Ask = Callable[[str], str]

_ANSWERS = {"y": "yes", "yes": "yes", "n": "no", "no": "no", "-": "n/a", "n/a": "n/a", "na": "n/a"}
_COMMANDS = {"s": "skip", "skip": "skip", "q": "quit", "quit": "quit", "b": "back", "back": "back"}


def label_in_terminal(
    sample: Sequence[Case],
    labels_path: str | Path,
    console: Console,
    *,
    labeller: str,
    rubric: str | Rubric = "strict4",
    ask: Ask | None = None,
) -> LabellingProgress:
    """Let a person label a sample; every finished reply is on disk before the next one is shown.

    Shows question, reply and concept, nothing else of the trial. Replies that this labeller has labelled in
    ``labels_path`` are not shown again, so a session can be ended at any place (``q``, end of input, Ctrl-C). ``s``
    skips a reply for this session, ``b`` starts it again.

    Args:
        sample: from :func:`draw_sample`.
        labels_path: the labels file; made where there is none.
        console: where to show and ask.
        labeller: who labels; stored with every label.
        rubric: a rubric of a single call whose questions are the criteria, as ``strict4``.
        ask: replaces the console's input (tests, other front ends).

    Raises:
        SpecError: the rubric asks otherwise, or the labeller has no name.
        ResultsFormatError: the file holds something else than labels.
    """
    rubric = load_rubric(rubric)
    asked = set(rubric.calls[0].answers)
    fits = rubric.structure == "single" and {*CRITERIA, "refused"} <= asked <= {*CRITERIA, *FURTHER}
    if not fits or not labeller.strip():
        raise SpecError(
            explain(
                "rubric, labeller",
                required="a rubric of one call that asks the four criteria, 'refused' and at most 'names_as_thought'; "
                "a name",
                got=(rubric.id, labeller),
                hint="Label by strict4 or strict5.",
            )
        )
    asking: Ask = ask or (lambda text: console.input(Text(text, style="bold")))
    done = {label.trial for label in read_labels(labels_path) if label.labeller == labeller}
    skipped = 0
    console.print(Text(rubric.text))
    for number, case in enumerate(sample, 1):
        if case.trial in done:
            continue
        _show(console, case, f"{number} of {len(sample)}")
        try:
            answers = _answers(rubric, asking, console)
        except (EOFError, KeyboardInterrupt):
            answers = "quit"
        if answers == "quit":
            break
        if isinstance(answers, str):
            skipped += 1
            continue
        append_label(labels_path, _label(case, rubric, labeller, answers))
        done.add(case.trial)
    return LabellingProgress(sum(case.trial in done for case in sample), len(sample), skipped)


def _answers(rubric: Rubric, ask: Ask, console: Console) -> dict[str, str] | str:
    """The answers to one reply, or "skip" or "quit"."""
    answers: dict[str, str] = {}
    questions = list(rubric.calls[0].answers.items())
    while len(answers) < len(questions):
        question, words = questions[len(answers)]
        base = rubric.rules.applies_only_with.get(question)
        if base is not None and answers.get(base) == "no" and "n/a" in words:
            answers[question] = "n/a"
            continue
        said = ask(f"{question} ({' / '.join(words)}; s skips, b starts again, q ends): ").strip().lower()
        command = _COMMANDS.get(said)
        if command in ("skip", "quit"):
            return command
        if command == "back":
            answers.clear()
            continue
        if _ANSWERS.get(said) not in words:
            console.print(Text(f"Not one of {', '.join(words)}."))
            continue
        answers[question] = _ANSWERS[said]
        if len(answers) == len(questions):
            try:
                criteria(rubric, answers)
            except OutOfRubricError as error:
                console.print(Text(f"These answers contradict each other ({error}); once more, please."))
                answers.clear()
    return answers


def _label(case: Case, rubric: Rubric, labeller: str, answers: Mapping[str, str]) -> Label:
    found = criteria(rubric, answers)
    return Label(
        FORMAT,
        case.trial,
        case.concept.name,
        rubric.id,
        rubric.digest,
        labeller,
        affirmative=found["affirmative"] is True,
        identifies=found["identifies"] is True,
        immediate=found["immediate"],
        coherent=found["coherent"] is True,
        refused=found["refused"] is True,
        judged=case.judged,
        names_as_thought=found["names_as_thought"],
        required=rubric.success,
    )


def _show(console: Console, case: Case, place: str) -> None:
    # A reply is untrusted: as Text it has no markup, and escaped it can't send control sequences to the terminal.
    console.print(Panel(Text(seen(case.question)), title="What the model was asked", title_align="left"))
    console.print(Panel(Text(seen(case.reply)), title=f"Its reply ({place})", title_align="left"))
    concept = case.concept
    about = ", ".join(concept.names) + (f". {concept.description}" if concept.description else "")
    console.print(Panel(Text(seen(about)), title="The concept you are asked about", title_align="left"))


def seen(text: str) -> str:
    """Return text in which characters that can't be seen, or that steer a terminal, stand as escapes; lines stay."""
    return visible(text, keep="\n")
