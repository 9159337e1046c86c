"""Known metrics of the methods of images: their titles, units, directions and meanings, and each method's board."""

from engine.contract.metric import Metric

HEUSEL = "Heusel et al. 2017, arXiv:1706.08500"
HO = "Ho et al. 2020, arXiv:2006.11239"

CATALOGUE: dict[str, Metric] = {
    "images/drawn": Metric("Pictures drawn", "", "none", "pictures of this run that are there", is_count=True),
    "images/steps_per_second": Metric(
        "Drawing speed", "steps/s", "up", "steps of the sampler times pictures, a second of this life of the run"
    ),
    "images/seconds_left": Metric("Time left", "s", "down", "for the pictures still to draw, at the speed so far"),
    "loss/noise_1": Metric("Loss, least noise", "", "down", "of images in the first quarter of the schedule"),
    "loss/noise_2": Metric("Loss, some noise", "", "down", "of images in the second quarter of the schedule"),
    "loss/noise_3": Metric("Loss, much noise", "", "down", "of images in the third quarter of the schedule"),
    "loss/noise_4": Metric("Loss, most noise", "", "down", "of images in the last quarter of the schedule"),
    "eval_loss/noise_1": Metric("Held-out loss, least noise", "", "down"),
    "eval_loss/noise_2": Metric("Held-out loss, some noise", "", "down"),
    "eval_loss/noise_3": Metric("Held-out loss, much noise", "", "down"),
    "eval_loss/noise_4": Metric("Held-out loss, most noise", "", "down"),
    "frechet": Metric(
        "Fréchet distance",
        "",
        "down",
        "of drawn images to those learned from, in a classifier's features; only equally many compare",
        HEUSEL,
    ),
    "frechet_of_real": Metric("Fréchet distance of real images", "", "none", "of held-out ones, for scale"),
    "diversity": Metric("Diversity", "", "up", "mean distance of two images of one class, in a classifier's features"),
    "recognised": Metric("Recognised", "", "up", "share of drawn images that a classifier takes for what was asked"),
    "reconstruction_error": Metric("Reconstruction error", "", "down", "squared, a pixel; black to white is 2"),
    "latent_kl": Metric("KL of latents", "nats an image", "none", "what an image's latents tell beyond a normal law"),
    "eval_reconstruction_error": Metric("Held-out reconstruction error", "", "down", "of the latents' mean"),
    "eval_latent_kl": Metric("Held-out KL of latents", "nats an image"),
    "eval_accuracy_low": Metric("Held-out pairs in order, at least", "", "up", "lower end of Wilson's 95% interval"),
    "eval_accuracy_high": Metric("Held-out pairs in order, at most", "", "none", "upper end of Wilson's 95% interval"),
    "class_accuracy": Metric("Classes right", "", "up", "share of images whose likeliest class is theirs"),
    "eval_class_accuracy": Metric("Held-out classes right", "", "up", "as measured on held-out images"),
}

FIRST = {
    "diffusion_sample": ["images/drawn", "images/steps_per_second", "images/seconds_left"],
    "denoiser": ["loss", "eval_loss", "loss/noise_1", "loss/noise_4", "grad_norm", "learning_rate"],
    "vae": ["loss", "reconstruction_error", "latent_kl", "eval_reconstruction_error", "grad_norm", "learning_rate"],
    "image_reward_model": ["accuracy", "margin", "loss", "eval_accuracy", "grad_norm", "learning_rate"],
    "image_classifier": ["loss", "class_accuracy", "eval_class_accuracy", "eval_loss", "grad_norm", "learning_rate"],
}
THEN = {
    "denoiser": [
        "frechet",
        "recognised",
        "diversity",
        "frechet_of_real",
        "loss/noise_2",
        "loss/noise_3",
        "eval_loss/noise_1",
    ],
    "vae": ["eval_latent_kl"],
    "image_classifier": [],
    "image_reward_model": ["eval_accuracy_low", "eval_accuracy_high", "eval_loss", "eval_margin"],
}
HEADLINE = {
    "diffusion_sample": "images/drawn",
    "denoiser": "loss",
    "vae": "loss",
    "image_classifier": "class_accuracy",
    "image_reward_model": "accuracy",
}
