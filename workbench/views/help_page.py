"""A page of what is what, and every shortcut there is."""

from PySide6.QtCore import Qt
from PySide6.QtGui import QFont
from PySide6.QtWidgets import QFrame, QGridLayout, QScrollArea, QWidget

from workbench import theme
from workbench.views.labels import card, column, label, row

TOPICS = [
    (
        "Runs",
        "Each run is a folder. An engine writes it, this window reads it. Close the window and the run goes on; open "
        "it again and everything is there, also runs that were started in a terminal.",
    ),
    (
        "Charts",
        "The pale line is what was measured, the bold one its smoothed course; the figure is the newest value. Point "
        "at one chart to read all of them at that step. Drag to zoom, double-click to see everything.",
    ),
    (
        "Completions",
        "What the model wrote, newest first. The list stands still while you read; the chip counts what came since. "
        "Tokens are tinted by how much they surprised the model.",
    ),
    (
        "Stop and resume",
        "“Stop after this step” writes a checkpoint first. “Stop now” loses the work since the last one. Resume goes "
        "on from the last whole checkpoint, also after a crash.",
    ),
    (
        "Judge",
        "Two answers, one key: 1 to 7 say which is better and by how much, the arrows do without. What you said is on "
        "the disk before the next pair appears, and Z takes it back, however long ago. Some pairs come again with "
        "sides swapped, to tell how far your judgements can be relied on. The palette's “Change the keys” lets you "
        "press others.",
    ),
    (
        "Presets",
        "One YAML file is one repeatable run. Form and text follow each other; faults stand under their field. What "
        "ran is frozen with the run, with every default written out.",
    ),
]


class HelpPage(QScrollArea):
    """shortcuts: title and keys of each command."""

    def __init__(self, shortcuts: list[tuple[str, str]]) -> None:
        super().__init__()
        self.setWidgetResizable(True)
        self.setFrameShape(QFrame.Shape.NoFrame)
        body = QWidget()
        theme.set_role(body, "scrolled")
        left = column(*(self._topic(title, text) for title, text in TOPICS), None, space=2)
        right = column(self._keys(shortcuts), None)
        layout = row(space=2)
        layout.addLayout(left, 1)
        layout.addLayout(right, 1)
        body.setLayout(layout)
        self.setWidget(body)

    def _topic(self, title: str, text: str) -> QWidget:
        box = card()
        box.setLayout(column(label(title, "strong"), label(text, wrap=True, selectable=True), space=1, margin=3))
        return box

    def _keys(self, shortcuts: list[tuple[str, str]]) -> QWidget:
        box = card()
        grid = QGridLayout()
        grid.setContentsMargins(12, 12, 12, 12)
        grid.setVerticalSpacing(theme.SPACE[1])
        grid.addWidget(label("Keys", "strong"), 0, 0)
        for at, (title, keys) in enumerate(shortcuts, start=1):
            grid.addWidget(label(title), at, 0)
            key = label(keys, "muted")
            key.setAlignment(Qt.AlignmentFlag.AlignRight)
            font = theme.font("muted")
            font.setWeight(QFont.Weight.DemiBold)
            key.setFont(font)
            grid.addWidget(key, at, 1)
        grid.setColumnStretch(0, 1)
        box.setLayout(grid)
        return box
