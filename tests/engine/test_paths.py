"""Images drawn step by step, and what policies think of the steps."""

import torch
from torch import Tensor

from engine.diffusion.gaussian_steps import log_prob
from engine.diffusion.noise import starting_noise
from engine.diffusion.paths import Actions, Paths, actions_of, draw_paths, law_of
from engine.diffusion.schedules import Schedule, schedule_of

STEPS = 5


def schedule() -> Schedule:
    return schedule_of({"num_train_timesteps": 1000})


def half_of_it(x: Tensor, timestep: Tensor) -> Tensor:
    """A denoiser whose word for the noise depends on image and time."""
    return 0.5 * x + 1e-4 * timestep.view(-1, 1, 1, 1)


def drawn(images: list[int], eta: float = 1.0) -> Paths:
    noise, generators = starting_noise(3, images, (1, 4, 4))
    return draw_paths(half_of_it, schedule(), noise, generators, steps=STEPS, eta=eta)


def of(paths: Paths) -> Actions:
    return actions_of(paths, schedule(), STEPS)


def test_the_last_step_is_not_an_action() -> None:
    paths = drawn([0, 1])
    assert paths.states.shape == (STEPS, 2, 1, 4, 4)
    assert paths.logps.shape == (STEPS - 1, 2)
    assert bool(paths.logps.isfinite().all())
    assert not torch.equal(paths.images, paths.states[-1])


def test_replaying_the_actions_gives_the_log_probabilities_they_were_drawn_with_in_any_order() -> None:
    actions = of(drawn([0, 1, 2]))
    mixed = actions.at(torch.randperm(12, generator=torch.Generator().manual_seed(0)))
    replayed = log_prob(law_of(half_of_it, mixed, eta=1.0), mixed.x_next)
    torch.testing.assert_close(replayed, mixed.old_logps, rtol=0, atol=1e-4)
    other = log_prob(law_of(lambda x, t: 0.6 * x, mixed, eta=1.0), mixed.x_next)
    assert float((other - mixed.old_logps).abs().min()) > 1e-2  # another policy does not think so


def test_an_image_and_its_path_do_not_depend_on_who_is_in_the_batch() -> None:
    together, alone = drawn([4, 5, 6]), drawn([5])
    torch.testing.assert_close(together.images[1:2], alone.images)
    torch.testing.assert_close(together.states[:, 1:2], alone.states)


def test_each_action_knows_its_image_its_place_and_where_it_led() -> None:
    paths = drawn([0, 1])
    actions = of(paths)
    fourth = actions.at(torch.tensor([3]))  # the second image's second step
    assert (fourth.place.item(), fourth.image.item()) == (1, 1)
    assert torch.equal(fourth.x[0], paths.states[1, 1])
    assert torch.equal(fourth.x_next[0], paths.states[2, 1])
    assert actions.timestep.unique(sorted=True).tolist() == [200, 400, 600, 800]
    assert bool((actions.a_s > actions.a_t).all())
