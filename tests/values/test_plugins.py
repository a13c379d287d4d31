"""Plugins: real distributions on the path (metadata and module written here), found, loaded, and kept apart."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import introspection_bench as ib
from introspection_bench.errors import BackendUnavailableError, PluginError, UnknownNameError
from introspection_bench.plugins import Lazy, load_value, registered, resolve

SCAFFOLDS = "introspection_bench.scaffolds"
Install = Callable[..., None]

MODULE = """
import introspection_bench as ib

GREETING = ib.Scaffold("greeting", [ib.Turn("user", "Hello")])
NOT_A_SCAFFOLD = "Hello"
WORDS = ib.ConceptSet("words", [ib.Concept("tea", word="tea")])

class FakeInjector(ib.Injector):
    name = "fake"
    model = tokenizer = None
    def _generate(self, requests): yield from ()
    def _capture(self, prompts, layers): raise NotImplementedError
    @classmethod
    def open(cls, model, *, colour="red"):
        made = cls()
        made.opened = (model, colour)
        return made
"""


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """Put a distribution with these entry points on the path, as pip would."""

    def put(distribution: str, entry_points: str, module: str = MODULE) -> None:
        name = distribution.replace("-", "_")
        site = tmp_path / name
        info = site / f"{name}-1.0.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(entry_points)
        (site / f"{name}.py").write_text(module)
        monkeypatch.syspath_prepend(str(site))

    yield put  # type: ignore[misc]  # a generator, so that what the plugins left loaded is dropped
    for name in ("first_plugin", "second_plugin"):
        sys.modules.pop(name, None)


def entry(group: str, name: str, target: str) -> str:
    return f"[{group}]\n{name} = {target}\n"


def test_a_plugin_scaffold_is_loaded_by_name(install: Install) -> None:
    install("first-plugin", entry(SCAFFOLDS, "greeting", "first_plugin:GREETING"))
    assert ib.load_scaffold("greeting").turns[0].content == "Hello"


def test_a_plugin_concept_set_is_loaded_by_name(install: Install) -> None:
    install("first-plugin", entry("introspection_bench.concepts", "words", "first_plugin:WORDS"))
    assert [c.name for c in ib.load_concepts("words")] == ["tea"]


def test_a_plugin_injector_is_opened_with_its_own_options(install: Install) -> None:
    install("first-plugin", entry("introspection_bench.injectors", "fake", "first_plugin:FakeInjector"))
    assert ib.open_injector("fake", "m", colour="blue").opened == ("m", "blue")  # type: ignore[attr-defined]  # its own
    with pytest.raises(PluginError, match="color"):
        ib.open_injector("fake", "m", color="blue")


def test_a_class_and_an_instance_open_without_being_registered(install: Install) -> None:
    install("first-plugin", "")
    import first_plugin  # type: ignore[import-not-found]  # written by the fixture

    opened = ib.open_injector(first_plugin.FakeInjector, "m")
    assert ib.open_injector(opened) is opened
    with pytest.raises(PluginError, match="beside an instance"):
        ib.open_injector(opened, "m")
    with pytest.raises(PluginError, match="subclass of Injector"):
        ib.open_injector(int, "m")  # type: ignore[arg-type]  # wrong on purpose


def test_two_distributions_with_one_name_are_an_error_that_names_both(install: Install) -> None:
    install("first-plugin", entry(SCAFFOLDS, "greeting", "first_plugin:GREETING"))
    install("second-plugin", entry(SCAFFOLDS, "greeting", "second_plugin:GREETING"))
    with pytest.raises(PluginError, match=r"second-plugin and first-plugin|first-plugin and second-plugin"):
        ib.load_scaffold("greeting")


def test_two_distributions_that_point_at_one_object_still_clash(install: Install) -> None:
    for name in ("first-plugin", "second-plugin"):
        install(name, entry(SCAFFOLDS, "greeting", "first_plugin:GREETING"))
    with pytest.raises(PluginError, match="plugin 'greeting'"):
        registered(SCAFFOLDS, ())


def test_a_built_in_name_can_not_be_taken(install: Install) -> None:
    install("first-plugin", entry(SCAFFOLDS, "lindsey", "first_plugin:GREETING"))
    assert ib.load_scaffold("lindsey") is ib.LINDSEY
    with pytest.raises(PluginError, match=r"'lindsey' of first-plugin.*not built in"):
        ib.load_scaffold("greeting")


def test_a_plugin_that_fails_to_load_raises_its_own_error_only_when_asked_for(install: Install) -> None:
    install("first-plugin", entry(SCAFFOLDS, "broken", "first_plugin:GREETING"), "raise ZeroDivisionError('its own')")
    install("second-plugin", entry(SCAFFOLDS, "greeting", "second_plugin:GREETING"))
    assert ib.load_scaffold("greeting").name == "greeting"
    with pytest.raises(ZeroDivisionError, match="its own"):
        ib.load_scaffold("broken")


def test_a_plugin_that_is_something_else_is_an_error(install: Install) -> None:
    install("first-plugin", entry(SCAFFOLDS, "greeting", "first_plugin:NOT_A_SCAFFOLD"))
    with pytest.raises(PluginError, match="a Scaffold; got Hello"):
        load_value(SCAFFOLDS, "greeting", ib.Scaffold, builtin=())


def test_an_unknown_name_lists_built_ins_and_plugins(install: Install) -> None:
    install("first-plugin", entry(SCAFFOLDS, "greeting", "first_plugin:GREETING"))
    with pytest.raises(UnknownNameError, match="'greeting', 'lindsey', 'lindsey_405b', 'thinking_about'"):
        ib.load_scaffold("gretting")
    with pytest.raises(UnknownNameError, match="'nnsight', 'torch', 'vllm', 'vllm-lens'"):
        ib.open_injector("tensorflow", "m")
    with pytest.raises(UnknownNameError, match=r"'chat', 'claude', .*'rules'"):
        ib.open_judge("oracle")


def test_a_backend_whose_package_is_missing_names_the_extra() -> None:
    table = {"x": Lazy("surely_not_installed", "X", extra="vllm-lens")}
    with pytest.raises(
        BackendUnavailableError, match=r"surely_not_installed.*pip install 'introspection-bench\[vllm-lens\]'"
    ):
        resolve("introspection_bench.injectors", table, "x")
    with pytest.raises(ImportError):
        resolve("introspection_bench.injectors", table, "x")


def test_an_import_that_fails_in_core_is_not_dressed_up_as_a_missing_extra() -> None:
    with pytest.raises(ModuleNotFoundError, match="surely_not_installed"):
        Lazy("surely_not_installed", "X").load("x")


def test_listing_plugins_imports_none_of_them(install: Install, tmp_path: Path) -> None:
    install("first-plugin", entry(SCAFFOLDS, "greeting", "first_plugin:GREETING"), "raise SystemExit(3)")
    code = f"from introspection_bench.plugins import registered; print(list(registered({SCAFFOLDS!r}, ())))"
    run = f"import sys; sys.path.insert(0, {str(tmp_path / 'first_plugin')!r}); {code}"
    assert subprocess.check_output([sys.executable, "-c", run], text=True).strip() == "['greeting']"
