"""What an image is worth, against numbers worked out by hand."""

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from engine.contract import tuning_settings
from engine.contract.online_settings import OwnFunction
from engine.diffusion.rewards import BUILDERS, Drawn, ImageRewardError, ImageRewardSum, Scored

#: Left dark, right white: of 2 x 2 grey pixels.
HALF = torch.tensor([[[[-1.0, 1.0], [-1.0, 1.0]]]])
WHITE = torch.ones(1, 1, 2, 2)


def no_classifier(path: str) -> Any:
    raise AssertionError("nobody asked for one")


def sure_of_two(path: str) -> Any:
    """Says of every image that class 2 of 3 has 80 %."""
    return lambda images: torch.tensor([0.1, 0.1, 0.8]).log().expand(len(images), 3)


def scored(images: Tensor, *parts: Any, prompts: list[Any] | None = None, opened: Any = no_classifier) -> Scored:
    return ImageRewardSum(parts, opened).score(Drawn(images, prompts or [None] * len(images)))


def test_ink_is_mean_brightness() -> None:
    images = torch.cat([HALF, WHITE, -WHITE])
    assert scored(images, tuning_settings.Ink(kind="ink")).total.tolist() == [0.5, 1.0, 0.0]


def test_symmetry_is_lost_by_what_differs_from_its_mirror_image() -> None:
    sides = tuning_settings.Symmetry(kind="symmetry")
    upside_down = tuning_settings.Symmetry(kind="symmetry", axis="top_bottom")
    assert scored(torch.cat([HALF, WHITE]), sides).total.tolist() == [-1.0, 0.0]
    assert scored(HALF, upside_down).total.tolist() == [0.0]


def test_smoothness_is_lost_by_neighbours_that_differ() -> None:
    # To the right each pair differs by 2, below by 0: -(2 + 0) / 2.
    assert scored(HALF, tuning_settings.Smoothness(kind="smoothness")).total.tolist() == [-1.0]


def test_an_even_image_compresses_better_than_noise_in_grey_and_in_colour() -> None:
    part = tuning_settings.Compressibility(kind="compressibility")
    for channels in (1, 3):
        noise = torch.rand(1, channels, 32, 32, generator=torch.Generator().manual_seed(0)) * 2 - 1
        even, noisy = scored(torch.cat([torch.zeros_like(noise), noise]), part).total.tolist()
        assert noisy < even < 0  # minus kilobytes


def test_a_classifier_gives_the_log_probability_of_the_class_that_was_asked_for() -> None:
    part = tuning_settings.ClassProbability(kind="classifier")
    found = scored(torch.cat([WHITE, WHITE]), part, prompts=[2, 0], opened=sure_of_two).total
    assert found.tolist() == pytest.approx([math.log(0.8), math.log(0.1)])
    wants_two = tuning_settings.ClassProbability(kind="classifier", label=2)
    assert scored(WHITE, wants_two, opened=sure_of_two).total.tolist() == pytest.approx([math.log(0.8)])


def test_a_classifier_that_cannot_know_what_was_asked_for_says_so() -> None:
    part = tuning_settings.ClassProbability(kind="classifier")
    with pytest.raises(ImageRewardError, match="names no class; give the part a `label`"):
        scored(WHITE, part, prompts=["a cat"], opened=sure_of_two)
    with pytest.raises(ImageRewardError, match="class 7 is wanted, and assets:digits-classifier knows 0 to 2"):
        scored(WHITE, part, prompts=[7], opened=sure_of_two)


def test_the_sum_is_weighted_and_each_part_is_told_by_itself() -> None:
    parts = [tuning_settings.Ink(kind="ink", weight=2.0), tuning_settings.Ink(kind="ink", weight=-0.5)]
    found = scored(HALF, *parts)
    assert found.total.tolist() == [0.75]
    assert {name: value.tolist() for name, value in found.parts.items()} == {"ink": [0.5], "ink_2": [0.5]}


def test_exactly_the_parts_that_are_called_differentiable_lead_back_to_the_pixels() -> None:
    kinds = {
        kind.model_fields["kind"].annotation.__args__[0]: kind  # type: ignore[attr-defined]
        for kind in BUILDERS
        # Another process runs the one; what the other needs is trained and followed in test_image_reward_model.py.
        if kind not in (OwnFunction, tuning_settings.Judged)
    }
    found = set()
    for name, kind in kinds.items():
        images = (0.5 * HALF).requires_grad_()
        net = torch.nn.Linear(4, 3)
        total = scored(images, kind(kind=name), prompts=[2], opened=lambda path, net=net: lambda x: net(x.flatten(1)))
        if total.total.requires_grad:
            found.add(name)
    assert found == set(tuning_settings.DIFFERENTIABLE) - {"image_reward_model"}


def test_somebodys_function_sees_bytes_and_prompts_and_what_it_does_not_know_is_unknown(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(
        "def reward(prompts, images):\n"
        "    assert images.dtype == 'uint8' and images.shape[1:] == (2, 2, 1)\n"
        "    return [float(image.max()) if prompt == 3 else None for prompt, image in zip(prompts, images)]\n"
    )
    part = OwnFunction(kind="function", path=str(file), allow_code=True)
    first, second = scored(torch.cat([HALF, WHITE]), part, prompts=[3, 4]).total.tolist()
    assert first == 255.0
    assert math.isnan(second)
    with pytest.raises(ImageRewardError, match="nobody has allowed"):
        scored(HALF, part.model_copy(update={"allow_code": False}))
    file.write_text("def reward(prompts, images):\n    raise KeyError('no')\n")
    with pytest.raises(ImageRewardError, match=r"mine\.py, line 2: KeyError"):
        scored(HALF, part)
