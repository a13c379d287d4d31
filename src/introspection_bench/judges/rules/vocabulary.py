"""Which words are English: a model that falls apart writes words that nobody knows."""

from __future__ import annotations

from functools import cache, lru_cache

from ...mentions.text import listed

#: Words of this field, and of talk about models, that the dictionary (of film subtitles) lacks.
_FIELD = listed(
    """
    interpretability pretrained pretraining finetuned finetuning chatbot chatbots hyperparameter hyperparameters
    tokenizer tokenizers tokenization tokenized embeddings embedding activations activation logits logit
    autoregressive llm llms nlp ai ais api apis gpu gpus gpt chatgpt openai anthropic claude llama qwen mistral
    gemma deepseek alibaba codellama parameterized unsupervised preprocessing introspect introspective
    introspectively dataset datasets metacognition metacognitive steerable prompt prompts prompted backpropagation
    softmax multimodal neuroscience online email emails website websites emoji emojis blog internet smartphone lol
    wasn weren ok okay hmm hm um uh ah vs etc programed dialog judgement behaviour behaviours colour colours
    recognise analyse realise generalise metadata roleplay assistive pangram pangrams quantized subword subwords
    transformer transformers perceptual attentional representational conversational
    """
)
_ENDINGS = ("s", "es", "ed", "d", "ing", "ly", "al", "ally", "ness", "ity", "able", "ability", "er", "ers")
_BRITISH = (
    ("our", "or"),
    ("is", "iz"),
    ("ys", "yz"),
    ("sc", "sk"),
    ("ll", "l"),
    ("tre", "ter"),
    ("ogue", "og"),
    ("ae", "e"),
)
_BEGINNINGS = ("un", "re", "non", "pre", "in", "im", "dis", "mis", "over", "under", "out", "inter", "sub", "self", "co")
_CONTRACTED = listed("s re ve ll d m")


#: Words of one or two letters; the dictionary's own are mostly abbreviations.
_SHORT = listed(
    """
    a i am an as at be by do go he hi if in is it me my no of oh on or so to up us we ah ha ai ok tv id vs dr mr ms st
    pm uk eu eg ie re ex ad um uh hm mm pi la de
    """
)


@cache
def _dictionary() -> frozenset[str]:
    from spellchecker import SpellChecker  # half a second, spent only where something is judged

    return frozenset(SpellChecker(language="en", distance=1).word_frequency.dictionary)


@lru_cache(maxsize=100_000)
def is_word(word: str) -> bool:
    """Whether a word (lower case, straight apostrophes) is English, inflected and derived forms included.

    The dictionary is that of ``pyspellchecker``, with the words of this field. A contraction is known by its ending:
    "don'or" is none.
    """
    if len(word) <= 2:
        return len(word) == 1 or word in _SHORT
    if _known(word):
        return True
    if "'" in word:
        head, _, tail = word.rpartition("'")
        return tail in _CONTRACTED and _known(head)
    for ending in _ENDINGS:
        if word.endswith(ending) and len(word) - len(ending) >= 3:
            root = word[: -len(ending)]
            if _known(root) or _known(root + "e") or _known(root + "y"):
                return True
            if len(root) > 3 and root[-1] == "i" and _known(root[:-1] + "y"):
                return True
    return any(
        word.startswith(beginning) and len(word) - len(beginning) >= 4 and _known(word[len(beginning) :])
        for beginning in _BEGINNINGS
    )


def _known(word: str) -> bool:
    if word in _FIELD or word in _dictionary():
        return True
    # The dictionary spells as Americans do.
    return any(british in word and word.replace(british, american) in _dictionary() for british, american in _BRITISH)
