"""Hostile text can be seen for what it is."""

import pytest

from workbench.state.literal_text import literal


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain, <b>not bold</b> & %s", "plain, <b>not bold</b> & %s"),
        ("tab\tand\nline", "tab\tand\nline"),
        ("one\r\ntwo\rthree", "one\ntwo␍three"),
        ("\x1b[31mred\x1b[0m", "␛[31mred␛[0m"),
        ("nul\0bell\a", "nul␀bell␇"),
        ("del\x7f\x9b", "del␡⟨009B⟩"),
        ("user\u202egnp.exe", "user⟨202E⟩gnp.exe"),
        ("zero\u200bwidth\ufeff", "zero⟨200B⟩width⟨FEFF⟩"),
        ("joined\u200dletters", "joined⟨200D⟩letters"),
        ("half \ud83d of a pair", "half ⟨D83D⟩ of a pair"),
        ("tag \U000e0041", "tag ⟨E0041⟩"),
        ("ünïcödé “quotes” 漢字", "ünïcödé “quotes” 漢字"),
    ],
)
def test_what_would_hide_or_command_is_shown_as_a_mark(text: str, shown: str) -> None:
    assert literal(text) == shown


def test_joiners_stay_where_a_script_or_an_emoji_needs_them() -> None:
    family, persian = "👩\u200d👧", "\u0645\u06cc\u200c\u062e\u0648"
    assert literal(family) == family
    assert literal(persian) == persian
