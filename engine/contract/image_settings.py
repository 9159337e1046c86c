"""Sections of presets whose methods learn from images, or draw them; `settings.py` has those they share with text."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, Field, PlainSerializer

from engine.contract.scorer_settings import ScorerModel
from engine.contract.settings import DEVICE, DTYPE, STRICT, as_sources, as_written, setting

#: How a model's path begins that names one of those that ship.
ASSETS = "assets:"

#: What a denoiser's network gives: the noise, the clean image, or the v of Salimans and Ho 2022 (arXiv:2202.00512).
Prediction = Literal["epsilon", "sample", "v_prediction"]


class TextEncoder(BaseModel, **STRICT):
    """What reads captions for a network that is asked in words."""

    path: str = setting(
        "scratch",
        "folder or hub id of a text encoder (CLIP, T5, BERT and their kin), which stays as it is; or scratch: a small"
        " CLIP that reads bytes and learns along",
        main=True,
        min_length=1,
    )
    length: int = setting(77, "what is read of a caption; for scratch a byte is a token", unit="tokens", ge=4, le=512)
    width: int = setting(64, "size of what it says of each token", needs="path=scratch", ge=8, le=4096)
    layers: int = setting(2, "transformer blocks", needs="path=scratch", ge=1, le=48)
    heads: int = setting(4, "attention heads; they divide the width", needs="path=scratch", ge=1, le=64)


class Network(BaseModel, **STRICT):
    """A U-Net of diffusers, `UNet2DModel`, or `UNet2DConditionModel` where it is asked in words; and the noise schedule
    that it learns to undo."""

    size: int = setting(
        8, "height and width of what is drawn: pixels, or latents of model.vae", main=True, ge=2, le=1024
    )
    channels: int = setting(1, "1 for grey, 3 for colour, or the latent channels of model.vae", ge=1, le=64)
    width: int = setting(32, "channels of the first level; each level below has twice as many", ge=8, le=1024)
    levels: int = setting(2, "resolutions; each level below halves height and width", ge=1, le=6)
    layers: int = setting(1, "residual blocks a level", ge=1, le=8)
    attention: bool = setting(False, "attention at the lowest resolution; what is asked in words always has it")
    classes: int = setting(0, "classes that can be asked for, beside none in particular; 0 = no condition", ge=0)
    text: TextEncoder | None = setting(
        None, "ask in words, in place of classes: what reads the captions, which the lowest resolution attends to"
    )
    prediction: Prediction = setting("epsilon", "what the network gives: the noise, the clean image, or v")
    timesteps: int = setting(1000, "steps of noise in training", ge=2, le=100_000)
    schedule: Literal["linear", "scaled_linear", "squaredcos_cap_v2"] = setting(
        "linear", "how noise grows: DDPM's line, Stable Diffusion's, or a cosine (arXiv:2102.09672)"
    )
    beta_start: float = setting(1e-4, "noise of the first step; the cosine has its own", gt=0, lt=1)
    beta_end: float = setting(0.02, "noise of the last step; the cosine has its own", gt=0, lt=1)


class Lora(BaseModel, **STRICT):
    """Matrices beside the weights (LoRA, arXiv:2106.09685), for methods that tune; what is saved has them merged."""

    rank: int = setting(8, "rank of the added matrices", ge=1, le=1024)
    alpha: int = setting(16, "scale of the added matrices; they count alpha / rank", ge=1)
    targets: Literal["attention", "all"] = setting("attention", "layers that get one: those of attention, or all")


class ImageModel(BaseModel, **STRICT):
    path: str = setting(
        help="diffusers folder, hub id, run directory, run:<name>, assets:<name> for what ships, or scratch",
        main=True,
        min_length=1,
    )
    scratch: Network | None = setting(None, "the network to build", needs="path=scratch")
    vae: str | None = setting(
        None, "work in the latents of this VAE, given as `path` is; empty = pixels, or the model's own VAE"
    )
    adapter: Lora | None = setting(
        None, "train a small addition instead of all weights; for methods that tune", main=True
    )
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = DTYPE
    device: str = DEVICE
    config: str | None = setting(None, "for weights in a single file: a diffusers folder of a model of the same kind")
    pickles: bool = setting(
        False, "read weights that are pickles, which can run any code of whoever made them; for text-to-image models"
    )


class VaeNetwork(BaseModel, **STRICT):
    """An `AutoencoderKL` of diffusers."""

    size: int = setting(8, "height and width of the images", main=True, ge=2, le=1024)
    channels: int = setting(1, "1 for grey, 3 for colour", ge=1, le=4)
    latent_channels: int = setting(4, "channels of the latents", main=True, ge=1, le=64)
    width: int = setting(16, "channels of the first level; each level below has twice as many", ge=8, le=1024)
    levels: int = setting(2, "resolutions; latents have height and width halved levels - 1 times", ge=1, le=6)
    layers: int = setting(1, "residual blocks a level", ge=1, le=8)


class VaeModel(BaseModel, **STRICT):
    path: str = setting(
        help="diffusers folder or run of a VAE, hub id, run:<name>, assets:<name> for what ships, or scratch",
        main=True,
        min_length=1,
    )
    scratch: VaeNetwork | None = setting(None, "the VAE to build", needs="path=scratch")
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = DTYPE
    device: str = DEVICE


class ClassifierNetwork(BaseModel, **STRICT):
    """Two convolutions a level, each level at half the resolution and twice the width; then features, then classes."""

    size: int = setting(8, "height and width of the images", main=True, ge=2, le=1024)
    channels: int = setting(1, "1 for grey, 3 for colour", ge=1, le=4)
    width: int = setting(32, "channels of the first level; each level below has twice as many", ge=8, le=1024)
    levels: int = setting(2, "times that height and width are halved", ge=1, le=8)
    features: int = setting(64, "numbers that describe an image, which distances are measured in", ge=2, le=4096)
    classes: int = setting(10, "classes to tell apart", main=True, ge=2)


class ClassifierModel(BaseModel, **STRICT):
    path: str = setting(
        help="folder or run of a classifier, run:<name>, assets:<name> for what ships, or scratch",
        main=True,
        min_length=1,
    )
    scratch: ClassifierNetwork | None = setting(None, "the network to build", needs="path=scratch")
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = DTYPE
    device: str = DEVICE


#: Every form of the section `model`.
AnyImageModel = ImageModel | VaeModel | ClassifierModel | ScorerModel


class ImageSource(BaseModel, **STRICT):
    path: str = setting(
        help="folder of images, .npz, .parquet, hub id of a `datasets` set, or labels:<set>", main=True, min_length=1
    )
    split: str = setting("train", "which split, where the source has several")
    rows: int | None = setting(None, "use only the first so many images", ge=1)
    image: str = setting("image", "column of the images in a table", min_length=1)
    label: str = setting("label", "column of the classes in a table; a folder's classes are its subfolders")
    text: str = setting(
        "text", "column of the captions in a table, a folder's metadata.jsonl or an .npz; else a.txt is that of a.png"
    )
    caption: str | None = setting(
        None, "caption of images that have none, as 'a photo of a {class}', with the name of their class", min_length=1
    )
    class_names: list[str] | None = setting(None, "what classes are called, in order; empty = as the source says")
    options: dict[str, Any] = setting(default_factory=dict, help="how judgements of a labelling set are used")


#: One source or a list; a source is its path or a mapping. Written back in the shortest form.
ImageSources = Annotated[
    list[ImageSource], Field(min_length=1), BeforeValidator(as_sources), PlainSerializer(as_written)
]


class ImageData(BaseModel, **STRICT):
    train: ImageSources = setting(help="images to learn from: one source or a list", main=True)
    eval: ImageSources | None = setting(None, "held-out images that measure and never train")
    eval_share: float = setting(0.0, "hold out this share of the images instead, chosen by seed; 0 = none", ge=0, lt=1)
    shuffle: bool = setting(True, "a new order each epoch, by seed")


class ImageClassifier(BaseModel, **STRICT):
    shift: int = setting(0, "move images at random by up to so many pixels", unit="pixels", ge=0, le=64)
    label_smoothing: float = setting(0.0, "share of certainty spread over the other classes", ge=0, lt=1)


class Vae(BaseModel, **STRICT):
    kl_weight: float = setting(
        1e-3,
        "weight of the KL a pixel beside the squared error a pixel; twice the decoder's variance",
        main=True,
        ge=0,
    )
    samples: int = setting(8, "images reconstructed, and in each interpolation, at a checkpoint", ge=2, le=64)


class Denoiser(BaseModel, **STRICT):
    average: float = setting(
        0.999, "decay of the running average of the weights, which is what draws and is saved; 0 = none", ge=0, lt=1
    )
    min_snr_gamma: float | None = setting(
        None,
        "errors where there is little noise weigh at most as if the SNR were this (arXiv:2303.09556); 5 is usual",
        gt=0,
    )
    condition_dropout: float = setting(
        0.1,
        "share of images learned without their class or caption, which guidance needs (arXiv:2207.12598)",
        ge=0,
        le=1,
    )
    sample_every: int = setting(
        0, "draw a strip with fixed seeds every so many steps; 0 = at checkpoints", unit="steps", ge=0
    )
    samples: int = setting(10, "images in the strip", ge=1, le=256)
    prompts: list[str] = setting([], "what the strip shows, where it is asked in words; empty = captions of the data")
    sample_steps: int = setting(20, "steps of DDIM for each image", ge=1, le=1000)
    sample_guidance: float = setting(
        1.0, "how far the strip and what is scored go from what is drawn unasked; 1 = the model itself", ge=0, le=50
    )
    classifier: str | None = setting(
        None, "judge of what is drawn, given as model.path is, assets:digits-classifier for one; empty = no scores"
    )
    scored: int = setting(450, "images that are drawn for the scores, at the end", needs="classifier", ge=16, le=50_000)
