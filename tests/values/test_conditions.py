"""Blocks in their written form, as tables and other people's files have them."""

from __future__ import annotations

import pytest

from introspection_bench.conditions import layers_text, parse_layers
from introspection_bench.errors import SpecError


@pytest.mark.parametrize(
    ("layers", "text"),
    [((), ""), ((19,), "19"), ((4, 5), "4,5"), ((18, 19, 20), "18-20"), ((4, 8, 12), "4,8,12"), ((0, 1, 2**31), None)],
)
def test_blocks_are_written_as_a_band_or_a_list_and_read_back(layers, text) -> None:
    written = layers_text(layers)
    assert text in (None, written)  # the last is a hostile file's: nothing of that size is written out
    assert text in (None, "") or parse_layers(written) == layers


@pytest.mark.parametrize("text", ["", "a", "3.5", "-1", "5-4", "1--2", "0-99999", "9" * 40, "1,,2"])
def test_text_that_names_no_blocks_is_refused(text) -> None:
    with pytest.raises(SpecError, match="layers"):
        parse_layers(text)
