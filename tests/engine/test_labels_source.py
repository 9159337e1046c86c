"""`labels:<set>` is a source: what people said becomes what methods read, and the run keeps what it used."""

import json
import math
from pathlib import Path
from typing import Any

import pytest

from engine.contract import events
from engine.contract.faults import PresetError
from engine.contract.labels import Candidate, Item, Judgement, LabelDir, LabelSet, Line, Retraction
from engine.contract.labels_log import append_judgement, create_set, fingerprint, read_items, read_judgements
from engine.contract.labels_use import LabelUse
from engine.contract.preset import load_preset, load_text_preset, sources_of
from engine.contract.run_dir import RunDir, read_json
from engine.data.formats import KINDS, canonical
from engine.labelling.frozen import with_frozen
from engine.labelling.rows import Row, learn
from engine.starting import launch
from tests.engine import running

METHODS = ("reward_model", "dpo", "kto", "sft")


def item(name: str, *texts: str, **more: Any) -> Item:
    return Item(id=name, prompt=f"{name}?", candidates=tuple(Candidate(text=text) for text in texts), **more)


def said(what: str, *groups: tuple[int, ...], who: str = "ada", **more: Any) -> Judgement:
    outcome = more.pop("outcome", "ranked")
    name = f"{what}-{who}-{len(groups)}-{more.get('repeat', '')}"
    return Judgement(id=name, item=what, labeller=who, outcome=outcome, ranking=groups, time=1.0, **more)


def rows(items: list[Item], judgements: list[Judgement], method: str, **use: Any) -> list[Row]:
    return learn(items, judgements, method, LabelUse(**use)).rows


PAIR = [item("x", "a", "b")]
FOUR = [item("x", "a", "b", "c", "d")]


# ---------------------------------------------------------------------------------------------------- what is learned


def test_a_preference_is_a_pair_with_its_strength_as_margin() -> None:
    judged = [said("x", (1,), (0,), strength=2)]
    pair = {"prompt": "x?", "chosen": "b", "rejected": "a"}
    assert rows(PAIR, judged, "dpo") == [pair | {"margin": 2 / 3}]
    assert rows(PAIR, judged, "reward_model", margin="large") == [pair | {"margin": 2.0}]
    assert rows(PAIR, judged, "reward_model", margin="none") == [pair]
    assert rows(PAIR, [said("x", (1,), (0,))], "dpo") == [pair]


def test_a_tie_is_left_out_or_learned_both_ways_round() -> None:
    judged = [said("x", (0, 1))]
    assert learn(PAIR, judged, "dpo", LabelUse()).left_out == {"tied": 1}
    both = [{"prompt": "x?", "chosen": a, "rejected": b} for a, b in ("ab", "ba")]
    assert rows(PAIR, judged, "dpo", ties="soft") == both


def test_a_ranking_stays_together_for_a_reward_model_and_is_all_its_pairs_for_the_others() -> None:
    judged = [said("x", (2,), (0, 3), (1,))]
    [row] = rows(FOUR, judged, "reward_model")
    assert row == {"prompt": "x?", "answers": ["c", "a", "d", "b"], "ranks": [1.0, 2.0, 2.0, 3.0]}
    found = {(pair["chosen"], pair["rejected"]) for pair in rows(FOUR, judged, "dpo")}
    assert found == {("c", "a"), ("c", "d"), ("c", "b"), ("a", "b"), ("d", "b")}


def test_kto_wants_the_best_does_not_want_the_worst_nor_either_where_both_are_bad() -> None:
    def told(judgement: Judgement, items: list[Item] = PAIR) -> dict[str, bool]:
        return {row["completion"]: row["label"] for row in rows(items, [judgement], "kto")}

    assert told(said("x", (1,), (0,))) == {"b": True, "a": False}
    assert told(said("x", outcome="both_bad")) == {"a": False, "b": False}
    assert told(said("x", (2,), (0, 3), (1,)), FOUR) == {"c": True, "b": False}
    assert told(said("x", (0, 1))) == {}


def test_both_bad_gives_no_pair() -> None:
    assert learn(PAIR, [said("x", outcome="both_bad")], "dpo", LabelUse()).left_out == {"both bad": 1}


def test_sft_learns_what_was_preferred() -> None:
    assert rows(PAIR, [said("x", (1,), (0,))], "sft") == [{"prompt": "x?", "completion": "b"}]


