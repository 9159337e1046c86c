"""The main pages as pictures, in both themes. With PLUMBLINE_UPDATE_SCREENSHOTS=1 they go to assets/screenshots/."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PySide6.QtCore import QPoint, QRect
from PySide6.QtGui import QColor, QImage
from PySide6.QtWidgets import QWidget

from engine.contract import events
from engine.contract.labels import LabelDir
from engine.contract.labels_log import append_judgement
from tests.workbench.fake_pictures import drawing
from tests.workbench.fake_runs import FakeEngine, tour
from tests.workbench.label_sets import made, pairs, said
from tests.workbench.opened import opened
from tests.workbench.preflights import report
from workbench import theme
from workbench.io.system_readings import Readings
from workbench.main_window import MainWindow
from workbench.state.preset_draft import Change
from workbench.theme import Theme
from workbench.views.seen_rows import TINT

SIZE = (1440, 900)
SCREENSHOTS = Path(__file__).parents[2] / "assets" / "screenshots"
THEMES = {"light": theme.LIGHT, "dark": theme.DARK}
KEPT = {"runs", "presets", "judge", "quality", "new-set", "first-time", "crashed", "trajectory", "gallery"}
#: The same in every picture, so that a picture changes only when the page does.
READINGS = Readings(busy=0.61, used=6_200_000_000, total=25_000_000_000, gpus=())


@pytest.fixture(params=["light", "dark"])
def colours(request: pytest.FixtureRequest) -> Theme:
    return THEMES[request.param]


@pytest.fixture
def engine(workspace: Path) -> Iterator[FakeEngine]:
    made = tour(workspace)
    yield made
    made.vanish()


@pytest.fixture
def window(qtbot: Any, workspace: Path, engine: FakeEngine, colours: Theme) -> Iterator[MainWindow]:
    with opened(qtbot, workspace, theme=colours.name, size=SIZE) as made:
        assert made.runs.run is not None
        page = made.runs.run
        qtbot.waitUntil(lambda: page.board.is_drawn and bool(page.completions.rows))
        yield made


def picture(qtbot: Any, window: MainWindow, name: str) -> QImage:
    """The window at rest; kept where the pictures of the house are, if asked."""
    window.session.readings.stop()
    qtbot.wait(400)  # words follow curves at their own pace
    window.header.show_readings(READINGS)
    window.status_line.show_part("workspace", "workspace ~/Plumbline")
    image = window.grab().toImage()
    if name in KEPT and os.environ.get("PLUMBLINE_UPDATE_SCREENSHOTS"):
        SCREENSHOTS.mkdir(parents=True, exist_ok=True)
        image.save(str(SCREENSHOTS / f"{name}-{window.appearance.theme.name}.png"))
    return image


def part(image: QImage, window: QWidget, widget: QWidget) -> QImage:
    return image.copy(QRect(widget.mapTo(window, QPoint(0, 0)), widget.size()))


def near(image: QImage, colour: QColor, slack: int = 24) -> int:
    """How many pixels have about this colour."""
    wanted = np.array([colour.blue(), colour.green(), colour.red()])
    return int((abs(pixels(image) - wanted) <= slack).all(axis=2).sum())


def pixels(image: QImage) -> np.typing.NDArray[np.int16]:
    """(height, width, 3): blue, green, red."""
    plain = image.convertToFormat(QImage.Format.Format_RGB32)
    lines = np.frombuffer(plain.constBits(), dtype=np.uint8).reshape(plain.height(), plain.width(), 4)
    return lines[:, :, :3].astype(np.int16)


def share(image: QImage, colour: QColor) -> float:
    return near(image, colour, slack=2) / (image.width() * image.height())


def test_the_runs_page_shows_its_curves_in_their_colours(qtbot: Any, window: MainWindow, colours: Theme) -> None:
    image = picture(qtbot, window, "runs")
    assert (image.width(), image.height()) == SIZE
    assert window.runs.run is not None
    for at, chart in enumerate(window.runs.run.board.charts.values()):
        drawn = part(image, window, chart)
        assert near(drawn, colours.curve(at % 8).colour) > 300, chart.accessibleName()
        assert share(drawn, colours.colour("surface")) > 0.7


def test_the_runs_page_is_mostly_calm(qtbot: Any, window: MainWindow, colours: Theme) -> None:
    image = picture(qtbot, window, "runs")
    calm = sum(share(image, colours.colour(token)) for token in ("ground", "surface", "raised"))
    assert calm > 0.85


def test_the_list_marks_each_state_with_its_colour(qtbot: Any, window: MainWindow, colours: Theme) -> None:
    rows = part(picture(qtbot, window, "runs"), window, window.runs.list)
    for token in ("running", "finished", "failed"):
        assert near(rows, colours.colour(token)) > 50, token


def test_the_run_on_show_is_marked_in_the_list(qtbot: Any, window: MainWindow, colours: Theme) -> None:
    rows = part(picture(qtbot, window, "list"), window, window.runs.list)
    assert share(rows.copy(0, 0, rows.width(), 90), colours.colour("raised")) > 0.4


def test_the_answers_tell_right_from_wrong(qtbot: Any, window: MainWindow, colours: Theme) -> None:
    assert window.runs.run is not None
    window.runs.run.completions.pin(6)
    qtbot.waitUntil(lambda: window.runs.run.completions.rows[0].step == 35)
    answers = part(picture(qtbot, window, "completions"), window, window.runs.run.completions)
    assert near(answers, colours.colour("finished")) > 30
    assert near(answers, colours.colour("failed")) > 30


def test_the_data_marks_what_counts_with_a_tint_and_a_line(
    qtbot: Any, window: MainWindow, engine: FakeEngine, colours: Theme
) -> None:
    engine.say(events.Preflight(time=1.0, report=report()))
    window.show_tab("Data")
    assert window.runs.run is not None
    data = window.runs.run.data
    qtbot.waitUntil(lambda: "France" in data.rows.text)
    image = part(picture(qtbot, window, "data"), window, data)
    assert near(image, QColor(theme.mixed(colours.accent, colours.surface, TINT)), slack=2) > 500
    assert near(image, colours.colour("accent"), slack=2) > 50
    assert near(image, colours.colour("warning")) > 30


def test_a_crashed_run_offers_to_resume(qtbot: Any, window: MainWindow, colours: Theme) -> None:
    crashed = window.session.index.find("grpo-kl-0.1")
    assert crashed is not None
    assert window.runs.run is not None
    window.session.show(crashed.run.path)
    qtbot.waitUntil(lambda: window.is_settled)
    header = window.runs.run.header
    image = part(picture(qtbot, window, "crashed"), window, header)
    assert "Killed (signal 9)." in header.text
    assert near(image, colours.colour("accent")) > 500
    assert near(image, colours.colour("failed")) > 50


@pytest.mark.parametrize("page", ["presets", "help"])
def test_the_other_pages_are_drawn(qtbot: Any, window: MainWindow, colours: Theme, page: str) -> None:
    window.show_page(page)
    image = picture(qtbot, window, page)
    assert len(np.unique(pixels(image) @ [1, 256, 65536])) > 50  # as numbers: rows take seconds to sort
    assert near(image, colours.colour("text")) > 1000


def test_noise_becomes_pictures_beside_their_norms(
    qtbot: Any, window: MainWindow, colours: Theme, workspace: Path
) -> None:
    engine = drawing(workspace).finish()
    window.session.show(engine.run.path)
    qtbot.waitUntil(lambda: window.has_tab("Trajectory"))
    window.show_tab("Trajectory")
    assert window.runs.run is not None
    pane = window.runs.run.trajectory
    qtbot.waitUntil(lambda: pane.is_drawn)
    for action in ("beside", "beside", "first", *["forward"] * 11):
        window.picture(action)
    qtbot.waitUntil(lambda: pane.is_drawn and all(pane.shown))
    image = part(picture(qtbot, window, "trajectory"), window, pane)
    assert near(image, colours.curve(0).colour) > 100
    assert near(image, colours.curve(1).colour) > 100
    assert near(image, colours.colour("accent")) > 50
    assert near(image, QColor("white"), slack=8) > 2000
    window.show_tab("Gallery")
    gallery = window.runs.run.gallery
    qtbot.waitUntil(lambda: len(gallery.gallery.records) == 30 and gallery.table.picture(29) is not None)
    grid = part(picture(qtbot, window, "gallery"), window, gallery)
    assert near(grid, QColor("black"), slack=8) > 50_000
    assert near(grid, colours.colour("muted")) > 300


def judged(workspace: Path) -> LabelDir:
    """A set of two models that a person has judged for a while, with a habit."""
    label_dir = made(workspace, "bread-and-tea", 120)
    lot = np.random.default_rng(0)
    for place, one in enumerate(pairs(96)):
        left = place % 2
        better = left if lot.random() < 0.64 else 1 - left
        seconds = float(lot.lognormal(1.6, 0.4))
        append_judgement(
            label_dir.judgements, said(one, better, left=left, active_seconds=seconds, strength=1 + place % 3)
        )
        if place % 9 == 0:
            append_judgement(label_dir.judgements, said(one, left, left=1 - left, active_seconds=3.0, repeat=True))
    return label_dir


def test_a_sitting_is_calm_and_lights_what_was_chosen(
    qtbot: Any, window: MainWindow, colours: Theme, workspace: Path
) -> None:
    window.show_page("judge")
    window.session.labelling.judge_as("ada")
    window.session.labelling.open(judged(workspace))
    qtbot.waitUntil(lambda: window.is_judging)
    assert window.judging is not None
    calm = picture(qtbot, window, "judge")
    assert sum(share(calm, colours.colour(token)) for token in ("ground", "surface", "raised")) > 0.85
    window.judge("left")
    lit = part(window.grab().toImage(), window, window.judging.sitting)
    dim = part(calm, window, window.judging.sitting)
    assert near(lit, colours.colour("accent"), slack=2) > near(dim, colours.colour("accent"), slack=2) + 2000


def test_the_quality_page_shows_intervals_and_what_to_worry_about(
    qtbot: Any, window: MainWindow, colours: Theme, workspace: Path
) -> None:
    window.show_page("judge")
    window.session.labelling.read_quality(judged(workspace))
    page = window.judging
    assert page is not None
    qtbot.waitUntil(lambda: page.quality is not None and page.quality.isVisible())
    image = part(picture(qtbot, window, "quality"), window, page)
    assert near(image, colours.colour("warning")) > 100
    assert near(image, colours.curve(0).colour) > 300
    assert near(image, colours.colour("accent"), slack=2) > 400


def test_a_new_set_shows_what_is_wrong_on_the_left_and_its_first_rows_on_the_right(
    qtbot: Any, window: MainWindow, colours: Theme, workspace: Path
) -> None:
    window.label_set("new")
    assert window.judging is not None
    page = window.judging.desks.new
    assert page is not None
    page.adding["preferences"].click()
    page.set_group.changed.emit(Change("set", ("parts", 0, "source"), "assets/data/preferences.jsonl"))
    qtbot.waitUntil(lambda: page.desk.table.rowCount() > 0, timeout=60_000)
    sound = part(picture(qtbot, window, "new-set"), window, page)
    assert near(sound, colours.colour("failed")) < 30
    assert near(part(sound, page, page.desk.table), colours.colour("text")) > 1000
    page.set_group.changed.emit(Change("set", ("name",), "no such name!"))
    qtbot.waitUntil(lambda: page.desk.says.startswith("Mend"))
    assert near(part(picture(qtbot, window, "new-set-wrong"), window, page), colours.colour("failed")) > 200
    page.desk.hold()


def test_the_palette_lies_over_the_page(qtbot: Any, window: MainWindow, colours: Theme) -> None:
    window.open_palette()
    image = part(picture(qtbot, window, "palette"), window, window.palette_box)
    assert near(image, colours.colour("text")) > 500


def test_an_empty_workspace_shows_one_thing_to_do(qtbot: Any, workspace: Path, colours: Theme) -> None:
    with opened(qtbot, workspace, theme=colours.name, size=SIZE) as window:
        image = picture(qtbot, window, "first-time")
        assert near(image, colours.colour("accent"), slack=2) > 5000
        assert share(image, colours.colour("ground")) > 0.7


def test_the_smallest_screen_shows_all_that_is_needed(qtbot: Any, workspace: Path, engine: FakeEngine) -> None:
    with opened(qtbot, workspace, size=(1280, 720)) as window:
        page = window.runs.run
        assert page is not None
        qtbot.waitUntil(lambda: page.board.is_drawn and bool(page.completions.rows))
        qtbot.wait(200)
        assert len(page.board.charts) == 6
        assert all(not chart.visibleRegion().isEmpty() for chart in page.board.charts.values())
        assert page.board.verticalScrollBar().maximum() < 60
        assert page.completions.height() > 90
