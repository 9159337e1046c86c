"""The answers side by side: equal type, equal room, one scroll bar for all of them."""

from collections.abc import Sequence

from PySide6.QtCore import QPoint, Qt, QTimer, Signal
from PySide6.QtGui import QKeyEvent, QResizeEvent, QWheelEvent
from PySide6.QtWidgets import QGridLayout, QLabel, QScrollBar, QWidget

from workbench import theme
from workbench.state import figures
from workbench.state.word_difference import differences
from workbench.theme import Theme
from workbench.views.answer_card import LIT_MS, AnswerCard, columns_of, name_of
from workbench.views.labels import label
from workbench.views.reading_pane import ReadingPane

#: So much of a notch of the wheel is one pixel; three lines a notch, as text editors scroll.
WHEEL_LINES = 3


class Answers(QWidget):
    """Emits `chosen` with the place of an answer that was double-clicked, and `touched` when somebody scrolls."""

    chosen = Signal(int)
    touched = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.cards: list[AnswerCard] = []
        self.texts: list[ReadingPane] = []
        self._more: list[QLabel] = []
        self._shown = 0
        self._bar = QScrollBar(Qt.Orientation.Vertical)
        self._bar.setAccessibleName("Scroll the answers")
        self._bar.valueChanged.connect(self._scroll)
        keeps = self._bar.sizePolicy()
        keeps.setRetainSizeWhenHidden(True)  # the columns must not get wider where nothing is to be scrolled
        self._bar.setSizePolicy(keeps)
        self._bar.setFixedWidth(theme.SPACE[3])
        self._grid = QGridLayout()
        self._grid.setContentsMargins(0, 0, 0, 0)
        self._grid.setHorizontalSpacing(0)
        self._grid.setVerticalSpacing(theme.SPACE[3])
        self.setLayout(self._grid)
        self._colours = theme.LIGHT
        self._is_comparing = False
        self._is_markdown = False
        self._dim = QTimer(self, singleShot=True, interval=LIT_MS)
        self._dim.timeout.connect(self._put_out)

    def show_texts(self, texts: Sequence[str]) -> None:
        """Show these answers from their beginning, from the left."""
        while len(self.cards) < len(texts):
            self._add_card()
        if len(texts) != self._shown:
            self._arrange(len(texts))
        self._shown = len(texts)
        for at, card in enumerate(self.cards):
            card.setVisible(at < len(texts))
            if at < len(texts):
                card.show_name(name_of(at, len(texts)))
                self.texts[at].show_text(texts[at])
        self._bar.setValue(0)
        self._compare()
        self._measure()

    def light(self, places: Sequence[int]) -> None:
        """Light these cards up for a moment: that was the choice, while the next answers are there already."""
        for at, card in enumerate(self.cards):
            card.light(at in places)
        self._dim.start()

    def compare(self, is_wanted: bool) -> None:
        """Mark the words in which the two answers differ, or stop to."""
        self._is_comparing = is_wanted
        self._compare()

    def draw_markdown(self, is_wanted: bool) -> None:
        """Draw the answers' Markdown from now on, or show what was written."""
        self._is_markdown = is_wanted
        for text in self.texts:
            text.draw_markdown(is_wanted)
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
        """In pixels, to show all of the longest answer in each row."""
        shown = zip(self.cards[: self._shown], self.texts, strict=False)
        longest = max((text.text_height + card.extra_height() for card, text in shown), default=0)
        rows = -(-self._shown // columns_of(self._shown)) if self._shown else 0
        return rows * longest + (rows - 1) * theme.SPACE[3]

    def set_theme(self, colours: Theme) -> None:
        self._colours = colours
        for text in self.texts:
            text.set_theme(colours)
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
        place = len(self.cards)
        text, more = ReadingPane(f"Text of answer {place + 1}"), label(role="muted")
        card = AnswerCard(f"{place + 1}", text, more)
        card.pressed.connect(lambda: self.chosen.emit(place))
        text.wheeled.connect(self._take_wheel)
        text.set_theme(self._colours)
        text.draw_markdown(self._is_markdown)
        self.cards.append(card)
        self.texts.append(text)
        self._more.append(more)
        text.grew.connect(lambda: self._grew(place))

    def _arrange(self, count: int) -> None:
        columns = columns_of(count)
        for column in range(1, self._grid.columnCount()):
            self._grid.setColumnStretch(column, 0)
            self._grid.setColumnMinimumWidth(column, 0)
        for at, card in enumerate(self.cards):
            self._grid.removeWidget(card)
            if at < count:
                row, column = at // columns, at % columns * 2
                self._grid.addWidget(card, row, column)
                self._grid.setColumnStretch(column, 1)
                self._grid.setColumnMinimumWidth(column + 1, theme.SPACE[3] if column + 2 < 2 * columns else 0)
        # Between the first two, as it moves all of them.
        self._grid.addWidget(self._bar, 0, 1, -1, 1)

    def _visible(self) -> list[ReadingPane]:
        return self.texts[: self._shown]

    def _grew(self, place: int) -> None:
        text, more = self.texts[place], self._more[place]
        more.setVisible(not text.is_whole)
        read, length = figures.count(text.read), figures.count(text.length)
        more.setText(f"{read} of {length} characters; more comes as you scroll")
        self._compare()

    def _take_wheel(self, event: QWheelEvent) -> None:
        pixels: QPoint = event.pixelDelta()
        lines = event.angleDelta().y() / 120 * WHEEL_LINES
        self.scroll_by(-(pixels.y() or round(lines * self.fontMetrics().height())))
        event.accept()
        self.touched.emit()

    def _scroll(self, pixels: int) -> None:
        for text in self._visible():
            text.scroll_to(pixels)
        self._measure()
        self.touched.emit()

    def _measure(self) -> None:
        """One bar for all: as far as the longest goes."""
        rooms = [(text.text_height, text.viewport().height()) for text in self._visible()]
        page = min((room for _, room in rooms), default=1)
        self._bar.setPageStep(max(page, 1))
        self._bar.setSingleStep(self.fontMetrics().height())
        self._bar.setMaximum(max((height - room for height, room in rooms), default=0))
        self._bar.setVisible(self._bar.maximum() > 0)
        for text in self._visible():  # a pane that was laid out anew may have moved by itself
            text.verticalScrollBar().setValue(self._bar.value())

    def _compare(self) -> None:
        texts = self._visible()
        if not self._is_comparing or len(texts) != 2:
            for text in texts:
                text.mark([])
            return
        one, other = texts
        for text, spans in zip(texts, differences(one.shown, other.shown), strict=True):
            text.mark(spans)

    def _put_out(self) -> None:
        for card in self.cards:
            card.light(False)
