"""`check` without `--quick`: a process of the engine looks at data and model, and what it found is told."""

import json
import signal
import tempfile
from pathlib import Path
from typing import Any

import pytest

from engine.__main__ import main
from engine.command_line import deep_check, report
from engine.command_line.deep_check import Outcome
from engine.contract.faults import Fault
from engine.contract.findings import Finding, LeftOut, Lengths, Measured, Report, SeenRow, SeenText

LENGTHS = Lengths(median=6, p95=8, longest=9, limit=32, width=1, bars=[0, 0, 0, 0, 0, 0, 4, 0, 8, 1])
MEASURED = Measured(
    device="cpu",
    longest_seconds=0.25,
    step_seconds=0.2,
    run_seconds=600,
    peak_bytes=1_200_000_000,
    at_once=16,
    grad_norm=1.5,
)
SEEN = SeenText(tokens=["47", "+\n", "=", "58", "<|end|>"], ids=[1, 2, 3, 4, 5], counted=[(3, 5)], length=5)


def report_of(**changes: Any) -> Report:
    known: dict[str, Any] = {
        "rows": 10,
        "items": 9,
        "cut": 0,
        "repeated": 0,
        "held_out": 0,
        "also_held_out": 0,
        "left_out": [LeftOut(reason="an answer is empty", count=1, where="rows.jsonl, line 3")],
        "tokens": 50,
        "counted_tokens": 20,
        "lengths": LENGTHS,
        "shown": [SeenRow(place="rows.jsonl, line 1", texts=[SEEN])],
        "findings": [],
        "measured": MEASURED,
        "writes_bytes": 40_000_000,
    }
    return Report(**{**known, **changes})


def shown(**changes: Any) -> str:
    return "\n".join(line.plain for line in report.lines(report_of(**changes)))


def of_text(**changes: Any) -> str:
    text = SEEN.model_copy(update=changes)
    return shown(shown=[SeenRow(place="row 1", texts=[text])]).splitlines()[1]


# ------------------------------------------------------------------------------------------------- what is printed


def test_what_counts_stands_in_brackets_and_is_underlined_in_green() -> None:
    line = list(report.lines(report_of()))[1]
    assert line.plain == "  47+↵=⟦58<|end|>⟧  (5 tokens)"
    styles = {line.plain[span.start : span.end]: span.style for span in line.spans}
    assert styles["58"] == styles["<|end|>"] == report.COUNTED
    assert styles["47"] == report.UNCOUNTED


def test_shares_lengths_time_memory_and_disk_are_told() -> None:
    text = shown()
    assert "9 of 10 rows looked at, 50 tokens, 40% of them count in the loss" in text
    assert "median 6, 95% up to 8, longest 9 of 32 tokens  0       ▄ █▁ 10" in text
    assert "0.25 s for the longest batch, 16 at once; 1.2 GB on cpu" in text
    assert "about 10 min, 0.2 s a step, without evaluations and saving" in text
    assert "up to 40 MB" in text
    assert "s a step" not in shown(measured=None)


def test_of_texts_that_count_as_a_whole_nothing_is_said_of_tokens() -> None:
    text = shown(by_token=False)
    assert "50 tokens, each text counts as a whole" in text
    assert "in brackets" not in text


def test_what_is_cut_sampled_named_or_left_out_of_a_text_is_said() -> None:
    assert of_text(is_cut=True).endswith("⟧ … cut here  (5 tokens)")
    assert "… up to 6 sampled tokens, which count" in of_text(sampled=6, counted=[])
    assert of_text(name="chosen").startswith("  chosen: 47")
    assert of_text(skipped=90, skipped_at=2, length=95).startswith("  47+↵ … 90 tokens … =⟦58")


def test_what_a_text_holds_moves_no_cursor_and_marks_nothing_up() -> None:
    line = of_text(tokens=["\x1b[31m", "[bold]", "\r", "\x07", "ok"])
    assert line.startswith("   [31m[bold] ⟦ ok⟧")


