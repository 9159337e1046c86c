"""How good labels are: each number against a set made to have it."""

import itertools
import math
import random
import time
from collections.abc import Sequence

import numpy as np
import pytest

from engine.contract.labels import Candidate, Item, Judgement
from engine.contract.labels_standing import Ledger
from tests.workbench.label_sets import item, said
from workbench.state import quality_words
from workbench.state.comparison import win_rate
from workbench.state.label_quality import Quality, quality, running_share
from workbench.state.label_votes import votes

LOT = random.Random(0)  # noqa: S311  any order will do


def found(items: Sequence[Item], judgements: Sequence[Judgement]) -> Quality:
    return quality(items, Ledger(judgements))


def pairs(count: int, first: str = "short", second: str = "a longer answer") -> list[Item]:
    return [item(n, first, second, f"prompt {n}") for n in range(count)]


def words(of: Quality, title: str) -> str:
    return next(row.meaning for row in quality_words.rows(of) if row.title == title)


def test_a_set_without_judgements_has_nothing_to_say() -> None:
    empty = found(pairs(3), [])
    assert quality_words.headline(empty) == "Nothing is judged yet."
    assert quality_words.rows(empty) == []
    assert math.isnan(empty.median_seconds)


def test_who_always_takes_the_left_answer_is_told_so() -> None:
    items = pairs(40)
    left = found(items, [said(one, n % 2, left=n % 2) for n, one in enumerate(items)])
    assert left.position.value == 1
    assert "where it stands decides" in words(left, "Left answer wins")
    assert "no sign" in words(left, "Longer answer wins")


def test_who_always_takes_the_longer_answer_is_told_so() -> None:
    items = pairs(40)
    long = found(items, [said(one, 1, left=n % 2) for n, one in enumerate(items)])
    assert long.length.value == 1
    assert "read a few" in words(long, "Longer answer wins")
    assert "no sign" in words(long, "Left answer wins")


def test_answers_of_one_length_say_nothing_of_length() -> None:
    items = pairs(20, "same", "size")
    assert found(items, [said(one, 0) for one in items]).length.total == 0


def test_repeats_tell_whether_a_person_agrees_with_themselves() -> None:
    items = pairs(12)
    first = [said(one, 0) for one in items]
    again = [said(one, 0 if n < 9 else 1, left=1, repeat=True) for n, one in enumerate(items)]
    mine = found(items, [*first, *again])
    assert (mine.consistency.hits, mine.consistency.total) == (9, 12)
    assert mine.judgements == 12
    assert "9 of 12 pairs" in words(mine, "Agrees with itself")


def test_two_people_agree_as_far_as_one_counts_by_hand() -> None:
    # Alike on 35 of 50, and by chance on half: kappa 0.4 (the table of test_agreement)
    said_both = [(0, 0)] * 20 + [(0, 1)] * 5 + [(1, 0)] * 10 + [(1, 1)] * 15
    items = pairs(50)
    by = [(said(one, a, "ada"), said(one, b, "bob", left=1)) for one, (a, b) in zip(items, said_both, strict=True)]
    agreement = found(items, list(itertools.chain(*by))).agreement
    assert agreement is not None
    assert (agreement.raw.hits, agreement.raw.total, agreement.items) == (35, 50, 50)
    assert agreement.kappa == pytest.approx(0.4)
    assert agreement.people == ("ada", "bob")
    # Two values only, so ordinal is nominal: 1 - 30 * 99 / (2 * 55 * 45)
    assert agreement.alpha == pytest.approx(1 - 30 * 99 / (2 * 55 * 45))


def test_preferences_in_a_circle_are_counted() -> None:
    texts = ["stone", "scissors", "paper"]
    beats = [(0, 1), (1, 2), (2, 0)]
    items = [item(n, texts[a], texts[b], "play") for n, (a, b) in enumerate(beats)]
    circle = found(items, [said(one, 0) for one in items])
    assert (circle.circles, circle.triples) == (1, 1)
    assert "1 of 1 triples" in words(circle, "Preferred in a circle")
    line = found(items, [said(items[0], 0), said(items[1], 0), said(items[2], 1)])
    assert (line.circles, line.triples) == (0, 1)


