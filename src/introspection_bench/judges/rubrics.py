"""Rubrics: which criteria there are and what they mean, as versioned text that is never edited in place.

A rubric is a text, one or more calls to a judge, and the answers that each call may give. Every answer is one of a
few fixed words, so that an answer outside the rubric can be told from a "no".
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cached_property, partial
from importlib import resources
from pathlib import Path
from typing import Any, Literal

import attrs

from ..boundaries import checked, guarded
from ..digests import digest
from ..errors import RubricError, SpecError, UnknownNameError, explain, meant
from ..freezing import frozen_mapping, frozen_tuple
from ..showing import few, shown
from ..structuring import Places, strict_converter, worded
from ..toml_lines import key_places
from ..untrusted import parse_toml, read_text
from ..verdicts import CRITERIA, check_criterion

#: The version of the text that stands around every rubric (:mod:`introspection_bench.judges.models.prompting`).
FRAME_VERSION = 1
#: Built-in rubrics, each a TOML file of that name in the folder ``rubrics/``.
BUILTIN = ("strict4", "strict5", "paper2", "paper2_rules", "stages2", "lenient", "yesno")
#: What a criterion may be answered with.
WORDS = ("yes", "no", "n/a")
#: The key under which a model judge explains itself; no rubric may ask a question of this name.
REASON = "reason"

_NAME = re.compile(r"[a-z][a-z0-9_-]{0,40}")


def _stripped(text: str) -> str:
    return text.strip()


def _word_lists(answers: Mapping[str, Any]) -> Mapping[str, tuple[str, ...]]:
    return frozen_mapping({name: tuple(words) for name, words in answers.items()})


def _nested(entails: Mapping[str, Mapping[str, str]]) -> Mapping[str, Mapping[str, str]]:
    return frozen_mapping({given: frozen_mapping(then) for given, then in entails.items()})


@guarded(RubricError)
@attrs.frozen
class Call:
    """One call to the judge.

    ``answers`` gives for each question the words that may answer it. The call is made only if all earlier answers
    stand as ``when`` says. ``entails`` maps "question=word" to the criteria that are then known: a question that is no
    criterion itself ("did it detect and then identify?") decides some this way.
    """

    id: str
    text: str = attrs.field(converter=_stripped)
    answers: Mapping[str, tuple[str, ...]] = attrs.field(converter=_word_lists)
    when: Mapping[str, str] = attrs.field(converter=frozen_mapping, factory=dict)
    entails: Mapping[str, Mapping[str, str]] = attrs.field(converter=_nested, factory=dict)

    def schema(self) -> dict[str, Any]:
        """Return the JSON schema of the answer: a reason, then one word for each question, nothing else."""
        properties: dict[str, Any] = {
            REASON: {"type": "string", "description": "One or two short sentences, written before the answers."}
        }
        for question, words in self.answers.items():
            properties[question] = {"type": "string", "enum": list(words)}
        return {
            "type": "object",
            "properties": properties,
            "required": list(properties),
            "additionalProperties": False,
        }


@guarded(RubricError)
@attrs.frozen
class Rules:
    """How the answers hang together.

    ``applies_only_with``: the first criterion is not applicable unless the second is met. ``requires``: a "yes" to
    the first contradicts a "no" to any of the others; such an answer is outside the rubric. ``overrules``: where a
    question is answered so ("question=word"), these criteria are as it says, whatever was answered to them.
    """

    applies_only_with: Mapping[str, str] = attrs.field(converter=frozen_mapping, factory=dict)
    requires: Mapping[str, tuple[str, ...]] = attrs.field(converter=_word_lists, factory=dict)
    overrules: Mapping[str, Mapping[str, str]] = attrs.field(converter=_nested, factory=dict)


@guarded(RubricError)
@attrs.frozen
class Rubric:
    """A rubric: identity, text, calls and rules.

    ``structure`` is ``single`` (one call answers everything), ``separate`` (several calls, at least two of them
    always made) or ``staged`` (the first call decides whether there is another). ``success`` names the criteria that
    must all be met for a reply to count as strict; it must be stated where the four of ``strict4`` are not among
    :attr:`criteria`. Raises :class:`RubricError` that names the key.
    """

    name: str
    version: int
    structure: Literal["single", "separate", "staged"]
    text: str = attrs.field(converter=_stripped)
    calls: tuple[Call, ...] = attrs.field(converter=frozen_tuple)
    rules: Rules = attrs.field(factory=Rules)
    success: tuple[str, ...] = attrs.field(converter=frozen_tuple, default=CRITERIA)
    source: str = ""

    def __attrs_post_init__(self) -> None:
        _check(self)

    def __repr__(self) -> str:
        return shown(
            self, repr(self.id), self.structure, f"criteria {few(self.criteria)}", f"success {few(self.success)}"
        )

    @property
    def id(self) -> str:
        """Name and version, as in ``strict4/1``; what a verdict says."""
        return f"{self.name}/{self.version}"

    @cached_property
    def criteria(self) -> tuple[str, ...]:
        """What verdicts by it answer: its questions, and what these entail.

        A question that entails something is only asked for that, unless ``success`` or another entailment names it.
        """
        found: dict[str, None] = {}
        for call in self.calls:
            entailing = {given.partition("=")[0] for given in call.entails}
            found |= dict.fromkeys(q for q in call.answers if q not in entailing or q in self.success)
            found |= dict.fromkeys(criterion for then in call.entails.values() for criterion in then)
        return tuple(found)

    @cached_property
    def digest(self) -> str:
        """SHA-256 of everything that a judge is shown of it or that alters a verdict; ``source`` is not part."""
        calls = [
            {
                "id": c.id,
                "text": c.text,
                "answers": {q: list(w) for q, w in c.answers.items()},
                "when": dict(c.when),
                "entails": {given: dict(then) for given, then in c.entails.items()},
            }
            for c in self.calls
        ]
        rules: list[dict[str, Any]] = [
            dict(self.rules.applies_only_with),
            {q: list(r) for q, r in self.rules.requires.items()},
        ]
        if self.rules.overrules:  # left out where there are none: rubrics from before there were keep their identity
            rules.append({given: dict(then) for given, then in self.rules.overrules.items()})
        # Left out where it is the four criteria: rubrics from before there was a choice keep their identity.
        success = [] if self.success == CRITERIA else [list(self.success)]
        return digest(
            "rubric", FRAME_VERSION, [self.name, self.version, self.structure, self.text, calls, rules, *success]
        )


@checked(RubricError)
def load_rubric(name_or_path: str | Path | Rubric) -> Rubric:
    """Return a rubric: built in, by path of a TOML or Markdown file, or a :class:`Rubric` as it is.

    Built in: those in :data:`BUILTIN` (also with their version, as in ``strict4/1``). Raises :class:`UnknownNameError`
    for another name and :class:`RubricError` for a file that is not a rubric.
    """
    if isinstance(name_or_path, Rubric):
        return name_or_path
    name = str(name_or_path)
    if name.endswith((".toml", ".md")):
        return _from_file(Path(name_or_path))
    stem = name.partition("/")[0]
    if stem in BUILTIN:
        found = _parse_toml(
            resources.files(__package__).joinpath("rubrics", f"{stem}.toml").read_text(encoding="utf-8"),
            f"built-in rubric {stem}",
        )
        if name in (found.name, found.id):
            return found
    raise UnknownNameError(
        explain(
            "rubric",
            required=f"one of {list(BUILTIN)} or the path of a .toml or .md file",
            got=name,
            hint=meant(name, BUILTIN, "The docs' page judges shows how to write one."),
        )
    )


def _from_file(path: Path) -> Rubric:
    try:
        text = read_text(path)
    except (OSError, ValueError) as error:
        raise RubricError(
            explain(str(path), required="a readable UTF-8 file", got=str(error), hint="Check the path.")
        ) from error
    return _parse_markdown(text, str(path)) if path.suffix == ".md" else _parse_toml(text, str(path))


def _parse_toml(text: str, where: str) -> Rubric:
    try:
        data = parse_toml(text)
    except ValueError as error:
        raise RubricError(explain(where, required="TOML", got=str(error), hint="Mend the syntax.")) from error
    return _structure(data, where, partial(key_places, text))


def _parse_markdown(text: str, where: str) -> Rubric:
    """A header in TOML between two lines of ``+++``, then the text: one call with strict4's answers and rules."""
    lines = text.splitlines()
    fences = [number for number, line in enumerate(lines) if line.strip() == "+++"]
    if len(fences) < 2 or any(line.strip() for line in lines[: fences[0]]):
        raise RubricError(
            explain(
                where,
                required="a header with name and version between two lines '+++', then the rubric's text",
                got=f"{len(fences)} such lines",
                hint="The docs' page judges shows one.",
            )
        )
    try:
        header = parse_toml("\n".join(lines[fences[0] + 1 : fences[1]]))
    except ValueError as error:
        raise RubricError(explain(f"{where}: header", required="TOML", got=str(error), hint="")) from error
    unknown = sorted(set(header) - {"name", "version", "source"})
    if unknown:
        raise RubricError(
            explain(
                f"{where}: {unknown[0]}",
                required="only name, version and source in a Markdown rubric's header",
                got=unknown,
                hint="A rubric with calls or rules of its own is a TOML file.",
            )
        )
    standard = load_rubric("strict4")
    base = _structure(
        {**header, "structure": "single", "text": "\n".join(lines[fences[1] + 1 :]), "calls": [_MARKDOWN_CALL]}, where
    )
    return attrs.evolve(base, rules=standard.rules)


