"""Known metrics of the methods that tune models of images, and each method's board: reward, drift and KL beside each
other, so that hacking is seen where it happens."""

from engine.contract.metric import Metric

_DIFFUSION_DPO = "Wallace et al. 2023, arXiv:2311.12908"
_DDPO = "Black et al. 2023, arXiv:2305.13301"
_FRECHET = "Heusel et al. 2017, arXiv:1706.08500"
CATALOGUE: dict[str, Metric] = {
    "path_kl": Metric(
        "Path KL to reference",
        "nats an image",
        "none",
        "exact KL of all steps of sampling, summed; at least as much as the KL of the images",
        _DDPO,
    ),
    "log_ratio/mean": Metric(
        "Move within the step", "nats", "none", "mean size of the true log-ratio of new to old policy, of an action"
    ),
    "log_ratio/replay": Metric(
        "Replay self-check",
        "nats",
        "down",
        "largest log-ratio of a step's first update: above 1e-3, sampler and trainer disagree",
    ),
    "nft_loss": Metric("NFT part of the loss", "", "none", "errors towards good and away from bad images"),
    "anchor": Metric("Distance to reference", "", "none", "mean squared distance of predicted noise"),
    "mse_ratio/chosen": Metric(
        "Error on chosen",
        "of the reference's",
        "down",
        "above 1.1 the policy forgets how to draw; both errors rise",
        _DIFFUSION_DPO,
    ),
    "mse_ratio/rejected": Metric("Error on rejected", "of the reference's", "none", "should rise more than on chosen"),
    "eval_mse_ratio/chosen": Metric("Held-out error on chosen", "of the reference's", "down", "", _DIFFUSION_DPO),
    "eval_mse_ratio/rejected": Metric("Held-out error on rejected", "of the reference's"),
    "drift/recognised": Metric(
        "Recognised",
        "",
        "up",
        "share of images that a second scorer, not trained for, takes for what was asked",
    ),
    "drift/wanted": Metric(
        "Of the wanted class",
        "",
        "up",
        "share of images that a second scorer, not trained for, takes for the class that the reward wants",
    ),
    "drift/frechet_reference": Metric(
        "Fréchet distance to reference", "", "down", "of features of images from other seeds", _FRECHET
    ),
    "drift/frechet_data": Metric("Fréchet distance to data", "", "down", "of features of images", _FRECHET),
    "drift/diversity": Metric("Diversity", "", "none", "mean distance of features of two images of one prompt"),
}

_DRIFT = ["drift/recognised", "drift/frechet_reference", "drift/diversity"]
FIRST = {
    "diffusion_dpo": ["rewards/accuracies", "eval_rewards/accuracies", "mse_ratio/chosen", "loss", *_DRIFT],
    "diffusion_grpo": ["reward", "path_kl", *_DRIFT, "clip_ratio/region_mean"],
    "diffusion_nft": ["reward", "drift/wanted", *_DRIFT, "nft_loss", "grad_norm"],
    "draft": ["reward", *_DRIFT, "grad_norm", "learning_rate"],
}
_OF_DRIFT = ["eval_reward", "drift/frechet_data", "frac_reward_zero_std", "reward_std", "loss", "grad_norm"]
THEN = {
    "diffusion_dpo": [
        *("rewards/margins", "eval_rewards/margins", "mse_ratio/rejected", "eval_mse_ratio/chosen"),
        *("eval_mse_ratio/rejected", "eval_reward", "drift/wanted", "drift/frechet_data", "grad_norm"),
    ],
    "diffusion_grpo": [*_OF_DRIFT, "drift/wanted", "log_ratio/mean", "log_ratio/replay"],
    "diffusion_nft": [*_OF_DRIFT, "anchor"],
    "draft": [*_OF_DRIFT, "drift/wanted", "anchor"],
}

HEADLINE = {
    "diffusion_dpo": "rewards/accuracies",
    "diffusion_grpo": "reward",
    "diffusion_nft": "reward",
    "draft": "reward",
}

#: What curves mean that are of actions of one place on the way to an image.
OF_STEPS = "of steps of sampling, the noisiest first; neighbours share a curve where there are many"


def of_steps(name: str) -> Metric | None:
    """What is known of a curve of steps of sampling, as `path_kl/of_step_03`; None of any other."""
    what, _, which = name.rpartition("/of_step_")
    return Metric(f"{what.replace('_', ' ').capitalize()}, step {int(which)}", "", "none", OF_STEPS) if what else None
