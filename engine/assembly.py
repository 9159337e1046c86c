"""The parts of a run, put together from its preset: accelerator, policy, data, optimiser, method."""

import contextlib
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from torch import nn

from engine import checkpoint
from engine.allocator import keep_freed_memory
from engine.contract.composed_presets import DistillPreset
from engine.contract.preset import PpoPreset, Preset, RewardModelPreset, TextPreset, model_of
from engine.contract.run_dir import RunDir, read_json
from engine.contract.settings import Optimizer, Training
from engine.control import CommandFile
from engine.data.chat import ChatEncoder
from engine.data.sources import Table, load_rows, load_split
from engine.distilling import StudentScorer
from engine.flops import Meter
from engine.logprobs import Rows, TokenScorer
from engine.loop import Control, Method, Progress
from engine.methods import METHODS, NEEDS_REFERENCE
from engine.methods.bench import Bench
from engine.model_card import model_card
from engine.models import MERGED_BASE, Policy, choose_device, choose_dtype, load_policy
from engine.reporting import Reporter
from engine.reward_models import RewardScorer, load_reward_model
from engine.rollout.local import LocalRollout
from engine.saving import Keeper, put_final
from engine.several import MEETING
from engine.threads import calibrate
from engine.value_models import CRITIC, ActorCritic, OwnCritic, load_critic

#: Kept until the process ends. Who drops the last reference to a group waits for its threads while holding Python's
#: lock, and a thread that is just letting go of a tensor waits for that lock: DDP did so at the end of one run in six.
_GROUPS: list[Any] = []


@dataclass(frozen=True)
class Parts:
    """Everything a run is made of."""

    run: RunDir
    preset: TextPreset
    bench: Bench
    method: Method
    optimizer: Any
    threads: int

    @property
    def scorer(self) -> nn.Module:
        """What learns, as accelerate wrapped it."""
        return self.bench.scorer

    def save(self, progress: Progress, reporter: Reporter) -> None:
        """Write a checkpoint; a full disk costs the checkpoint, not the run."""
        self._keeper.save(progress, reporter, self._write)

    def restore(self, path: Path) -> Progress:
        """Go back to where a checkpoint was made."""
        self._restore_models(path)
        return self._keeper.restore(path)

    def finish(self, reporter: Reporter, progress: Progress) -> None:
        """Put the trained model, or its best weights where they were looked for, into final/, with a card; whole."""
        if not self.bench.accelerator.is_main_process:
            return
        if best := self._keeper.best_checkpoint(reporter, progress):
            self._restore_models(best)
        put_final(self.run, self._write_final)
        if self.bench.critic is not None:  # apart, so that final/ stays what any library opens
            staging = self.run.path / ".tmp-critic"
            shutil.rmtree(staging, ignore_errors=True)
            self.bench.critic.save(staging, whole=True)
            checkpoint.put_in_place(staging, self.run.path / CRITIC)

    @property
    def meter(self) -> Meter:
        """What tells how much arithmetic a step takes."""
        return self.bench.meter

    @property
    def _keeper(self) -> Keeper:
        training, accelerator = self.preset.training, self.bench.accelerator
        return Keeper(self.run, training, accelerator, self.optimizer, self.method, self.threads)

    def _write(self, folder: Path) -> None:
        checkpoint.save_model(self.bench.policy.model, self.bench.policy.tokenizer, folder)
        if self.bench.critic is not None:
            self.bench.critic.save(folder / CRITIC, whole=False)

    def _write_final(self, folder: Path) -> None:
        checkpoint.save_model(self.bench.policy.model, self.bench.policy.tokenizer, folder)
        (folder / "README.md").write_text(model_card(self.run, self.preset), "utf-8")

    def _restore_models(self, path: Path) -> None:
        checkpoint.restore_model(path, self.bench.policy.model, has_adapter=self.bench.policy.has_adapter)
        if self.bench.critic is not None:
            self.bench.critic.restore(path / CRITIC)


