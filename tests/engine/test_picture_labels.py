"""Judged pictures become rows that a run keeps, leave as Pick-a-Pic has them, and come back."""

import base64
import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from engine import __main__ as command_line
from engine.contract.faults import PresetError
from engine.contract.labels import LabelDir, LabelSet
from engine.contract.labels_log import read_items, read_ledger, read_set
from engine.contract.labels_use import LabelUse
from engine.contract.settings import Source
from engine.labelling import pictures
from engine.labelling.exporting import Wish, export_set
from engine.labelling.frozen import LabelsError, learned
from engine.labelling.importing import import_set, look
from engine.labelling.pick_a_pic import export_rows
from engine.labelling.rows import learn
from tests.engine.pictures import picture_set, png, said

JUDGED = [
    said(0, (1,), (0,), strength=3),
    said(1, (0,), (1,), strength=1),
    said(2, (0, 1)),
    said(3, outcome="both_bad"),
]


@pytest.fixture
def labels(tmp_path: Path) -> LabelDir:
    return picture_set(tmp_path / "labels" / "art", judged=JUDGED)


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`datasets` keeps what it has read, by path; a test must not find another's."""
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")


def named(labels: LabelDir, number: int) -> list[str]:
    return [str(candidate.image) for candidate in read_items(labels)[number].candidates]


# ---------------------------------------------------------------------------------------------------------------- rows


def test_a_judged_pair_of_pictures_is_a_row_with_its_class_its_strength_and_the_noise_it_began_as(
    labels: LabelDir,
) -> None:
    found = learn(read_items(labels), JUDGED, "diffusion_dpo", LabelUse())
    first, second = found.rows
    base, tuned = named(labels, 0)
    assert (first["chosen"], first["rejected"], first["class"], first["strength"]) == (tuned, base, 0, 3)
    assert (second["class"], second["strength"], second["prompt"]) == (1, 1, "class 1")
    assert first["group"] != second["group"]
    assert found.left_out == {"tied": 1, "both bad": 1}


def test_a_soft_tie_of_pictures_is_two_rows_of_one_group(labels: LabelDir) -> None:
    rows = learn(read_items(labels), JUDGED[2:3], "image_reward_model", LabelUse(ties="soft")).rows
    assert [row["chosen"] for row in rows] == [row["rejected"] for row in reversed(rows)]
    assert len({row["group"] for row in rows}) == 1


def test_texts_learn_nothing_from_pictures_and_the_other_way_round(labels: LabelDir) -> None:
    assert learn(read_items(labels), JUDGED, "dpo", LabelUse()).left_out == {"of images": 4}
    text = read_items(labels)[0].model_copy(update={"candidates": ()})
    words = text.model_validate({"id": "p0", "prompt": "?", "candidates": [{"text": "a"}, {"text": "b"}]})
    assert learn([words], JUDGED[:1], "diffusion_dpo", LabelUse()).left_out == {"of texts": 1}


def test_pairs_of_other_noise_or_another_class_are_held_out_apart_and_those_of_the_same_together(
    tmp_path: Path,
) -> None:
    items = read_items(picture_set(tmp_path / "art"))
    again = items[0].model_copy(update={"id": "p4"})
    groups = [row["group"] for row in learn([*items, again], [said(n, (0,), (1,)) for n in range(5)], *USED).rows]
    assert groups[4] == groups[0]
    assert len(set(groups[:4])) == 4


USED = ("diffusion_dpo", LabelUse())


def test_a_picture_that_is_gone_or_changed_costs_its_pair_and_not_the_run(labels: LabelDir) -> None:
    (labels.path / named(labels, 0)[0]).unlink()
    source = Source(path="labels:art")
    assert learned(source, labels.path.parent, "diffusion_dpo").left_out["of pictures that are gone"] == 1
    (labels.path / named(labels, 1)[1]).write_bytes(png(99))
    with pytest.raises(LabelsError, match="1 of pictures that are gone, 1 of pictures that are damaged, 1 tied"):
        learned(source, labels.path.parent, "diffusion_dpo", pictures.why_not)


def test_a_picture_outside_the_set_is_never_read(labels: LabelDir, tmp_path: Path) -> None:
    (tmp_path / "secret.png").write_bytes(png(1))
    assert pictures.why_gone(labels.path, "../../secret.png") == "of pictures outside the set"


# --------------------------------------------------------------------------------------------------------- Pick-a-Pic


