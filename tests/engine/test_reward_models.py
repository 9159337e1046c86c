"""Reward models: from where they come, where a text is scored, what learns, and what `final/` gives elsewhere."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from torch import Tensor, nn
from transformers import (
    AutoConfig,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    PreTrainedTokenizerFast,
)

from engine.checkpoint import save_model
from engine.contract.preset import RewardModelPreset
from engine.contract.run_dir import RunDir
from engine.data.batching import pad_rows
from engine.data.byte_tokenizer import END, byte_tokenizer
from engine.data.chat import Example
from engine.logprobs import Rows
from engine.models import ModelError, Policy
from engine.reward_models import RewardScorer, is_encoder, last_tokens, load_reward_model, split_end
from tests.engine import running
from tests.engine.test_rankings import bert_tokenizer
from tests.tiny import FAMILIES, random_ids, tiny_model, tiny_reward_model, with_lora

SIDES = ("chosen", "rejected")
TEXTS = [random_ids(length, seed=length) for length in (3, 9, 6, 1)]


def rows_of(texts: list[list[int]], pad: int = 0, *, left: bool = False) -> Rows:
    rows = pad_rows([Example(ids, [False] * len(ids)) for ids in texts], pad)
    if not left:
        return rows
    shifts = [rows.is_token.shape[1] - len(ids) for ids in texts]
    return Rows(*(torch.stack([row.roll(by) for row, by in zip(t, shifts, strict=True)]) for t in rows))


def scores(model: nn.Module, rows: Rows) -> list[float]:
    with torch.no_grad():
        values: list[float] = RewardScorer(model)(rows).rewards.tolist()
    return values


def alone(model: PreTrainedModel, ids: list[int]) -> float:
    """What transformers gives a text by itself, where there is no padding to be mistaken."""
    with torch.no_grad():
        return float(model(input_ids=torch.tensor([ids])).logits[0, 0])


# ------------------------------------------------------------------------------------------- where a text is scored


@pytest.mark.parametrize("pad", [0, 1, 200], ids=["a pad of its own", "the end pads", "a letter pads"])
@pytest.mark.parametrize("left", [False, True], ids=["right", "left"])
@pytest.mark.parametrize("family", [*FAMILIES, "bloom"])
def test_a_decoder_scores_the_last_real_token_whatever_pads_and_on_which_side(
    family: str, left: bool, pad: int
) -> None:
    model = tiny_reward_model(family)
    ended = [[*ids, 1] for ids in TEXTS]
    expected = [alone(model, ids) for ids in ended]
    assert scores(model, rows_of(ended, pad, left=left)) == pytest.approx(expected, abs=2e-6)
    assert split_end(model) is not None


def test_an_encoder_scores_at_its_first_token() -> None:
    model = tiny_reward_model("bert")
    assert split_end(model) is None
    assert scores(model, rows_of(TEXTS)) == pytest.approx([alone(model, ids) for ids in TEXTS], abs=5e-6)


def test_the_last_token_is_read_from_the_mask() -> None:
    mask = torch.tensor([[1, 1, 0, 0], [0, 1, 1, 1], [1, 0, 0, 0]], dtype=torch.bool)
    assert last_tokens(mask).tolist() == [1, 3, 0]


def test_a_decoder_that_treats_its_score_in_a_way_of_its_own_is_run_whole() -> None:
    model: Any = tiny_reward_model()
    model.score.register_forward_hook(lambda module, given, result: result * given[0].shape[1])
    assert split_end(model) is None
    assert scores(model, rows_of([TEXTS[1]])) == [alone(model, TEXTS[1])]


@pytest.mark.parametrize(("family", "encodes"), [("llama", False), ("gpt2", False), ("qwen2", False), ("bert", True)])
def test_the_type_of_a_model_says_whether_it_encodes(family: str, encodes: bool) -> None:
    model = tiny_reward_model(family)
    assert is_encoder(model) is encodes
    head = "classifier" if encodes else "score"
    assert is_encoder(with_lora(model, task_type="SEQ_CLS", modules_to_save=[head])) is encodes


# --------------------------------------------------------------------------------------------- from where they come


def loaded(folder: Path, path: Path | str = "scratch", *, freeze: str = "nothing", **model: Any) -> Policy:
    preset = RewardModelPreset.model_validate(
        {
            "method": "reward_model",
            "model": {"path": str(path), "scratch": running.SCRATCH if path == "scratch" else None, **model},
            "data": {"train": "rows.jsonl"},
            "reward_model": {"freeze": freeze},
        }
    )
    return load_reward_model(preset, device=torch.device("cpu"), dtype=torch.float32, base=folder / "base")


def saved(folder: Path, model: nn.Module, tokenizer: PreTrainedTokenizerBase | None = None) -> Path:
    model.save_pretrained(str(folder))  # type: ignore[operator]
    (tokenizer or byte_tokenizer()).save_pretrained(str(folder))
    return folder


def head_of(policy: Policy) -> Tensor:
    model: Any = policy.model
    weight: Tensor = model.score.weight
    return weight


def test_a_language_model_keeps_its_weights_and_gets_a_head_drawn_by_seed(tmp_path: Path) -> None:
    base = tiny_model()
    path = saved(tmp_path / "model", base)
    first, second = loaded(tmp_path, path), loaded(tmp_path, path)
    assert torch.equal(head_of(first), head_of(second))
    assert float(head_of(first).detach().std()) > 0
    backbone: Any = first.model.model
    for name, value in base.model.state_dict().items():
        assert torch.equal(backbone.state_dict()[name], value), name


def test_a_reward_model_keeps_the_head_it_has(tmp_path: Path) -> None:
    model: Any = tiny_reward_model()
    assert torch.equal(head_of(loaded(tmp_path, saved(tmp_path / "model", model))), model.score.weight)


def test_an_adapter_of_a_language_model_is_merged_under_the_new_head(tmp_path: Path) -> None:
    base = tiny_model()
    base.name_or_path = str(saved(tmp_path / "base model", base))
    tuned: Any = with_lora(base)
    path = saved(tmp_path / "adapter", tuned)
    model: Any = loaded(tmp_path, path).model
    whole = tuned.merge_and_unload().model.state_dict()
    assert max(float((model.model.state_dict()[name] - whole[name]).abs().max()) for name in whole) < 1e-6


def test_scratch_is_the_same_model_for_the_same_seed(tmp_path: Path) -> None:
    first, second = loaded(tmp_path), loaded(tmp_path)
    for ours, theirs in zip(first.model.parameters(), second.model.parameters(), strict=True):
        assert torch.equal(ours, theirs)


def test_a_model_without_a_head_for_one_number_is_refused(tmp_path: Path) -> None:
    from transformers import XLNetConfig, XLNetForSequenceClassification

    sizes: dict[str, Any] = {"d_model": 16, "n_layer": 1, "n_head": 2, "d_inner": 16, "num_labels": 1}
    model = XLNetForSequenceClassification(XLNetConfig(vocab_size=258, **sizes))
    path = saved(tmp_path / "model", model)
    with pytest.raises(ModelError, match="xlnet model has no head that gives one score; use a decoder such as"):
        loaded(tmp_path, path)


def test_a_classifier_of_two_classes_is_refused(tmp_path: Path) -> None:
    path = saved(tmp_path / "model", tiny_model(auto=AutoModelForSequenceClassification, num_labels=2))
    with pytest.raises(ModelError, match="has a head for another number of labels"):
        loaded(tmp_path, path)


# ------------------------------------------------------------------------------------------------------ what learns


def learning(policy: Policy) -> set[str]:
    return {name for name, parameter in policy.model.named_parameters() if parameter.requires_grad}


def test_freezing_leaves_the_head_and_of_an_encoder_the_pooler(tmp_path: Path) -> None:
    decoder = saved(tmp_path / "decoder", tiny_model())
    encoder = saved(tmp_path / "encoder", tiny_reward_model("bert"), bert_tokenizer())
    assert learning(loaded(tmp_path, decoder, freeze="backbone")) == {"score.weight"}
    assert learning(loaded(tmp_path, decoder, freeze="all_but_head")) == {"score.weight"}
    head = {"classifier.weight", "classifier.bias"}
    pooler = {"bert.pooler.dense.weight", "bert.pooler.dense.bias"}
    assert learning(loaded(tmp_path, encoder, freeze="all_but_head")) == head
    assert learning(loaded(tmp_path, encoder, freeze="backbone")) == head | pooler
    assert len(learning(loaded(tmp_path, encoder))) > 30


@pytest.mark.parametrize(("family", "head"), [("llama", "score"), ("bert", "classifier")])
def test_beside_an_adapter_the_whole_head_learns(tmp_path: Path, family: str, head: str) -> None:
    tokenizer = bert_tokenizer() if family == "bert" else byte_tokenizer()
    path = saved(tmp_path / "model", tiny_reward_model(family), tokenizer)
    names = learning(loaded(tmp_path, path, adapter=running.LORA))
    assert (
        {name for name in names if "lora" not in name}
        == {name for name in names if f".{head}.modules_to_save." in name}
        != set()
    )


# ------------------------------------------------------------------------------------- final/, opened by the others


def marks_tokenizer(**marks: str) -> PreTrainedTokenizerFast:
    """Bytes, and only the given marks."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    names = [*dict.fromkeys(marks.values())]
    tokenizer = Tokenizer(models.BPE({token: index for index, token in enumerate([*names, *alphabet])}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, **marks)


def end_pads_tokenizer() -> PreTrainedTokenizerFast:
    """As SmolLM2's: the end pads, but there is another mark."""
    return marks_tokenizer(eos_token=END, pad_token=END, bos_token="<|start|>")  # noqa: S106 - a token of text


def one_mark_tokenizer() -> PreTrainedTokenizerFast:
    """As GPT-2's: one token ends a text, and there is no other that could pad."""
    return marks_tokenizer(eos_token=END)


def opened(final: Path, *, adapter: bool) -> tuple[Any, Any]:
    """As anybody opens it who knows transformers and peft; of an adapter, `config.json` says how the base is opened."""
    tokenizer = AutoTokenizer.from_pretrained(str(final))
    if not adapter:
        return AutoModelForSequenceClassification.from_pretrained(str(final)).eval(), tokenizer
    base = json.loads((final / "adapter_config.json").read_text())["base_model_name_or_path"]
    config = AutoConfig.from_pretrained(str(final))
    model: Any = AutoModelForSequenceClassification.from_pretrained(base, config=config)
    return PeftModel.from_pretrained(model, str(final)).eval(), tokenizer


def trained(folder: Path, path: Path, *, adapter: bool, **data: Any) -> RunDir:
    return running.done(
        folder / "run",
        running.reward_model(
            model={"path": str(path), "scratch": None, "adapter": running.LORA if adapter else None},
            data=data,
            training={"steps": 2, "eval_every": 2, "checkpoint_every": 0},
        ),
    )


@pytest.mark.parametrize("adapter", [False, True], ids=["all weights", "adapter"])
@pytest.mark.parametrize(
    ("family", "tokenizer"),
    [
        ("llama", byte_tokenizer),
        ("llama", end_pads_tokenizer),
        ("gpt2", one_mark_tokenizer),
        ("bert", bert_tokenizer),
    ],
)
def test_what_was_trained_gives_the_same_scores_where_transformers_opens_it(
    tmp_path: Path, family: str, tokenizer: Any, adapter: bool
) -> None:
    """In one padded batch, by the saved tokenizer; the mean and spread of what it measured are in the config."""
    pairs = running.uneven_pairs(tmp_path / "pairs.jsonl", 8)
    tokens = tokenizer()
    start = tiny_reward_model("bert") if family == "bert" else tiny_model(family, vocab_size=len(tokens))
    path = saved(tmp_path / "model", start, tokens)
    run = trained(tmp_path, path, adapter=adapter, train=str(pairs), eval=str(pairs))
    model, tokens = opened(run.final, adapter=adapter)
    rows = [json.loads(line) for line in pairs.read_text().splitlines()]
    prompts, answers = zip(
        *((row["prompt"], row[side]) for row in rows for side in ("chosen", "rejected")), strict=True
    )
    if family == "bert":
        batch = tokens(list(prompts), list(answers), padding=True, return_tensors="pt")
    else:
        texts = [prompt + answer + "<|end|>" for prompt, answer in zip(prompts, answers, strict=True)]
        batch = tokens(texts, padding=True, return_tensors="pt", return_token_type_ids=False)
    with torch.no_grad():
        found = model(**batch).logits[:, 0]
    [measured] = [values for kind, _, values in running.curve(run) if kind == "evaluation"]
    assert float(found.mean()) == pytest.approx(measured["eval_mean_reward"], abs=1e-5)
    assert float(found.std()) == pytest.approx(measured["eval_reward_std"], rel=1e-4)
    assert float(found.max()) == pytest.approx(measured["eval_max_reward"], abs=1e-5)
    config = json.loads((run.final / "config.json").read_text())
    assert (config["reward_mean"], config["reward_std"]) == pytest.approx(
        (measured["eval_mean_reward"], measured["eval_reward_std"]), rel=1e-5, abs=1e-6
    )


# ---------------------------------------------------------------------------------------------------- the real thing


@pytest.mark.real_model
def test_a_reward_model_from_a_gguf_file_opens_from_its_adapter_alone(smollm2_gguf: Path, tmp_path: Path) -> None:
    """peft cannot name a GGUF file, so the run keeps the model beside the adapter; the end token no longer pads."""
    policy = loaded(tmp_path, smollm2_gguf, adapter=running.LORA)
    model, tokenizer = policy.model, policy.tokenizer
    assert tokenizer.pad_token != tokenizer.eos_token
    save_model(model, tokenizer, tmp_path / "final")
    texts = ["2+2=4" + tokenizer.eos_token, "2+2=five, I would say" + tokenizer.eos_token]
    ids = [list(tokenizer(text)["input_ids"]) for text in texts]
    expected = scores(model, rows_of(ids, tokenizer.pad_token_id))
    again, tokens = opened(tmp_path / "final", adapter=True)
    with torch.no_grad():
        found = again(**tokens(texts, padding=True, return_tensors="pt")).logits[:, 0]
    assert found.tolist() == pytest.approx(expected, abs=1e-4)
