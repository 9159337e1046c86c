"""What is asked next, what a key says, and how far one can go back."""

import math
import time
from collections.abc import Sequence

import pytest

from engine.contract.labels import Candidate, Item, Judgement, LabelSet, Line, Protocol
from engine.contract.labels_order import Order
from engine.contract.labels_standing import Ledger
from workbench.state.active_time import ActiveTime
from workbench.state.sitting import Choice, RefusedError, Sitting, Taken

QUICK = Taken(2.0, 2.0)


def items(count: int, candidates: int = 2) -> list[Item]:
    answers = tuple(Candidate(text=f"answer {i}") for i in range(candidates))
    return [Item(id=f"i{number}", prompt=f"prompt {number}", candidates=answers) for number in range(count)]


class Desk:
    """A sitting and its log, without a disk."""

    def __init__(self, of: Sequence[Item], log: Sequence[Line] = (), labeller: str = "ada", **rules: object) -> None:
        self.log = list(log)
        self.of = list(of)
        self.settings = LabelSet(name="set", protocol=Protocol.model_validate(rules))
        self.ledger = Ledger(self.log)
        self.sitting = Sitting(self.settings, self.of, self.ledger, labeller)

    def judge_all_alike(self, choice: Choice, times: int) -> list[Judgement]:
        return [said for _ in range(times) for said in self.judge(choice)]

    def judge(self, *choices: Choice) -> list[Judgement]:
        said = []
        for choice in choices:
            said.append(self.sitting.judge(choice, QUICK))
            self._write(said[-1], said[-1])
        return said

    def undo(self) -> None:
        line, last = self.sitting.undo(), self.sitting.undoable
        assert line is not None
        assert last is not None
        self._write(line, last)

    def redo(self) -> None:
        line, undone = self.sitting.redo(), self.sitting.redoable
        assert line is not None
        assert undone is not None
        self._write(line, undone)

    def reopened(self) -> "Desk":
        return Desk(self.of, self.log, self.sitting.labeller, **self.settings.protocol.model_dump())

    @property
    def asked(self) -> str:
        assert self.sitting.turn is not None
        return self.sitting.turn.item.id

    def _write(self, line: Line, concerned: Judgement) -> None:
        self.log.append(line)
        self.ledger.apply(line)
        self.sitting.follow(concerned)


def test_each_item_is_asked_once_and_then_the_sitting_is_over() -> None:
    desk = Desk(items(12), repeats=0)
    said = desk.judge_all_alike(1, 12)
    assert {judgement.item for judgement in said} == {item.id for item in items(12)}
    assert desk.sitting.turn is None
    with pytest.raises(RefusedError, match="Everything here is judged"):
        desk.sitting.judge(1, QUICK)


@pytest.mark.parametrize(
    ("key", "better", "strength"),
    [(1, 0, 3), (2, 0, 2), (3, 0, 1), (5, 1, 1), (6, 1, 2), (7, 1, 3), ("left", 0, 2), ("right", 1, 2)],
)
def test_a_key_says_which_side_is_better_and_by_how_much(key: Choice, better: int, strength: int) -> None:
    (said,) = Desk(items(1)).judge(key)
    assert said.ranking[0] == (said.shown[better],)
    assert said.strength == strength


def test_on_a_binary_scale_no_strength_is_said() -> None:
    (said,) = Desk(items(1), scale="binary").judge(1)
    assert said.strength is None


def test_four_and_down_are_a_tie_and_b_and_s_rank_nothing() -> None:
    tie, also, bad, skipped = Desk(items(4)).judge(4, "tie", "both_bad", "skip")
    assert tie.is_tie
    assert also.is_tie
    assert (bad.outcome, skipped.outcome) == ("both_bad", "skipped")


def test_what_the_set_does_not_allow_is_refused_with_a_reason() -> None:
    desk = Desk(items(1), tie=False, both_bad=False)
    refused: list[Choice] = ["tie", 4, "both_bad"]
    for choice in refused:
        with pytest.raises(RefusedError, match="does not allow"):
            desk.sitting.judge(choice, QUICK)
    with pytest.raises(RefusedError, match="does not allow ties"):
        desk.sitting.rank([[0, 1]], QUICK)


def test_flag_and_note_go_with_the_judgement_and_not_with_the_next() -> None:
    desk = Desk(items(2))
    desk.sitting.is_flagged, desk.sitting.note = True, "both cite the wrong year"
    first, second = desk.judge(1, 1)
    assert (first.flagged, first.note) == (True, "both cite the wrong year")
    assert (second.flagged, second.note) == (False, "")