@pytest.mark.parametrize(("file", "where"), [("parquet", "embedded"), ("jsonl", "embedded"), ("jsonl", "files")])
def test_pictures_leave_for_datasets_and_come_back_the_same(
    labels: LabelDir, tmp_path: Path, file: Any, where: Any
) -> None:
    from datasets import load_dataset

    wish = Wish(format="pick_a_pic", file=file, pictures=where, use=LabelUse(ties="soft"))
    assert export_set(labels, tmp_path / "out", wish).splits == {"train": 3}
    row = load_dataset(str(tmp_path / "out"), split="train")[0]
    base, tuned = [(labels.path / name).read_bytes() for name in named(labels, 0)]
    decoded = {"parquet embedded": bytes, "jsonl embedded": base64.b64decode, "jsonl files": _read_from(tmp_path)}
    read: Any = decoded[f"{file} {where}"]
    assert (read(row["jpg_0"]), read(row["jpg_1"])) == (base, tuned)
    assert (row["label_0"], row["label_1"], row["caption"]) == (0.0, 1.0, "class 0")
    back = LabelDir(tmp_path / "labels" / "back")
    assert import_set(tmp_path / "out" / f"train.{file}", back, LabelSet(name="back")) == (3, 3, "")
    assert read_set(back).kind == "image"
    assert _preferred(back) == _preferred(labels)


def _read_from(tmp_path: Path) -> Any:
    return lambda name: (tmp_path / "out" / name).read_bytes()


def _preferred(labels: LabelDir) -> set[tuple[frozenset[bytes], ...]]:
    """What stands above what, as the bytes of pictures."""
    items = {item.id: item for item in read_items(labels)}
    found = set()
    for judgement in read_ledger(labels)[0].settled():
        names = [[str(items[judgement.item].candidates[i].image) for i in group] for group in judgement.ranking]
        found.add(tuple(frozenset((labels.path / name).read_bytes() for name in group) for group in names))
    return found - {()}


def test_ties_leave_only_if_asked_for(labels: LabelDir) -> None:
    rows = [export_rows(read_items(labels), JUDGED, LabelUse(ties=ties)) for ties in ("drop", "soft")]
    assert [[row["label_0"] for row in found] for found in rows] == [[0.0, 1.0], [0.0, 1.0, 0.5]]


def test_rows_with_bad_pictures_are_left_out_and_told_and_nothing_is_fetched(tmp_path: Path) -> None:
    good = {"caption": "a", "label_0": 1, **_embedded(png(1), png(2))}
    Image.new("1", (12_000, 11_000)).save(tmp_path / "huge.png")
    rows = [
        good,
        {**good, "jpg_1": "http://example.invalid/a.png"},
        {**good, "jpg_1": base64.b64encode(png(3)[:60]).decode()},
        {**good, "jpg_1": base64.b64encode(b"<svg/>").decode()},
        {**good, "jpg_1": "huge.png"},
        {**good, "jpg_1": good["jpg_0"]},
        {**good, "label_0": None},
    ]
    file = tmp_path / "rows.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    plan = look(file)
    assert plan.counts == {"rows": 7, "items": 1, "judgements": 1}
    told = ["only an address", "damaged picture", "no picture that can be read", "12000 x 11000", "same picture twice"]
    assert all(reason in plan.left_out for reason in [*told, "`label_0`"])
    file.write_text("".join(json.dumps(row) + "\n" for row in rows[1:]))
    with pytest.raises(PresetError, match="no row can be used"):
        import_set(file, LabelDir(tmp_path / "labels" / "back"), LabelSet(name="back"))
    assert not list((tmp_path / "labels").iterdir())


def _embedded(*data: bytes) -> dict[str, str]:
    return {f"jpg_{side}": base64.b64encode(one).decode() for side, one in enumerate(data)}


def test_pictures_leave_and_come_back_by_command(labels: LabelDir, tmp_path: Path, capsys: Any) -> None:
    told = ["export", "labels:art", str(tmp_path / "out"), "--workspace", str(tmp_path), "--format", "pick_a_pic"]
    assert command_line.main([*told, "--check"]) == 0
    assert "2 train" in capsys.readouterr().out
    assert command_line.main([*told, "--pictures", "files"]) == 0
    assert (
        command_line.main(["import", str(tmp_path / "out" / "train.jsonl"), "back", "--workspace", str(tmp_path)]) == 0
    )
    assert "has 2 items and 2 judgements" in capsys.readouterr().out
