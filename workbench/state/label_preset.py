"""The preset that learns from a set's judgements, as a person would begin to write it."""

from typing import Literal

from engine.contract.preset import PRESETS
from engine.contract.strict_yaml import dump_yaml

OfText = Literal["reward_model", "dpo", "kto"]
OfPictures = Literal["diffusion_dpo", "image_reward_model"]
Method = OfText | OfPictures
#: What learns from judgements, as a menu names it.
TITLES: dict[OfText, str] = {
    "reward_model": "A reward model",
    "dpo": "The model itself, by DPO",
    "kto": "The model itself, by KTO, which learns from “both bad” too",
}
TITLES_OF_PICTURES: dict[OfPictures, str] = {
    "diffusion_dpo": "The model that drew them, by Diffusion-DPO",
    "image_reward_model": "A reward model of pictures",
}
#: Begun from where nobody knows which model drew the pictures: what ships; or which wrote the answers: a small one.
SHIPPED = "assets:digits-denoiser"
SMALL = "HuggingFaceTB/SmolLM2-135M-Instruct"

#: Fewer steps than this teach nothing; four times through the pairs is what the shipped presets do.
LEAST_STEPS = 10
PASSES = 4
BATCH = 8
#: A tenth of fewer says nothing.
ENOUGH_TO_MEASURE = 50

HEAD: dict[OfText, str] = {
    "dpo": "# The model learns to prefer what you preferred",
    "kto": "# The model learns what you found good and what not",
    "reward_model": "# A reward model learns to score answers as you judged them",
}
MODEL: dict[OfText, str] = {
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
RATE: dict[OfText, str] = {"dpo": "5e-5", "kto": "5e-5", "reward_model": "1e-4"}


def offered(kind: str = "text") -> dict[str, str]:
    """The methods that the engine has for judgements of texts, or of pictures where `kind` is image; with titles."""
    titles: dict[str, str] = dict(TITLES_OF_PICTURES.items() if kind == "image" else TITLES.items())
    return {method: title for method, title in titles.items() if method in PRESETS}


def usual(kind: str) -> Method:
    """What one button begins."""
    return "diffusion_dpo" if kind == "image" else "dpo"


def preset_for(name: str, method: Method, judged: int, made_by: str = "") -> str:
    """YAML to edit and run. judged: how many judgements there are to learn from. made_by: the model that drew the
    pictures or wrote the answers, as far as the set knows."""
    match method:
        case "diffusion_dpo":
            return _diffusion_dpo(name, judged, made_by or SHIPPED)
        case "image_reward_model":
            return _image_reward_model(name, judged)
        case _:
            return _of_text(name, method, judged, made_by or SMALL)


def _of_text(name: str, method: OfText, judged: int, model: str) -> str:
    steps = max(PASSES * judged // BATCH, LEAST_STEPS)
    measures = judged >= ENOUGH_TO_MEASURE
    held_out = "  # Kept apart to measure with, by prompt.\n  eval_share: 0.1\n" if measures else ""
    eval_every = f"  eval_every: {max(steps // 5, 1)}\n" if measures else ""
    return f"""\
{HEAD[method]}
method: {method}
name: {name}-{method.replace("_", "-")}

model:
  {dump_yaml({"path": model}).strip()}
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


def _of_judgements(name: str, judged: int) -> str:
    """The section `data` of what learns from pictures."""
    measures = judged >= ENOUGH_TO_MEASURE
    held_out = "  # Kept apart to measure with, by prompt and noise.\n  eval_share: 0.1\n" if measures else ""
    return f"""\
data:
  # The judgements that stand when the run starts; the run
  # keeps a copy of them and of their pictures.
  train: labels:{name}
{held_out}"""


def _diffusion_dpo(name: str, judged: int, model: str) -> str:
    """Wallace et al. 2023 (arXiv:2311.12908) at the size of a person's judgements: the pull is strong and the steps are
    few, as forty pairs are soon known by heart."""
    steps = min(max(2 * judged, 100), 200)
    eval_every = f"  eval_every: {steps // 5}\n" if judged >= ENOUGH_TO_MEASURE else ""
    return f"""\
# The model learns to draw what you preferred
method: diffusion_dpo
name: {name}-diffusion-dpo

model:
  # The model that drew the pictures, and what the tuned
  # one is held to.
  {dump_yaml({"path": model}).strip()}

{_of_judgements(name, judged)}
optimizer:
  learning_rate: 1e-5
  schedule: constant

training:
  steps: {steps}
  batch_size: 32
{eval_every}\
  checkpoint_every: {max(steps // 2, 1)}

diffusion_dpo:
  # The pull back to where it began: less of it follows the
  # judgements further, and forgets more.
  beta: 2000
"""


def _image_reward_model(name: str, judged: int) -> str:
    eval_every = "  eval_every: 20\n" if judged >= ENOUGH_TO_MEASURE else ""
    return f"""\
# A reward model learns to score pictures as you judged them
method: image_reward_model
name: {name}-image-reward-model

model:
  path: scratch
  # As large as the pictures of the set are.
  scratch: {{size: 8, channels: 1}}

{_of_judgements(name, judged)}
optimizer:
  learning_rate: 2e-3
  weight_decay: 0.01

training:
  steps: 100
  batch_size: 32
{eval_every}\
  checkpoint_every: 50
"""
