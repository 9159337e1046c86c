"""Pictures of what is on the screen, for a note or a paper."""

from __future__ import annotations

from pathlib import Path

from PySide6.QtGui import QColor, QImage
from PySide6.QtWidgets import QWidget


def picture_of(widget: QWidget, ground: QColor, scale: float = 2.0) -> QImage:
    """The widget as it stands, `scale` image pixels to a pixel of the window, on an opaque ground."""
    image = QImage(widget.size() * scale, QImage.Format.Format_ARGB32_Premultiplied)
    image.setDevicePixelRatio(scale)
    image.fill(ground)
    widget.render(image)
    return image


def save_picture(image: QImage, path: Path) -> None:
    """Write an image in the format that the name ends with. Raises OSError where it cannot be written."""
    if not image.save(str(path)):
        raise OSError(f"{path}: the picture could not be written; choose another folder or a name ending in .png")
