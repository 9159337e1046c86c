"""The labelling set: nothing said is lost, and what was taken back does not count."""

import errno
import json
import math
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from engine.contract import jsonl
from engine.contract.faults import PresetError
from engine.contract.labels import (
    Candidate,
    Guideline,
    Item,
    Judgement,
    LabelDir,
    LabelSet,
    Line,
    Redo,
    Retraction,
    prompt_key,
)
from engine.contract.labels_items import ItemLines
from engine.contract.labels_lean import LeanReader
from engine.contract.labels_log import (
    JudgementLog,
    ReadOnlyError,
    append_judgement,
    create_set,
    list_sets,
    read_items,
    read_judgements,
    read_ledger,
    read_set,
    why_read_only,
)
from engine.contract.labels_standing import Ledger, pairs, standing


def item(name: str) -> Item:
    return Item(id=name, prompt="Write one line.", candidates=(Candidate(text="a"), Candidate(text="b")))


def judged(name: str, what: str = "x", who: str = "ada", **more: Any) -> Judgement:
    values: dict[str, Any] = {"ranking": ((0,), (1,)), "shown": (1, 0), "time": 1.0}
    return Judgement(id=name, item=what, labeller=who, **values | more)


def retracted(name: str, who: str = "ada") -> Retraction:
    return Retraction(judgement=name, labeller=who, time=2.0)


def redone(name: str, who: str = "ada") -> Redo:
    return Redo(judgement=name, labeller=who, time=3.0)


@pytest.fixture
def labels(tmp_path: Path) -> LabelDir:
    return create_set(tmp_path / "labels" / "kind", LabelSet(name="kind"), [item("x"), item("y")])


def test_a_set_is_read_back_as_it_was_made(labels: LabelDir) -> None:
    assert read_set(labels) == LabelSet(name="kind")
    assert read_items(labels) == [item("x"), item("y")]
    assert read_judgements(labels).lines == []


def test_a_set_is_never_made_over_another(labels: LabelDir) -> None:
    with pytest.raises(FileExistsError, match="choose another name"):
        create_set(labels.path, LabelSet(name="kind"), [])


def test_two_items_may_not_share_an_id(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="given twice"):
        create_set(tmp_path / "set", LabelSet(name="set"), [item("x"), item("x")])
    assert not (tmp_path / "set").exists()


def test_a_judgement_is_read_back_as_it_was_said(labels: LabelDir) -> None:
    said: list[Line] = [
        judged("1", seconds=2.5, strength=3, note="ü\n"),
        retracted("1"),
        redone("1"),
        Guideline(sha256="f00", text="Prefer the true one.", time=1.0),
        judged("2", "y", ranking=((0, 1),), repeat=True, flagged=True, guideline="f00", active_seconds=1.5),
    ]
    for line in said:
        append_judgement(labels.judgements, line)
    assert read_judgements(labels).lines == said


def test_a_torn_or_unknown_line_loses_none_of_its_neighbours(labels: LabelDir) -> None:
    append_judgement(labels.judgements, judged("1"))
    with labels.judgements.open("ab") as file:
        file.write(b'{"kind": "opinion"}\n{"kind": "judgem')
    append_judgement(labels.judgements, judged("2", "y"))
    read = read_judgements(labels)
    assert [line.id for line in read.lines if isinstance(line, Judgement)] == ["1", "2"]
    assert read.unreadable == 2


WHOLE = judged("j", strength=2, seconds=2.5, active_seconds=1.5, note="n", settles=("a",), guideline="f")
ODD: list[Any] = [
    None,
    True,
    0,
    -1,
    4,
    2.5,
    -0.5,
    math.nan,
    "",
    "text",
    [],
    [0],
    [[0], [1]],
    [[0, 0]],
    [[]],
    [["0"]],
    {"a": 1},
]


@given(st.sampled_from([*Judgement.model_fields, "mood"]), st.sampled_from(ODD), st.booleans())
def test_a_line_of_any_shape_is_read_as_if_each_were_checked_in_full(field: str, value: Any, is_known: bool) -> None:
    odd = WHOLE.model_dump(mode="json") | {field: value}
    less = {key: value for key, value in odd.items() if key != field}
    ordinary = WHOLE.model_dump_json().encode()
    reader = LeanReader()
    if is_known:
        reader.learn(WHOLE)
    for values in (odd, less, dict(reversed(odd.items()))):
        line = json.dumps(values).encode()
        read = reader.read(line)
        assert read is None or repr(read) == repr(Judgement.model_validate_json(line))
        assert reader.read(ordinary) == (WHOLE if is_known else None)