_MARKDOWN_CALL = {
    "id": "verdict",
    "text": "Answer all five questions about the reply.",
    "answers": {c: list(WORDS) if c == "immediate" else ["yes", "no"] for c in (*CRITERIA, "refused")},
}


def _structure(data: Mapping[str, Any], where: str, places: Places = dict) -> Rubric:
    with worded(
        RubricError,
        where,
        root="rubric",
        required="name, version, structure, text, [[calls]] (id, text, answers), optionally rules and source",
        hint="The docs' page judges shows one.",
        places=places,
    ):
        return strict_converter().structure(data, Rubric)


def _wrong(key: str, required: str, got: object) -> RubricError:
    return RubricError(explain(key, required=required, got=got, hint="See the docs' page judges."))


def _check(rubric: Rubric) -> None:
    if not _NAME.fullmatch(rubric.name):
        raise _wrong("name", "lower-case letters, digits, '_' and '-', at most 41", rubric.name)
    if rubric.version < 1:
        raise _wrong("version", "a whole number >= 1", rubric.version)
    if not rubric.text:
        raise _wrong("text", "the rubric's text", "nothing")
    always = sum(not c.when for c in rubric.calls)
    shape = {
        "single": (len(rubric.calls) == 1 and always == 1, "exactly one call, without 'when', in structure 'single'"),
        "separate": (always >= 2, "at least two calls without 'when' in structure 'separate'"),
        "staged": (always == 1 and len(rubric.calls) >= 2, "one call without 'when' and one with it in 'staged'"),
    }
    fine, required = shape.get(rubric.structure, (False, f"structure to be one of {sorted(shape)}"))
    if not fine:
        raise _wrong("calls", required, f"structure {rubric.structure!r}, {len(rubric.calls)} calls, {always} always")
    asked: dict[str, tuple[str, ...]] = {}
    for number, call in enumerate(rubric.calls):
        key = f"calls[{number}]"
        if not _NAME.fullmatch(call.id) or call.id in (c.id for c in rubric.calls[:number]):
            raise _wrong(f"{key}.id", "a lower-case name that no other call has", call.id)
        for question, word in call.when.items():
            if word not in asked.get(question, ()):
                raise _wrong(f"{key}.when.{question}", f"an answer of an earlier call ({sorted(asked)})", word)
        _check_answers(key, call, asked)
        _check_entails(key, call)
        asked.update(call.answers)
    if not rubric.criteria:
        raise _wrong("calls", "an answer for at least one criterion", "questions that entail nothing")
    if set(rubric.success) - set(rubric.criteria) or not rubric.success:
        raise _wrong("success", f"some of what the calls decide ({list(rubric.criteria)})", f"{list(rubric.success)}")
    _check_rules(rubric)


