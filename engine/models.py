"""The policy and its frozen reference: from hub, folder, GGUF, run directory or scratch; dtype, device, adapter."""

import contextlib
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import nn
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoTokenizer,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    PreTrainedTokenizerFast,
)

from engine.adapters import add_adapter, merged
from engine.checkpoint import is_whole, newest_whole, put_in_place, save_model
from engine.contract import settings
from engine.contract.preset import load_text_preset
from engine.contract.run_dir import RunDir, is_run_dir, read_json
from engine.data.byte_tokenizer import byte_tokenizer
from engine.lineage import run_of
from engine.virtual_tokens import count

#: Within a run: the model an adapter was trained on, where it exists nowhere else.
MERGED_BASE = "base"
#: How transformers names what gives numbers for a whole text.
CLASSIFIER = "ForSequenceClassification"


class ModelError(ValueError):
    """A model that cannot be used, in words for a person."""


@dataclass(frozen=True)
class Policy:
    """What is trained. model: the causal language model, or it inside peft's wrapper.

    reference: a frozen copy of where training began, or the model that was named in its place; None where switching
    the adapter off gives it back, or where the method asks for none.
    """

    model: nn.Module
    tokenizer: PreTrainedTokenizerBase
    has_adapter: bool
    reference: nn.Module | None = None

    def without_adapter(self) -> contextlib.AbstractContextManager[None]:
        """Within it, the model is what it was before an adapter was trained; without one nothing changes."""
        off: contextlib.AbstractContextManager[None] = contextlib.nullcontext()
        return self.model.disable_adapter() if self.has_adapter else off  # type: ignore[operator]

    @property
    def end_ids(self) -> list[int]:
        """Every token that ends an answer."""
        config = getattr(self.model, "generation_config", None)
        configured = getattr(config, "eos_token_id", None)
        ids = configured if isinstance(configured, list) else [configured]
        own = self.tokenizer.eos_token_id
        return sorted({i for i in [*ids, own] if isinstance(i, int)})

    @property
    def context(self) -> int | None:
        """The longest sequence the model can read, where it says so; virtual tokens take their part of it."""
        limit = getattr(self.model.config, "max_position_embeddings", None)
        return limit - count(self.model) if isinstance(limit, int) else None


def load_policy(
    preset: settings.Model,
    *,
    device: torch.device,
    dtype: torch.dtype,
    seed: int,
    with_reference: bool,
    merged_base: Path,
) -> Policy:
    """Load or build the model that `preset` names, add the adapter, keep a reference if asked.

    A weight that is trained is kept in float32; a frozen one, as under an adapter, in `dtype`.
    merged_base: where a frozen model is kept that exists nowhere else: from scratch, or with an adapter in it.
    Raises ModelError for a model that cannot be opened, AdapterError for one that cannot take the adapter.
    """
    weights = dtype if preset.adapter is not None else torch.float32
    model, tokenizer = open_model(preset, dtype=weights, seed=seed)
    model.to(device)  # type: ignore[arg-type]
    check_vocabulary(model, tokenizer)
    if preset.adapter is not None:
        if preset.path == "scratch" or is_adapter(locate(preset.path)):
            keep_base(model, tokenizer, merged_base)
        model = add_adapter(model, preset.adapter, tokenizer, seed=seed)  # type: ignore[assignment]
    has_adapter = preset.adapter is not None
    reference = None
    if with_reference and (preset.reference is not None or not has_adapter):
        reference = _open_reference(preset, tokenizer, dtype=dtype, seed=seed)
        reference.to(device).eval().requires_grad_(False)  # type: ignore[arg-type]
    return Policy(model, tokenizer, has_adapter=has_adapter, reference=reference)


