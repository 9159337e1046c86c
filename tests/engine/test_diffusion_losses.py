"""Losses of denoisers and VAEs against arithmetic by hand and torch's own laws, and scores of sets of images."""

import pytest
import torch
from torch.distributions import Normal, kl_divergence

from engine.diffusion.averaging import Average
from engine.diffusion.losses import latent_kl, min_snr_weight, quarter_of, squared_error, vae_loss
from engine.diffusion.scores import Law, diversity, frechet_distance


def test_the_error_is_a_mean_over_an_images_values() -> None:
    output, target = torch.tensor([[[[1.0, 2.0]]], [[[0.0, 0.0]]]]), torch.tensor([[[[0.0, 0.0]]], [[[3.0, 1.0]]]])
    assert squared_error(output, target).tolist() == [2.5, 5.0]


def test_min_snr_weighs_an_error_in_the_image_by_the_snr_at_most_gamma() -> None:
    alpha_bar = torch.tensor([0.5, 0.9], dtype=torch.float64)  # SNR 1 and 9
    x0 = min_snr_weight(alpha_bar, gamma=5.0, prediction="sample")
    assert x0.tolist() == pytest.approx([1.0, 5.0])
    eps = min_snr_weight(alpha_bar, gamma=5.0, prediction="epsilon")
    assert eps.tolist() == pytest.approx([1.0, 5 / 9])
    v = min_snr_weight(alpha_bar, gamma=5.0, prediction="v_prediction")
    assert v.tolist() == pytest.approx([0.5, 0.5])


def test_the_kl_of_latents_is_that_of_torch() -> None:
    mean, log_variance = torch.randn(3, 2, 4, 4, dtype=torch.float64), torch.randn(3, 2, 4, 4, dtype=torch.float64)
    expected = kl_divergence(Normal(mean, (0.5 * log_variance).exp()), Normal(0.0, 1.0)).flatten(1).sum(1)
    torch.testing.assert_close(latent_kl(mean, log_variance), expected)


def test_the_loss_of_a_vae_is_the_error_and_the_weighed_kl_a_pixel() -> None:
    pixels, decoded = torch.zeros(1, 1, 2, 2), torch.full((1, 1, 2, 2), 0.5)
    found = vae_loss(pixels, decoded, torch.ones(1, 2, 1, 1), torch.zeros(1, 2, 1, 1), kl_weight=0.2)
    assert found.error.tolist() == [0.25]
    assert found.kl.tolist() == [1.0]
    assert found.loss.tolist() == pytest.approx([0.25 + 0.2 * 1.0 / 4])


def test_quarters_of_the_schedule_are_counted_from_the_least_noise() -> None:
    assert quarter_of(torch.tensor([0, 249, 250, 999]), 1000).tolist() == [0, 0, 1, 3]


def test_the_frechet_distance_of_two_normal_laws_is_the_formula() -> None:
    one = Law(torch.tensor([1.0, 0.0]).double(), torch.diag(torch.tensor([4.0, 1.0]).double()))
    other = Law(torch.tensor([0.0, 2.0]).double(), torch.diag(torch.tensor([1.0, 9.0]).double()))
    assert frechet_distance(one, other) == pytest.approx(5 + (2 - 1) ** 2 + (1 - 3) ** 2)
    assert frechet_distance(one, one) == pytest.approx(0.0, abs=1e-12)


def test_diversity_compares_images_of_one_class() -> None:
    features = torch.tensor([[0.0], [2.0], [10.0], [16.0]])
    assert diversity(features, torch.tensor([0, 0, 1, 1])) == 4.0
    assert diversity(features[:2]) == 2.0


def test_an_average_warms_up_and_can_stand_in_for_the_weights() -> None:
    network = torch.nn.Linear(1, 1, bias=False)
    network.weight.data.fill_(0.0)
    average = Average(network, decay=0.999)
    network.weight.data.fill_(1.0)
    average.follow(network)  # diffusers keeps nothing of the start at the first step
    network.weight.data.fill_(0.0)
    average.follow(network)
    with average.in_place_of(network):
        assert network.weight.item() == pytest.approx(2 / 11)
    assert network.weight.item() == 0.0
