"""Speed of the torch injector against plain, uninjected ``model.generate`` at the same batch, in one run.

    python benchmarks/torch_speed.py                      # SmolLM2-135M on this machine's CPU
    python benchmarks/torch_speed.py --shape 1b --device cuda --dtype bfloat16 --trials 64 --tokens 100

Both sides sample every reply to its full length (end-of-turn tokens are switched off), so that they make the same
number of tokens. The plain side prefills every row, as ``generate`` does; ours shares the prefill of the cell.
Repeats alternate. Given are the best time of each (other work on a shared machine only adds to it) and the median.
"""

from __future__ import annotations

import argparse
import platform
import statistics
import time
from datetime import UTC, datetime

import numpy as np
import torch
from gpu_vllm import SHAPES

import introspection_bench as ib
from introspection_bench.demo_model import smollm2_path
from introspection_bench.injectors.hf.stopping import EndTokens, ReplyReader
from introspection_bench.injectors.torch.injector import TorchInjector
from introspection_bench.vectors import ConceptVector, Provenance


def one_billion():
    """A Llama of 1B shape (that of Llama-3.2-1B) with random weights: speed does not depend on them."""
    from transformers import LlamaConfig, LlamaForCausalLM

    from introspection_bench.testing import tiny_tokenizer

    config = LlamaConfig(
        vocab_size=128_256,
        tie_word_embeddings=True,
        **SHAPES["1b"],
    )
    return LlamaForCausalLM(config), tiny_tokenizer()


def synchronised(device):
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", choices=["smollm2", "1b"], default="smollm2")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--trials", type=int, default=20)
    parser.add_argument("--tokens", type=int, default=60)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    dtype = getattr(torch, options.dtype)
    if options.shape == "1b":
        torch.manual_seed(0)
        with torch.device(options.device):
            model, tokenizer = one_billion()
        injector = TorchInjector.open(model.to(dtype).eval(), tokenizer=tokenizer, batch_size=options.trials)
    else:
        injector = TorchInjector.open(
            str(smollm2_path()), dtype=options.dtype, device=options.device, batch_size=options.trials
        )
    injector._reader = ReplyReader(injector.tokenizer, EndTokens({}))
    injector._model.generation_config.eos_token_id = None
    prompt = ib.LINDSEY.render(injector.tokenizer)
    info = injector.model
    values = np.random.default_rng(0).standard_normal(info.hidden_size)
    vector = ConceptVector(values, "x", 0, Provenance("random", info.name, info.fingerprint, "", 0, -1, 1.0, None))
    injection = ib.Injection(vector, ib.Depth(2 / 3).layer(info.n_layers), "0.1 residual", "from(trial)")
    sampling = ib.Sampling(max_new_tokens=options.tokens)
    requests = [ib.Request.of(prompt, [injection], sampling, seed) for seed in range(options.trials)]
    ids = torch.tensor([prompt.token_ids] * options.trials, device=options.device)

    def ours():
        return sum(len(c.reply.token_ids) for c in injector.generate(requests))

    def plain():
        with torch.inference_mode():
            out = injector._model.generate(
                ids,
                attention_mask=torch.ones_like(ids),
                max_new_tokens=options.tokens,
                do_sample=True,
                temperature=1.0,
                top_p=1.0,
                top_k=0,
                pad_token_id=0,
            )
        return out[:, ids.shape[1] :].numel()

    seconds = {ours: [], plain: []}
    tokens = {run: run() for run in seconds}  # also the warm-up
    for _ in range(options.repeats):
        for run, times in seconds.items():
            start = synchronised(options.device)
            run()
            times.append(synchronised(options.device) - start)
    where = (
        torch.cuda.get_device_name()
        if options.device == "cuda"
        else f"{platform.machine()}, {torch.get_num_threads()} threads"
    )
    print(f"{datetime.now(UTC):%Y-%m-%d}, {where}, torch {torch.__version__}, {info.name}, {info.dtype}")
    print(
        f"{options.trials} trials x {options.tokens} tokens, prompt {len(prompt.token_ids)}, {options.repeats} repeats"
    )
    speeds = {run: [tokens[run] / found(seconds[run]) for found in (min, statistics.median)] for run in seconds}
    for name, run in (("injected, shared prefill", ours), ("plain generate", plain)):
        best, median = speeds[run]
        print(f"{name:26} {tokens[run]} tokens: best {best:.1f} tokens/s, median {median:.1f} tokens/s")
        print(f"{'':26} {' '.join(f'{t:.2f}' for t in seconds[run])} s")
    ratios = [o / p for o, p in zip(speeds[ours], speeds[plain], strict=True)]
    print(f"ratio of speeds: best {ratios[0]:.2f}, median {ratios[1]:.2f}")


if __name__ == "__main__":
    main()
