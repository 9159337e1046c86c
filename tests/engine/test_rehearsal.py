"""Before the first step: the data as the model sees it, what is wrong with it, and one step that changes nothing."""

import json
import math
import shutil
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from engine import random_state
from engine.assembly import optimizer_of
from engine.contract import events, settings
from engine.contract.findings import Finding, Report
from engine.contract.preset import TextPreset
from engine.data.byte_tokenizer import byte_tokenizer
from engine.data.chat import ChatEncoder, Example
from engine.data.formats import canonical
from engine.data.left_out import Origin
from engine.data.sources import Table
from engine.distilling import StudentScorer
from engine.logprobs import TokenScorer
from engine.loop import Material, Method, Update
from engine.methods import METHODS
from engine.models import Policy
from engine.rehearsal import __main__ as check_process
from engine.rehearsal import step as step_module
from engine.rehearsal.looking import Reading, look
from engine.rehearsal.pieces import SHOWN, pieces, seen, spans
from engine.rehearsal.report import _of_sampling
from engine.rehearsal.step import TooLarge, rehearse
from engine.reward_models import RewardScorer
from tests.engine import running
from tests.tiny import CHATML, bench_of, tiny_critic, tiny_policy, tiny_reward_model, with_lora

TOKENIZER = byte_tokenizer()
END = TOKENIZER.eos_token_id


def decode(ids: list[int]) -> str:
    return str(TOKENIZER.decode(ids))


def ids_of(text: str) -> list[int]:
    return list(TOKENIZER(text)["input_ids"])


def example(prompt: str, answer: str, *, ended: bool = True, is_cut: bool = False) -> Example:
    before, after = ids_of(prompt), [*ids_of(answer), *([END] if ended else [])]
    return Example([*before, *after], [False] * len(before) + [True] * len(after), is_cut)


def reading_of(**changes: Any) -> Reading:
    known: dict[str, Any] = {
        "table": Table([{}] * 4),
        "optimizer": settings.Optimizer(),
        "steps": 10,
        "limit": 32,
        "tokenizer": TOKENIZER,
        "end_ids": [END],
        "embeddings": 258,
        "trained": 1000,
        "has_turns": False,
    }
    return Reading(**{**known, **changes})


def looked_at(*examples: Example, material: dict[str, Any] | None = None, **changes: Any) -> Report:
    items = [(each,) for each in examples]
    return look(Material(items, no_update, **(material or {})), reading_of(**changes))


def no_update(places: Sequence[int]) -> Update:
    raise AssertionError("looking makes no batch")


def told(report: Report, level: str) -> str:
    return "\n".join(f"{one.what}; {one.advice}" for one in report.findings if one.level == level)


# ------------------------------------------------------------------------------------------------------- tokens


def test_pieces_are_what_each_token_adds_to_the_text() -> None:
    assert pieces(ids_of("a+b"), decode) == ["a", "+", "b"]


def test_a_character_of_several_tokens_stands_at_its_last_one() -> None:
    assert pieces(ids_of("aé!"), decode) == ["a", "", "é", "!"]


def test_a_character_that_is_never_finished_is_shown_as_broken() -> None:
    assert pieces(ids_of("é")[:1], decode) == ["\N{REPLACEMENT CHARACTER}"]


def test_pieces_survive_a_decoder_that_rewrites_what_stands_before() -> None:
    def tidy(ids: list[int]) -> str:
        return "".join("a ." if i == 0 else "b" for i in ids).replace(" .b", "b")

    assert pieces([0, 1], tidy) == ["a .", "b"]


def test_what_counts_is_told_as_spans() -> None:
    assert spans([False, True, True, False, True]) == [(1, 3), (4, 5)]
    assert spans([]) == []