def test_lines_as_we_write_them_take_the_quick_way_once_one_of_their_kind_was_checked() -> None:
    reader = LeanReader()
    line = WHOLE.model_dump_json().encode()
    assert reader.read(line) is None
    reader.learn(WHOLE)
    read = reader.read(line)
    assert read == WHOLE
    assert read is not None
    assert read.model_dump_json().encode() == line
    assert read.model_copy(update={"note": "other"}).note == "other"
    for odd in (b"not json", b"", b"[]", line + b"," + line):
        assert reader.read(odd) is None


def test_a_retraction_takes_its_judgement_back() -> None:
    assert standing([judged("1"), judged("2", "y"), retracted("1")]) == [judged("2", "y")]


def test_the_last_judgement_of_an_item_counts_and_undo_gives_the_one_before_back() -> None:
    first, second = judged("1"), judged("2", ranking=((1,), (0,)))
    assert standing([first, second]) == [second]
    assert standing([first, second, retracted("2")]) == [first]


def test_two_labellers_do_not_overrule_each_other() -> None:
    both = [judged("1"), judged("2", who="bob")]
    assert standing([*both, retracted("1", who="bob")]) == both


@given(st.lists(st.tuples(st.sampled_from("abc"), st.booleans()), max_size=12))
def test_undo_of_everything_leaves_nothing(said: list[tuple[str, bool]]) -> None:
    lines = [judged(str(number), what) for number, (what, _) in enumerate(said)]
    assert standing([*lines, *(retracted(line.id) for line in reversed(lines))]) == []
    assert len(standing(lines)) == len({what for what, _ in said})


def test_a_ranking_gives_a_pair_for_each_two_it_tells_apart() -> None:
    assert list(pairs(judged("1", ranking=((2,), (0, 1))))) == [(2, 0), (2, 1)]
    assert list(pairs(judged("1", ranking=((0, 1),)))) == []
    assert judged("1", ranking=((0, 1),)).is_tie


