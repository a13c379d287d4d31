"""How likely each of a few words is as what a causal language model says next."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import attrs
import torch
from torch import Tensor

from ...freezing import frozen_ints, frozen_mapping
from ...injectors.hf.caches import common_prefix, select
from ...injectors.hf.limits import limits_of

Tokens = tuple[int, ...]

#: A spelling of several tokens whose first has less probability than this has less than this itself: taken as none.
NEGLIGIBLE = 1e-4
#: Relative error of logits that rounding alone may make; what a wrong cache does is of the size of 1.
_ROUNDING = {torch.float32: 0.01, torch.float64: 0.01}
_ROUNDING_OF_HALVES = 0.15


@attrs.frozen
class Ask:
    """A prompt's token ids, and for each word the token sequences that spell it; no sequence begins another."""

    prompt: Tokens = attrs.field(converter=frozen_ints)
    words: Mapping[str, frozenset[Tokens]] = attrs.field(converter=frozen_mapping, hash=False)

    @property
    def sequences(self) -> list[Tokens]:
        """All spellings of all words."""
        return sorted(sequence for spelt in self.words.values() for sequence in spelt)

    @property
    def positions(self) -> int:
        """Most tokens that are read at once."""
        return len(self.prompt) + max(map(len, self.sequences)) - 1


def spellings(tokenizer: Any, word: str, vocabulary: int | None = None) -> frozenset[Tokens]:
    """Return the token sequences that spell a word: lower case, capitalised or upper case, after a space or not.

    Besides what the tokenizer makes of these, every single token that reads as the word. Ids from ``vocabulary`` on,
    which the model has no logit for, and special tokens, such as that for the unknown, spell nothing.
    """
    forms = dict.fromkeys((word, word.lower(), word.capitalize(), word.upper()))
    texts = [lead + form for form in forms for lead in ("", " ")]
    found = {tuple(tokenizer(text, add_special_tokens=False)["input_ids"]) for text in texts}
    for token, index in tokenizer.get_vocab().items():
        if word in token.casefold() and tokenizer.decode([index]).strip().casefold() == word:
            found.add((index,))
    special = special_ids(tokenizer)
    return frozenset(s for s in found if s and not special & set(s) and (vocabulary is None or max(s) < vocabulary))


def special_ids(tokenizer: Any) -> frozenset[int]:
    """Return the ids of the tokens that are control marks and no text."""
    added = {index for index, token in tokenizer.added_tokens_decoder.items() if token.special}
    return frozenset(added | set(tokenizer.all_special_ids))


