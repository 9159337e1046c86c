"""Scrolling a page must not change a setting that happens to pass under the pointer."""

from PySide6.QtCore import QEvent, QObject
from PySide6.QtWidgets import QAbstractSpinBox, QComboBox, QSlider


class WheelGuard(QObject):
    """An event filter for the application: boxes and sliders take the wheel only while they have the focus."""

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        if event.type() != QEvent.Type.Wheel or not isinstance(watched, QComboBox | QAbstractSpinBox | QSlider):
            return False
        if watched.hasFocus():
            return False
        event.ignore()
        return True
