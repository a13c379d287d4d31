"""Where the keys of a TOML file stand."""

from __future__ import annotations

import tomllib

from hypothesis import given
from hypothesis import strategies as st

from introspection_bench.toml_lines import key_places

MIXED = '''# [no.table] = 1
title = "a # [b] = c"
"quoted.key" = 1
dotted . key = [
  "x = 1",  # ]
  [1, {y = 2}],
]
text = """
[not.a.table]
n = 3 \\""" still
"""
raw = \'\'\'
[neither]
\'\'\'
[table]
  n = 3
[a.b.c]
inline = { n = 1, "m" = { o = 2 } }
[[list]]
n = 1
[list.sub]
n = 2
[[list]]
n = 3
[[list.deep]]
n = 4
'''


def test_each_key_has_its_line_whatever_strings_comments_and_lists_hold():
    found = key_places(MIXED)
    assert tomllib.loads(MIXED)  # it is a file
    assert found == {
        ("title",): "line 2",
        ("quoted.key",): "line 3",
        ("dotted",): "line 4",
        ("dotted", "key"): "line 4",
        ("text",): "line 8",
        ("raw",): "line 12",
        ("table",): "line 15",
        ("table", "n"): "line 16",
        ("a",): "line 17",
        ("a", "b"): "line 17",
        ("a", "b", "c"): "line 17",
        ("a", "b", "c", "inline"): "line 18",
        ("list",): "line 19",
        ("list", 0): "line 19",
        ("list", 0, "n"): "line 20",
        ("list", 0, "sub"): "line 21",
        ("list", 0, "sub", "n"): "line 22",
        ("list", 1): "line 23",
        ("list", 1, "n"): "line 24",
        ("list", 1, "deep"): "line 25",
        ("list", 1, "deep", 0): "line 25",
        ("list", 1, "deep", 0, "n"): "line 26",
    }


@given(st.lists(st.text(st.characters(exclude_categories=("Cs", "Cc"))), min_size=1, max_size=5))
def test_keys_and_strings_of_any_characters_keep_their_lines(texts):
    quoted = ["".join(f"\\U{ord(c):08x}" if c in '"\\' else c for c in text) for text in texts]
    told = "\n".join(f'"{index}{text}" = "{text}"' for index, text in enumerate(quoted))
    wanted = {(f"{index}{text}",): f"line {index + 1}" for index, text in enumerate(texts)}
    assert key_places(told) == wanted
