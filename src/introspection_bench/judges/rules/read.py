"""A reply as the rules read it, once: its own words and sentences, where it names the concept, what it states."""

from __future__ import annotations

import attrs

from ...mentions.mind import denies_mind
from ...mentions.naming import Mention, find_mentions
from ...mentions.text import Sentence, Word, read_sentences, read_words
from ...mentions.turns import own_part
from ..base import Case
from .candidates import Context
from .claims import asks_yes_or_no, echoes_of, find_claims, quotes_of
from .statements import Claim


@attrs.frozen
class ReadReply:
    """A case's reply, read.

    ``words`` are all of its words, ``own`` the text before a turn that the model made up itself; the rest is of that.
    """

    words: list[Word]
    own: str
    sentences: list[Sentence]
    mentions: list[Mention]
    context: Context
    claims: list[Claim]

    @classmethod
    def of(cls, case: Case) -> ReadReply:
        """Read a case's reply."""
        text, words = case.reply, read_words(case.reply)
        # What stands behind a turn that the model made up itself is no part of its answer.
        own = text[: own_part(text)]
        mine = words if len(own) == len(text) else [w for w in words if w.stop <= len(own)]
        sentences = read_sentences(own, mine)
        echoed = echoes_of(mine, case.question)
        mentions = find_mentions(own, mine, case.concept.names, echoed)
        context = Context(
            yes_or_no=asks_yes_or_no(case.question),
            echoed=echoed,
            named=frozenset(m.start for m in mentions),
            quoted=quotes_of(own, mine),
        )
        return cls(words, own, sentences, mentions, context, find_claims(own, sentences, context))

    @property
    def denies(self) -> bool:
        """Whether the reply, coherent or not, denies noticing anything, or having a mind, and claims nothing."""
        stated = {claim.kind for claim in self.claims if not claim.bare and not claim.hedged}
        return "claim" not in stated and ("denial" in stated or denies_mind(self.sentences) is not None)
