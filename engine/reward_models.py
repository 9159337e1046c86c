"""Reward models: a decoder or an encoder whose head gives one number for a whole text; from hub, folder, GGUF, run or
scratch, as policies are.

A decoder gives its score at the last token, an encoder at [CLS]. Both are transformers' `…ForSequenceClassification`,
so what is saved opens anywhere and gives the same numbers.
"""

import math
from dataclasses import dataclass
from inspect import signature
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from transformers import (
    AutoConfig,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.models.auto.modeling_auto import MODEL_FOR_MASKED_LM_MAPPING_NAMES as OF_MASKED_WORDS

from engine.adapters import add_adapter
from engine.contract import settings
from engine.contract.preset import RewardModelPreset
from engine.contract.run_dir import read_json
from engine.data.byte_tokenizer import PAD
from engine.data.chat import ChatEncoder, Example
from engine.data.rankings import Reader, as_one_text, as_two_segments
from engine.data.rows import Row
from engine.logprobs import Rows, takes_positions
from engine.models import (
    ModelError,
    Policy,
    adapter_on_its_base,
    check_vocabulary,
    gives_scores,
    is_adapter,
    keep_base,
    locate,
    open_model,
)

#: What architectures call the layer that gives the number.
HEADS = ("score", "classifier")


def load_reward_model(preset: RewardModelPreset, *, device: torch.device, dtype: torch.dtype, base: Path) -> Policy:
    """Load or build what `preset.model` names, with a head for one number, its adapter, and what is to learn.

    A head that the model does not have yet is drawn by seed. A weight that is trained is kept in float32; a frozen one
    under an adapter in `dtype`. base: where that frozen model is kept if nothing else could open it by a name.
    Raises ModelError.
    """
    own, adapter = preset.model, preset.model.adapter
    with torch.random.fork_rng():
        torch.manual_seed(preset.seed)
        model, tokenizer = _open(own, dtype=torch.float32 if adapter is None else dtype, seed=preset.seed)
        check_vocabulary(model, tokenizer)
        has_grown = not is_encoder(model) and _pad_apart(model, tokenizer)
        head = _head(model)
        getattr(model, head).float()
        model.to(device)  # type: ignore[arg-type]
        if adapter is None:
            _freeze(model, head, preset.reward_model.freeze)
            return Policy(model, tokenizer, has_adapter=False)
        path = Path(own.path)
        if has_grown or own.path == "scratch" or path.is_file() or is_adapter(locate(own.path)):
            keep_base(model, tokenizer, base)
        wrapped = add_adapter(model, adapter, tokenizer, seed=preset.seed, head=head)
        return Policy(wrapped, tokenizer, has_adapter=True)


def open_reward_model(preset: settings.Model, *, device: torch.device, dtype: torch.dtype) -> Policy:
    """A reward model as it was saved, to score with; from a run, a folder, an adapter's folder or the hub.

    Raises ModelError, also for a model that has no head for scores, as one drawn at random would score at random.
    """
    if not gives_scores(preset.path):
        raise ModelError(
            f"model.path: {preset.path} is no reward model, as it has no head that scores; "
            "name a run of reward_model, or a model for sequence classification"
        )
    folder = locate(preset.path)
    model: Any
    if is_adapter(folder):
        model, tokenizer = reward_adapter(folder, preset, dtype)
    else:
        model, tokenizer = _open(preset, dtype=dtype, seed=0)
    check_vocabulary(_unwrapped(model), tokenizer)
    head = _head(_unwrapped(model))
    if not is_encoder(model):
        getattr(_unwrapped(model), head).float()
    model.to(device).eval().requires_grad_(False)
    return Policy(model, tokenizer, has_adapter=is_adapter(folder))


def reward_adapter(folder: Path, preset: settings.Model, dtype: torch.dtype) -> tuple[Any, PreTrainedTokenizerBase]:
    """A reward model's adapter on its base, with what training wrote beside it. Raises ModelError.

    The base may be a language model: what pads, and how scores spread, only the adapter's folder knows.
    """
    model, tokenizer = adapter_on_its_base(folder, preset, dtype, AutoModelForSequenceClassification, num_labels=1)
    told = read_json(folder / "config.json")
    own = _unwrapped(model).config
    for name in ("reward_mean", "reward_std"):
        if name in told:
            setattr(own, name, told[name])
    if (folder / "tokenizer_config.json").is_file():
        tokenizer = AutoTokenizer.from_pretrained(str(folder))
    if told.get("pad_token_id") is not None:
        own.get_text_config().pad_token_id = told["pad_token_id"]
    return model, tokenizer


def is_encoder(model: nn.Module) -> bool:
    """Whether a model of this type reads in both directions and sums a text up at its first token."""
    config: PreTrainedConfig = _unwrapped(model).config
    return config.model_type in OF_MASKED_WORDS and not config.is_encoder_decoder


def reader_for(policy: Policy, *, system_prompt: str | None) -> Reader:
    """How an answer with its prompt is put into tokens for this reward model."""
    if is_encoder(policy.model):
        return as_two_segments(policy.tokenizer, system_prompt=system_prompt)
    read = as_one_text(ChatEncoder(policy.tokenizer, system_prompt=system_prompt))
    pad = _unwrapped(policy.model).config.get_text_config().pad_token_id
    # None of ours is so. transformers scores others before their end token, where they were trained to be scored.
    return _without_trailing(pad, read) if pad == policy.tokenizer.eos_token_id else read


def _without_trailing(token: int, read: Reader) -> Reader:
    def shortened(row: Row) -> Example:
        example = read(row)
        length = len(example.ids)
        while length > 1 and example.ids[length - 1] == token:
            length -= 1
        return example._replace(ids=example.ids[:length], is_target=example.is_target[:length])

    return shortened


class Rewards(NamedTuple):
    """rewards: (B,), one score a row, with gradient."""

    rewards: Tensor


class RewardScorer(nn.Module):
    """Scores whole texts. This is the module that `accelerate` wraps, so gradients of every process meet.

    Where a text ends is read from the mask, never from the pad's id, so it does not matter which token pads, nor on
    which side. A row's targets are its answer: to an encoder that knows segments, the second.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model
        self._end = split_end(model)

    def forward(self, rows: Rows) -> Rewards:
        if self._end is None:
            logits: Tensor = self.model(**_inputs(rows), **_segments(self.model, rows)).logits
            return Rewards(logits[:, 0].float())
        return Rewards(self._end(rows))


@dataclass(frozen=True)
class End:
    """The way from a decoder's hidden state at the last token of each row to its score.

    Not a module: its parts belong to the model, and a second registration would list the weights twice.
    """

    backbone: nn.Module
    score: nn.Module

    def __call__(self, rows: Rows) -> Tensor:
        """(B,) scores, in float32: bfloat16 tells apart 3 digits, and pairs differ in less."""
        hidden = self.states(rows)
        return self.scores(hidden[torch.arange(len(hidden), device=hidden.device), last_tokens(rows.is_token)])

    def states(self, rows: Rows) -> Tensor:
        """The last hidden state at every position, (B, T, width)."""
        positions = (rows.is_token.long().cumsum(dim=1) - 1).clamp(min=0)
        where = {"position_ids": positions} if takes_positions(self.backbone) else {}
        hidden: Tensor = self.backbone(**_inputs(rows), **where, use_cache=False).last_hidden_state
        return hidden

    def scores(self, states: Tensor) -> Tensor:
        """(N, width) to (N,)."""
        with torch.autocast(states.device.type, enabled=False):
            score: Tensor = self.score(states.float())
        return score.squeeze(-1)


def last_tokens(is_token: Tensor) -> Tensor:
    """Index of the last real token of each row, (B,), with padding on either side. is_token: (B, T)."""
    places = torch.arange(is_token.shape[1], device=is_token.device)
    return (places * is_token).argmax(dim=1)


def split_end(model: nn.Module) -> End | None:
    """A decoder's way to its score; None for an encoder, and where it cannot be told apart: those sum up by themselves.

    Architectures differ, so the split is believed only after it has given the model's own score of a few tokens.
    """
    base = _unwrapped(model)
    backbone = getattr(base, getattr(base, "base_model_prefix", "") or "", None)
    score = getattr(base, "score", None)
    if is_encoder(base) or not isinstance(backbone, nn.Module) or not isinstance(score, nn.Module):
        return None
    end = End(backbone, score)
    return end if _agrees(base, end) else None


@torch.no_grad()
def _agrees(base: Any, end: End) -> bool:
    pad = base.config.get_text_config().pad_token_id
    device, dtype = base.device, next(end.backbone.parameters()).dtype
    ids = torch.tensor([[i for i in range(5) if i != pad][:4]], device=device)
    try:
        with torch.autocast(device.type, dtype=dtype, enabled=dtype != torch.float32):
            whole = base(input_ids=ids, use_cache=False).logits[:, 0]
            split = end(Rows(ids, torch.ones_like(ids, dtype=torch.bool), torch.zeros_like(ids, dtype=torch.bool)))
    except (AttributeError, TypeError, RuntimeError):
        return False
    return bool(torch.allclose(whole.float(), split, rtol=1e-2 if dtype != torch.float32 else 1e-3, atol=1e-2))


def _unwrapped(model: nn.Module) -> Any:
    unwrap = getattr(model, "get_base_model", None)  # peft's wrapper has one
    return model if unwrap is None else unwrap()


def _inputs(rows: Rows) -> dict[str, Tensor]:
    return {"input_ids": rows.input_ids, "attention_mask": rows.is_token.long()}


def _segments(model: nn.Module, rows: Rows) -> dict[str, Tensor]:
    """Which tokens are the answer's, for an encoder that was trained with two segments."""
    base = _unwrapped(model)
    takes_segments = "token_type_ids" in signature(type(base).forward).parameters
    knows_two = getattr(base.config, "type_vocab_size", 0) > 1
    return {"token_type_ids": rows.is_target.long()} if takes_segments and knows_two else {}


def stored_spread(path: str) -> tuple[float, float]:
    """Mean and deviation of a reward model's scores, as stored with it; 0 and 1 where they are not."""
    folder = locate(path)
    # Of an adapter, they lie in the config beside it, not in that of its base.
    stored = read_json(folder / "config.json") if folder.exists() else AutoConfig.from_pretrained(path).to_dict()
    mean, std = stored.get("reward_mean"), stored.get("reward_std")
    if not (isinstance(mean, float) and isinstance(std, float) and math.isfinite(mean) and 0 < std < math.inf):
        return 0.0, 1.0
    return mean, std


def reads_tokens_of(path: str, policy: PreTrainedTokenizerBase) -> bool:
    """Whether the model at `path` is a decoder to which every token of the policy is the same token."""
    folder = locate(path)
    named = str(folder) if folder.exists() else path
    try:
        config = AutoConfig.from_pretrained(named)
        tokenizer = AutoTokenizer.from_pretrained(named)
    except (OSError, ValueError):
        # An adapter has no config of its own where its base is a name; then its tokenizer alone is asked.
        config, tokenizer = None, AutoTokenizer.from_pretrained(named)
    return (config is None or config.model_type not in OF_MASKED_WORDS) and same_tokens(policy, tokenizer)


def same_tokens(policy: PreTrainedTokenizerBase, other: PreTrainedTokenizerBase) -> bool:
    """Whether every token of the policy is the same token to another model, which may know a few more."""
    known = other.get_vocab()
    return all(known.get(token) == index for token, index in policy.get_vocab().items())


def head_of(model: nn.Module) -> nn.Module:
    """The layer that gives the score, of a model in peft's wrapper or not."""
    base = _unwrapped(model)
    head: nn.Module = getattr(base, _head(base))
    return head


def _open(preset: settings.Model, *, dtype: torch.dtype, seed: int) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    auto = AutoModelForSequenceClassification
    try:
        return open_model(preset, dtype=dtype, seed=seed, auto=auto, num_labels=1)
    except RuntimeError as error:
        if "mismatched" not in str(error):
            raise
        remedy = "use the model that it was made from, or a reward model"
        raise ModelError(f"model.path: {preset.path} has a head for another number of labels; {remedy}") from error


def _head(model: PreTrainedModel) -> str:
    found = next((name for name in HEADS if isinstance(getattr(model, name, None), nn.Module)), None)
    if found is None:
        raise ModelError(
            f"model.path: a {model.config.model_type} model has no head that gives one score; "
            "use a decoder such as Llama, Qwen or GPT-2, or an encoder of the BERT family"
        )
    return found


def _freeze(model: PreTrainedModel, head: str, what: str) -> None:
    """Keep part of the model as it was loaded; beside the head, `backbone` lets the pooler before it learn."""
    if what == "all_but_head":
        model.requires_grad_(False)
        getattr(model, head).requires_grad_(True)
    elif what == "backbone":
        backbone: Any = getattr(model, model.base_model_prefix)
        backbone.requires_grad_(False)
        pooler = getattr(backbone, "pooler", None)
        if pooler is not None:
            pooler.requires_grad_(True)


def _pad_apart(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> bool:
    """Let a token pad that ends no text. Returns whether the embeddings had to grow for it.

    transformers takes a text to end at its last token that is not the pad. Where the end token pads, it would score
    one token too early; training would not notice, but whoever opens the model would get other numbers.
    """
    end = tokenizer.eos_token
    if tokenizer.pad_token is None or tokenizer.pad_token == end:
        others = [tokenizer.unk_token, tokenizer.bos_token, *tokenizer.all_special_tokens]
        spare = next((token for token in others if token is not None and token != end), PAD)
        tokenizer.add_special_tokens({"pad_token": spare})
    model.config.get_text_config().pad_token_id = tokenizer.pad_token_id
    has_grown = len(tokenizer) > int(model.get_input_embeddings().weight.size(0))  # type: ignore[operator]
    if has_grown:
        model.resize_token_embeddings(len(tokenizer))
    return has_grown
