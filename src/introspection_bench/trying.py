"""One injection to look at: the same question with and without it, side by side. Nothing is stored or judged."""

from __future__ import annotations

import html
from contextlib import ExitStack

import attrs

from .boundaries import checked, guarded
from .concepts import Concept, ConceptSet, load_concepts
from .doses import Depth, Dose, as_layer
from .errors import ModelError, SpecError, explain
from .extraction import extract
from .identity import Sampling
from .injection import Injection, Receipt
from .injectors.base import Injector, check_block
from .injectors.registry import BUILTIN, GROUP, open_injector
from .injectors.requests import Request
from .model_names import describe_named
from .plugins import check_name
from .prompts import Tokenizer
from .rendering import tokenise
from .scaffolds import LINDSEY, Anchor, Scaffold, Turn
from .showing import quoted, shown
from .spans import Positions, Span
from .trials import Reply
from .untrusted import one_line

#: What a plain text is steered from: its own first token.
_TEXT = "text"


@guarded(SpecError)
@attrs.frozen
class TriedInjection:
    """Two replies to one prompt, drawn with the same random numbers: ``steered`` under ``injection``, ``unsteered``.

    ``before``, ``inside`` and ``after`` are the prompt's text, split at the steered span; ``whole_reply`` says whether
    the span goes on over the reply. ``receipt`` proves what was added. ``model`` is the model's name.
    """

    model: str
    injection: Injection
    before: str
    inside: str
    after: str
    whole_reply: bool
    unsteered: Reply
    steered: Reply
    receipt: Receipt

    @property
    def title(self) -> str:
        """What was injected where, and how much it moved the stream."""
        i, ratio = self.injection, self.receipt.mean_ratio
        return (
            f"{i.vector.concept} at layer {i.layer} of {self.model}, {i.dose} over {i.span}: "
            f"‖after - before‖/‖before‖ {ratio:.2g} on average"
        )

    @property
    def prompt(self) -> str:
        """The prompt, what of it is steered within ⟦ ⟧."""
        return f"{self.before}{_marked(self.inside)}{self.after}"

    @property
    def replies(self) -> tuple[str, str]:
        """The unsteered and the steered reply, reasoning included, what is steered within ⟦ ⟧."""
        plain, steered = (reply.to_judge("whole")[0] for reply in (self.unsteered, self.steered))
        return plain, _marked(steered) if self.whole_reply else steered

    def __repr__(self) -> str:
        plain, steered = (quoted(reply.to_judge("whole")[0]) for reply in (self.unsteered, self.steered))
        return shown(self, one_line(self.title, 200), f"unsteered {plain}", f"steered {steered}")

    def __str__(self) -> str:
        plain, steered = self.replies
        return f"{self.title}\n\n[prompt]\n{self.prompt}\n\n[unsteered]\n{plain}\n\n[steered]\n{steered}"

    def _repr_html_(self) -> str:
        """Return it as a notebook shows it: the steered span highlighted, the replies beside each other."""
        plain, steered = (html.escape(reply.to_judge("whole")[0]) for reply in (self.unsteered, self.steered))
        inside = f"<mark>{html.escape(self.inside)}</mark>" if self.inside else ""
        cell = '<td style="white-space: pre-wrap; text-align: left; vertical-align: top; width: 50%">'
        return (
            f"<p>{html.escape(self.title)}</p>"
            f'<p style="white-space: pre-wrap">{html.escape(self.before)}{inside}{html.escape(self.after)}</p>'
            f"<table><thead><tr><th>unsteered</th><th>steered</th></tr></thead><tbody><tr>{cell}{plain}</td>"
            f"{cell}{f'<mark>{steered}</mark>' if self.whole_reply else steered}</td></tr></tbody></table>"
        )


def _marked(text: str) -> str:
    return f"⟦{text}⟧" if text else ""


