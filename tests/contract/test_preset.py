"""A preset is strict: everything wrong with it is told at once, with key, line, what was given and what to do."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.contract.faults import Fault, PresetError
from engine.contract.image_presets import ImagePreset
from engine.contract.preset import PRESETS, TextPreset, check, load_preset, preset_text, read_draft
from engine.contract.settings import EarlyStopping

SFT = """method: sft
model:
  path: scratch
  scratch: {layers: 2, width: 32, heads: 2}
data:
  train: rows.jsonl
"""
GRPO = """method: grpo
model: {path: some/model}
data: {train: "task:arithmetic"}
rewards:
  - {kind: verifier}
"""
REWARD_MODEL = """method: reward_model
model: {path: some/model}
data: {train: pairs.jsonl}
"""
DPO = """method: dpo
model: {path: some/model}
data: {train: pairs.jsonl}
"""


def whole(text: str, overrides: list[str] | None = None) -> TextPreset:
    """The preset, which has no fault."""
    draft = read_draft(text, overrides)
    assert draft.preset is not None, draft.faults
    assert not isinstance(draft.preset, ImagePreset)
    return draft.preset


def faults(text, overrides=None):
    """What is wrong, by key."""
    return {fault.dotted: fault for fault in read_draft(text, overrides).faults}


@pytest.mark.parametrize("text", [SFT, REWARD_MODEL, DPO, GRPO], ids=["sft", "reward_model", "dpo", "grpo"])
def test_a_small_preset_is_whole(text):
    assert read_draft(text).preset is not None


@pytest.mark.parametrize("text", [SFT, REWARD_MODEL, DPO, GRPO], ids=["sft", "reward_model", "dpo", "grpo"])
def test_the_frozen_text_reads_back_as_the_same_preset(text):
    preset = whole(text)
    frozen = preset_text(preset)
    assert read_draft(frozen).preset == preset
    assert preset_text(whole(frozen)) == frozen


def test_the_frozen_text_writes_every_default_out():
    frozen = preset_text(whole(SFT))
    assert "learning_rate: 1.0e-05" in frozen
    assert "max_grad_norm: 1.0" in frozen
    assert "shuffle: true" in frozen


def test_everything_wrong_is_told_at_once_with_its_line():
    text = SFT + "optimizer:\n  learnig_rate: 1.0e-4\n  weight_decay: -1\ntraining:\n  steps: many\ncolour: red\n"
    found = faults(text)
    assert list(found) == ["optimizer.weight_decay", "optimizer.learnig_rate", "training.steps", "colour"]
    assert [found[key].line for key in found] == [9, 8, 11, 12]


def test_a_fault_says_what_was_given_and_what_to_do():
    fault = faults(SFT + "training: {steps: 0}\n")["training.steps"]
    assert (fault.given, fault.problem) == ("0", "should be at least 1")
    assert "optimiser steps" in fault.remedy
    assert str(fault) == "training.steps: should be at least 1 (got 0); optimiser steps in all"


@pytest.mark.parametrize(
    ("line", "key", "advice"),
    [
        ("optimizer: {learnin_rate: 1.0e-4}", "optimizer.learnin_rate", "did you mean learning_rate?"),
        ("optimizer: {schedule: linaer}", "optimizer.schedule", "did you mean linear?"),
        ("trainig: {steps: 1}", "trainig", "did you mean training?"),
        ("sft: {sampels: 3}", "sft.sampels", "did you mean samples?"),
    ],
)
def test_a_misspelt_word_is_recognised(line, key, advice):
    assert faults(SFT + line)[key].remedy == advice


def test_a_misspelt_method_is_recognised():
    assert faults(GRPO.replace("grpo", "gpro"))["method"].remedy == "did you mean grpo?"


def test_a_missing_method_is_told_with_those_there_are():
    assert faults("model: {path: scratch}")["method"].remedy == f"choose one of {', '.join(PRESETS)}"


@pytest.mark.parametrize(
    ("reward", "key", "problem"),
    [
        ("{kind: verifer}", "rewards.1.kind", "is not a kind there is"),
        ("{weight: 2.0}", "rewards.1.kind", "is missing"),
        ("{kind: length}", "rewards.1.target", "is missing"),
        ("{kind: length, target: x}", "rewards.1.target", "should be a whole number"),
        ("{kind: exact_match, colum: answer}", "rewards.1.colum", "no such setting"),
    ],
)
def test_a_union_gives_one_fault_for_each_key(reward, key, problem):
    found = read_draft(GRPO + f"  - {reward}\n").faults
    assert [(fault.dotted, fault.problem) for fault in found] == [(key, problem)]


@pytest.mark.parametrize("value", ["many", "0", "1.5", "null"])
def test_a_count_or_auto_is_one_fault_with_both_ways_out(value):
    found = read_draft(SFT + f"training: {{micro_batch_size: {value}}}").faults
    assert [fault.dotted for fault in found] == ["training.micro_batch_size"]
    assert " or " in found[0].problem
    assert "auto" in found[0].problem


ADAPTER = "method: sft\ndata: {train: x.jsonl}\nmodel: {path: a/b, adapter:"


@pytest.mark.parametrize(
    ("settings", "key"),
    [
        ("training: {batch_size: 5, processes: 2}", "training.batch_size"),
        ("method: sft\nmodel: {path: scratch}\ndata: {train: x.jsonl}", "model.scratch"),
        (
            "method: sft\nmodel: {path: scratch, scratch: {width: 36, heads: 4}}\ndata: {train: x.jsonl}",
            "model.scratch.heads",
        ),
        ("method: sft\nmodel: {path: a/b, quantization: 4bit}\ndata: {train: x.jsonl}", "model.quantization"),
        ("method: sft\nmodel: {path: a/b, reference: a/c}\ndata: {train: x.jsonl}", "model.reference"),
        (f"{ADAPTER} {{kind: prompt_tuning, rank: 8}}}}", "model.adapter.rank"),
        (f"{ADAPTER} {{kind: dora, virtual_tokens: 8}}}}", "model.adapter.virtual_tokens"),
        (f"{ADAPTER} {{kind: lora, init_text: hello}}}}", "model.adapter.init_text"),
        (
            f"{ADAPTER} {{kind: prefix_tuning}}}}\ntraining: {{gradient_checkpointing: true}}",
            "training.gradient_checkpointing",
        ),
    ],
)
def test_settings_that_contradict_each_other_are_told(settings, key):
    text = settings if settings.startswith("method") else SFT + settings
    assert list(faults(text)) == [key]


def test_a_single_answer_to_each_prompt_is_refused_where_it_is_compared_with_others_to_the_prompt():
    one = GRPO + "rollout: {completions_per_prompt: 1}\n"
    assert list(faults(one)) == ["rollout.completions_per_prompt"]
    assert list(faults(one + "grpo: {baseline: leave_one_out}")) == ["rollout.completions_per_prompt"]
    assert list(faults(one + "grpo: {baseline: batch}")) == ["grpo.scale_advantages"]
    assert not faults(one + "grpo: {baseline: batch, scale_advantages: batch}")


def test_cutting_the_law_that_grpo_learns_from_is_refused():
    cut = GRPO + "rollout: {top_p: 0.9, top_k: 5, min_p: 0.1}\n"
    assert list(faults(cut)) == ["rollout.top_p", "rollout.top_k", "rollout.min_p"]
    assert not faults(cut + "grpo: {importance: token}")


@pytest.mark.parametrize(
    ("own", "key"),
    [
        ("clip: one_sided", "grpo.cap"),
        ("clip: gamma", "grpo.ratio"),
        ("kl: k1, kl_correction: false", "grpo.kl"),
        ("refill: 3", "grpo.refill"),
        ("interrupt_with: x, leave_out_truncated: true", "grpo.leave_out_truncated"),
    ],
)
def test_choices_of_grpo_that_have_no_sense_together_are_told(own, key):
    assert list(faults(GRPO + f"grpo: {{{own}}}")) == [key]


@pytest.mark.parametrize(
    ("settings", "keys"),
    [
        ("dpo: {loss: ipo, label_smoothing: 0.1}", ["dpo.label_smoothing"]),
        ("dpo: {loss: exo_pair}", ["dpo.label_smoothing"]),
        ("dpo: {loss: robust, label_smoothing: 0.5}", ["dpo.label_smoothing"]),
        ("dpo: {loss: aot}", ["training.micro_batch_size"]),
        ("dpo: {loss: aot}\ntraining: {batch_size: 8, micro_batch_size: 4}", ["training.micro_batch_size"]),
        (
            "dpo: {loss: aot_unpaired}\ntraining: {batch_size: 8, processes: 2}",
            ["training.processes", "training.micro_batch_size"],
        ),
        ("dpo: {loss: aot}\ntraining: {batch_size: 8, micro_batch_size: 8}", []),
        ("dpo: {loss: exo_pair, label_smoothing: 0.1}", []),
        ("dpo: {losses: {sigmoid: 0.8, bco_pair: 0.2}}", []),
        ("dpo: {loss: ipo, losses: {sigmoid: 0.8}}", ["dpo.loss"]),
        ("dpo: {losses: {hinge: 1.0, exo_pair: 0.2}}", ["dpo.label_smoothing"]),
        ("dpo: {losses: {sigmoid: 1.0, aot: 0.2}}", ["training.micro_batch_size"]),
        ("dpo: {loss: sigmoid, label_smoothing: 0.1}", []),
        ("dpo: {loss: hinge, margin: 1.0}", ["dpo.margin"]),
        ("dpo: {losses: {hinge: 1.0, sigmoid: 1.0}, margin: 1.0}", []),
    ],
)
def test_a_loss_of_pairs_says_what_it_needs(settings, keys):
    assert list(faults(DPO + settings)) == keys


@pytest.mark.parametrize(
    ("text", "keys"),
    [
        ("method: cpo\ncpo: {loss: hinge, label_smoothing: 0.1}", ["cpo.label_smoothing"]),
        ("method: cpo\ncpo: {label_smoothing: 0.1}", []),
        ("method: kto\ntraining: {batch_size: 1}", ["training.batch_size"]),
        ("method: kto\nkto: {loss: apo_zero_unpaired}\ntraining: {batch_size: 1}", []),
        ("method: orpo\norpo: {beta: 0.0}", ["orpo.beta"]),
        ("method: simpo\nsimpo: {gamma: -1.0}", ["simpo.gamma"]),
    ],
)
def test_the_kin_of_dpo_say_what_they_need(text, keys):
    assert list(faults(text + "\nmodel: {path: a/b}\ndata: {train: x.jsonl}\n")) == keys


def test_a_method_without_a_reference_is_not_given_one():
    text = "method: orpo\nmodel: {path: a/b, reference: a/c}\ndata: {train: x.jsonl}\n"
    assert list(faults(text)) == ["model.reference"]


@pytest.mark.parametrize(
    ("settings", "keys"),
    [
        ("{kind: lora}", []),
        ("{kind: dora}", []),
        ("{kind: lora}}\nreward_model: {freeze: all_but_head", ["reward_model.freeze"]),
        ("{kind: prompt_tuning, virtual_tokens: 4}", ["model.adapter.kind"]),
        ("null}\nreward_model: {freeze: backbone, centring: 0.01, margin: false", []),
    ],
)
def test_an_adapter_of_a_reward_model_leaves_the_head_to_learn(settings, keys):
    text = REWARD_MODEL.replace("some/model}", f"some/model, adapter: {settings}}}")
    assert list(faults(text)) == keys


def test_strings_are_not_taken_for_numbers_nor_numbers_for_text():
    found = faults(SFT + 'training: {steps: "5"}\nname: 7\n')
    assert found["training.steps"].given == "'5'"
    assert found["name"].problem == "should be text"


@pytest.mark.parametrize("name", ["../../x", "a/b", "a b", "", "-x", "x" * 65, "a\nb"])
def test_a_name_that_could_leave_the_workspace_is_refused(name):
    draft = read_draft(SFT)
    preset, found = check({**draft.data, "name": name})
    assert preset is None
    assert [fault.dotted for fault in found] == ["name"]


def test_one_source_may_be_a_path_a_mapping_or_a_list():
    for written in ("rows.jsonl", "{path: rows.jsonl}", "[rows.jsonl]", "[{path: rows.jsonl}]"):
        preset = whole(SFT.replace("rows.jsonl", written))
        assert [source.path for source in preset.data.train] == ["rows.jsonl"]


def test_a_weight_for_one_source_asks_for_weights_for_all():
    text = SFT.replace("rows.jsonl", "[{path: a.jsonl, weight: 2.0}, b.jsonl]")
    fault = faults(text)["data.train.1.weight"]
    assert str(fault) == (
        "data.train.1.weight: is missing, as other sources have one; give every source a weight, or none"
    )
    assert not faults(text.replace("b.jsonl", "{path: b.jsonl, weight: 0.5}"))


def test_what_measures_is_a_source_of_its_own_or_a_share():
    fault = faults(SFT + "  eval: other.jsonl\n  eval_share: 0.1\n")["data.eval_share"]
    assert "stands beside data.eval" in fault.problem
    assert not faults(SFT + "  eval_share: 0.1\n")


def test_a_fault_in_one_of_several_sources_names_which():
    found = faults(SFT.replace("rows.jsonl", "[a.jsonl, {path: b.jsonl, rows: 0}]"))
    assert list(found) == ["data.train.1.rows"]


def test_overrides_replace_and_add_settings():
    preset = whole(SFT, ["training.steps=7", "optimizer.learning_rate=1e-3", "model.adapter={rank: 4}"])
    assert (preset.training.steps, preset.optimizer.learning_rate) == (7, 1e-3)
    assert preset.model.adapter is not None
    assert preset.model.adapter.rank == 4


@pytest.mark.parametrize(
    ("override", "key"),
    [("training.stepps=7", "training.stepps"), ("training.steps=x", "training.steps"), ("steps", ""), ("a..b=1", "")],
)
def test_a_bad_override_is_a_fault_like_any_other(override, key):
    assert list(faults(SFT, [override])) == [key]


def test_bad_yaml_is_one_fault_with_its_line():
    found = read_draft(SFT + "method: grpo\n").faults
    assert [(fault.line, fault.key) for fault in found] == [(7, ())]
    assert "given twice" in found[0].problem


@pytest.mark.parametrize("text", ["", "hello", "- 1\n- 2", "42"])
def test_a_text_that_is_no_mapping_is_one_fault(text):
    found = read_draft(text).faults
    assert len(found) == 1
    assert "mapping" in found[0].problem


def test_an_unreadable_file_is_told_by_its_name(tmp_path: Path):
    with pytest.raises(PresetError, match=r"none\.yaml\n  cannot be read: No such file"):
        load_preset(tmp_path / "none.yaml")
    (tmp_path / "latin.yaml").write_bytes("name: é".encode("latin-1"))
    with pytest.raises(PresetError, match="not UTF-8 text \\(byte 6\\)"):
        load_preset(tmp_path / "latin.yaml")


def test_the_error_lists_the_file_and_a_line_for_each_fault(tmp_path: Path):
    file = tmp_path / "p.yaml"
    file.write_text(SFT + "training: {steps: 0, stepz: 1}\n")
    with pytest.raises(PresetError) as caught:
        load_preset(file)
    assert [line.split(":")[0].strip() for line in str(caught.value).splitlines()[1:]] == [
        "training.steps",
        "training.stepz",
    ]


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5) | st.integers(), inner, max_size=3),
)
places = st.sampled_from(
    [
        *((), (1,), ("method",), ("model",), ("model", "path"), ("model", "adapter")),
        *(("data",), ("data", "train"), ("data", "eval"), ("training", "micro_batch_size"), ("rollout",)),
        *(("rewards",), ("rewards", 0), ("rewards", 0, "kind")),
    ]
)


@given(place=places, value=anything)
def test_whatever_stands_anywhere_each_fault_has_words_and_a_remedy(place, value):
    data = {**read_draft(GRPO).data, "training": {}}
    here = data
    for part in place[:-1]:
        here = here[part]
    if place:
        here[place[-1]] = value
    else:
        data = value if isinstance(value, dict) else {}
    for fault in check(data)[1]:
        assert fault.problem
        assert fault.remedy
        assert str(fault)


def test_a_fault_of_the_whole_file_stands_on_no_line():
    whole = Fault((), "/full", "the disk has 1 MB free", "free some space")
    assert whole.at({(): 1, ("method",): 1}).line is None
    assert Fault(("model", "path"), "x", "is missing", "give one").at({(): 1, ("model",): 3}).line == 3


# ------------------------------------------------------------------------------------------------- early stopping


def test_early_stopping_waits_for_what_is_measured():
    stops = SFT + "training: {early_stopping: {}}"
    assert list(faults(stops)) == ["data.eval", "training.eval_every"]
    measured = ["data.eval=held-out.jsonl", "training.eval_every=10"]
    assert whole(stops, measured).training.early_stopping == EarlyStopping(metric="eval_loss", patience=3)
    wrong = faults(stops, [*measured, "training.early_stopping.metric=learning_rate"])
    assert wrong["training.early_stopping.metric"].problem == "is no measure with a better and a worse"
    assert list(faults(stops, [*measured, "training.early_stopping.patience=0"])) == [
        "training.early_stopping.patience"
    ]
