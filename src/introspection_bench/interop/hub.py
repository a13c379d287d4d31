"""A folder for the Hugging Face hub: trials as Parquet, vectors as safetensors, tables, BibTeX, and a dataset card."""

from __future__ import annotations

import html
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from .._version import __version__
from ..boundaries import checked
from ..errors import OutputError, SpecError, explain
from ..files import explaining, file_stem, make_folder, write_file
from ..results import Results
from ..untrusted import encodable, one_line, visible
from ..vectors import ConceptVector
from .writers import write_parquet

_LICENCE = re.compile(r"[a-z0-9][a-z0-9.+-]{0,59}")
_FILE = re.compile(r"[A-Za-z0-9_-]{1,60}\.(csv|md|tex|txt)")
_TRIALS = "data/trials.parquet"
_BIBTEX = f"""@software{{introspection_bench,
  title   = {{introspection\\_bench: the concept-injection protocol on any language model}},
  author  = {{{{The introspection\\_bench team}}}},
  version = {{{__version__}}},
}}

@misc{{lindsey2026,
  title  = {{Emergent Introspective Awareness in Large Language Models}},
  author = {{Lindsey, Jack}},
  year   = {{2026}},
  eprint = {{2601.01828}},
  archivePrefix = {{arXiv}},
}}
"""

_ABOUT = """Trials of concept injection: a vector was added to a language model's residual stream, and the model was
asked whether it notices a thought that was put into it. Replies are the model's own text; a claim in them is data, not
a fact."""
_READING = """## Reading it

```python
from datasets import load_dataset

trials = load_dataset("…", "trials", split="train")  # a row for each trial and verdict
```

Choose one judge before you count: a trial with two verdicts has two rows. The columns are documented in
introspection_bench, the docs' page exports. The column `record` holds the whole trial, and the file's metadata the
design: `introspection_bench.read_results` of the Parquet file gives the run back."""


@checked(SpecError)
def write_hub(
    results: Results,
    folder: str | Path,
    *,
    license: str,  # noqa: A002  # the card's own word
    vectors: Sequence[ConceptVector] = (),
    tables: Mapping[str, str] | None = None,
) -> Path:
    """Write a folder that can be uploaded as a dataset as it is; return its path. Nothing is uploaded.

    Args:
        results: the trials. ``data/trials.parquet`` holds them as :func:`~introspection_bench.interop.write_parquet`
            writes them, so that :func:`introspection_bench.read_results` gives them back.
        folder: a new or an empty one.
        license: the data's licence, by the hub's identifier (``cc-by-4.0``, ``other``). Whoever publishes decides it:
            there is no default, and the model's own licence may have a say in what may be done with its replies.
        vectors: the concept vectors, each in a file of its own under ``vectors/``.
        tables: texts by file name (``rates.csv``, ``.md``, ``.tex``, ``.txt``) for ``tables/``. Those in Markdown also
            stand in the card.

    Returns:
        The folder, with ``README.md`` (the card), ``citation.bib``, and the above.

    Raises:
        SpecError: a licence or a table's name that is none.
        OutputError: the folder isn't empty, or can't be written.
        ResultsFormatError: a record can't be written as Parquet.
    """
    from huggingface_hub import DatasetCardData

    folder, tables = Path(folder), tables or {}
    wrong = [name for name in tables if not _FILE.fullmatch(name)]
    if wrong or not _LICENCE.fullmatch(license):
        raise SpecError(
            explain(
                "tables" if wrong else "license",
                required="names as rates.csv (csv, md, tex, txt)" if wrong else "the hub's identifier of a licence",
                got=repr(wrong[0] if wrong else license),
                hint="" if wrong else "As in cc-by-4.0, mit or other: https://hf.co/docs/hub/repositories-licenses",
            )
        )
    make_folder(folder)
    with explaining(folder):
        if any(folder.iterdir()):
            raise OutputError(
                explain(
                    str(folder),
                    required="a new or an empty folder",
                    got="a folder with something in it",
                    hint="What lies there would be published as well.",
                )
            )
    write_parquet(results, folder / _TRIALS)
    for vector in vectors:
        # Two vectors of one name and layer, which differ in their values, keep files of their own.
        stem = f"{file_stem(vector.concept)}-layer{vector.layer}-{vector.digest[:8]}"
        vector.save(folder / "vectors" / f"{stem}.safetensors")
    for name, text in tables.items():
        write_file(folder / "tables" / name, encodable(text).encode())
    write_file(folder / "citation.bib", _BIBTEX.encode())
    about = DatasetCardData(
        license=license,
        pretty_name=one_line(results.name, 100),
        tags=["introspection", "activation-steering", "concept-injection", "introspection_bench"],
        configs=[{"config_name": "trials", "data_files": _TRIALS}],
    )
    # The card comes last: a folder without one was not finished.
    card = f"---\n{about.to_yaml()}\n---\n\n{_card(results, vectors, tables)}"
    write_file(folder / "README.md", encodable(card).encode())
    return folder


def _card(results: Results, vectors: Sequence[ConceptVector], tables: Mapping[str, str]) -> str:
    facts = results.facts
    told = {
        "Trials": f"{len(results):,}",
        "Models": _listed(facts["model"]),
        "Backends": _listed(facts["backend"]),
        "Arms": _listed(facts["arm"]),
        "Concepts": _listed(results.concepts),
        "Judges": _listed(map(str, results.judges)),
        "Vectors": f"{len(vectors)} in `vectors/`" if vectors else "none in this folder",
        "Written by": f"introspection_bench {__version__}",
    }
    shown = [f"## {name}\n\n{_table(text)}" for name, text in tables.items() if name.endswith(".md")]
    parts = [
        f"# {_text(results.name)}",
        _ABOUT,
        "\n".join(f"- {name}: {value}" for name, value in told.items()),
        _READING,
        "## What a reader must know\n\n" + "\n".join(f"- {_text(note)}" for note in results.notes)
        if results.notes
        else "",
        *shown,
        "## Citing\n\n`citation.bib` holds BibTeX of the package and of the protocol; add your own for the data.",
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _listed(names: Sequence[str] | map[str], most: int = 20) -> str:
    texts = [_text(name) for name in names]
    more = f", and {len(texts) - most} more" if len(texts) > most else ""
    return ", ".join(texts[:most]) + more if texts else "none"


def _text(text: str) -> str:
    """Return somebody's text for Markdown: neither markup nor HTML, on one line."""
    return re.sub(r"([\\`*_\[\]|~#])", r"\\\1", html.escape(one_line(str(text), 500), quote=False))


def _table(text: str) -> str:
    """Return somebody's Markdown without HTML of its own."""
    return html.escape(visible(text, "\n\t"), quote=False)
