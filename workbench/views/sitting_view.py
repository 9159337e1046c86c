"""A sitting: the prompt, the answers side by side, and what can be said of them. Nothing tells who wrote which."""

from collections.abc import Callable, Mapping

from PySide6.QtCore import QEvent, QObject, QTimer, Signal
from PySide6.QtGui import QKeyEvent, QKeySequence, QResizeEvent
from PySide6.QtWidgets import QLineEdit, QPushButton, QStackedWidget, QWidget

from engine.contract.labels import Judgement
from engine.contract.labels_protocol import SCALE, choice_of
from workbench import theme
from workbench.io.label_sets import Opened
from workbench.io.labelling import Event, Labelling
from workbench.state import shown_item
from workbench.state.sitting import Choice, Sitting, Turn
from workbench.theme import Theme
from workbench.views.answer_card import LIT_MS, AnswerCard
from workbench.views.answers import Answers
from workbench.views.choice_bar import WHILE_RANKING, ChoiceBar
from workbench.views.held_key import HeldKey
from workbench.views.labels import card, column, label, row
from workbench.views.picture_cards import PictureCards
from workbench.views.ranking_line import RankingLine
from workbench.views.reading_pane import ReadingPane, reading_width
from workbench.views.sitting_aside import SittingAside, What
from workbench.views.sitting_head import SittingHead

#: The prompt takes at most this share of the height; a longer one scrolls.
PROMPT_SHARE = 0.25
LEAST_ANSWERS = 160
SIGNS_OF_LIFE = {QEvent.Type.KeyPress, QEvent.Type.MouseButtonPress, QEvent.Type.MouseMove, QEvent.Type.Wheel}
ACTIONS_OF_CHOICE: dict[str, Choice] = {
    "left": "left",
    "right": "right",
    "tie": "tie",
    "tie_too": "tie",
    "both_bad": "both_bad",
}


