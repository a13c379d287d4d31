"""How a batch's progress is told while it is sampled."""

from __future__ import annotations

import attrs

from introspection_bench import RenderedPrompt, Request, Sampling


def test_each_step_tells_the_tokens_of_replies_that_go_on_and_all_together_are_the_replies_own(injector, monkeypatch):
    prompt = RenderedPrompt((5, 6, 7), "", {})
    requests = [Request.of(prompt, (), Sampling(5.0, max_new_tokens=12), seed=seed) for seed in range(6)]
    silent = list(injector.generate(requests))
    # Tokens that some of these replies hold: as ends, replies come to end at different steps.
    ends = {completion.reply.token_ids[3] for completion in silent[:3]}
    told_ends = attrs.evolve(injector._reader.ends, named={"tokenizer": tuple(ends)})
    monkeypatch.setattr(injector, "_reader", attrs.evolve(injector._reader, ends=told_ends))
    expected = [c.reply.token_ids for c in injector.generate(requests)]
    told = []
    monkeypatch.setattr(injector, "on_tokens", told.append)
    heard = [c.reply.token_ids for c in injector.generate(requests)]
    assert heard == expected
    assert len({len(ids) for ids in heard}) > 1
    assert told == [sum(len(ids) > step for ids in heard) for step in range(max(map(len, heard)))]
