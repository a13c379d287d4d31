"""Train one model of known truth: a LoRA adapter, its log, and its replies on what was held out.

    python -m training.train introspector --seed 0 --out adapters

On an H100 a role takes minutes. --model names any Hugging Face decoder; layers are those at the same depth as the
demo's, unless --layers states others.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import attrs
import torch

from introspection_bench.adapters import weights_digest
from introspection_bench.errors import LayerError, explain
from introspection_bench.model_names import resolve_name

from .adapter import adapted, save
from .cast import CAST, Role, same_depth
from .evaluate import LAYERS, evaluate, summary
from .gates import verdicts
from .optimising import train
from .vectors import Vectors
from .words import both_numbers, from_file, held_out, read

#: Fields of a role that an option of the same name changes.
_CHANGED = {"batch": int, "steps": int, "rank": int, "chats": int, "learning_rate": float}
#: So many training words are asked for in the evaluation as well.
_TRAINED = 50


def parser() -> argparse.ArgumentParser:
    """Return the command line's options."""
    options = argparse.ArgumentParser(
        "python -m training.train", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("role", choices=sorted(CAST))
    options.add_argument("--out", type=Path, required=True, help="Folder for ROLE-SEED.safetensors and ROLE-SEED.json.")
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--model", default="demo", help="demo, or a Hugging Face hub id or folder.")
    options.add_argument("--layers", type=int, nargs="+", help="Where concepts are injected, 0-based.")
    options.add_argument("--words-file", type=Path, help="Training words in place of training/words.txt.")
    for name, kind in _CHANGED.items():
        options.add_argument(f"--{name.replace('_', '-')}", type=kind, help="In place of the role's.")
    options.add_argument("--most-seconds", type=float, help="Shorten the schedule to what fits.")
    options.add_argument("--merged", type=Path, help="Folder for the whole model with the adapter merged, in float32.")
    options.add_argument("--no-evaluation", action="store_true")
    return options


def role_for(given: argparse.Namespace, n_layers: int) -> Role:
    """Return the role that options ask for, at the depths of a model with so many blocks."""
    changed = {name: getattr(given, name) for name in _CHANGED if getattr(given, name) is not None}
    role = attrs.evolve(CAST[given.role], **changed).at_depth(n_layers)
    if given.layers is None:
        return role
    if not all(0 <= layer < n_layers for layer in given.layers):
        raise LayerError(
            explain("--layers", required=f"blocks from 0 to {n_layers - 1}", got=given.layers, hint="Count from 0.")
        )
    return role.at_layers(sorted(set(given.layers)))


def evaluated_layers(given: argparse.Namespace, role: Role, n_layers: int) -> tuple[int, ...]:
    """Return the layers to look at: those that options state, else the demo's at the same depth."""
    if given.layers is not None:
        return tuple(role.layers)
    return tuple(dict.fromkeys(same_depth(layer, n_layers) for layer in LAYERS))


def main(arguments: Sequence[str] | None = None) -> None:
    """Train, save, evaluate."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    given = parser().parse_args(arguments)
    torch.manual_seed(given.seed)
    torch.backends.cuda.matmul.allow_tf32 = True
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    source = resolve_name(given.model)
    tokenizer = AutoTokenizer.from_pretrained(source)
    base: Any = AutoModelForCausalLM.from_pretrained(source, dtype=torch.float32)
    base = base.to(device).eval()
    n_layers = base.config.get_text_config().num_hidden_layers
    role, digest = role_for(given, n_layers), weights_digest(base)
    single = read("words") if given.words_file is None else from_file(given.words_file)
    vectors = Vectors.extracted(base, tokenizer, both_numbers(single), tuple(role.layers))
    if device.type == "cuda":
        base.to(torch.bfloat16)
    model = adapted(base, role)
    begun = time.monotonic()
    log = train(role, model, tokenizer, vectors, seed=given.seed, most_seconds=given.most_seconds)
    seconds = time.monotonic() - begun

    name = f"{given.role}-{given.seed}"
    given.out.mkdir(parents=True, exist_ok=True)
    save(model, given.out / f"{name}.safetensors", role, digest)
    merged = model.merge_and_unload()
    found = []
    if not given.no_evaluation:
        words = {**held_out(), "trained": single[:_TRAINED]}
        found = evaluate(merged, tokenizer, words, evaluated_layers(given, role, n_layers), given.seed)
    report = {
        "name": name,
        "model": given.model,
        "role": attrs.asdict(role),
        "seed": given.seed,
        "seconds": round(seconds, 1),
        "steps": log[-1].step,
        "log": [attrs.asdict(progress) for progress in log],
        "replies": [attrs.asdict(reply) for reply in found],
    }
    (given.out / f"{name}.json").write_text(json.dumps(report, indent=1), encoding="utf-8")
    if given.merged is not None:
        merged.float().save_pretrained(given.merged)
        tokenizer.save_pretrained(given.merged)
    print(name, f"{seconds:.0f} s")
    if found:
        print(summary(found), *verdicts(role.name, found), sep="\n", flush=True)


if __name__ == "__main__":
    main()