@pytest.mark.parametrize(
    "wrong",
    [
        {"ranking": ((0,), (0,))},
        {"ranking": ((0,), ())},
        {"ranking": ()},
        {"outcome": "both_bad"},
        {"ranking": ((-1,), (0,))},
        {"strength": 4},
    ],
    ids=["twice", "empty group", "nothing", "bad and ranked", "below zero", "too strong"],
)
def test_what_cannot_be_meant_is_not_a_judgement(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        judged("1", **wrong)


def test_a_candidate_is_a_text_or_an_image() -> None:
    with pytest.raises(ValidationError):
        Candidate()
    with pytest.raises(ValidationError):
        Candidate(text="a", image="a.png")


def test_faults_of_a_set_name_file_key_and_remedy(labels: LabelDir) -> None:
    labels.settings.write_text("name: kind\nquestoin: Which?\nseed: -1\n")
    with pytest.raises(PresetError) as told:
        read_set(labels)
    assert "did you mean question?" in str(told.value)
    assert "seed: should be at least 0" in str(told.value)
    assert str(labels.settings) in str(told.value)


def test_a_damaged_item_is_told_with_its_line(labels: LabelDir) -> None:
    with labels.items.open("a") as file:
        file.write('{"id": "z", "prompt": "?", "candidates": []}\n')
    with pytest.raises(ValueError, match=r"line 3: .* restore the file from a copy"):
        read_items(labels)


# ---------------------------------------------------------------------------------------------------- undo and redo


def test_redo_lets_a_judgement_stand_again_until_something_new_is_said() -> None:
    ledger = Ledger([judged("1"), judged("2", "y"), retracted("2")])
    assert ledger.redoable("ada") == judged("2", "y")
    ledger.apply(redone("2"))
    assert ledger.standing() == [judged("1"), judged("2", "y")]
    ledger.apply(retracted("2"))
    ledger.apply(judged("3", "z"))
    assert ledger.redoable("ada") is None
    ledger.apply(redone("2"))
    assert ledger.standing() == [judged("1"), judged("3", "z")]


def test_undo_of_one_labeller_leaves_the_redo_of_another() -> None:
    ledger = Ledger([judged("1"), retracted("1"), judged("2", who="bob")])
    assert ledger.redoable("ada") == judged("1")
    assert ledger.undoable("bob") == judged("2", who="bob")
    assert ledger.undoable("ada") is None


class Editor:
    """Undo and redo as every editor has them: two stacks."""

    def __init__(self) -> None:
        self.done: list[str] = []
        self.undone: list[str] = []


@given(st.lists(st.sampled_from(["judge x", "judge y", "undo", "redo"]), max_size=30))
def test_undo_and_redo_are_an_editors_two_stacks_however_often_and_after_a_restart(asked: list[str]) -> None:
    lines: list[Line] = []
    ledger, editor = Ledger(), Editor()
    for number, what in enumerate(asked):
        line: Line
        if what == "undo" and editor.done:
            editor.undone.append(editor.done.pop())
            line = retracted(editor.undone[-1])
        elif what == "redo" and editor.undone:
            editor.done.append(editor.undone.pop())
            line = redone(editor.done[-1])
        elif what.startswith("judge"):
            editor.done.append(str(number))
            editor.undone.clear()
            line = judged(str(number), what[-1])
        else:
            continue
        lines.append(line)
        ledger.apply(line)
    for known in (ledger, Ledger(lines)):
        undoable, redoable = known.undoable("ada"), known.redoable("ada")
        assert (undoable and undoable.id) == (editor.done[-1] if editor.done else None)
        assert (redoable and redoable.id) == (editor.undone[-1] if editor.undone else None)
    assert Ledger(lines).standing() == ledger.standing()


# ------------------------------------------------------------------------------------- repeats and adjudications


def test_a_repeat_never_overrules_what_was_said_first() -> None:
    first, again = judged("1"), judged("2", ranking=((1,), (0,)), repeat=True)
    ledger = Ledger([first, again])
    assert ledger.standing() == [first]
    assert ledger.repeats() == [again]
    assert (ledger.of("x", "ada"), ledger.of("x", "ada", repeat=True)) == (first, again)


def test_an_adjudication_takes_the_place_of_what_it_settles_and_leaves_it_on_the_record() -> None:
    ada, bob, other = judged("1"), judged("2", who="bob", ranking=((1,), (0,))), judged("3", "y")
    decided = judged("4", who="eve", settles=("1", "2"))
    ledger = Ledger([ada, bob, other, decided])
    assert ledger.standing() == [ada, bob, other]
    assert ledger.settled() == [other, decided]
    ledger.apply(retracted("4", who="eve"))
    assert ledger.settled() == [ada, bob, other]


# ---------------------------------------------------------------------------------------------------------- bad input


def test_text_with_half_a_character_is_kept_with_a_question_mark_in_its_place(labels: LabelDir) -> None:
    with labels.items.open("a") as file:
        file.write('{"id": "z", "prompt": "a\\ud800b", "candidates": [{"text": "\\u202e"}, {"text": "\\u0000"}]}\n')
    assert read_items(labels)[-1].prompt == "a?b"
    append_judgement(labels.judgements, judged("1", note="\udc00"))
    assert read_judgements(labels).lines == [judged("1", note="?")]


def test_items_are_followed_while_they_are_written(labels: LabelDir) -> None:
    read = ItemLines(labels)
    assert dict(read) == {"x": item("x"), "y": item("y")}
    assert not ItemLines(labels, read.offset)
    with labels.items.open("a") as file:
        file.write(item("z").model_dump_json() + "\n" + '{"id": "to')
    more = ItemLines(labels, read.offset)
    assert dict(more) == {"z": item("z")}
    assert not ItemLines(labels, more.offset)


@pytest.mark.parametrize("name", ["plain", "a/0", "ü", 'with "quotes"', "back\\slash", "new\nline"])
def test_an_item_keeps_its_name_whatever_stands_in_it(tmp_path: Path, name: str) -> None:
    labels = create_set(tmp_path / "set", LabelSet(name="set"), [item(name)])
    assert dict(ItemLines(labels)) == {name: item(name)}


@pytest.mark.parametrize(
    ("line", "is_told_at_once"),
    [
        ('{"id":"z","prompt":"?","candidates":[]}', False),
        ('{"id":"z","prompt":"?"', True),
        ('{"prompt": "?", "candidates": []}', True),
        ("", True),
    ],
    ids=["no candidates", "torn", "no name", "empty"],
)
def test_an_item_that_is_none_is_told_with_its_line(labels: LabelDir, line: str, is_told_at_once: bool) -> None:
    with labels.items.open("a") as file:
        file.write(line + "\n")
    told = r"items.jsonl, line 3: .* restore the file from a copy"
    if is_told_at_once:
        with pytest.raises(ValueError, match=told):
            ItemLines(labels)
        return
    found = ItemLines(labels)
    assert found["x"] == item("x")
    for look in (found.check, lambda: found["z"]):
        with pytest.raises(ValueError, match=told):
            look()


def test_a_newer_set_opens_read_only_and_says_so(labels: LabelDir) -> None:
    text = labels.settings.read_text().replace("version: 1", "version: 2\nmood: grave")
    labels.settings.write_text(text.replace("  blind: true", "  blind: true\n  smell: true"))
    settings = read_set(labels)
    assert settings.version == 2
    assert "newer version" in why_read_only(labels, settings)
    with pytest.raises(ReadOnlyError, match="update the workbench"):
        JudgementLog.open(labels, settings)


def test_a_key_unknown_to_its_own_version_is_a_fault(labels: LabelDir) -> None:
    labels.settings.write_text(labels.settings.read_text() + "mood: grave\n")
    with pytest.raises(PresetError, match="mood: no such setting"):
        read_set(labels)


def test_two_windows_do_not_judge_one_set_at_a_time(labels: LabelDir) -> None:
    log = JudgementLog.open(labels, read_set(labels))
    with pytest.raises(ReadOnlyError, match="another window"):
        JudgementLog.open(labels, read_set(labels))
    log.close()
    JudgementLog.open(labels, read_set(labels)).close()


def test_of_a_set_that_could_not_be_made_nothing_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path, target: Path) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "rename", full)
    with pytest.raises(OSError, match="No space left"):
        create_set(tmp_path / "labels" / "kind", LabelSet(name="kind"), [item("x")])
    assert list((tmp_path / "labels").iterdir()) == []


