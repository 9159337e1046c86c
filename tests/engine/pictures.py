"""Small labelling sets of pictures, as an engine would have drawn them."""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from engine.contract.labels import Candidate, Item, Judgement, LabelDir, LabelSet
from engine.contract.labels_log import append_judgement, create_set
from engine.labelling import pictures


def png(seed: int, size: tuple[int, int] = (8, 8)) -> bytes:
    """Grey noise as the bytes of a PNG."""
    pixels = np.random.default_rng(seed).integers(0, 256, size, dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, format="PNG")
    return file.getvalue()


def record(label: int | None, seed: int = 0, index: int = 0, model: str = "base") -> dict[str, Any]:
    """What is known of how a picture was drawn."""
    known = {"model": model, "sampler": "ddim", "steps": 4, "seed": seed, "index": index, "width": 8, "height": 8}
    return {"model": model, "record": {**known, "label": label}}


def picture_set(path: Path, pairs: int = 4, judged: Sequence[Judgement] = ()) -> LabelDir:
    """Pair n, called `p<n>`, has class n % 2; both of its pictures began as noise (0, n)."""
    made = create_set(path, LabelSet(name=path.name, kind="image", question="Which picture is better?"))
    items = []
    for number in range(pairs):
        label = number % 2
        two = tuple(
            Candidate(image=pictures.keep(made, png(10 * number + side)), origin=record(label, 0, number, model))
            for side, model in enumerate(("base", "tuned"))
        )
        items.append(Item(id=f"p{number}", prompt=f"class {label}", candidates=two))
    made.items.write_text("".join(f"{item.model_dump_json()}\n" for item in items))
    for judgement in judged:
        append_judgement(made.judgements, judgement)
    return made


def said(number: int, *groups: tuple[int, ...], **more: Any) -> Judgement:
    """What ada said of pair `number`: groups of its pictures, best first."""
    outcome = more.pop("outcome", "ranked")
    values = {"shown": (0, 1), "time": 1.0, **more}
    return Judgement(id=f"j{number}", item=f"p{number}", labeller="ada", outcome=outcome, ranking=groups, **values)