def test_of_a_long_row_the_beginning_and_the_end_are_shown() -> None:
    text = seen("", example("q" * 400, "answer"), decode)
    assert len(text.tokens) == len(text.ids) == SHOWN
    assert (text.length, text.skipped, text.skipped_at) == (407, 407 - SHOWN, SHOWN // 2)
    assert "".join(text.tokens[:80]) == "q" * 80
    assert "".join(text.tokens).endswith("qanswer<|end|>")
    assert text.counted == [(SHOWN - 7, SHOWN)]


def test_a_token_of_great_length_is_shown_in_part() -> None:
    text = seen("", Example([1], [False]), lambda ids: "-" * 1000)
    assert len(text.tokens[0]) < 60


# --------------------------------------------------------------------------------------------------- what is seen


def test_a_look_counts_tokens_and_those_that_count() -> None:
    report = looked_at(example("1+1=", "2"), example("1+1=", "22"))
    assert (report.items, report.tokens, report.counted_tokens) == (2, 6 + 7, 2 + 3)
    assert report.errors == []
    [first, second] = report.shown
    assert first.texts[0].tokens == ["1", "+", "1", "=", "2", "<|end|>"]
    assert first.texts[0].counted == [(4, 6)]
    assert (first.place, second.place) == ("row 1", "row 2")


def test_shown_rows_keep_their_number_where_others_are_left_out() -> None:
    rows = [example("1+1=", str(n)) for n in range(2)]
    report = looked_at(*rows, material={"left_out": {"an answer is empty": [1, 3]}})
    assert [row.place for row in report.shown] == ["row 2", "row 4"]
    assert "2 of 4 rows are left out: an answer is empty (rows 1, 3)" in told(report, "warning")


def test_rows_are_named_by_file_and_line_also_those_that_were_no_rows() -> None:
    origins = (Origin("a.jsonl", "line", 1), Origin("b.jsonl", "line", 11))
    table = Table([{}] * 3, numbers=[2, 3, 12], origins=origins, left_out={"is not JSON": [1]})
    left_out = {"an answer is empty": [3]}
    report = looked_at(example("1", "2"), example("1", "3"), material={"left_out": left_out}, table=table)
    assert [row.place for row in report.shown] == ["a.jsonl, line 2", "b.jsonl, line 2"]
    assert [(one.reason, one.where) for one in report.left_out] == [
        ("is not JSON", "a.jsonl, line 1"),
        ("an answer is empty", "a.jsonl, line 3"),
    ]
    assert report.rows == 4


def test_both_sides_of_a_pair_are_shown_by_name() -> None:
    from engine.data.preferences import Pair

    material = Material([Pair(example("q", "good"), example("q", "bad"))], no_update)
    [row] = look(material, reading_of()).shown
    assert [text.name for text in row.texts] == ["chosen", "rejected"]


def test_lengths_are_told_as_quantiles_and_bars() -> None:
    lengths = looked_at(*(Example([5] * n, [False] + [True] * (n - 1)) for n in range(2, 102))).lengths
    assert (lengths.median, lengths.p95, lengths.longest, lengths.limit) == (52, 97, 101, 32)
    assert lengths.width == 5
    assert sum(lengths.bars) == 100
    assert lengths.bars[0] == 3  # 2, 3 and 4 tokens
    assert len(lengths.bars) == 101 // 5 + 1


def test_rows_that_repeat_and_rows_that_are_also_held_out_are_counted() -> None:
    one, two = example("1+1=", "2"), example("2+2=", "4")
    report = looked_at(one, one, two, one, material={"held_out": [(two,), (example("3+3=", "6"),)]})
    assert (report.repeated, report.also_held_out, report.held_out) == (2, 1, 2)
    assert "2 of 4 rows are the same as an earlier one" in told(report, "info")
    assert "1 of 2 held-out rows are also learned from; what they measure is memory" in told(report, "warning")


def test_rows_of_equal_text_of_which_other_parts_count_are_no_repetition() -> None:
    assert looked_at(example("1+1=", "2"), example("1+1=2", "")).repeated == 0


def test_rows_that_are_cut_are_counted_and_all_of_them_are_a_louder_warning() -> None:
    whole, cut = example("1+1=", "2"), example("1+1=", "22", ended=False, is_cut=True)
    assert "1 of 2 rows is cut at 32 tokens; raise data.max_length" in told(looked_at(whole, cut), "warning")
    assert "the end of no answer is ever seen" in told(looked_at(cut, cut), "warning")
    assert looked_at(whole, cut).shown[1].texts[0].is_cut


def test_an_end_that_is_learned_is_said_to_be() -> None:
    assert "every whole answer ends with <|end|> and learns it" in told(looked_at(example("1", "2")), "good")


def test_answers_without_an_end_are_told() -> None:
    report = looked_at(example("1", "2"), example("1", "3", ended=False))
    assert "1 of 2 answers do not end with <|end|> in what counts" in told(report, "warning")
    none = looked_at(example("1", "2", ended=False))
    assert "no answer ends with <|end|> in what counts, so the model is not taught to stop there" in told(
        none, "warning"
    )


def test_a_chat_template_that_writes_no_end_is_told() -> None:
    tokenizer = byte_tokenizer()
    tokenizer.chat_template = "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}"
    talk = {"messages": [{"role": "user", "content": "2+2"}, {"role": "assistant", "content": "4"}]}
    whole = ChatEncoder(tokenizer).example(talk, completion_only=True, max_length=64)
    report = looked_at(whole, tokenizer=tokenizer, has_turns=True)
    assert told(report, "warning") == (
        "no answer ends with <|end|> in what counts, so the model is not taught to stop there; "
        "let the chat template write the end token after an answer"
    )


def test_a_line_break_that_a_template_writes_after_the_end_does_no_harm() -> None:
    ids = [*ids_of("q"), *ids_of("a"), END, *ids_of("\n")]
    assert "learns it" in told(looked_at(Example(ids, [False, True, True, True])), "good")


def test_padding_that_is_the_end_token_is_told_to_be_harmless() -> None:
    tokenizer = byte_tokenizer()
    tokenizer.pad_token = tokenizer.eos_token
    report = looked_at(example("1", "2"), tokenizer=tokenizer)
    assert "padding and end are one token, <|end|>; harmless here" in told(report, "info")
    assert "learns it" in told(report, "good")


def test_a_beginning_written_twice_is_told() -> None:
    tokenizer = byte_tokenizer()
    tokenizer.add_special_tokens({"bos_token": "a"})
    first = tokenizer.bos_token_id
    report = looked_at(Example([first, first, 7, END], [False, False, True, True]), tokenizer=tokenizer)
    assert "rows begin with a twice" in told(report, "warning")


def test_conversations_without_a_template_are_told() -> None:
    assert "has no chat template" in told(looked_at(example("1", "2"), has_turns=True), "warning")
    tokenizer = byte_tokenizer()
    tokenizer.chat_template = CHATML
    assert "template" not in told(looked_at(example("1", "2"), has_turns=True, tokenizer=tokenizer), "warning")


# --------------------------------------------------------------------------------------- what is refused, or told of


def only_error(report: Report) -> Finding:
    [error] = report.errors
    assert error.advice
    return error


def test_data_of_which_no_token_counts_is_refused() -> None:
    error = only_error(looked_at(Example(ids_of("abc"), [False] * 3)))
    assert (error.what, error.key) == ("no token of any row counts in the loss", "data.train")


def test_data_without_a_row_of_use_is_refused() -> None:
    assert only_error(looked_at()).what == "no row can be learned from"


def test_prompts_whose_answers_are_sampled_need_nothing_that_counts() -> None:
    report = looked_at(Example(ids_of("abc"), [False] * 3), material={"sampled": 5})
    assert report.errors == []
    assert report.shown[0].texts[0].sampled == 5


def test_texts_that_count_as_a_whole_need_no_token_that_counts() -> None:
    report = looked_at(Example(ids_of("abc"), [False] * 3), example("q", "a"), material={"by_token": False})
    assert report.errors == []
    assert (report.by_token, report.counted_tokens) == (False, 0)
    assert [row.texts[0].counted for row in report.shown] == [[], []]
    assert "answer" not in told(report, "warning") + told(report, "good")


def test_a_model_of_which_nothing_is_trained_is_refused() -> None:
    error = only_error(looked_at(example("1", "2"), trained=0))
    assert error.what == "none of the model's weights is trained"


def test_a_token_that_the_model_does_not_know_is_refused() -> None:
    error = only_error(looked_at(Example([7, 300], [False, True])))
    assert error.what == "token 300 is in the data, and the model has embeddings for 258"


@pytest.mark.parametrize(
    ("optimizer", "steps"),
    [
        (settings.Optimizer(learning_rate=0.0), 10),
        (settings.Optimizer(learning_rate=1e-3, warmup_steps=5), 1),
    ],
)
def test_a_learning_rate_that_is_always_zero_is_told(optimizer: settings.Optimizer, steps: int) -> None:
    report = looked_at(example("1", "2"), optimizer=optimizer, steps=steps)
    assert "the learning rate is 0 in every step, so the weights stay as they are" in told(report, "warning")
    assert report.errors == []


def test_a_learning_rate_that_rises_late_is_fine() -> None:
    optimizer = settings.Optimizer(learning_rate=1e-3, warmup_steps=5)
    assert "learning rate" not in told(looked_at(example("1", "2"), optimizer=optimizer, steps=2), "warning")


# ------------------------------------------------------------------------------------------------ the rehearsed step


class Weighed:
    """A method whose loss takes room for each row: more than `room` of them do not fit. Each row is one token."""

    def __init__(self, policy: nn.Module, room: int) -> None:
        self._weight = next(p for p in policy.parameters() if p.requires_grad)
        self._room = room

    def method(self) -> Method:
        return Method(batches=lambda _: iter(()), loss=self._loss, measure=lambda _: {}, material=self.material)

    def material(self) -> Material:
        return Material(
            [(Example([5] * (2 + n % 3), [False] + [True] * (1 + n % 3)),) for n in range(16)], self._update
        )

    def _update(self, places: Sequence[int]) -> Update:
        return Update([(torch.zeros(len(places)),)], len(places), {})

    def _loss(self, batch: tuple[Tensor]) -> tuple[Tensor, dict[str, Any]]:
        if len(batch[0]) > self._room:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        return (self._weight * 0.5).sum(), {}


def rehearsed(tmp_path: Path, room: int, *, batch_size: int = 8, budget: float | None = None) -> Any:
    policy = tiny_policy()
    method = Weighed(policy.model, room).method()
    trained = [p for p in policy.model.parameters() if p.requires_grad]
    training = settings.Training(batch_size=batch_size, steps=100)
    bench = bench_of(policy, tmp_path)
    return rehearse(method, method.material(), bench, trained, training, budget=budget)


def test_a_rehearsed_step_tells_time_and_memory(tmp_path: Path) -> None:
    measured = rehearsed(tmp_path, 8)
    assert measured.device == "cpu"
    assert 0 < measured.step_seconds < measured.longest_seconds  # the longest batch has more tokens than others
    assert measured.run_seconds == pytest.approx(100 * measured.step_seconds)
    assert measured.peak_bytes > 8 * 30_000  # more than what AdamW keeps
    assert measured.at_once == 8
    assert measured.grad_norm == pytest.approx(0.5 * math.sqrt(258 * 32))  # half for each embedding weight


@pytest.mark.parametrize(("room", "fits"), [(7, 4), (3, 2), (1, 1)])
def test_out_of_memory_names_a_number_of_rows_that_fits(tmp_path: Path, room: int, fits: int) -> None:
    with pytest.raises(TooLarge, match="out of memory at the longest batch: 8 at once, of up to 4 tokens") as caught:
        rehearsed(tmp_path, room)
    assert caught.value.fits == fits


def test_a_step_that_would_take_too_long_is_not_tried(tmp_path: Path) -> None:
    assert rehearsed(tmp_path, 1, budget=0.0) is None  # else it would have run out of memory


@pytest.mark.parametrize(
    ("error", "is_it"),
    [
        (MemoryError(), True),
        (torch.OutOfMemoryError("CUDA out of memory"), True),
        (
            RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes"),
            True,
        ),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), False),
    ],
)
def test_running_out_of_memory_is_told_from_other_errors(error: Exception, is_it: bool) -> None:
    assert step_module.is_out_of_memory(error) is is_it


