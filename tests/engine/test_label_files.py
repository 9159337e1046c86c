"""A labelling set leaves in the forms of the field and comes back in them; `datasets` and TRL read what was written."""

import json
from pathlib import Path
from typing import Any

import pytest

from engine import __main__ as command_line
from engine.contract.faults import PresetError
from engine.contract.labels import Candidate, Item, Judgement, LabelDir, LabelSet
from engine.contract.labels_log import append_judgement, create_set, read_items, read_ledger, read_set
from engine.contract.labels_standing import pairs
from engine.contract.labels_use import LabelUse
from engine.labelling.export_rows import FORMATS, export_rows
from engine.labelling.exporting import NATIVE, Wish, export_set
from engine.labelling.importing import import_set

TALK = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}]
GUIDELINE = "Prefer the kind one."


def item(name: str, prompt: Any, *texts: str) -> Item:
    return Item(id=name, prompt=prompt, candidates=tuple(Candidate(text=text) for text in texts))


def said(what: str, *groups: tuple[int, ...], who: str = "ada", **more: Any) -> Judgement:
    outcome = more.pop("outcome", "ranked")
    values = {"shown": (0, 1), "active_seconds": 2.0, "time": 1.0, **more}
    name = f"{what}-{who}-{'repeat' if more.get('repeat') else ''}"
    return Judgement(id=name, item=what, labeller=who, outcome=outcome, ranking=groups, **values)


ITEMS = [
    item("pair", "Name a colour.", "Red.", "Teal is a colour."),
    item("talk", TALK, "Hello.", "Go away."),
    item("tie", "Name a bird.", "Owl.", "Wren."),
    item("bad", "Name a fish.", "Spoon.", "Fork."),
    item("rank", "Count.", "1 2 3", "1 3 2", "3 2 1"),
]
JUDGED = [
    said("pair", (1,), (0,), strength=1),
    said("pair", (1,), (0,), strength=1, repeat=True),
    said("pair", (0,), (1,), who="bob", strength=3),
    said("talk", (0,), (1,), strength=3),
    said("tie", (0, 1)),
    said("bad", outcome="both_bad"),
]


@pytest.fixture
def labels(tmp_path: Path) -> LabelDir:
    return make(tmp_path / "labels" / "kind", ITEMS, JUDGED)


def make(path: Path, items: list[Item], judged: list[Judgement]) -> LabelDir:
    made = create_set(path, LabelSet(name=path.name), items, guideline=GUIDELINE)
    for judgement in judged:
        append_judgement(made.judgements, judgement)
    return made


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`datasets` keeps what it has read, by path; a test must not find another's."""
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")


def written(name: str, style: str = "as-is", items: list[Item] = ITEMS) -> list[dict[str, Any]]:
    return export_rows(name, items, [one for one in JUDGED if not one.repeat], LabelUse(), style)


# ---------------------------------------------------------------------------------------------------- what is written


def test_a_preference_has_prompt_chosen_rejected_margin_and_what_groups_it_by_prompt() -> None:
    first, second, third = written("preference", "plain")
    assert first == {
        "prompt": "Name a colour.",
        "chosen": "Teal is a colour.",
        "rejected": "Red.",
        "margin": 1 / 3,
        "group": second["group"],
    }
    assert (second["chosen"], second["margin"]) == ("Red.", 1.0)
    assert third["group"] != first["group"]


def test_the_same_preference_plain_and_conversational() -> None:
    plain, talk = written("preference", "plain")[2], written("preference", "conversational")[0]
    assert plain["prompt"] == "System: Be brief.\n\nUser: Hi"
    assert plain["chosen"] == "Hello."
    assert talk["prompt"] == [{"role": "user", "content": "Name a colour."}]
    assert talk["rejected"] == [{"role": "assistant", "content": "Red."}]


def test_a_set_of_both_text_and_conversations_is_written_as_conversations() -> None:
    assert written("preference") == written("preference", "conversational")
    only_text = [found for found in ITEMS if isinstance(found.prompt, str)]
    assert written("preference", items=only_text) == written("preference", "plain", items=only_text)


