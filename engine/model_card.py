"""The README.md that goes with a trained model: what it is, what it learned from, how well it did."""

from engine.contract import metrics
from engine.contract.preset import Preset, preset_text
from engine.contract.run_dir import RunDir
from engine.contract.status import summarise

TITLES = {
    "sft": "supervised fine-tuning",
    "dpo": "direct preference optimisation (DPO)",
    "kto": "Kahneman-Tversky optimisation (KTO)",
    "orpo": "odds-ratio preference optimisation (ORPO)",
    "simpo": "simple preference optimisation (SimPO)",
    "cpo": "contrastive preference optimisation (CPO)",
    "grpo": "group-relative policy optimisation (GRPO)",
}


def model_card(run: RunDir, preset: Preset) -> str:
    """A model card in the hub's form: YAML front matter, then Markdown."""
    summary = summarise(run)
    names = [*metrics.board(preset.method), *metrics.more(preset.method)]
    rows = [f"| {metrics.describe(n).title} (`{n}`) | {summary.values[n]:.4g} |" for n in names if n in summary.values]
    kind = "an adapter for" if preset.model.adapter else "trained from"
    data = ", ".join(f"`{source.path}`" for source in preset.data.train)
    return "\n".join(
        [
            "---",
            f"library_name: {'peft' if preset.model.adapter else 'transformers'}",
            f"tags: [plumbline, {preset.method}]",
            "---",
            "",
            f"# {run.name}",
            "",
            f"This is {kind} `{preset.model.path}`, by {TITLES.get(preset.method, preset.method)} on {data},",
            f"{summary.step} steps of {preset.training.batch_size}.",
            "",
            "| at the last step | |",
            "|---|---|",
            *rows,
            "",
            "The preset that makes it again:",
            "",
            "```yaml",
            preset_text(preset).rstrip(),
            "```",
            "",
        ]
    )