def test_other_errors_of_a_rehearsed_step_are_not_hidden(tmp_path: Path) -> None:
    policy = tiny_policy()

    def broken(batch: Any) -> Any:
        raise RuntimeError("shapes cannot be multiplied")

    method = Method(lambda _: iter(()), broken, lambda _: {}, Weighed(policy.model, 9).material)
    bench = bench_of(policy, tmp_path)
    with pytest.raises(RuntimeError, match="shapes"):
        rehearse(method, Weighed(policy.model, 9).material(), bench, [], settings.Training(), budget=None)


def bits_of(state: dict[str, Tensor]) -> dict[str, bytes]:
    return {name: tensor.detach().numpy().tobytes() for name, tensor in state.items()}


PRESETS = {name: partial(running.preferring, name) for name in METHODS} | {
    "sft": running.sft,
    "reward_model": running.reward_model,
    "grpo": running.grpo,
    "ppo": running.ppo,
    "best_of_n": running.best_of_n,
    "online_dpo": running.online_dpo,
    "distill": running.distill,
}
SCORERS = {"reward_model": RewardScorer, "distill": StudentScorer}


@pytest.mark.parametrize("name", sorted(PRESETS))
@pytest.mark.parametrize("lora", [False, True])
def test_a_rehearsed_step_changes_no_bit_of_weights_gradients_or_random_numbers(
    tmp_path: Path, name: str, lora: bool
) -> None:
    adapter = {"adapter": {**running.LORA, "dropout": 0.5}} if lora else {}
    preset = PRESETS[name](model={**running.EVERYTHING["model"], **adapter}, **running.on_disk(name, tmp_path))
    rows = [{"prompt": f"{n}+1=", "completion": "12", "chosen": "12", "rejected": "3" * n} for n in range(1, 9)]
    policy = policy_for(name, lora=lora)
    scores: Any = SCORERS.get(name, TokenScorer)
    critic = tiny_critic() if name == "ppo" else None
    bench = bench_of(policy, tmp_path, train=[canonical(row, name) for row in rows], scores=scores, critic=critic)
    method = METHODS[name](preset, bench)
    optimizer = optimizer_of(preset, policy.model)
    weights, numbers, modes = bits_of(policy.model.state_dict()), random_state.own(), modes_of(policy.model)
    trained = [p for p in policy.model.parameters() if p.requires_grad]
    measured = rehearse(method, method.material(), bench, trained, preset.training, budget=None)
    assert measured is not None
    assert measured.grad_norm > 0  # it did learn, and let it go
    assert bits_of(policy.model.state_dict()) == weights
    assert all(parameter.grad is None for parameter in bench.bare_scorer.parameters())
    assert bits_of(random_state.own()) == bits_of(numbers)
    assert modes_of(policy.model) == modes
    assert not optimizer.state
    assert not bench.reporter._run.rollouts.exists()