def test_an_implicit_prompt_is_what_both_answers_begin_with() -> None:
    row = written("implicit")[0]
    assert row["chosen"] == [
        {"role": "user", "content": "Name a colour."},
        {"role": "assistant", "content": "Teal is a colour."},
    ]
    assert "prompt" not in row


def test_hh_is_a_transcript() -> None:
    assert written("hh")[2] == {
        "chosen": "\n\nHuman: Be brief.\n\nHi\n\nAssistant: Hello.",
        "rejected": "\n\nHuman: Be brief.\n\nHi\n\nAssistant: Go away.",
    }


def test_kto_tells_what_is_wanted_and_what_is_not() -> None:
    told = {(row["completion"], row["label"]) for row in written("kto", "plain")}
    assert {("Teal is a colour.", True), ("Red.", False), ("Spoon.", False), ("Fork.", False)} <= told


def test_a_margin_is_written_for_all_rows_or_for_none_and_openrlhf_always_has_one() -> None:
    ranked = [said("rank", (2,), (0, 1))]
    mixed = export_rows("preference", ITEMS, [JUDGED[0], *ranked], LabelUse(), "as-is")
    assert len(mixed) == 3
    assert all("margin" not in row for row in mixed)
    rows = export_rows("openrlhf", ITEMS, [JUDGED[0], *ranked], LabelUse(), "as-is")
    assert [row["margin"] for row in rows] == [1 / 3, 0.0, 0.0]


def test_argilla_has_fields_and_a_ranking_from_each_person() -> None:
    first = written("argilla")[0]
    assert first["fields"] == {"prompt": "Name a colour.", "response1": "Red.", "response2": "Teal is a colour."}
    one, other = first["responses"]["ranking"]
    assert (one["value"], other["value"]) == (["response2", "response1"], ["response1", "response2"])
    assert one["user_id"] != other["user_id"]


# ----------------------------------------------------------------------------------------------- what others can read


@pytest.mark.parametrize("file", ["jsonl", "parquet"])
@pytest.mark.parametrize("name", sorted(FORMATS))
def test_every_export_loads_with_datasets(labels: LabelDir, tmp_path: Path, name: str, file: Any) -> None:
    from datasets import load_dataset

    made = export_set(labels, tmp_path / "out", Wish(format=name, file=file))
    loaded = load_dataset(str(made.path), split="train")
    expected = export_rows(name, ITEMS, read_ledger(labels)[0].settled(), Wish().use, "as-is")
    assert [json.dumps(row, sort_keys=True) for row in loaded] == [json.dumps(r, sort_keys=True) for r in expected]


def test_a_native_export_is_the_set_and_loads_too(labels: LabelDir, tmp_path: Path) -> None:
    from datasets import load_dataset

    made = export_set(labels, tmp_path / "out", Wish(format=NATIVE))
    assert read_items(LabelDir(made.path)) == ITEMS
    assert read_ledger(LabelDir(made.path))[0].standing() == read_ledger(labels)[0].standing()
    judged = load_dataset("json", data_files=str(made.path / "judgements.jsonl"), split="train")
    assert judged["item"] == [one.item for one in JUDGED]


def test_votes_of_models_go_along_with_the_set_and_count_for_no_person(labels: LabelDir, tmp_path: Path) -> None:
    vote = said("pair", (1,), (0,), who="model:judge")
    append_judgement(labels.votes, vote)
    whole = export_set(labels, tmp_path / "whole", Wish(format=NATIVE)).path
    import_set(whole, LabelDir(tmp_path / "back"), LabelSet(name="back"))
    for copy in (whole, tmp_path / "back"):
        assert vote in read_ledger(LabelDir(copy))[0].standing()
    text = (export_set(labels, tmp_path / "out", Wish()).path / "README.md").read_text()
    assert "| judgements that stand | 5 by 2 labellers |" in text
    assert "| votes of models, which count for nothing above | 1 of 1 |" in text


