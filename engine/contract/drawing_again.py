"""From what a picture says of itself to the preset that draws it again, or draws with its noise and other settings."""

from typing import Any

from engine.contract.image_record import ImageRecord
from engine.contract.image_tools import Told
from engine.contract.sampler_names import SAMPLERS

DTYPES = ("float32", "bfloat16", "float16")
#: What other programs call the samplers that are here too.
THEIR_NAMES = {
    "ddim": "ddim",
    "ddpm": "ddpm",
    "euler": "euler",
    "euler karras": "euler_karras",
    "euler a": "euler_a",
    "euler_ancestral": "euler_a",
    "k_euler": "euler",
    "k_euler_a": "euler_a",
    "heun": "heun",
    "heun karras": "heun_karras",
    "dpm++ 2m": "dpmpp_2m",
    "dpm++ 2m karras": "dpmpp_2m_karras",
    "dpm++ 2m sde": "dpmpp_sde",
    "dpmpp_2m_sde": "dpmpp_sde",
    "unipc": "unipc",
    "uni_pc": "unipc",
}


def again(record: ImageRecord) -> dict[str, Any]:
    """The preset that draws the picture again, to the last bit on the machine that drew it."""
    preset = with_its_noise(record)
    device = record.device if record.device in ("cpu", "cuda", "mps") or record.device.startswith("cuda:") else "auto"
    among = {"rows": record.rows, "place": record.place}
    return preset | {
        "model": preset["model"] | {"device": device},
        "diffusion_sample": preset["diffusion_sample"] | {"threads": record.threads, "among": among},
    }


def with_its_noise(record: ImageRecord) -> dict[str, Any]:
    """A preset of one picture of the same noise, to be changed."""
    section: dict[str, Any] = {
        "sampler": record.sampler,
        "steps": record.steps,
        "eta": record.eta,
        "guidance": record.guidance,
        "negative_prompt": record.negative_prompt,
        "seeds": [record.seed],
        "first": record.index,
        "count": 1,
        "width": record.width,
        "height": record.height,
    }
    section |= {"classes": [record.label]} if record.label is not None else {}
    section |= {"prompts": [record.prompt]} if record.prompt is not None else {}
    dtype = record.dtype if record.dtype in DTYPES else "auto"
    return {
        "method": "diffusion_sample",
        "name": f"seed{record.seed}-{record.index}",
        "model": {"path": record.model, "dtype": dtype},
        "diffusion_sample": section,
    }


def as_told(told: Told, model: str) -> dict[str, Any]:
    """A preset with as much of another program's settings as we know too. Its noise is its own: the picture differs."""
    sampler = sampler_named(told.sampler or "")
    given = {
        "sampler": sampler,
        "steps": told.steps,
        "guidance": told.guidance,
        "negative_prompt": told.negative_prompt,
        "prompts": [told.prompt] if told.prompt else None,
        "seeds": None if told.seed is None else [told.seed % 2**63],
        "width": told.width,
        "height": told.height,
    }
    section = {name: value for name, value in given.items() if value is not None}
    return {"method": "diffusion_sample", "model": {"path": model}, "diffusion_sample": {"count": 1, **section}}


def sampler_named(name: str) -> str | None:
    """Our name of a sampler, None where we have none of that name."""
    return name if name in SAMPLERS else THEIR_NAMES.get(name.strip().lower())
