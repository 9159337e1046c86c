"""The rule that tells reward hacking from learning."""

import math

from engine.diffusion.hacking import Gauges, HackRule

NAN = math.nan
START = Gauges(reward=0.30, spread=0.06, recognised=0.99, distance=4.0, diversity=3.3)
#: As measured on digits: ink without a pull ends in white blocks; with one it gets a little bolder.
WHITE_BLOCKS = Gauges(reward=0.90, spread=0.02, recognised=0.11, distance=1400.0, diversity=0.4)
BOLDER = Gauges(reward=0.355, spread=0.06, recognised=0.98, distance=9.0, diversity=3.2)


def rule(patience: int = 1) -> HackRule:
    return HackRule(fall=0.1, distance=5.0, patience=patience)


def test_white_blocks_in_place_of_digits_are_told_in_words() -> None:
    said = rule().look(START, WHITE_BLOCKS)
    assert "0.3 to 0.9" in said
    assert "recognises 11% of the images, of the reference's 99%" in said
    assert "350 times as far" in said


def test_a_policy_that_gets_bolder_and_stays_recognised_is_let_be() -> None:
    assert rule().look(START, BOLDER) == ""


def test_one_sign_alone_is_no_hacking() -> None:
    far = BOLDER._replace(distance=100.0)  # far away, still recognised: as a model that learns one class
    unrecognised = BOLDER._replace(recognised=0.5)  # near the reference all the same
    no_gain = WHITE_BLOCKS._replace(reward=0.31)  # broken, but not for a reward
    for gauges in (far, unrecognised, no_gain):
        assert not rule().looks_hacked(START, gauges)


def test_without_a_second_scorer_it_takes_images_that_have_become_alike() -> None:
    start = START._replace(recognised=NAN)
    assert not rule().looks_hacked(start, WHITE_BLOCKS._replace(recognised=NAN, diversity=3.2))
    said = rule().look(start, WHITE_BLOCKS._replace(recognised=NAN, diversity=0.33))
    assert "differ 10% as much as they did" in said


def test_it_takes_patience_in_a_row_speaks_once_and_remembers_over_a_resume() -> None:
    careful = rule(patience=2)
    assert careful.look(START, WHITE_BLOCKS) == ""
    assert careful.look(START, BOLDER) == ""
    assert careful.look(START, WHITE_BLOCKS) == ""
    resumed = rule(patience=2)
    resumed.recall(careful.memory)
    assert resumed.look(START, WHITE_BLOCKS) != ""
    assert resumed.look(START, WHITE_BLOCKS) == ""
