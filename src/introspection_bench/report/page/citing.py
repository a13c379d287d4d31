"""How a page says that it is cited: BibTeX of this package and of the protocol's source."""

from __future__ import annotations

from ..._version import __version__


def bibtex() -> str:
    """Return BibTeX entries of the package, in this version, and of Lindsey 2026."""
    return f"""@software{{introspection_bench,
  author  = {{{{The introspection\\_bench team}}}},
  title   = {{introspection\\_bench: the concept-injection protocol on any model}},
  version = {{{__version__}}},
  year    = {{2026}}
}}
@misc{{lindsey2026,
  author        = {{Lindsey, Jack}},
  title         = {{Emergent Introspective Awareness in Large Language Models}},
  year          = {{2026}},
  eprint        = {{2601.01828}},
  archiveprefix = {{arXiv}}
}}"""
