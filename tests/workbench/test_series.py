"""A series draws what is in it: every spike, the newest sample, and nothing that is not there."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workbench.state.pyramid import CHUNK
from workbench.state.series import Sample, Series, Smoothed, csv_text

values = st.lists(
    st.one_of(st.floats(-1e6, 1e6), st.sampled_from([math.nan, math.inf, -math.inf, 0.0])),
    max_size=700,
)
gaps = st.integers(0, 3)


def naive_ema(ys, weight):
    """The formula of the docstring, one sample at a time."""
    decayed, seen, out = 0.0, 0, []
    for y in ys:
        if math.isfinite(y):
            seen += 1
            decayed = weight * decayed + (1 - weight) * y
        out.append(decayed / (1 - weight**seen) if seen else math.nan)
    return out


def series_of(xs, ys, pieces=1):
    series = Series()
    for part_x, part_y in zip(np.array_split(xs, pieces), np.array_split(ys, pieces), strict=True):
        series.extend(part_x, part_y)
    return series


def appended(xs, ys):
    series = Series()
    for x, y in zip(xs, ys, strict=True):
        series.append(x, y)
    return series


@st.composite
def samples(draw):
    ys = np.array(draw(values), dtype=np.float64)
    xs = np.cumsum(draw(st.lists(gaps, min_size=ys.size, max_size=ys.size))).astype(np.float64)
    return xs, ys


@given(samples(), st.integers(1, 5))
def test_one_by_one_or_in_pieces_gives_the_same_line(data, pieces):
    xs, ys = data
    one, many = appended(xs, ys), series_of(xs, ys, pieces)
    for pixels in (3, 20, 1000):
        np.testing.assert_array_equal(one.draw(0, 1e9, pixels), many.draw(0, 1e9, pixels))


@given(samples(), st.floats(-5, 1500), st.floats(0, 1500))
def test_the_extrema_of_a_stretch_are_those_of_its_finite_samples(data, start, width):
    xs, ys = data
    series = series_of(xs, ys)
    inside = (xs >= start) & (xs <= start + width)
    finite = ys[inside & np.isfinite(ys)]
    found = series.extrema(start, start + width)
    if finite.size:
        assert found is not None
        assert (found.low, found.high) == (finite.min(), finite.max())
        assert found.low in ys[xs == found.low_x]
        assert found.high in ys[xs == found.high_x]
    elif inside.any():
        assert found is None


@given(samples(), st.integers(1, 60))
def test_a_drawn_line_is_short_ordered_and_loses_no_extreme(data, pixels):
    xs, ys = data
    series = series_of(xs, ys)
    line = series.draw(-math.inf, math.inf, pixels)
    assert line.x.size <= 2 * pixels + 7
    assert (np.diff(line.x) >= 0).all()
    drawn, finite = line.y[np.isfinite(line.y)], ys[np.isfinite(ys)]
    assert not np.isinf(line.y).any()
    if finite.size:
        assert (drawn.min(), drawn.max()) == (finite.min(), finite.max())
        assert set(drawn) <= set(finite)
    if ys.size:
        assert line.x[-1] == xs[-1]
        assert line.y[-1] == ys[-1] or not math.isfinite(ys[-1])


@given(samples(), st.integers(0, 1500), st.integers(1, 40))
def test_a_cut_series_is_the_series_that_never_had_the_rest(data, cut, pixels):
    xs, ys = data
    series, kept = series_of(xs, ys), xs <= cut
    smoothed = Smoothed(series, 0.8)
    smoothed.draw(0, 1e9, pixels)
    series.truncate_after(cut)
    expected = series_of(xs[kept], ys[kept])
    assert len(series) == kept.sum()
    assert series.last == expected.last or math.isnan(series.last.y)
    np.testing.assert_array_equal(series.draw(0, 1e9, pixels), expected.draw(0, 1e9, pixels))
    assert [s.x for s in series.broken()] == [s.x for s in expected.broken()]
    series.append(1e6, 2.0)
    expected.append(1e6, 2.0)
    again = Smoothed(expected, 0.8).draw(0, 1e9, pixels)
    np.testing.assert_allclose(smoothed.draw(0, 1e9, pixels), again, rtol=1e-9, atol=1e-6)


@given(samples(), st.floats(0, 0.999), st.integers(1, 6))
def test_the_smoothed_line_is_the_debiased_average_of_the_whole_history(data, weight, pieces):
    xs, ys = data
    series = Series()
    smoothed = Smoothed(series, weight)
    for part_x, part_y in zip(np.array_split(xs, pieces), np.array_split(ys, pieces), strict=True):
        series.extend(part_x, part_y)
        smoothed.value_at(0)  # reads what came, so the next piece carries on from it
    line = smoothed.draw(-math.inf, math.inf, 10_000)
    np.testing.assert_allclose(line.y, naive_ema(ys, weight), rtol=1e-8, atol=1e-6)


@given(samples(), st.floats(-10, 1500))
def test_the_value_at_x_is_the_nearest_sample(data, x):
    xs, ys = data
    found = series_of(xs, ys).value_at(x)
    if not xs.size:
        assert found is None
        return
    assert abs(found.x - x) == np.abs(xs - x).min()
    assert found.y in ys[xs == found.x] or math.isnan(found.y)


def test_a_spike_of_one_sample_in_a_million_is_drawn_at_its_own_x():
    ys = np.sin(np.arange(1_000_000) / 5e4)
    ys[765_432] = 50.0
    line = series_of(np.arange(1e6), ys).draw(0, 1e6, 300)
    assert line.x.size <= 607
    assert line.x[line.y.argmax()] == 765_432
    assert line.y.max() == 50.0


def test_old_points_stand_still_while_new_ones_arrive():
    rng = np.random.default_rng(0)
    series = series_of(np.arange(100_000.0), rng.normal(size=100_000))
    before = series.draw(0, 110_000, 300)
    series.extend(np.arange(100_000.0, 100_008.0), rng.normal(size=8))
    after = series.draw(0, 110_000, 300)
    np.testing.assert_array_equal(after.x[:500], before.x[:500])


def test_a_nan_is_marked_and_hides_no_neighbour():
    ys = np.ones(100_000)
    ys[[7, 50_000]] = math.nan, math.inf
    series = series_of(np.arange(100_000.0), ys)
    assert np.isfinite(series.draw(0, 1e5, 200).y).all()
    assert [sample.x for sample in series.broken()] == [7, 50_000]
    assert series.broken(10, 100_000) == [Sample(50_000, math.inf)]
    assert math.isnan(series.value_at(7).y)


def test_a_zoomed_view_shows_the_samples_themselves_and_one_beyond_each_edge():
    series = series_of(np.arange(100_000.0), np.arange(100_000.0) % 7)
    line = series.draw(70_000, 70_010, 300)
    np.testing.assert_array_equal(line.x, np.arange(69_999.0, 70_012.0))


def test_samples_on_both_sides_of_a_chunk_boundary_are_found():
    xs = np.arange(2.0 * CHUNK)
    series = series_of(xs, xs)
    for x in (CHUNK - 1, CHUNK, CHUNK + 1):
        assert series.value_at(x) == (x, x)
    assert series.neighbour(CHUNK, -1) == (CHUNK - 1, CHUNK - 1)
    assert series.neighbour(0, -5) == (0, 0)


@pytest.mark.parametrize("x", [4.0, math.nan, math.inf])
def test_a_step_that_goes_back_is_refused_and_changes_nothing(x):
    series = appended([1.0, 5.0], [0.0, 0.0])
    with pytest.raises(ValueError, match="truncate_after"):
        series.append(x, 1.0)
    with pytest.raises(ValueError, match="truncate_after"):
        series.extend([6.0, x], [0.0, 0.0])
    assert len(series) == 2


def test_the_stamp_tells_a_rewritten_step_from_the_old_one():
    series = appended([1.0, 2.0], [0.0, 0.0])
    before = series.stamp
    series.truncate_after(1)
    series.append(2.0, 9.0)
    assert series.stamp != before


def test_an_empty_series_answers_every_question():
    series, smoothed = Series(), Smoothed(Series())
    for answer in (series.last, series.first, series.value_at(3), series.extrema(), smoothed.value_at(3)):
        assert answer is None
    assert series.draw(0, 1, 10).x.size == smoothed.draw(0, 1, 10).x.size == 0
    series.truncate_after(0)


def test_a_new_weight_smooths_the_whole_history_again():
    ys = np.random.default_rng(1).normal(size=5000)
    series = series_of(np.arange(5000.0), ys)
    smoothed = Smoothed(series, 0.5)
    smoothed.draw(0, 5000, 10)
    smoothed.set_weight(0.97)
    np.testing.assert_allclose(smoothed.draw(0, 5000, 5000).y, naive_ema(ys, 0.97), rtol=1e-9)
    with pytest.raises(ValueError, match="below 1"):
        smoothed.set_weight(1.0)


@settings(max_examples=20)
@given(samples())
def test_a_copied_table_reads_back_as_the_samples(data):
    xs, ys = data
    rows = [line.split(",") for line in csv_text({"a": series_of(xs, ys)}).splitlines()]
    assert rows[0] == ["step", "a"]
    latest = dict(zip(xs.tolist(), ys.tolist(), strict=True))
    np.testing.assert_array_equal(
        [[float(c) for c in row] for row in rows[1:]] or np.empty((0, 2)),
        list(latest.items()) or np.empty((0, 2)),
    )


def test_a_copied_table_joins_series_on_x():
    text = csv_text({"reward": appended([1, 2], [0.5, 1.0]), "kl, k3": appended([2, 3], [math.nan, 0.25])})
    assert text == 'step,reward,"kl, k3"\n1,0.5,\n2,1,nan\n3,,0.25\n'
