"""The README.md that goes with a trained model: what it is, where it comes from, what it learned from, how well."""

import json
from typing import Any

from engine.contract import measures, metrics
from engine.contract.preset import TextPreset, preset_text
from engine.contract.run_dir import RunDir, read_json
from engine.contract.status import summarise
from engine.lineage import ancestors
from engine.starting.resolution import HUB_ID, looks_like_a_path

TITLES = {
    "sft": "supervised fine-tuning",
    "reward_model": "reward modelling (Bradley-Terry)",
    "dpo": "direct preference optimisation (DPO)",
    "kto": "Kahneman-Tversky optimisation (KTO)",
    "orpo": "odds-ratio preference optimisation (ORPO)",
    "simpo": "simple preference optimisation (SimPO)",
    "cpo": "contrastive preference optimisation (CPO)",
    "ppo": "proximal policy optimisation (PPO)",
    "grpo": "group-relative policy optimisation (GRPO)",
    "best_of_n": "fine-tuning on its own best answers (best of N)",
    "online_dpo": "direct preference optimisation on its own answers (online DPO)",
    "distill": "distillation from a teacher (GKD)",
}
SCORING = (
    "from transformers import AutoModelForSequenceClassification",
    'model = AutoModelForSequenceClassification.from_pretrained("this folder")',
)
#: peft's own short way would give the base a head of two numbers.
SCORING_ADAPTER = (
    "from peft import PeftConfig, PeftModel",
    "from transformers import AutoConfig, AutoModelForSequenceClassification",
    'base = PeftConfig.from_pretrained("this folder").base_model_name_or_path',
    'config = AutoConfig.from_pretrained("this folder")',
    "model = AutoModelForSequenceClassification.from_pretrained(base, config=config)",
    'model = PeftModel.from_pretrained(model, "this folder")',
)
HOW_IT_SCORES = (
    "`model(**tokens).logits[:, 0]` is the score of an answer with its prompt before it, larger is better; only "
    "differences between answers to one prompt mean something. A decoder reads the conversation as the tokenizer's "
    "chat template writes it, or without a template prompt, answer and end token as one text; an encoder reads "
    "`tokenizer(prompt, answer)`. `reward_mean` and `reward_std` in `config.json` are mean and spread of its scores."
)


def model_card(run: RunDir, preset: TextPreset, *, is_adapter: bool | None = None, step: int | None = None) -> str:
    """A model card in the hub's form: YAML front matter, then Markdown.

    is_adapter: whether the weights beside it are an adapter alone; without it, whether the run trained one.
    step: the one they are from; without it, the run's last.
    """
    is_adapter = preset.model.adapter is not None if is_adapter is None else is_adapter
    parts = [
        _front_matter(preset, is_adapter=is_adapter),
        [f"# {_title(run, preset)}", "", _summary(run, preset, is_adapter=is_adapter, step=step)],
        _how_to_open(preset, is_adapter=is_adapter),
        _figures(run, preset, step),
        _evaluations(run),
        _parents(run),
        _data(run, preset),
        ["## The preset that makes it again", "", "```yaml", preset_text(preset).rstrip(), "```"],
    ]
    return "\n\n".join("\n".join(part) for part in parts if part) + "\n"


def _front_matter(preset: TextPreset, *, is_adapter: bool) -> list[str]:
    began_with = preset.model.path
    on_hub = bool(HUB_ID.match(began_with)) and not looks_like_a_path(began_with) and began_with != "scratch"
    relation = "adapter" if is_adapter else "finetune"
    base = [f"base_model: {began_with}", f"base_model_relation: {relation}"] if on_hub else []
    library = "peft" if is_adapter else "transformers"
    task = "text-classification" if preset.method == "reward_model" else "text-generation"
    about = [f"library_name: {library}", f"pipeline_tag: {task}", f"tags: [plumbline, {preset.method}]"]
    return ["---", *about, *base, "---"]


def _title(run: RunDir, preset: TextPreset) -> str:
    return f"{run.name}, a reward model" if preset.method == "reward_model" else run.name


