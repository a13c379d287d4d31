"""LocalJudge: an instruct model in this process, its answers read from the probabilities of the rubric's words."""

from __future__ import annotations

import datetime
import inspect
import json
import math
import uuid
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import attrs

from ...concepts import Concept
from ...conditions import Condition
from ...digests import digest
from ...errors import JudgeError, explain
from ...freezing import frozen_mapping
from ...injectors.hf.fingerprint import fingerprint_module
from ...injectors.hf.limits import limits_of
from ...loading import load
from ...model_names import resolve_name
from ...templates import Tokenizer, write_chat
from ...verdicts import Verdict
from ..base import Case, Disclosure, Judge
from ..rubrics import REASON, WORDS, Call, Rubric, load_rubric
from .costs import Price, Purse, Ticket, Usage
from .interview import Answer
from .ledger import Ledger
from .prompting import WORD_FRAME_VERSION, word_system_text, word_text
from .sharing import SharedCase, check_disclosure, shared_cases
from .words import Ask, NextWords, special_ids, spellings

#: What templates that print the date are told: another one each day would be another judge each day.
_DAY = datetime.date(2026, 1, 1)


class LocalJudge(Judge):
    """A Hugging Face instruct model as a judge, without a server; ``docs/judges.md`` says how it decides.

    Every question of the rubric is asked by itself. The answer is the word with the highest probability as what the
    model says next, over all its spellings. Where the rubric's words together have less than ``mass_floor``, where two
    are equally likely, or where the prompt is longer than the model reaches, the verdict is unscored with that reason;
    nothing is sampled, and nothing is cut. Judging costs nothing. How large a model has to be to judge well is not
    known; :func:`~introspection_bench.judges.gate.check_judge` refuses one that doesn't.

    Args:
        model: a hub id, a folder, a ``.gguf`` file, "demo", or a ``PreTrainedModel`` in eval mode. Code that comes
            with a checkpoint is not run.
        tokenizer: the tokenizer; needed beside a model object.
        dtype: "auto" (as the checkpoint has it) or a torch name, "bfloat16".
        device: "cpu", "cuda", "cuda:1"; by default CUDA where there is one.
        device_map: passed to Hugging Face for several GPUs ("auto"); needs accelerate.
        revision: a hub revision.
        rubric: a built-in rubric's name, a path, or a :class:`Rubric`.
        blinded: whether cases come without disclosure.
        batch_size: most prompts run at once; it alters results by rounding alone.
        begin: text that the model's answer is begun with, such as an empty block of reasoning.
        mass_floor: least probability, above 0 and at most 1, that the rubric's words must have together.
        margin: a question whose two likeliest words differ by less than this share of the mass is noted as close.
        max_cost_usd: accepted as for judges that cost something, and always kept.
        ledger: as for :class:`~introspection_bench.judges.models.claude.ClaudeJudge`; one entry, of 0 dollars, a reply.

    Raises:
        ModelNotFoundError: the name leads nowhere.
        ModelError: it can't be loaded.
        JudgeError: it has no chat template, or an option is out of range.
    """

    name: ClassVar[str] = "local"

    def __init__(
        self,
        *,
        model: Any,
        tokenizer: Any = None,
        dtype: str = "auto",
        device: str | None = None,
        device_map: Any = None,
        revision: str | None = None,
        rubric: str | Rubric = "strict4",
        blinded: bool = True,
        batch_size: int = 16,
        begin: str = "",
        mass_floor: float = 0.5,
        margin: float = 0.1,
        max_cost_usd: float | None = None,
        ledger: Ledger | None = None,
    ) -> None:
        self.rubric = load_rubric(rubric)
        self.blinded = blinded
        _check_options(batch_size, mass_floor, margin)
        loaded = load(
            resolve_name(model) if isinstance(model, str) else model,
            tokenizer=tokenizer,
            dtype=dtype,
            device=device,
            device_map=device_map,
            revision=revision,
        )
        self.fingerprint = fingerprint_module(loaded.model, loaded.tokenizer)
        # All that alters an answer; what only rounds differently (batches, devices) does not make another judge.
        identity = digest("local_judge", 1, [self.fingerprint, WORD_FRAME_VERSION, begin, mass_floor])
        self.model: str = f"{loaded.name}@{identity[:12]}"
        self._mass_floor, self._margin = mass_floor, margin
        self._purse = Purse(Price(0.0, 0.0), max_cost_usd, model=self.model, ledger=ledger)
        limits = limits_of(loaded.model.config)
        self._positions = limits.positions
        self._system = word_system_text(self.rubric, disclosed=not blinded)
        self._chat = _Chat(loaded.tokenizer, self._system, begin)
        self._spelt = {word: spellings(loaded.tokenizer, word, limits.vocabulary) for word in WORDS}
        unspelt = [word for call in self.rubric.calls for ws in call.answers.values() for word in ws]
        unspelt = sorted({word for word in unspelt if not self._spelt[word]})
        if unspelt:
            raise JudgeError(
                explain("tokenizer", required="tokens for the rubric's words", got=f"none for {unspelt}", hint="")
            )
        questions = self._questions(self.rubric.calls)
        try:
            probed = [[self._ask(call, question, case) for call, question in questions] for case in _probes(self)]
        except _UnfitError as error:
            raise JudgeError(
                explain(
                    "model",
                    required=f"one that can be shown a case by rubric {self.rubric.id}",
                    got=str(error),
                    hint="Judge with another model, or by a shorter rubric.",
                )
            ) from error
        self._words = NextWords(
            loaded.model, batch_size=batch_size, asks=probed[0], others=[asks[0].prompt for asks in probed[1:]]
        )

    @classmethod
    def rubrics_asked(cls, options: Mapping[str, Any]) -> tuple[Rubric, ...]:
        """Return the rubric that the model would be asked by."""
        return (load_rubric(options.get("rubric", inspect.signature(cls).parameters["rubric"].default)),)

    def remember_in(self, store: Path) -> None:
        """Count in a run's store; see :class:`~introspection_bench.judges.base.Judge`."""
        self._purse.keep_in(Ledger(store))

    def close(self) -> None:
        """Let go of the model; the judge can't judge any more."""
        del self._words, self._chat

    def judge(self, cases: Sequence[Case]) -> Iterator[tuple[int, Verdict]]:
        """Yield a verdict for every case, in order but for those that look the same to the model.

        Raises :class:`SpecError`, before anything is judged, where a case's disclosure does not fit :attr:`blinded`.
        """
        cases = list(cases)
        check_disclosure(cases, blinded=self.blinded)
        return self._judge(shared_cases(self.rubric, cases))

    def _judge(self, shared: Sequence[SharedCase]) -> Iterator[tuple[int, Verdict]]:
        for one in shared:
            measured: list[_Measured] = []
            while due := one.interview.due():
                measured += self._hear(one, due)
            verdict = one.interview.verdict(
                judge=self.name,
                model=self.model,
                concept=one.case.concept,
                blinded=self.blinded,
                cost_usd=0.0,
                secrets=(),
            )
            raw = {"model": self.fingerprint, "words": {m.question: m.rounded() for m in measured}}
            notes = "; ".join(m.told(self._margin) for m in measured)
            yield from one.shared(attrs.evolve(verdict, notes=notes, raw=json.dumps(raw)))

    def _hear(self, one: SharedCase, calls: Sequence[Call]) -> list[_Measured]:
        """Ask the questions of some calls, tell the interview, and return what was measured."""
        questions = self._questions(calls)
        try:
            asks = [self._ask(call, question, one.case) for call, question in questions]
        except _UnfitError as error:
            for call in calls:
                one.interview.hear(call, Answer(problem=str(error)))
            return []
        found = self._words.probabilities(asks)
        usage = Usage(input=sum(len(ask.prompt) for ask in asks), output=len(asks))
        self._purse.settle(Ticket(uuid.uuid4().hex, usage), usage)
        measured = [_Measured(question, words) for (_, question), words in zip(questions, found, strict=True)]
        by_question = {m.question: m for m in measured}
        for call in calls:
            mine = [by_question[question] for question in call.answers]
            problem = next(filter(None, (m.problem(self._mass_floor) for m in mine)), None)
            words = {m.question: m.ranked[0] for m in mine}
            one.interview.hear(call, Answer(text=json.dumps({REASON: "", **words}), problem=problem))
        return measured

    @staticmethod
    def _questions(calls: Sequence[Call]) -> list[tuple[Call, str]]:
        return [(call, question) for call in calls for question in call.answers]

    def _ask(self, call: Call, question: str, case: Case) -> Ask:
        ask = Ask(
            self._chat.tokens(self._system, word_text(call, question, case)),
            {word: self._spelt[word] for word in call.answers[question]},
        )
        if self._positions is not None and ask.positions > self._positions:
            raise _UnfitError(
                f"the prompt takes {ask.positions} positions, the model has {self._positions}; nothing was cut"
            )
        return ask


