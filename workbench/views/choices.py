"""A box to choose one of several from, turned by a key to the next."""

from PySide6.QtWidgets import QComboBox

WIDEST = 220


def choice(name: str) -> QComboBox:
    """One that is as wide as what it offers. name: for those who hear the screen."""
    made = QComboBox()
    made.setAccessibleName(name)
    made.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToContents)
    made.setMaximumWidth(WIDEST)
    made.hide()
    return made


def offer(box: QComboBox, items: list[str]) -> None:
    """What may be chosen now; what was chosen stays chosen. A box with nothing to choose hides."""
    if [box.itemText(at) for at in range(box.count())] != items:
        kept = box.currentText()
        box.clear()
        box.addItems(items)
        box.setCurrentIndex(items.index(kept) if kept in items else 0 if items else -1)
    box.setVisible(len(items) > 1)


def turn(box: QComboBox) -> None:
    """The next one, the first after the last, as if it were chosen by hand."""
    if box.count() > 1:
        box.setCurrentIndex((box.currentIndex() + 1) % box.count())
        box.activated.emit(box.currentIndex())
