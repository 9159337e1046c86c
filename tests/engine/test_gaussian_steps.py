"""One step of DDIM as a law: against torch.distributions, against chance, and what has no density."""

import pytest
import torch

from engine.diffusion.gaussian_data import best_denoiser, gaussian_data
from engine.diffusion.gaussian_steps import NoDensity, ddim_law, ddim_std, log_prob, path_kl
from engine.diffusion.schedules import ddim_strides, schedule_of

GENERATOR = torch.Generator().manual_seed(0)
X, EPS, NEXT = (torch.randn(5, 1, 4, 4, generator=GENERATOR, dtype=torch.float64) for _ in range(3))


def test_the_law_of_a_step_by_hand() -> None:
    # a from 0.36 to 0.64, eta 1: sigma^2 = 0.36 / 0.64 * (1 - 0.5625) = 0.24609375.
    # x = 1, eps = 0.5: x0 = (1 - 0.8 * 0.5) / 0.6 = 1; mean = 0.8 + sqrt(0.36 - 0.24609375) * 0.5 = 0.9687520.
    law = ddim_law(torch.tensor([[1.0]]), torch.tensor([[0.5]]), 0.36, 0.64, 1.0)
    assert law.std.item() ** 2 == pytest.approx(0.24609375)
    assert law.mean.item() == pytest.approx(0.9687500, abs=1e-6)


def test_the_log_probability_of_a_step_is_that_of_torch() -> None:
    a_t, a_s = torch.tensor([0.1, 0.2, 0.3, 0.5, 0.9]).double(), torch.tensor([0.2, 0.3, 0.5, 0.8, 0.95]).double()
    law = ddim_law(X, EPS, a_t, a_s, 0.7)
    expected = torch.distributions.Normal(law.mean, law.std.view(5, 1, 1, 1)).log_prob(NEXT).flatten(1)
    assert torch.allclose(log_prob(law, NEXT), expected.sum(1), rtol=1e-12, atol=0)
    assert torch.allclose(log_prob(law, NEXT, "mean"), expected.mean(1), rtol=1e-12, atol=0)


def test_the_law_of_a_batch_is_that_of_its_images_one_by_one() -> None:
    whole = ddim_law(X, EPS, torch.full((5,), 0.3).double(), torch.full((5,), 0.6).double(), 1.0)
    alone = ddim_law(X[2:3], EPS[2:3], torch.tensor(0.3).double().item(), torch.tensor(0.6).double().item(), 1.0)
    assert torch.allclose(whole.mean[2:3], alone.mean, atol=1e-7)


def test_the_path_kl_agrees_with_chance() -> None:
    """A policy whose data is elsewhere: KL(path) = E[sum of log-ratios], here over 10 steps and 20,000 paths."""
    schedule = schedule_of({"clip_sample": False, "timestep_spacing": "trailing"})
    policy, reference = (best_denoiser(gaussian_data(seed), schedule) for seed in (0, 1))
    torch.manual_seed(0)
    x = torch.randn(20_000, 1, 1, 4, dtype=torch.float64)
    exact, ratio = torch.zeros(len(x)).double(), torch.zeros(len(x)).double()
    for t, a_t, a_s in ddim_strides(schedule, 10)[:-1]:
        asked = torch.full((len(x),), t)
        law, other = (ddim_law(x, network(x, asked), a_t, a_s, 1.0) for network in (policy, reference))
        x = law.mean + law.std.view(-1, 1, 1, 1) * torch.randn_like(x)
        ratio += log_prob(law, x) - log_prob(other, x)
        exact += path_kl(law.mean, other.mean, law.std)
    spread = (ratio - exact).std() / len(x) ** 0.5
    assert exact.mean() > 0.05
    assert abs(ratio.mean() - exact.mean()) < 4 * spread


@pytest.mark.parametrize(("a_s", "eta"), [(0.6, 0.0), (1.0, 1.0)], ids=["eta 0", "the last step"])
def test_a_step_without_noise_has_no_density_and_says_what_to_do(a_s: float, eta: float) -> None:
    law = ddim_law(X, EPS, 0.3, a_s, eta)
    assert law.std.max() == 0
    with pytest.raises(NoDensity, match="use eta above 0"):
        log_prob(law, NEXT)
    with pytest.raises(NoDensity, match="leave the last step out"):
        path_kl(law.mean, law.mean, law.std)


def test_eta_scales_the_noise_of_a_step() -> None:
    assert ddim_std(0.36, 0.64, 0.5) == pytest.approx(0.5 * ddim_std(0.36, 0.64, 1.0))


def test_the_gradient_of_a_log_probability_reaches_the_network() -> None:
    eps = EPS.clone().requires_grad_()
    log_prob(ddim_law(X, eps, 0.3, 0.6, 1.0), NEXT).sum().backward()
    assert eps.grad is not None
    assert eps.grad.abs().min() > 0