@checked(SpecError)
def try_injection(
    model: str | Injector,
    concept: str | Concept,
    prompt: str | Scaffold = LINDSEY,
    *,
    layer: int | str | Depth = "2/3",
    dose: str | Dose = "0.3 residual",
    span: str | Span | None = None,
    concepts: str | ConceptSet = "lindsey2026",
    backend: str = "torch",
    sampling: Sampling = Sampling(),  # noqa: B008  # a frozen value
    seed: int = 0,
) -> TriedInjection:
    """Return one steered and one unsteered reply to the same prompt, to look at before any sweep.

    Args:
        model: a model's name, opened on ``backend`` and closed again, or an injector, used as it is.
        concept: by its name in ``concepts``, or itself; its vector is extracted by its own recipe.
        prompt: what the user says, or a scaffold without open slots; by default Lindsey 2026's question.
        layer: a 0-based block, or a depth: ``20``, ``"2/3"``, ``Depth(2 / 3)``.
        dose: as in ``"0.3 residual"``; no effect and none of magnitude 0.
        span: where it is added; by default from the text's first token on, under Lindsey's question ``from(trial)``.
        concepts: the set that the concept, or its baseline words, are of.
        backend: of a model that is given by name.
        sampling: of both replies; by default Lindsey 2026's, temperature 1 and 100 tokens.
        seed: of both replies, from 0 to 2**63 - 1.

    Raises:
        UnknownNameError: a concept that the set lacks.
        LayerError: a layer that the model lacks, or no layer.
        SpecError: a scaffold of one's own without a span, a dose of magnitude 0, a seed out of range.
        InjectionError: a dose or a span that is none; and what opening, extraction and generation raise.
    """
    scaffold, where = _asked(prompt, span)
    how_much = Dose.parse(dose)
    if how_much.is_null or not 0 <= seed < 2**63:
        raise SpecError(
            explain(
                "dose and seed",
                required="a dose that adds something, and a seed from 0 to 2**63 - 1",
                got=f"{how_much}, seed {seed}",
                hint="The unsteered reply is shown beside it anyway.",
            )
        )
    of = load_concepts(concepts) if isinstance(concepts, str) else concepts
    chosen = of[concept] if isinstance(concept, str) else concept
    at = as_layer(layer)
    if isinstance(model, str):
        _check_early(model, backend, at, scaffold, where)
    with ExitStack() as stack:
        injector = stack.enter_context(open_injector(backend, model)) if isinstance(model, str) else model
        block = at.layer(injector.model.n_layers) if isinstance(at, Depth) else at
        injector.check_layer(block)
        rendered = scaffold.render(injector.tokenizer)
        (vector,) = extract(injector, [chosen], [block], baseline=of.baseline)
        injection = Injection(vector, block, how_much, where)
        requests = [Request.of(rendered, some, sampling, seed) for some in ((), (injection,))]
        replies = {c.index: c for c in injector.generate(requests)}
        (steer,) = requests[1].steers
        parts = _parts(injector.tokenizer, rendered.text, steer.positions, special_tokens=scaffold.special_tokens)
        return TriedInjection(
            injector.model.name,
            injection,
            *parts,
            whole_reply=steer.positions.stop is None,
            unsteered=replies[0].reply,
            steered=replies[1].reply,
            receipt=replies[1].receipts[0],
        )


def _check_early(model: str, backend: str, at: int | Depth, scaffold: Scaffold, where: Span) -> None:
    """Raise what is wrong with backend, layer, scaffold or span before any weights are loaded."""
    check_name(GROUP, BUILTIN, backend, "backend")
    if backend not in BUILTIN:  # to another's backend a name may mean anything
        return
    try:
        told = describe_named(model)
    except ModelError:  # opening it says better what is wrong
        return
    check_block(at.layer(told.n_layers) if isinstance(at, Depth) else at, told.n_layers, model)
    where.resolve(scaffold.render(told.tokenizer))


def _asked(prompt: str | Scaffold, span: str | Span | None) -> tuple[Scaffold, Span]:
    stated = Span.parse(span) if isinstance(span, str) else span
    if isinstance(prompt, str):
        # Filled: braces in a text are its own.
        turns, anchors = (Turn("user", prompt),), (Anchor(_TEXT, turn=0),)
        return Scaffold("tried", turns, anchors, filled=True), stated or Span.from_anchor(_TEXT)
    if stated is None and prompt != LINDSEY:
        raise SpecError(
            explain("span", required="where a scaffold is steered", got="none", hint="As in span='from(trial)'.")
        )
    return prompt, stated or Span.from_anchor("trial")


def _parts(tokenizer: Tokenizer, text: str, positions: Positions, *, special_tokens: bool) -> tuple[str, str, str]:
    """Return a prompt's text before, inside and behind the steered positions."""
    _, offsets = tokenise(tokenizer, text, special_tokens=special_tokens)
    stop = len(offsets) if positions.stop is None else min(positions.stop, len(offsets))
    if positions.start >= stop:  # steered while it generates alone
        return text, "", ""
    first, last = offsets[positions.start][0], offsets[stop - 1][1]
    return text[:first], text[first:last], text[last:]
