"""The pages, down the left side."""

from PySide6.QtCore import QSize, Qt, Signal
from PySide6.QtWidgets import QButtonGroup, QFrame, QLabel, QSizePolicy, QToolButton, QWidget

from workbench import theme
from workbench.theme import Theme
from workbench.views.labels import column, tip

WIDTH = 84


class Rail(QFrame):
    """Emits `chosen` with the name of a page."""

    chosen = Signal(str)

    def __init__(self, pages: list[tuple[str, str, str]], last: tuple[str, str, str]) -> None:
        """pages: name, title and shortcut of each; `last` stands at the bottom."""
        super().__init__()
        theme.set_role(self, "rail")
        self.setFixedWidth(WIDTH)
        self._mark = QLabel()
        self._mark.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self._mark.setFixedHeight(40)
        self._group = QButtonGroup(self)
        self._buttons = {name: self._button(name, title, keys) for name, title, keys in [*pages, last]}
        tops: list[QWidget | None] = [self._buttons[name] for name, _, _ in pages]
        self.setLayout(column(self._mark, *tops, None, self._buttons[last[0]], space=1, margin=2))

    def show_page(self, name: str) -> None:
        self._buttons[name].setChecked(True)

    def set_theme(self, colours: Theme) -> None:
        scale = self.devicePixelRatioF()
        self._mark.setPixmap(theme.pixmap("plumb", colours.colour("accent"), 22, scale))

    def sizeHint(self) -> QSize:
        return QSize(WIDTH, 400)

    def _button(self, name: str, title: str, keys: str) -> QToolButton:
        button = QToolButton()
        button.setText(title)
        button.setCheckable(True)
        theme.set_role(button, "rail")
        button.setToolTip(tip(f"{title}  {keys}"))
        button.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        button.clicked.connect(lambda: self.chosen.emit(name))
        self._group.addButton(button)
        return button
