"""What an evaluation found, as a file and as a table."""

import time
from importlib import metadata
from pathlib import Path
from typing import Any

from engine.contract.run_dir import write_json
from engine.evaluation.figures import Figures
from engine.lineage import run_of

PACKAGES = ("torch", "transformers", "rouge-score", "sacrebleu")


def report_of(
    figures: Figures, *, model: str, data: list[str], sampling: dict[str, Any] | None, notes: list[str]
) -> dict[str, Any]:
    """What the file says. sampling: how answers were drawn, None where none were."""
    return {
        "model": model,
        "data": data,
        "time": time.time(),
        "measures": {name: figure._asdict() for name, figure in figures.items()},
        "sampling": sampling,
        "notes": notes,
        "versions": {name: metadata.version(name) for name in PACKAGES},
    }


def keep(report: dict[str, Any], model: Path) -> Path | None:
    """Put the report beside the run that the model belongs to; returns where, or None if it belongs to none."""
    run = run_of(model) if model.is_absolute() else None
    if run is None:
        return None
    stamp = time.strftime("%Y%m%d-%H%M%S")
    names = (f"evaluation-{stamp}{suffix}.json" for suffix in ["", *(f"-{n}" for n in range(2, 1000))])
    path = next(run.path / name for name in names if not (run.path / name).exists())
    write_json(path, report)
    return path
