"""What answers to held-out prompts are worth."""

import math

from engine.contract.online_settings import Rollout
from engine.data.batching import mix
from engine.data.sources import Table
from engine.methods.bench import Bench
from engine.methods.prompts import Prompts
from engine.rewards import Answered, RewardSum
from engine.tally import Mean, Tally

#: Held-out prompts answered each time data.eval is measured.
EVAL_PROMPTS = 128


def held_out_reward(
    bench: Bench, table: Table, reward: RewardSum, prompts: Prompts, how: Rollout, *, seed: int
) -> dict[str, float]:
    """Mean reward of one sampled answer to each held-out prompt, with its standard error.

    Always the same noise, so that steps can be compared.
    """
    accelerator, tally = bench.accelerator, Tally()
    rows = list(enumerate(table.rows[:EVAL_PROMPTS]))[accelerator.process_index :: accelerator.num_processes]
    read = [prompts.of(row) for _, row in rows]
    if rows:
        answers = bench.rollout.answers(read, [[mix(seed, -1, place)] for place, _ in rows], how)
        answered = [
            Answered(row, bench.encoder.decode(answer.ids), answer.ids, prompt)
            for (_, row), prompt, (answer,) in zip(rows, read, answers, strict=True)
        ]
        scores = reward.score(answered)
        tally.add({"eval_reward": Mean(sum(scored.total for scored in scores), len(scores))})
        for name in scores[0].parts:
            tally.add({f"eval_rewards/{name}/mean": Mean(sum(s.parts[name] for s in scores), len(scores))})
        cut = sum(answer.finish == "length" for (answer,) in answers)
        tally.add({"eval_completions/clipped_ratio": Mean(cut, len(answers))})
        tally.add({"eval_reward_se": Mean(sum(scored.total**2 for scored in scores), len(scores))})
    means = tally.means(accelerator)
    count = min(len(table.rows), EVAL_PROMPTS)
    variance = max(0.0, means["eval_reward_se"] - means["eval_reward"] ** 2)
    return {**means, "eval_reward_se": math.sqrt(variance / max(1, count - 1))}
