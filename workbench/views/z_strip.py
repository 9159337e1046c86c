"""How far samples are off their sampler's law: a row of dots each, between the limits that chance stays in."""

import math
from collections.abc import Sequence

from PySide6.QtCore import QPointF, QRectF, QSize, Qt
from PySide6.QtGui import QPainter, QPaintEvent, QPen
from PySide6.QtWidgets import QWidget

from engine.contract.proof import Z_LIMIT, LawCheck, named_sampler
from workbench import theme
from workbench.state import figures
from workbench.theme import Theme
from workbench.views import small_plot
from workbench.views.small_plot import BOTTOM, LEAST, SIZE

NAMES, WORST = 118.0, 40.0  # px
#: Standard errors from the middle to either end; what is further stands at the end.
REACH = 6.0


class ZStrip(QWidget):
    """Shows checks as they are given; its description says their worst figures."""

    def __init__(self) -> None:
        super().__init__()
        small_plot.set_up(self, "Samples against their sampler's own law")
        self._checks: tuple[LawCheck, ...] = ()
        self._colours = theme.LIGHT

    def show_checks(self, checks: Sequence[LawCheck]) -> None:
        if tuple(checks) != self._checks:
            self._checks = tuple(checks)
            said = [f"{named_sampler(c.sampler, c.eta)}: worst {figures.fixed(c.worst, 1)}" for c in checks]
            self.setAccessibleDescription("; ".join(said))
            self.update()

    def set_theme(self, colours: Theme) -> None:
        self._colours = colours
        self.update()

    def sizeHint(self) -> QSize:
        return SIZE

    def minimumSizeHint(self) -> QSize:
        return LEAST

    def paintEvent(self, event: QPaintEvent) -> None:
        with small_plot.painting(self, NAMES, WORST) as (painter, room):
            self._paint_limits(painter, room)
            row = room.height() / max(len(self._checks), 1)
            for index, check in enumerate(self._checks):
                self._paint_check(painter, room, check, room.top() + row * (index + 0.5))

    def _paint_limits(self, painter: QPainter, room: QRectF) -> None:
        inside = QRectF(_x(room, -Z_LIMIT), room.top(), _x(room, Z_LIMIT) - _x(room, -Z_LIMIT), room.height())
        painter.fillRect(inside, self._colours.colour("raised"))
        painter.setPen(QPen(self._colours.colour("line"), 1))
        painter.drawLine(QPointF(_x(room, 0), room.top()), QPointF(_x(room, 0), room.bottom()))
        painter.setPen(self._colours.colour("muted"))
        for z in (-Z_LIMIT, 0.0, Z_LIMIT):
            where = QRectF(_x(room, z) - 30, room.bottom() + 3, 60, BOTTOM)
            said = figures.signed(z, 2) if z else "0"
            painter.drawText(where, Qt.AlignmentFlag.AlignHCenter | Qt.AlignmentFlag.AlignTop, said)

    def _paint_check(self, painter: QPainter, room: QRectF, check: LawCheck, y: float) -> None:
        token = "text" if check.holds else "failed"
        painter.setPen(self._colours.colour(token))
        name = QRectF(4, y - 8, NAMES - 12, 16)
        centred = Qt.AlignmentFlag.AlignVCenter
        painter.drawText(name, Qt.AlignmentFlag.AlignLeft | centred, named_sampler(check.sampler, check.eta))
        worst = QRectF(room.right() + 4, y - 8, WORST - 8, 16)
        painter.drawText(worst, Qt.AlignmentFlag.AlignRight | centred, figures.fixed(check.worst, 1))
        for values, index in ((check.z_covariances, 0), (check.z_means, 1)):
            painter.setPen(QPen(self._colours.curve(index).colour, 1.4))
            painter.setBrush(Qt.BrushStyle.NoBrush)
            for z in values:
                painter.drawEllipse(QPointF(_x(room, z), y), 3, 3)


def _x(room: QRectF, z: float) -> float:
    within = max(-REACH, min(REACH, z)) if math.isfinite(z) else REACH
    return room.left() + (within / REACH + 1) / 2 * room.width()
