"""What the list says of a run: how it ended, in figures that fit what they count."""

from pathlib import Path

import pytest

from engine.contract.run_dir import RunDir
from engine.contract.status import Status, Summary
from workbench.state.run_index import row_of


def row(method: str, steps: int, **values: float):
    shape = [{name: value * part for name, value in values.items()} for part in (0.25, 0.5, 1.0)]
    run, finished = RunDir(Path("runs/20260101-000000-mine")), Status("finished")
    return row_of(Summary(run, finished, method, steps, steps, 0.0, values, [values], shape), now=60.0)


@pytest.mark.parametrize(
    ("method", "steps", "values", "line"),
    [
        ("sft", 20, {"loss": 0.3141}, "loss 0.314 · 20 steps · 1 min ago"),
        ("sft", 1, {}, "1 step · 1 min ago"),
        ("diffusion_sample", 4, {"images/drawn": 40.0}, "40 pictures · 1 min ago"),
        ("diffusion_sample", 1, {"images/drawn": 1.0}, "1 picture · 1 min ago"),
        ("sampler_proof", 9, {"proof/worst_z": 2.8, "proof/failed": 0.0}, "all checks hold · 1 min ago"),
        ("sampler_proof", 9, {"proof/worst_z": 9.1, "proof/failed": 1.0}, "1 check failed · 1 min ago"),
    ],
)
def test_a_run_that_ended_says_what_came_of_it(method: str, steps: int, values: dict[str, float], line: str) -> None:
    assert row(method, steps, **values).line == line


def test_only_a_metric_that_moves_with_training_has_its_curve_in_the_list() -> None:
    assert row("toy_diffusion", 3, loss=0.8).headline == [0.2, 0.4, 0.8]
    assert row("diffusion_sample", 3, **{"images/drawn": 8.0}).headline == []
    assert row("sampler_proof", 3, **{"proof/worst_z": 2.0}).headline == []
