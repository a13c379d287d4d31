"""Where a reply's own words end: a base model goes on with turns, trials and questions that it makes up itself."""

from __future__ import annotations

import re

#: A line that opens with one of these and a colon is somebody else's turn ...
_OTHER_SPEAKERS = (
    r"user|human|researcher|experimenter|interviewer|investigator|scientist|you|me|q|question|prompt|prompter|"
    r"instructor|subject|participant|operator|customer|client|student|teacher|person|host|reader"
)
#: ... and with one of these the model's own, which a reply may repeat before it speaks.
_OWN_SPEAKERS = r"assistant|ai|bot|chatbot|model|system|a|answer|response|reply"
_MARKUP = r"[ \t>*_#\[(<|-]*"
_TURN = re.compile(
    rf"^{_MARKUP}(?:"
    rf"(?:the[ \t]+)?(?P<other>{_OTHER_SPEAKERS})[ \t]*(?:\d+[ \t]*)?[\])>*_]*[ \t]*:"
    r"|(?P<trial>trial[ \t]*(?:no\.?|number|\#)?[ \t]*(?P<number>\d+)\b)"
    r"|(?P<token>(?:im_start|im_end|endoftext|end_of_text|eot_id|start_header_id|inst)\b)"
    rf"|(?P<own>{_OWN_SPEAKERS})[ \t]*[\])>*_]*[ \t]*:"
    r"|(?P<bare>\S{0,16}?(?:user|assistant|human)[ \t]*$)"
    r"|(?P<header>\#{2,}[ \t]*(?:instruction|input|human|user)\b)"
    r")"
    r"|<\|[a-z_]{2,20}\|>|</s>|\[/?INST\]|(?<=[.!?])_(?:user|human|system)\b",
    re.IGNORECASE | re.MULTILINE,
)


def own_part(text: str) -> int:
    """Return the number of characters of ``text`` that are the reply's own.

    A line that opens a turn of somebody else ("Human: ..."), a chat template's token or role ("user" alone on its
    line, debris before it or not) or a further trial ("Trial 2") ends the reply: what follows answers a question
    that nobody asked. So does a second turn of the model's own, while a first one at the very start is only its
    name. "Trial 1" and a number that the reply itself is about end nothing. Linear in the text.
    """
    asked_again = False
    for match in _TURN.finditer(text):
        leading = not text[: match.start()].strip()
        if match["trial"] is not None:
            if int(match["number"][:6]) == 1:
                continue
        elif leading and (match["own"] or match["other"] or match["bare"]) is not None:
            continue
        elif _asks_again(text, match) or (asked_again and match["own"] is not None):
            asked_again = not asked_again
            continue
        return match.start()
    return len(text)


def _asks_again(text: str, match: re.Match[str]) -> bool:
    """Whether a line only sets our own question over the answer: "Question: Do you detect an injected thought?"."""
    if (match["other"] or "").lower() not in {"q", "question", "prompt"}:
        return False
    return "inject" in text[match.end() : match.end() + 200].partition("\n")[0].lower()