def test_undo_goes_back_as_far_as_there_is_anything_and_redo_forward_again() -> None:
    desk = Desk(items(40))
    before = [desk.asked]
    for _ in range(30):
        desk.judge(2)
        before.append(desk.asked)
    for asked in reversed(before[:-1]):
        desk.undo()
        assert desk.asked == asked
    assert desk.sitting.undoable is None
    for asked in before[1:]:
        desk.redo()
        assert desk.asked == asked
    assert desk.sitting.redo() is None


def test_undo_and_redo_go_on_after_a_restart() -> None:
    desk = Desk(items(10))
    first, second = desk.judge(1, 7)
    desk.undo()
    again = desk.reopened()
    assert again.asked == second.item
    assert again.sitting.said_before == second
    again.undo()
    assert again.asked == first.item
    later = again.reopened()
    later.redo()
    later.redo()
    assert later.sitting.progress.done == 2


def test_something_new_after_an_undo_takes_the_place_of_what_was_undone() -> None:
    desk = Desk(items(5))
    desk.judge(1)
    desk.undo()
    desk.judge(7)
    assert desk.sitting.redo() is None
    assert [judgement.strength for judgement in desk.ledger.standing()] == [3]


def test_a_restart_asks_the_same_in_the_same_way() -> None:
    desk = Desk(items(60))
    for _ in range(50):
        assert desk.reopened().sitting.turn == desk.sitting.turn
        desk.judge(3)


def test_some_of_ones_own_items_come_again_with_sides_swapped() -> None:
    desk = Desk(items(100), repeats=0.1)
    said = []
    while desk.sitting.turn is not None:
        said += desk.judge("left")
    repeats = [judgement for judgement in said if judgement.repeat]
    assert 5 <= len(repeats) <= 10
    for repeat in repeats:
        first = next(judgement for judgement in said if judgement.item == repeat.item)
        assert repeat.shown == first.shown[::-1]
    # left both times is another answer each time
    assert desk.sitting.progress.repeats == len(repeats)
    assert desk.sitting.progress.repeats_alike == 0


def test_each_answer_stands_left_as_often_as_right() -> None:
    desk = Desk(items(80), repeats=0)
    said = desk.judge_all_alike(4, 80)
    assert sum(judgement.shown[0] == 0 for judgement in said) == 40


def test_a_second_person_is_asked_only_what_is_to_be_judged_twice() -> None:
    ada = Desk(items(200), overlap=0.2)
    while ada.sitting.turn is not None:
        ada.judge(2)
    bob = Desk(items(200), ada.log, "bob", overlap=0.2)
    assert 20 <= bob.sitting.progress.total <= 60
    assert bob.sitting.progress.done == 0


def test_items_that_come_later_are_asked_too_and_the_one_on_show_stays() -> None:
    desk = Desk([])
    assert desk.sitting.turn is None
    desk.sitting.add_items(items(3))
    shown = desk.sitting.turn
    desk.sitting.add_items(items(9)[3:])
    assert desk.sitting.turn == shown
    desk.judge_all_alike(1, 9)
    assert desk.sitting.turn is None


def test_more_than_two_answers_are_ranked_and_those_left_out_come_last() -> None:
    desk = Desk(items(2, candidates=4))
    with pytest.raises(RefusedError, match="more than two"):
        desk.sitting.judge(1, QUICK)
    turn = desk.sitting.turn
    assert turn is not None
    said = desk.sitting.rank([[2], [0, 1]], QUICK)
    assert said.ranking == ((turn.shown[2],), (turn.shown[0], turn.shown[1]), (turn.shown[3],))


def test_progress_tells_pace_and_what_is_left() -> None:
    desk = Desk(items(10), repeats=0)
    assert math.isnan(desk.sitting.progress.pace)
    desk.judge(1, 1)
    progress = desk.sitting.progress
    assert (progress.done, progress.total, progress.pace, progress.seconds_left) == (2, 10, 2.0, 16.0)
    desk.undo()
    assert desk.sitting.progress.done == 1


def test_time_counts_while_somebody_is_there() -> None:
    clock = ActiveTime(Protocol(idle_after=60), now=0)
    clock.touch(10)
    clock.touch(400)  # away: counts as 60 s
    clock.pause(405)
    clock.go_on(1000)
    assert clock.read(1003) == (1003, 10 + 60 + 5 + 3)


def test_the_next_pair_of_a_large_set_is_found_at_once() -> None:
    desk = Desk(items(20_000))
    began = time.thread_time()
    desk.judge_all_alike(2, 200)
    assert (time.thread_time() - began) / 200 < 0.01


# ------------------------------------------------------------------------------------------------- disagreements