def test_ties_both_bad_and_skipped_are_shares_of_what_was_said() -> None:
    items = pairs(10)
    judgements = [said(one, None if n < 2 else 0) for n, one in enumerate(items[:8])]
    judgements += [
        said(items[8], None, outcome="both_bad", ranking=()),
        said(items[9], None, outcome="skipped", ranking=()),
    ]
    mine = found(items, judgements)
    assert (mine.ties.hits, mine.ties.total) == (2, 8)
    assert (mine.both_bad.hits, mine.skipped.hits, mine.skipped.total) == (1, 1, 10)
    assert mine.scale == (0, 0, 6, 2, 0, 0, 0)


def test_gold_items_tell_how_often_a_person_saw_what_everybody_sees() -> None:
    items = [one.model_copy(update={"gold": ((1,), (0,))}) for one in pairs(4)]
    mine = found(items, [said(one, int(n > 0)) for n, one in enumerate(items)])
    assert (mine.gold.hits, mine.gold.total) == (3, 4)


def test_drift_compares_the_last_third_with_the_first() -> None:
    items = pairs(30)
    mine = found(items, [said(one, 0, active_seconds=10.0 if n < 15 else 4.0) for n, one in enumerate(items)])
    assert mine.drift == pytest.approx(0.4)
    assert "haste" in quality_words.drift(mine)


def test_a_slow_person_after_a_quick_one_is_no_drift() -> None:
    items = pairs(40)
    quick = [said(one, 0, active_seconds=2.0) for one in items[:20]]
    slow = [said(one, 0, "bob", active_seconds=20.0) for one in items[20:]]
    mine = found(items, [*quick, *slow])
    assert mine.drift == pytest.approx(1)
    assert "as long as the first" in quality_words.drift(mine)


def test_a_running_share_ends_at_the_share_and_skips_what_says_nothing() -> None:
    assert running_share(np.array([1, math.nan, 0, 1])).tolist() == [1, 1, 0.5, pytest.approx(2 / 3)]


def test_two_models_are_compared_over_prompts_with_the_sentence() -> None:
    items = pairs(120)
    mine = found(items, [said(one, int(n < 70), left=n % 2) for n, one in enumerate(items)])
    assert mine.comparison is not None
    assert mine.comparison.models == ("A", "B")
    sentence = quality_words.preferred(mine.comparison)
    assert sentence.startswith("B is preferred over A in 58% of 120, 95% interval ")
    assert mine.comparison.rate is not None
    # A share's own interval is 0.494 to 0.667; the bootstrap of independent prompts comes near it.
    assert (mine.comparison.rate.low, mine.comparison.rate.high) == pytest.approx((0.494, 0.667), abs=0.012)
    assert sentence.endswith("not settled; about 200 more would be needed.")


def test_a_ranking_of_many_models_makes_a_board() -> None:
    answers = tuple(Candidate(text=name, origin={"model": name}) for name in ("worst", "middle", "best"))
    items = [Item(id=f"i{n}", prompt=f"p{n}", candidates=answers) for n in range(30)]
    judgements = [said(one, 0, ranking=((2,), (1,), (0,)), shown=(0, 1, 2), strength=None) for one in items]
    comparison = found(items, judgements).comparison
    assert comparison is not None
    assert [place.model for place in comparison.board] == ["best", "middle", "worst"]
    assert "best leads" in quality_words.preferred(comparison)


def test_a_tie_is_half_a_vote_for_both() -> None:
    (one,) = pairs(1)
    (vote,) = votes([said(one, None)], {one.id: one})
    assert (vote.first, vote.second, vote.score) == ("A", "B", 0.5)


def test_a_set_that_does_not_know_who_wrote_what_compares_nobody() -> None:
    unknown = Item(id="i", prompt="p", candidates=(Candidate(text="a"), Candidate(text="b")))
    assert found([unknown], [said(unknown, 0)]).comparison is None


# ------------------------------------------------------------------------- disagreements, votes, what scores chose


def test_a_settled_disagreement_counts_as_decided_and_is_no_third_labeller() -> None:
    items = pairs(3)
    ada, bob = [said(one, 0) for one in items], [said(one, int(n == 0), "bob") for n, one in enumerate(items)]
    open_ = found(items, [*ada, *bob])
    assert open_.disagreements == 1
    assert "the opposite on 1 of them" in words(open_, "Agree with each other")
    decided = said(items[0], 1, "eve", settles=(ada[0].id, bob[0].id))
    closed = found(items, [*ada, *bob, decided])
    assert closed.disagreements == 0
    assert closed.agreement == open_.agreement
    assert (closed.judgements, closed.labellers) == (6, ("ada", "bob"))
    assert open_.comparison is not None
    assert closed.comparison is not None
    # B: one of six, and once it is settled one of two pairs judged twice and one decided for it: 1 of 5
    assert (open_.comparison.rate, closed.comparison.rate) == (
        win_rate(["0", "0", "1", "1", "2", "2"], [0, 1, 0, 0, 0, 0]),
        win_rate(["1", "1", "2", "2", "0"], [0, 0, 0, 0, 1]),
    )


