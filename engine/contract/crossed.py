"""Faults of a preset that take two settings to see, a section at a time; preset.py knows which method has which."""

from collections.abc import Sequence

from pydantic import BaseModel

from engine.contract import composed_settings, faults, online_settings, settings
from engine.contract.faults import Fault
from engine.contract.metrics import describe

#: Losses of `dpo` that know of label_smoothing, and those that compare the pairs of a batch with each other.
SMOOTHED = ("sigmoid", "robust", "exo_pair", "aot", "aot_unpaired")
WHOLE_BATCH = ("aot", "aot_unpaired")


def of_early_stopping(training: settings.Training, data: settings.Data) -> list[Fault]:
    """Faults of waiting for a measure that nobody takes, or of which nobody knows when it is better."""
    wish, found = training.early_stopping, []
    if wish is None:
        return []
    if describe(wish.metric).direction == "none":
        problem = "is no measure with a better and a worse"
        found.append(Fault(("training", "early_stopping", "metric"), wish.metric, problem, "try eval_loss"))
    is_held_out = data.eval is not None or data.eval_share > 0
    if wish.metric.startswith("eval_") and not is_held_out:
        found.append(Fault(("data", "eval"), "null", "is missing, and early_stopping waits for it", "name a source"))
    if wish.metric.startswith("eval_") and not training.eval_every:
        remedy = "set it to a tenth of training.steps or so"
        found.append(Fault(("training", "eval_every"), "0", "never measures what early_stopping waits for", remedy))
    return found


def of_adapter(model: settings.Model, training: settings.Training) -> list[Fault]:
    """Settings of an adapter that its kind does not have; one that says no more than the default is let be."""
    adapter = model.adapter
    if adapter is None:
        return []
    found = []
    for name, field in settings.Adapter.model_fields.items():
        about = field.json_schema_extra if isinstance(field.json_schema_extra, dict) else {}
        wanted = str(about.get("needs") or f"kind={adapter.kind}").removeprefix("kind=").split("|")
        value = getattr(adapter, name)
        if adapter.kind not in wanted and value != field.default:
            problem, remedy = f"has no effect on {adapter.kind}", f"leave it out, or use one of {', '.join(wanted)}"
            found.append(Fault(("model", "adapter", name), faults.shown(value), problem, remedy))
    if adapter.kind == "prefix_tuning" and training.gradient_checkpointing:
        key, problem = ("training", "gradient_checkpointing"), "would compute without the prefix"
        found.append(Fault(key, "true", problem, "set it to false, or use prompt_tuning or lora"))
    return found


def of_data(data: settings.Data) -> list[Fault]:
    """Faults of sources that do not go together."""
    found = []
    if data.eval is not None and data.eval_share:
        remedy = "give one of them: a source of its own, or a share of the training prompts"
        found.append(Fault(("data", "eval_share"), str(data.eval_share), "stands beside data.eval", remedy))
    given = [source.weight is not None for source in data.train]
    if any(given) and not all(given):
        where = ("data", "train", given.index(False), "weight")
        found.append(Fault(where, "", "is missing, as other sources have one", "give every source a weight, or none"))
    return found


def of_reward_model(adapter: settings.Adapter | None, own: settings.RewardModel) -> list[Fault]:
    """Faults of an adapter that does not go with a head."""
    found = []
    freeze = own.freeze
    if adapter is not None and freeze != "nothing":
        problem = "has no effect beside an adapter, which freezes all but itself and the head"
        found.append(Fault(("reward_model", "freeze"), freeze, problem, "set it to nothing"))
    if adapter is not None and not adapter.is_low_rank:
        problem = "leaves no way to learn the head that gives the score"
        found.append(Fault(("model", "adapter", "kind"), adapter.kind, problem, "use lora, dora or rslora"))
    return found


