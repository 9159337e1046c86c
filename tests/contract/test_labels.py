"""The labelling set: nothing said is lost, and what was taken back does not count."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from engine.contract.faults import PresetError
from engine.contract.labels import (
    Candidate,
    Item,
    Judgement,
    LabelDir,
    LabelSet,
    Retraction,
    append_judgement,
    create_set,
    pairs,
    read_items,
    read_judgements,
    read_set,
    standing,
)


def item(name: str) -> Item:
    return Item(id=name, prompt="Write one line.", candidates=(Candidate(text="a"), Candidate(text="b")))


def judged(name: str, what: str = "x", who: str = "ada", **more: Any) -> Judgement:
    values: dict[str, Any] = {"ranking": ((0,), (1,)), "shown": (1, 0), "time": 1.0}
    return Judgement(id=name, item=what, labeller=who, **values | more)


def retracted(name: str, who: str = "ada") -> Retraction:
    return Retraction(judgement=name, labeller=who, time=2.0)


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
    said: list[Judgement | Retraction] = [
        judged("1", seconds=2.5, strength=3, note="ü\n"),
        retracted("1"),
        judged("2", "y", ranking=((0, 1),)),
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
