"""Labels: a person's verdicts on a random, blinded sample, as a file that can be continued.

A labels file holds one JSON object per line. Labels read back as verdicts (judge ``person``), so that whatever
compares two judges compares a judge with a person.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Literal

import attrs
from rich.console import Console
from rich.panel import Panel
from rich.text import Text

from ..digests import digest
from ..errors import ResultsFormatError, SpecError, explain
from ..files import check_in_place, explaining, make_folder
from ..freezing import frozen_mapping, frozen_tuple
from ..names import composed
from ..structuring import plain, strict_converter, worded
from ..trials import TrialRecord
from ..untrusted import parse_json, read_text, visible
from ..verdicts import CRITERIA, Part, Verdict
from .base import Case
from .deciding import OutOfRubricError, decide
from .rubrics import Call, Rubric, load_rubric

#: The judge name of a person's verdicts.
PERSON = "person"
FORMAT = 2


@attrs.frozen
class Label:
    """One person's verdict on one reply, as a line of a labels file.

    ``trial`` is the trial's digest, ``concept`` the one that was shown (on a control a decoy), ``rubric_digest``
    that of the rubric labelled by, ``success`` what that rubric takes for success. ``answers`` are the rubric's
    criteria, each True, False or None for "not applicable".
    """

    format: int
    trial: str
    concept: str = attrs.field(converter=composed)
    rubric: str
    rubric_digest: str
    labeller: str
    answers: Mapping[str, bool | None] = attrs.field(converter=frozen_mapping, hash=False)
    success: tuple[str, ...] = attrs.field(converter=frozen_tuple, default=CRITERIA)
    note: str = ""
    judged: Part = "answer"
    #: The label as a verdict of the judge ``person``.
    verdict: Verdict = attrs.field(init=False, eq=False, repr=False)

    @verdict.default
    def _as_verdict(self) -> Verdict:
        # Made at once: what can't be a verdict is no label.
        return Verdict(
            judge=PERSON,
            rubric=self.rubric,
            rubric_digest=self.rubric_digest,
            concept=self.concept,
            answers=self.answers,
            success=self.success,
            judge_model=self.labeller,
            notes=self.note,
            judged=self.judged,
        )

    @property
    def place(self) -> tuple[str, str, str, Part]:
        """What only one label of a file can be: trial, labeller, rubric, part of the reply."""
        return self.trial, self.labeller, self.rubric_digest, self.judged


def draw_sample(
    records: Iterable[TrialRecord], case_of: Callable[[TrialRecord], Case], *, n: int, seed: int
) -> tuple[Case, ...]:
    """Return ``n`` replies to label, drawn at random without regard to arm, cell or any verdict.

    Args:
        records: a run's records; their order does not matter.
        case_of: what judges are shown of a record (:func:`introspection_bench.sweep.judging.case_maker`), with the same
            decoy on controls. Replies whose answer can't be told from their reasoning are left out, as judges leave
            them unscored.
        n: how many; all of them, in random order, where there are fewer.
        seed: another seed is another sample; a larger ``n`` with the same seed extends the sample.

    Raises:
        SpecError: ``n`` < 1.
    """
    if n < 1:
        raise SpecError(explain("n", required="a whole number >= 1", got=n, hint=""))
    # Ordered by a digest of seed and trial: a random order that neither more records nor a larger n disturbs.
    ordered = sorted(records, key=lambda record: digest("label_sample", 1, [seed, record.key.digest]))
    clear = (case for case in map(case_of, ordered) if case.unclear is None)
    return tuple(islice(clear, min(n, len(ordered))))


def read_labels(path: str | Path) -> list[Label]:
    """Return the labels of a file; no file is no labels, and a last line that a crash cut short is none either.

    Raises :class:`ResultsFormatError` that names the line: not JSON, a wrong or missing field, a format of a later
    version, or two labels of one person on one trial by one rubric.
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
    places: set[tuple[str, str, str, Part]] = set()
    for number, line in enumerate(_whole(text).split("\n"), 1):
        if not line.strip():
            continue
        where = f"{path} line {number}"
        with worded(
            ResultsFormatError,
            where,
            root="label",
            required="a label (the docs' page labelling)",
            hint="Mend or delete the line.",
            also=(ValueError,),
        ):
            data = parse_json(line)
            _check_format(data, where)
            label = converter.structure(data, Label)
        if label.place in places:
            raise ResultsFormatError(
                explain(
                    where,
                    required="one label per trial, labeller, rubric and part of the reply",
                    got=f"another on trial {label.trial[:12]} by {label.labeller!r}",
                    hint="Delete the label that is wrong.",
                )
            )
        places.add(label.place)
        labels.append(label)
    return labels