def of_dpo(own: settings.Dpo, training: settings.Training) -> list[Fault]:
    """Faults of a loss that needs something of other settings."""
    found = []
    smoothing, given = ("dpo", "label_smoothing"), str(own.label_smoothing)
    if own.losses and own.loss != "sigmoid":
        found.append(
            Fault(("dpo", "loss"), own.loss, "is not used beside dpo.losses", "name it there, or leave it out")
        )
    if own.margin and "sigmoid" not in own.kinds:
        problem = f"has no effect on {', '.join(own.kinds)}"
        found.append(Fault(("dpo", "margin"), str(own.margin), problem, "set it to 0, or choose sigmoid"))
    if own.label_smoothing and not set(own.kinds) & set(SMOOTHED):
        remedy = f"set it to 0, or choose one of {', '.join(SMOOTHED)}"
        found.append(Fault(smoothing, given, f"has no effect on {', '.join(own.kinds)}", remedy))
    if "exo_pair" in own.kinds and not own.label_smoothing:
        found.append(Fault(smoothing, given, "should be greater than 0 for exo_pair", "try 0.1"))
    if sorting := [kind for kind in own.kinds if kind in WHOLE_BATCH]:
        problem = f"{sorting[0]} sorts the pairs of a batch, so it needs them in one process and in memory at once"
        if training.processes > 1:
            found.append(Fault(("training", "processes"), str(training.processes), problem, "use 1"))
        size = training.micro_batch_size
        if size == "auto" or size < training.batch_size:
            remedy = f"set it to training.batch_size, {training.batch_size}"
            found.append(Fault(("training", "micro_batch_size"), str(size), problem, remedy))
    return found


def of_rewards(rewards: Sequence[BaseModel]) -> list[Fault]:
    """Faults of a function that nobody has said yes to."""
    return [
        Fault(
            ("rewards", index, "allow_code"),
            "false",
            f"is no yes, and {part.path} is a program that would run as you",
            "read that file, then set allow_code to true",
        )
        for index, part in enumerate(rewards)
        if isinstance(part, online_settings.OwnFunction) and not part.allow_code
    ]


def of_grpo(own: online_settings.Grpo, rollout: online_settings.Rollout) -> list[Fault]:
    """Faults of choices that leave nothing to learn from, or that one another takes the sense of."""
    found = []
    if rollout.completions_per_prompt < 2 and (own.baseline in ("group", "leave_one_out") or own.leave_out_alike):
        problem, remedy = "leaves nothing to compare with", "use 2 or more, or grpo.baseline batch"
        found.append(Fault(("rollout", "completions_per_prompt"), "1", problem, remedy))
    if rollout.completions_per_prompt < 2 and own.baseline in ("batch", "none") and own.scale_advantages == "group":
        problem, remedy = "has no spread where a prompt has one answer", "use batch, advantages or none"
        found.append(Fault(("grpo", "scale_advantages"), "group", problem, remedy))
    if own.clip == "one_sided" and own.cap is None:
        found.append(Fault(("grpo", "cap"), "null", "is what one_sided clips at, and missing", "try 5"))
    if own.clip == "gamma" and own.ratio != "answer":
        found.append(
            Fault(("grpo", "ratio"), own.ratio, "is no weight of the whole answer, as gamma asks", "use answer")
        )
    if own.beta and own.kl == "k1" and own.kl_in == "loss" and not own.kl_correction:
        problem = "has a gradient that is zero in expectation"
        found.append(Fault(("grpo", "kl"), "k1", problem, "use k2 or k3, kl_correction, or grpo.kl_in reward"))
    if own.refill and not own.leave_out_alike:
        problem, remedy = "has nothing to take the place of", "set grpo.leave_out_alike to true"
        found.append(Fault(("grpo", "refill"), str(own.refill), problem, remedy))
    if own.importance == "none":
        found += of_another_law(rollout, "grpo", "set grpo.importance to token")
    if own.interrupt_with is not None and own.leave_out_truncated:
        problem = "says what to do with answers that reach their limit, and so does interrupt_with"
        found.append(Fault(("grpo", "leave_out_truncated"), "true", problem, "choose one of them"))
    return found


