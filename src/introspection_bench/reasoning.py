"""Telling a reply's reasoning and its answer apart, by the markers that models write around their reasoning.

Two families: pairs around the reasoning (``<think>…</think>`` and its kin), and named channels (OpenAI's harmony
format: ``<|channel|>analysis<|message|>…<|end|>``, then ``<|channel|>final<|message|>…``). Where the markers
contradict each other, or the reply ends before its answer begins, it is said so and nothing is guessed.
"""

from __future__ import annotations

import re

import attrs


@attrs.frozen
class Split:
    """A reply in two parts.

    ``reasoning`` is None where no marker stands in the reply. ``unclear`` says why the two can't be told apart; then
    ``answer`` is everything that is not plainly reasoning.
    """

    answer: str
    reasoning: str | None = None
    unclear: str | None = None


_NAME = (
    r"(?:[a-z]+[:_])?"
    r"(?:think(?:ing)?(?:_process)?|thoughts?|reason(?:ing)?|scratchpad|reflection|(?:inner|internal)_monologue)"
)
_OPEN = (
    rf"<{_NAME}\s*>",  # <think>, <thinking>, <reasoning>, <seed:think>
    r"\[(?-i:THINK|THINKING|REASONING)\]",  # Magistral; "[thinking]" is a stage direction
    rf"<[|｜](?:start|begin)_(?:of_)?{_NAME}[|｜]>",  # <|START_THINKING|>, <|begin_of_thought|>
    rf"<[|｜]{_NAME}(?:_start|_begin)?[|｜]>",  # <|think_start|>
    r"◁think▷",
    r"<\|inner_prefix\|>",
    r"(?:<\|channel>|<unused94>)(?:thought\b)?",  # Gemma's
)
_CLOSE = (
    rf"</\s*{_NAME}\s*>",
    r"\[/(?-i:THINK|THINKING|REASONING)\]",
    rf"<[|｜]end_(?:of_)?{_NAME}[|｜]>",
    rf"<[|｜](?:/{_NAME}|{_NAME}_end)[|｜]>",
    r"◁/think▷",
    r"<\|inner_suffix\|>",
    r"<channel\|>|<unused95>",
)
_MARKER = re.compile(rf"(?P<close>{'|'.join(_CLOSE)})|(?P<open>{'|'.join(_OPEN)})", re.IGNORECASE)
#: What tells a closing marker from its opening one.
_SIDE = re.compile(r"/|\s|(?:start|begin|end)_(?:of_)?|_(?:start|begin|end)|_prefix|_suffix")
#: Every marker holds one of these. A search letter by letter for what most replies lack takes most of a report's time.
_SIGNS = ("<", "[", "◁")
_UNLIKE = {"<channel|>": "<|channel>", "<unused95>": "<unused94>"}

_CHANNEL = re.compile(r"<\|(?:start|channel|message|end|return|call|constrain)\|>")
_CHANNEL_END = re.compile(r"<\|(?:end|return|call)\|>")
#: Channels whose messages precede the answer.
_ASIDE = frozenset({"analysis", "commentary"})
#: What is left of harmony's markers where somebody decoded without special tokens.
_GLUED = re.compile(r"\Aanalysis(?=[A-Z\"'(<])(?P<reasoning>.*?)(?:assistantfinal(?P<answer>.*))?\Z", re.DOTALL)
#: Granite's plain text around its reasoning.
_ANNOUNCED = re.compile(
    r"\A\s*Here(?:['’]s| is) my thought process:(?P<reasoning>.*?)"
    r"(?:Here(?:['’]s| is) my response:(?P<answer>.*))?\Z",
    re.DOTALL,
)
_FENCE = "```"

ENDS_INSIDE = "the reply ends inside its reasoning, before an answer"


def is_marker(token: str) -> bool:
    """Whether a token's text is one of the markers by which :func:`split` goes."""
    return bool(_MARKER.fullmatch(token) or _CHANNEL.fullmatch(token))


