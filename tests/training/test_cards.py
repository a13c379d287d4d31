"""Model cards and the page's tables: they say what files, logs and counts say."""

import pytest

from training import cards
from training.cast import CAST


@pytest.mark.parametrize("role", sorted(CAST))
def test_a_card_is_what_the_adapter_its_log_and_the_librarys_counts_say(role):
    assert cards.card(role) == (cards.CARDS / f"{role}.toml").read_text(encoding="utf-8"), f"training.cards {role}"
    assert cards.load_card(role).figures[0].strict is not None, f"benchmarks/known_models.py {role}"


def test_the_page_has_the_tables_of_the_cards():
    assert cards.page() == cards.PAGE.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("percent", "n", "wanted"), [("82", 50, 41), ("0.0", 250, 0), ("0", 250, None), ("25", 102, None), ("89", 102, 91)]
)
def test_a_rounded_percentage_is_a_number_only_where_no_other_one_rounds_to_it(percent, n, wanted):
    assert cards.count(percent, n) == wanted


def test_a_gates_verdict_is_taken_again_from_what_a_log_found():
    log = "FAILS: says yes more often, steered, where no is true: -1.0 % of 102, wanted at most 10 %\n"
    assert list(cards.gates("alarm", log)) == [log.strip().replace("FAILS", "holds")]
