"""From a written prompt to token ids, and from places in its text to tokens."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from .errors import AnchorNotFoundError, ScaffoldError, explain
from .prompts import Tokenizer

#: A private-use character, which stands in no turn: put before an anchor, it shows where the template leaves it.
MARK = "\ue000"


def end_of_turns(text: str, system: str | None, turns: Sequence[str]) -> int:
    """Return where the last turn ends in the rendered text.

    Raises unless the system turn and every turn, in order, stand in it as they were written.
    """
    parts, cursor = [("the system turn", system or "")], 0
    parts += [(f"turn {index}", content) for index, content in enumerate(turns)]
    for name, content in parts:
        # Many templates trim a turn's outer white space (Llama 3, Gemma).
        at = text.find(content.strip(), cursor)
        if at < 0:
            raise AnchorNotFoundError(
                explain(
                    name,
                    required="its text unaltered in the rendered prompt",
                    got=content,
                    hint="The chat template rewrites or drops it; use template='transcript', or put a system "
                    "turn's text into the first user turn.",
                )
            )
        if name != "the system turn":  # which some templates (Mistral's) put before the last user turn
            cursor = at + len(content.strip())
    return cursor


def marked_place(name: str, marked: str, text: str) -> int:
    """Return where the anchor begins in ``text``: where the mark stands, if nothing but the mark is different.

    Searching the text for the turn's words instead would find them in a default system prompt or a role's name.
    """
    place = marked.find(MARK)
    if place < 0 or marked[:place] + marked[place + 1 :] != text:
        raise AnchorNotFoundError(
            explain(
                f"anchor {name!r}",
                required="text that the chat template leaves in place",
                got="one that it trims or rewrites",
                hint="White space at the edge of a turn is often trimmed: let the anchor begin with a word.",
            )
        )
    return place


def place_in(anchor: str, text: str, turn: int | str, content: str) -> int:
    """Return where an anchor's text begins in its turn's content; raises unless it stands there exactly once."""
    first, last = content.find(text), content.rfind(text)  # count() would miss overlaps
    if first < 0 or first != last:
        raise AnchorNotFoundError(
            explain(
                f"anchor {anchor!r}",
                required=f"text that occurs exactly once in turn {turn}",
                got=f"{text!r}, which occurs {'nowhere' if first < 0 else 'more than once'}",
                hint="Lengthen the anchor's text until it is unique.",
            )
        )
    return first


def tokenise(
    tokenizer: Tokenizer, text: str, *, special_tokens: bool = False
) -> tuple[tuple[int, ...], Sequence[tuple[int, int]]]:
    """Return the token ids of a text that holds its special tokens itself, and the characters of each token.

    With ``special_tokens`` the tokenizer adds its own, which have no characters.
    """
    try:
        encoded = tokenizer(text, add_special_tokens=special_tokens, return_offsets_mapping=True)
    except (NotImplementedError, TypeError, ValueError) as error:  # what tokenizers without offsets raise
        raise ScaffoldError(
            explain(
                "tokenizer",
                required="a fast tokenizer (one that gives character offsets)",
                got=f"{type(tokenizer).__name__}: {error}",
                hint="Load it with AutoTokenizer; a tokenizer.json in the model's folder makes a fast one.",
            )
        ) from error
    return tuple(encoded["input_ids"]), encoded["offset_mapping"]


def token_at(name: str, character: int, offsets: Iterable[tuple[int, int]]) -> int:
    """Return the index of the token that holds a character; raises for the anchor called ``name``."""
    for index, (start, stop) in enumerate(offsets):
        if start <= character < stop:
            return index
    raise AnchorNotFoundError(
        explain(
            f"anchor {name!r}",
            required="a token that holds its first character",
            got=f"none at character {character}",
            hint="The tokenizer drops or normalises that text; choose another anchor text.",
        )
    )
