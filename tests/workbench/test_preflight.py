"""The data as the model sees it, shown: what counts is told without colour, and nothing in the data can act."""

from pathlib import Path
from typing import Any

import pytest
from PySide6.QtCore import Qt
from PySide6.QtGui import QColor, QTextCharFormat
from PySide6.QtWidgets import QLabel

from engine.contract import events
from engine.contract.faults import Fault
from engine.contract.findings import Finding, SeenRow
from tests.workbench.fake_runs import FakeEngine
from tests.workbench.opened import opened
from tests.workbench.preflights import MEASURED, report, text
from workbench import theme
from workbench.io import engine_process
from workbench.io.engine_process import Refused
from workbench.main_window import MainWindow
from workbench.state import preflight as words
from workbench.state.run import RunState
from workbench.views.length_bars import LengthBars
from workbench.views.preflight_view import PreflightView
from workbench.views.preset_page import PresetPage
from workbench.views.seen_rows import EXPLAINED, TINT, SeenRows

HOSTILE = "<img src='file:///etc/passwd'><b>bold</b> \x1b[31m \u202eevil"


# ------------------------------------------------------------------------------------------------------------- words


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("plain <b> é 中", "plain <b> é 中"),
        ("a\nb", "a↵\nb"),
        ("\x1b[31m\0\t", "␛[31m␀␉"),
        ("\u202eabc\u200b", "⟨U+202E⟩abc⟨U+200B⟩"),
        ("\u2028", "⟨U+2028⟩"),
    ],
)
def test_what_would_move_or_hide_is_written_out(given: str, shown: str) -> None:
    assert words.literal(given) == shown


def test_the_headline_is_what_counts() -> None:
    assert words.headline(report(tokens=200, counted_tokens=50)) == "25% of 200 tokens count in the loss"
    assert words.headline(report(tokens=0, counted_tokens=0)).startswith("0% of 0")
    assert words.headline(report(by_token=False)).startswith("Each text counts as a whole")
    prompts = [SeenRow(place="row 1", texts=[text("1+1=", "", sampled=6, counted=[])])]
    assert words.headline(report(shown=prompts)).startswith("Prompts only: the answers will be sampled")


def test_lengths_rows_and_time_are_told_in_words() -> None:
    assert words.lengths_told(report().lengths).replace("\xa0", " ") == (
        "median 74   95% up to 112   longest 128   limit 128"
    )
    assert words.rows_told(report()) == "118 of 120 rows, 4 of them cut"
    assert words.rows_told(report(cut=0)) == "118 of 120 rows"
    assert words.measured_told(MEASURED) == ("0.32 s a step, about 1 min 8 s in all\n477 MB at most on cpu, 16 at once")
    assert "No step was tried" in words.measured_told(None)


def test_what_stands_over_a_text_names_its_row_and_its_side() -> None:
    assert words.text_told("row 1", text("ab", "c", name="chosen")) == "row 1  ·  chosen  ·  4 tokens  ·  2 count"
    assert words.text_told("row 1", text("ab", "c", is_cut=True)).endswith("2 count  ·  cut at its end")
    assert words.text_told("row 1", text("ab", "", counted=[], sampled=6)).endswith("then up to 6 sampled")
    assert words.text_told("row 1", text("ab", "c", skipped=9, length=13)) == "row 1  ·  13 tokens"


def test_errors_are_read_before_warnings_and_both_before_the_rest() -> None:
    levels = ("good", "warning", "info", "error", "warning")
    findings = [Finding(level=level, what=str(n)) for n, level in enumerate(levels)]
    assert [one.what for one in words.urgent(findings)] == ["3", "1", "4"]
    assert [one.what for one in words.calm(findings)] == ["0", "2"]


def test_a_run_keeps_what_was_found_before_its_first_step() -> None:
    assert RunState().preflight is None
    state = RunState()
    changes = state.apply([events.Preflight(time=1.0, report=report())])
    assert changes.facts
    assert state.preflight == report()
    assert state.unreadable_count == 0


# ------------------------------------------------------------------------------------------------------------- views