@attrs.frozen
class _Measured:
    """The probability of each word that may answer a question."""

    question: str
    words: Mapping[str, float] = attrs.field(converter=frozen_mapping)

    @property
    def mass(self) -> float:
        return sum(self.words.values())

    @property
    def ranked(self) -> list[str]:
        return sorted(self.words, key=lambda word: -self.words[word])

    def problem(self, floor: float) -> str | None:
        best, next_best = self.ranked[:2]
        if not math.isfinite(self.mass):
            return f"{self.question}: the model's probabilities are not finite"
        if self.mass < floor:
            return (
                f"{self.question}: the model did not answer in the rubric's words: mass {self.mass:.2g}, "
                f"at least {floor:g} is required"
            )
        if self.words[best] == self.words[next_best]:
            return f"{self.question}: {best} and {next_best} are equally likely"
        return None

    def told(self, margin: float) -> str:
        best, next_best = (self.words[word] for word in self.ranked[:2])
        close = " (close)" if best - next_best < margin * self.mass else ""
        return f"{self.question}: {', '.join(f'{word} {self.words[word]:.3f}' for word in self.ranked)}{close}"

    def rounded(self) -> dict[str, float | None]:
        return {word: float(f"{p:.6g}") if math.isfinite(p) else None for word, p in self.words.items()}


