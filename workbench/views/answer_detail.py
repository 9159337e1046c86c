"""One completion in full, each token tinted by how much it surprised the model."""

import bisect
import math

from PySide6.QtCore import QEvent, QObject
from PySide6.QtGui import QColor, QMouseEvent, QTextCharFormat, QTextCursor
from PySide6.QtWidgets import QPlainTextEdit, QWidget

from engine.contract.rollouts import Completion
from workbench import theme
from workbench.state import figures
from workbench.views.labels import column, label

#: A token this unlikely (nats) is tinted fully; about one in fifty.
FULL_TINT = 4.0
LONGEST_SHOWN = 64_000
EXPLAINED = "tint: surprise of each token; point at one to read it"


class AnswerDetail(QWidget):
    """Plain text only, with colours behind it: nothing that a model writes can act here."""

    def __init__(self) -> None:
        super().__init__()
        self._facts = label(role="muted", wrap=True, selectable=True)
        self._text = QPlainTextEdit(readOnly=True)
        self._text.setFont(theme.font("reading"))
        self._text.setAccessibleName("The whole completion")
        theme.set_role(self._text, "bare")
        self._text.viewport().setMouseTracking(True)
        self._text.viewport().installEventFilter(self)
        self._readout = label(EXPLAINED, "muted")
        self.setLayout(column(self._facts, self._text, self._readout, space=1))
        self._colours = theme.LIGHT
        self._shown: Completion | None = None
        self._starts: list[int] = []

    def show_answer(self, answer: Completion | None) -> None:
        self._shown = answer
        self._draw()

    def set_theme(self, colours: theme.Theme) -> None:
        self._colours = colours
        self._draw()

    @property
    def text(self) -> str:
        return self._text.toPlainText()

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        if event.type() == QEvent.Type.MouseMove and isinstance(event, QMouseEvent):
            self._read_token(self._text.cursorForPosition(event.position().toPoint()).position())
        elif event.type() == QEvent.Type.Leave:
            self._readout.setText(EXPLAINED)
        return False

    def _draw(self) -> None:
        self._text.clear()
        self._starts = []
        answer = self._shown
        self._readout.setVisible(answer is not None and bool(answer.logps))
        self._facts.setText(_facts(answer) if answer else "Choose an answer to read all of it.")
        if answer is None:
            return
        cursor = self._text.textCursor()
        cursor.beginEditBlock()
        self._write(cursor, answer.prompt[-LONGEST_SHOWN:], self._format("muted"))
        if len(answer.tokens) == len(answer.logps) and answer.tokens:
            self._write_tokens(cursor, answer)
        else:
            self._write(cursor, answer.completion[:LONGEST_SHOWN], self._format("text"))
        cursor.endEditBlock()
        self._text.moveCursor(QTextCursor.MoveOperation.Start)

    def _write_tokens(self, cursor: QTextCursor, answer: Completion) -> None:
        for token, logp in zip(answer.tokens, answer.logps, strict=True):
            if cursor.position() > LONGEST_SHOWN:
                return
            self._starts.append(cursor.position())
            drawn = self._format("text")
            drawn.setBackground(self._tint(logp))
            self._write(cursor, token, drawn)
        self._starts.append(cursor.position())

    def _write(self, cursor: QTextCursor, text: str, drawn: QTextCharFormat) -> None:
        cursor.insertText(text.replace("\0", "�"), drawn)

    def _format(self, token: str) -> QTextCharFormat:
        made = QTextCharFormat()
        made.setForeground(self._colours.colour(token))
        return made

    def _tint(self, logp: float) -> QColor:
        surprise = min(max(-logp, 0.0) / FULL_TINT, 1.0) if math.isfinite(logp) else 1.0
        return QColor(theme.mixed(self._colours.curves[1], self._colours.surface, 0.55 * surprise))

    def _read_token(self, position: int) -> None:
        answer, at = self._shown, bisect.bisect_right(self._starts, position) - 1
        if answer is None or not 0 <= at < len(self._starts) - 1:
            self._readout.setText(EXPLAINED)
            return
        parts = [f"token {at + 1}", f"log p {figures.number(answer.logps[at])}"]
        if at < len(answer.reference_logps):
            parts.append(f"reference {figures.number(answer.reference_logps[at])}")
        parts += [f"{name} {figures.number(each[at])}" for name, each in _judged(answer) if at < len(each)]
        if at < len(answer.token_ids):
            parts.append(f"id {answer.token_ids[at]}")
        self._readout.setText("  ·  ".join(parts))


def _judged(answer: Completion) -> list[tuple[str, list[float]]]:
    """What a method with a critic keeps of each token; other methods leave these empty."""
    return [
        ("KL", answer.token_kls),
        ("value", answer.values),
        ("reward", answer.token_rewards),
        ("advantage", answer.advantages),
    ]


def _facts(answer: Completion) -> str:
    parts = [f"step {figures.count(answer.step)}"]
    if answer.reward is not None:
        parts.append(f"reward {figures.fixed(answer.reward)}")
    if len(answer.parts) > 1:
        parts += [f"{name} {figures.fixed(value)}" for name, value in answer.parts.items()]
    if answer.answer is not None:
        parts.append(f"right answer {answer.answer[:80]}")
    if answer.finish == "length":
        parts.append("cut off at its longest length")
    return "  ·  ".join(parts)
