"""The answers side by side: equal type, equal room, one scroll bar for all of them."""

from collections.abc import Sequence

from PySide6.QtCore import QPoint, Qt, QTimer, Signal
from PySide6.QtGui import QKeyEvent, QMouseEvent, QResizeEvent, QWheelEvent
from PySide6.QtWidgets import QFrame, QScrollBar, QWidget

from workbench import theme
from workbench.state import figures
from workbench.state.word_difference import differences
from workbench.theme import Theme
from workbench.views.labels import column, label, row
from workbench.views.reading_pane import ReadingPane

NAMES = "ABCDEFGHI"
LIT_MS = 300
#: So much of a notch of the wheel is one pixel; three lines a notch, as text editors scroll.
WHEEL_LINES = 3


class Answer(QFrame):
    """A card with one answer. Emits `pressed` when its head is clicked."""

    pressed = Signal()

    def __init__(self, name: str) -> None:
        super().__init__()
        theme.set_role(self, "card")
        self.setAccessibleName(f"Answer {name}")
        self._head = label(role="muted")
        self._mark = label(role="finished")
        self._more = label(role="muted")
        self.text = ReadingPane(f"Text of answer {name}")
        layout = column(space=2)
        layout.setContentsMargins(theme.SPACE[5], theme.SPACE[3], theme.SPACE[5], theme.SPACE[3])
        layout.addLayout(row(self._head, self._mark, None))
        layout.addWidget(self.text, 1)
        layout.addWidget(self._more)
        self.setLayout(layout)
        self.text.grew.connect(self._show_more)

    def show_answer(self, name: str, text: str) -> None:
        self._head.setText(name)
        self.set_mark("")
        self.text.show_text(text)

    def set_mark(self, mark: str) -> None:
        """A word beside the name, as its place in a ranking."""
        self._mark.setText(mark)

    def light(self, is_lit: bool) -> None:
        theme.set_role(self, "chosen" if is_lit else "card")

    def extra_height(self) -> int:
        """What the card needs beside its text, in pixels."""
        more = self._more.sizeHint().height() + theme.SPACE[2] if self._more.isVisibleTo(self) else 0
        return 2 * theme.SPACE[3] + self._head.sizeHint().height() + theme.SPACE[2] + more + 4

    def mouseDoubleClickEvent(self, event: QMouseEvent) -> None:
        self.pressed.emit()

    def _show_more(self) -> None:
        self._more.setVisible(not self.text.is_whole)
        length = figures.count(self.text.length)
        self._more.setText(f"{figures.count(self.text.read)} of {length} characters; more comes as you scroll")