def test_a_full_disk_keeps_what_was_said_and_nothing_half(labels: LabelDir, monkeypatch: pytest.MonkeyPatch) -> None:
    log = JudgementLog.open(labels, read_set(labels))
    log.say(judged("1"))
    before = labels.judgements.read_bytes()

    def half(path: Path, line: str, *, durable: bool = False) -> None:
        with path.open("ab") as file:
            file.write(line.encode()[:20])
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(jsonl, "append_line", half)
        with pytest.raises(OSError, match="No space"):
            log.say(judged("2", "y"))
    assert labels.judgements.read_bytes() == before
    assert log.ledger.standing() == [judged("1")]
    log.say(judged("3", "y"))
    log.close()
    assert read_judgements(labels).lines == [judged("1"), judged("3", "y")]


def test_a_guideline_is_put_on_record_once_for_each_text(labels: LabelDir) -> None:
    log = JudgementLog.open(labels, read_set(labels))
    empty = log.under_guideline()
    labels.guideline.write_text("Prefer the shorter one.")
    first = log.under_guideline()
    assert log.under_guideline() == first != empty
    log.close()
    reopened = JudgementLog.open(labels, read_set(labels))
    assert reopened.ledger.guidelines == {empty: "", first: "Prefer the shorter one."}
    assert reopened.under_guideline() == first
    reopened.close()
    assert len(read_judgements(labels).lines) == 2


def test_items_that_ask_the_same_have_the_same_key() -> None:
    other = item("x").model_copy(update={"prompt": [{"role": "user", "content": "Write one line."}]})
    assert prompt_key(item("x")) == prompt_key(item("y")) != prompt_key(other)


def test_sets_are_listed_by_name_and_what_is_none_is_passed_over(labels: LabelDir) -> None:
    folder = labels.path.parent
    create_set(folder / "art", LabelSet(name="art"))
    (folder / "empty").mkdir()
    (folder / "notes.txt").touch()
    assert [found.path.name for found in list_sets(folder)] == ["art", "kind"]
    assert list_sets(folder / "none") == []


@pytest.mark.slow
def test_a_hundred_thousand_judgements_are_read_in_about_a_second(labels: LabelDir) -> None:
    lines = (judged(f"{n:032x}", f"item-{n % 60_000}", strength=2, guideline="a" * 64) for n in range(100_000))
    labels.judgements.write_text("".join(f"{line.model_dump_json()}\n" for line in lines))
    start = time.process_time()
    ledger, read = read_ledger(labels)
    # Two seconds of CPU time: the gate shares its machine, and what it looks for is a loop that grows too fast.
    assert time.process_time() - start < 2
    assert (len(read.lines), len(ledger.standing())) == (100_000, 60_000)