class _UnfitError(ValueError):
    """A case can't be shown to the model; the text is the reason of the unscored verdict."""


class _Chat:
    """A model's chat template, with the instructions as a system turn where it takes one, else in the user's turn."""

    def __init__(self, tokenizer: Tokenizer, system: str, begin: str) -> None:
        if not tokenizer.chat_template:
            raise JudgeError(
                explain(
                    "model",
                    required="an instruct model, whose tokenizer has a chat template",
                    got="a tokenizer without one",
                    hint="A base model does not answer questions; give the instruct model of the family.",
                )
            )
        self._tokenizer, self._begin = tokenizer, begin
        self._special = special_ids(tokenizer)
        self._folded = False
        question = "Is this a question?"
        try:
            self._folded = system not in self._written(system, question)
        except Exception:  # a template is code of the model's author and may refuse a turn by any error
            self._folded = True
        try:
            written = self._written(system, question)
        except Exception as error:  # as above
            raise _no_place(f"{type(error).__name__}: {error}") from error
        if system not in written or question not in written:
            raise _no_place("one that rewrites or drops what it is given")
        self._marks = self._control_marks(self._encoded(written))

    def tokens(self, system: str, user: str) -> tuple[int, ...]:
        """Return the prompt's token ids; raises :class:`_UnfitError` where the case would not stay what it is."""
        written = self._written(system, user)
        if user not in written:
            raise _UnfitError("the model's chat template rewrites the case")
        ids = self._encoded(written)
        if self._control_marks(ids) != self._marks:
            raise _UnfitError("the case holds text that the model's tokenizer takes for its own control marks")
        return ids

    def _written(self, system: str, user: str) -> str:
        messages = [{"role": "system", "content": system}, {"role": "user", "content": user}]
        if self._folded:
            messages = [{"role": "user", "content": f"{system}\n\n{user}"}]
        return write_chat(self._tokenizer, messages, date=_DAY) + self._begin

    def _encoded(self, text: str) -> tuple[int, ...]:
        return tuple(self._tokenizer(text, add_special_tokens=False)["input_ids"])

    def _control_marks(self, ids: Sequence[int]) -> list[int]:
        return [index for index in ids if index in self._special]


def _no_place(got: str) -> JudgeError:
    return JudgeError(
        explain("chat template", required="one that writes a user's turn as it is", got=got, hint="Use another model.")
    )


def _check_options(batch_size: int, mass_floor: float, margin: float) -> None:
    if batch_size < 1:
        raise JudgeError(explain("batch_size", required="a whole number >= 1", got=batch_size, hint=""))
    if not 0 < mass_floor <= 1:
        raise JudgeError(explain("mass_floor", required="a number above 0 and at most 1", got=mass_floor, hint=""))
    if not 0 <= margin <= 1:
        raise JudgeError(explain("margin", required="a number from 0 to 1", got=margin, hint=""))


def _probes(judge: Judge) -> Iterator[Case]:
    """Cases whose marks begin differently: what comes before these is common to all cases."""
    told = None if judge.blinded else Disclosure(Condition("control", "lindsey"))
    for number in range(8):
        reply = f"Nothing that I could name, {number} times."
        yield Case(str(number), "What is on your mind?", reply, Concept("Dust", word="Dust"), told)
