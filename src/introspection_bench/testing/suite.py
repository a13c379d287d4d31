"""The conformance suite as a pytest class that a backend's author subclasses."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import ClassVar

import pytest

from ..injectors.base import Injector
from .check import Check, CheckSkipped
from .checks import CHECKS
from .conformance import validate_expected_failures
from .subject import Subject


class InjectorConformance:
    """One test for each conformance check.

    Subclass it under a name that begins with ``Test`` and give it the fixture ``injector``::

        class TestMyInjector(InjectorConformance):
            @pytest.fixture(scope="class")
            @classmethod
            def injector(cls):
                model, tokenizer = tiny_model("llama")
                with open_injector("mine", model, tokenizer=tokenizer) as opened:
                    yield opened

    The fixtures ``reference``, ``half`` and ``unsound`` (see
    :class:`~introspection_bench.testing.subject.Subject`) are optional; without the first two checks 16, 12 and 21 are
    skipped, without the third check 20 looks at sums alone.

    Attributes:
        expected_failures: check name to the reason why it is known to fail; each becomes a strict xfail.
        tolerance: relative error allowed of residuals, None for the default of the model's dtype.
        reply_tokens: length of the replies that are looked at.
        long_prompt: length in tokens of the long prompts: set it above the engine's prefill chunk.
        concurrency: requests at once in check 18: set it above what fits the engine's cache.
    """

    expected_failures: ClassVar[Mapping[str, str]] = MappingProxyType({})
    tolerance: ClassVar[float | None] = None
    reply_tokens: ClassVar[int] = 6
    long_prompt: ClassVar[int] = 160
    concurrency: ClassVar[int] = 8

    @pytest.fixture
    def injector(self) -> Injector:
        """The injector under test: a subclass overrides this."""
        raise NotImplementedError("give your subclass a fixture called injector")

    @pytest.fixture
    def reference(self) -> Injector | None:
        """A trusted injector on the same model, for the check of parity."""
        return None

    @pytest.fixture
    def half(self) -> Injector | None:
        """The same backend on a bfloat16 or float16 model."""
        return None

    @pytest.fixture
    def unsound(self) -> Injector | None:
        """The same backend on a model whose logits hold NaN."""
        return None

    @pytest.mark.parametrize("check", CHECKS, ids=lambda c: f"{c.number:02}-{c.name}")
    def test_conforms(  # noqa: PLR0917  # pytest passes fixtures by name
        self,
        check: Check,
        injector: Injector,
        reference: Injector | None,
        half: Injector | None,
        unsound: Injector | None,
        request: pytest.FixtureRequest,
    ) -> None:
        """One check of :mod:`introspection_bench.testing.checks`."""
        validate_expected_failures(self.expected_failures)
        reason = self.expected_failures.get(check.name)
        if reason is not None:
            request.applymarker(pytest.mark.xfail(reason=reason, strict=True))
        subject = Subject(
            injector,
            reference,
            half,
            unsound,
            tolerance=self.tolerance,
            reply_tokens=self.reply_tokens,
            long_prompt=self.long_prompt,
            concurrency=self.concurrency,
        )
        try:
            check.run(subject)
        except CheckSkipped as skipped:
            pytest.skip(str(skipped))
