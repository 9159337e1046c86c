"""What the engine says survives the round trip, and what cannot be read is counted and never fatal."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.contract import events
from engine.contract.findings import Finding, LeftOut, Lengths, Measured, Report, SeenRow, SeenText

REPORT = Report(
    rows=3,
    items=2,
    cut=1,
    repeated=0,
    held_out=0,
    also_held_out=0,
    left_out=[LeftOut(reason="an answer is empty", count=1, where="rows.jsonl, line 2")],
    tokens=9,
    counted_tokens=4,
    lengths=Lengths(median=4, p95=5, longest=5, limit=32, width=1, bars=[0, 0, 0, 0, 1, 1]),
    shown=[SeenRow(place="row 1", texts=[SeenText(tokens=["ä", "\n\x1b"], ids=[7, 8], counted=[(1, 2)], length=2)])],
    findings=[Finding(level="warning", what="w", advice="a", key="data.train")],
    measured=Measured(
        device="cpu",
        longest_seconds=0.1,
        step_seconds=0.1,
        run_seconds=1,
        peak_bytes=9,
        at_once=2,
        grad_norm=math.inf,
    ),
    writes_bytes=10,
)
EVERY_KIND = [
    events.RunStarted(time=1.0, method="sft", steps=5, processes=2),
    events.Resumed(time=1.0, from_step=3),
    events.Phase(time=1.0, what="reading the data", progress=0.5),
    events.Preflight(time=1.0, report=REPORT),
    events.Step(time=1.0, step=1, values={"loss": 0.5, "rewards/chosen": -1.0}),
    events.Evaluation(time=1.0, step=1, values={"eval_loss": 0.5}),
    events.Samples(time=1.0, step=1, offset=10, count=2),
    events.Image(time=1.0, step=1, path="images/1.png", role="sample"),
    events.Checkpoint(time=1.0, step=1, path="checkpoints/step-000001"),
    events.CommandDone(time=1.0, step=1, id="x", ask="stop", outcome="stopped"),
    events.Notice(time=1.0, level="warning", what="äöü \u202e \n", advice="…"),
    events.RunFinished(time=1.0, reason="failed", message="why"),
]


def test_every_kind_of_event_is_among_these():
    assert {type(event) for event in EVERY_KIND} == set(events.Event.__args__)


@pytest.mark.parametrize("event", EVERY_KIND, ids=lambda event: event.kind)
def test_every_kind_survives_the_round_trip_on_one_line(event):
    line = events.event_line(event)
    assert "\n" not in line
    assert events.read_event(line.encode()) == event


@given(st.dictionaries(st.text(min_size=1, max_size=10), st.floats(), max_size=5))
def test_any_number_survives_the_round_trip(values):
    event = events.read_event(events.event_line(events.Step(step=1, time=0.0, values=values)).encode())
    assert isinstance(event, events.Step)
    assert event.values.keys() == values.keys()
    for name, value in values.items():
        assert event.values[name] == value or (math.isnan(value) and math.isnan(event.values[name]))


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_is_written_as_such(value):
    line = events.event_line(events.Step(step=1, time=0.0, values={"loss": value}))
    assert "null" not in line
    assert {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}[str(value)] in line


def test_an_unknown_kind_is_kept_and_named_as_such():
    event = events.read_event(b'{"kind": "hologram", "time": 1}')
    assert isinstance(event, events.Unreadable)
    assert "does not know" in event.reason
    assert "hologram" in event.text


def test_a_preflight_with_more_than_this_version_knows_is_read_all_the_same():
    line = events.event_line(events.Preflight(time=1.0, report=REPORT))
    newer = line.replace('"rows":3', '"rows":3,"colour":"blue"')
    assert newer != line
    assert events.read_event(newer.encode()) == events.Preflight(time=1.0, report=REPORT)


def test_keys_of_a_newer_version_do_not_hide_what_is_known():
    line = b'{"kind": "step", "step": 1, "time": 1, "values": {"loss": 2}, "mood": "good"}'
    assert events.read_event(line) == events.Step(step=1, time=1.0, values={"loss": 2.0})


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"null",
        b"[]",
        b"42",
        b"\x00\xff\xfe",
        b'{"kind": "step", "ste',
        b'{"kind": "step"}',
        b'{"time": 1}',
        b'{"kind": "step", "step": "x", "time": 1, "values": {}}',
        b"[" * 100_000,
    ],
)
def test_a_torn_or_garbage_line_is_unreadable_and_no_error(line):
    assert isinstance(events.read_event(line), events.Unreadable)


@given(st.binary(max_size=200))
def test_no_line_of_bytes_raises(line):
    events.read_event(line)


@pytest.mark.parametrize("event", EVERY_KIND, ids=lambda event: event.kind)
def test_no_prefix_of_a_line_is_taken_for_another_event(event):
    line = events.event_line(event).encode()
    assert all(isinstance(events.read_event(line[:end]), events.Unreadable) for end in range(len(line)))
