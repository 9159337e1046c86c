"""Digits are drawn, judged by a taste, and learned from; pairs that were held out then follow that taste."""

from pathlib import Path

import pytest
from PIL import Image, ImageStat

from engine.contract import events
from engine.contract.labels import Item, Judgement, LabelDir, LabelSet
from engine.contract.labels_log import append_judgement, create_set, read_items
from engine.contract.run_dir import RunDir
from engine.starting import launch
from tests.engine import running
from tests.engine.test_items import fill

ROOT = Path(__file__).parents[2]
PAIRS = 200

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


def bolder(labels: LabelDir, item: Item) -> int:
    """Which candidate has more ink: the taste of somebody who never errs."""
    ink = [ImageStat.Stat(Image.open(labels.path / str(one.image)).convert("L")).mean[0] for one in item.candidates]
    return int(ink[1] > ink[0])


def judged_set(workspace: Path) -> LabelDir:
    """Two digits a pair by the model that ships, all judged."""
    labels = create_set(workspace / "labels" / "bold", LabelSet(name="bold", kind="image", question="Which is bolder?"))
    labels.generation.mkdir()
    artist = {"model": str(ROOT / "assets" / "diffusion" / "digits-denoiser"), "steps": 10, "device": "cpu"}
    assert fill(labels, {"kind": "drawn", "artists": [artist], "pairs": PAIRS // 10})
    for number, item in enumerate(read_items(labels)):
        first = bolder(labels, item)
        judgement = Judgement(
            id=f"j{number}", item=item.id, labeller="ada", outcome="ranked", ranking=((first,), (1 - first,)),
            shown=(0, 1), time=float(number),
        )  # fmt: skip
        append_judgement(labels.judgements, judgement)
    return labels


def tuned(workspace: Path) -> RunDir:
    """The preset that ships, as its comment says: without `judged`, and with the set in its place."""
    changes = (
        "judged=null",
        "data.train=labels:bold",
        "data.eval_share=0.25",
        "training.steps=40",
        "training.threads=1",
        "training.eval_every=40",
        "training.early_stopping=null",
        "drift.every=0",
    )
    preset = ROOT / "presets" / "diffusion_dpo_digits.yaml"
    run = launch.create(launch.prepare(preset, list(changes), workspace=workspace))
    assert running.run_here(run) == running.FINISHED, running.last_word(run)
    return run


def test_what_was_learned_from_200_judgements_holds_for_pairs_that_were_held_out(workspace: Path) -> None:
    labels = judged_set(workspace)
    assert len(read_items(labels)) == PAIRS
    run = tuned(workspace)
    *_, last = running.of_kind(run, events.Evaluation)
    assert last.values["eval_rewards/accuracies"] > 0.8
    assert last.values["eval_mse_ratio/chosen"] < 1.1  # and it has not forgotten how to draw
    assert (run.final / "unet" / "config.json").is_file()