def _summary(run: RunDir, preset: TextPreset, *, is_adapter: bool, step: int | None) -> str:
    adapter = preset.model.adapter
    what = f"trained from `{preset.model.path}`"
    if adapter is not None:
        what = f"{adapter.described} for `{preset.model.path}`" + ("" if is_adapter else ", merged into it")
    data = ", ".join(f"`{source.path}`" for source in preset.data.train)
    method = TITLES.get(preset.method, preset.method)
    steps = summarise(run).step if step is None else step
    return f"This is {what}, by {method} on {data}, {steps} steps of {preset.training.batch_size}."


def _how_to_open(preset: TextPreset, *, is_adapter: bool) -> list[str]:
    if preset.method == "reward_model":
        return [*_python(*(SCORING_ADAPTER if is_adapter else SCORING)), "", HOW_IT_SCORES]
    if not is_adapter:
        kind = "AutoModelForCausalLM"
        return _python(f"from transformers import {kind}", f'model = {kind}.from_pretrained("this folder")')
    if preset.model.path.lower().endswith(".gguf"):
        folder, _, gguf = preset.model.path.rpartition("/")
        return _python(
            "from peft import PeftModel",
            "from transformers import AutoModelForCausalLM",
            f'base = AutoModelForCausalLM.from_pretrained("{folder}", gguf_file="{gguf}")',
            'model = PeftModel.from_pretrained(base, "this folder")',
        )
    kind = "AutoPeftModelForCausalLM"
    return _python(f"from peft import {kind}", f'model = {kind}.from_pretrained("this folder")')


def _python(*lines: str) -> list[str]:
    return ["```python", *lines, "```"]


def _figures(run: RunDir, preset: TextPreset, step: int | None) -> list[str]:
    summary = summarise(run)
    if step is not None and step != summary.step:
        return []  # they are those of the last step, not of this model
    names = [*metrics.board(preset.method), *metrics.more(preset.method)]
    known = [name for name in names if name in summary.values]
    rows = [f"| {metrics.describe(name).title} (`{name}`) | {summary.values[name]:.4g} |" for name in known]
    return ["| at the last step | |", "|---|---|", *rows] if rows else []


def _evaluations(run: RunDir) -> list[str]:
    """The newest report of `evaluate` on this run."""
    reports = sorted(run.path.glob("evaluation-*.json"))
    report = read_json(reports[-1]) if reports else {}
    rows = [_measure(name, found) for name, found in report.get("measures", {}).items()]
    data = ", ".join(f"`{source}`" for source in report.get("data", []))
    return [f"| evaluated on {data} | | 95% interval |", "|---|---|---|", *rows] if rows else []


def _measure(name: str, found: dict[str, Any]) -> str:
    has_interval = found.get("low") is not None
    interval = f"{found['low']:.4g} to {found['high']:.4g}" if has_interval else ""
    return f"| {measures.measure(name).title} (`{name}`) | {found['value']:.4g} | {interval} |"


def _parents(run: RunDir) -> list[str]:
    chain = ancestors(run)
    if len(chain) < 2:
        return []
    told = [
        f"{place}. `{a.run.path.name}`: {TITLES.get(a.method, a.method)} on {', '.join(f'`{d}`' for d in a.data)}"
        for place, a in enumerate(chain, start=1)
    ]
    return ["## Where it comes from, newest first", "", *told, f"{len(chain) + 1}. `{chain[-1].began_with}`"]


def _data(run: RunDir, preset: TextPreset) -> list[str]:
    """Each source with what tells whether it is still the same."""
    prints = read_json(run.environment).get("data", {})
    held_out = {source.path for source in preset.data.eval or []}
    sources = list(dict.fromkeys(source.path for source in [*preset.data.train, *(preset.data.eval or [])]))
    rows = []
    for path in sources:
        found = prints.get(path) or {}
        told = found.get("sha256") or (json.dumps(found) if found else "")
        rows.append(f"| `{path}` | {'held out' if path in held_out else 'learned from'} | `{told}` |".replace("``", ""))
    return ["## Data", "", "| source | use | fingerprint |", "|---|---|---|", *rows]
