"""How the columns of a preview share the room there is."""

from workbench.views.rows_table import LEAST_TEXT, NARROWEST, OTHERS, shared


def test_where_there_is_room_no_column_is_cut_off_and_text_takes_the_rest() -> None:
    assert shared([100, 240, 90], {0}, room=500) == [170, 240, 90]
    assert shared([100, 240], set(), room=500) == [100, 400]


def test_where_there_is_little_room_text_or_the_last_column_takes_what_the_others_leave() -> None:
    assert shared([900, 240, 900], {0, 2}, room=600) == [220, OTHERS, 220]
    assert shared([900, 240, 20], {0}, room=100) == [LEAST_TEXT, OTHERS, NARROWEST]
    assert shared([300, 300], set(), room=400) == [OTHERS, 240]


def test_nothing_to_show_has_no_columns() -> None:
    assert shared([], set(), room=500) == []
