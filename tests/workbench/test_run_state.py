"""What a window believes of a run, from its events alone."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.contract import events
from workbench.state.run import RunState


def step(number: int, time: float | None = None, **values: float) -> events.Step:
    return events.Step(step=number, time=number * 0.5 if time is None else time, values=values)


def started(steps: int = 10, contract: int = events.CONTRACT_VERSION) -> events.RunStarted:
    return events.RunStarted(time=0.0, method="grpo", steps=steps, contract=contract)


def told(*new: events.Event | events.Unreadable) -> RunState:
    state = RunState()
    state.apply(new)
    return state


def points(state: RunState, name: str) -> list[tuple[float, float]]:
    x, y = state.series[name].arrays()
    return list(zip(x.tolist(), y.tolist(), strict=True))


def test_steps_become_one_series_for_each_metric() -> None:
    state = told(started(), step(1, reward=0.5, kl=0.0), step(2, reward=0.6, kl=0.1))
    assert points(state, "reward") == [(1, 0.5), (2, 0.6)]
    assert points(state, "kl") == [(1, 0.0), (2, 0.1)]
    assert (state.step, state.steps, state.fraction) == (2, 10, 0.2)


def test_a_fold_says_which_metrics_changed_and_nothing_else() -> None:
    state = told(started(), step(1, reward=0.5))
    changes = state.apply([step(2, kl=0.1)])
    assert changes.metrics == {"kl"}
    assert not changes.facts
    assert not state.apply([])


def test_a_resumed_run_forgets_what_an_earlier_life_wrote_after_the_checkpoint() -> None:
    sampled = [events.Samples(step=i, time=0, offset=0, count=1) for i in (2, 3)]
    state = told(started(), step(1, loss=3), step(2, loss=2), sampled[0], step(3, loss=9), sampled[1])
    changes = state.apply([events.Resumed(time=5, from_step=2), step(3, loss=1)])
    assert points(state, "loss") == [(1, 3), (2, 2), (3, 1)]
    assert [sample.step for sample in state.samples] == [2]
    assert changes.rewound
    assert state.step == 3


def test_a_resumed_run_is_no_longer_finished_nor_paused() -> None:
    state = told(started(), step(1), events.RunFinished(time=1, reason="failed", message="out of memory"))
    state.apply([events.Resumed(time=2, from_step=1)])
    assert state.finished is None
    assert state.pause is None


def test_evaluations_after_the_resumed_step_are_dropped_too() -> None:
    state = told(started(), events.Evaluation(step=1, time=0, values={"eval_loss": 2}), step(2, loss=1))
    state.apply([events.Evaluation(step=2, time=1, values={"eval_loss": 1}), events.Resumed(time=2, from_step=1)])
    assert points(state, "eval_loss") == [(1, 2)]
    assert state.measured == {"eval_loss"}


def test_not_a_number_and_infinity_are_kept_and_told() -> None:
    state = told(started(), step(1, loss=1.0), step(2, loss=math.nan), step(3, loss=math.inf))
    assert state.not_finite() == {"loss": [2, 3]}


def test_lines_that_cannot_be_read_are_counted_and_kept_for_the_reader() -> None:
    state = told(started(), events.read_event(b"garbage"), events.read_event(b'{"kind": "telepathy"}'), step(1, loss=1))
    assert state.unreadable_count == 2
    assert [line.reason for line in state.unreadable] == [
        "not a whole event",
        "a kind of event this version does not know",
    ]
    assert state.step == 1


@pytest.mark.parametrize("number", [1, 0, -3, 10**30])
def test_a_step_that_cannot_follow_is_counted_not_drawn(number: int) -> None:
    state = told(started(), step(1, loss=1.0), step(number, time=9.0, loss=7.0), step(2, loss=0.5))
    assert points(state, "loss") == [(1, 1.0), (2, 0.5)]
    assert state.unreadable_count == 1


def test_a_run_of_a_newer_version_is_shown_and_flagged() -> None:
    state = told(started(contract=events.CONTRACT_VERSION + 1), step(1, loss=1))
    assert state.is_newer
    assert state.step == 1


def test_the_time_left_is_the_median_step_times_the_steps_left() -> None:
    state = told(started(steps=10), step(1, time=1), step(2, time=2), step(3, time=30), step(4, time=31))
    assert state.seconds_per_step == 1
    assert state.seconds_left == 6


def test_a_pause_does_not_count_as_a_slow_step() -> None:
    pause = events.CommandDone(step=2, time=2, id="a", ask="pause")
    state = told(started(), step(1, time=1), step(2, time=2), pause, step(3, time=500), step(4, time=501))
    assert state.seconds_per_step == 1
    assert state.pause is not None
    state.apply([events.CommandDone(step=4, time=501, id="b", ask="resume")])
    assert state.pause is None


def test_the_pace_is_unknown_before_the_second_step() -> None:
    assert math.isnan(told(started(), step(1)).seconds_left)


def test_a_phase_ends_with_the_first_step() -> None:
    state = told(started(), events.Phase(time=0, what="loading model"))
    assert [state.phase is None, state.apply([step(1, loss=1)]).facts, state.phase is None] == [False, True, True]


def test_the_board_comes_first_then_what_the_method_adds_then_the_rest() -> None:
    state = told(started(), step(1, zebra=1, reward_std=0.1, reward=0.5, apple=2))
    names = state.charted()
    assert names[0] == "reward"
    assert names[6:] == ["reward_std", "apple", "zebra"]


events_of_all_kinds = st.one_of(
    st.builds(events.RunStarted, time=st.floats(0, 9), method=st.sampled_from(["sft", "grpo"]), steps=st.integers()),
    st.builds(events.Resumed, time=st.floats(0, 9), from_step=st.integers()),
    st.builds(events.Step, step=st.integers(-2, 20), time=st.floats(), values=st.dictionaries(st.text(), st.floats())),
    st.builds(events.Evaluation, step=st.integers(), time=st.floats(), values=st.just({"e": 1.0})),
    st.builds(events.Samples, step=st.integers(), time=st.floats(), offset=st.integers(), count=st.integers()),
    st.builds(events.CommandDone, step=st.integers(), time=st.floats(), id=st.text(), ask=st.text()),
    st.builds(events.RunFinished, time=st.floats(), reason=st.just("failed"), message=st.text()),
    st.builds(events.read_event, st.binary()),
)


@given(st.lists(events_of_all_kinds, max_size=30))
def test_no_order_of_events_breaks_the_fold(new: list[events.Event]) -> None:
    state = told(*new)
    assert state.step >= min([0, *(event.from_step for event in new if isinstance(event, events.Resumed))])
    state.charted(), state.not_finite(), state.seconds_left


@given(st.lists(events_of_all_kinds, max_size=30), st.integers(0, 30))
def test_reading_in_two_goes_gives_what_reading_in_one_gives(new: list[events.Event], cut: int) -> None:
    whole, halves = told(*new), told(*new[:cut])
    halves.apply(new[cut:])
    assert {name: len(s) for name, s in whole.series.items()} == {name: len(s) for name, s in halves.series.items()}
    assert (whole.step, whole.unreadable_count) == (halves.step, halves.unreadable_count)
