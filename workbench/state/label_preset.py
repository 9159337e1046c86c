"""The preset that learns from a set's judgements, as a person would begin to write it."""

from typing import Literal

from engine.contract.preset import PRESETS

Method = Literal["reward_model", "dpo", "kto"]
#: What learns from judgements, as a menu names it.
TITLES: dict[Method, str] = {
    "reward_model": "A reward model",
    "dpo": "The model itself, by DPO",
    "kto": "The model itself, by KTO, which learns from “both bad” too",
}

#: Fewer steps than this teach nothing; four times through the pairs is what the shipped presets do.
LEAST_STEPS = 10
PASSES = 4
BATCH = 8
#: A tenth of fewer says nothing.
ENOUGH_TO_MEASURE = 50

HEAD: dict[Method, str] = {
    "dpo": "# The model learns to prefer what you preferred",
    "kto": "# The model learns what you found good and what not",
    "reward_model": "# A reward model learns to score answers as you judged them",
}
MODEL: dict[Method, str] = {
    "dpo": """\
  # With the adapter switched off the same weights are the
  # reference: no second model in memory.
""",
    "kto": """\
  # With the adapter switched off the same weights are the
  # reference: no second model in memory.
""",
    "reward_model": "",
}
RATE: dict[Method, str] = {"dpo": "5e-5", "kto": "5e-5", "reward_model": "1e-4"}


def offered() -> dict[Method, str]:
    """The methods that the engine has, with their titles."""
    return {method: title for method, title in TITLES.items() if method in PRESETS}


def preset_for(name: str, method: Method, judged: int) -> str:
    """YAML to edit and run. judged: how many judgements there are to learn from."""
    steps = max(PASSES * judged // BATCH, LEAST_STEPS)
    measures = judged >= ENOUGH_TO_MEASURE
    held_out = "  # Kept apart to measure with, by prompt.\n  eval_share: 0.1\n" if measures else ""
    eval_every = f"  eval_every: {max(steps // 5, 1)}\n" if measures else ""
    return f"""\
{HEAD[method]}
method: {method}
name: {name}-{method.replace("_", "-")}

model:
  path: HuggingFaceTB/SmolLM2-135M-Instruct
{MODEL[method]}\
  adapter: {{rank: 16, alpha: 32}}

data:
  # The judgements that stand when the run starts; the run
  # keeps a copy of them.
  train: labels:{name}
{held_out}\
  max_length: 512

optimizer:
  learning_rate: {RATE[method]}
  warmup_steps: 3

training:
  # {PASSES} times through {judged} pairs.
  steps: {steps}
  batch_size: {BATCH}
{eval_every}\
  checkpoint_every: {max(steps // 2, 1)}
"""
