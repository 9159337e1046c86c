"""A ranking while it is keyed."""

from workbench.state.ranking_draft import Draft


def test_digits_in_their_order_rank_and_a_second_time_says_nothing() -> None:
    draft = Draft().picked(2).picked(0).picked(2)
    assert draft.groups == ((2,), (0,))
    assert draft.ranks_all(2)
    assert not draft.ranks_all(3)


def test_a_joined_one_shares_the_place_of_the_last_and_only_that_one() -> None:
    draft = Draft().picked(2).joined().picked(0).picked(1)
    assert draft.groups == ((2, 0), (1,))
    assert [draft.word(place) for place in range(4)] == ["place 1, shared", "place 2", "place 1, shared", ""]


def test_there_is_nothing_to_join_before_the_first() -> None:
    assert Draft().joined() == Draft()


def test_taking_back_undoes_one_key_at_a_time() -> None:
    draft = Draft().picked(2).joined().picked(0).joined()
    assert draft.taken_back() == Draft(((2, 0),))
    assert draft.taken_back().taken_back() == Draft(((2,),))
    assert draft.taken_back().taken_back().taken_back() == Draft()
    assert Draft().taken_back() == Draft()