def policy_for(name: str, *, lora: bool) -> Policy:
    if name == "reward_model":
        model: nn.Module = tiny_reward_model()
        if lora:
            model = with_lora(model, dropout=0.5, task_type="SEQ_CLS", modules_to_save=["score"])  # type: ignore[arg-type]
        return Policy(model, byte_tokenizer(), has_adapter=lora)
    if lora:
        return tiny_policy(lora=True, dropout=0.5)
    return replace(tiny_policy(), reference=tiny_policy().model)


def modes_of(model: nn.Module) -> list[bool]:
    return [module.training for module in model.modules()]


# ----------------------------------------------------------------------------------------------------- runs and checks


def report_of(run: Any) -> Report:
    [event] = running.of_kind(run, events.Preflight)
    report: Report = event.report
    return report


def test_a_run_puts_its_preflight_on_the_record_and_learns_as_if_there_were_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = str(running.uneven_rows(tmp_path / "rows.jsonl"))
    preset = running.sft(
        data={"train": rows},
        model={**running.EVERYTHING["model"], "adapter": {**running.LORA, "dropout": 0.3}},
    )
    with_it = running.done(tmp_path / "with", preset)
    report = report_of(with_it)
    assert (report.rows, report.items) == (24, 24)
    assert report.measured is not None
    assert report.shown[0].place == "rows.jsonl, line 1"
    monkeypatch.setattr("engine.run._look_first", lambda *_: None)
    without = running.done(tmp_path / "without", preset)
    assert running.of_kind(without, events.Preflight) == []
    assert running.curve(with_it) == running.curve(without)
    running.assert_same_weights(with_it.final, without.final)


