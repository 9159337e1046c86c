"""What the engine is asked about labelling sets: to look, to fill one, to import and to export. All of it waits."""

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel

from engine.contract.labels import LabelDir
from engine.contract.labels_formats import Export, Import
from engine.contract.labels_plan import FilePlan, ItemsPlan
from workbench.io import engine_process
from workbench.io.engine_process import Failed, Refused, Started

#: A file of a million rows is read to its end before it is said what is in it.
PATIENCE_SECONDS = 1800
RECIPE = "recipe.yaml"

Told = TypeVar("Told", bound=BaseModel)
Result = TypeVar("Result")


@dataclass(frozen=True)
class Order:
    """A set to be filled. recipe: as it was entered, right or wrong."""

    name: str
    question: str
    guideline: str
    recipe: str


def look_at_items(order: Order, workspace: Path) -> ItemsPlan | Refused | Failed:
    """What the order would make, or all that is wrong with it."""
    return _with_files(order, lambda files: _ask(ItemsPlan, _items("--check", order, files, workspace), workspace))


def start_items(order: Order, workspace: Path) -> Started | Refused | Failed:
    """Start writing; `run` of the answer is the directory to watch."""
    return _with_files(
        order, lambda files: engine_process.start(_items("--detach", order, files, workspace), workspace)
    )


def go_on_with_items(label_dir: LabelDir, workspace: Path) -> Started | Refused | Failed:
    """Start writing what a set's recipe still lacks."""
    arguments = ["items", label_dir.path.name, "--workspace", str(workspace), "--detach"]
    return engine_process.start(arguments, workspace)


def look_at_import(wish: Import, workspace: Path) -> FilePlan | Refused | Failed:
    return _ask(FilePlan, _import(wish, workspace, "--check"), workspace)


def run_import(wish: Import, workspace: Path) -> str | Refused | Failed:
    """The name of the set that was made."""
    answer = engine_process.ask_for_json(_import(wish, workspace), workspace, patience=PATIENCE_SECONDS)
    return answer if isinstance(answer, Refused | Failed) else wish.name


def look_at_export(label_dir: LabelDir, wish: Export, workspace: Path) -> FilePlan | Refused | Failed:
    return _ask(FilePlan, _export(label_dir, wish, "--check"), workspace)


def run_export(label_dir: LabelDir, wish: Export, workspace: Path) -> Path | Refused | Failed:
    """The folder that was written."""
    answer = engine_process.ask_for_json(_export(label_dir, wish), workspace, patience=PATIENCE_SECONDS)
    return answer if isinstance(answer, Refused | Failed) else Path(str(answer["dest"]))


def _with_files(order: Order, do: Callable[[Path], Result]) -> Result:
    """Call `do` with a folder in which recipe and guideline lie; the engine keeps copies of its own."""
    with tempfile.TemporaryDirectory(prefix="plumbline-items-") as folder:
        files = Path(folder)
        (files / RECIPE).write_text(order.recipe, "utf-8")
        (files / "guideline.md").write_text(order.guideline, "utf-8")
        return do(files)


def _items(how: str, order: Order, files: Path, workspace: Path) -> list[str]:
    # With =, as a question may begin with a dash.
    told = [f"--question={order.question}", "--guideline", str(files / "guideline.md")]
    return ["items", how, f"--recipe={files / RECIPE}", *told, "--workspace", str(workspace), "--", order.name]


def _import(wish: Import, workspace: Path, *how: str) -> list[str]:
    told = [f"--question={wish.question}", "--format", wish.format, "--workspace", str(workspace)]
    return ["import", *how, *told, "--", str(Path(wish.source).expanduser()), wish.name]


def _export(label_dir: LabelDir, wish: Export, *how: str) -> list[str]:
    told = ["--style", wish.style, "--held-out", str(wish.held_out), "--ties", wish.ties, "--margin", wish.margin]
    told += ["--pictures", wish.pictures]
    parquet = ["--parquet"] if wish.file == "parquet" else []
    dest = str(Path(wish.dest).expanduser())
    return ["export", *how, "--format", wish.format, *told, *parquet, "--", str(label_dir.path), dest]


def _ask(model: type[Told], arguments: list[str], home: Path) -> Told | Refused | Failed:
    answer = engine_process.ask_for_json(arguments, home, patience=PATIENCE_SECONDS)
    return answer if isinstance(answer, Refused | Failed) else model.model_validate(answer)
