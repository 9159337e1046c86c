"""The methods of images by name: what each learns, and what it trains. `__init__.py` has those of text.

They are apart so that a run of text does not load diffusers.

| method | paper | where we depart |
|---|---|---|
| denoiser | Ho et al. 2020, arXiv:2006.11239, eq. 14 | none |
| sampler_proof | Song et al. 2021, arXiv:2011.13456, eq. 13 on Gaussian data | trains nothing |
| toy_diffusion | Ho et al. 2020, eq. 14, in the continuous time of arXiv:2011.13456 | the plane, not images |
| vae | Kingma & Welling 2014, arXiv:1312.6114, eq. 10 | scaled by 2 s^2 a pixel, so that the error weighs 1 |
| image_classifier | | cross-entropy |
| image_reward_model | Ouyang et al. 2022, arXiv:2203.02155, eq. 1, on pictures | none |
| diffusion_sample | it draws; samplers have their papers, guidance is Ho & Salimans 2022, arXiv:2207.12598 | none |
| diffusion_dpo | Wallace et al. 2023, arXiv:2311.12908, eq. 14 | means over pixels, unweighted, as their code |
| diffusion_grpo | Black et al. 2023, arXiv:2305.13301; groups of arXiv:2505.05470 | true ratio; exact KL of each step |
| diffusion_nft | Zheng et al. 2025, arXiv:2509.16117 | errors of noise in place of velocity, unweighted |
| draft | Clark et al. 2023, arXiv:2309.17400, algorithm 1 | the pull, if any, is on predictions |
"""

from collections.abc import Callable
from typing import Any, NamedTuple

from engine.diffusion.autoencoder import open_vae_to_train
from engine.diffusion.bench import ImageBench
from engine.diffusion.classifier import open_classifier_to_train
from engine.diffusion.opening import open_image_model
from engine.diffusion.scorer import build_scorer
from engine.diffusion.studio import diffusion_sample
from engine.diffusion.toy import open_toy
from engine.diffusion.tuned import open_to_tune
from engine.loop import Method
from engine.methods.denoiser import denoiser
from engine.methods.diffusion_dpo import diffusion_dpo
from engine.methods.diffusion_grpo import diffusion_grpo
from engine.methods.diffusion_nft import diffusion_nft
from engine.methods.draft import draft
from engine.methods.image_classifier import image_classifier
from engine.methods.image_reward_model import image_reward_model
from engine.methods.sampler_proof import sampler_proof
from engine.methods.toy_diffusion import toy_diffusion
from engine.methods.vae import vae
from engine.work import Work


class ImageMethod(NamedTuple):
    """build: the method from its preset and the bench; a Method learns, Work does something else.

    open: gives what is trained, from the section `model`; None for a method that begins with no model.
    """

    build: Callable[[Any, ImageBench[Any]], Method | Work]
    open: Callable[..., Any] | None = open_image_model


#: Preset method -> how it is built.
IMAGE_METHODS: dict[str, ImageMethod] = {
    "denoiser": ImageMethod(denoiser),
    "sampler_proof": ImageMethod(sampler_proof, open=None),
    "toy_diffusion": ImageMethod(toy_diffusion, open=open_toy),
    "vae": ImageMethod(vae, open_vae_to_train),
    "image_classifier": ImageMethod(image_classifier, open_classifier_to_train),
    "image_reward_model": ImageMethod(image_reward_model, build_scorer),
    "diffusion_sample": ImageMethod(diffusion_sample, open=None),
    "diffusion_dpo": ImageMethod(diffusion_dpo, open_to_tune),
    "diffusion_grpo": ImageMethod(diffusion_grpo, open_to_tune),
    "diffusion_nft": ImageMethod(diffusion_nft, open_to_tune),
    "draft": ImageMethod(draft, open_to_tune),
}
