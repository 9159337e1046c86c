"""The sections of a preset. Each setting is declared once: form, tooltip, check and error read the same line.

Every class here is frozen and strict: a key it does not know and a value of the wrong type are errors.
"""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, Field, JsonValue, PlainSerializer

STRICT = {"frozen": True, "extra": "forbid", "strict": True}


def setting(
    default: Any = ..., help: str = "", *, unit: str = "", needs: str = "", main: bool = False, **bounds: Any
) -> Any:
    """A field with a one-line help, its unit, and bounds as pydantic spells them (gt, ge, lt, le, min_length).

    needs: the sibling setting, as `key`, `key=value` or `key=one|other`, without which this one has no effect.
    main: one of the few that a form shows at first sight.
    """
    about: dict[str, JsonValue] = {"unit": unit, "needs": needs, "main": main}
    return Field(default, description=help, json_schema_extra=about, **bounds)


NAME = setting(None, "what the run is called; letters, digits, - and _", pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$")
SEED = setting(0, "start of every random choice; the same seed gives the same run", ge=0, lt=2**32)
DTYPE = setting("auto", "number format of the arithmetic; auto is bfloat16 on a GPU that has it, else float32")
DEVICE = setting("auto", "auto, cpu, cuda, cuda:1 or mps", pattern=r"^(auto|cpu|cuda(:\d+)?|mps)$")

#: A count, or auto for what the engine finds out at start.
AutoOrCount = Annotated[int, Field(ge=1)] | Literal["auto"]

#: How rows share memory: padded to the longest, in one line, or in lines of about equal length.
Packing = Literal["none", "padding_free", "packed"]


class Scratch(BaseModel, **STRICT):
    family: Literal["llama", "gpt2", "qwen2"] = setting("llama", "architecture to build")
    layers: int = setting(3, "transformer blocks", ge=1, le=200)
    width: int = setting(128, "size of the hidden state", ge=8, le=65536)
    heads: int = setting(4, "attention heads; they divide the width", ge=1, le=512)
    context: int = setting(256, "longest sequence the model can read", unit="tokens", ge=8, le=1_000_000)
    tokenizer: Literal["bytes"] = setting("bytes", "every byte is a token; nothing to download")


#: Kinds of adapter: matrices beside the weights, and virtual tokens before every row.
LOW_RANK = "kind=lora|dora|rslora"
VIRTUAL = "kind=prompt_tuning|prefix_tuning"


class Adapter(BaseModel, **STRICT):
    kind: Literal["lora", "dora", "rslora", "prompt_tuning", "prefix_tuning"] = setting(
        "lora",
        "what is trained: low-rank matrices (LoRA 2106.09685, DoRA 2402.09353, rsLoRA 2312.03732) or virtual tokens"
        " (prompt tuning 2104.08691, prefix tuning 2101.00190)",
    )
    rank: int = setting(16, "rank of the added matrices", needs=LOW_RANK, ge=1, le=1024)
    alpha: float = setting(
        32.0, "scale of the added matrices; they count alpha / rank, for rslora alpha / √rank", needs=LOW_RANK, gt=0
    )
    dropout: float = setting(
        0.0, "share of adapter inputs dropped; off wherever a policy is compared", needs=LOW_RANK, ge=0, lt=1
    )
    targets: str | list[str] = setting(
        "all-linear", "layers that get one: all-linear, or a list of names", needs=LOW_RANK
    )
    virtual_tokens: int = setting(
        20, "trained tokens before every row; the model reads so many less", unit="tokens", needs=VIRTUAL, ge=1, le=4096
    )
    init_text: str | None = setting(
        None, "what the virtual tokens begin as; empty = random words", needs=VIRTUAL, min_length=1
    )

    @property
    def is_low_rank(self) -> bool:
        return self.kind in ("lora", "dora", "rslora")

    @property
    def described(self) -> str:
        """What is trained, in a few words."""
        if not self.is_low_rank:
            return f"{self.kind.replace('_', ' ')} with {self.virtual_tokens} virtual tokens"
        names = {"lora": "LoRA", "dora": "DoRA", "rslora": "rank-stabilised LoRA"}
        return f"{names[self.kind]} rank {self.rank}"


class Model(BaseModel, **STRICT):
    path: str = setting(
        help="hub id, folder, file.gguf, run directory, run:<name> for the newest run of that name, or scratch",
        main=True,
        min_length=1,
    )
    scratch: Scratch | None = setting(None, "the model to build", needs="path=scratch")
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = DTYPE
    device: str = DEVICE
    quantization: Literal["none", "8bit", "4bit"] = setting("none", "smaller weights on a GPU; needs an adapter")
    adapter: Adapter | None = setting(None, "train a small addition instead of all weights", main=True)
    reference: str | None = setting(
        None, "model that dpo, kto, grpo and ppo compare with, given as `path` is; empty = where training begins"
    )
    trust_remote_code: bool = setting(False, "run Python code that the model's author ships; only if you trust them")


class Source(BaseModel, **STRICT):
    path: str = setting(
        help="file.jsonl, .json, .csv, .parquet, hub id, task:<name> or labels:<set>", main=True, min_length=1
    )
    split: str = setting("train", "which split, where the source has several; tasks have train and test")
    rows: int | None = setting(None, "use only the first so many rows; for a task, how many to make", ge=1)
    weight: float | None = setting(
        None, "share of a step drawn from this source, beside the others' weights; empty = by its number of rows", gt=0
    )
    format: Literal[
        "auto",
        "text",
        "prompt",
        "prompt_completion",
        "messages",
        "sharegpt",
        "alpaca",
        "tokens",
        "preference",
        "hh",
        "unpaired",
        "ranking",
        "rating",
    ] = setting("auto", "form of the rows; auto recognises it by the columns")
    columns: dict[str, str] = setting(
        default_factory=dict, help="columns under other names, as prompt: question; ours first, then the source's"
    )
    seed: int = setting(0, "seed of a task's generator", ge=0)
    options: dict[str, Any] = setting(default_factory=dict, help="what the task's generator takes, by name")


def as_sources(value: Any) -> Any:
    """A list of mappings, of one source or several, each a mapping or its path alone."""
    items = value if isinstance(value, list) else [value]
    return [{"path": item} if isinstance(item, str) else item for item in items]


def as_written(sources: list[Any]) -> Any:
    """Sources in the shortest form: those of which only the path is said are their path."""
    brief = [s.path if s == type(s)(path=s.path) else s.model_dump(exclude_defaults=True) for s in sources]
    return brief[0] if len(brief) == 1 else brief


#: One source or a list; a source is its path or a mapping. Written back in the shortest form.
Sources = Annotated[list[Source], Field(min_length=1), BeforeValidator(as_sources), PlainSerializer(as_written)]


class Data(BaseModel, **STRICT):
    train: Sources = setting(help="what to learn from: one source or a list", main=True)
    eval: Sources | None = setting(None, "held-out source that measures and never trains")
    eval_share: float = setting(
        0.0, "hold out this share of the training prompts instead, chosen by seed; 0 = none", ge=0, lt=1
    )
    max_length: int = setting(1024, "longest row; longer ones are cut at the end", unit="tokens", ge=8, le=1_000_000)
    shuffle: bool = setting(True, "a new order each epoch, by seed")
    system_prompt: str | None = setting(None, "put before every conversation that has no system message")


class Optimizer(BaseModel, **STRICT):
    learning_rate: float = setting(1e-5, "size of a step of AdamW", main=True, ge=0, le=1)
    schedule: Literal["linear", "cosine", "constant"] = setting("linear", "how the learning rate falls to zero")
    warmup_steps: int = setting(0, "steps over which the learning rate rises from zero", unit="steps", ge=0)
    weight_decay: float = setting(0.0, "pull of the weights to zero", ge=0, le=10)
    max_grad_norm: float = setting(1.0, "longer gradients are scaled down to this length; 0 = never", ge=0)


class EarlyStopping(BaseModel, **STRICT):
    metric: str = setting("eval_loss", "the held-out measure to wait for", min_length=1)
    patience: int = setting(3, "end after so many evaluations without a better value", unit="evaluations", ge=1)
    min_delta: float = setting(0.0, "a value counts as better only if it is so by more than this", ge=0)


class Training(BaseModel, **STRICT):
    steps: int = setting(200, "optimiser steps in all", main=True, ge=1)
    batch_size: int = setting(16, "rows (prompts, pairs) one step learns from, over all processes", main=True, ge=1)
    micro_batch_size: AutoOrCount = setting(
        "auto",
        "rows in memory at once; gradients are summed exactly, so it changes memory and never the curve",
    )
    processes: int = setting(1, "GPUs of this machine, or CPU processes, that share each batch", ge=1, le=64)
    threads: AutoOrCount = setting("auto", "CPU threads of each process; auto measures at start")
    eval_every: int = setting(0, "measure on data.eval every so many steps; 0 = never", unit="steps", ge=0)
    eval_before: bool = setting(
        True, "measure before the first step, too: what every later value is compared with", needs="eval_every"
    )
    checkpoint_every: int = setting(50, "save every so many steps; 0 = only at the end", unit="steps", ge=0)
    keep_checkpoints: int = setting(2, "newest checkpoints to keep", ge=1)
    gradient_checkpointing: bool = setting(False, "less memory for about a third more time")
    on_nan: Literal["stop", "skip", "go_on"] = setting(
        "stop", "when loss or gradient is no number: end the run, leave that update out, or go on regardless"
    )
    early_stopping: EarlyStopping | None = setting(
        None, "end when a held-out measure gets no better; final/ then holds the best weights"
    )


SAMPLE_EVERY = setting(25, "write answers to held-out prompts every so many steps; 0 = never", unit="steps", ge=0)
SAMPLES = setting(16, "answers written each time", ge=1, le=1024)
SAMPLE_TOKENS = setting(64, "longest such answer", unit="tokens", ge=1)


class Sft(BaseModel, **STRICT):
    loss: Literal["nll", "dft"] = setting(
        "nll", "negative log-likelihood, or that weighed by the probability itself (dft, arXiv:2508.05629)"
    )
    neftune_alpha: float = setting(
        0.0, "size of random noise on the embeddings while training (arXiv:2310.05914); 0 = none, 5 is usual", ge=0
    )
    packing: Packing = setting(
        "padding_free",
        "rows padded to the longest, in one line, or in lines of data.max_length; it changes speed and memory alone",
    )
    completion_only: bool = setting(True, "learn the answers only, not the prompts")
    sample_every: int = SAMPLE_EVERY
    samples: int = SAMPLES
    sample_tokens: int = SAMPLE_TOKENS


#: When the reference is asked.
Reference = Literal["live", "cached"]
REFERENCE = setting(
    "live", "ask the reference in each step, or once for all: then it is kept on disk and leaves memory"
)

#: What makes a pair cost, in DPO.
PairLoss = Literal[
    "sigmoid",
    "hinge",
    "ipo",
    "ipo_sum",
    "robust",
    "exo_pair",
    "nca_pair",
    "bco_pair",
    "sppo_hard",
    "aot",
    "aot_unpaired",
    "apo_zero",
    "apo_down",
    "discopop",
    "sigmoid_norm",
]


class Dpo(BaseModel, **STRICT):
    loss: PairLoss = setting(
        "sigmoid", "what makes a pair cost; sigmoid is DPO itself, ipo averages over tokens, ipo_sum sums"
    )
    losses: dict[PairLoss, Annotated[float, Field(ge=0)]] = setting(
        default_factory=dict, help="several losses, each with its weight, summed; in place of `loss`"
    )
    beta: float = setting(
        0.1, "pull back to the reference model; the larger, the closer", unit="1/nat", main=True, gt=0
    )
    reference: Reference = REFERENCE
    label_smoothing: float = setting(
        0.0, "share of pairs taken to be the wrong way round; for sigmoid, robust, exo_pair and aot", ge=0, lt=0.5
    )
    margin: float = setting(
        0.0, "chosen should lead by this times the row's `margin` (ODPO, arXiv:2402.10571); for sigmoid; 0 = none", ge=0
    )
    sft_weight: float = setting(0.0, "weight of learning the chosen answers as in SFT beside it", ge=0)
    ld_alpha: float | None = setting(
        None, "weight of tokens beyond the length of the shorter answer (arXiv:2409.06411); empty = 1", ge=0, le=1
    )
    sample_every: int = SAMPLE_EVERY
    samples: int = SAMPLES
    sample_tokens: int = SAMPLE_TOKENS

    @property
    def kinds(self) -> dict[str, float]:
        """The losses that are summed, with their weights."""
        return {str(kind): weight for kind, weight in self.losses.items()} or {self.loss: 1.0}


class Kto(BaseModel, **STRICT):
    loss: Literal["kto", "apo_zero_unpaired"] = setting(
        "kto", "kto measures gains from how far the policy has come as a whole, apo_zero_unpaired from zero"
    )
    beta: float = setting(
        0.1, "pull back to the reference model; the larger, the closer", unit="1/nat", main=True, gt=0
    )
    reference: Reference = REFERENCE
    desirable_weight: float = setting(1.0, "weight of answers that are wanted", ge=0)
    undesirable_weight: float = setting(1.0, "weight of answers that are not", ge=0)
    sample_every: int = SAMPLE_EVERY
    samples: int = SAMPLES
    sample_tokens: int = SAMPLE_TOKENS


class Orpo(BaseModel, **STRICT):
    beta: float = setting(0.1, "weight of the odds ratio beside learning the chosen answers", main=True, gt=0)
    prompt_loss: bool = setting(True, "learn the prompts with the chosen answers, as the authors' code and TRL do")
    sample_every: int = SAMPLE_EVERY
    samples: int = SAMPLES
    sample_tokens: int = SAMPLE_TOKENS


class Simpo(BaseModel, **STRICT):
    beta: float = setting(2.0, "scale of the log-probability a token", unit="1/nat", main=True, gt=0)
    gamma: float = setting(1.0, "margin by which chosen answers should lead", main=True, ge=0)
    label_smoothing: float = setting(0.0, "share of pairs taken to be the wrong way round", ge=0, lt=0.5)
    sft_weight: float = setting(0.0, "weight of learning the chosen answers as in SFT beside it", ge=0)
    sample_every: int = SAMPLE_EVERY
    samples: int = SAMPLES
    sample_tokens: int = SAMPLE_TOKENS


class Cpo(BaseModel, **STRICT):
    loss: Literal["sigmoid", "hinge", "ipo"] = setting("sigmoid", "what makes a pair cost; ipo averages over tokens")
    beta: float = setting(0.1, "scale of the log-probability", unit="1/nat", main=True, gt=0)
    label_smoothing: float = setting(
        0.0, "share of pairs taken to be the wrong way round; for sigmoid", needs="loss=sigmoid", ge=0, lt=0.5
    )
    sft_weight: float = setting(1.0, "weight of learning the chosen answers as in SFT beside it", main=True, ge=0)
    sample_every: int = SAMPLE_EVERY
    samples: int = SAMPLES
    sample_tokens: int = SAMPLE_TOKENS


class RewardModel(BaseModel, **STRICT):
    margin: bool = setting(True, "ask each pair for the difference in its column `margin`, where the data has one")
    centring: float = setting(
        0.0,
        "pull of scores to 0, which pairs leave open (arXiv:2312.09244); 0.01 is usual, 0 = none",
        main=True,
        ge=0,
    )
    freeze: Literal["nothing", "backbone", "all_but_head"] = setting(
        "nothing", "what stays as loaded; beside the head, backbone leaves an encoder's pooler to learn"
    )
