"""Before the first step: rows as the model sees them, and beside them what was noticed and what a step takes."""

from PySide6.QtCore import QSize, Qt
from PySide6.QtWidgets import QFrame, QHBoxLayout, QLabel, QScrollArea, QSplitter, QWidget

from engine.contract.findings import Finding, Report
from workbench import theme
from workbench.state import figures
from workbench.state.preflight import calm, headline, lengths_told, measured_told, rows_told, urgent
from workbench.theme import Theme
from workbench.views.labels import column, label, row
from workbench.views.length_bars import LengthBars
from workbench.views.seen_rows import SeenRows

#: level -> the icon, the colour and the word that say it; none of them has to carry it alone.
MARKS = {
    "error": ("failed", "failed", "Refused"),
    "warning": ("warning", "warning", "Warning"),
    "info": ("partial", "muted", "Note"),
    "good": ("check", "finished", "Fine"),
}
MARK_SIZE = 14
EMPTY = "Appears once the run has looked at its data, before its first step."


class PreflightView(QWidget):
    """Shows a report; `EMPTY` until there is one."""

    def __init__(self) -> None:
        super().__init__()
        self._report: Report | None = None
        self._colours = theme.LIGHT
        self._empty = label(EMPTY, "muted", wrap=True)
        self._empty.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self.rows = SeenRows()
        self._headline = label(role="strong", wrap=True, selectable=True)
        self._count = label(role="muted", wrap=True, selectable=True)
        self._bars = LengthBars()
        self._lengths = label(role="muted", wrap=True, selectable=True)
        self._measured = label(role="muted", wrap=True, selectable=True)
        self._urgent, self._calm = Findings(), Findings()
        self._split = QSplitter(Qt.Orientation.Horizontal)
        self._lay_out()
        self.show_report(None)

    def show_report(self, report: Report | None) -> None:
        if report is not None and report == self._report:
            return
        self._report = report
        self._empty.setVisible(report is None)
        self._split.setVisible(report is not None)
        if report is None:
            return
        self.rows.show_rows(report.shown)
        self._headline.setText(headline(report))
        self._count.setText(rows_told(report))
        self._bars.show_lengths(report.lengths)
        self._lengths.setText(lengths_told(report.lengths))
        for part in (self.rows, self._count, self._bars, self._lengths):
            part.setVisible(not report.of_images)
        writes = f"writes up to {figures.size(report.writes_bytes)}"
        self._measured.setText(f"{measured_told(report.measured)}\n{writes}")
        self._show_findings()

    def set_theme(self, colours: Theme) -> None:
        self._colours = colours
        self.rows.set_theme(colours)
        self._bars.set_theme(colours)
        self._show_findings()

    @property
    def told(self) -> list[str]:
        """The findings, as they are read."""
        return [*self._urgent.told, *self._calm.told]

    @property
    def words(self) -> str:
        """Everything said beside the rows and above the findings."""
        return "\n".join(part.text() for part in (self._headline, self._count, self._lengths, self._measured))

    def _lay_out(self) -> None:
        parts = (self._headline, self._urgent, self._count, self._bars, self._lengths, self._measured, self._calm)
        about = column(*parts, None)
        about.setSpacing(theme.SPACE[2])
        about.setContentsMargins(theme.SPACE[2], theme.SPACE[1], theme.SPACE[3], theme.SPACE[2])
        inside = QWidget()
        theme.set_role(inside, "scrolled")
        inside.setLayout(about)
        scroll = QScrollArea()
        scroll.setWidgetResizable(True)
        scroll.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        scroll.setFrameShape(QFrame.Shape.NoFrame)
        scroll.setWidget(inside)
        scroll.setMinimumWidth(240)
        self._split.addWidget(self.rows)
        self._split.addWidget(scroll)
        self._split.setStretchFactor(0, 3)
        self._split.setStretchFactor(1, 2)
        self._split.setSizes([620, 400])
        self._split.setChildrenCollapsible(False)
        self.setLayout(column(self._empty, self._split, space=0))

    def _show_findings(self) -> None:
        findings = self._report.findings if self._report is not None else []
        self._urgent.show_findings(urgent(findings), self._colours)
        self._calm.show_findings(calm(findings), self._colours)


class Findings(QWidget):
    """A line for each, with its mark."""

    def __init__(self) -> None:
        super().__init__()
        self._lines = column(space=1)
        self.setLayout(self._lines)

    def show_findings(self, findings: list[Finding], colours: Theme) -> None:
        while (item := self._lines.takeAt(0)) is not None:
            if (old := item.widget()) is not None:
                old.setParent(None)
                old.deleteLater()
        for finding in findings:
            self._lines.addWidget(self._line(finding, colours))
        self.setVisible(bool(findings))

    @property
    def told(self) -> list[str]:
        return [line.accessibleName() for line in self.findChildren(QLabel, "finding")]

    def _line(self, finding: Finding, colours: Theme) -> QWidget:
        icon, colour, word = MARKS[finding.level]
        mark = QLabel()
        mark.setPixmap(theme.pixmap(icon, colours.colour(colour), MARK_SIZE, self.devicePixelRatioF()))
        mark.setFixedSize(QSize(MARK_SIZE, MARK_SIZE + 3))
        said = f"{word}: {finding.what}" + (
            f". {finding.advice[:1].upper()}{finding.advice[1:]}." if finding.advice else ""
        )
        text = label(said, "muted" if finding.level in ("info", "good") else "", wrap=True, selectable=True)
        text.setObjectName("finding")
        text.setAccessibleName(said)
        line = QWidget()
        layout: QHBoxLayout = row(mark, text, space=2)
        layout.setAlignment(mark, Qt.AlignmentFlag.AlignTop)
        layout.setStretch(1, 1)
        line.setLayout(layout)
        return line