class NextWords:
    """Reads word probabilities out of one model; what prompts begin with in common is run once.

    ``asks`` are those of one case of the kind that will come, ``others`` prompts of other cases; what all begin with
    is run once for all cases to come. Where the model, continued from a cache, gives other logits for ``asks`` than in
    one pass, nothing is shared (``shares``): slower, and right. Rows of a batch are padded on the right, which no token
    of theirs sees.
    """

    def __init__(self, model: Any, *, batch_size: int, asks: Sequence[Ask], others: Sequence[Tokens]) -> None:
        self._model = model
        self._device = model.get_input_embeddings().weight.device
        self._batch_size = batch_size
        self._keeps = "logits_to_keep" in inspect.signature(model.forward).parameters
        self._switch = limits_of(model.config).switch
        self._stem = asks[0].prompt[: common_prefix([*(ask.prompt for ask in asks), *others])]
        self._stem_cache: Any = None
        self.shares = self._agrees(asks[:2])

    def probabilities(self, asks: Sequence[Ask]) -> list[dict[str, float]]:
        """Return for each prompt the probability of each of its words, by any of its spellings, as what comes next.

        NaN where the model's logits are not finite. All prompts should begin alike.
        """
        found: list[dict[Tokens, float]] = [{} for _ in asks]
        longer: list[list[Tokens]] = [[] for _ in asks]
        with torch.inference_mode():
            shared, cache = self._beginning(asks, sharing=self.shares)
            for number, _, logs in self._logs(asks, [(n, ()) for n in range(len(asks))], shared, cache):
                for sequence in asks[number].sequences:
                    first = float(logs[0, sequence[0]].exp())
                    if len(sequence) > 1 and not first < NEGLIGIBLE:
                        longer[number].append(sequence)
                    else:
                        found[number][sequence] = first if len(sequence) == 1 else 0.0
            rows = [(number, stem) for number, sequences in enumerate(longer) for stem in _stems(sequences)]
            for number, stem, logs in self._logs(asks, rows, shared, cache):
                for sequence in longer[number]:
                    if sequence[:-1] == stem[: len(sequence) - 1]:
                        each = [logs[place, token] for place, token in enumerate(sequence)]
                        found[number][sequence] = float(torch.stack(each).sum().exp())
        return [
            {word: sum(by_sequence[s] for s in sorted(spelt)) for word, spelt in ask.words.items()}
            for ask, by_sequence in zip(asks, found, strict=True)
        ]

    def _logs(
        self, asks: Sequence[Ask], rows: Sequence[tuple[int, Tokens]], shared: int, cache: Any
    ) -> Iterator[tuple[int, Tokens, Tensor]]:
        """Yield (index of the prompt, stem, log-probabilities (stem + 1, vocabulary) from the prompt's end on).

        A row is a prompt's index and the stem that is read behind it; ``cache`` holds the ``shared`` first tokens.
        """
        size = self._batch_size if shared else 1  # see _beginning
        for start in range(0, len(rows), size):
            some = rows[start : start + size]
            begins = [len(asks[number].prompt) - 1 - shared for number, _ in some]
            tails = [(*asks[number].prompt[shared:], *stem) for number, stem in some]
            logits = self._run(tails, min(begins), cache)
            for (number, stem), begin, row in zip(some, begins, logits, strict=True):
                wanted = row[begin - min(begins) :][: len(stem) + 1]
                yield number, stem, torch.log_softmax(wanted.float(), dim=-1)

    def _beginning(self, asks: Sequence[Ask], *, sharing: bool) -> tuple[int, Any]:
        """Return how many tokens the prompts share, and their cache; 0 and None where each row is run by itself."""
        # Beyond the switch everything is encoded in another way, a shorter neighbour in the batch and its cache too.
        longest = max(ask.positions for ask in asks)
        shared = common_prefix([ask.prompt for ask in asks])
        if not sharing or not shared or (self._switch is not None and longest > self._switch):
            return 0, None
        ids, length = asks[0].prompt[:shared], len(self._stem)
        if not 0 < length < shared or ids[:length] != self._stem:
            return shared, self._cache(ids, None)
        if self._stem_cache is None:
            self._stem_cache = self._cache(self._stem, None)
        return shared, self._cache(ids[length:], select(self._stem_cache, [0]))

    def _run(self, tails: Sequence[Tokens], first: int, cache: Any) -> Tensor:
        """Return the logits (rows, positions, vocabulary) behind a cache, from the tails' position ``first`` on."""
        width = max(map(len, tails))
        padded = torch.tensor([[*t, *[0] * (width - len(t))] for t in tails], device=self._device)
        keep = {"logits_to_keep": width - first} if self._keeps else {}
        own = None if cache is None else select(cache, [0] * len(tails))
        logits = self._model(input_ids=padded, past_key_values=own, use_cache=own is not None, **keep).logits
        kept: Tensor = logits[:, -(width - first) :]
        return kept

    def _cache(self, ids: Tokens, cache: Any) -> Any:
        tokens = torch.tensor([ids], device=self._device)
        return self._model.base_model(input_ids=tokens, past_key_values=cache, use_cache=True).past_key_values

    def _agrees(self, asks: Sequence[Ask]) -> bool:
        rows: list[tuple[int, Tokens]] = [(n, ()) for n in range(len(asks))]
        with torch.inference_mode():
            alone = [logs for _, _, logs in self._logs(asks, rows, 0, None)]
            try:
                together = [logs for _, _, logs in self._logs(asks, rows, *self._beginning(asks, sharing=True))]
            except Exception:  # a model without a cache that can be continued, or rows be taken of, raises anything
                return False
        worst = max(float((a - b).norm() / (b - b.mean()).norm()) for a, b in zip(together, alone, strict=True))
        return worst <= _ROUNDING.get(self._model.dtype, _ROUNDING_OF_HALVES)


def _stems(sequences: Iterable[Tokens]) -> list[Tokens]:
    """Return what has to be read behind a prompt, so that each sequence's last token is the next one somewhere."""
    stems = sorted({sequence[:-1] for sequence in sequences})
    return [a for a in stems if not any(len(a) < len(b) and b[: len(a)] == a for b in stems)]
