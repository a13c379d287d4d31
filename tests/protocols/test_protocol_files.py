"""Protocols of one's own, in TOML."""

from __future__ import annotations

import pytest

import introspection_bench as ib
from introspection_bench.errors import SpecError

LINDSEY = ib.load_protocol("lindsey2026")


def written(folder, text, name="mine.toml"):
    path = folder / name
    path.write_text(text)
    return path


def test_a_derived_protocol_is_its_base_but_for_what_it_says(tmp_path):
    mine = ib.load_protocol(
        written(
            tmp_path,
            'base = "lindsey2026"\nname = "mine"\nlayers = ["2/3", 20]\n'
            "[sampling]\ntemperature = 0.7\n[arms.injected]\nn = 5\n[arms.negated]\nn = 2\n"
            '[judging]\nmodel = "mine"\n',
        )
    )
    assert [row.field for row in ib.diff(LINDSEY, mine)] == ["layers", "sampling", "arms", "judging"]
    assert (mine.sampling.temperature, mine.sampling.max_new_tokens) == (0.7, 100)
    assert [(a.name, a.n) for a in mine.arms] == [("injected", 5), ("control", 100), ("negated", 2)]
    assert mine.arms[0].concepts == "spread"
    assert mine.judging.structure == "separate"


def test_what_a_source_reports_and_remarks_on_a_field_is_dropped_where_the_field_is_another(tmp_path):
    mine = ib.load_protocol(written(tmp_path, 'base = "lindsey2026"\nname = "mine"\nlayers = [20]\n'))
    assert (mine.published, mine.remark("layers")) == ((), None)
    assert mine.departures["recipe"] == LINDSEY.departures["recipe"]
    renamed = ib.load_protocol(written(tmp_path, 'base = "lindsey2026"\nname = "mine"\n'))
    assert renamed.published == LINDSEY.published


def test_arms_in_a_list_take_the_place_of_the_base_s(tmp_path):
    text = 'base = "lindsey2026"\nname = "mine"\n[[arms]]\narm = "unsteered"\nn = 3\n'
    assert [(a.name, a.n) for a in ib.load_protocol(written(tmp_path, text)).arms] == [("control", 3)]


def test_files_that_a_file_names_lie_beside_it(tmp_path, monkeypatch):
    folder = tmp_path / "there"
    folder.mkdir()
    (folder / "words.toml").write_text('name = "w"\nbaseline = ["Chalk"]\n[[concepts]]\nname = "Tea"\nword = "Tea"\n')
    rubric = 'name = "r"\nversion = 1\nstructure = "single"\ntext = "t"\nsuccess = ["kind"]\n[[calls]]\nid = "c"\n'
    (folder / "r.toml").write_text(rubric + 'text = "t"\nanswers = { kind = ["yes", "no"] }\n')
    written(
        folder, 'base = "lindsey2026"\nname = "first"\nconcepts = "words.toml"\nbaseline = "words.toml"\n', "a.toml"
    )
    monkeypatch.chdir(tmp_path)
    mine = ib.load_protocol(written(folder, 'base = "a.toml"\nname = "second"\nrubric = "r.toml"\n', "b.toml"))
    assert (mine.concepts.name, mine.baseline, mine.rules_rubric) == ("w", ("Chalk",), "strict4")
    assert mine.design().concepts["Tea"].word == "Tea"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('samplig = 3\nname = "m"', "Did you mean 'sampling'"),
        ('name = "m"\n[sampling]\ntemprature = 1', "sampling"),
        ('name = "m"\nlayers = "deep"', "layers"),
        ('name = "m"\nspan = "from(nowhere)"', r"from\(nowhere\)"),
        ('name = "m"\noutcome = "felt"', "outcome"),
        ('name = "m"\n[unknown]\nweather = "?"', "weather"),
        ('name = "m"\n[arms.injekted]\nn = 1', "injekted"),
        ('name = "m"\nrubric = "nice"', "nice"),
        ("name = 3", "name"),
        ('name = "m"\narms = []', "arms"),
        ('name = "m"\ndoses = ["2"]', "doses"),
        ("name = ", "mine.toml"),
    ],
)
def test_a_slip_in_a_file_is_an_error_that_names_file_and_field(tmp_path, text, says):
    with pytest.raises(SpecError, match=says) as caught:
        ib.load_protocol(written(tmp_path, f'base = "lindsey2026"\n{text}\n'))
    assert "mine.toml" in str(caught.value)


def test_a_file_that_is_its_own_base_is_an_error(tmp_path):
    written(tmp_path, 'base = "b.toml"\nname = "a"\n', "a.toml")
    with pytest.raises(SpecError, match="circle"):
        ib.load_protocol(written(tmp_path, 'base = "a.toml"\nname = "b"\n', "b.toml"))


def test_a_file_without_a_base_says_all_that_is_needed(tmp_path):
    alone = 'name = "alone"\nscaffolds = ["thinking_about"]\nspan = "all"\n[arms.unsteered]\nn = 2\n'
    assert ib.load_protocol(written(tmp_path, alone)).design().arms[0].n == 2
    with pytest.raises(SpecError, match="missing"):
        ib.load_protocol(written(tmp_path, 'name = "alone"\n'))