def drawn(qtbot: Any, *texts: Any) -> SeenRows:
    view = SeenRows()
    qtbot.addWidget(view)
    view.show_rows([SeenRow(place="row 1", texts=list(texts))])
    return view


def test_what_counts_is_underlined_on_a_tint_and_the_rest_is_not(qtbot: Any) -> None:
    view = drawn(qtbot, text("47+38=", "58"))
    counted, other = view.format_of("58<|end|>"), view.format_of("47+38=")
    assert counted.underlineStyle() == QTextCharFormat.UnderlineStyle.SingleUnderline
    assert other.underlineStyle() == QTextCharFormat.UnderlineStyle.NoUnderline
    assert counted.background().color() != QColor(theme.LIGHT.surface)
    assert other.background().style() == Qt.BrushStyle.NoBrush


@pytest.mark.parametrize("colours", [theme.LIGHT, theme.DARK])
def test_counted_text_bears_its_tint(colours: theme.Theme) -> None:
    assert theme.contrast(colours.text, theme.mixed(colours.accent, colours.surface, TINT)) >= 4.5


def test_a_token_pointed_at_says_whether_it_counts(qtbot: Any) -> None:
    view = drawn(qtbot, text("ab", "c"))
    start = view.text.index("abc")
    assert view.told_at(start) == "token 1  ·  is read, and does not count  ·  id 97"
    assert view.told_at(start + 2) == "token 3  ·  counts in the loss  ·  id 99"
    assert view.told_at(0) == EXPLAINED


def test_tokens_behind_what_is_not_shown_keep_their_number(qtbot: Any) -> None:
    view = drawn(qtbot, text("ab", "c", skipped=90, skipped_at=2, length=94))
    assert "ab  … 90 tokens …  c<|end|>" in view.text
    assert view.told_at(view.text.index("c<|end|>")).startswith("token 93")
    assert view.told_at(view.text.index("… 90")) == EXPLAINED


def test_hostile_data_is_shown_as_it_is_written(qtbot: Any) -> None:
    view = drawn(qtbot, text(HOSTILE, HOSTILE))
    assert "<img src='file:///etc/passwd'><b>bold</b> ␛[31m ⟨U+202E⟩evil" in view.text
    assert "\x1b" not in view.text
    assert "\u202e" not in view.text


def test_the_bars_say_in_words_what_they_show(qtbot: Any) -> None:
    bars = LengthBars()
    qtbot.addWidget(bars)
    bars.show_lengths(report().lengths)
    assert "median 74" in bars.accessibleName().replace("\xa0", " ")
    bars.resize(220, bars.height())
    picture = bars.grab().toImage()
    colour = QColor(theme.LIGHT.curves[0])
    columns = {x for x in range(picture.width()) for y in range(picture.height()) if picture.pixelColor(x, y) == colour}
    assert min(columns) > 220 * 20 / 140  # nothing is shorter than 24 of 132 tokens
    assert max(columns) > 200


def test_a_view_shows_findings_with_what_is_urgent_first_and_says_their_level(qtbot: Any) -> None:
    view = PreflightView()
    qtbot.addWidget(view)
    view.show_report(report())
    assert view.told[0] == (
        "Warning: 4 of 118 rows are cut at 128 tokens. Raise data.max_length if memory and model allow."
    )
    assert [line.partition(":")[0] for line in view.told] == ["Warning", "Fine", "Note", "Fine"]
    assert "38% of 9,412 tokens count in the loss" in view.words
    assert "writes up to 93 MB" in view.words
    view.set_theme(theme.DARK)
    assert len(view.told) == 4
    view.show_report(report(findings=[Finding(level="error", what="nothing counts", advice="give answers")]))
    assert view.told == ["Refused: nothing counts. Give answers."]


def test_hostile_findings_are_plain_text(qtbot: Any) -> None:
    view = PreflightView()
    qtbot.addWidget(view)
    view.show_report(report(findings=[Finding(level="info", what=HOSTILE)]))
    [label] = view.findChildren(QLabel, "finding")
    assert label.text() == f"Note: {HOSTILE}"
    assert label.textFormat() == Qt.TextFormat.PlainText


