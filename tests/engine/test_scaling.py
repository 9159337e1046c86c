"""The compute-scaling curve: fitted where its truth is known, doubted where it cannot be, and read from runs."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engine import __main__ as command_line
from engine.contract import events
from engine.contract.run_dir import RunDir
from engine.evaluation import scaling
from engine.evaluation.run_curve import curve_of_run, spent
from engine.evaluation.scaling import Curve, ScalingError, back_test, fit, reward_at
from tests.engine import running

TRUTH = {"start": 0.1, "asymptote": 0.65, "exponent": 1.8, "middle": 2e6}


def measured(
    seed: int, *, reach: float, noise: float, points: int = 30, is_known: bool = True, has_start: bool = True
) -> Curve:
    """Evenly over the compute, up to `reach` times the middle."""
    draw = np.random.default_rng(seed)
    compute = np.linspace(reach / points, reach, points) * TRUTH["middle"]
    reward = reward_at(compute, **TRUTH) + draw.normal(0, noise, points)
    start = (TRUTH["start"] + float(draw.normal(0, noise)), noise)
    return Curve(compute, reward, np.full(points, noise) if is_known else None, start if has_start else None)


# -------------------------------------------------------------------------------------------------------- the fit


def test_the_curve_is_the_papers_equation() -> None:
    found = reward_at(np.array([1.0, 2.0, 4.0]), start=0.1, asymptote=0.9, exponent=2.0, middle=2.0)
    # 1 + (2/1)^2 = 5, 1 + 1, 1 + 1/4.
    assert found == pytest.approx([0.1 + 0.8 / 5, 0.5, 0.1 + 0.8 / 1.25])


def test_without_noise_the_truth_is_found() -> None:
    """To the width of the finest grid."""
    curve = measured(0, reach=6, noise=1e-6)
    found = fit(curve, ceiling=1.0)
    assert found.is_identified
    assert found.asymptote.value == pytest.approx(0.65, abs=1e-4)
    assert found.exponent.value == pytest.approx(1.8, abs=1e-2)
    assert found.middle.value == pytest.approx(2e6, rel=2e-3)
    assert found.start == pytest.approx(0.1, abs=1e-4)
    assert found.asymptote.low <= found.asymptote.value <= found.asymptote.high


@pytest.mark.parametrize("is_known", [True, False], ids=["errors known", "from the scatter"])
def test_intervals_cover_the_truth_about_as_often_as_they_say(is_known: bool) -> None:
    """Of 40 experiments each; fewer than 33 of them would happen by chance once in 300 times."""
    covered = {"asymptote": 0, "exponent": 0, "middle": 0}
    for seed in range(40):
        found = fit(measured(seed, reach=4, noise=0.02, is_known=is_known), ceiling=1.0)
        for name in covered:
            interval = getattr(found, name)
            covered[name] += interval.low <= TRUTH[name] <= interval.high
    assert min(covered.values()) >= 33, covered
    assert max(covered.values()) <= 40


def test_a_start_that_was_measured_narrows_the_interval() -> None:
    few = measured(1, reach=3, noise=0.01, points=10)
    known, free = (fit(few._replace(start=start), ceiling=1.0).asymptote for start in ((0.1, 0.001), None))
    assert known.high - known.low < 0.9 * (free.high - free.low)


@pytest.mark.parametrize("seed", range(4))
def test_before_its_middle_a_curve_tells_no_asymptote_and_says_why(seed: int) -> None:
    """Its best asymptote may be anything; the interval still holds the truth."""
    found = fit(measured(seed, reach=0.7, noise=0.004), ceiling=1.0)
    assert not found.is_identified
    assert found.rises
    assert any("times as far as the curve's middle" in doubt for doubt in found.doubts)
    assert found.asymptote.low <= 0.65 <= found.asymptote.high
    assert found.asymptote.high - found.asymptote.low > 0.2


def test_noise_is_not_taken_for_a_rise() -> None:
    rising = 0
    for seed in range(15):
        draw = np.random.default_rng(seed)
        flat = Curve(np.arange(1.0, 21.0), 0.3 + draw.normal(0, 0.02, 20), np.full(20, 0.02))
        rising += fit(flat, ceiling=1.0).rises
    assert rising == 0
    falling = Curve(np.arange(1.0, 21.0), 0.5 - 0.01 * np.arange(20.0), np.full(20, 0.01))
    assert fit(falling).doubts == [scaling.NO_RISE]


def test_a_curve_that_the_model_does_not_fit_has_wider_intervals_than_its_errors_say() -> None:
    """Every other measurement is off by five standard errors."""
    curve = measured(3, reach=6, noise=0.004)
    uneven = curve._replace(reward=curve.reward + 0.02 * (-1.0) ** np.arange(30))
    plain, wide = fit(curve, ceiling=1.0), fit(uneven, ceiling=1.0)
    assert wide.scatter > 3
    assert wide.asymptote.high - wide.asymptote.low > 3 * (plain.asymptote.high - plain.asymptote.low)


def test_without_a_ceiling_an_asymptote_may_be_above_one() -> None:
    compute = np.linspace(0.2, 8, 24)
    reward = reward_at(compute, start=-2.0, asymptote=5.0, exponent=1.5, middle=1.0)
    found = fit(Curve(compute, reward + 0.01 * (-1.0) ** np.arange(24)))
    assert found.asymptote.low < 5.0 < found.asymptote.high
    assert found.is_identified


def test_the_band_holds_what_comes_and_a_look_back_says_how_it_went() -> None:
    curve = measured(5, reach=8, noise=0.01)
    back = back_test(curve, ceiling=1.0)
    assert back is not None
    assert back.inside > 0.85
    assert back.mean_error < 0.06
    first = Curve(curve.compute[:15], curve.reward[:15], np.full(15, 0.01), curve.start)
    found = fit(first, ceiling=1.0, forecast=curve.compute[15:])
    truth = reward_at(curve.compute[15:], **TRUTH)
    assert ((found.band.low <= truth) & (truth <= found.band.high)).mean() > 0.9
    assert (found.band.low <= found.band.best).all()
    assert (found.band.best <= found.band.high).all()
    assert back_test(measured(5, reach=8, noise=0.01, points=11)) is None


def test_thresholds_are_those_of_chi_squared_and_student() -> None:
    assert scaling.threshold(5, is_known=True) == pytest.approx(3.8415)
    assert math.sqrt(scaling.threshold(4, is_known=False)) == pytest.approx(2.776)
    assert math.sqrt(scaling.threshold(60, is_known=False)) == pytest.approx(2.0003, abs=1e-3)


@pytest.mark.parametrize(
    ("curve", "message"),
    [
        (measured(0, reach=4, noise=0.01, points=5), "there are 5 measurements of held-out reward"),
        (Curve(np.arange(8.0), np.arange(8.0)), "compute should rise from measurement to measurement, from above 0"),
        (Curve(np.arange(1.0, 9.0), np.array([0.1] * 7 + [np.nan])), "a held-out reward is no number"),
        (Curve(np.arange(1.0, 9.0), np.arange(8.0)), "a reward of 7 is above the ceiling of 1; raise it"),
    ],
    ids=["few", "still", "nan", "high"],
)
def test_points_that_make_no_curve_are_refused(curve: Curve, message: str) -> None:
    with pytest.raises(ScalingError, match=message):
        fit(curve, ceiling=1.0)


# ------------------------------------------------------------------------------------------------------ from a run


def run_of(folder: Path, rewards: list[float], *, tokens: float = 1000.0, preset: Any = None) -> RunDir:
    """A run that measured after each step; a step takes half a second and so many tokens."""
    run = running.new_run(folder, preset or running.grpo())
    told: list[events.Event] = []
    for step, reward in enumerate(rewards, start=1):
        values = {"num_tokens": tokens * step, "step_time": 0.5, "reward": 0.1}
        told += [events.Step(step=step, time=0.0, values=values)]
        told += [events.Evaluation(step=step, time=0.0, values={"eval_reward": reward})]
    run.events.write_text("".join(event.model_dump_json() + "\n" for event in told), "utf-8")
    return run


def call(*words: object) -> int:
    try:
        return command_line.main(["scaling", *map(str, words)])
    except SystemExit as left:
        return int(left.code or 0)


def test_compute_is_what_was_spent_until_then_and_a_later_life_takes_back_what_it_repeats(tmp_path: Path) -> None:
    run = run_of(tmp_path / "run", [0.1, 0.2, 0.3, 0.4])
    again = [
        events.Resumed(time=0.0, from_step=2),
        events.Step(step=3, time=0.0, values={"num_tokens": 3000.0, "step_time": 2.0}),
        events.Evaluation(step=3, time=0.0, values={"eval_reward": 0.35, "eval_reward_se": 0.05}),
    ]
    with run.events.open("a", encoding="utf-8") as file:
        file.writelines(event.model_dump_json() + "\n" for event in again)
    seconds = spent(run, metric="eval_reward", compute="step_time")
    assert [(p.step, p.compute, p.reward, p.error) for p in seconds] == [
        (1, 0.5, 0.1, None),
        (2, 1.0, 0.2, None),
        (3, 3.0, 0.35, 0.05),
    ]
    assert [p.compute for p in spent(run, metric="eval_reward", compute="num_tokens")] == [1000, 2000, 3000]
    curve = curve_of_run(run, metric="eval_reward", compute="step_time", early=0.2, start=0.05)
    assert curve.compute.tolist() == [1.0, 3.0]
    assert curve.error is None
    assert curve.start is not None
    assert curve.start[0] == 0.05


def test_a_standard_error_of_zero_is_taken_for_that_of_the_others_and_step_zero_for_the_start(tmp_path: Path) -> None:
    run = running.new_run(tmp_path / "run", running.grpo())
    told: list[events.Event] = [
        events.Evaluation(step=0, time=0.0, values={"eval_reward": 0.02, "eval_reward_se": 0.01})
    ]
    for step, error in enumerate((0.0, 0.03, 0.05), start=1):
        told += [events.Step(step=step, time=0.0, values={"num_tokens": 10.0 * step})]
        told += [events.Evaluation(step=step, time=0.0, values={"eval_reward": 0.1, "eval_reward_se": error})]
    run.events.write_text("".join(event.model_dump_json() + "\n" for event in told), "utf-8")
    curve = curve_of_run(run, metric="eval_reward", compute="num_tokens", early=0.0)
    assert curve.error is not None
    assert curve.error.tolist() == pytest.approx([0.04, 0.03, 0.05])
    assert curve.start == (0.02, 0.01)


def test_the_command_tells_where_a_run_is_heading_or_that_it_cannot_be_told(tmp_path: Path, capsys: Any) -> None:
    far, near = (measured(7, reach=reach, noise=0.004, points=30) for reach in (6, 0.7))
    done = run_of(tmp_path / "done", far.reward.tolist(), tokens=float(far.compute[0]))
    early = run_of(tmp_path / "early", near.reward.tolist(), tokens=float(near.compute[0]))
    assert call(done.path, early.path, "--ceiling", 1) == 0
    out = capsys.readouterr().out
    assert "eval_reward is" in out
    assert "heading for" in out
    assert "where it is heading cannot be told yet: the run has come" in out
    assert "it is at least" in out
    assert "fitted to the first half of the measurements" in out
    assert call(done.path, "--ceiling", 1, "--json") == 0
    [told] = json.loads(capsys.readouterr().out)
    assert told["identified"] is True
    assert told["asymptote"]["low"] < 0.65 < told["asymptote"]["high"]
    assert told["middle"]["low"] < 2e6 < told["middle"]["high"]
    assert len(told["points"]["compute"]) == len(told["points"]["value"]) == 27  # without the first tenth
    assert len(told["band"]["low"]) == len(told["band"]["compute"]) == 60
    assert call(done.path, "--ceiling", 1, "--compute", "seconds", "--json") == 0
    [told] = json.loads(capsys.readouterr().out)
    # A step is half a second and a 30th of 12 million tokens.
    assert told["middle"]["low"] < 2e6 / 4e5 * 0.5 < told["middle"]["high"]


def test_runs_without_a_curve_are_each_named_with_their_reason(tmp_path: Path, capsys: Any) -> None:
    short = run_of(tmp_path / "short", [0.1, 0.2, 0.3])
    none = running.new_run(tmp_path / "none", running.sft())
    assert call(short.path, none.path, tmp_path / "nowhere") == 2
    err = capsys.readouterr().err
    assert "there are 3 measurements of held-out reward, and a curve takes at least 6" in err
    assert "none has no measurements of eval_reward" in err
    assert "set data.eval and training.eval_every" in err
    assert "is not a run directory" in err
    assert call(short.path, "--early", 1) == 2
    assert "should be from 0 to less than 1" in capsys.readouterr().err