def open_model(
    preset: settings.Model, *, dtype: torch.dtype, seed: int, auto: Any = AutoModelForCausalLM, **config: Any
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """The model and tokenizer at `preset.path`, without adapter or device. Raises ModelError.

    auto: the class of transformers that opens it, with what `config` says laid over the model's own configuration.
    """
    if preset.path != "scratch" and auto is AutoModelForCausalLM and gives_scores(preset.path):
        raise ModelError(
            f"model.path: {preset.path} is a reward model, which scores answers and writes none; "
            "name a language model, or measure this one with `evaluate`"
        )
    if preset.path == "scratch":
        assert preset.scratch is not None  # noqa: S101 - the preset was checked
        return _from_scratch(preset.scratch, seed, dtype, auto, config), byte_tokenizer()
    path = locate(preset.path)
    if is_adapter(path):
        return _with_merged_adapter(path, preset, dtype, auto, config)
    folder, extra = (str(path), {}) if path.is_dir() else (preset.path, {})
    if path.is_file():
        folder, extra = str(path.parent), {"gguf_file": path.name}
    options: dict[str, Any] = {"trust_remote_code": preset.trust_remote_code, **extra}
    try:
        tokenizer = _open_tokenizer(folder, options)
        quantized = _quantization(preset.quantization)
        model = auto.from_pretrained(folder, dtype=dtype, **options, **quantized, **config)
    except (OSError, ValueError, ImportError, KeyError, SafetensorError) as error:
        raise ModelError(_why_not(preset.path, error)) from error
    if path.is_file():
        # Its weights were turned back into floats; marked as quantised still, the model could not be saved.
        model.hf_quantizer.remove_quantization_config(model)
    return model, tokenizer


def _open_tokenizer(folder: str, options: dict[str, Any]) -> PreTrainedTokenizerBase:
    """As it was saved. AutoTokenizer goes by the model's family even where the file says that the tokenizer has no
    class of its own, and to one beside a Qwen2 model it adds a token that the model has no embedding for."""
    has_no_class = read_json(Path(folder) / "tokenizer_config.json").get("tokenizer_class") == "TokenizersBackend"
    kind: Any = PreTrainedTokenizerFast if has_no_class else AutoTokenizer
    tokenizer: PreTrainedTokenizerBase = kind.from_pretrained(folder, **options)
    return tokenizer


def open_for_use(preset: settings.Model, *, device: torch.device, dtype: torch.dtype) -> Policy:
    """The model as training left it, to be read and sampled: an adapter stays apart from its base, so it can be off.

    Raises ModelError.
    """
    folder = locate(preset.path)
    if is_adapter(folder) and not gives_scores(preset.path):
        model, tokenizer = adapter_on_its_base(folder, preset, dtype)
    else:
        model, tokenizer = open_model(preset, dtype=dtype, seed=0)
    check_vocabulary(model, tokenizer)
    model.to(device).eval().requires_grad_(False)
    return Policy(model, tokenizer, has_adapter=is_adapter(folder))


def _open_reference(
    preset: settings.Model, tokenizer: PreTrainedTokenizerBase, *, dtype: torch.dtype, seed: int
) -> PreTrainedModel:
    named = preset.reference or preset.path
    reference, reads = open_model(preset.model_copy(update={"path": named, "adapter": None}), dtype=dtype, seed=seed)
    if reads.get_vocab() != tokenizer.get_vocab():
        raise ModelError(
            f"model.reference: {named} reads other tokens than {preset.path}, so their probabilities cannot be "
            "compared; use a model with the same tokenizer"
        )
    return reference


def locate(path: str) -> Path:
    """The folder or file that `path` names; of a run directory, its newest model. Raises ModelError."""
    here = Path(path)
    return model_of_run(RunDir(here)) if here.is_dir() and is_run_dir(here) else here


def model_of_run(run: RunDir) -> Path:
    """The newest model of a run: its final one, else its newest whole checkpoint. Raises ModelError."""
    if (run.final / "config.json").is_file() or is_adapter(run.final):
        return run.final
    newest = newest_whole(run)
    if newest is None:
        raise ModelError(f"{run.path.name} has no model yet: no whole checkpoint and no final/")
    return newest


def choose_device(wish: str) -> torch.device:
    """`auto` takes a GPU if there is one. Raises ModelError if the wish cannot be met."""
    if wish == "auto":
        wish = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    if wish.startswith("cuda") and not torch.cuda.is_available():
        raise ModelError(f"model.device: {wish} was asked for, but PyTorch sees no GPU here; use auto or cpu")
    return torch.device(wish)


def choose_dtype(wish: str, device: torch.device) -> torch.dtype:
    """`auto` is bfloat16 on a GPU that has it. On a CPU float32 is faster at the widths that train there."""
    if wish != "auto":
        dtype: torch.dtype = getattr(torch, wish)
        return dtype
    has_bfloat16 = device.type == "cuda" and torch.cuda.is_bf16_supported()
    return torch.bfloat16 if has_bfloat16 else torch.float32


def _from_scratch(
    scratch: settings.Scratch, seed: int, dtype: torch.dtype, auto: Any, more: dict[str, Any]
) -> PreTrainedModel:
    """A model with random weights: the same seed gives the same ones, whatever was drawn before."""
    tokenizer = byte_tokenizer()
    marks = {"bos_token_id": None, "eos_token_id": tokenizer.eos_token_id, "pad_token_id": tokenizer.pad_token_id}
    size = {
        "vocab_size": len(tokenizer),
        "hidden_size": scratch.width,
        "intermediate_size": 4 * scratch.width,
        "num_hidden_layers": scratch.layers,
        "num_attention_heads": scratch.heads,
        "max_position_embeddings": scratch.context,
        # The usual 0.02 is meant for widths of thousands; a narrow model would sit on a plateau for minutes.
        "initializer_range": scratch.width**-0.5,
    }
    if scratch.family == "gpt2":
        names = {"hidden_size": "n_embd", "intermediate_size": "n_inner", "num_hidden_layers": "n_layer"}
        names |= {"num_attention_heads": "n_head", "max_position_embeddings": "n_positions"}
        size = {names.get(name, name): value for name, value in size.items()}
        no_dropout = {"resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0}
        config = AutoConfig.for_model("gpt2", **size, **marks, **no_dropout, **more)
    else:
        config = AutoConfig.for_model(scratch.family, **size, **marks, num_key_value_heads=scratch.heads, **more)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model: PreTrainedModel = auto.from_config(config, dtype=dtype)
    return model


def _with_merged_adapter(
    folder: Path, preset: settings.Model, dtype: torch.dtype, auto: Any, more: dict[str, Any]
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Training goes on from an adapter and its model merged."""
    model, tokenizer = adapter_on_its_base(folder, preset, dtype, auto, **more)
    return merged(model, str(folder)), tokenizer


def adapter_on_its_base(
    folder: Path, preset: settings.Model, dtype: torch.dtype, auto: Any = AutoModelForCausalLM, **more: Any
) -> tuple[Any, PreTrainedTokenizerBase]:
    """The model an adapter stands on, and it on top. Raises ModelError. auto, more: see open_model."""
    from peft import PeftConfig, PeftModel

    base, seed = base_of(folder, preset)
    model, tokenizer = open_model(base, dtype=dtype, seed=seed, auto=auto, **more)
    config = PeftConfig.from_pretrained(str(folder))
    if auto is not AutoModelForCausalLM:
        # With it peft wants the head that the adapter was trained under.
        config.task_type = None
    return PeftModel.from_pretrained(model, str(folder), config=config), tokenizer


def base_of(folder: Path, preset: settings.Model) -> tuple[settings.Model, int]:
    """The model that an adapter stands on, and the seed of one from scratch. Raises ModelError.

    The run that made the adapter knows it best: a GGUF file, or weights from scratch, have no name peft could give.
    """
    run = run_of(folder)
    if run is not None and is_whole(run.path / MERGED_BASE, deep=False):
        return _without_adapter(preset, str(run.path / MERGED_BASE)), 0
    if run is not None:
        own = load_text_preset(run.preset)
        base = _without_adapter(preset, own.model.path)
        return base.model_copy(update={"scratch": own.model.scratch}), own.seed
    named = read_json(folder / "adapter_config.json").get("base_model_name_or_path")
    if not named or Path(named) == folder:
        raise ModelError(f"{folder}: the adapter does not say which model it belongs to; name one that does")
    return _without_adapter(preset, named), 0


def _without_adapter(preset: settings.Model, path: str) -> settings.Model:
    # Whether to trust the author's code is asked of who opens it now, never of the run.
    return preset.model_copy(update={"path": path, "adapter": None})


def is_adapter(folder: Path) -> bool:
    """Whether a folder holds an adapter, which belongs to a model elsewhere."""
    return (folder / "adapter_config.json").is_file()


def gives_scores(path: str) -> bool:
    """Whether `path` names a reward model or another classifier of texts, or an adapter of one.

    Without this it would open as a language model whose head is noise.
    """
    folder = locate(path)
    if is_adapter(folder):
        return bool(read_json(folder / "adapter_config.json").get("task_type") == "SEQ_CLS")
    if folder.exists():
        kinds = read_json(folder / "config.json").get("architectures")
    else:
        try:
            kinds = PreTrainedConfig.get_config_dict(path)[0].get("architectures")
        except (OSError, ValueError):
            return False  # who opens it tells why it cannot be
    return any(str(kind).endswith(CLASSIFIER) for kind in kinds or [])


def keep_base(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, folder: Path) -> None:
    """Save the merged model, so that the adapter trained on it has a model to name and can be opened again."""
    if int(os.environ.get("RANK", "0")) == 0 and not is_whole(folder, deep=False):
        staging = folder.with_name(f".tmp-{folder.name}")
        shutil.rmtree(staging, ignore_errors=True)
        save_model(model, tokenizer, staging)
        put_in_place(staging, folder)
    model.name_or_path = str(folder)


def _quantization(kind: str) -> dict[str, Any]:
    if kind == "none":
        return {}
    from transformers import BitsAndBytesConfig

    if not torch.cuda.is_available():
        raise ModelError(f"model.quantization: {kind} needs a GPU; use none")
    bits: dict[str, Any] = {"load_in_8bit": True} if kind == "8bit" else {"load_in_4bit": True}
    if kind == "4bit":
        bits |= {"bnb_4bit_quant_type": "nf4", "bnb_4bit_compute_dtype": torch.bfloat16}
    return {"quantization_config": BitsAndBytesConfig(**bits)}


def check_vocabulary(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
    """Raises ModelError if the tokenizer knows tokens that the model does not."""
    rows = int(model.get_input_embeddings().weight.size(0))  # type: ignore[operator]
    if len(tokenizer) > rows:
        raise ModelError(
            f"the tokenizer knows {len(tokenizer):,} tokens but the model has embeddings for {rows:,}: "
            "they do not belong together; use the tokenizer that came with the model"
        )


def _why_not(path: str, error: Exception) -> str:
    reason = " ".join(str(error).split())
    if "couldn't connect" in reason.lower() or "offline" in reason.lower() or "not a valid model identifier" in reason:
        return (
            f"model.path: {path} is not a folder or file here, and the hub could not be reached or does not know it; "
            "check the spelling and the network, or give a folder or a .gguf file"
        )
    return f"model.path: {path} could not be opened: {reason[:300]}"