# ------------------------------------------------------------------------------------------------------- in the window


def data_pane(window: MainWindow) -> PreflightView:
    return window.runs.build_run_page().data


def preset_page(window: MainWindow) -> PresetPage:
    assert window.presets is not None
    return window.presets


def test_the_run_page_shows_the_data_as_the_model_sees_it(qtbot: Any, workspace: Path) -> None:
    engine = FakeEngine(workspace / "runs", "helpful", method="sft").begin()
    engine.say(events.Preflight(time=1.0, report=report()))
    engine.train(5).finish()
    with opened(qtbot, workspace) as window:
        window.run_command("run.tab.Data")
        pane = data_pane(window)
        qtbot.waitUntil(lambda: "What is the capital of France?" in pane.rows.text)
        assert "instructions.jsonl, line 1  ·  68 tokens  ·  7 count" in pane.rows.text
        assert pane.isVisible()


def test_a_run_of_an_older_engine_says_that_there_is_nothing_yet(qtbot: Any, workspace: Path) -> None:
    FakeEngine(workspace / "runs", "old", method="sft").begin().train(5).finish()
    with opened(qtbot, workspace) as window:
        window.show_tab("Data")
        pane = data_pane(window)
        assert pane.rows.text == ""
        assert pane._empty.isVisible()


def test_another_run_on_show_does_not_keep_the_data_of_the_first(qtbot: Any, workspace: Path) -> None:
    first = FakeEngine(workspace / "runs", "first", method="sft", stamp="20251009-100000").begin()
    first.say(events.Preflight(time=1.0, report=report()))
    first.train(5).finish()
    second = FakeEngine(workspace / "runs", "second", method="sft", stamp="20251009-110000").begin().train(5).finish()
    with opened(qtbot, workspace, run="first") as window:
        window.show_tab("Data")
        pane = data_pane(window)
        qtbot.waitUntil(lambda: "France" in pane.rows.text)
        window._open_run(second.run.path)
        qtbot.waitUntil(lambda: pane._empty.isVisible())


def test_a_deep_check_is_shown_on_the_preset_page_and_goes_stale_with_the_text(
    qtbot: Any, workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = {"steps": 10, "batch_size": 4, "preflight": report().model_dump(mode="json")}
    monkeypatch.setattr(engine_process, "check_deeply", lambda *_: plan)
    with opened(qtbot, workspace) as window:
        window.show_page("presets")
        page = preset_page(window)
        shown = page.report
        assert not shown.isVisible()
        window.run_command("preset.check_deeply")
        qtbot.waitUntil(shown.isVisible)
        assert "France" in shown.view.rows.text
        assert not shown.is_stale
        page.text.setPlainText(page.text.text + "\n# changed")
        qtbot.waitUntil(lambda: shown.is_stale)


def test_a_deep_check_that_refuses_marks_the_setting(
    qtbot: Any, workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fault = Fault(("training", "micro_batch_size"), "", "out of memory at the longest batch", "set it to 4")
    monkeypatch.setattr(engine_process, "check_deeply", lambda *_: Refused("x", [fault]))
    with opened(qtbot, workspace) as window:
        window.show_page("presets")
        page = preset_page(window)
        window.run_command("preset.check_deeply")
        qtbot.waitUntil(lambda: fault.problem in [known.problem for known in page.draft.faults])
        assert not page.report.isVisible()


def test_a_deep_check_asks_the_engine_for_more_than_the_quick_one(tmp_path: Path) -> None:
    asked: list[list[str]] = []

    def engine(arguments: list[str], home: Path, **_: Any) -> tuple[int, str, str]:
        asked.append(arguments)
        return 0, '{"steps": 3}', ""

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(engine_process, "_engine", engine)
        engine_process.check_preset(Path("p.yaml"), tmp_path, tmp_path)
        assert engine_process.check_deeply(Path("p.yaml"), tmp_path, tmp_path) == {"steps": 3}
    assert ["--quick" in arguments for arguments in asked] == [True, False]