def _check_format(data: object, where: str) -> None:
    found = (
        data.get("format") if isinstance(data, Mapping) else FORMAT
    )  # what is no object has no format to complain of
    if found != FORMAT:
        raise ResultsFormatError(
            explain(
                where,
                required=f"a label of format {FORMAT}",
                got=f"format {found!r}",
                hint="Read it with the version of introspection-bench that wrote it.",
            )
        )


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
        file.write(json.dumps(plain(label)).encode() + b"\n")
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
            judge was asked about, or no label by its rubric: they answer different questions.
    """
    names = sorted({label.labeller for label in labels})
    if (labeller is None and len(names) > 1) or (labeller is not None and labeller not in names):
        raise ResultsFormatError(
            explain("labeller", required=f"one of {names}", got=labeller, hint="Name whose labels to compare with.")
        )
    mine = [label for label in labels if labeller in (None, label.labeller)]
    asked = {(v.rubric_digest, v.judged) for v in verdicts.values()}
    # A file may hold labels by several rubrics: where some answer the judge's questions, those are meant.
    person = {x.trial: x.verdict for x in [x for x in mine if (x.rubric_digest, x.judged) in asked] or mine}
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
_COMMANDS: Mapping[str, Literal["skip", "quit", "back"]] = {
    "s": "skip",
    "skip": "skip",
    "q": "quit",
    "quit": "quit",
    "b": "back",
    "back": "back",
}


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

    Shows question, reply and concept, nothing else of the trial. Replies that this labeller has labelled by
    this rubric in ``labels_path`` are not shown again, so a session can be ended at any place (``q``, end of input,
    Ctrl-C). ``s`` skips a reply for this session, ``b`` starts it again.

    Args:
        sample: from :func:`draw_sample`.
        labels_path: the labels file; made where there is none.
        console: where to show and ask.
        labeller: who labels; stored with every label.
        rubric: any rubric; its calls are gone through as a judge is asked them.
        ask: replaces the console's input (tests, other front ends).

    Raises:
        SpecError: the labeller has no name.
        ResultsFormatError: the file holds something else than labels.
    """
    rubric = load_rubric(rubric)
    if not labeller.strip():
        raise SpecError(explain("labeller", required="a name", got=repr(labeller), hint="Say who labels."))
    asking: Ask = ask or (lambda text: console.input(Text(text, style="bold")))
    done = {label.place for label in read_labels(labels_path)}
    skipped = 0
    console.print(Text(seen(rubric.text)))
    if len(rubric.calls) == 1:
        console.print(Text(seen(rubric.calls[0].text)))
    for number, case in enumerate(sample, 1):
        if (case.trial, labeller, rubric.digest, case.judged) in done:
            continue
        _show(console, case, f"{number} of {len(sample)}")
        try:
            answers = _answers(rubric, asking, console)
        except (EOFError, KeyboardInterrupt):
            answers = "quit"
        if answers == "quit":
            break
        if answers == "skip":
            skipped += 1
            continue
        label = Label(
            FORMAT,
            case.trial,
            case.concept.name,
            rubric.id,
            rubric.digest,
            labeller,
            answers,
            rubric.success,
            judged=case.judged,
        )
        append_label(labels_path, label)
        done.add(label.place)
    there = sum((case.trial, labeller, rubric.digest, case.judged) in done for case in sample)
    return LabellingProgress(there, len(sample), skipped)


def _answers(rubric: Rubric, ask: Ask, console: Console) -> dict[str, bool | None] | Literal["skip", "quit"]:
    """A person's answers to one reply: the rubric's criteria, or that it is skipped, or the session over."""
    while True:
        said: dict[str, str] = {}
        for call in rubric.calls:
            if any(said.get(question) != word for question, word in call.when.items()):
                continue
            if len(rubric.calls) > 1:
                console.print(Text(seen(call.text)))
            command = _ask_call(call, rubric, said, ask, console)
            if command == "back":
                break
            if command is not None:
                return command
        else:
            try:
                return decide(rubric, said)
            except OutOfRubricError as error:
                console.print(Text(f"These answers contradict each other ({error}); once more, please."))


def _ask_call(
    call: Call, rubric: Rubric, said: dict[str, str], ask: Ask, console: Console
) -> Literal["skip", "quit", "back"] | None:
    """Ask the questions of one call and put the answers into ``said``; returns a command instead of an answer."""
    for question, words in call.answers.items():
        base = rubric.rules.applies_only_with.get(question)
        if base is not None and said.get(base) in ("no", "n/a") and "n/a" in words:
            said[question] = "n/a"
        while question not in said:
            typed = ask(f"{question} ({' / '.join(words)}; s skips, b starts again, q ends): ").strip().lower()
            if typed in _COMMANDS:
                return _COMMANDS[typed]
            if _ANSWERS.get(typed) in words:
                said[question] = _ANSWERS[typed]
            else:
                console.print(Text(f"Not one of {', '.join(words)}."))
    return None


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
