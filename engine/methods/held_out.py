"""What answers to held-out prompts are worth."""

import math

from engine.contract.online_settings import Rollout
from engine.data.batching import mix
from engine.data.sources import Table
from engine.methods.bench import Bench
from engine.methods.prompts import Prompts
from engine.rewards import Answered, RewardSum, told
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
        totals = [scored.total for scored in scores if scored.is_known]
        tally.add({"eval_reward": Mean(sum(totals), len(totals))})
        tally.add({f"eval_{name}": value for name, value in told(scores).items() if not name.endswith("/std")})
        cut = sum(answer.finish == "length" for (answer,) in answers)
        tally.add({"eval_completions/clipped_ratio": Mean(cut, len(answers))})
        tally.add({"eval_reward_se": Mean(sum(total**2 for total in totals), len(totals))})
    means = tally.means(accelerator)
    if "eval_reward" not in means:  # no answer had one, and that has been told
        return means
    count = min(len(table.rows), EVAL_PROMPTS) * (1.0 - means.get("eval_frac_reward_missing", 0.0))
    variance = max(0.0, means["eval_reward_se"] - means["eval_reward"] ** 2)
    return {**means, "eval_reward_se": math.sqrt(variance / max(1.0, count - 1))}