def accelerator_of(preset: Preset) -> Accelerator:
    """Placement and mixed precision, by accelerate. Raises ModelError if the device is not there."""
    keep_freed_memory()
    section = model_of(preset)
    device = choose_device("auto" if section is None else section.device)
    dtype = choose_dtype("auto" if section is None else section.dtype, device)
    precision = {torch.bfloat16: "bf16", torch.float16: "fp16"}.get(dtype, "no")
    if device.type == "cuda" and device.index is not None:
        torch.cuda.set_device(device)
    if MEETING in os.environ:
        _meet(device)
    accelerator = Accelerator(cpu=device.type == "cpu", mixed_precision=precision)
    if torch.distributed.is_initialized():
        _GROUPS.append(torch.distributed.group.WORLD)
    return accelerator


def _meet(device: torch.device) -> None:
    """Join the other processes of this run. Accelerate would have them meet on a port that listens to all networks."""
    torch.distributed.init_process_group(
        "nccl" if device.type == "cuda" else "gloo",
        init_method=Path(os.environ[MEETING]).absolute().as_uri(),
        rank=int(os.environ["RANK"]),
        world_size=int(os.environ["WORLD_SIZE"]),
    )


def control_of(run: RunDir, reporter: Reporter, accelerator: Accelerator, offset: int) -> CommandFile:
    """What obeys commands.jsonl from byte `offset` on."""
    control = CommandFile(run, reporter, accelerator, offset=offset)
    control.stop_on_signals()
    return control


def assemble(run: RunDir, preset: TextPreset, accelerator: Accelerator, reporter: Reporter, control: Control) -> Parts:
    """Load model and data, and build the method. Raises ModelError, DataError, TaskError, RewardError."""
    device = accelerator.device
    known = known_threads(run, preset.training) if device.type == "cpu" else None
    if known is not None:
        torch.set_num_threads(known)
    reporter.phase("loading the model")
    policy, bare = _model_of(run, preset, device)
    critic = bare.critic if isinstance(bare, ActorCritic) else None
    if preset.training.gradient_checkpointing:
        for model in [policy.model, *([critic.model] if isinstance(critic, OwnCritic) else [])]:
            model.gradient_checkpointing_enable({"use_reentrant": False})  # type: ignore[operator]
    control.breathe()
    if device.type == "cpu" and known is None:
        _measure_threads(preset, bare, reporter)
    optimizer = optimizer_of(preset, policy.model, critic)
    scorer, optimizer = accelerator.prepare(bare, optimizer)
    meter = meter_of(policy, critic)
    reporter.phase("reading the data")
    table, held_out = _tables(preset, reporter, control)
    bench = Bench(
        policy=policy,
        scorer=scorer,
        bare_scorer=bare,
        critic=critic,
        reference_scorer=None if policy.reference is None else TokenScorer(policy.reference),
        rollout=LocalRollout(policy, accelerator.autocast, control.breathe, meter),
        accelerator=accelerator,
        encoder=ChatEncoder(policy.tokenizer, system_prompt=preset.data.system_prompt),
        train=table,
        held_out=held_out,
        reporter=reporter,
        breathe=control.breathe,
        folder=run.path,
        meter=meter,
    )
    return Parts(run, preset, bench, METHODS[preset.method](preset, bench), optimizer, torch.get_num_threads())


def meter_of(policy: Policy, critic: nn.Module | None) -> Meter:
    """What counts the arithmetic of the policy and of what stands beside it; rewards and teachers join it later."""
    meter = Meter()
    beside = critic.model if isinstance(critic, OwnCritic) else None
    for model in filter(None, (policy.model, policy.reference, beside)):
        meter.watch(model)
    return meter