def test_a_model_that_votes_is_set_against_people_and_is_none_of_them() -> None:
    items = pairs(50)
    by_hand = [(0, 0)] * 20 + [(0, 1)] * 5 + [(1, 0)] * 10 + [(1, 1)] * 15
    people = [said(one, person) for one, (_, person) in zip(items, by_hand, strict=True)]
    voted = [said(one, vote, "model:judge", shown=()) for one, (vote, _) in zip(items, by_hand, strict=True)]
    mine = found(items, [*people, *voted])
    assert (mine.judgements, mine.labellers, mine.agreement) == (50, ("ada",), None)
    (voter,) = mine.voters
    assert (voter.alike.hits, voter.alike.total, voter.ties.hits) == (35, 50, 0)
    assert voter.kappa == pytest.approx(0.4)  # as in test_agreement
    assert "kappa 0.40" in words(mine, "judge agrees with people")
    only = found(items, voted)
    assert (only.judgements, quality_words.headline(only)) == (50, "50 judgements by one model, 4.0 s each.")


def test_items_that_scores_chose_are_no_sample_and_leave_the_comparison() -> None:
    items = pairs(40)
    by_lot = [said(one, 1, picked_by="audit") for one in items[:10]]
    chosen = [said(one, 0, picked_by="spread") for one in items[10:]]
    mine = found(items, [*by_lot, *chosen])
    assert (mine.judgements, mine.chosen) == (40, 30)
    assert mine.comparison is not None
    assert mine.comparison.rate is not None
    assert (mine.comparison.rate.value, mine.comparison.rate.total) == (1.0, 10)
    assert "Left out: 30 judgements" in quality_words.how_compared(mine)


def test_a_comparison_at_equal_length_says_so() -> None:
    items = [item(n, "word", "word " * (2 + n % 3), f"prompt {n}") for n in range(60)]
    judgements = [said(one, int(n % 3 > 0)) for n, one in enumerate(items)]
    controlled = quality(items, Ledger(judgements), at_equal_length=True)
    assert controlled.comparison is not None
    assert quality_words.preferred(controlled.comparison).startswith("At equal length, ")
    assert "Dubois" in quality_words.how_compared(controlled)


def test_ten_thousand_judgements_take_a_moment() -> None:
    items = pairs(5000)
    judgements = [said(one, LOT.randrange(2), who, left=LOT.randrange(2)) for who in ("ada", "bob") for one in items]
    ledger = Ledger(judgements)
    taken = []
    for _ in range(3):
        began = time.process_time()
        quality(items, ledger)
        taken.append(time.process_time() - began)
    assert min(taken) < 0.4  # 0.15 s on an idle machine; this one is shared


def test_a_model_is_called_by_the_end_of_its_path_that_tells_it_from_the_others() -> None:
    names = ["/here/runs/1-a/checkpoints/step-5", "/here/runs/2-b/checkpoints/step-5", "org/model.gguf"]
    assert list(quality_words.short_names(names).values()) == [
        "1-a/checkpoints/step-5",
        "2-b/checkpoints/step-5",
        "org/model.gguf",
    ]
    assert quality_words.short_names(["/here/runs/1-a", "org/model.gguf"]) == {
        "/here/runs/1-a": "1-a",
        "org/model.gguf": "model.gguf",
    }


def test_a_run_is_called_by_its_name_and_by_its_time_where_two_have_one_name() -> None:
    names = ["assets:digits-denoiser", "/w/runs/20261121-164241-strokes"]
    assert list(quality_words.short_names(names).values()) == ["digits-denoiser", "strokes"]
    again = ["/w/runs/20261121-164241-strokes", "/w/runs/20261121-170000-strokes"]
    assert list(quality_words.short_names(again).values()) == ["20261121-164241-strokes", "20261121-170000-strokes"]