def test_no_prompt_is_on_both_sides_of_a_split(tmp_path: Path) -> None:
    items = [item(f"{n}", f"Question {n // 2}?", f"yes {n}", f"no {n}") for n in range(60)]
    made = make(tmp_path / "many", items, [said(f"{n}", (0,), (1,)) for n in range(60)])
    found = export_set(made, tmp_path / "out", Wish(held_out=0.3))
    sides = [
        {json.loads(line)["prompt"] for line in (found.path / f"{split}.jsonl").read_text().splitlines()}
        for split in ("train", "test")
    ]
    assert sum(found.splits.values()) == 60
    assert 6 <= found.splits["test"] <= 30
    assert not sides[0] & sides[1]


def test_the_card_says_how_people_were_asked_and_how_far_they_agree(labels: LabelDir, tmp_path: Path) -> None:
    text = (export_set(labels, tmp_path / "out", Wish()).path / "README.md").read_text()
    for line in (
        "| items | 5, of which 4 judged |",
        "| judgements that stand | 5 by 2 labellers |",
        "| preferred, tied, both bad, skipped | 3, 1, 1, 0 |",
        "| same answer to a repeated item | 1 of 1 (100%) |",
        "| labellers of one item agree | 0 of 1 (0%) |",
        "| left preferred | 2 of 3 (67%) |",
        "| longer preferred | 1 of 3 (33%) |",
        "| median time | 2.0 s without idling |",
        f"> {GUIDELINE}",
    ):
        assert line in text


@pytest.mark.parametrize(
    ("wish", "told"),
    [
        (Wish(format="preferance"), "did you mean preference?"),
        (Wish(format="hh", style="plain"), "is no style of hh"),
        (Wish(format="kto"), "nothing was judged that kto could tell"),
    ],
    ids=["no format", "no style", "nothing to write"],
)
def test_what_cannot_be_exported_is_told_and_leaves_nothing(tmp_path: Path, wish: Wish, told: str) -> None:
    empty = make(tmp_path / "labels" / "empty", ITEMS, [])
    with pytest.raises(PresetError, match=told.replace("?", r"\?")):
        export_set(empty, tmp_path / "out", wish)
    assert [path.name for path in tmp_path.iterdir()] == ["labels"]


