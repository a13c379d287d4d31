"""The optimisation: batches of examples, the loss, and its steps."""

from __future__ import annotations

import math
import random
import time
from collections.abc import Iterator, Sequence
from typing import Any

import attrs
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, kl_div
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from introspection_bench.errors import ModelError, explain

from .cast import Role
from .examples import Drawing, Example, chat
from .steering import sample, steered
from .vectors import Vectors, padded

_WARM_UP, _CLIP, _FLOOR = 40, 1.0, 0.05
_CHAT_ROWS, _CHAT_WEIGHT, _CHAT_TOKENS = 8, 4.0, 48
#: From so many steps on, it is known how many fit into the time.
_TIMED = 60
_LOGGED = 50

#: A prompt and a reply to it, as token ids.
Exchange = tuple[list[int], list[int]]


@attrs.frozen
class Progress:
    """The loss of one step: cross-entropy a reply (nats), divergence a token (nats), and seconds since the first."""

    step: int
    cross_entropy: float
    divergence: float
    seconds: float


class _Batches(IterableDataset[list[Example]]):
    """Endless batches, each worker with a seed of its own."""

    def __init__(self, role: Role, words: list[str], tokenizer: Any, seed: int) -> None:
        self.made_of, self.seed, self.rows = (role, words, tokenizer), seed, role.batch

    def __iter__(self) -> Iterator[list[Example]]:
        worker = get_worker_info()
        drawing = Drawing(*self.made_of, seed=self.seed * 1000 + (worker.id if worker else 0))
        while True:
            yield [drawing.example() for _ in range(self.rows)]


def _batches(role: Role, words: list[str], tokenizer: Any, seed: int, device: torch.device) -> Iterator[list[Example]]:
    # Examples are drawn while the GPU computes; two workers draw otherwise than none, so this is part of the recipe.
    workers = 2 if device.type == "cuda" else 0
    return iter(DataLoader(_Batches(role, words, tokenizer, seed), batch_size=None, num_workers=workers))


def chat_replies(model: Any, tokenizer: Any, words: Sequence[str], count: int, seed: int) -> list[Exchange]:
    """Return the model's own replies to requests, those that are empty left out."""
    prompts = [
        list(
            tokenizer.apply_chat_template(
                [{"role": "user", "content": text}], add_generation_prompt=True, return_dict=True
            )["input_ids"]
        )
        for text in chat(words, count, seed)
    ]
    replies = sample(model, tokenizer, prompts, new_tokens=_CHAT_TOKENS, seed=seed)
    made = [tokenizer(reply, add_special_tokens=False)["input_ids"] for reply in replies]
    found = [(p, r) for p, r in zip(prompts, made, strict=True) if r]
    if not found:
        raise ModelError(
            explain(
                "model",
                required="a reply to some of the requests of training/texts.py",
                got=f"{count} empty ones",
                hint="What keeps it near its base is taken on them.",
            )
        )
    return found


@torch.no_grad()
def head_makes_logits(base: Any) -> bool:
    """Whether a model's logits are its head's output: not so where they are scaled or capped (Granite, Gemma 2)."""
    ids = torch.tensor([[0, 1, 2]], device=base.device)
    whole = base(input_ids=ids, use_cache=False).logits
    own = base.get_output_embeddings()(base.base_model(input_ids=ids, use_cache=False).last_hidden_state)
    off = float((own.float() - whole.float()).norm() / whole.float().norm())
    return off <= 4 * torch.finfo(whole.dtype).eps


def reply_logits(model: Any, rows: Sequence[Exchange], fill: int, *, by_head: bool) -> tuple[Tensor, Tensor]:
    """Return the logits that predict each reply token (tokens, vocabulary), float32, and those tokens.

    ``by_head`` makes logits at replies alone, which saves most of their memory; see :func:`head_makes_logits`.
    """
    ids = padded([[*p, *r] for p, r in rows], fill, model.device)
    row = torch.tensor([i for i, (_, r) in enumerate(rows) for _ in r], device=model.device)
    place = torch.tensor([len(p) + k - 1 for p, r in rows for k in range(len(r))], device=model.device)
    base = model.get_base_model()
    if by_head:
        states = base.base_model(input_ids=ids, use_cache=False).last_hidden_state[row, place]
        logits = base.get_output_embeddings()(states)
    else:
        logits = base(input_ids=ids, use_cache=False).logits[row, place]
    return logits.float(), ids[row, place + 1]