def _check_rules(rubric: Rubric) -> None:
    bases = rubric.rules.applies_only_with
    rules = [(a, (b,)) for a, b in bases.items()] + list(rubric.rules.requires.items())
    for first, others in rules:
        if {first, *others} - set(rubric.criteria):
            raise _wrong("rules", f"criteria out of {list(rubric.criteria)}", [first, *others])
    answers = {f"{q}={word}" for call in rubric.calls for q, words in call.answers.items() for word in words}
    for given, then in rubric.rules.overrules.items():
        if given not in answers or set(then) - set(rubric.criteria) or not set(then.values()) <= set(WORDS):
            raise _wrong("rules.overrules", "an answer 'question=word', and criteria with a word each", {given: then})
    for first in bases:
        seen, at = {first}, bases[first]
        while at in bases and at not in seen:
            seen.add(at)
            at = bases[at]
        if at in seen:
            raise _wrong("rules.applies_only_with", "criteria that do not wait for each other", sorted(seen))


def _check_answers(key: str, call: Call, asked: Mapping[str, tuple[str, ...]]) -> None:
    if not call.answers:
        raise _wrong(f"{key}.answers", "at least one question", "none")
    for question, words in call.answers.items():
        _check_name(f"{key}.answers.{question}", question)
        if question == REASON or question in asked:
            raise _wrong(f"{key}.answers.{question}", f"a new name other than {REASON!r}", question)
        if len(words) < 2 or len(set(words)) != len(words) or not set(words) <= set(WORDS):
            raise _wrong(f"{key}.answers.{question}", f"at least two of {WORDS}", list(words))


def _check_entails(key: str, call: Call) -> None:
    for given, then in call.entails.items():
        question, _, word = given.partition("=")
        if word not in call.answers.get(question, ()):
            raise _wrong(f"{key}.entails", "keys 'question=word' of this call's own answers", given)
        for criterion in then:
            _check_name(f"{key}.entails.{given}", criterion)
        if REASON in then or not set(then.values()) <= set(WORDS):
            raise _wrong(f"{key}.entails.{given}", f"criteria with one of {WORDS}", dict(then))


def _check_name(key: str, criterion: str) -> None:
    try:
        check_criterion(criterion)
    except SpecError as error:
        raise RubricError(f"{key}: {error}") from None