def opposite(of: Sequence[Item], strengths: Sequence[int]) -> list[Line]:
    """Ada prefers the first answer of each item, bob the second, so strongly; on the last both say the same."""
    lines: list[Line] = []
    for one, strength in zip(of, strengths, strict=True):
        for who, best in (("ada", 0), ("bob", int(one is not of[-1]))):
            ranking, name = ((best,), (1 - best,)), f"{who}-{one.id}"
            lines.append(
                Judgement(
                    id=name, item=one.id, labeller=who, ranking=ranking, shown=(0, 1), strength=strength, time=0.0
                )
            )
    return lines


def test_disagreements_are_asked_the_furthest_apart_first_and_settled_by_a_record_of_their_own() -> None:
    of = items(4)
    desk = Desk(of, opposite(of, [1, 3, 2, 3]), "eve", overlap=1.0)
    desk.sitting.settle(True)
    assert desk.sitting.is_settling
    assert (desk.sitting.progress.done, desk.sitting.progress.total) == (0, 3)
    asked = [desk.asked, desk.judge(1) and desk.asked, desk.judge("tie") and desk.asked]
    assert asked == ["i1", "i2", "i0"]
    (decided, tied) = desk.ledger.adjudications()
    assert set(decided.settles) == {"ada-i1", "bob-i1"}
    assert tied.is_tie
    assert (desk.sitting.progress.done, desk.sitting.progress.total) == (2, 3)
    assert {j.item: len(j.settles) for j in desk.ledger.settled()} == {"i0": 0, "i1": 2, "i2": 2, "i3": 0}
    desk.judge(7)
    assert desk.sitting.turn is None


def test_a_decision_that_is_undone_is_asked_again_also_from_elsewhere() -> None:
    of = items(3)
    desk = Desk(of, opposite(of, [3, 2, 1]), "eve", overlap=1.0)
    desk.sitting.settle(True)
    desk.judge(2)
    desk.sitting.settle(False)
    desk.undo()
    assert desk.sitting.is_settling
    assert desk.asked == "i0"
    assert desk.ledger.adjudications() == []
    assert desk.sitting.progress.total == 2
    desk.redo()
    assert (desk.asked, desk.sitting.progress.done) == ("i1", 1)


def test_who_judged_it_before_settles_it_with_sides_swapped_and_learns_of_the_others_afterwards() -> None:
    of = items(2)
    lines = opposite(of, [2, 2])
    mine, other = Desk(of, lines, "ada"), Desk(of, lines, "ada")
    other.sitting.settle(True)
    first = Desk(of, [], "ada")
    while first.asked != "i0":
        first.judge("skip")
    assert first.sitting.turn is not None
    assert other.sitting.turn is not None
    assert other.sitting.turn.shown == first.sitting.turn.shown[::-1]
    mine.sitting.settle(True)
    turn = mine.sitting.turn
    assert turn is not None
    decided = mine.sitting.judge("left" if turn.shown[0] == 0 else "right", QUICK)
    assert mine.sitting.reveal(decided) == "as ada did, against bob"
    assert mine.sitting.reveal(mine.sitting.judge("skip", QUICK)) == "unlike ada and bob"


# ------------------------------------------------------------------------------------------ what scores choose


def order_of(of: Sequence[Item]) -> Order:
    scores = {one.id: ((0.0, float(number)),) for number, one in enumerate(of)}
    return Order(by="spread", models=("reward",), time=0.0, scores=scores)


def test_scores_choose_what_is_judged_and_a_lot_always_draws_its_share() -> None:
    of = items(400)
    settings = LabelSet(name="set", protocol=Protocol(repeats=0, audit=0.25))
    ledger = Ledger()
    sitting = Sitting(settings, of, ledger, "ada", order=order_of(of))
    picked: dict[str, list[int]] = {"audit": [], "spread": []}
    for _ in range(200):
        said = sitting.judge("left", QUICK)
        picked[said.picked_by].append(int(said.item[1:]))
        ledger.apply(said)
        sitting.follow(said)
    assert len(picked["audit"]) == pytest.approx(50, abs=20)
    # The largest spread first, and what the lot draws comes from everywhere: half of it from the lower half.
    assert picked["spread"] == sorted(picked["spread"], reverse=True)
    assert sum(number < 200 for number in picked["audit"]) == pytest.approx(len(picked["audit"]) / 2, abs=12)
    again = Sitting(settings, of, ledger, "ada", order=order_of(of))
    assert (again.turn, again.progress.done) == (sitting.turn, 200)


def test_without_scores_the_lot_alone_decides_and_says_so() -> None:
    desk = Desk(items(3))
    assert desk.judge(1)[0].picked_by == "order"