def rate(step: int, steps: int) -> float:
    """Return the share of the learning rate at a step: a linear rise, then a cosine down to a floor."""
    return min(1.0, (step + 1) / _WARM_UP) * (_FLOOR + (1 - _FLOOR) * 0.5 * (1 + math.cos(math.pi * step / steps)))


def fitting(steps: int, spent: float, most_seconds: float) -> int:
    """Return how many of ``steps`` fit into the time, where the first 60 took ``spent`` seconds."""
    return max(min(steps, _TIMED + int((most_seconds - spent) / (spent / _TIMED))), _TIMED + 1)


class Training:
    """One role's adapter in training: its batches, its losses, its optimiser."""

    def __init__(self, role: Role, model: Any, tokenizer: Any, vectors: Vectors, seed: int) -> None:
        self.role, self.model, self.vectors = role, model, vectors
        self.fill = tokenizer.eos_token_id
        self.draw = torch.Generator(model.device).manual_seed(seed)
        words = list(vectors.words)
        with model.disable_adapter():
            self.chats = chat_replies(model, tokenizer, words, role.chats, seed)
        self.by_head = head_makes_logits(model.get_base_model())
        self.pick = random.Random(seed)
        self.parameters = [p for p in model.parameters() if p.requires_grad]
        self.optimiser = torch.optim.AdamW(self.parameters, lr=role.learning_rate, weight_decay=0.0, betas=(0.9, 0.98))
        self.batches = _batches(role, words, tokenizer, seed, model.device)

    def reply_loss(self, batch: Sequence[Example]) -> Tensor:
        """Return the cross-entropy of replies under their injections, summed over tokens, averaged over replies."""
        rows = [self.vectors.injected(e.steering, e.start, e.stop, self.draw) for e in batch]
        with steered(self.model, rows):
            logits, wanted = self._logits([(list(e.prompt), list(e.reply)) for e in batch])
        return cross_entropy(logits, wanted, reduction="sum") / len(batch)

    def divergence(self) -> Tensor:
        """Return the mean KL divergence a token from the base model, on some of the base's own replies."""
        rows = self.pick.sample(self.chats, min(_CHAT_ROWS, len(self.chats)))
        with torch.no_grad(), self.model.disable_adapter():
            before, _ = self._logits(rows)
        after, _ = self._logits(rows)
        return kl_div(after.log_softmax(-1), before.log_softmax(-1), log_target=True, reduction="batchmean")

    def step(self, loss: Tensor, share: float) -> None:
        """Move the adapter down the loss by a share of the learning rate."""
        for group in self.optimiser.param_groups:
            group["lr"] = self.role.learning_rate * share
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.parameters, _CLIP)
        self.optimiser.step()
        self.optimiser.zero_grad(set_to_none=True)

    def _logits(self, rows: Sequence[Exchange]) -> tuple[Tensor, Tensor]:
        return reply_logits(self.model, rows, self.fill, by_head=self.by_head)


def train(
    role: Role, model: Any, tokenizer: Any, vectors: Vectors, *, seed: int, most_seconds: float | None = None
) -> list[Progress]:
    """Train the adapter of a peft model in place, and return the log.

    ``most_seconds`` shortens the schedule where the role's steps don't fit: then another adapter comes out than
    without it, which is printed.
    """
    training = Training(role, model, tokenizer, vectors, seed)
    log: list[Progress] = []
    begun, steps, step, kept = time.monotonic(), role.steps, 0, torch.zeros(())
    while step < steps:
        if step == _TIMED and most_seconds is not None:
            steps = fitting(steps, time.monotonic() - begun, most_seconds)
            if steps < role.steps:
                print(f"{role.name} {seed}: {steps} of {role.steps} steps fit into {most_seconds:.0f} s", flush=True)
        named = training.reply_loss(next(training.batches))
        loss = named
        if role.kl_weight and step % role.kl_every == 0:
            kept = training.divergence()
            loss = loss + role.kl_weight * _CHAT_WEIGHT * role.kl_every * kept
        training.step(loss, rate(step, steps))
        step += 1
        if step % _LOGGED == 0 or step == steps:
            log.append(
                Progress(step, round(named.item(), 4), round(kept.item(), 4), round(time.monotonic() - begun, 1))
            )
            print(role.name, seed, *attrs.astuple(log[-1]), flush=True)
    return log