def test_skipped_flagged_and_gold_items_and_votes_of_models_are_left_out() -> None:
    items = [item(name, "a", "b") for name in "stuv"] + [item("g", "a", "b", gold=((0,), (1,)))]
    judged = [
        said("s", outcome="skipped"),
        said("t", (0,), (1,), flagged=True),
        said("g", (0,), (1,)),
        said("u", (0,), (1,), who="model:judge"),
        said("v", (0,), (1,)),
        said("gone", (0,), (1,)),
    ]
    found = learn(items, judged, "dpo", LabelUse())
    assert [row["prompt"] for row in found.rows] == ["v?"]
    assert found.told() == "1 skipped, 1 flagged, 1 of gold items, 1 by others, 1 of items that are not in the set"
    assert {row["prompt"] for row in rows(items, judged, "dpo", flagged=True)} == {"t?", "v?"}
    assert {row["prompt"] for row in rows(items, judged, "dpo", labellers=["model:judge"])} == {"u?"}


def test_a_conversation_is_answered_by_the_assistant() -> None:
    talk = [{"role": "user", "content": "Hi"}]
    items = [Item(id="x", prompt=talk, candidates=PAIR[0].candidates)]
    [row] = rows(items, [said("x", (0,), (1,))], "dpo")
    assert (row["prompt"], row["chosen"]) == (talk, [{"role": "assistant", "content": "a"}])


@pytest.mark.parametrize("method", METHODS)
def test_every_row_is_canonical_already(method: str) -> None:
    items = [item("x", "a", "b"), item("y", "a", "b", "c")]
    judged = [said("x", (1,), (0,), strength=3), said("y", (1,), (0, 2))]
    found = rows(items, judged, method)
    assert found
    assert method in KINDS
    assert [canonical(row, method) for row in found] == found


# ----------------------------------------------------------------------------------------------------- in a workspace


@pytest.fixture
def labels(workspace: Path) -> LabelDir:
    """Four items, three of them judged, one of those taken back; and one judged again."""
    items = [item(name, f"yes {name}", f"no {name}") for name in "pqrs"]
    made = create_set(workspace / "labels" / "kind", LabelSet(name="kind"), items, guideline="Be kind.")
    lines: list[Line] = [
        said("p", (0,), (1,), strength=1),
        said("q", (1,), (0,), strength=3),
        said("r", (1,), (0,)),
        Retraction(judgement="r-ada-2-", labeller="ada", time=2.0),
        said("p", (1,), (0,), repeat=True),
    ]
    for line in lines:
        append_judgement(made.judgements, line)
    return made


PRESET = """\
method: dpo
model: {path: scratch, scratch: {layers: 1, width: 16, heads: 2, context: 64}}
data: {train: %s, max_length: 64}
training: {steps: 1, batch_size: 2, threads: 1}
"""


def preset_file(workspace: Path, source: str) -> Path:
    file = workspace / "kind.yaml"
    file.write_text(PRESET % source)
    return file


def test_a_run_keeps_the_judgements_it_learned_from_and_their_hash(labels: LabelDir, workspace: Path) -> None:
    prepared = launch.prepare(preset_file(workspace, "labels:kind"), [], workspace=workspace)
    assert prepared.survey.train[0].rows == 2
    run = launch.create(prepared)
    note = read_json(run.environment)["labels"]["labels:kind"]
    assert note == {
        "sha256": fingerprint(labels),
        "judgements": 2,
        "rows": 2,
        "left_out": {},
        "copy": "labels/kind",
    }
    copy = LabelDir(run.path / "labels" / "kind")
    assert [line.item for line in read_judgements(copy).lines if isinstance(line, Judgement)] == ["p", "q"]
    assert [found.id for found in read_items(copy)] == ["p", "q"]
    assert copy.guideline.read_text() == "Be kind."


def test_check_tells_which_judgements_give_no_row(labels: LabelDir, workspace: Path) -> None:
    append_judgement(labels.judgements, said("r", (0, 1)))
    append_judgement(labels.judgements, said("s", outcome="skipped"))
    [counted] = launch.prepare(preset_file(workspace, "labels:kind"), [], workspace=workspace).survey.train
    assert (counted.rows, counted.left_out) == (2, "judgements: 1 tied, 1 skipped")


def test_a_resumed_run_learns_from_its_own_copy_whatever_was_said_since(labels: LabelDir, workspace: Path) -> None:
    run = launch.create(launch.prepare(preset_file(workspace, "labels:kind"), [], workspace=workspace))
    append_judgement(labels.judgements, said("s", (0,), (1,)))
    preset = load_text_preset(run.preset)
    assert preset.data.train[0].path == "labels:kind"
    [source] = sources_of(with_frozen(preset, run), "train")
    kept = [json.loads(line)["prompt"] for line in Path(source.path).read_text().splitlines()]
    assert kept == ["p?", "q?"]


