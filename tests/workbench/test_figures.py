"""Numbers and times as people read them."""

from __future__ import annotations

import math

import pytest

from workbench.state import figures

MINUS = "\N{MINUS SIGN}"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.94, "0.940"),
        (0.0312, "0.0312"),
        (4.3, "4.30"),
        (31.24, "31.2"),
        (212, "212"),
        (12345.6, "12,346"),
        (0.9996, "1.00"),
        (99.96, "100"),
        (0, "0"),
        (-2.47, MINUS + "2.47"),
        (1e-5, f"1.00e{MINUS}5"),
        (0.00012, "0.000120"),
        (2.5e12, "2.50e12"),
        (math.nan, "NaN"),
        (math.inf, "\N{INFINITY}"),
        (-math.inf, MINUS + "\N{INFINITY}"),
    ],
)
def test_a_number_has_three_significant_digits_and_a_true_minus(value, text):
    assert figures.number(value) == text


def test_what_is_counted_is_whole_unless_it_is_a_mean_of_counts() -> None:
    assert [figures.measured(value, is_count=True) for value in (40.0, 12345.0, 2.5)] == ["40", "12,345", "2.50"]
    assert figures.measured(math.inf, is_count=True) == figures.measured(math.inf, is_count=False) == "\N{INFINITY}"
    assert figures.measured(40.0, is_count=False) == "40.0"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (0.4, "0.4 s"),
        (9, "9 s"),
        (59.7, "1 min"),
        (125, "2 min 5 s"),
        (120, "2 min"),
        (4320, "1 h 12 min"),
        (270_000, "3 d 3 h"),
        (math.nan, "\N{EN DASH}"),
        (-1, "\N{EN DASH}"),
    ],
)
def test_a_duration_names_its_two_largest_units(seconds, text):
    assert figures.duration(seconds) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-60, "just now"),
        (2, "just now"),
        (20, "20 s ago"),
        (250, "4 min ago"),
        (3 * 3600, "3 h ago"),
        (100_000, "yesterday"),
        (500_000, "5 days ago"),
    ],
)
def test_the_past_is_told_in_one_unit(seconds, text):
    assert figures.ago(seconds) == text


def test_the_words_of_the_run_header():
    assert figures.pace(0.1) == "0.10 s/step"
    assert figures.pace(0.0021) == "2.1 ms/step"
    assert figures.pace(150) == "2.5 min/step"
    assert figures.left(9) == "9 s left"
    assert figures.left(math.inf) == ""
    assert figures.progress(212, 300) == "step 212 of 300"
    assert figures.progress(1212, None) == "step 1,212"


@pytest.mark.parametrize(
    ("octets", "text"),
    [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (40e6, "40 MB"), (2.1e9, "2.1 GB"), (999.9e6, "1.0 GB")],
)
def test_a_size_is_decimal(octets, text):
    assert figures.size(octets) == text


@pytest.mark.parametrize(
    ("fraction", "text"),
    [
        (0.61, "61%"),
        (0, "0%"),
        (1, "100%"),
        (0.997, "99.7%"),
        (0.9999, "99.9%"),
        (0.034, "3.4%"),
        (0.0001, "<0.1%"),
        (math.nan, "NaN"),
    ],
)
def test_a_share_is_all_or_nothing_only_when_it_is(fraction, text):
    assert figures.share(fraction) == text


def test_columns_line_up():
    assert [figures.fixed(v) for v in (1, -0.001, -2.466, math.nan)] == [
        "1.00",
        "0.00",
        f"{MINUS}2.47",
        "NaN",
    ]
    assert [figures.signed(v) for v in (0.35, -0.35, 0)] == ["+0.350", f"{MINUS}0.350", "0"]


def test_neighbouring_ticks_have_the_same_decimals():
    assert [figures.tick(v, 0.05) for v in (-0.05, 0.0, 0.05, 0.1)] == [f"{MINUS}0.05", "0", "0.05", "0.10"]
    assert [figures.tick(v, 500) for v in (500, 1000)] == ["500", "1,000"]
    assert figures.tick(2e6, 1e6) == "2e6"
