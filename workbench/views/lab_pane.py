"""What a run shows that neither writes texts nor draws images: a proof of samplers, or diffusion in the plane."""

from PySide6.QtWidgets import QStackedWidget

from workbench.io.lab_reader import Found, LabReader
from workbench.theme import Theme
from workbench.views.proof_pane import ProofPane
from workbench.views.toy_pane import ToyPane


class LabPane(QStackedWidget):
    """One of the two, as the run's method says."""

    def __init__(self) -> None:
        super().__init__()
        self.proof, self.toy = ProofPane(), ToyPane()
        self.addWidget(self.proof)
        self.addWidget(self.toy)
        self._reader: LabReader | None = None

    def show_run(self, reader: LabReader) -> None:
        """Follow another run."""
        self._reader = reader
        self.proof.show_proof(None)
        self.toy.show_run(reader)
        reader.found.connect(self._show_found)

    def show_method(self, method: str) -> None:
        """Which of both is on show, and what there is of it by now."""
        self.setCurrentWidget(self.proof if method == "sampler_proof" else self.toy)
        if self._reader is not None:
            self._reader.look()

    def set_theme(self, colours: Theme) -> None:
        self.proof.set_theme(colours)
        self.toy.set_theme(colours)

    def close_down(self) -> None:
        self.toy.close_down()

    def _show_found(self, found: Found) -> None:
        self.proof.show_proof(found.proof)
        self.toy.show_found(found)