def test_a_run_that_is_gone_on_with_does_not_look_again(tmp_path: Path) -> None:
    run = running.new_run(
        tmp_path / "run", running.sft(training={"steps": 6, "checkpoint_every": 2, "keep_checkpoints": 3})
    )
    assert running.run_here(run) == running.FINISHED
    for step in (4, 6):
        shutil.rmtree(run.checkpoint(step))
    assert running.run_here(run) == running.FINISHED
    assert len(running.of_kind(run, events.Preflight)) == 1
    assert len(running.of_kind(run, events.Resumed)) == 1


def test_a_run_that_samples_its_answers_looks_and_leaves_the_step_to_the_check(tmp_path: Path) -> None:
    report = report_of(running.done(tmp_path / "run", running.grpo(training={"steps": 1, "batch_size": 4})))
    assert report.measured is None
    assert report.shown[0].texts[0].sampled == 5
    assert report.shown[0].texts[0].counted == []
    (memory,) = [finding for finding in report.findings if finding.key == "rollout.memory"]
    assert (memory.level, memory.what.partition(":")[0]) == ("info", "16 answers a step, 16 at once")


def test_memory_that_not_even_one_answer_keeps_to_is_told(tmp_path: Path) -> None:
    policy = tiny_policy(vocab_size=100_000)  # 16 bytes a word: 1.5 MiB for each answer
    preset = running.grpo(rollout={"completions_per_prompt": 2, "max_new_tokens": 4, "memory": 1})
    parts: Any = SimpleNamespace(preset=preset, bench=bench_of(policy, tmp_path))
    (found,) = _of_sampling(parts)
    assert found.level == "warning"
    assert "1 at once" in found.what


