"""A preset being edited: one value changes and nothing else moves."""

import math
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.contract.faults import Fault, Key
from engine.contract.preset import PRESETS, read_draft
from engine.contract.strict_yaml import load_yaml
from workbench.state.preset_draft import CannotEditError, PresetDraft
from workbench.state.preset_edit import scalar_text
from workbench.state.preset_schema import Setting, sections_of

COMMENTED = """\
# why this preset is here: größer 😀, counted in characters and not in bytes
method: grpo   # the method
name: sums

model:
  # built, not loaded
  path: scratch
  scratch: {layers: 2, width: 64, heads: 2}  # small
  adapter:
    # kept low
    rank: 8   # enough
data:
  train:
    path: task:arithmetic
    options: {digits: 2, reversed: true}
  max_length: 64
  system_prompt: |
    Be brief.
    # this is text, not a comment
optimizer:
  # higher makes it forget
  learning_rate: 3e-4
rewards:
  - kind: verifier   # right or wrong
  # and short
  - kind: length
    target: 8
    weight: 0.5
# the end
"""
FLOW = "{method: sft, model: {path: scratch, scratch: {}}, data: {train: a.jsonl}, training: {steps: 3}}\n"


def comments_of(text: str) -> list[str]:
    return re.findall(r"(?<!\S)#(?! this is text).*", text)


def scalars(method: str) -> list[Setting]:
    simple = ("choice", "flag", "int", "float", "text")
    settings = [s for section in sections_of(PRESETS[method]) for s in section.settings if s.kind in simple]
    return [s for s in settings if s.key != ("method",)]


def valid_values(setting: Setting) -> st.SearchStrategy:
    bounds = setting.bounds
    low = bounds.least if bounds.least is not None else bounds.above
    high = bounds.most if bounds.most is not None else bounds.below
    if setting.kind == "choice":
        return st.sampled_from(setting.choices)
    if setting.kind == "flag":
        return st.booleans()
    if setting.kind == "int":
        counts = st.integers(int(low or 0), int((high or 10**9) - 1))
        return counts | st.sampled_from(setting.choices) if setting.choices else counts
    if setting.kind == "float":
        return st.floats(low, high, exclude_min=bounds.above is not None, exclude_max=bounds.below is not None)
    if setting.name == "device":
        return st.sampled_from(["auto", "cpu", "cuda:1"])
    if setting.name == "name":
        return st.from_regex(r"^[A-Za-z0-9][A-Za-z0-9_-]{0,20}$", fullmatch=True)
    return st.text(min_size=1, max_size=40)


@st.composite
def one_change(draw: st.DrawFn) -> tuple[str, Setting, object]:
    text = draw(st.sampled_from([COMMENTED, FLOW]))
    setting = draw(st.sampled_from(scalars(str(load_yaml(text)[0]["method"]))))
    return text, setting, draw(valid_values(setting))


@given(one_change())
def test_a_value_set_is_read_back_and_nothing_else_changes(change: tuple[str, Setting, object]) -> None:
    text, setting, value = change
    draft = PresetDraft(text)
    draft.set_value(setting.key, value)
    assert draft.value(setting) == value
    assert comments_of(draft.text) == comments_of(text)
    before, after = PresetDraft(text), draft
    for other in scalars(draft.method):
        if other.key != setting.key:
            assert after.value(other) == before.value(other)


@given(one_change())
def test_undo_after_an_edit_gives_the_very_text_back(change: tuple[str, Setting, object]) -> None:
    text, setting, value = change
    draft = PresetDraft(text)
    draft.set_value(setting.key, value)
    changed = draft.text
    draft.undo()
    assert draft.text == text
    assert not draft.is_dirty
    draft.redo()
    assert draft.text == changed or changed == text


@given(one_change())
def test_reset_takes_the_key_out_and_keeps_the_rest(change: tuple[str, Setting, object]) -> None:
    text, setting, value = change
    if setting.required:
        return
    draft = PresetDraft(text)
    draft.set_value(setting.key, value)
    draft.reset(setting.key)
    assert not draft.is_written(setting.key)
    assert not draft.differs_from_default(setting)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(min_size=1), inner, max_size=3),
    )
)
def test_a_value_written_on_one_line_is_read_back_the_same(value: object) -> None:
    assert load_yaml(f"key: {scalar_text(value)}")[0] == {"key": value}
    assert load_yaml(f"[{scalar_text(value)}]")[0] == [value]


