"""Figures are shown with the digits that count, compared as ratios, and held to promises."""

import pytest

from bench.figures import Promise, Table, markdown, middle, ratio, share, shown, text

TABLE = Table(
    "Checks",
    ("daemon", "CPU s"),
    (("lvs-nat", 0.2345), ("keepalived", None)),
    notes=("Medians.",),
    promises=(Promise("/ keepalived's", 0.4, 0.6), Promise("most", 1.2, 1.5, at_least=True)),
)


@pytest.mark.parametrize(
    "value, words",
    [
        (None, "-"), ("tcp", "tcp"), (0, "0"), (7.0, "7"), (0.12345, "0.123"), (12.345, "12.3"),
        (123.45, "123"), (12345.6, "12,346"), (-0.0621, "-0.0621"),
    ],
)  # fmt: skip
def test_a_figure_has_three_digits_that_count(value, words):
    assert shown(value) == words


def test_a_table_is_text_for_a_terminal():
    assert text(TABLE) == (
        "Checks\n"
        "  daemon      CPU s\n"
        "  lvs-nat     0.234\n"
        "  keepalived      -\n"
        "  Medians.\n"
        "  kept: / keepalived's: 0.4 (at most 0.6)\n"
        "  BROKEN: most: 1.2 (at least 1.5)"
    )


def test_a_table_is_markdown_for_a_document():
    assert markdown(TABLE) == (
        "### Checks\n\n"
        "| daemon | CPU s |\n| --- | ---: |\n| lvs-nat | 0.234 |\n| keepalived | - |\n\n"
        "Medians.\n"
        "* kept: / keepalived's: 0.4 (at most 0.6)\n"
        "* BROKEN: most: 1.2 (at least 1.5)"
    )


def test_a_table_keeps_its_promises_only_if_each_is_kept():
    assert not TABLE.kept
    assert Table("", (), (), promises=TABLE.promises[:1]).kept


def test_what_is_not_known_has_no_ratio_and_no_median():
    assert (ratio(2.0, 4.0), ratio(None, 4.0), ratio(2.0, None), ratio(2.0, 0.0)) == (
        0.5, None, None, None,
    )  # fmt: skip
    assert (middle([3.0, 1.0, 2.0]), middle([])) == (2.0, None)


def test_a_share_of_the_values_lies_below():
    values = [float(number) for number in range(100)]

    assert [share(values, part) for part in (0.0, 0.5, 0.99, 1.0)] == [0.0, 50.0, 99.0, 99.0]
    assert share([], 0.5) == 0.0