class Answers(QWidget):
    """Emits `chosen` with the place of an answer that was double-clicked, and `touched` when somebody scrolls."""

    chosen = Signal(int)
    touched = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.cards: list[Answer] = []
        self._shown = 0
        self._bar = QScrollBar(Qt.Orientation.Vertical)
        self._bar.setAccessibleName("Scroll the answers")
        self._bar.valueChanged.connect(self._scroll)
        keeps = self._bar.sizePolicy()
        keeps.setRetainSizeWhenHidden(True)  # the columns must not get wider where nothing is to be scrolled
        self._bar.setSizePolicy(keeps)
        self._bar.setFixedWidth(theme.SPACE[3])
        self._row = row(space=0)
        self.setLayout(self._row)
        self._colours = theme.LIGHT
        self._is_comparing = False
        self._is_markdown = False
        self._dim = QTimer(self, singleShot=True, interval=LIT_MS)
        self._dim.timeout.connect(self._put_out)

    def show_texts(self, texts: Sequence[str]) -> None:
        """Show these answers from their beginning, from the left."""
        while len(self.cards) < len(texts):
            self._add_card()
        self._shown = len(texts)
        for at, card in enumerate(self.cards):
            card.setVisible(at < len(texts))
            if at < len(texts):
                card.show_answer(_name(at, len(texts)), texts[at])
        self._bar.setValue(0)
        self._compare()
        self._measure()

    def light(self, places: Sequence[int]) -> None:
        """Light these cards up for a moment: that was the choice, while the next answers are there already."""
        for at, card in enumerate(self.cards):
            card.light(at in places)
        self._dim.start()

    def set_places(self, groups: Sequence[Sequence[int]]) -> None:
        """Write beside each answer which place it has in a ranking so far."""
        for at, card in enumerate(self.cards):
            place = next((number for number, group in enumerate(groups, start=1) if at in group), None)
            card.set_mark(f"place {place}" if place else "")

    def compare(self, is_wanted: bool) -> None:
        """Mark the words in which the two answers differ, or stop to."""
        self._is_comparing = is_wanted
        self._compare()

    def draw_markdown(self, is_wanted: bool) -> None:
        """Draw the answers' Markdown from now on, or show what was written."""
        self._is_markdown = is_wanted
        for card in self.cards:
            card.text.draw_markdown(is_wanted)
        self._bar.setValue(0)
        self._compare()
        self._measure()

    @property
    def is_markdown(self) -> bool:
        return self._is_markdown

    @property
    def is_comparing(self) -> bool:
        return self._is_comparing

    def scroll_by(self, pixels: int) -> None:
        self._bar.setValue(self._bar.value() + pixels)

    def page(self, pages: float) -> None:
        self.scroll_by(round(pages * self._bar.pageStep()))

    def wanted_height(self) -> int:
        """In pixels, to show all of the longest answer."""
        return max((card.text.text_height + card.extra_height() for card in self._visible()), default=0)

    def set_theme(self, colours: Theme) -> None:
        self._colours = colours
        for card in self.cards:
            card.text.set_theme(colours)
        self._compare()

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        QTimer.singleShot(0, self, self._measure)

    def wheelEvent(self, event: QWheelEvent) -> None:
        self._take_wheel(event)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        pages = {Qt.Key.Key_PageDown: 0.9, Qt.Key.Key_PageUp: -0.9, Qt.Key.Key_Home: -1e6, Qt.Key.Key_End: 1e6}
        if (step := pages.get(Qt.Key(event.key()))) is not None:
            self.page(step)
        else:
            super().keyPressEvent(event)

    def _add_card(self) -> None:
        card = Answer(NAMES[len(self.cards)])
        place = len(self.cards)
        card.pressed.connect(lambda: self.chosen.emit(place))
        card.text.wheeled.connect(self._take_wheel)
        card.text.grew.connect(self._compare)
        card.text.set_theme(self._colours)
        card.text.draw_markdown(self._is_markdown)
        self.cards.append(card)
        if place == 1:  # between the two, as it moves both
            self._row.addWidget(self._bar)
        elif place > 1:
            self._row.addSpacing(theme.SPACE[3])
        self._row.addWidget(card, 1)

    def _visible(self) -> list[Answer]:
        return self.cards[: self._shown]

    def _take_wheel(self, event: QWheelEvent) -> None:
        pixels: QPoint = event.pixelDelta()
        lines = event.angleDelta().y() / 120 * WHEEL_LINES
        self.scroll_by(-(pixels.y() or round(lines * self.fontMetrics().height())))
        event.accept()
        self.touched.emit()

    def _scroll(self, pixels: int) -> None:
        for card in self._visible():
            card.text.scroll_to(pixels)
        self._measure()
        self.touched.emit()

    def _measure(self) -> None:
        """One bar for all: as far as the longest goes."""
        rooms = [(card.text.text_height, card.text.viewport().height()) for card in self._visible()]
        page = min((room for _, room in rooms), default=1)
        self._bar.setPageStep(max(page, 1))
        self._bar.setSingleStep(self.fontMetrics().height())
        self._bar.setMaximum(max((height - room for height, room in rooms), default=0))
        self._bar.setVisible(self._bar.maximum() > 0)

    def _compare(self) -> None:
        cards = self._visible()
        if not self._is_comparing or len(cards) != 2:
            for card in cards:
                card.text.mark([])
            return
        one, other = cards
        for card, spans in zip(cards, differences(one.text.shown, other.text.shown), strict=True):
            card.text.mark(spans)

    def _put_out(self) -> None:
        for card in self.cards:
            card.light(False)


def _name(at: int, of: int) -> str:
    """The arrow shows which key prefers it."""
    if of == 2:
        return ("←  A", "B  →")[at]
    return f"{at + 1}  {NAMES[at]}"