def of_grpos_updates(own: online_settings.Grpo, prompts: int) -> list[Fault]:
    """Faults of how a step's tokens are judged, and cut into updates. prompts: of a step."""
    found = []
    if own.kl_in == "tokens" and own.scale_advantages == "group":
        problem, remedy = "has no spread of one prompt where each token has its own advantage", "use advantages or none"
        found.append(Fault(("grpo", "scale_advantages"), "group", problem, remedy))
    if own.minibatches > prompts:
        problem = f"cannot cut {prompts} prompts into so many updates"
        found.append(Fault(("grpo", "minibatches"), str(own.minibatches), problem, f"use {prompts} or less"))
    return found


def of_another_law(rollout: online_settings.Rollout, method: str, remedy: str) -> list[Fault]:
    """Faults of cutting the law that answers are drawn from, where the loss is of the whole one."""
    problem = f"draws tokens by another law than the one whose probabilities {method} learns from"
    return [
        Fault(("rollout", name), str(value), problem, f"use {off:g}, or {remedy}")
        for name, off in (("top_p", 1.0), ("top_k", 0), ("min_p", 0.0))
        if (value := getattr(rollout, name)) != off
    ]


def of_ppo(
    own: online_settings.Ppo,
    training: settings.Training,
    rollout: online_settings.Rollout,
    adapter: settings.Adapter | None,
) -> list[Fault]:
    """Faults of updates that cannot be cut evenly, of another law of sampling, and of a critic that cannot be."""
    found = []
    answers, parts = training.batch_size * rollout.completions_per_prompt, own.minibatches * training.processes
    if answers % parts:
        problem = f"cannot share {answers} answers evenly over {training.processes} processes"
        found.append(Fault(("ppo", "minibatches"), str(own.minibatches), problem, f"use a divisor of {answers}"))
    found += of_another_law(rollout, "ppo", "draw closer by temperature")
    if own.kl_target is not None and own.beta == 0:
        found.append(Fault(("ppo", "beta"), "0", "cannot follow kl_target: nothing times 0 grows", "begin with 0.05"))
    if own.critic == "head" and own.critic_path is not None:
        remedy = "leave it out, or use model"
        found.append(Fault(("ppo", "critic_path"), own.critic_path, "has no effect on a head", remedy))
    if own.critic == "model" and adapter is not None and not adapter.is_low_rank:
        problem = f"cannot be trained with {adapter.kind}, as it has a head to learn"
        found.append(Fault(("ppo", "critic"), "model", problem, "use head, or lora"))
    return found


def of_best_of_n(own: composed_settings.BestOfN, rollout: online_settings.Rollout) -> list[Fault]:
    """A best answer needs another beside it; and a share of the step where that is asked for."""
    found = []
    if rollout.completions_per_prompt < 2 and own.keep == "best" and own.min_reward is None:
        problem, remedy = "is always the best to its prompt", "use 2 or more, or best_of_n.keep elite"
        found.append(Fault(("rollout", "completions_per_prompt"), "1", problem, remedy))
    if own.keep == "elite" and own.elite == 1 and own.min_reward is None:
        problem, remedy = "keeps every answer, so nothing is chosen", "try 0.2, or set best_of_n.min_reward"
        found.append(Fault(("best_of_n", "elite"), "1", problem, remedy))
    return found


def of_online_dpo(own: composed_settings.OnlineDpo, rollout: online_settings.Rollout) -> list[Fault]:
    """A pair needs two answers, and smoothing a loss that knows of it."""
    found = []
    if rollout.completions_per_prompt < 2:
        problem = "leaves nothing to compare with"
        found.append(
            Fault(("rollout", "completions_per_prompt"), "1", problem, "use 2, or more to compare best and worst")
        )
    if own.label_smoothing and own.loss != "sigmoid":
        given, problem = str(own.label_smoothing), f"has no effect on {own.loss}"
        found.append(Fault(("online_dpo", "label_smoothing"), given, problem, "set it to 0, or choose sigmoid"))
    return found
