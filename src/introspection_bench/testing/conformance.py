"""Running the conformance checks on one injector: for ``introspection-bench check``, and from Python."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Collection, Mapping
from types import MappingProxyType
from typing import Literal

import attrs

from ..errors import SpecError, explain
from ..freezing import frozen_tuple
from ..injectors.base import Injector
from .checks import CHECKS, Check, CheckSkipped
from .subject import Subject

Outcome = Literal["passed", "failed", "expected failure", "unexpected pass", "skipped"]


@attrs.frozen
class CheckResult:
    """What one check said. ``detail`` is the failure's message, the reason of a skip, or a remark."""

    number: int
    name: str
    states: str
    outcome: Outcome
    detail: str = ""
    seconds: float = 0.0


@attrs.frozen
class ConformanceReport:
    """All results of one run, in the order of the checks' numbers; ``tolerance`` is what was allowed of residuals."""

    backend: str
    model: str
    dtype: str
    results: tuple[CheckResult, ...] = attrs.field(converter=frozen_tuple)
    tolerance: float = math.nan

    @property
    def passed(self) -> bool:
        """Whether nothing failed that was not expected to, and nothing passed that was."""
        return not any(r.outcome in ("failed", "unexpected pass") for r in self.results)

    def counts(self) -> Mapping[Outcome, int]:
        """How many checks ended in each way (those that occurred)."""
        outcomes = [r.outcome for r in self.results]
        return MappingProxyType({o: outcomes.count(o) for o in dict.fromkeys(outcomes)})

    def __str__(self) -> str:
        """The report as plain text, one line per check."""
        lines = [
            f"{self.backend} on {self.model} ({self.dtype}), relative error of residuals allowed: {self.tolerance:.2g}"
        ]
        for r in self.results:
            lines.append(f"{r.number:>3}  {r.outcome:<16} {r.seconds:6.1f} s  {r.name.replace('_', ' ')}")
            lines += [f"{'':23}{line}" for line in r.detail.splitlines()]
        counts = ", ".join(f"{n} {outcome}" for outcome, n in self.counts().items())
        return "\n".join([*lines, f"{counts}: {'conforms' if self.passed else 'DOES NOT CONFORM'}"])


def check_names() -> tuple[str, ...]:
    """The names of all checks, in order: what ``expected_failures`` may refer to."""
    return tuple(c.name for c in CHECKS)


def validate_expected_failures(expected_failures: Mapping[str, str]) -> None:
    """Raise :class:`~introspection_bench.errors.SpecError` for a name that is no check, or a missing reason."""
    unknown = sorted(set(expected_failures) - set(check_names()))
    bare = sorted(n for n, reason in expected_failures.items() if not reason.strip())
    if unknown or bare:
        raise SpecError(
            explain(
                "expected_failures",
                required="names of checks, each with a reason",
                got=f"unknown: {unknown}, without reason: {bare}",
                hint=f"Checks: {list(check_names())}",
            )
        )


def run_conformance(
    injector: Injector,
    *,
    reference: Injector | None = None,
    half: Injector | None = None,
    unsound: Injector | None = None,
    expected_failures: Mapping[str, str] = MappingProxyType({}),
    only: Collection[str] = (),
    tolerance: float | None = None,
    reply_tokens: int = 6,
    long_prompt: int = 160,
    concurrency: int = 8,
    on_result: Callable[[CheckResult], None] | None = None,
) -> ConformanceReport:
    """Run the checks on an open injector and return what each said; a failing check raises nothing.

    Args:
        injector: the backend with the model on which it is to be used.
        reference: a trusted injector on the same model (the torch one), for the check of parity.
        half: the same backend on a bfloat16 or float16 model, for the check of dtypes; needless where ``injector``
            has one.
        unsound: the same backend on a model whose logits hold NaN
            (:func:`~introspection_bench.testing.tiny.spoil_logits`), for the check of numbers that are not finite.
        expected_failures: check name to reason; such a check that passes is an ``unexpected pass``.
        only: names of the checks to run; all by default.
        tolerance: relative error allowed of residuals; by default after the model's dtype, and on half-precision
            models, at any one position, one and a half times the engine's largest noise, if that is more.
        reply_tokens: length of the replies that are looked at.
        long_prompt: length in tokens of the long prompts: set it above the engine's prefill chunk.
        concurrency: requests at once in the last generation check: set it above what fits the engine's cache.
        on_result: called after each check, for progress.

    Raises:
        SpecError: ``expected_failures`` or ``only`` names no check.
    """
    validate_expected_failures(expected_failures)
    validate_expected_failures(dict.fromkeys(only, "asked for"))
    subject = Subject(
        injector,
        reference,
        half,
        unsound,
        tolerance=tolerance,
        reply_tokens=reply_tokens,
        long_prompt=long_prompt,
        concurrency=concurrency,
    )
    results = []
    for check in CHECKS:
        if only and check.name not in only:
            continue
        result = _run(check, subject, expected_failures.get(check.name))
        results.append(result)
        if on_result is not None:
            on_result(result)
    model = injector.model
    return ConformanceReport(injector.name, model.name, model.dtype, tuple(results), _tolerance(subject))


def _tolerance(subject: Subject) -> float:
    try:
        return subject.error
    except Exception:  # an injector that can't run says so in each check
        return subject.stated_error


def _run(check: Check, subject: Subject, expected: str | None) -> CheckResult:
    started = time.perf_counter()
    outcome: Outcome
    try:
        detail = check.run(subject)
        outcome = "passed" if expected is None else "unexpected pass"
        detail = detail if expected is None else f"expected to fail: {expected}"
    except CheckSkipped as skipped:
        outcome, detail = "skipped", str(skipped)
    except Exception as error:  # a check must not stop the others, whatever the backend raises
        outcome = "failed" if expected is None else "expected failure"
        detail = f"{type(error).__name__}: {error}" + ("" if expected is None else f"\nexpected: {expected}")
    return CheckResult(check.number, check.name, check.states, outcome, detail, time.perf_counter() - started)
