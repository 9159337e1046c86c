"""A checkpoint is whole or it is not there, and what it gives back is exactly what it was given."""

import errno
import json
import os
import random
import shutil
import signal
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

from engine import checkpoint
from engine.contract.run_dir import RunDir
from engine.contract.settings import Adapter, Model
from engine.data.byte_tokenizer import byte_tokenizer
from engine.models import Policy, load_policy
from tests.engine import running

pytestmark = pytest.mark.usefixtures("fork_server")

#: Calls that change the disk. A fault before each of them, and before each fsync, is one at every point that can be
#: told apart afterwards.
CHANGES = {"rename", "open", "mkdir", "serialize_file", "save", "rmdir", "unlink"}
ADAPTER = Adapter(rank=4, alpha=8.0)


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An adapter on a model from scratch keeps that model in the folder it is given, here a relative one."""
    monkeypatch.chdir(tmp_path)


def policy_of(family: str = "llama", *, adapter: Adapter | None = None, seed: int = 0) -> Policy:
    preset = Model.model_validate(
        {"path": "scratch", "scratch": {**running.SCRATCH, "family": family}, "adapter": adapter}
    )
    cpu, nowhere = torch.device("cpu"), Path("nothing-is-merged-here")
    return load_policy(preset, device=cpu, dtype=torch.float32, seed=seed, with_reference=False, merged_base=nowhere)


def optimizer_of(model: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-2, weight_decay=0.1)


def learn(model: nn.Module, optimizer: torch.optim.Optimizer, steps: int = 3) -> None:
    """A few steps on random tokens: they move weights, the optimiser's state and torch's random state."""
    for _ in range(steps):
        ids = torch.randint(0, 200, (2, 6))
        model(input_ids=ids, labels=ids).loss.backward()
        optimizer.step()
        optimizer.zero_grad()


def write(run: RunDir, step: int, policy: Policy, optimizer: torch.optim.Optimizer | None = None) -> Path:
    training = checkpoint.training_state(step, optimizer or optimizer_of(policy.model), tokens=7, threads=1)
    return checkpoint.save(run, step, model=policy.model, tokenizer=policy.tokenizer, training=training)


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunDir:
    monkeypatch.setattr(os, "fsync", running.no_wait)
    return RunDir(tmp_path)


@pytest.fixture(scope="module")
def policy() -> Policy:
    return policy_of()


# ---------------------------------------------------------------------------------------- whole or not there


def kill(_name: str) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def no_space(name: str) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), name)


def bad_disk(name: str) -> None:
    raise OSError(errno.EIO, os.strerror(errno.EIO), name)


class FaultAt:
    """Calls `fault` right before change number `at` (from 1) of the disk, whoever makes it; counts them."""

    def __init__(self, at: int, fault: Callable[[str], None]) -> None:
        self.at, self.fault, self.seen = at, fault, 0

    def __call__(self, frame: FrameType, event: str, called: Any) -> None:
        if (name := change(frame, event, called)) is not None:
            self.seen += 1
            if self.seen == self.at:
                sys.setprofile(None)
                self.fault(name)


def change(frame: FrameType, event: str, called: Any) -> str | None:
    """For sys.setprofile: the name of the call that is about to change the disk, or None if it is another."""
    if event == "c_call":
        return called.__name__ if called.__name__ in CHANGES else None
    return "fsync" if event == "call" and frame.f_code is running.no_wait.__code__ else None


def with_fault(act: Callable[[], object], fault: FaultAt) -> int:
    """Returns how many changes of the disk there were until the end or the fault."""
    sys.setprofile(fault)
    try:
        act()
    except OSError:
        pass
    finally:
        sys.setprofile(None)
    return fault.seen


def faults_in(folder: str, scene: str, kind: str) -> tuple[int, list[str]]:
    """Let the act of a scene meet a fault at each of its changes in turn. How many trials, and what was wrong after."""
    os.fsync = running.no_wait  # type: ignore[assignment]
    policy, at = policy_of(), 0
    import numpy.ctypeslib  # noqa: F401 - here once, not in every fork; safetensors imports it late

    wrong: list[str] = []
    model = RunDir(Path(folder) / "model")
    # In a fork: saving starts threads, and a process that has some cannot be forked any more.
    ended_in_fork(lambda: [write(model, step, policy) for step in (2, 4, 6)])
    while True:
        at += 1
        run = RunDir(Path(folder) / f"trial-{at}")
        act = SCENES[scene](run, model, policy)
        if kind == "kill":
            was_reached = os.WIFSIGNALED(ended_in_fork(partial(with_fault, act, FaultAt(at, kill))))
        else:
            was_reached = with_fault(act, FaultAt(at, no_space if kind == "full" else bad_disk)) >= at
        if not was_reached:
            return at - 1, wrong
        wrong += [f"{scene}, {kind} at {at}: {what}" for what in what_is_wrong(run, scene, kind)]
        shutil.rmtree(run.path)


def ended_in_fork(act: Callable[[], object]) -> int:
    """The wait status of a fork that did it."""
    child = os.fork()
    if child == 0:
        act()
        os._exit(0)
    return os.waitpid(child, 0)[1]


def first_save(run: RunDir, model: RunDir, policy: Policy) -> Callable[[], object]:
    """Step 4 is written beside a whole step 2."""
    shutil.copytree(model.checkpoint(2), run.checkpoint(2))
    return lambda: write(run, 4, policy)


def replacing_a_damaged_one(run: RunDir, model: RunDir, policy: Policy) -> Callable[[], object]:
    """A new step 4 takes the place of a damaged one."""
    for step in (2, 4):
        shutil.copytree(model.checkpoint(step), run.checkpoint(step))
    (run.checkpoint(4) / "model.safetensors").unlink()
    staging = run.checkpoints / ".tmp-step-000004-1"
    shutil.copytree(model.checkpoint(4), staging)
    (staging / checkpoint.MANIFEST).unlink()
    return lambda: checkpoint.put_in_place(staging, run.checkpoint(4))


def tidying(run: RunDir, model: RunDir, policy: Policy) -> Callable[[], object]:
    """Steps 2 and 4 go, step 6 stays."""
    shutil.copytree(model.checkpoints, run.checkpoints)
    return lambda: checkpoint.keep_newest(run, 1)


SCENES = {scene.__name__: scene for scene in (first_save, replacing_a_damaged_one, tidying)}


def what_is_wrong(run: RunDir, scene: str, kind: str) -> list[str]:
    found = []
    newest = checkpoint.newest_whole(run)
    if newest not in ([run.checkpoint(6)] if scene == "tidying" else [run.checkpoint(2), run.checkpoint(4)]):
        found.append(f"the newest whole one is {newest}")
    for step in run.saved_steps():
        was_damaged = scene == "replacing_a_damaged_one" and step == 4
        if not checkpoint.is_whole(run.checkpoint(step)) and not was_damaged:
            found.append(f"step {step} has its name and is not whole")
    if kind != "kill" and (left := [p.name for p in run.checkpoints.glob(".tmp-*")]):
        found.append(f"left behind: {left}")
    return found


@pytest.mark.slow
@pytest.mark.parametrize("scene", SCENES)
def test_a_kill_at_any_point_leaves_whole_checkpoints_under_real_names(tmp_path: Path, scene: str) -> None:
    trials, wrong = running.apart(faults_in, str(tmp_path), scene, "kill")
    assert wrong == []
    assert trials >= 10


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["full", "broken"])
def test_a_disk_that_fails_at_any_point_leaves_whole_checkpoints_and_nothing_else(tmp_path: Path, kind: str) -> None:
    trials, wrong = running.apart(faults_in, str(tmp_path), "first_save", kind)
    assert wrong == []
    assert trials >= 20


def test_what_a_killed_life_left_half_done_is_cleared_at_the_start_of_the_next(run: RunDir, policy: Policy) -> None:
    for left in (".tmp-step-000002-99", ".del-step-000001-99"):
        (run.checkpoints / left / "training").mkdir(parents=True)
        (run.checkpoints / left / "model.safetensors").write_bytes(b"half")
    write(run, 4, policy)
    checkpoint.clear_leftovers(run)
    assert [entry.name for entry in run.checkpoints.iterdir()] == ["step-000004"]


# ------------------------------------------------------------------------------------------------- damage


def missing(file: Path) -> None:
    file.unlink()


def halved(file: Path) -> None:
    os.truncate(file, file.stat().st_size // 2)


def zeroed(file: Path) -> None:
    file.write_bytes(bytes(file.stat().st_size))


def one_bit_flipped(file: Path) -> None:
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)


@pytest.mark.parametrize("damage", [missing, halved, zeroed, one_bit_flipped], ids=lambda damage: damage.__name__)
@pytest.mark.parametrize("adapter", [None, ADAPTER], ids=["full", "adapter"])
def test_damage_to_any_file_of_the_newest_passes_on_to_the_one_before(
    run: RunDir, adapter: Adapter | None, damage: Callable[[Path], None]
) -> None:
    policy = policy_of(adapter=adapter)
    older, newer = write(run, 2, policy), write(run, 4, policy)
    assert checkpoint.newest_whole(run) == newer
    files = [file for file in newer.rglob("*") if file.is_file()]
    assert len(files) >= 6
    for file in files:
        before = file.read_bytes()
        damage(file)
        assert checkpoint.newest_whole(run) == older, file.name
        file.write_bytes(before)
    assert checkpoint.newest_whole(run) == newer


def test_no_flipped_bit_of_a_manifest_goes_unnoticed(run: RunDir) -> None:
    staging = run.path / "staging"
    staging.mkdir()
    for name in ("model.safetensors", "state.json"):
        (staging / name).write_text(name)
    checkpoint.put_in_place(staging, run.path / "whole")
    manifest = run.path / "whole" / checkpoint.MANIFEST
    whole = manifest.read_bytes()
    assert checkpoint.is_whole(manifest.parent)
    unnoticed = []
    for bit in range(8 * len(whole)):
        flipped = bytearray(whole)
        flipped[bit // 8] ^= 1 << bit % 8
        manifest.write_bytes(flipped)
        if checkpoint.is_whole(manifest.parent):
            unnoticed.append(bit)
    assert unnoticed == []


def test_without_any_whole_checkpoint_there_is_none_to_go_on_from(run: RunDir, policy: Policy) -> None:
    assert checkpoint.newest_whole(run) is None
    missing(write(run, 2, policy) / checkpoint.MANIFEST)
    assert checkpoint.newest_whole(run) is None


def test_older_checkpoints_go_and_the_newest_stay(run: RunDir, policy: Policy) -> None:
    for step in (2, 4, 6):
        write(run, step, policy)
    checkpoint.keep_newest(run, 2)
    assert run.saved_steps() == [4, 6]


@pytest.mark.parametrize("count", [1, 2])
def test_the_last_whole_checkpoint_is_kept_however_many_damaged_ones_are_newer(
    run: RunDir, policy: Policy, count: int
) -> None:
    for step in (2, 4, 6):
        write(run, step, policy)
    for step in (4, 6):
        halved(run.checkpoint(step) / "model.safetensors")
    checkpoint.keep_newest(run, count)
    assert checkpoint.newest_whole(run) == run.checkpoint(2)


def test_nothing_is_deleted_while_no_checkpoint_is_whole(run: RunDir, policy: Policy) -> None:
    for step in (2, 4):
        missing(write(run, step, policy) / checkpoint.MANIFEST)
    checkpoint.keep_newest(run, 1)
    assert run.saved_steps() == [2, 4]


# ----------------------------------------------------------------------------------------- exactly restored


def assert_same_state(one: nn.Module, other: nn.Module) -> None:
    found, wanted = other.state_dict(), one.state_dict()
    assert found.keys() == wanted.keys()
    assert [name for name, value in wanted.items() if not torch.equal(value, found[name])] == []


@pytest.mark.parametrize("adapter", [None, ADAPTER], ids=["full", "adapter"])
@pytest.mark.parametrize("family", ["llama", "gpt2", "qwen2"])
def test_learning_goes_on_from_a_checkpoint_as_if_it_had_not_stopped(
    run: RunDir, family: str, adapter: Adapter | None
) -> None:
    undisturbed = policy_of(family, adapter=adapter)
    optimizer = optimizer_of(undisturbed.model)
    torch.manual_seed(5)
    learn(undisturbed.model, optimizer)
    path = write(run, 3, undisturbed, optimizer)
    learn(undisturbed.model, optimizer)

    torch.manual_seed(77)
    again = policy_of(family, adapter=adapter)
    fresh = optimizer_of(again.model)
    checkpoint.restore_model(path, again.model, has_adapter=again.has_adapter)
    assert checkpoint.restore_training(path, fresh)["step"] == 3
    learn(again.model, fresh)
    assert_same_state(undisturbed.model, again.model)


@pytest.mark.parametrize("family", ["llama", "gpt2", "qwen2"])
def test_tied_weights_come_back_tied(run: RunDir, family: str) -> None:
    config = AutoConfig.for_model(
        family, vocab_size=300, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2
    )
    config.tie_word_embeddings = True
    models = [AutoModelForCausalLM.from_config(config) for _ in range(2)]
    path = write(run, 1, Policy(models[0], byte_tokenizer(), has_adapter=False))
    checkpoint.restore_model(path, models[1], has_adapter=False)
    assert_same_state(*models)
    assert models[1].get_output_embeddings().weight is models[1].get_input_embeddings().weight


def test_every_random_stream_goes_on_where_it_was(run: RunDir, policy: Policy) -> None:
    def draw() -> list[float]:
        gauss = [random.gauss(0, 1), float(np.random.standard_normal())]
        return [*gauss, random.random(), float(np.random.random()), float(torch.rand(1)), float(torch.randn(1))]  # noqa: S311 - the stream itself is what is tested

    draw()  # leaves half a pair of normal numbers in store
    path = write(run, 1, policy)
    expected = draw()
    draw()
    checkpoint.restore_training(path, optimizer_of(policy.model))
    assert draw() == expected


def test_a_checkpoint_of_another_model_is_refused(run: RunDir, policy: Policy) -> None:
    path = write(run, 1, policy)
    with pytest.raises(ValueError, match="does not fit the model"):
        checkpoint.restore_model(path, policy_of("gpt2").model, has_adapter=False)


def test_a_checkpoint_opens_with_transformers_and_an_adapter_with_peft(run: RunDir, policy: Policy) -> None:
    from peft import PeftModel

    whole = AutoModelForCausalLM.from_pretrained(write(run, 1, policy))
    assert_same_state(policy.model, whole)
    with_adapter = policy_of(adapter=ADAPTER)
    learn(with_adapter.model, optimizer_of(with_adapter.model))
    path = write(run, 2, with_adapter)
    again = PeftModel.from_pretrained(policy_of().model, str(path))
    assert_same_state(with_adapter.model, again)
    assert AutoTokenizer.from_pretrained(path)("3+4=")["input_ids"] == policy.tokenizer("3+4=")["input_ids"]


@pytest.mark.parametrize("adapter", [None, ADAPTER], ids=["full", "adapter"])
def test_nothing_in_a_checkpoint_is_a_pickle(run: RunDir, adapter: Adapter | None) -> None:
    policy = policy_of(adapter=adapter)
    optimizer = optimizer_of(policy.model)
    learn(policy.model, optimizer)
    for file in (file for file in write(run, 1, policy, optimizer).rglob("*") if file.is_file()):
        if file.suffix == ".json":
            json.loads(file.read_text("utf-8"))
        else:
            assert file.suffix in {".safetensors", ".md"}, file.name