def test_a_preset_without_labels_is_left_as_it_is(workspace: Path) -> None:
    (workspace / "p.jsonl").write_text('{"prompt": "x", "chosen": "a", "rejected": "b"}\n')
    run = launch.create(launch.prepare(preset_file(workspace, "p.jsonl"), [], workspace=workspace))
    preset = load_preset(run.preset)
    assert with_frozen(preset, run) is preset
    assert "labels" not in read_json(RunDir(run.path).environment)


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ("labels:knid", "is not a labelling set (got 'labels:knid'); did you mean kind?"),
        ("labels:empty", "has no judgements yet (got 'labels:empty'); judge some of it first"),
        ("labels:tied", "has nothing that dpo can learn from: 1 tied (got 'labels:tied'); judge more of it"),
        ("{path: 'labels:kind', options: {tise: soft}}", "options.tise no such setting"),
        ("{path: 'labels:kind', options: {ties: hard}}", "choose one of drop, soft"),
    ],
    ids=["unknown", "empty", "only ties", "unknown option", "wrong option"],
)
def test_what_is_wrong_with_a_set_is_told_before_anything_is_written(
    labels: LabelDir, workspace: Path, source: str, told: str
) -> None:
    create_set(labels.path.with_name("empty"), LabelSet(name="empty"), [item("x", "a", "b")])
    tied = create_set(labels.path.with_name("tied"), LabelSet(name="tied"), [item("x", "a", "b")])
    append_judgement(tied.judgements, said("x", (0, 1)))
    with pytest.raises(PresetError) as fault:
        launch.prepare(preset_file(workspace, source), [], workspace=workspace)
    assert told.replace("'", "") in str(fault.value).replace("'", "")
    assert list((workspace / "runs").iterdir()) == []


PAIRS = [item(f"p{n}", "yes", "no") for n in range(12)]
RANKED = [item(f"k{n}", "aaa", "bbb", "ccc", "ddd") for n in range(12)]
OF_PAIRS = [said(f"p{n}", (n % 2,), (1 - n % 2,), strength=1 + n % 3) for n in range(12)]
OF_RANKED = [said(f"k{n}", (3,), (n % 3,), *((other,) for other in range(3) if other != n % 3)) for n in range(12)]
TIED = [said("p0", (0, 1)), *OF_PAIRS[1:]]
BOTH_BAD = [*OF_PAIRS[:6], *(said(f"p{n}", outcome="both_bad") for n in range(6, 12))]


@pytest.mark.parametrize(
    ("method", "items", "judged", "options", "rows", "columns"),
    [
        ("reward_model", PAIRS, OF_PAIRS, "{}", 12, {"prompt", "chosen", "rejected", "margin"}),
        ("reward_model", RANKED, OF_RANKED, "{}", 12, {"prompt", "answers", "ranks"}),
        ("dpo", PAIRS, TIED, "{ties: soft}", 13, {"prompt", "chosen", "rejected"}),
        ("kto", PAIRS, BOTH_BAD, "{}", 24, {"prompt", "completion", "label"}),
    ],
    ids=["reward model of pairs", "reward model of rankings", "dpo with soft ties", "kto of both bad too"],
)
def test_what_was_judged_trains_and_measures_by_prompt(
    workspace: Path, method: str, items: list[Item], judged: list[Judgement], options: str, rows: int, columns: set[str]
) -> None:
    labels = create_set(workspace / "labels" / "kind", LabelSet(name="kind"), items)
    for judgement in judged:
        append_judgement(labels.judgements, judgement)
    text = (PRESET % f"{{path: 'labels:kind', options: {options}}}").replace("method: dpo", f"method: {method}")
    text = text.replace("max_length: 64", "max_length: 64, eval_share: 0.25").replace(
        "steps: 1", "steps: 2, eval_every: 2, eval_before: false"
    )
    (workspace / "kind.yaml").write_text(text)
    run = launch.create(launch.prepare(workspace / "kind.yaml", [], workspace=workspace))
    assert running.run_here(run) == running.FINISHED, running.last_word(run)
    note = read_json(run.environment)["labels"]["labels:kind"]
    assert (note["sha256"], note["judgements"], note["rows"]) == (fingerprint(labels), 12, rows)
    kept = [json.loads(line) for line in (run.path / "labels" / "kind" / "train-0.jsonl").read_text().splitlines()]
    assert len(kept) == rows
    assert columns <= set(kept[-1])
    [evaluation] = running.of_kind(run, events.Evaluation)
    assert math.isfinite(evaluation.values["eval_loss"])
    assert (run.final / "config.json").exists()


@pytest.mark.slow
def test_a_run_learns_from_labels_to_its_end(labels: LabelDir, workspace: Path) -> None:
    from engine import __main__ as command_line

    assert command_line.main(["run", str(preset_file(workspace, "labels:kind")), "--workspace", str(workspace)]) == 0
    [run] = (workspace / "runs").iterdir()
    noted = read_json(run / "environment.json")
    assert noted["labels"]["labels:kind"]["sha256"] == fingerprint(labels)
    assert noted["versions"]["torch"]