def test_findings_are_told_with_their_level_and_what_to_do() -> None:
    text = shown(
        findings=[
            Finding(level="warning", what="rows are cut", advice="raise data.max_length"),
            Finding(level="good", what="all is well"),
        ]
    )
    assert "warning: rows are cut; raise data.max_length" in text
    assert "fine: all is well" in text


# ------------------------------------------------------------------------------------------------------ the command


@pytest.fixture
def preset(tmp_path: Path) -> Path:
    file = tmp_path / "sums.yaml"
    file.write_text(
        "method: sft\nmodel: {path: scratch, scratch: {layers: 2, width: 32, context: 64}, device: cpu}\n"
        "data: {train: {path: task:arithmetic, rows: 40}, max_length: 32}\n"
        "training: {steps: 20, batch_size: 8, threads: 1}\n"
    )
    return file


def given(monkeypatch: pytest.MonkeyPatch, outcome: Outcome) -> None:
    monkeypatch.setattr(deep_check, "examine", lambda prepared, display: outcome)


def test_a_check_shows_plan_and_report(
    preset: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    given(monkeypatch, Outcome(report_of(), []))
    assert main(["check", str(preset)]) == 0
    out = capsys.readouterr().out
    assert out.index("20 steps of 8") < out.index("⟦58<|end|>⟧") < out.index("about 10 min")


def test_a_check_for_scripts_has_the_report_beside_the_plan(
    preset: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    given(monkeypatch, Outcome(report_of(), []))
    assert main(["check", str(preset), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["steps"] == 20
    assert Report.model_validate(told["preflight"]) == report_of()


def test_a_quick_check_starts_no_engine(
    preset: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(deep_check, "examine", lambda *_: pytest.fail("it was started"))
    assert main(["check", str(preset), "--quick", "--json"]) == 0
    assert "preflight" not in json.loads(capsys.readouterr().out)


def test_a_refused_preset_has_exit_code_2_and_the_report_is_shown_all_the_same(
    preset: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    fault = Fault(("training", "micro_batch_size"), "", "out of memory", "set it to 4")
    given(monkeypatch, Outcome(report_of(), [fault]))
    assert main(["check", str(preset)]) == 2
    out, err = capsys.readouterr()
    assert "⟦58<|end|>⟧" in out
    assert "training.micro_batch_size: out of memory; set it to 4" in err


def test_errors_of_a_report_become_faults_of_their_settings() -> None:
    error = Finding(level="error", what="nothing counts", advice="give answers", key="data.train")
    [fault] = deep_check._faults(report_of(findings=[error]), "nothing counts\ngive answers")
    assert fault == Fault(("data", "train"), "", "nothing counts", "give answers")


@pytest.mark.parametrize(
    ("message", "problem", "remedy"),
    [
        ("no room\nfree some", "no room", "free some"),
        ("no rows; give some; or not", "no rows", "give some; or not"),
        ("odd", "odd", "see the message"),
    ],
)
def test_a_message_without_a_report_is_told_as_a_fault_of_the_whole(message: str, problem: str, remedy: str) -> None:
    [fault] = deep_check._faults(None, message)
    assert (fault.problem, fault.remedy, fault.key) == (problem, remedy, ())


def test_an_engine_that_was_killed_is_told_to_have_run_out_of_memory() -> None:
    assert deep_check._last_words(0) == ""
    assert "most likely for want of memory\nset training.micro_batch_size lower" in deep_check._last_words(
        -signal.SIGKILL
    )
    assert "exit code 7" in deep_check._last_words(7)


@pytest.mark.slow
def test_a_check_in_a_process_of_its_own_leaves_nothing_behind(
    preset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", None)
    before = sorted(tmp_path.iterdir())
    assert main(["check", str(preset), "--json", "--workspace", str(tmp_path / "new")]) == 0
    out, err = capsys.readouterr()
    found = Report.model_validate(json.loads(out)["preflight"])
    assert found.items == 40
    assert found.measured is not None
    assert "trying the longest batch …" in err
    assert sorted(tmp_path.iterdir()) == before
    assert list((tmp_path / "tmp").glob("plumbline-check-*")) == []