def test_the_record_of_a_preflight_stays_small(tmp_path: Path) -> None:
    rows = [{"prompt": "é\x1b[31m<b>" * 300, "completion": "x" * 500} for _ in range(20)]
    file = tmp_path / "rows.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    scratch = {**running.SCRATCH, "context": 64}
    preset = running.sft(
        data={"train": str(file), "max_length": 64}, model={"path": "scratch", "scratch": scratch, "device": "cpu"},
        sft={"completion_only": False}, training={"steps": 1, "batch_size": 2},
    )  # fmt: skip
    run = running.done(tmp_path / "run", preset)
    [line] = [line for line in run.events.read_bytes().splitlines() if b'"kind":"preflight"' in line]
    assert len(line) < 20_000
    assert "20 of 20 rows are cut at 64 tokens: the end of no answer is ever seen" in told(report_of(run), "warning")


def checked(tmp_path: Path, preset: TextPreset) -> tuple[int, Any]:
    run = running.new_run(tmp_path / "check", preset)
    return check_process.main([str(run.path)]), run


def with_rows(tmp_path: Path, *rows: dict[str, Any]) -> dict[str, str]:
    file = tmp_path / "rows.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return {"train": str(file)}


def test_a_check_reports_every_method_that_is_there_with_a_step_measured(tmp_path: Path) -> None:
    for name, preset in PRESETS.items():
        run = running.new_run(tmp_path / name, preset(**running.on_disk(name, tmp_path)))
        assert check_process.main([str(run.path)]) == 0
        assert report_of(run).measured is not None
        assert running.of_kind(run, events.Step) == []


