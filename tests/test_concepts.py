from __future__ import annotations

import json
import re
import subprocess
import sys
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

import introspection_bench as ib
from introspection_bench import concepts, plugins
from introspection_bench.concepts import Concept, ConceptSet, Pair, concept_set_names, load_concepts
from introspection_bench.errors import ConceptError, PluginError, UnknownNameError

ROOT = Path(__file__).parents[1]
PUBLISHED = ROOT.parent / "shared" / "data" / "lindsey2026_words.json"


def write(folder: Path, text: str) -> Path:
    path = folder / "mine.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_the_built_in_lindsey_set_is_the_published_list_word_for_word():
    if not PUBLISHED.exists():
        pytest.skip(f"needs {PUBLISHED.name}, the published word lists, which lie outside the repository")
    published = json.loads(PUBLISHED.read_text(encoding="utf-8"))
    built_in = load_concepts("lindsey2026")
    assert [c.word for c in built_in] == published["main_50"]
    assert [c.name for c in built_in] == published["main_50"]
    assert list(built_in.baseline) == published["baseline_100"]


def test_butterflies_counts_twice_among_the_100_baseline_words():
    baseline = load_concepts("lindsey2026").baseline
    assert (len(baseline), len(set(baseline)), baseline.count("Butterflies")) == (100, 99, 2)


def test_every_built_in_concept_gives_judges_an_alias_and_a_description():
    for name in concepts.BUILTIN:
        for concept in load_concepts(name):
            assert concept.aliases, concept.name
            assert concept.description.endswith("."), concept.name
            folded = [alias.casefold() for alias in concept.names]
            assert len(folded) == len(set(folded)), f"{concept.name} lists a name twice"


def test_no_alias_of_one_lindsey_concept_is_a_name_of_another():
    # A judge would credit one concept for naming the other: decoys on controls would score.
    owner: dict[str, str] = {}
    for concept in load_concepts("lindsey2026"):
        for alias in concept.names:
            other = owner.setdefault(alias.casefold().rstrip("s"), concept.name)
            assert other == concept.name, f"{alias!r} names both {other} and {concept.name}"


def test_the_all_caps_pairs_differ_in_case_alone():
    for pair in load_concepts("pairs")["all_caps"].pairs:
        assert pair.positive == pair.negative.upper()
        assert pair.negative != pair.negative.upper()


def test_the_love_pairs_have_two_prompts_of_about_one_length():
    # Otherwise the vector would hold prompt length as well as love.
    for pair in load_concepts("pairs")["love"].pairs:
        assert abs(len(pair.positive.split()) - len(pair.negative.split())) <= 1, pair


def test_each_built_in_pair_concept_has_ten_pairs_and_no_prompt_twice():
    for concept in load_concepts("pairs"):
        prompts = [prompt for pair in concept.pairs for prompt in (pair.positive, pair.negative)]
        assert len(concept.pairs) == 10
        assert len(set(prompts)) == 20


def test_lovely_does_not_name_love():
    assert "lovely" not in load_concepts("pairs")["love"].names


def test_names_show_underscores_as_spaces_and_repeat_nothing():
    assert load_concepts("pairs")["all_caps"].names[0] == "all caps"
    assert Concept("Teapots", word="Teapots", aliases=["Teapots", "pot"]).names == ("Teapots", "pot")


