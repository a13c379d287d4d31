"""The command try."""

from __future__ import annotations

from cli_samples import command


def test_try_shows_both_replies_beside_each_other_and_leaves_nothing_behind(place):
    before = sorted(place.rglob("*"))
    words = ("try", "model", "Say [bold]hello.", "--concept", "Bread", "--concepts", "concepts.toml")
    shown = command(*words, "--layer", "1/2", "--max-new-tokens", "4", cwd=place).stdout
    assert "Bread at layer 2 of model, 0.3 residual over from(text)" in shown
    assert "⟦Say [bold]hello." in shown.replace("⟦ ", "⟦")
    header, row = shown.split("unsteered", 1)[1].splitlines()[:2]
    assert header.strip() == "steered"
    assert row.count("⟦") == 1
    assert sorted(place.rglob("*")) == before


def test_try_with_a_concept_that_there_is_not_names_the_nearest_one(place):
    refused = command("try", "model", "--concept", "Bred", "--concepts", "concepts.toml", cwd=place, check=False)
    assert refused.returncode == 1
    assert "Did you mean 'Bread'?" in refused.stderr
