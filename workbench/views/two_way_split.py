"""Two parts that stand under each other for some runs and beside each other for others, each way with its own sizes."""

from PySide6.QtCore import QByteArray, Qt, Signal
from PySide6.QtGui import QResizeEvent
from PySide6.QtWidgets import QSplitter, QWidget

from workbench import theme

UNDER, BESIDE = [520, 260], [300, 700]
#: In less than this, in pixels, two parts are two that nobody can read: two rows of charts, or one column of them,
#: and a few lines of what the run wrote.
ROOM_UNDER, ROOM_BESIDE = 470, 760


class TwoWaySplit(QSplitter):
    """Under each other at first. What is kept over a restart is how that was.

    resized: maybe there is room for both parts now, or not any more.
    """

    resized = Signal()

    def __init__(self) -> None:
        super().__init__(Qt.Orientation.Vertical)
        self._sizes = {True: BESIDE, False: UNDER}
        self.setChildrenCollapsible(False)
        self.setHandleWidth(theme.SPACE[2])

    @property
    def is_beside(self) -> bool:
        return self.orientation() == Qt.Orientation.Horizontal

    @property
    def has_room(self) -> bool:
        """Whether both parts can be read at once."""
        return self.width() >= ROOM_BESIDE if self.is_beside else self.height() >= ROOM_UNDER

    def set_beside(self, is_beside: bool) -> None:
        if is_beside == self.is_beside:
            return
        self._keep_sizes()
        self.setOrientation(Qt.Orientation.Horizontal if is_beside else Qt.Orientation.Vertical)
        self.setSizes(self._sizes[is_beside])

    def put_first(self, part: QWidget) -> None:
        """Another first part, as large as the first part was when it was last to be seen."""
        self._keep_sizes()
        self.replaceWidget(0, part)
        self.setSizes(self._sizes[self.is_beside])

    def saveState(self) -> QByteArray:
        was_beside = self.is_beside
        self.set_beside(False)
        state = super().saveState()
        self.set_beside(was_beside)
        return state

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self.resized.emit()

    def _keep_sizes(self) -> None:
        """A part that is hidden has no size of its own to be kept."""
        if all(sizes := self.sizes()):
            self._sizes[self.is_beside] = sizes