def split(text: str, begun: str = "") -> Split:
    """Return a reply's two parts.

    Args:
        text: the reply, markers included.
        begun: what the prompt has written of the reply already: a marker in it opens the reasoning, too.
    """
    begun = begun[max(begun.rfind("<|start|>"), 0) :]
    if any(m in text or m in begun for m in ("<|channel|>", "<|message|>")):
        return _by_channels(text, begun if begun.startswith("<|start|>") else "")
    glued = _GLUED.match(text) or _ANNOUNCED.match(text)
    if glued and not _MARKER.search(text):
        if glued["answer"] is None:
            return Split("", glued["reasoning"], ENDS_INSIDE)
        return Split(glued["answer"].lstrip(), glued["reasoning"].strip())
    if not begun and not any(sign in text for sign in _SIGNS):
        return Split(text)
    return _by_pairs(text, begun)


def _by_pairs(text: str, begun: str) -> Split:
    inside, seen = None, False
    for marker in _MARKER.finditer(begun):
        inside, seen = (_kin(marker) if marker["open"] else None), True
    reasoning, answer, cursor = [], [], 0
    for marker in _MARKER.finditer(text):
        part, cursor = text[cursor : marker.start()], marker.end()
        if marker["open"]:
            if inside is not None:
                return Split(text, None, f"{marker.group()} opens reasoning that is open already")
            answer.append(part)
            # Models begin their reasoning on a line of its own: elsewhere an answer speaks of markers.
            if part.rpartition("\n")[2].strip() or sum(a.count(_FENCE) for a in answer) % 2:
                return Split(text, None, f"{marker.group()} stands within the answer, which may only quote it")
            inside = _kin(marker)
        else:
            # A first marker that closes: the prompt, which an imported reply lacks, has opened it. One that is known
            # has not.
            if (inside is None and (seen or begun.strip())) or (inside is not None and inside != _kin(marker)):
                return Split(text, None, f"{marker.group()} closes reasoning that it did not open")
            reasoning.append(part)
            inside = None
        seen = True
    if inside is not None:
        return Split(_joined(answer), _joined([*reasoning, text[cursor:]]), ENDS_INSIDE)
    if not reasoning:
        return Split(text)
    return Split(_joined([*answer, text[cursor:]]), _joined(reasoning))


def _kin(marker: re.Match[str]) -> str:
    """What an opening and a closing marker of one pair have in common."""
    found = marker.group().lower().replace(">thought", ">")
    return _UNLIKE.get(found) or _SIDE.sub("", found)


def _by_channels(text: str, begun: str) -> Split:
    reasoning: list[str] = []
    answer: list[str] = []
    inside = False
    # Between two messages of one reply stands <|start|>; some models leave it out behind <|end|>.
    for message in filter(str.strip, re.split(r"<\|start\|>|(?<=<\|end\|>)(?=<\|channel\|>)", begun + text)):
        header, opened, body = message.partition("<|message|>")
        role, _, channel = header.partition("<|channel|>")
        name = _CHANNEL.split(channel.strip())[0].split(" ")[0]
        if role.split(" ")[0].strip() not in ("", "assistant"):
            break  # a turn of somebody else, which the model has made up
        if not opened:
            inside = not answer
            break
        body, *rest = _CHANNEL_END.split(body, maxsplit=1)
        if _CHANNEL.search(body) or (name != "final" and name not in _ASIDE):
            return Split(text, None, f"a message in no channel that is known: {header.strip()!r}")
        (answer if name == "final" else reasoning).append(body)
        inside = name != "final" and not rest
    if inside:
        return Split(_joined(answer), _joined(reasoning), ENDS_INSIDE)
    if not answer:
        return Split(text, None, "the reply has no message in the channel 'final'")
    return Split(_joined(answer), _joined(reasoning) if reasoning else None)


def _joined(parts: list[str]) -> str:
    return "\n\n".join(stripped for part in parts if (stripped := part.strip()))