class SittingView(QWidget):
    """Shows the open set of `labelling` and asks it for what keys and buttons mean.

    markdown_changed: whether the person wants Markdown drawn from now on.
    """

    markdown_changed = Signal(bool)

    def __init__(self, labelling: Labelling, keys: Mapping[str, str]) -> None:
        super().__init__()
        self._labelling = labelling
        self._keys = keys
        self._blinking = HeldKey(self)
        self._head = SittingHead()
        self._failure = label(role="fault", wrap=True, selectable=True)
        self.prompt = ReadingPane("Prompt")
        self.answers = Answers()
        self.pictures = PictureCards(labelling.pictures)
        self.bar = ChoiceBar()
        self.note = QLineEdit(placeholderText="A note on this pair; Enter keeps it")
        self.aside = SittingAside()
        self.ranking = RankingLine(keys)
        self._asked = card()
        self._texts = QWidget()
        self._stack = QStackedWidget()
        self._turn: Turn | None = None
        self._are_pictures = False
        self._acts: dict[str, Callable[[Sitting], object]] = {
            "undo": lambda _: self.ranking.take_back() or labelling.undo(),
            "redo": lambda _: labelling.redo(),
            "flag": lambda sitting: labelling.mark(is_flagged=not sitting.is_flagged),
            "note": self._edit_note,
            "rank": self._toggle_ranking,
            "same_place": lambda sitting: self.ranking.join() if sitting.settings.protocol.tie else None,
            "finish": self._finish,
            "difference": self._toggle_difference,
            "markdown": self._toggle_markdown,
            "blink": lambda _: self._blinking.press(),
            "zoom_in": lambda _: self.pictures.zoom(1),
            "zoom_out": lambda _: self.pictures.zoom(-1),
            "zoom_whole": lambda _: self.pictures.zoom(0),
            "guideline": lambda _: self._show_aside("" if self.aside.what == "guideline" else "guideline"),
            "settle": lambda _: labelling.toggle_settling(),
            "pause": lambda _: labelling.toggle_pause(),
        }
        self._dim = QTimer(self, singleShot=True, interval=LIT_MS)
        self._lay_out()
        self._connect()

    # ------------------------------------------------------------------------------------------------ what it shows

    def follow(self, event: Event) -> None:
        """Something happened to the sitting."""
        opened = self._labelling.opened
        if opened is None:
            return
        if event.what == "marked":
            self._show_marks(opened.sitting)
            self._show_aside("pause" if self._labelling.is_paused else "")
            return
        if event.what == "grown" and self._turn is opened.sitting.turn:
            self._show_progress(opened.sitting)  # what is on show stays as it is, also where it was scrolled to
            return
        self._failure.hide()
        self._show_turn(opened)
        said = {"judged": "saved", "undone": "undone", "redone": "redone"}.get(event.what, "")
        self._head.show_saved(f"{said}: {event.revealed}" if event.revealed else said)
        if said:
            self._light(event.judgement, event.what)

    def show_failure(self, sentence: str) -> None:
        """The pair stays; this says why."""
        self._head.show_saved("")
        self._failure.setText(sentence)
        self._failure.show()

    def draw_markdown(self, is_wanted: bool) -> None:
        """Draw the Markdown of prompt and answers, or show them as they were written."""
        self.prompt.draw_markdown(is_wanted)
        self.answers.draw_markdown(is_wanted)
        self._fit()

    def set_theme(self, colours: Theme) -> None:
        self._head.set_theme(colours)
        self.prompt.set_theme(colours)
        self.answers.set_theme(colours)

    @property
    def _cards(self) -> list[AnswerCard]:
        """Of the answers on show, from the left."""
        cards = self.pictures.cards if self._are_pictures else self.answers.cards
        return [card for card in cards if not card.isHidden()]

    @property
    def facts(self) -> str:
        return self._head.facts

    @property
    def saved(self) -> str:
        return self._head.saved

    @property
    def failure(self) -> str:
        return self._failure.text() if not self._failure.isHidden() else ""

    # ------------------------------------------------------------------------------------------------ what it is asked

    def act(self, action: str) -> None:
        """Do what a key or button means."""
        sitting = self._labelling.sitting
        if sitting is None:
            return
        if (act := self._acts.get(action)) is not None:
            act(sitting)
        elif not self.aside.what:
            self._choose(action, sitting)

    def let_go(self) -> bool:
        """Close what is open over the pair; False if nothing is."""
        if self.note.isVisible():
            self._keep_note()
        elif self._labelling.is_paused:
            self._labelling.toggle_pause()
        elif self.aside.what == "guideline":
            self._show_aside("")
        elif self.ranking.draft.groups:
            self.ranking.restart()
        else:
            return False
        return True

    # ------------------------------------------------------------------------------------------------------ choosing

    def _choose(self, action: str, sitting: Sitting) -> None:
        if sitting.turn is None:
            return
        answers = len(sitting.turn.shown)
        if action == "skip":
            self._labelling.judge("skip")
        elif self._are_pictures and (why_not := self.pictures.why_not):
            self.show_failure(why_not)
        elif action in ACTIONS_OF_CHOICE:
            self._labelling.judge(ACTIONS_OF_CHOICE[action])
        elif answers == 2 and int(action) in SCALE:
            self._labelling.judge(int(action))  # type: ignore[arg-type]
        elif answers > 2 and int(action) <= answers:
            self._pick(int(action) - 1, answers)

    def _pick(self, place: int, answers: int) -> None:
        """Among more than two: the best, or when ranking the next in the order."""
        if not self.ranking.is_on:
            self._labelling.rank([[place]])
        elif groups := self.ranking.pick(place, answers):
            self._labelling.rank(groups)

    def _finish(self, _: Sitting) -> None:
        """The answers not ranked yet are the last, all alike; or Enter means what it means to a note or a button."""
        if self.note.isVisible():
            self._keep_note()
        elif self.ranking.draft.groups and not self.aside.what:
            self._labelling.rank(self.ranking.draft.groups)
        elif isinstance(button := self.focusWidget(), QPushButton):
            button.click()

    def _toggle_ranking(self, sitting: Sitting) -> None:
        if sitting.turn is not None and len(sitting.turn.shown) > 2:
            self.ranking.toggle()
            self._show_marks(sitting)

    def _blink(self, is_wanted: bool) -> None:
        if self._are_pictures:
            self.pictures.blink(is_wanted)
            self.bar.set_down({"blink": is_wanted})

    def _toggle_difference(self, sitting: Sitting) -> None:
        self.answers.compare(not self.answers.is_comparing)
        self._show_marks(sitting)

    def _toggle_markdown(self, sitting: Sitting) -> None:
        self.draw_markdown(not self.answers.is_markdown)
        self._show_marks(sitting)
        self.markdown_changed.emit(self.answers.is_markdown)

    def _edit_note(self, sitting: Sitting) -> None:
        self.note.setText(sitting.note)
        self.note.show()
        self.note.setFocus()

    def _keep_note(self) -> None:
        self.note.hide()
        self._labelling.mark(note=self.note.text().strip())
        self.setFocus()

    # ------------------------------------------------------------------------------------------------------- drawing

    def _show_turn(self, opened: Opened) -> None:
        sitting, turn = opened.sitting, opened.sitting.turn
        self._turn = turn
        self._blinking.turn_off()
        self._show_progress(sitting)
        self.note.hide()
        self._asked.setVisible(turn is not None)
        if turn is not None:
            self._are_pictures = shown_item.are_pictures(turn.item)
            self.prompt.show_text(shown_item.conversation(turn.item.prompt))
            self._show_answers(opened, turn)
            self._fit()
        self.ranking.restart()
        self._show_aside("")
        if turn is None:
            self.aside.take_keyboard(of=self)
        self._show_marks(sitting)

    def _show_progress(self, sitting: Sitting) -> None:
        self._head.show_progress(sitting.settings.question, sitting.progress, is_settling=sitting.is_settling)

    def _show_answers(self, opened: Opened, turn: Turn) -> None:
        self.bar.show_choices(
            self._keys,
            answers=len(turn.shown),
            is_graded=opened.sitting.takes_strength,
            are_pictures=self._are_pictures,
        )
        if not self._are_pictures:
            self.answers.show_texts(shown_item.texts(turn.item, turn.shown))
            return
        folder, coming = opened.label_dir.path, opened.sitting.coming
        ahead = shown_item.pictures(folder, coming.item, coming.shown) if coming is not None else []
        self.pictures.show_pictures(shown_item.pictures(folder, turn.item, turn.shown), ahead)

    def _show_marks(self, sitting: Sitting) -> None:
        self.bar.set_down(
            {
                "flag": sitting.is_flagged,
                "note": bool(sitting.note),
                "difference": self.answers.is_comparing,
                "markdown": self.answers.is_markdown,
                "blink": self.pictures.is_blinking,
                "rank": self.ranking.is_on,
                "pause": self._labelling.is_paused,
            }
        )
        self.bar.offer(WHILE_RANKING, is_offered=self.ranking.is_on)
        rules, has_pair = sitting.settings.protocol, sitting.turn is not None
        self.bar.enable(
            {
                **dict.fromkeys(self.bar.of_a_pair, has_pair),
                "undo": sitting.undoable is not None,
                "redo": sitting.redoable is not None,
                "tie": rules.tie and has_pair,
                "both_bad": rules.both_bad and has_pair,
                "same_place": rules.tie and has_pair,
            }
        )

    def _light(self, judgement: Judgement | None, what: str) -> None:
        """What was chosen lights up while the next pair is there already; after an undo, what was said before."""
        self.bar.put_out()
        if judgement is None:
            return
        choice = choice_of(judgement)
        graded = str(choice) if self.bar.button("1") is not None else _binary(choice)
        action = {"both_bad": "both_bad", "skipped": "skip"}.get(judgement.outcome, graded)
        self.bar.light(action, is_lit=True)
        self._dim.start()
        if what == "judged" and judgement.ranking:
            best = {judgement.shown.index(index) for index in judgement.ranking[0]}
            shown = self.pictures if self._are_pictures else self.answers
            shown.light([place for place in best if place < len(self._cards)])

    def _show_places(self) -> None:
        for at, shown in enumerate(self._cards):
            shown.set_mark(self.ranking.draft.word(at))

    def _show_aside(self, what: What) -> None:
        """Something in place of the answers, or "" for the answers; without any, how the set stands."""
        if (opened := self._labelling.opened) is not None:
            what = "done" if not what and opened.sitting.turn is None else what
            self.aside.show_what(what, opened)
            part = self.aside if what else self.pictures if self._are_pictures else self._texts
            self._stack.setCurrentWidget(part)

    def _fit(self) -> None:
        """The prompt as high as it needs to be; the answers too, so that short ones do not float in a void."""
        room = self.height()
        wanted = self.prompt.text_height + 4
        self.prompt.setFixedHeight(max(min(wanted, round(room * PROMPT_SHARE)), 24))
        self.answers.setMaximumHeight(max(self.answers.wanted_height() + theme.SPACE[5], LEAST_ANSWERS, room // 3))

    def keyReleaseEvent(self, event: QKeyEvent) -> None:
        if QKeySequence(event.key()).toString() == self._keys.get("blink") and not event.isAutoRepeat():
            self._blinking.release()
        super().keyReleaseEvent(event)

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        QTimer.singleShot(0, self, self._fit)

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        if event.type() in SIGNS_OF_LIFE:
            self._labelling.touch()
        return False

    # ------------------------------------------------------------------------------------------------------- building

    def _connect(self) -> None:
        self.bar.asked.connect(self.act)
        self.ranking.changed.connect(self._show_places)
        for shown in (self.answers, self.pictures):
            shown.chosen.connect(self._choose_card)
            shown.touched.connect(self._labelling.touch)
        self.pictures.complete.connect(self._failure.hide)
        self.prompt.wheeled.connect(self._scroll_prompt)
        self.note.returnPressed.connect(self._keep_note)
        self._dim.timeout.connect(self.bar.put_out)
        self._blinking.changed.connect(self._blink)
        self.installEventFilter(self)

    def _choose_card(self, place: int) -> None:
        sitting = self._labelling.sitting
        if sitting is not None and sitting.turn is not None:
            self.act(("left", "right")[place] if len(sitting.turn.shown) == 2 else str(place + 1))

    def _scroll_prompt(self, event: object) -> None:
        delta = event.angleDelta().y() // 2  # type: ignore[attr-defined]
        self.prompt.scroll_to(max(self.prompt.verticalScrollBar().value() - delta, 0))

    def _lay_out(self) -> None:
        inside = column(label("Prompt", "muted"), self.prompt, space=1)
        inside.setContentsMargins(theme.SPACE[5], theme.SPACE[3], theme.SPACE[5], theme.SPACE[1])
        self._asked.setLayout(inside)
        self._texts.setLayout(column(self.answers, None, space=0))
        self._texts.layout().setStretch(0, 1000)  # type: ignore[union-attr]
        for part in (self._texts, self.pictures, self.aside):
            self._stack.addWidget(part)
        layout = column(space=3)
        layout.setContentsMargins(0, 0, 0, 0)
        for part in (self._head, self._failure, self._asked, self.note):
            layout.addWidget(part)
        layout.addWidget(self._stack, 1)
        layout.addWidget(self.ranking)
        layout.addWidget(self.bar)
        # Two columns of text and no more: on a wide screen the eye should not travel.
        room = QWidget()
        room.setMaximumWidth(round(2 * reading_width() + 4 * theme.SPACE[5] + 3 * theme.SPACE[4]))
        room.setLayout(layout)
        outer = row(space=0)
        outer.addStretch(1)
        outer.addWidget(room, 1000)
        outer.addStretch(1)
        self.setLayout(outer)
        self._failure.hide()
        self.note.hide()


def _binary(choice: int | None) -> str:
    if choice is None or choice == 4:
        return "tie" if choice == 4 else ""
    return "left" if choice < 4 else "right"