def test_a_change_in_place_touches_only_its_line() -> None:
    draft = PresetDraft(COMMENTED)
    draft.set_value(("model", "adapter", "rank"), 32)
    changed = [(a, b) for a, b in zip(COMMENTED.splitlines(), draft.text.splitlines(), strict=True) if a != b]
    assert changed == [("    rank: 8   # enough", "    rank: 32   # enough")]


def test_a_number_keeps_the_spelling_in_which_it_was_typed() -> None:
    draft = PresetDraft(COMMENTED)
    draft.set_typed(setting_of(draft, "optimizer.learning_rate"), "1e-5")
    assert "learning_rate: 1e-5\n" in draft.text
    assert draft.value(setting_of(draft, "optimizer.learning_rate")) == 1e-5


def test_what_is_no_number_is_kept_and_told_under_its_key() -> None:
    draft = PresetDraft(COMMENTED)
    draft.set_typed(setting_of(draft, "training.steps"), "many: {")
    (fault,) = draft.faults_at(setting_of(draft, "training.steps"))
    assert "whole number" in fault.problem
    assert fault.line == draft.text.splitlines().index('  steps: "many: {"') + 1


def test_a_missing_key_is_added_where_its_section_has_it_by_order() -> None:
    draft = PresetDraft(COMMENTED)
    draft.set_value(("model", "dtype"), "float32")
    lines = draft.text.splitlines()
    assert lines.index("  dtype: float32") == lines.index("  scratch: {layers: 2, width: 64, heads: 2}  # small") + 1


def test_a_missing_section_is_added_between_its_neighbours() -> None:
    draft = PresetDraft(COMMENTED)
    draft.set_value(("training", "steps"), 7)
    assert "learning_rate: 3e-4\ntraining:\n  steps: 7\nrewards:\n" in draft.text


def test_a_key_added_first_stands_above_the_comment_of_the_next() -> None:
    draft = PresetDraft("method: sft\nmodel:\n  # this one\n  dtype: auto\n")
    draft.set_value(("model", "path"), "scratch")
    assert draft.text == "method: sft\nmodel:\n  path: scratch\n  # this one\n  dtype: auto\n"


def test_the_last_key_of_a_section_takes_the_section_with_it() -> None:
    draft = PresetDraft(COMMENTED)
    draft.reset(("optimizer", "learning_rate"))
    assert "optimizer" not in draft.values


def test_an_optional_section_is_added_and_taken_away() -> None:
    draft = PresetDraft("method: sft\nmodel:\n  path: gpt2\ndata:\n  train: a.jsonl\n")
    adapter = next(s for s in draft.sections() if s.key == ("model", "adapter"))
    draft.switch_section(adapter, is_on=True)
    assert draft.values["model"]["adapter"] == {"kind": "lora", "rank": 16}
    assert "path: gpt2\n  adapter:\n    kind: lora\n    rank: 16\n" in draft.text
    draft.switch_section(adapter, is_on=False)
    assert "adapter" not in draft.values["model"]


def test_rewards_are_added_changed_and_removed_beside_their_comments() -> None:
    draft = PresetDraft(COMMENTED)
    rewards = setting_of(draft, "rewards")
    draft.add_item(rewards, "exact_match")
    assert "    weight: 0.5\n  - kind: exact_match\n# the end" in draft.text
    draft.change_item(rewards, 1, "pattern")
    assert draft.value(rewards)[1] == {"kind": "pattern", "pattern": ".*", "weight": 0.5}
    draft.reset(("rewards", 1))
    assert [item["kind"] for item in draft.value(rewards)] == ["verifier", "exact_match"]
    assert comments_of(draft.text) == comments_of(COMMENTED)


def test_a_change_of_method_keeps_what_is_common() -> None:
    draft = PresetDraft(COMMENTED)
    draft.set_method("sft")
    assert draft.preset is not None
    assert "rewards" not in draft.values
    assert draft.values["optimizer"] == {"learning_rate": 3e-4}
    draft.set_method("grpo")
    assert draft.preset is not None
    assert draft.values["rewards"] == [{"kind": "verifier"}]


def test_a_place_shared_through_an_anchor_is_left_to_the_text() -> None:
    text = "method: sft\nmodel: {path: gpt2}\ndata: {train: &a x.jsonl, eval: *a}\n"
    draft = PresetDraft(text)
    with pytest.raises(CannotEditError):
        draft.set_value(("data", "train"), "y.jsonl")
    assert draft.text == text


