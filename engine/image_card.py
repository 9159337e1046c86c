"""The README.md that goes with a trained model of images: what it is, what it learned from, how to open it."""

from pathlib import Path

from engine.contract import metrics
from engine.contract.image_presets import ImagePreset
from engine.contract.preset import model_of, preset_text, sources_of, training_of
from engine.contract.run_dir import RunDir
from engine.contract.status import summarise

TITLES = {
    "denoiser": "a denoising diffusion model",
    "vae": "a variational autoencoder",
    "image_classifier": "a classifier of images",
}
OPENING = {
    "denoiser": (
        "from diffusers import DDIMScheduler, UNet2DModel",
        'unet = UNet2DModel.from_pretrained("this folder", subfolder="unet", use_safetensors=True)',
        'scheduler = DDIMScheduler.from_pretrained("this folder", subfolder="scheduler")',
    ),
    "vae": (
        "from diffusers import AutoencoderKL",
        'vae = AutoencoderKL.from_pretrained("this folder", use_safetensors=True)',
    ),
    "text": (
        "from diffusers import StableDiffusionPipeline",
        'pipeline = StableDiffusionPipeline.from_pretrained("this folder", use_safetensors=True)',
    ),
    "text of pixels": (
        "from diffusers import StableDiffusionPipeline",
        'pipeline = StableDiffusionPipeline.from_pretrained("this folder", vae=None, use_safetensors=True)',
        'pixels = pipeline("a caption", output_type="latent").images  # (1, C, H, W) in [-1, 1]',
    ),
    "image_classifier": (
        "from engine.diffusion.classifier import open_classifier",
        'classifier = open_classifier("this folder")  # of images (N, C, H, W) in [-1, 1]; gives logits',
    ),
}


def image_card(run: RunDir, preset: ImagePreset, folder: Path, *, step: int | None = None) -> str:
    """A model card in the hub's form: YAML front matter, then Markdown.

    folder: where the model lies. step: the one the weights are from.
    """
    kind: str = preset.method
    if (folder / "text_encoder").is_dir():
        kind = "text" if (folder / "vae").is_dir() else "text of pixels"
    parts = [
        ["---", "library_name: diffusers", f"tags: [plumbline, {preset.method}]", "---"],
        [f"# {preset.name or run.name}", "", _summary(run, preset, step)],
        ["```python", *OPENING.get(kind, OPENING["denoiser"]), "```"],
        _figures(run, preset, step),
        ["## The preset that makes it again", "", "```yaml", preset_text(preset).rstrip(), "```"],
    ]
    return "\n\n".join("\n".join(part) for part in parts if part) + "\n"


def _summary(run: RunDir, preset: ImagePreset, step: int | None) -> str:
    section, training = model_of(preset), training_of(preset)
    what = TITLES.get(preset.method, f"a model of images made by {preset.method}")
    begun = "" if section is None else f", trained from `{section.path}`"
    data = ", ".join(f"`{source.path}`" for source in sources_of(preset, "train"))
    learned = f" on {data}" if data else ""
    steps = summarise(run).step if step is None else step
    size = "" if training is None else f", {steps} steps of {training.batch_size}"
    return f"This is {what}{begun}{learned}{size}."


def _figures(run: RunDir, preset: ImagePreset, step: int | None) -> list[str]:
    summary = summarise(run)
    if step is not None and step != summary.step:
        return []  # they are those of the last step, not of this model
    names = [*metrics.board(preset.method), *metrics.more(preset.method)]
    known = [name for name in names if name in summary.values]
    rows = [f"| {metrics.describe(name).title} (`{name}`) | {summary.values[name]:.4g} |" for name in known]
    return ["| at the last step | |", "|---|---|", *rows] if rows else []
