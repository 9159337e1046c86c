"""Two parts that stand under each other for some runs and beside each other for others, each way with its own sizes."""

from PySide6.QtCore import QByteArray, Qt
from PySide6.QtWidgets import QSplitter

from workbench import theme

UNDER, BESIDE = [520, 260], [300, 700]


class TwoWaySplit(QSplitter):
    """Under each other at first. What is kept over a restart is how that was."""

    def __init__(self) -> None:
        super().__init__(Qt.Orientation.Vertical)
        self._sizes = {True: BESIDE, False: UNDER}
        self.setChildrenCollapsible(False)
        self.setHandleWidth(theme.SPACE[2])

    @property
    def is_beside(self) -> bool:
        return self.orientation() == Qt.Orientation.Horizontal

    def set_beside(self, is_beside: bool) -> None:
        if is_beside == self.is_beside:
            return
        self._sizes[self.is_beside] = self.sizes()
        self.setOrientation(Qt.Orientation.Horizontal if is_beside else Qt.Orientation.Vertical)
        self.setSizes(self._sizes[is_beside])

    def saveState(self) -> QByteArray:
        was_beside = self.is_beside
        self.set_beside(False)
        state = super().saveState()
        self.set_beside(was_beside)
        return state
