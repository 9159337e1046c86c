"""What a watcher asks of a run is on the disk when `send` returns, and only what is known is obeyed."""

from typing import get_args

import pytest

from engine.contract import commands, jsonl


@pytest.mark.parametrize("ask", get_args(commands.Ask))
def test_a_request_survives_the_round_trip(tmp_path, ask):
    sent = commands.send(tmp_path / "commands.jsonl", ask)
    [line] = jsonl.read_lines(tmp_path / "commands.jsonl", 0).lines
    assert commands.read_command(line) == sent


def test_every_request_has_words_for_what_it_means():
    assert set(commands.MEANING) == set(get_args(commands.Ask))


def test_two_requests_are_told_apart(tmp_path):
    assert commands.send(tmp_path / "c", "stop").id != commands.send(tmp_path / "c", "stop").id


@pytest.mark.parametrize("line", [b"", b"{", b"null", b'{"ask": "dance"}', b'{"id": "x"}', b"\xff", b'{"ask": 1}'])
def test_what_is_not_known_is_not_obeyed(line):
    assert commands.read_command(line) is None
