"""What only the preset page has: words side by side, the dot of a changed setting, the count of faults."""

import string

from workbench import theme
from workbench.theme import Theme

SHEET = """
QPushButton[role="word"] {
    background: transparent; border: 1px solid transparent; color: $muted; padding: 3px 10px;
}
QPushButton[role="word"]:hover { background: $hover; }
QPushButton[role="word"]:checked { background: $raised; border-color: $line; color: $text; font-weight: 400; }
QPushButton[role="word"]:focus { border: 2px solid $accent; padding: 2px 9px; }
QPushButton[role="word"]:disabled { color: $line; }
QTreeWidget:focus { border: 1px solid transparent; }
QAbstractScrollArea::corner { background: transparent; border: none; }
QToolButton[role="dot"] {
    background: transparent; border: 1px solid transparent; border-radius: $corner; padding: 0; min-height: 26px;
}
QToolButton[role="dot"]:hover:enabled { background: $raised; }
QToolButton[role="dot"]:focus { border: 1px solid $accent; padding: 0; }
QPushButton[role="more"] {
    background: transparent; border: 1px solid transparent; color: $muted; padding: 1px 6px; font-size: 9pt;
}
QPushButton[role="more"]:hover { background: $raised; color: $text; }
QPushButton[role="more"]:focus { border: 1px solid $accent; padding: 1px 6px; }
QPushButton[role="faults"] { background: transparent; border: 1px solid $failed; color: $failed; font-weight: 600; }
QPushButton[role="faults"]:hover { background: $raised; }
"""


def page_style(colours: Theme) -> str:
    """The style sheet of the page in this theme."""
    tokens = {name: getattr(colours, name) for name in ("line", "raised", "accent", "muted", "text", "failed")}
    return string.Template(SHEET).substitute(
        tokens, corner=f"{theme.CORNER}px", hover=theme.mixed(colours.raised, colours.surface, 0.5)
    )