def _tables(preset: TextPreset, reporter: Reporter, control: Control) -> tuple[Table, Table | None]:
    """What trains and what is held out; of the rows in the files that cannot be used, one notice."""

    def breathe() -> None:
        reporter.beat()
        control.breathe()

    data, held_out = preset.data, None
    if data.eval_share:
        train, held_out = load_split(
            data.train, preset.method, share=data.eval_share, seed=preset.seed, breathe=breathe
        )
    else:
        train = load_rows(data.train, preset.method, breathe=breathe)
    if data.eval is not None:
        held_out = load_rows(data.eval, preset.method, breathe=breathe)
    unusable = filter(None, (table.unusable for table in (train, held_out) if table is not None))
    if lost := "; ".join(unusable):
        reporter.notice("warning", lost, "mend those rows if they matter; the run goes on without them")
    return train, held_out


def _model_of(
    run: RunDir, preset: TextPreset, device: torch.device
) -> tuple[Policy, TokenScorer | RewardScorer | ActorCritic | StudentScorer]:
    """What is trained, and what scores with it: tokens, for PPO with a critic beside, for distillation beside a
    teacher, or for a reward model texts."""
    base, dtype = run.path / MERGED_BASE, choose_dtype(preset.model.dtype, device)
    if isinstance(preset, RewardModelPreset):
        reward_model = load_reward_model(preset, device=device, dtype=dtype, base=base)
        return reward_model, RewardScorer(reward_model.model)
    needs_reference = NEEDS_REFERENCE.get(preset.method, lambda _: False)(preset)
    policy = load_policy(
        preset.model,
        device=device,
        dtype=dtype,
        seed=preset.seed,
        with_reference=needs_reference,
        merged_base=base,
    )
    if isinstance(preset, DistillPreset):
        return policy, StudentScorer(policy.model)
    actor = TokenScorer(policy.model)
    if isinstance(preset, PpoPreset):
        return policy, ActorCritic(actor, load_critic(preset, actor, policy, dtype=dtype, folder=run.path))
    return policy, actor


def optimizer_of(preset: TextPreset, model: nn.Module, critic: nn.Module | None = None) -> torch.optim.Optimizer:
    """AdamW over what is trained; biases and norms do not decay. critic: learns beside it, at a rate of its own."""
    groups = groups_of(preset.optimizer, model)
    if critic is not None and isinstance(preset, PpoPreset):
        rate, own = preset.optimizer.learning_rate, preset.ppo.critic_learning_rate
        scale = own / rate if own and rate else 1.0
        groups = [{**group, "rests_until": preset.ppo.critic_warmup} for group in groups]
        groups += [{**group, "lr_scale": scale} for group in groups_of(preset.optimizer, critic)]
    return torch.optim.AdamW(groups, lr=preset.optimizer.learning_rate, fused=True)


def groups_of(settings: Optimizer, model: nn.Module) -> list[dict[str, Any]]:
    """What of a model is trained, and what of that decays: matrices do, biases and norms do not."""
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    groups = [
        {"params": [p for p in trained if p.dim() >= 2], "weight_decay": settings.weight_decay},
        {"params": [p for p in trained if p.dim() < 2], "weight_decay": 0.0},
    ]
    return [group for group in groups if group["params"]]


def known_threads(run: RunDir, training: Training) -> int | None:
    """As many as the preset says, or as an earlier life used (other sums would round otherwise), or None."""
    if training.threads != "auto":
        return training.threads
    earlier = read_json(run.environment).get("threads")
    return earlier if isinstance(earlier, int) else None


def _measure_threads(preset: TextPreset, scorer: nn.Module, reporter: Reporter) -> None:
    """Compute with as many threads as are fastest now."""
    reporter.phase("measuring threads")
    ids = torch.arange(64).view(2, 32)
    is_token = torch.ones_like(ids, dtype=torch.bool)
    rows = Rows(ids, is_token, is_token.clone().index_fill_(1, torch.tensor([0]), False))

    def one_pass() -> None:
        # fork_rng: measuring must not change what is drawn later.
        with torch.random.fork_rng(), contextlib.suppress(RuntimeError):
            scorer(rows)[0].sum().backward()  # first comes what carries the gradient
        scorer.zero_grad(set_to_none=True)

    calibrate(one_pass, processes=preset.training.processes)