def test_nothing_is_written_over(labels: LabelDir, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    with pytest.raises(PresetError, match="is there already"):
        export_set(labels, tmp_path / "out", Wish())


# ----------------------------------------------------------------------------------------------------- what comes back


def preferred(labels: LabelDir) -> set[tuple[str, str]]:
    """(better, worse) of all that stands."""
    texts = {found.id: [candidate.text or "" for candidate in found.candidates] for found in read_items(labels)}
    standing = read_ledger(labels)[0].standing()
    return {(texts[one.item][a], texts[one.item][b]) for one in standing for a, b in pairs(one)}


@pytest.mark.parametrize("name", ["preference", "implicit", "hh", "openrlhf", "kto", "ranking", "argilla", NATIVE])
def test_what_was_exported_is_imported_again(tmp_path: Path, name: str) -> None:
    judged = [
        said("pair", (1,), (0,), strength=1),
        said("talk", (0,), (1,), strength=3),
        said("rank", (2,), (0,), (1,)),
    ]
    if name in ("kto", "implicit", "hh", "preference", "openrlhf"):
        judged = judged[:2]
    labels = make(tmp_path / "labels" / "kind", ITEMS, judged)
    out = export_set(labels, tmp_path / "out", Wish(format=name)).path
    back = LabelDir(tmp_path / "labels" / "back")
    source = out if name == NATIVE else out / "train.jsonl"
    import_set(source, back, LabelSet(name="back"))
    assert preferred(back) == preferred(labels)
    assert read_set(back).name == "back"


def test_the_strength_comes_back_from_the_margin_and_the_best_is_not_always_first(tmp_path: Path) -> None:
    rows = [
        {"prompt": f"{n}?", "chosen": f"yes {n}", "rejected": f"no {n}", "margin": n % 3 / 3 + 1 / 3} for n in range(30)
    ]
    file = tmp_path / "rows.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    back = LabelDir(tmp_path / "labels" / "back")
    assert import_set(file, back, LabelSet(name="back"))[:2] == (30, 30)
    standing = read_ledger(back)[0].standing()
    assert [one.strength for one in standing[:4]] == [1, 2, 3, 1]
    assert {one.ranking[0] for one in standing} == {(0,), (1,)}
    assert {one.labeller for one in standing} == {"rows.jsonl"}


def test_where_nothing_is_wanted_all_of_it_is_bad(tmp_path: Path) -> None:
    file = tmp_path / "kto.jsonl"
    rows = [{"prompt": "?", "completion": text, "label": False} for text in "ab"]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    back = LabelDir(tmp_path / "back")
    import_set(file, back, LabelSet(name="back"))
    assert [one.outcome for one in read_ledger(back)[0].standing()] == ["both_bad"]


@pytest.mark.parametrize(
    ("row", "told"),
    [
        ({"question": "?", "better": "a", "worse": "b"}, r"row 1 has no `chosen` and `rejected` \(it has `question`"),
        ({"prompt": "?", "completion": "a", "label": "maybe"}, "row 1 `label` should be true or false"),
        ({"fields": {"text": "a"}, "responses": {}}, "row 1 has no fields `prompt`, `response1` and `response2`"),
        ({"prompt": "?", "chosen": "a", "rejected": "a"}, "row 1 both answers are the same"),
    ],
    ids=["no columns", "no label", "no fields", "no choice"],
)
def test_wrong_columns_are_told_once_and_clearly(tmp_path: Path, row: dict[str, Any], told: str) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_text(json.dumps(row) + "\n")
    with pytest.raises(PresetError, match=told) as fault:
        import_set(file, LabelDir(tmp_path / "back"), LabelSet(name="back"))
    assert len(fault.value.faults) == 1
    assert fault.value.faults[0].remedy
    assert not (tmp_path / "back").exists()


# ----------------------------------------------------------------------------------------------------------- commands


def call(*words: object) -> int:
    try:
        return command_line.main([str(word) for word in words])
    except SystemExit as left:
        return int(left.code or 0)


def test_the_images_of_a_set_leave_and_come_back_with_it(tmp_path: Path) -> None:
    two = tuple(Candidate(image=f"images/{name}.png") for name in "ab")
    source = create_set(
        tmp_path / "art", LabelSet(name="art", kind="image"), [Item(id="1", prompt="?", candidates=two)]
    )
    (source.path / "images").mkdir()
    (source.path / "images" / "a.png").write_bytes(b"a picture")
    export_set(source, tmp_path / "out", Wish(format=NATIVE))
    import_set(tmp_path / "out", LabelDir(tmp_path / "back"), LabelSet(name="back"))
    assert (tmp_path / "back" / "images" / "a.png").read_bytes() == b"a picture"


def test_export_and_import_by_command(labels: LabelDir, tmp_path: Path, capsys: Any) -> None:
    assert call("export", "labels:kind", tmp_path / "out", "--workspace", tmp_path, "--parquet", "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert told == {"dest": str(tmp_path / "out"), "format": "preference", "rows": {"train": 3}}
    assert call("import", tmp_path / "out" / "train.parquet", "back", "--workspace", tmp_path) == 0
    assert "has 2 items and 3 judgements" in capsys.readouterr().out
    assert call("export", tmp_path / "labels" / "back", tmp_path / "native", "--format", "native") == 0
    assert call("import", tmp_path / "native", "again", "--workspace", tmp_path) == 0
    assert read_items(LabelDir(tmp_path / "labels" / "again")) == read_items(LabelDir(tmp_path / "labels" / "back"))


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["export", "labels:knid", "out"], "did you mean kind?"),
        (["export", "nowhere", "out"], "nowhere"),
        (["export", "labels:kind", "out", "--format", "trl"], "is not a format of a labelling set"),
        (["export", "labels:kind", "out", "--held-out", "2"], "should be at least 0 and less than 1"),
        (["import", "nothing.jsonl", "new"], "does not exist"),
        (["import", "labels/kind", "kind"], "choose another name"),
        (["import", "labels/kind", "a b"], "name: should be text of another form"),
    ],
    ids=["no set", "nothing", "no format", "all held out", "no file", "name taken", "no name"],
)
def test_a_slip_in_a_command_is_told_and_nothing_is_written(
    labels: LabelDir, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any, words: list[str], told: str
) -> None:
    monkeypatch.chdir(tmp_path)
    assert call(*words) == 2
    assert told in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["labels"]
