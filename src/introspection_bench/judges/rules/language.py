"""Whether a reply can be read at all: these rules know English only."""

from __future__ import annotations

from collections.abc import Sequence

from ...mentions.text import FUNCTION_WORDS, Word, listed, scripts
from .vocabulary import is_word

#: The commonest grammar words of other languages in Latin script, to tell a foreign text from a broken one.
_FOREIGN_WORDS = listed("""
    le la les des du de et est une un je ne pas que qui dans pour sur avec mon ce cette il elle nous vous au aux
    el los las del y es una yo no que en por para con mi este esta se lo su al muy pero como
    der die das und ist ein eine ich nicht zu den dem mit auf für im von sich es auch wie aber habe
    il lo gli di e è un una io non che per con sono mi questo questa nel della
    o os as do da e é um uma eu não que em para com meu isso está
    de het een en is ik niet van op te dat met voor zijn maar
    och är jag inte att det som på en ett med för av
    """) - {"in", "as", "is", "do", "no", "me", "a", "i"}


def unreadable(text: str, words: Sequence[Word]) -> str | None:
    """Return why the rules can't read this reply (another script or language), or None where they can."""
    letters = scripts(text)
    total = letters.total()
    if total < 8:
        return None
    name, most = letters.most_common(1)[0]
    if name != "LATIN" and most >= 0.7 * total:
        return f"the reply is in {name.title()} script, and these rules read English only"
    if len(words) >= 6:
        seen = [w.lower for w in words if w.lower in _FOREIGN_WORDS]
        foreign = len(seen) / len(words)
        unknown = sum(len(w.text) > 2 and not is_word(w.lower) for w in words) / len(words)
        english = sum(w.lower in FUNCTION_WORDS for w in words) / len(words)
        mostly = unknown >= 0.5 and foreign >= 0.12 and len(set(seen)) >= 2 and len(words) <= 60
        if mostly or (foreign >= 0.25 and foreign > 2 * english and len(set(seen)) >= 3):
            return "the reply is in another language than English, the only one these rules read"
    return None
