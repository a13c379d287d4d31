"""Tokens/s of the backend ``vllm`` beside plain vLLM: same card, same call, alternating rounds. One shape a command.

    python3 benchmarks/vllm_throughput.py --shape 1b --out DIR --lens 160
    python3 benchmarks/vllm_throughput.py --shape 8b --out DIR --seconds 240
    python3 benchmarks/vllm_throughput.py --shape 405b --blocks 126 --gpus 4 --in-turn --out DIR

Two engines (vllm_sides.py) stand on the card at once, each in a process of its own, on one card on cores of its own;
the one that isn't asked waits. Plain runs once greedy and once with its own seeded sampling. Token ids and vectors are
there before the clock starts, as in a sweep; requests are made while it runs. With ``--lens`` a third one, the backend
``vllm-lens``, runs one round at so many in flight. With ``--in-turn`` one engine is ended before the next is opened.

Two measurements. In a round all requests begin and end together, so that what either side does before and behind its
steps is seen whole. "sustained" is what a sweep does: several times as many requests, of which so many are in flight,
another added where one ends. Every pair is written at once to DIR/throughput_SHAPE.json, so that a time-out loses
nothing. Weights are made up: the speed is that of real ones.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from typing import Any

from vllm_sides import Side, add_options, prepared, serve
from vllm_sweeps import FURTHER, TOKENS, cards

KINDS = [("plain", "seeded"), ("ours", "mixed"), ("plain", "greedy"), ("ours", "control")]


def measure(options: argparse.Namespace) -> None:
    """Open both engines, and alternate rounds until the time is up."""
    deadline = time.monotonic() + options.seconds
    sides = {role: Side(role, options) for role in ("plain", "ours", *["lens"] * bool(options.lens))}
    for side in sides.values():
        side.wait()
    found = begun(options, sides)

    def ask(role: str, kind: str, in_flight: int, times: int = 1, profile: str = "") -> Any:
        if time.monotonic() > deadline:
            raise TimeoutError
        return sides[role].ask(kind=kind, in_flight=in_flight, times=times, profile=profile)

    measurements = [(1, KINDS), *([(options.sustained, KINDS[:2])] if options.sustained else [])]
    try:
        for number in range(-1, options.rounds):
            # The first of each warms up; then, once, both are watched.
            if number == 0 and options.profile:
                for role, kind in KINDS[:2]:
                    file = options.out / f"profile_{options.shape}_{role}.txt"
                    ask(role, kind, min(options.in_flight, key=lambda n: abs(n - 160)), profile=str(file))
            if number == 0 and options.lens:
                ask("lens", "mixed", 8)
                found["lens"] = {"in flight": options.lens, "mixed": ask("lens", "mixed", options.lens)}
            for in_flight in options.in_flight:
                for times, those in measurements[: None if number >= 0 else 1]:
                    # Which goes first alternates as well.
                    turn = {k: ask(r, k, in_flight, times) for r, k in (those if number % 2 else those[::-1])}
                    if number >= 0:
                        found["rounds"].append({"in flight": in_flight, "times": times, **turn})
                        keep(found, options)
    except TimeoutError:
        return
    finally:
        for side in sides.values():
            side.end()


def measure_in_turn(options: argparse.Namespace) -> None:
    """The same where the cards hold one engine at a time: all rounds of one, then all of the other."""
    sides: dict[str, Side] = {}
    turns: dict[tuple[int, int], dict[str, Any]] = {}
    found: dict[str, Any] = {}
    sweeps: list[dict[str, Any]] = []
    for role in ("ours", "plain"):
        side = sides[role] = Side(role, options)
        side.wait()
        found = begun(options, sides)
        found["canonical"] = sweeps
        kinds = [kind for at, kind in KINDS if at == role][: None if options.greedy else 1]
        for number in range(-1, options.rounds):
            for in_flight in options.in_flight[: None if number >= 0 else 1]:
                for kind in kinds:
                    told = side.ask(kind=kind, in_flight=in_flight)
                    print(role, kind, in_flight, told, flush=True)
                    if number >= 0:
                        turns.setdefault((number, in_flight), {"in flight": in_flight, "times": 1})[kind] = told
                    found["rounds"] = [*turns.values()]
                    keep(found, options)
        for in_flight in options.canonical:
            kind = "sweep" if role == "ours" else "bare"
            told = side.ask(kind=kind, sweep="canonical", tokens=TOKENS["canonical"], in_flight=in_flight)
            sweeps.append({"kind": kind, "in flight": in_flight, **told, "memory of the cards": cards()})
            print(role, sweeps[-1], flush=True)
            keep(found, options)
        side.end()


def begun(options: argparse.Namespace, sides: dict[str, Side]) -> dict[str, Any]:
    """What is written of the engines themselves."""
    last = [*sides.values()][-1].told
    found = {
        "date": time.strftime("%Y-%m-%d"),
        "shape": options.shape,
        "command": " ".join(["python3", *sys.argv]),
        **last["version"],
        "opening, s": {role: side.told["opened"] for role, side in sides.items()},
        "dose in the unit update": last["update"],
        "rounds": [],
    }
    if str(found["dose in the unit update"]).endswith("residual"):
        found["note"] = "no dose in the unit update is held by these made-up weights: another stands in its place"
    return found


def keep(found: dict[str, Any], options: argparse.Namespace) -> None:
    """Write what there is, and print its summary."""
    found["summary"] = summary([r for r in found["rounds"] if r["times"] == 1])
    found["sustained"] = summary([r for r in found["rounds"] if r["times"] > 1])
    if "lens" in found:
        lens = found["lens"]
        lens["tokens/s"] = round(lens["mixed"]["tokens"] / lens["mixed"]["seconds"])
        ours = found["summary"].get(str(lens["in flight"]))
        lens["ours over it"] = ours and round(ours["tokens/s"]["mixed"] / lens["tokens/s"], 1)
        print("lens", lens["tokens/s"], lens["ours over it"], flush=True)
    (options.out / f"throughput_{options.shape}.json").write_text(json.dumps(found, indent=1) + "\n")
    if not found["rounds"]:
        return
    at = str(found["rounds"][-1]["in flight"])
    what = "summary" if found["rounds"][-1]["times"] == 1 else "sustained"
    print(what, at, found[what][at], flush=True)


def summary(rounds: list[dict[str, Any]]) -> dict[str, Any]:
    """Medians of tokens/s and of the rounds' own ratios, by requests in flight."""
    told = {}
    for in_flight in sorted({r["in flight"] for r in rounds}):
        here = [r for r in rounds if r["in flight"] == in_flight]
        # Where one engine comes after the other, the last rounds lack what it has not run yet.
        kinds = [k for k in ("seeded", "mixed", "greedy", "control") if all(k in r for r in here)]
        compared = [k for k in ("seeded", "greedy") if {k, "mixed"} <= {*kinds}]
        rates = {k: [r[k]["tokens"] / r[k]["seconds"] for r in here] for k in kinds}
        told[str(in_flight)] = {
            "rounds": len(here),
            "tokens/s": {k: round(statistics.median(v)) for k, v in rates.items()},
            **{f"mixed over {k}": ratio(rates["mixed"], rates[k]) for k in compared},
            "step, ms": {k: statistics.median([r[k]["step_ms"] or 0 for r in here]) for k in rates},
        }
    return told


def ratio(ours: list[float], plain: list[float]) -> list[float]:
    """The median of the rounds' ratios, the least and the largest."""
    all_of_them = [a / b for a, b in zip(ours, plain, strict=True)]
    return [round(x, 3) for x in (statistics.median(all_of_them), min(all_of_them), max(all_of_them))]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_options(parser)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--sustained", type=int, default=4, help="times as many requests as are in flight; 0: none")
    parser.add_argument("--lens", type=int, default=0, help="vllm-lens beside it, with so many in flight; 0: not")
    parser.add_argument(
        "--canonical", type=int, nargs="*", default=[],
        help="with --in-turn: the 405B study's sweep as well, with so many in flight (vllm_sweeps.py)",
    )  # fmt: skip
    parser.add_argument("--greedy", action="store_true", help="with --in-turn: greedy rounds and controls, too")
    parser.add_argument("--profile", action="store_true", help="write what the host does in one round of each to OUT")
    options = prepared(parser)
    if options.role:
        serve(options.role, options.folder, options, FURTHER)
    else:
        (measure_in_turn if options.in_turn else measure)(options)
    return 0


# vLLM's worker processes import this file again.
if __name__ == "__main__":
    sys.exit(main())