ALIKE = {"prompt": "p", "chosen": "same", "rejected": "same"}
ALIKE_AT_FIRST = {"prompt": "p", "chosen": "a" * 40 + "b", "rejected": "a" * 40 + "c"}
LONG = {"prompt": "q" * 40, "completion": "a"}
QUESTION = {"messages": [{"role": "user", "content": "a"}]}


@pytest.mark.parametrize(
    ("preset", "row", "message"),
    [
        (running.sft, LONG, "left out: nothing of the answer fits into 32 tokens (rows.jsonl, line 1)"),
        (running.sft, QUESTION, "left out: no token counts in the loss (rows.jsonl, line 1)"),
        (running.dpo, ALIKE, "no row can be used: both answers are the same (rows.jsonl, line 1)"),
        (running.dpo, ALIKE_AT_FIRST, "left out: both answers are the same within 32 tokens (rows.jsonl, line 1)"),
    ],
)
def test_a_check_refuses_data_from_which_nothing_would_be_learned(
    tmp_path: Path, preset: Any, row: dict[str, Any], message: str
) -> None:
    code, run = checked(tmp_path, preset(data=with_rows(tmp_path, row)))
    assert code == 2
    assert message in running.last_word(run).message


def test_a_run_that_would_not_fit_is_refused_with_the_number_that_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def too_large(*_: Any, **__: Any) -> None:
        raise TooLarge(16, 4, 512)

    monkeypatch.setattr("engine.rehearsal.report.rehearse", too_large)
    code, run = checked(tmp_path, running.sft())
    assert code == 2
    assert running.last_word(run).message == (
        "out of memory at the longest batch: 16 at once, of up to 512 tokens each\n"
        "set training.micro_batch_size to 4, which fits; the curve stays the same"
    )
    assert report_of(run).errors[0].key == "training.micro_batch_size"
    again = running.new_run(tmp_path / "run", running.sft())
    assert running.run_here(again) == running.FAILED
    assert "training.micro_batch_size to 4" in running.last_word(again).message


@pytest.mark.parametrize(
    ("norm", "sampled", "level", "what"),
    [
        (0.0, 0, "error", "the gradient of the longest batch is 0, so nothing would be learned"),
        (0.0, 5, "warning", "no sampled answer was better than another"),
        (math.nan, 0, "warning", "the gradient of the longest batch is nan"),
        (1.0, 0, "", ""),
    ],
)
def test_what_the_gradient_of_the_longest_batch_tells(
    tmp_path: Path, norm: float, sampled: int, level: str, what: str
) -> None:
    from engine.contract.findings import Measured
    from engine.rehearsal.report import _of_gradient

    measured = Measured(
        device="cpu", longest_seconds=1, step_seconds=1, run_seconds=1, peak_bytes=1, at_once=1, grad_norm=norm
    )
    found = list(_of_gradient(measured, Material([], no_update, sampled=sampled)))
    assert [(one.level, what in one.what) for one in found] == ([(level, True)] if level else [])
