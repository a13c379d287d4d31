"""Every exception that the package raises.

One base class, so that a caller can catch all of them; each class also derives from the builtin that a caller
would otherwise expect. Messages are made by :func:`explain`, so that each says which argument, what was
required, what came, and what to do.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def explain(argument: str, *, required: str, got: object, hint: str) -> str:
    """Return one error text in the house form: argument, requirement, value that came, and the way out."""
    shown = got if isinstance(got, str) and got.strip() else repr(got)
    # Names and paths come from anywhere, and nobody reads a message of thousands of characters.
    return f"{_cut(argument, 500)}: required {_cut(required, 1000)}; got {_cut(shown, 1000)}. {hint}".rstrip()


def meant(got: object, known: Iterable[str], otherwise: str = "") -> str:
    """Return the hint that asks whether the nearest of some names was meant; ``otherwise`` where none is near."""
    by_fold = {name.casefold(): name for name in known}
    near = difflib.get_close_matches(str(got)[:100].casefold(), list(by_fold), 1)
    return f"Did you mean {by_fold[near[0]]!r}?" if near else otherwise


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else text[:most] + "…"


class IntrospectionBenchError(Exception):
    """Base of all errors of this package."""


class ConceptError(IntrospectionBenchError, ValueError):
    """A concept or a set of concepts is not usable."""


class VectorError(IntrospectionBenchError, ValueError):
    """A concept vector has the wrong shape, holds NaN, or does not fit the model."""


class VectorFileError(VectorError, OSError):
    """A vector file is missing, truncated, or not one of ours."""


class InjectionError(IntrospectionBenchError, ValueError):
    """An injection is not well formed: unit, magnitude or span."""


class LayerError(InjectionError, IndexError):
    """A layer index is outside the model."""


class EmptySpanError(InjectionError):
    """A span steers no position of the prompt it was resolved against."""


class SilentInjectionError(IntrospectionBenchError, RuntimeError):
    """A reply came back without proof that it is what was asked for; it is not recorded.

    ``request`` is the index of the request in its call, where that is known: the runner names the trial by it.
    """

    request: int | None = None


class NonFiniteError(SilentInjectionError, ArithmeticError):
    """A steered sum, a captured residual or the logits of a reply are infinite or NaN."""


class ScaffoldError(IntrospectionBenchError, ValueError):
    """A scaffold can't be built or rendered."""


class AnchorNotFoundError(ScaffoldError, LookupError):
    """A named place of a scaffold is not in the rendered tokens."""


class ModelError(IntrospectionBenchError, ValueError):
    """A model was loaded, but is not one that can be steered or sampled as asked."""


class ModelNotFoundError(ModelError, FileNotFoundError):
    """A model name, folder or file leads nowhere."""


class AdapterError(ModelError):
    """An adapter can't be read, or is not one of the model that it was to be merged into."""


class CaptureError(IntrospectionBenchError, RuntimeError):
    """Activations that were asked for did not come back."""


class UnknownNameError(IntrospectionBenchError, LookupError):
    """No backend, judge, rubric, scaffold or concept set has this name."""


class PluginError(IntrospectionBenchError, ValueError):
    """Two distributions claim one plugin name, or a plugin is not what it claims to be."""


class OptionError(IntrospectionBenchError, TypeError):
    """A judge or backend was given an option that it does not have or of another type, or lacks one that it needs."""


class BackendUnavailableError(IntrospectionBenchError, ImportError):
    """A backend or judge exists, but what it needs is not installed."""


class SpecError(IntrospectionBenchError, ValueError):
    """A design, a specification or another value is wrong; the message names the field or key."""


class OutputError(IntrospectionBenchError, OSError):
    """A file or folder can't be written where it was asked for."""


class StoreError(IntrospectionBenchError, RuntimeError):
    """The run's SQLite file can't be read or written as asked."""


class RunLockedError(StoreError, BlockingIOError):
    """Another process is at work on the run directory; the message names it."""


class StoreMismatchError(StoreError, ValueError):
    """The store was made by another design or another model."""


class RunsDifferError(StoreMismatchError):
    """Runs that are to be merged made the same, and not the same; ``differences`` tells of each."""

    def __init__(self, message: str, differences: Iterable[str] = ()) -> None:
        super().__init__(message)
        self.differences = tuple(differences)


class WorkerError(IntrospectionBenchError, RuntimeError):
    """A pool's workers can't be reached or started, or a trial ended each worker that it was given to."""


class JudgeError(IntrospectionBenchError, RuntimeError):
    """A judge can't be used at all (a single failed judgement is an unscored verdict, not an error)."""


class RubricError(JudgeError, ValueError):
    """A rubric file is malformed."""


class CostLimitError(JudgeError):
    """Judging would cost more than the caller allowed."""


class ResultsFormatError(IntrospectionBenchError, ValueError):
    """A results file is malformed; the message names the record and the field."""


class AnalysisError(IntrospectionBenchError, ValueError):
    """A statistic was asked of data that can't carry it."""


class ConformanceError(IntrospectionBenchError, AssertionError):
    """A backend does not do what the Injector contract says; the message tells what was measured."""


class IntrospectionBenchWarning(UserWarning):
    """Something went on that a reader of the results should know of."""


class VersionWarning(IntrospectionBenchWarning):
    """A run goes on with other versions than those that made what is there."""


class EndTokenWarning(IntrospectionBenchWarning):
    """Generation config, configuration, tokenizer and chat template don't agree on what ends a reply."""
