"""The window on a proof of samplers and on a toy of two dimensions: what is drawn, and what is said of it."""

import math
from pathlib import Path

import numpy as np
import pytest
from PySide6.QtCore import Qt

from engine.contract.proof import Budget, LawCheck, OrderCheck, ParityCheck, Proof, write_proof
from engine.contract.toy import Toy, append_record, begin_toy
from tests.workbench.fake_runs import FakeEngine
from tests.workbench.opened import opened
from workbench import theme
from workbench.state.lab import LogLine, arrows, bounds_of, decades, plane_of, steps_between
from workbench.views.proof_pane import ProofPane

RIGHT = OrderCheck(sampler="ode_heun", expected=2, steps=(20, 40, 80), errors=(1.6e-3, 4e-4, 1e-4), order=2.0)
WRONG = LawCheck(sampler="ddim", eta=1.0, steps=50, samples=9, z_means=(0.5, -7.25), z_covariances=(1.0,))
SAME = ParityCheck(sampler="ddpm", eta=0.0, steps=1000, difference=3e-5, limit=1e-4)
COST = Budget(sampler="ddim", steps=(5, 10), looks=(5, 10), distances=(0.5, 0.25))
PROOF = Proof(schedule="the linear schedule", timesteps=1000, alphas=(1.0, 0.0), orders=(RIGHT,), parity=(SAME,))
TOY = Toy(data="moons", sampler="ode_heun", times=(1.0, 0.5, 0.0), particles=3, grid=2, extent=2.0, goal=((0, 1),))


def moment(size: float) -> bytes:
    """Three particles at `size`, and a field of which one arrow is four times as strong as another."""
    points = [[size, size]] * 3 + [[1, 0], [0, 4], [0, 0], [math.nan, 1]]
    return np.asarray(points, "<f4").tobytes()


def test_arrows_are_as_long_as_a_cell_at_most_and_nothing_is_drawn_where_there_is_no_field() -> None:
    plane = plane_of(TOY, moment(0.5))
    assert plane.particles.tolist() == [[0.5, 0.5]] * 3
    # The cell is 4 wide; the weaker arrow is sqrt(1 / 4) of that. From the corners, row by row from below.
    assert arrows(TOY, plane.field).tolist() == [[-2, -2, 2, 0], [2, -2, 0, 4]]
    assert arrows(TOY, np.zeros((4, 2))).shape == (0, 4)


def test_a_logarithmic_plot_shows_every_point_that_has_a_logarithm() -> None:
    line = LogLine("a", (10.0, 100.0, 0.0), (1e-3, 1e-1, 5.0))
    assert line.points == [(10.0, 1e-3), (100.0, 1e-1)]
    bounds = bounds_of([line])
    assert bounds.left < 1 < 2 < bounds.right
    assert bounds.low < -3 < -1 < bounds.high
    assert decades(-3.2, -0.9, 9) == [-3, -2, -1]
    assert decades(-9.5, 0.0, 5) == [-9, -7, -5, -3, -1]
    assert steps_between(0.9, 2.1) == [10, 20, 50, 100]
    assert bounds_of([]) == (0, 1, 0, 1)


def test_a_proof_says_what_holds_and_names_what_does_not(qtbot) -> None:
    pane = ProofPane()
    qtbot.addWidget(pane)
    pane.set_theme(theme.DARK)
    pane.show_proof(None)
    assert pane.words == "Waiting for the first check."
    pane.show_proof(PROOF)
    assert pane.words == "2 checks hold so far; the rest is still to come."
    pane.show_proof(PROOF.model_copy(update={"laws": (WRONG,), "budgets": (COST,), "is_whole": True}))
    assert pane.words == "1 of 3 checks fail on this schedule."
    assert pane.failed == "ddim at eta 1 draws images 7.2 standard errors off its own law; at most 4.5 is chance."


@pytest.fixture
def laboratory(workspace: Path) -> Path:
    """A proof that is going on, and a toy that looked at its particles twice."""
    proof = FakeEngine(workspace / "runs", "proof", method="sampler_proof", steps=3, stamp="20260101-000001").begin()
    write_proof(proof.run.path, PROOF)
    proof.finish()
    toy = FakeEngine(workspace / "runs", "toy", method="toy_diffusion", steps=20, stamp="20260101-000000").begin()
    begin_toy(toy.run.path, TOY)
    for step in (1, 10):
        append_record(toy.run.path, TOY, step, [moment(step + place) for place in range(3)])
    toy.finish()
    return workspace


def test_a_proof_and_a_toy_have_a_tab_of_their_own_in_place_of_answers(qtbot, laboratory: Path) -> None:
    with opened(qtbot, laboratory, run="proof") as window:
        page = window.runs.run
        assert page is not None
        qtbot.waitUntil(lambda: page.lab.proof.words.startswith("2 checks hold"), timeout=10_000)
        assert (page.tab, page.has_tab("Completions"), page.board.isVisible()) == ("Lab", False, False)


def test_a_toy_is_scrubbed_and_played_by_keyboard(qtbot, laboratory: Path) -> None:
    with opened(qtbot, laboratory, run="toy") as window:
        page = window.runs.run
        assert page is not None
        toy = page.lab.toy
        qtbot.waitUntil(lambda: toy.shown == (1, 2), timeout=10_000)  # the newest record, at the data
        qtbot.keyClick(toy.time, Qt.Key.Key_Home)
        qtbot.keyClick(toy.record, Qt.Key.Key_Left)
        assert toy.shown == (0, 0)
        qtbot.waitUntil(lambda: toy.particles == [[1.0, 1.0]] * 3, timeout=10_000)
        qtbot.keyClick(toy.play, Qt.Key.Key_Space)
        qtbot.waitUntil(lambda: toy.shown == (0, 2) and not toy.play.isChecked(), timeout=10_000)
        qtbot.waitUntil(lambda: toy.particles == [[3.0, 3.0]] * 3, timeout=10_000)
