"""The look of the window: every colour, size and font in one place, and a signal when they change."""

from __future__ import annotations

import functools
import string
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Literal

from PySide6.QtCore import QByteArray, QObject, QRectF, QSize, Qt, Signal
from PySide6.QtGui import QColor, QFont, QFontDatabase, QIcon, QPainter, QPalette, QPixmap, QPixmapCache
from PySide6.QtSvg import QSvgRenderer
from PySide6.QtWidgets import QApplication, QWidget

Choice = Literal["system", "light", "dark"]
FontRole = Literal["body", "muted", "title", "page-title", "value", "figures", "tick", "reading", "mono"]

SPACE = (0, 4, 8, 12, 16, 24)  # px; SPACE[2] is the usual gap
CORNER = 6  # px
FADE_MS = 120  # panels only: data never moves for show
READING_LINE_HEIGHT = 1.45
READING_COLUMN = 80  # characters


@dataclass(frozen=True)
class CurveStyle:
    """How one line of a chart is drawn. pale: the raw line behind it, mixed with the surface."""

    colour: QColor
    pale: QColor
    is_dashed: bool


@dataclass(frozen=True)
class Theme:
    """Colours as #RRGGBB. Text bears 4.5 : 1 on ground, surface and raised; curves 3 : 1 on surface."""

    name: Literal["light", "dark"]
    ground: str
    surface: str
    raised: str
    line: str
    text: str
    muted: str
    accent: str
    running: str
    finished: str
    failed: str
    warning: str
    on_accent: str
    curves: tuple[str, ...]

    def colour(self, token: str) -> QColor:
        """The colour of a token: `theme.colour("muted")`."""
        return QColor(getattr(self, token))

    def curve(self, index: int) -> CurveStyle:
        """The first eight differ by colour; from the ninth on the same colours come dashed."""
        colour = self.curves[index % len(self.curves)]
        return CurveStyle(QColor(colour), QColor(mixed(colour, self.surface, 0.42)), index // len(self.curves) % 2 == 1)

    def state_colour(self, state: str) -> QColor:
        """The colour of a run's state; muted where the state asks for no attention."""
        return self.colour(_STATE_TOKENS.get(state, "muted"))


LIGHT = Theme(
    name="light",
    ground="#F7F6F3",
    surface="#FFFFFF",
    raised="#EFEDE8",
    line="#D9D6CF",
    text="#1F2328",
    muted="#5A6068",
    accent="#0B6B66",
    running="#0067A3",
    finished="#007A55",
    failed="#B23A12",
    warning="#7D5700",
    on_accent="#FFFFFF",
    curves=("#0072B2", "#D55E00", "#007A55", "#B0589A", "#8A6A00", "#2F8FC4", "#5A6068", "#A33A6B"),
)
DARK = Theme(
    name="dark",
    ground="#15171A",
    surface="#1C1F23",
    raised="#262A2F",
    line="#3A4047",
    text="#E9E7E2",
    muted="#A4ABB3",
    accent="#57C7BD",
    running="#62B6EC",
    finished="#3CC79C",
    failed="#FF8A5E",
    warning="#E8BC4F",
    on_accent="#15171A",
    curves=("#56B4E9", "#F0883E", "#35C39A", "#E29BC6", "#E8C84A", "#9CC9F5", "#B7BEC6", "#F29BB8"),
)

_STATE_TOKENS = {
    "running": "running",
    "starting": "running",
    "paused": "warning",
    "warning": "warning",
    "finished": "finished",
    "failed": "failed",
    "crashed": "failed",
}

# family (None: the desktop's own), size in pt, weight, tabular figures
_FONTS: Mapping[FontRole, tuple[QFontDatabase.SystemFont, float, QFont.Weight, bool]] = {
    "body": (QFontDatabase.SystemFont.GeneralFont, 10, QFont.Weight.Normal, False),
    "muted": (QFontDatabase.SystemFont.GeneralFont, 9, QFont.Weight.Normal, True),
    "title": (QFontDatabase.SystemFont.GeneralFont, 12, QFont.Weight.DemiBold, False),
    "page-title": (QFontDatabase.SystemFont.GeneralFont, 13, QFont.Weight.DemiBold, False),
    "value": (QFontDatabase.SystemFont.GeneralFont, 14, QFont.Weight.DemiBold, True),
    "figures": (QFontDatabase.SystemFont.GeneralFont, 10, QFont.Weight.Normal, True),
    "tick": (QFontDatabase.SystemFont.GeneralFont, 8, QFont.Weight.Normal, True),
    "reading": (QFontDatabase.SystemFont.GeneralFont, 11, QFont.Weight.Normal, False),
    "mono": (QFontDatabase.SystemFont.FixedFont, 10, QFont.Weight.Normal, True),
}


class Appearance(QObject):
    """The theme in force: the user's choice, or the desktop's. Views listen to `changed`."""

    changed = Signal(object)  # Theme

    def __init__(self, app: QApplication, choice: Choice = "system") -> None:
        super().__init__(app)
        self._app = app
        self._choice: Choice = choice
        self._theme: Theme | None = None
        app.styleHints().colorSchemeChanged.connect(self._refresh)
        self.choose(choice)

    @property
    def choice(self) -> Choice:
        return self._choice

    @property
    def theme(self) -> Theme:
        return self._theme or LIGHT

    def choose(self, choice: Choice) -> None:
        self._choice = choice
        # Told to Qt as well, so that the title bar and the system's own dialogs follow.
        self._app.styleHints().setColorScheme(
            {"system": Qt.ColorScheme.Unknown, "light": Qt.ColorScheme.Light, "dark": Qt.ColorScheme.Dark}[choice]
        )
        self._refresh()

    def _refresh(self) -> None:
        theme = {"light": LIGHT, "dark": DARK}.get(self._choice) or system_theme(self._app)
        if theme is not self._theme:
            self._theme = theme
            apply(self._app, theme)
            self.changed.emit(theme)


def system_theme(app: QApplication) -> Theme:
    """The desktop's preference; light where it has none."""
    return DARK if app.styleHints().colorScheme() == Qt.ColorScheme.Dark else LIGHT


def apply(app: QApplication, theme: Theme) -> None:
    """Give the whole application this theme: style, palette, font, style sheet."""
    app.setStyle("Fusion")
    app.setPalette(_palette(theme))
    app.setFont(font("body"))
    app.setStyleSheet(style_sheet(theme))


def font(role: FontRole) -> QFont:
    """The font of a role. "figures", "value", "muted" and "tick" keep changing or stacked digits in place."""
    system, points, weight, is_tabular = _FONTS[role]
    made = QFontDatabase.systemFont(system)
    made.setPointSizeF(points)
    made.setWeight(weight)
    if is_tabular and hasattr(made, "setFeature"):
        made.setFeature(QFont.Tag("tnum"), 1)
    return made


def set_role(widget: QWidget, role: str) -> None:
    """Say what a widget is; assets/theme.qss says how that looks. May change while the widget is shown."""
    if widget.property("role") != role:
        widget.setProperty("role", role)
        widget.style().unpolish(widget)
        widget.style().polish(widget)


def mixed(colour: str, ground: str, share: float) -> str:
    """`share` of the colour, the rest the ground: opaque, as transparency costs time on every repaint."""
    above, below = QColor(colour), QColor(ground)
    parts = [
        round(share * a + (1 - share) * b)
        for a, b in zip(above.getRgb()[:3], below.getRgb()[:3], strict=True)  # type: ignore[index]
    ]
    return QColor(*parts).name().upper()


def contrast(one: str, other: str) -> float:
    """Contrast ratio of WCAG 2.2, from 1 to 21."""
    dark, light = sorted((_luminance(one), _luminance(other)))
    return (light + 0.05) / (dark + 0.05)


def icon(name: str, colour: QColor, size: int = 16) -> QIcon:
    """An icon of assets/icons in one colour, sharp at one, two and three device pixels a pixel."""
    made = QIcon()
    for scale in (1.0, 2.0, 3.0):
        made.addPixmap(pixmap(name, colour, size, scale))
    return made


def pixmap(name: str, colour: QColor, size: int = 16, scale: float = 1.0) -> QPixmap:
    """`size` in pixels of the window; `scale` device pixels to each. Drawn once, then kept by Qt."""
    key = f"plumbline/{name}/{colour.name()}/{size}/{scale:g}"
    made = QPixmap()
    if QPixmapCache.find(key, made):
        return made
    made = QPixmap(QSize(size, size) * scale)
    made.fill(Qt.GlobalColor.transparent)
    painter = QPainter(made)
    QSvgRenderer(QByteArray(_tinted(name, colour.name()))).render(painter, QRectF(made.rect()))
    painter.end()
    made.setDevicePixelRatio(scale)
    QPixmapCache.insert(key, made)
    return made


def style_sheet(theme: Theme) -> str:
    """assets/theme.qss with the theme's values in it."""
    colours = {f.name: getattr(theme, f.name) for f in fields(theme) if f.name not in {"name", "curves"}}
    derived = {
        "hover": mixed(theme.line, theme.raised, 0.5),
        "hover_row": mixed(theme.raised, theme.surface, 0.5),
        "accent_hover": mixed(theme.accent, theme.text, 0.85),
        "selection": mixed(theme.accent, theme.surface, 0.3),
        "faint": mixed(theme.muted, theme.ground, 0.6),
        "scroll": mixed(theme.muted, theme.surface, 0.4),
    }
    sizes = {f"space_{i}": str(px) for i, px in enumerate(SPACE)}
    # Qt sets a cell's text 3 px further in than its padding says, but not a heading's.
    sizes |= {"space_3_less": str(SPACE[3] - 1), "corner": str(CORNER), "heading": str(SPACE[2] + 3)}
    text = (assets() / "theme.qss").read_text(encoding="utf-8")
    return string.Template(text).substitute(colours | derived | sizes, icons=_write_icons(theme))


def assets() -> Path:
    """The folder `assets`: inside the package where it was installed as one, else beside it in a checkout."""
    package = Path(__file__).resolve().parent
    inside = package / "assets"
    return inside if inside.is_dir() else package.parent / "assets"


def _palette(theme: Theme) -> QPalette:
    roles = QPalette.ColorRole
    tokens = {
        roles.Window: theme.ground,
        roles.WindowText: theme.text,
        roles.Base: theme.surface,
        roles.AlternateBase: theme.raised,
        roles.Text: theme.text,
        roles.PlaceholderText: theme.muted,
        roles.Button: theme.raised,
        roles.ButtonText: theme.text,
        roles.BrightText: theme.failed,
        roles.ToolTipBase: theme.raised,
        roles.ToolTipText: theme.text,
        roles.Highlight: mixed(theme.accent, theme.surface, 0.3),
        roles.HighlightedText: theme.text,
        roles.Link: theme.accent,
        roles.LinkVisited: theme.accent,
        roles.Mid: theme.line,
        roles.Midlight: theme.line,
        roles.Dark: theme.line,
        roles.Light: theme.surface,
        roles.Shadow: theme.ground,
        roles.Accent: theme.accent,
    }
    made = QPalette()
    for role, colour in tokens.items():
        made.setColor(role, QColor(colour))
    for role in (roles.Text, roles.WindowText, roles.ButtonText):
        made.setColor(QPalette.ColorGroup.Disabled, role, QColor(mixed(theme.muted, theme.ground, 0.6)))
    return made


def _luminance(colour: str) -> float:
    channels = [QColor(colour).redF(), QColor(colour).greenF(), QColor(colour).blueF()]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def _tinted(name: str, colour: str) -> bytes:
    svg = (assets() / "icons" / f"{name}.svg").read_text(encoding="utf-8")
    return svg.replace("currentColor", colour).encode()


@functools.cache
def _icon_folder() -> tempfile.TemporaryDirectory[str]:
    """A style sheet takes images from files only, so the tinted ones lie here until the process ends."""
    return tempfile.TemporaryDirectory(prefix="plumbline-icons-")


def _write_icons(theme: Theme) -> str:
    folder = Path(_icon_folder().name) / theme.name
    folder.mkdir(exist_ok=True)
    tints = {
        "check": ("check", theme.on_accent),
        "partial": ("partial", theme.on_accent),
        "tick": ("check", theme.text),
        "close": ("close", theme.muted),
        "chevron-up": ("chevron-up", theme.muted),
        "chevron-down": ("chevron-down", theme.muted),
    }
    for file, (name, colour) in tints.items():
        (folder / f"{file}.svg").write_bytes(_tinted(name, colour))
    return folder.as_posix()
