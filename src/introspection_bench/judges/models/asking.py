"""What judges that ask a model share: merging, budget, bounded concurrency, failures that are never a "no"."""

from __future__ import annotations

import abc
import inspect
import json
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Any

import attrs

from ...errors import JudgeError, explain
from ...verdicts import Verdict
from ..base import Case, Judge
from ..rubrics import Rubric, load_rubric
from . import costs
from .costs import CostEstimate, Price, Purse, Usage
from .interview import Answer
from .ledger import Ledger
from .prompting import Prompt, case_text, render, system_text
from .service import FATAL, FatalAnswerError, Tries, describe, rejected, status_of, worth_repeating
from .sharing import SharedCase, check_disclosure, shared_cases


@attrs.frozen
class Spending:
    """What a judge has spent so far: calls that count, repeated ones too, their tokens, dollars.

    ``assumed`` of the calls came back without a usable count of tokens, and count with the most that they can have
    cost.
    """

    calls: int
    assumed: int
    input_tokens: int
    output_tokens: int
    cache_write_tokens: int
    cache_read_tokens: int
    usd: float | None


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
        max_retries: int,
        max_wait_s: float,
        timeout_s: float,
        ledger: Ledger | None,
        secrets: Sequence[str],
    ) -> None:
        for name, value in {"concurrency": concurrency, "max_tokens": max_tokens, "max_retries": max_retries}.items():
            least = 0 if name == "max_retries" else 1
            if value < least:
                raise JudgeError(explain(name, required=f"a whole number >= {least}", got=value, hint=""))
        for name, seconds in {"max_wait_s": max_wait_s, "timeout_s": timeout_s}.items():
            if not 0 < seconds <= 86_400:  # a day; NaN is out too
                raise JudgeError(explain(name, required="seconds, more than 0 and at most a day", got=seconds, hint=""))
        self.rubric = load_rubric(rubric)
        self.model: str = model
        self.blinded = blinded
        self.concurrency = concurrency
        self.max_tokens = max_tokens
        self._secrets = secrets
        self._purse = Purse(price, max_cost_usd, model=model, ledger=ledger)
        self._tries = Tries(max_retries, max_wait_s)

    @abc.abstractmethod
    def _send(self, prompt: Prompt) -> Answer:
        """Make one call, once; lets the client's exceptions through."""

    def _refused_option(self, message: str) -> str | None:  # noqa: ARG002  # for judges that know their service
        """What to do about a service that refuses a parameter of every call; None where ``message`` names none."""
        return None

    @classmethod
    def rubrics_asked(cls, options: Mapping[str, Any]) -> tuple[Rubric, ...]:
        """Return the rubric that the model would be asked by."""
        return (load_rubric(options.get("rubric", inspect.signature(cls).parameters["rubric"].default)),)

    def remember_in(self, store: Path) -> None:
        """Count costs, and keep batches, in a run's store; see :class:`~introspection_bench.judges.base.Judge`."""
        self.count_in(Ledger(store))

    def count_in(self, ledger: Ledger) -> None:
        """Count costs, and keep batches, in this ledger, unless the judge was opened with one of its own."""
        self._purse.keep_in(ledger)

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
            sum(u.assumed for u in usages),
            sum(u.input for u in usages),
            sum(u.output for u in usages),
            sum(u.cache_write for u in usages),
            sum(u.cache_read for u in usages),
            self._purse.spent_usd,
        )

    def estimate(self, cases: Sequence[Case]) -> CostEstimate:
        """Return what judging ``cases`` is expected to cost; sends nothing."""
        shared = shared_cases(self.rubric, cases)
        calls = self.rubric.calls
        systems = {
            (call.id, disclosed): costs.estimate_tokens(system_text(self.rubric, call, disclosed=disclosed))
            for call in calls
            for disclosed in (False, True)
        }
        tokens = 0
        for one in shared:
            user = costs.request_tokens("", case_text(one.case))
            tokens += sum(user + systems[call.id, one.case.disclosure is not None] for call in calls)
        most = len(shared) * len(calls)
        usage = Usage(input=tokens, output=most * costs.EXPECTED_OUTPUT, share=self.cost_share)
        always = len(shared) * sum(not call.when for call in calls)
        usd = usage.usd(self._purse.price)
        return CostEstimate(len(cases), always, most, usage.input, usage.output, usd, costs.priced())

    def judge(self, cases: Sequence[Case]) -> Iterator[tuple[int, Verdict]]:
        """Yield a verdict for every case; see :class:`~introspection_bench.judges.base.Judge`.

        Raises before anything is sent: :class:`CostLimitError` where the estimate exceeds the limit, and
        :class:`SpecError` where a case's disclosure does not fit :attr:`blinded`. Raises :class:`JudgeError` before
        the first verdict where the service accepts no call at all.
        """
        cases = list(cases)
        check_disclosure(cases, blinded=self.blinded)
        self.check_limit(cases)
        return self._judge(shared_cases(self.rubric, cases)) if cases else iter(())

    def check_limit(self, cases: Sequence[Case], *, besides: float = 0.0) -> None:
        """Raise :class:`CostLimitError` if judging ``cases`` is expected to exceed the limit; sends nothing.

        ``besides``: US dollars that others, who count in the same ledger, are expected to spend.
        """
        self._purse.check(self.estimate(self._unpaid(cases)), besides)

    def _unpaid(self, cases: Sequence[Case]) -> Sequence[Case]:
        """The cases that are not yet asked; those of a batch under way are set aside for already."""
        return cases

    def _judge(self, shared: list[SharedCase]) -> Iterator[tuple[int, Verdict]]:
        # The first alone: a judge that can't work is noticed before anything else is paid for, and a cached prompt
        # is written once instead of by every call under way.
        self._tries.stopped.clear()
        try:
            self._converse(shared[0])
        except FatalAnswerError as error:
            raise self._rejected(error) from None
        yield from self._verdicts(shared[0])
        pool = ThreadPoolExecutor(self.concurrency, thread_name_prefix="judge")
        try:
            waiting = {pool.submit(self._converse_or_fail, one): one for one in shared[1:]}
            for done in as_completed(waiting):
                done.result()
                yield from self._verdicts(waiting[done])
        except BaseException:
            self._tries.stopped.set()  # nobody waits for repeated calls any more
            raise
        finally:
            pool.shutdown(wait=True, cancel_futures=True)

    def _rejected(self, error: FatalAnswerError) -> JudgeError:
        return JudgeError(
            explain(
                f"judge {self.name!r}",
                required=f"a key and a model ({self.model}) that the service accepts",
                got=str(error),
                hint="Nothing was judged. Check the key in the environment, the model's name and the address.",
            )
        )

    def _converse_or_fail(self, one: SharedCase) -> None:
        try:
            self._converse(one)
        except FatalAnswerError as error:
            one.interview.problem = str(error)

    def _converse(self, one: SharedCase) -> None:
        while due := one.interview.due():
            prompt = render(self.rubric, due[0], one.case)
            one.interview.hear(due[0], self._ask(prompt))

    def _ask(self, prompt: Prompt) -> Answer:
        """Make one call, again where that may help; every try is set aside for and counted.

        Raises :class:`FatalAnswerError` where no call can work, never anything of the client's.
        """
        most = self._at_most(prompt)
        charged: list[Usage] = []
        tried = 0
        while True:
            ticket = self._purse.reserve(most)
            if ticket is None:
                return Answer(problem=f"cost limit reached: not asked; {self._purse.left()}", charged=tuple(charged))
            tried += 1
            answer, error = self._attempt(prompt)
            if error is not None and rejected(error):
                self._purse.release(ticket)
            else:
                charged.append(self._purse.settle(ticket, answer.usage))
            if error is None:
                return attrs.evolve(answer, charged=tuple(charged))
            if not (worth_repeating(error) and self._tries.again(error, tried)):
                return Answer(problem=self._reason(error), charged=tuple(charged))

    def _attempt(self, prompt: Prompt) -> tuple[Answer, Exception | None]:
        try:
            return self._send(prompt), None
        except Exception as error:  # one call's failure, of whatever kind, is one unscored verdict
            # Handled by the caller, outside of this block: what is raised there must not hold the request with its key.
            return Answer(), error

    def _reason(self, error: Exception) -> str:
        """Why a call gave nothing; raises :class:`FatalAnswerError` where no other will give more."""
        reason, status = describe(error, self._secrets), status_of(error)
        advice = self._refused_option(str(error)) if status in (400, 422) else None
        if advice is not None:
            raise FatalAnswerError(f"{reason}. {advice}")
        if status in FATAL or (status is not None and 300 <= status < 400):
            raise FatalAnswerError(reason)
        return reason

    def _at_most(self, prompt: Prompt) -> Usage:
        tokens = costs.most_tokens(prompt.system, prompt.user, json.dumps(prompt.schema))
        return Usage(input=tokens, output=self.max_tokens, share=self.cost_share)

    def _verdicts(self, one: SharedCase) -> Iterator[tuple[int, Verdict]]:
        cost = costs.total(one.interview.usages, self._purse.price)
        verdict = one.interview.verdict(
            judge=self.name,
            model=self.model,
            concept=one.case.concept,
            blinded=self.blinded,
            cost_usd=cost,
            secrets=self._secrets,
        )
        yield from one.shared(verdict)