def test_text_that_cannot_be_read_keeps_the_values_it_last_had() -> None:
    draft = PresetDraft(COMMENTED)
    draft.set_text(COMMENTED.replace("name: sums", "name: [sums"))
    assert not draft.is_readable
    assert draft.values["name"] == "sums"
    with pytest.raises(CannotEditError):
        draft.set_value(("name",), "x")


def test_typing_in_one_field_is_one_step_of_undo() -> None:
    draft = PresetDraft(COMMENTED)
    for typed in ("1", "12", "120"):
        draft.set_value(("training", "steps"), int(typed), burst="training.steps")
    draft.set_value(("name",), "other", burst="name")
    draft.undo()
    assert draft.values["training"] == {"steps": 120}
    draft.undo()
    assert draft.text == COMMENTED


def test_a_setting_without_its_need_says_what_it_needs() -> None:
    draft = PresetDraft(COMMENTED)
    scratch = next(s.switch for s in draft.sections() if s.key == ("model", "scratch"))
    assert scratch is not None
    assert draft.unmet_need(scratch) == ""
    draft.set_value(("model", "path"), "gpt2")
    assert draft.unmet_need(scratch) == "Counts only with path = scratch"


def test_a_setting_that_several_kinds_have_counts_with_each_of_them() -> None:
    draft = PresetDraft(COMMENTED)
    adapter = next(s for s in draft.sections() if s.key == ("model", "adapter"))
    draft.switch_section(adapter, is_on=True)
    rank, tokens = (next(s for s in adapter.settings if s.name == name) for name in ("rank", "virtual_tokens"))
    for kind in ("lora", "dora", "rslora"):
        draft.set_value(("model", "adapter", "kind"), kind)
        assert draft.unmet_need(rank) == ""
        assert draft.unmet_need(tokens) == "Counts only with kind = prompt_tuning or prefix_tuning"
    draft.set_value(("model", "adapter", "kind"), "prefix_tuning")
    assert draft.unmet_need(rank) == "Counts only with kind = lora or dora or rslora"
    assert draft.unmet_need(tokens) == ""


def test_launch_faults_stand_until_the_text_changes() -> None:
    draft = PresetDraft(COMMENTED)
    draft.show_launch_faults([Fault(("data", "train"), "x", "is not there", "check the path")])
    assert draft.preset is None
    assert draft.faults_at(setting_of(draft, "data.train"))[0].line == 13
    draft.set_value(("training", "steps"), 2)
    assert draft.preset is not None


def test_an_unknown_key_is_a_stray_fault() -> None:
    draft = PresetDraft(COMMENTED.replace("learning_rate", "learning_rat"))
    assert [fault.dotted for fault in draft.stray_faults()] == ["optimizer.learning_rat"]


def test_unsaved_text_is_there_to_keep_until_it_is_saved() -> None:
    draft = PresetDraft(COMMENTED, name="sums")
    assert draft.unsaved() is None
    draft.set_value(("training", "steps"), 2)
    kept = draft.unsaved()
    assert kept is not None
    assert kept.text == draft.text
    draft.saved_as(Path("presets/sums.yaml"), draft.text)
    assert draft.unsaved() is None


@pytest.mark.parametrize("method", list(PRESETS))
def test_every_setting_of_the_contract_is_in_a_section(method: str) -> None:
    sections = sections_of(PRESETS[method])
    shown = {setting.key for section in sections for setting in section.settings}
    shown |= {section.key for section in sections}
    written = read_draft(PresetDraft(COMMENTED).text).preset
    assert written is not None
    for name, info in PRESETS[method].model_fields.items():
        model = info.annotation
        keys: set[Key] = {(name, inner) for inner in getattr(model, "model_fields", {})}
        assert (keys or {(name,)}) <= shown


def test_infinity_and_not_a_number_are_written_as_yaml_has_them() -> None:
    assert scalar_text(math.inf) == ".inf"
    assert scalar_text(-math.inf) == "-.inf"
    assert scalar_text(math.nan) == ".nan"


def setting_of(draft: PresetDraft, dotted: str) -> Setting:
    settings = [s for section in draft.sections() for s in section.settings]
    return next(s for s in settings if s.dotted == dotted)
