"""Broken injectors that don't do on a replay what they did before, or read something else than they say."""

# as in additions.py

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import attrs
import numpy as np
import torch
from torch import Tensor

from introspection_bench.injection import Steer
from introspection_bench.injectors.requests import Completion, Request
from introspection_bench.measures.base import Read
from introspection_bench.testing.loop import LoopRow, LoopSteer

from .base import FakeBroken, FakeLying


class FakeSamplesReplays(FakeBroken):
    """Samples a reply of the replay's length and calls it the one that was given."""

    caught_by = "replays_give_their_receipts_again"

    def forced(self, row: LoopRow, step: int, chosen: int) -> int:
        del row, step
        return chosen

    def _generate(self, requests: Sequence[Request]) -> Iterator[Completion]:
        for done in super()._generate(requests):
            forced = requests[done.index].forced
            yield done if forced is None else attrs.evolve(done, reply=attrs.evolve(done.reply, token_ids=forced))


class FakeReplaysUnsteered(FakeLying):
    """Feeds recorded tokens to the model as it is, and repeats what was asked for as receipts."""

    caught_by = "replays_give_their_receipts_again"

    def active(self, request: Request) -> Sequence[Steer]:
        return request.steers if request.forced is None else ()


class FakeSteersReplaysLikeTheOneBefore(FakeBroken):
    """Gives a replay without steers those of the last one that had some: its hooks are still on."""

    caught_by = "replays_give_their_receipts_again"
    left: Sequence[Steer] = ()

    def active(self, request: Request) -> Sequence[Steer]:
        if request.forced is None:
            return request.steers
        self.left = request.steers or self.left
        return self.left


class FakeReplaysAsPrompt(FakeLying):
    """Takes a replay's tokens for prompt, so that what steers the reply alone steers nothing, and the rest too much."""

    caught_by = "replays_give_their_receipts_again"

    def chosen(self, row: LoopRow, one: LoopSteer, at: Tensor) -> Tensor:
        inside = super().chosen(row, one, at)
        replay = row.request.forced is not None
        return inside & (at < len(row.request.prompt.token_ids)) if replay else inside


class FakeStopsReplaysEarly(FakeBroken):
    """Ends a replay at the first end token, whatever comes behind it."""

    caught_by = "replays_give_their_receipts_again"

    def _generate(self, requests: Sequence[Request]) -> Iterator[Completion]:
        ends = self._reader.ends.ids
        for done in super()._generate(requests):
            if requests[done.index].forced is not None:
                ids = done.reply.token_ids
                cut = next((n + 1 for n, token in enumerate(ids) if token in ends), len(ids))
                done = attrs.evolve(done, reply=attrs.evolve(done.reply, token_ids=ids[:cut]))  # noqa: PLW2901  # the same completion, cut
            yield done


class FakeSortsTheLayersOfReads(FakeBroken):
    """Reads layers in their own order, not in that which was asked for."""

    caught_by = "reads_of_the_stream_are_right"

    def read(self, row: LoopRow, read: Read) -> Any:
        # The first is what all checks look at; this is a fault of what comes behind it.
        alone = read is row.request.reads[0]
        return super().read(row, read if alone else attrs.evolve(read, layers=sorted(read.layers)))


class FakeReadsFromTheReply(FakeBroken):
    """Counts the positions of what it reads from where the reply begins."""

    caught_by = "reads_of_the_stream_are_right"

    def read(self, row: LoopRow, read: Read) -> Any:
        if read.positions.start == 0 or read.kind != "residuals":
            return super().read(row, read)
        whole = super().read(row, attrs.evolve(read, positions=attrs.evolve(read.positions, start=0, stop=None)))
        count = read.shape(row.processed, self.model.hidden_size)[1]
        return np.roll(whole, -len(row.request.prompt.token_ids), axis=1)[:, :count]


class FakeProductsForCosines(FakeBroken):
    """Divides by the norms of the vectors, but not by those of the stream."""

    caught_by = "reads_of_the_stream_are_right"

    def cosines(self, stream: Tensor, vectors: Sequence[Any]) -> Tensor:
        return super().cosines(stream, vectors) * stream.norm(dim=-1, keepdim=True)


class FakeLensWithoutTheNorm(FakeBroken):
    """Unembeds the stream as it is, without the final norm."""

    caught_by = "reads_of_probabilities_are_right"

    def unembed(self, stream: Tensor) -> Tensor:
        with torch.inference_mode():
            logits: Tensor = self.torch_model.get_output_embeddings()(stream)
            return logits


class FakeLensOfTheLastLayer(FakeBroken):
    """Reads the last layer, whichever is asked for."""

    caught_by = "reads_of_probabilities_are_right"

    def read(self, row: LoopRow, read: Read) -> Any:
        if read.kind != "lens":
            return super().read(row, read)
        return np.repeat(super().read(row, read)[:1], len(read.layers), axis=0)


class FakeLogprobsOfTheTokenItself(FakeBroken):
    """Takes the logits of one position later: of the token that is read, not of the next."""

    caught_by = "reads_of_probabilities_are_right"

    def read(self, row: LoopRow, read: Read) -> Any:
        found = super().read(row, read)
        return np.roll(found, -1, axis=0) if read.kind == "logprobs" else found


class FakeDistributionOfTheTokenItself(FakeBroken):
    """Takes the whole distribution one position later, which sums to 1 as well."""

    caught_by = "reads_of_probabilities_are_right"

    def read(self, row: LoopRow, read: Read) -> Any:
        found = super().read(row, read)
        return np.roll(found, -1, axis=0) if read.kind == "distribution" else found


class FakeLogitsForLogprobs(FakeBroken):
    """Hands out a distribution that was never normalised."""

    caught_by = "reads_of_probabilities_are_right"

    def read(self, row: LoopRow, read: Read) -> Any:
        found = super().read(row, read)
        return found + np.float32(0.5) if read.kind == "distribution" else found


class FakeDistributionOfHalfTheVocabulary(FakeBroken):
    """Leaves out the second half of the vocabulary, and makes the rest sum to 1."""

    caught_by = "reads_of_probabilities_are_right"

    def read(self, row: LoopRow, read: Read) -> Any:
        found = super().read(row, read)
        if read.kind != "distribution":
            return found
        rest = found[:, : found.shape[1] // 2]
        return rest - np.logaddexp.reduce(rest, axis=1, keepdims=True)


class FakeLikelihoodOfTheTokenItself(FakeBroken):
    """Scores each token by the logits that it brings about."""

    caught_by = "reads_of_probabilities_are_right"

    def following(self, ids: Sequence[int], at: int) -> int:
        return ids[at]


class FakeAddsLogarithms(FakeBroken):
    """Adds the log-probabilities of a set's tokens, not their probabilities."""

    caught_by = "reads_of_probabilities_are_right"

    def masses(self, logits: Tensor, sets: Sequence[Sequence[int]]) -> Tensor:
        logprobs = torch.log_softmax(logits.double(), dim=-1)
        parts = [logprobs[:, list(tokens)].sum(dim=-1) for tokens in sets]
        return torch.stack([*parts, torch.stack(parts).logsumexp(dim=0)], dim=-1)


class FakeNormalisesOverTheSets(FakeBroken):
    """Takes the sets that were asked for as all that there is."""

    caught_by = "reads_of_probabilities_are_right"

    def masses(self, logits: Tensor, sets: Sequence[Sequence[int]]) -> Tensor:
        found = super().masses(logits, sets)
        return found - found[:, -1:]