def test_loading_concepts_loads_no_torch():
    code = (
        "import sys, introspection_bench as ib; ib.load_concepts('lindsey2026'); ib.load_concepts('pairs');"
        "print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_the_example_of_the_docs_page_loads(tmp_path):
    page = (ROOT / "docs" / "concepts.md").read_text(encoding="utf-8")
    example = re.search(r"loads this example -->\n\n```toml\n(.*?)```", page, re.DOTALL)
    assert example is not None
    kitchen = load_concepts(write(tmp_path, example[1]))
    assert [c.name for c in kitchen] == ["Teapots", "politeness"]
    assert len(kitchen["politeness"].pairs) == 2
    assert kitchen.select("politeness").baseline == ("Ladders", "Rivers", "Letters", "Gloves")
    assert load_concepts(str(tmp_path / "mine.toml")) == kitchen


W = '[[concepts]]\nname = "Teapots"\nword = "Teapots"\n'


@pytest.mark.parametrize(
    ("text", "key", "says"),
    [
        (W, "file.name", "missing"),
        ('name = "s"\n', "file.concepts", "missing"),
        ('name = "s"\nconcepts = []\n', "file", "at least one concept"),
        ('name = "s"\nconcepts = ["Teapots"]\n', "file.concepts[0]", "a table"),
        ('name = "s"\n[concepts]\nname = "Teapots"\n', "file.concepts", "a list"),
        ("name = 3\n" + W, "file.name", "text, got 3"),
        ('name = ""\n' + W, "file", "not empty"),
        ('name = "s"\nbase_line = ["a"]\n' + W, "file", "unknown key base_line"),
        ('name = "s"\n' + W + 'alias = ["pot"]\n', "file.concepts[0]", "unknown key alias"),
        ('name = "s"\n' + W + 'aliases = "pot"\n', "file.concepts[0].aliases", "a list, got 'pot'"),
        ('name = "s"\n' + W + 'aliases = ["pot", 3]\n', "file.concepts[0].aliases[1]", "text, got 3"),
        ('name = "s"\n' + W + 'aliases = ["pot", ""]\n', "file.concepts[0]", "aliases[1]"),
        ('name = "s"\n[[concepts]]\nword = "Teapots"\n', "file.concepts[0].name", "missing"),
        ('name = "s"\n[[concepts]]\nname = " a"\nword = "a"\n', "file.concepts[0]", "outer white space"),
        ('name = "s"\n[[concepts]]\nname = "a"\nword = 3\n', "file.concepts[0].word", "text, got 3"),
        ('name = "s"\n[[concepts]]\nname = "a"\nword = ""\n', "file.concepts[0]", "word"),
        ('name = "s"\n[[concepts]]\nname = "a"\n', "file.concepts[0]", "word, pairs or both"),
        ('name = "s"\n[[concepts]]\nname = "a"\npairs = []\n', "file.concepts[0]", "word, pairs or both"),
        ('name = "s"\n[[concepts]]\nname = "a"\npairs = [["x", "y"]]\n', "file.concepts[0].pairs[0]", "a table"),
        (
            'name = "s"\n[[concepts]]\nname = "a"\npairs = [{positive = "x"}]\n',
            "file.concepts[0].pairs[0].negative",
            "missing",
        ),
        (
            'name = "s"\n[[concepts]]\nname = "a"\npairs = [{positive = "x", negative = "x"}]\n',
            "file.concepts[0].pairs[0]",
            "two different prompts",
        ),
        ('name = "s"\n' + W + W, "file", "twice: ['teapots']"),
        ('name = "s"\n' + W + W.replace('name = "Teapots"', 'name = "teapots"'), "file", "twice: ['teapots']"),
        ('name = "s"\nbaseline = "Rivers"\n' + W, "file.baseline", "a list"),
        ('name = "s"\nbaseline = ["Rivers", 1]\n' + W, "file.baseline[1]", "text, got 1"),
        ('name = "s"\nbaseline = ["Rivers", "teapots"]\n' + W, "file", "no word that is itself a concept"),
    ],
)
def test_a_wrong_concept_file_is_an_error_that_names_the_file_and_the_key(tmp_path, text, key, says):
    path = write(tmp_path, text)
    with pytest.raises(ConceptError) as caught:
        load_concepts(path)
    message = str(caught.value)
    assert str(path) in message
    assert re.search(rf"@ {re.escape(key)}[.;] ", message), message
    assert says in message


@pytest.mark.parametrize(
    ("content", "says"), [(b"name = ]", "line 1"), (b"name = '\xff'", "utf-8"), (None, "No such file")]
)
def test_an_unreadable_concept_file_is_an_error_that_names_it(tmp_path, content, says):
    path = tmp_path / "mine.toml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConceptError, match=r"mine\.toml") as caught:
        load_concepts(path)
    assert says in str(caught.value)


def test_a_path_is_read_as_a_file_whatever_it_is_called(tmp_path):
    path = tmp_path / "pairs"
    path.write_text('name = "mine"\n' + W, encoding="utf-8")
    assert load_concepts(path).name == "mine"


def test_a_text_in_place_of_a_list_of_aliases_is_an_error_in_python_too():
    with pytest.raises(ConceptError, match="brackets"):
        Concept("Teapots", word="Teapots", aliases="kettle")
    with pytest.raises(ConceptError, match="brackets"):
        ConceptSet("s", [Concept("Teapots", word="Teapots")], baseline="Rivers")


def test_a_concept_word_in_its_own_baseline_says_what_to_do():
    with pytest.raises(ConceptError, match="Take the word out of baseline") as caught:
        ConceptSet("s", [Concept("Time", word="Time"), Concept("Snow", word="snow")], baseline=["TIME", "Air"])
    assert "['Time']" in str(caught.value)


def test_a_pair_concept_may_bear_the_name_of_a_baseline_word():
    # Its vector is not measured against the baseline.
    assert len(ConceptSet("s", [Concept("Time", pairs=[Pair("a", "b")])], baseline=["Time"])) == 1


def test_an_unknown_concept_and_an_unknown_set_say_what_there_is():
    with pytest.raises(UnknownNameError, match="Dirigibles"):
        load_concepts("lindsey2026")["dirigibles"]
    with pytest.raises(UnknownNameError, match="lindsey2026"):
        load_concepts("lindsey")


FROM_A_PLUGIN = ConceptSet("kitchen", [Concept("Teapots", word="Teapots")])


@pytest.fixture
def installed(monkeypatch):
    def install(name: str, attribute: str) -> None:
        point = EntryPoint(name, f"{__name__}:{attribute}", "introspection_bench.concepts")
        monkeypatch.setattr(plugins, "entry_points", lambda group: [point] if group == point.group else [])

    return install


def test_a_plugin_set_is_loaded_and_listed_by_name(installed):
    installed("kitchen", "FROM_A_PLUGIN")
    assert load_concepts("kitchen") is FROM_A_PLUGIN
    assert concept_set_names() == ("lindsey2026", "pairs", "latent2026", "kitchen")


def test_a_plugin_that_is_no_concept_set_is_an_error(installed):
    installed("kitchen", "W")
    with pytest.raises(PluginError, match="ConceptSet"):
        load_concepts("kitchen")


def test_a_plugin_cannot_take_a_built_in_name(installed):
    installed("pairs", "FROM_A_PLUGIN")
    with pytest.raises(PluginError, match="built in"):
        concept_set_names()


def test_the_public_names_are_those_of_this_module():
    assert ib.load_concepts is load_concepts
    assert ib.Concept is Concept
