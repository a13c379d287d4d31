"""What judges that ask a model share: merging, budget, bounded concurrency, failures that are never a "no"."""

from __future__ import annotations

import abc
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed

import attrs

from ..errors import JudgeError, SpecError, explain
from ..trials import Verdict
from . import costs
from ._interview import Answer, Interview, redact
from ._prompting import Prompt, case_text, render, system_text
from .base import Case, Judge
from .costs import CostEstimate, Price, Purse, Usage
from .rubrics import Rubric, load_rubric

#: HTTP statuses after which no call can work: key, payment, permission, unknown model or path.
FATAL = frozenset({401, 402, 403, 404})


@attrs.frozen
class Spending:
    """What a judge has spent so far: calls with a usage report, tokens as the service counted them, dollars."""

    calls: int
    input_tokens: int
    output_tokens: int
    cache_write_tokens: int
    cache_read_tokens: int
    usd: float | None


@attrs.define
class Unit:
    """Cases whose requests would be the same: judged once, and every one of them gets the verdict."""

    case: Case
    indices: list[int]
    interview: Interview


class FatalAnswerError(Exception):
    """The service will answer no call at all (key, permission, unknown model); holds a text without the key."""


class ModelJudge(Judge, abc.ABC):
    """Base of judges that ask a model over HTTP."""

    def __init__(
        self,
        *,
        rubric: str | Rubric,
        model: str,
        blinded: bool,
        concurrency: int,
        max_tokens: int,
        max_cost_usd: float | None,
        price: Price | None,
        secret: str,
    ) -> None:
        for name, value in {"concurrency": concurrency, "max_tokens": max_tokens}.items():
            if value < 1:
                raise JudgeError(explain(name, required="a whole number >= 1", got=value, hint=""))
        self.rubric = load_rubric(rubric)
        self.model: str = model
        self.blinded = blinded
        self.concurrency = concurrency
        self.max_tokens = max_tokens
        self._secret = secret
        self._purse = Purse(price, max_cost_usd)

    @abc.abstractmethod
    def _ask(self, prompt: Prompt) -> Answer:
        """Make one call; raises :class:`FatalAnswerError` where no call can work, never anything else."""

    @property
    def cost_share(self) -> float:
        """What a call costs as a share of the ordinary price."""
        return 1.0

    @property
    def spent(self) -> Spending:
        """What was spent since this judge was opened."""
        usages = list(self._purse.usages)
        return Spending(
            len(usages),
            sum(u.input for u in usages),
            sum(u.output for u in usages),
            sum(u.cache_write for u in usages),
            sum(u.cache_read for u in usages),
            self._purse.spent_usd,
        )

    def estimate(self, cases: Sequence[Case]) -> CostEstimate:
        """Return what judging ``cases`` is expected to cost; sends nothing."""
        units = self._units(cases)
        calls = self.rubric.calls
        systems = {
            (call.id, disclosed): costs.estimate_tokens(system_text(self.rubric, call, disclosed=disclosed))
            for call in calls
            for disclosed in (False, True)
        }
        tokens = 0
        for unit in units:
            user = costs.request_tokens("", case_text(unit.case))
            tokens += sum(user + systems[call.id, unit.case.disclosure is not None] for call in calls)
        most = len(units) * len(calls)
        usage = Usage(input=tokens, output=most * costs.EXPECTED_OUTPUT, share=self.cost_share)
        always = len(units) * sum(not call.when for call in calls)
        usd = usage.usd(self._purse.price)
        return CostEstimate(len(cases), always, most, usage.input, usage.output, usd, costs.priced())

    def judge(self, cases: Sequence[Case]) -> Iterator[tuple[int, Verdict]]:
        """Yield a verdict for every case; see :class:`~introspection_bench.judges.base.Judge`.

        Raises before anything is sent: :class:`CostLimitError` where the estimate exceeds the limit, and
        :class:`SpecError` where a case's disclosure does not fit :attr:`blinded`. Raises :class:`JudgeError` before
        the first verdict where the service accepts no call at all.
        """
        cases = list(cases)
        for case in cases:
            if (case.disclosure is None) != self.blinded:
                raise SpecError(
                    explain(
                        f"case {case.trial[:12]}",
                        required="no disclosure for a blinded judge" if self.blinded else "a disclosure",
                        got=case.disclosure,
                        hint="Open the judge with blinded=False exactly when cases tell how the reply was made.",
                    )
                )
        self._purse.check(self.estimate(cases))
        return self._judge(self._units(cases)) if cases else iter(())

    def _judge(self, units: list[Unit]) -> Iterator[tuple[int, Verdict]]:
        # The first alone: a judge that can't work is noticed before anything else is paid for, and a cached prompt
        # is written once instead of by every call under way.
        try:
            self._converse(units[0])
        except FatalAnswerError as error:
            raise self._rejected(error) from None  # the client's error holds the request with its key
        yield from self._verdicts(units[0])
        pool = ThreadPoolExecutor(self.concurrency, thread_name_prefix="judge")
        try:
            waiting = {pool.submit(self._converse_or_fail, unit): unit for unit in units[1:]}
            for done in as_completed(waiting):
                done.result()
                yield from self._verdicts(waiting[done])
        finally:
            pool.shutdown(wait=True, cancel_futures=True)

    def _rejected(self, error: FatalAnswerError) -> JudgeError:
        return JudgeError(
            explain(
                f"judge {self.name!r}",
                required=f"a key and a model ({self.model}) that the service accepts",
                got=str(error),
                hint="Nothing was judged. Check the key in the environment and the model's name.",
            )
        )

    def _converse_or_fail(self, unit: Unit) -> None:
        try:
            self._converse(unit)
        except FatalAnswerError as error:
            unit.interview.problem = str(error)

    def _converse(self, unit: Unit) -> None:
        while due := unit.interview.due():
            prompt = render(self.rubric, due[0], unit.case)
            most = self._at_most(prompt)
            if not self._purse.reserve(most):
                unit.interview.problem = "cost limit reached: not asked"
                return
            answer: Answer | None = None
            try:
                answer = self._ask(prompt)
            finally:
                self._purse.settle(most, answer.usage if answer else None)
            unit.interview.hear(due[0], answer)

    def _at_most(self, prompt: Prompt) -> Usage:
        # Twice the estimate of the input: tokenizers differ, and a limit should hold.
        return Usage(input=2 * costs.request_tokens(prompt.system, prompt.user), output=self.max_tokens)

    def _verdicts(self, unit: Unit) -> Iterator[tuple[int, Verdict]]:
        cost = costs.total(unit.interview.usages, self._purse.price)
        verdict = unit.interview.verdict(
            judge=self.name,
            model=self.model,
            concept=unit.case.concept,
            blinded=self.blinded,
            cost_usd=cost,
            secret=self._secret,
        )
        yield unit.indices[0], verdict
        for index in unit.indices[1:]:
            # The cost stands once, so that the costs of a run's verdicts add up to the bill.
            notes = f"{verdict.notes} Shared with trial {unit.case.trial[:12]}, whose reply is the same.".strip()
            yield index, attrs.evolve(verdict, notes=notes, cost_usd=None if cost is None else 0.0)

    def _units(self, cases: Sequence[Case]) -> list[Unit]:
        units: dict[tuple[str, str], Unit] = {}
        for index, case in enumerate(cases):
            # A verdict names the concept, so cases that only look the same to the model stay apart.
            key = (case.concept.name, case_text(case))
            if key in units:
                units[key].indices.append(index)
            else:
                units[key] = Unit(case, [index], Interview(self.rubric))
        return list(units.values())

    def _failure(self, error: Exception) -> Answer:
        """Return why a call gave nothing; raises :class:`FatalAnswerError` for statuses that no call survives."""
        reason = describe(error, self._secret)
        if status_of(error) in FATAL:
            raise FatalAnswerError(reason) from None
        return Answer(problem=reason)


def status_of(error: Exception) -> int | None:
    """The HTTP status behind a client's exception, None where there was no response."""
    status = getattr(error, "status_code", None)
    return status if isinstance(status, int) else None


def describe(error: Exception, secret: str) -> str:
    """Return one line about a client's exception, without the key: status or kind, then its message."""
    status = status_of(error)
    name = type(error).__name__
    message = " ".join(str(error).split())
    kind = f"HTTP {status}" if status is not None else name
    # Cut only after the key is out: half a key would not be recognised.
    return redact(f"{kind}: {message}", secret)[:300]


def key_from_environment(name: str, *, required: bool, environment: Mapping[str, str]) -> str:
    """Return the API key; raises :class:`JudgeError` that names the variable where it is required and missing."""
    key = environment.get(name, "").strip()
    if required and not key:
        raise JudgeError(
            explain(
                name,
                required="an API key in this environment variable",
                got="nothing",
                hint="Set it, or use the judge 'rules', which needs none. Keys are read from nowhere else.",
            )
        )
    return key
