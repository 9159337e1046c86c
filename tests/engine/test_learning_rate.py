"""The learning rate of every step is the one that transformers' scheduler would have set."""

from typing import Literal

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import get_scheduler

from engine.contract.settings import Optimizer
from engine.loop import learning_rate

Schedule = Literal["linear", "cosine", "constant"]
NAMES = {"linear": "linear", "cosine": "cosine", "constant": "constant_with_warmup"}


def transformers_rates(schedule: Schedule, steps: int, warmup: int, rate: float) -> list[float]:
    """The rate in force at each step."""
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=rate)
    scheduler = get_scheduler(NAMES[schedule], optimizer, num_warmup_steps=warmup, num_training_steps=steps)
    rates = []
    for _ in range(steps):
        rates.append(float(optimizer.param_groups[0]["lr"]))
        optimizer.step()
        scheduler.step()
    return rates


@pytest.mark.parametrize("schedule", ["linear", "cosine", "constant"])
@settings(max_examples=40)
@given(steps=st.integers(1, 60), warmup=st.integers(0, 70), rate=st.floats(1e-6, 1.0))
def test_every_step_has_the_rate_of_transformers(schedule: Schedule, steps: int, warmup: int, rate: float) -> None:
    """Warm-up longer than the run included."""
    how = Optimizer(learning_rate=rate, schedule=schedule, warmup_steps=warmup)
    ours = [learning_rate(step, steps, how) for step in range(1, steps + 1)]
    assert ours == pytest.approx(transformers_rates(schedule, steps, warmup, rate), rel=1e-9, abs=1e-15)


def test_a_linear_schedule_by_hand() -> None:
    # Two steps of warm-up from 0, then from 8 down to 0 just after the sixth step.
    how = Optimizer(learning_rate=0.8, schedule="linear", warmup_steps=2)
    assert [learning_rate(step, 6, how) for step in range(1, 7)] == pytest.approx([0.0, 0.4, 0.8, 0.6, 0.4, 0.2])


def test_a_cosine_schedule_by_hand() -> None:
    # Half of 1 + cos of 0, 60, 120 degrees: 1, 0.75, 0.25.
    how = Optimizer(learning_rate=1.0, schedule="cosine")
    assert [learning_rate(step, 3, how) for step in (1, 2, 3)] == pytest.approx([1.0, 0.75, 0.25])
