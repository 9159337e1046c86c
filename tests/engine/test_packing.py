"""A batch in one line, each shared prompt once, is scored as its rows are, gradients included."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from engine.contract.preset import DpoPreset
from engine.data.chat import Example
from engine.data.preferences import Pair
from engine.logprobs import Rows, TokenScorer
from engine.methods.dpo import dpo
from engine.packing import IMPLEMENTATION, Line, line_up, line_up_groups
from tests.tiny import FAMILIES, bench_of, random_ids, rows_of, tiny_model, tiny_policy, with_lora

PROMPTS = [random_ids(9, seed=1), random_ids(2, seed=3), random_ids(1, seed=5)]
CHOSEN = [random_ids(6, seed=2), random_ids(11, seed=4), random_ids(1, seed=6)]
REJECTED = [random_ids(3, seed=7), random_ids(4, seed=8), random_ids(5, seed=9)]
ROWS = rows_of([*zip(PROMPTS, CHOSEN, strict=True), *zip(PROMPTS, REJECTED, strict=True)])
SHARED = [len(prompt) for prompt in PROMPTS]


def scores_and_gradients(model: nn.Module, rows: Rows, line: Line | None) -> tuple[Tensor, dict[str, Tensor]]:
    """Of a loss in which every answer and every token counts differently."""
    model.zero_grad()
    scores = TokenScorer(model)(rows, line=line)
    (scores.logps * torch.linspace(-1, 2, len(scores.logps))).sum().backward()
    return scores.logps.detach(), {name: p.grad for name, p in model.named_parameters() if p.grad is not None}


def test_a_line_holds_each_shared_prompt_once_and_no_padding() -> None:
    is_token = torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0], [1, 1, 1, 0], [1, 1, 1, 0]]).bool()
    line = line_up(is_token, [2, 1])  # row 2 begins as row 0 does, row 3 as row 1
    assert line.first.tolist() == [0, 1, 2, 3, 4, 5, 10, 13, 14]
    assert line.places.tolist() == [[0, 1, 2, 3], [4, 5, 0, 0], [0, 1, 6, 0], [4, 7, 8, 0]]
    assert [again.tolist() for again in line.again] == [[8, 9, 12]]
    assert [again.tolist() for again in line.again_in_line] == [[0, 1, 4]]


@pytest.mark.parametrize(
    "shared", [SHARED, [0, 2, 1], []], ids=["shared prompts", "shared in part", "no padding alone"]
)
@pytest.mark.parametrize("lora", [False, True], ids=["full", "lora"])
@pytest.mark.parametrize("family", FAMILIES)
def test_a_line_is_scored_as_its_rows_are_gradients_included(family: str, lora: bool, shared: list[int]) -> None:
    model: nn.Module = tiny_model(family)
    model = with_lora(model) if lora else model  # type: ignore[arg-type]
    expected, wanted = scores_and_gradients(model, ROWS, None)
    assert TokenScorer(model).reads_lines()
    found, given = scores_and_gradients(model, ROWS, line_up(ROWS.is_token, shared))
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=2e-6)
    assert given.keys() == wanted.keys()
    largest = max(float(gradient.abs().max()) for gradient in wanted.values())
    assert max(float((given[name] - wanted[name]).abs().max()) for name in wanted) < 1e-6 * largest


@pytest.mark.parametrize("family", FAMILIES)
def test_groups_that_share_their_prompts_are_scored_as_rows_gradients_included(family: str) -> None:
    """Three answers to a prompt, one to the next, two to a third; of each group the prompt stands once."""
    asked = [PROMPTS[index] for index in (0, 0, 0, 1, 2, 2)]
    rows = rows_of([*zip(asked, [*CHOSEN, *REJECTED], strict=True)])
    line = line_up_groups(rows.is_token, [0, 9, 9, 0, 0, 1], [0, 0, 0, 3, 4, 4])
    assert len(line.first) == sum(map(len, [*PROMPTS, *CHOSEN, *REJECTED]))
    assert [len(again) for again in line.again] == [9 + 1, 9]
    model = tiny_model(family)
    expected, wanted = scores_and_gradients(model, rows, None)
    assert TokenScorer(model).reads_lines()
    found, given = scores_and_gradients(model, rows, line)
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=2e-6)
    largest = max(float(gradient.abs().max()) for gradient in wanted.values())
    assert max(float((given[name] - wanted[name]).abs().max()) for name in wanted) < 1e-6 * largest


def test_a_token_of_one_answer_changes_nothing_of_the_other() -> None:
    scorer = TokenScorer(tiny_model())
    assert scorer.reads_lines()
    line = line_up(ROWS.is_token, SHARED)
    ids = ROWS.input_ids.clone()
    ids[0, len(PROMPTS[0])] += 1
    before, after = (scorer(ROWS._replace(input_ids=given), line=line).logps for given in (ROWS.input_ids, ids))
    changed = (before != after).nonzero().flatten().tolist()
    assert changed == list(range(len(CHOSEN[0])))


def test_gradient_checkpointing_reads_the_line_again() -> None:
    model = tiny_model()
    assert TokenScorer(model).reads_lines()
    line = line_up(ROWS.is_token, SHARED)
    expected = scores_and_gradients(model, ROWS, line)
    model.gradient_checkpointing_enable({"use_reentrant": False})
    model.train()
    found = scores_and_gradients(model, ROWS, line)
    assert torch.equal(found[0], expected[0])
    assert all(torch.equal(found[1][name], expected[1][name]) for name in expected[1])


@pytest.mark.parametrize(
    ("family", "extra"),
    [
        ("bloom", {}),  # places its tokens by distance, past the interface
        ("mamba", {}),  # carries a state along
        ("mistral", {"sliding_window": 4}),
        ("gemma2", {"head_dim": 8, "sliding_window": 4}),
        ("llama", {"attn_implementation": "eager"}),
    ],
)
def test_a_model_that_would_read_a_line_as_something_else_is_given_rows(family: str, extra: dict[str, Any]) -> None:
    model = tiny_model(family, **extra)
    before = model.config._attn_implementation
    assert not TokenScorer(model).reads_lines()
    assert model.config._attn_implementation == before


def test_a_model_that_reads_lines_is_saved_as_any_other(tmp_path: Path) -> None:
    model = tiny_model()
    assert TokenScorer(model).reads_lines()
    assert model.config._attn_implementation == IMPLEMENTATION
    model.save_pretrained(tmp_path)
    assert IMPLEMENTATION not in (tmp_path / "config.json").read_text()


@pytest.mark.parametrize(("family", "reads"), [("llama", True), ("bloom", False)])
def test_dpo_gives_lines_to_the_models_that_read_them(family: str, reads: bool, tmp_path: Path) -> None:
    preset = DpoPreset.model_validate(
        {
            "method": "dpo",
            "model": {"path": "some/model"},
            "data": {"train": "x.jsonl"},
            "training": {"batch_size": 2},
        }
    )
    rows = [{"prompt": "2+2=", "chosen": "4", "rejected": "five"}, {"prompt": "x", "chosen": "yz", "rejected": "zy"}]
    bench = bench_of(tiny_policy(family, lora=True), tmp_path, train=rows)
    [update] = dpo(preset, bench).batches(1)
    [batch] = update.micro_batches
    assert (batch.line is not None) == reads
    if reads:  # "2+2=4." and "five.", "xyz." and "zy."
        assert len(batch.line.first) == 4 + 2 + 5 + 1 + 3 + 3
    assert update.tokens == int(batch.rows.is_token.sum())


def test_a_pair_shares_what_comes_before_both_answers() -> None:
    def example(ids: list[int], begins: int) -> Example:
        return Example(ids, [index >= begins for index in range(len(ids))])

    assert Pair(example([1, 2, 3, 4], 2), example([1, 2, 3, 5], 2)).shared == 2
    assert Pair(example([1, 2, 3, 4], 3), example([1, 2, 3, 5], 2)).shared == 2
    assert Pair(example([1, 9, 3, 4], 3), example([1, 2, 3, 5], 3)).shared == 1
