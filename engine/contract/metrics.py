"""Known metric names: title, unit, which way is better, what it means, who defined it.

Any float may be reported under any name; one that is not here is shown under itself. Names are TRL's where TRL has one.
"""

from engine.contract import image_metrics, tuning_metrics
from engine.contract.metric import Direction, Metric

SCHULMAN_KL = "Schulman 2020, Approximating KL Divergence, k3"
SCHULMAN_PPO = "Schulman et al. 2017, arXiv:1707.06347"
KAPLAN = "Kaplan et al. 2020, arXiv:2001.08361, sec. 2.1"
ZIEGLER = "Ziegler et al. 2019, arXiv:1909.08593"
GRPO = "Shao et al. 2024, arXiv:2402.03300"
DAPO = "Yu et al. 2025, arXiv:2503.14476"
SCALE_RL = "Khatri et al. 2025, arXiv:2510.13786"
OUYANG = "Ouyang et al. 2022, arXiv:2203.02155"
DPO = "Rafailov et al. 2023, arXiv:2305.18290"
ORPO = "Hong et al. 2024, arXiv:2403.07691"

RAFT = "Dong et al. 2023, arXiv:2304.06767"
OAIF = "Guo et al. 2024, arXiv:2402.04792"
GKD = "Agarwal et al. 2023, arXiv:2306.13649"

CATALOGUE: dict[str, Metric] = {
    **image_metrics.CATALOGUE,
    **tuning_metrics.CATALOGUE,
    "loss": Metric("Loss", "", "down", "what the optimiser lowers"),
    "grad_norm": Metric("Gradient norm", "", "none", "length of the gradient before clipping"),
    "skipped_updates": Metric(
        "Skipped updates", "", "down", "updates left out so far: loss or gradient was no number", is_count=True
    ),
    "learning_rate": Metric("Learning rate", "", "none", "size of this step of AdamW"),
    "entropy": Metric("Entropy", "nats", "none", "mean uncertainty over the next token; near 0 the model has settled"),
    "num_tokens": Metric("Tokens seen", "tokens", "none", "tokens read so far, prompts included", is_count=True),
    "step_flops": Metric(
        *("Arithmetic a step", "FLOP", "none"),
        "estimate over all models: 2 for each weight and token read or written, 4 more where it is learned from",
        KAPLAN,
        is_count=True,
    ),
    "mean_token_accuracy": Metric("Token accuracy", "", "up", "share of target tokens that were the likeliest"),
    "reward": Metric("Reward", "", "up", "mean weighted reward of the sampled answers"),
    "reward_std": Metric("Spread of rewards", "", "none", "mean standard deviation of rewards within a prompt", GRPO),
    "frac_reward_zero_std": Metric(
        "Groups without signal",
        "",
        "down",
        "share of prompts whose answers all scored alike, so nothing is learned",
        GRPO,
    ),
    "kl": Metric(
        "KL to reference",
        "nats a token",
        "none",
        "mean over tokens of exp(d) - 1 - d, d = ref - policy, or as grpo.kl says",
        SCHULMAN_KL,
    ),
    "objective/kl": Metric(
        "KL to reference", "nats an answer", "none", "mean over answers of the KL of their tokens, summed", ZIEGLER
    ),
    "objective/scores": Metric("Score", "", "up", "mean of what answers scored, less the fine for those cut off"),
    "objective/rlhf_reward": Metric(
        "Reward less KL", "", "up", "what PPO raises: mean score, less beta times KL to the reference", OUYANG
    ),
    "objective/non_score_reward": Metric("KL penalty", "", "none", "mean over answers of -beta KL, summed over tokens"),
    "objective/entropy": Metric("Surprise of answers", "nats an answer", "none", "mean of -log-probability of answers"),
    "objective/kl_coef": Metric("Weight of KL", "1/nat", "none", "beta of the step; it moves if there is a target"),
    "loss/policy": Metric("Policy loss", "", "none", "clipped surrogate, mean over tokens", SCHULMAN_PPO),
    "loss/value": Metric("Value loss", "", "down", "half the squared error of the critic, clipped; mean over tokens"),
    "policy/entropy_avg": Metric("Entropy", "nats", "none", "mean uncertainty over the next token"),
    "policy/approxkl_avg": Metric(
        "Move within the step", "nats a token", "none", "half the mean squared log-ratio of new policy to old"
    ),
    "policy/clipfrac_avg": Metric("Clipped tokens", "", "none", "share of tokens whose ratio left 1 +- epsilon"),
    "val/clipfrac_avg": Metric("Clipped values", "", "none", "share of values that moved further than they may"),
    "val/ratio": Metric("Ratio", "", "none", "mean probability ratio of new policy to old; near 1 while they agree"),
    "val/explained_variance": Metric(
        "Explained variance", "", "up", "share of the variance of returns that the critic foretold; 1 is all"
    ),
    "val/num_eos_tokens": Metric("Answers that ended", "answers", "none", "answers of the step with their end token"),
    "values/mean": Metric("Value", "reward", "none", "mean of what the critic expected before each token"),
    "returns/mean": Metric("Return", "reward", "none", "mean of what the critic should have expected"),
    "returns/std": Metric("Spread of returns", "reward"),
    "updates": Metric("Updates", "", "none", "updates of the step; fewer where it stopped at its KL"),
    "policy_loss": Metric("Policy loss", "", "none", "clipped surrogate, without the KL term", GRPO),
    "clip_ratio/region_mean": Metric("Clipped tokens", "", "none", "share of tokens whose ratio left the trust region"),
    "clip_ratio/low_mean": Metric("Clipped below", "", "none", "share of tokens clipped at 1 - epsilon"),
    "clip_ratio/high_mean": Metric("Clipped above", "", "none", "share of tokens clipped at 1 + epsilon_high"),
    "clip_ratio/low_min": Metric("Least clipped below", "", "none", "share of the answer that was clipped least"),
    "clip_ratio/high_max": Metric("Most clipped above", "", "none", "share of the answer that was clipped most"),
    "advantages/std": Metric("Spread of advantages", "", "none", "over all answers that are learned from"),
    "advantages/min": Metric("Lowest advantage"),
    "advantages/p10": Metric("Advantage, a tenth", "", "none", "a tenth of the answers are below"),
    "advantages/p50": Metric("Advantage, median", "", "none", "half of the answers are below"),
    "advantages/p90": Metric("Advantage, nine tenths", "", "none", "nine tenths of the answers are below"),
    "advantages/max": Metric("Highest advantage"),
    "dynamic_sampling/turns": Metric(
        "Sampling turns", "", "down", "how often prompts were sampled until enough told their answers apart", DAPO
    ),
    "dynamic_sampling/kept": Metric(
        "Share of the batch filled", "", "up", "prompts learned from, of those that a step is to have", DAPO
    ),
    "frac_reward_missing": Metric(
        "Answers without a reward",
        "",
        "down",
        "share of answers on which a part of the reward failed; not learned from",
    ),
    "prompts/retired": Metric(
        "Retired prompts", "prompts", "none", "mastered, and asked no more", SCALE_RL, is_count=True
    ),
    "ratio/max_error": Metric(
        "Ratio self-check",
        "",
        "down",
        "largest |r - 1| before the first update; above 1e-3 sampler and trainer disagree",
    ),
    "sampling/sampling_logp_difference/mean": Metric(
        "Law of sampling, mean gap",
        "nats",
        "none",
        "mean |log-ratio| of the law that learns to the one that drew a token",
    ),
    "sampling/sampling_logp_difference/max": Metric("Law of sampling, largest gap", "nats"),
    "sampling/importance_sampling_ratio/min": Metric("Least importance weight"),
    "sampling/importance_sampling_ratio/mean": Metric(
        "Importance weight", "", "none", "mean weight of tokens for having been drawn from another law; near 1 is well"
    ),
    "sampling/importance_sampling_ratio/max": Metric("Largest importance weight"),
    "completions/mean_length": Metric("Length", "tokens", "none", "mean length of the sampled answers"),
    "completions/min_length": Metric("Shortest answer", "tokens"),
    "completions/max_length": Metric("Longest answer", "tokens"),
    "completions/length/p10": Metric("Length, a tenth", "tokens", "none", "a tenth of the answers are shorter"),
    "completions/length/p50": Metric("Length, median", "tokens", "none", "half of the answers are shorter"),
    "completions/length/p90": Metric("Length, nine tenths", "tokens", "none", "nine tenths of the answers are shorter"),
    "completions/mean_terminated_length": Metric("Length of finished answers", "tokens", "none", "those not truncated"),
    "completions/interrupted_ratio": Metric(
        "Interrupted", "", "down", "share of answers that were brought to an end by a phrase", SCALE_RL
    ),
    "completions/clipped_ratio": Metric("Truncated", "", "down", "share of answers that ran into max_new_tokens"),
    "kept/share": Metric("Share kept", "", "none", "answers that are learned, of all that were sampled", RAFT),
    "kept/reward": Metric("Reward of kept", "", "up", "mean reward of the answers that are learned", RAFT),
    "kept/least_reward": Metric("Least reward kept", "", "up", "the threshold of the step: no kept answer has less"),
    "kept/mean_length": Metric("Length of kept", "tokens", "none", "mean length of the answers that are learned"),
    "objective/scores_margin": Metric(
        "Lead of chosen", "", "none", "mean reward of chosen less rejected answers", OAIF
    ),
    "pairs/ties": Metric(
        "Ties", "", "down", "share of prompts whose answers scored alike, so that there is no pair to learn", OAIF
    ),
    "val/contain_eos_token": Metric("Ended", "", "up", "share of answers that have their end token"),
    "teacher/kl": Metric(
        "KL to teacher", "nats a token", "down", "KL(student || teacher) on the answers of the step, exact", GKD
    ),
    "teacher/forward_kl": Metric("KL from teacher", "nats a token", "down", "KL(teacher || student), exact", GKD),
    "teacher/agreement": Metric("Agreement", "", "up", "share of tokens at which both find the same one likeliest"),
    "teacher/entropy": Metric(
        "Teacher's entropy", "nats", "none", "mean uncertainty of the teacher over the next token"
    ),
    "on_policy/share": Metric("Own answers", "", "none", "share of the answers that the student wrote itself", GKD),
    "timing/teacher": Metric("Teacher's time", "s", "down", "part of the step in which the teacher reads, and writes"),
    "rewards/accuracies": Metric("Pairs in order", "", "up", "share of pairs whose chosen answer has more reward", DPO),
    "rewards/margins": Metric("Reward margin", "", "up", "mean reward of chosen less rejected answers", DPO),
    "rewards/chosen": Metric(
        "Reward of chosen", "", "up", "beta times the log-ratio of policy to reference of chosen answers", DPO
    ),
    "rewards/rejected": Metric(
        "Reward of rejected", "", "down", "beta times the log-ratio of policy to reference of rejected answers", DPO
    ),
    "logps/chosen": Metric(
        "Log-probability of chosen", "nats", "up", "mean of whole answers; when it falls, the policy forgets them too"
    ),
    "logps/rejected": Metric("Log-probability of rejected", "nats", "down", "mean of whole answers"),
    "log_odds_ratio": Metric(
        "Log-sigmoid of the log odds ratio", "", "up", "what ORPO raises beside learning the chosen answers", ORPO
    ),
    "log_odds_chosen": Metric("Log odds ratio", "", "up", "odds of chosen over rejected answers, a token", ORPO),
    "nll_loss": Metric("SFT part of the loss", "nats a token", "down", "of the chosen answers, before its weight"),
    "accuracy": Metric("Pairs in order", "", "up", "share of pairs whose better answer scores higher", OUYANG),
    "margin": Metric("Score margin", "", "up", "mean score of better answers less that of worse ones", OUYANG),
    "min_reward": Metric("Lowest score", "", "none", "of all answers of the step"),
    "mean_reward": Metric("Mean score", "", "none", "of all answers; only differences between answers are learned"),
    "max_reward": Metric("Highest score", "", "none", "of all answers of the step"),
    "sampled_accuracy": Metric("Sampled accuracy", "", "up", "share of written answers the verifier accepts"),
    "proof/order_error": Metric("Order, off by", "", "down", "measured order of the error, less what it should be"),
    "proof/worst_z": Metric("Worst z of a law", "standard errors", "down", "samples against their sampler's exact law"),
    "proof/difference": Metric("Largest difference to diffusers", "", "down", "of any pixel, from the same noise"),
    "proof/failed": Metric("Checks that fail", "checks", "down", "so far", is_count=True),
    "eval_energy_distance": Metric(
        "Distance of the particles", "", "down", "energy distance from where particles end to the data; 0 is one law"
    ),
    "step_time": Metric("Time a step", "s", "down", "wall time of the step"),
    "timing/rollout": Metric("Sampling time", "s", "down", "part of the step spent writing answers"),
    "timing/reward": Metric("Scoring time", "s", "down", "part of the step spent on rewards"),
    "timing/reference": Metric("Reference time", "s", "down", "part of the step in which reference and critic read"),
    "timing/train": Metric("Training time", "s", "down", "part of the step spent learning from them"),
    "tokens_per_second": Metric("Speed", "tokens/s", "up", "tokens read or written a second"),
    "eval_loss": Metric("Held-out loss", "", "down", "loss on data.eval, which never trains"),
    "eval_perplexity": Metric("Held-out perplexity", "", "down", "exp of the held-out loss"),
    "eval_mean_token_accuracy": Metric("Held-out token accuracy", "", "up"),
    "eval_reward": Metric("Held-out reward", "", "up", "mean reward of answers to data.eval's prompts"),
    "eval_reward_se": Metric("Its standard error", "", "down", "held-out reward is uncertain by about twice this"),
    "eval_completions/clipped_ratio": Metric("Held-out truncated", "", "down", "share that ran into max_new_tokens"),
    "eval_entropy": Metric("Held-out entropy", "nats"),
    "eval_rewards/accuracies": Metric("Held-out pairs in order", "", "up", "as measured on data.eval", DPO),
    "eval_rewards/margins": Metric("Held-out reward margin", "", "up", "as measured on data.eval", DPO),
    "eval_rewards/chosen": Metric("Held-out reward of chosen", "", "up", "as measured on data.eval", DPO),
    "eval_rewards/rejected": Metric("Held-out reward of rejected", "", "down", "as measured on data.eval", DPO),
    "eval_logps/chosen": Metric("Held-out log-probability of chosen", "nats", "up"),
    "eval_logps/rejected": Metric("Held-out log-probability of rejected", "nats", "down"),
    "eval_kl": Metric("Held-out KL to the reference", "nats", "none", "as measured on data.eval"),
    "eval_teacher/kl": Metric(
        "Held-out KL to teacher", "nats a token", "down", "KL(student || teacher) on the student's answers to data.eval"
    ),
    "eval_teacher/forward_kl": Metric("Held-out KL from teacher", "nats a token", "down"),
    "eval_teacher/agreement": Metric("Held-out agreement", "", "up"),
    "eval_teacher/entropy": Metric("Teacher's held-out entropy", "nats"),
    "eval_log_odds_ratio": Metric("Held-out log-sigmoid of the log odds ratio", "", "up", "", ORPO),
    "eval_log_odds_chosen": Metric("Held-out log odds ratio", "", "up", "", ORPO),
    "eval_accuracy": Metric("Held-out pairs in order", "", "up", "share of data.eval's pairs", OUYANG),
    "eval_margin": Metric("Held-out score margin", "", "up", "mean score of better answers less that of worse ones"),
    "eval_auc": Metric("Held-out AUC", "", "up", "chance that a better answer outscores a worse one of any prompt"),
    "eval_calibration_error": Metric(
        "Calibration error",
        "",
        "down",
        "how far sigmoid(margin) is from the share of pairs in order, in ten bins of held-out pairs",
        "Guo et al. 2017, arXiv:1706.04599, eq. 3",
    ),
    "eval_min_reward": Metric("Held-out lowest score"),
    "eval_mean_reward": Metric("Held-out mean score", "", "none", "saved in the model's config as reward_mean"),
    "eval_max_reward": Metric("Held-out highest score"),
    "eval_reward_std": Metric("Held-out spread of scores", "", "none", "saved in the model's config as reward_std"),
    "eval_pearson": Metric("Pearson with ratings", "", "up", "linear correlation of scores and the data's ratings"),
    "eval_spearman": Metric("Spearman with ratings", "", "up", "rank correlation of scores and the data's ratings"),
    "eval_nll_loss": Metric("Held-out SFT part of the loss", "nats a token", "down"),
}

_FIRST = {
    **image_metrics.FIRST,
    **tuning_metrics.FIRST,
    "sft": ["loss", "mean_token_accuracy", "entropy", "grad_norm", "learning_rate", "tokens_per_second"],
    "reward_model": ["accuracy", "margin", "loss", "mean_reward", "grad_norm", "learning_rate"],
    "dpo": ["rewards/accuracies", "rewards/margins", "loss", "logps/chosen", "logps/rejected", "grad_norm"],
    "kto": ["rewards/margins", "kl", "loss", "logps/chosen", "logps/rejected", "grad_norm"],
    "orpo": ["rewards/accuracies", "log_odds_chosen", "loss", "nll_loss", "logps/chosen", "logps/rejected"],
    "simpo": ["rewards/accuracies", "rewards/margins", "loss", "logps/chosen", "logps/rejected", "grad_norm"],
    "cpo": ["rewards/accuracies", "rewards/margins", "loss", "nll_loss", "logps/chosen", "logps/rejected"],
    "ppo": [
        *("objective/scores", "objective/kl", "val/explained_variance", "loss/policy", "loss/value"),
        "completions/mean_length",
    ],
    "best_of_n": ["reward", "kept/reward", "kept/share", "entropy", "completions/mean_length", "loss"],
    "online_dpo": [
        *("objective/scores", "objective/kl", "rewards/accuracies", "rewards/margins", "pairs/ties"),
        "completions/mean_length",
    ],
    "distill": ["loss", "teacher/kl", "teacher/agreement", "entropy", "completions/mean_length", "grad_norm"],
    "grpo": [
        "reward",
        "kl",
        "entropy",
        "completions/mean_length",
        "frac_reward_zero_std",
        "grad_norm",
    ],
}
_OF_PAIRS = [
    "eval_loss",
    "eval_rewards/accuracies",
    "rewards/chosen",
    "rewards/rejected",
    "mean_token_accuracy",
    "entropy",
    "sampled_accuracy",
]
_THEN = {
    **image_metrics.THEN,
    **tuning_metrics.THEN,
    "sft": ["eval_loss", "sampled_accuracy"],
    "reward_model": [
        *("eval_accuracy", "eval_loss", "eval_auc", "eval_calibration_error", "eval_margin", "eval_reward_std"),
        *("eval_spearman", "eval_pearson", "min_reward", "max_reward"),
    ],
    "dpo": _OF_PAIRS,
    "kto": ["eval_loss", "eval_rewards/margins", "rewards/chosen", "rewards/rejected", "entropy", "sampled_accuracy"],
    "orpo": [*_OF_PAIRS, "grad_norm"],
    "simpo": _OF_PAIRS,
    "cpo": [*_OF_PAIRS, "grad_norm"],
    "ppo": [
        *("eval_reward", "objective/rlhf_reward", "policy/entropy_avg", "policy/approxkl_avg", "policy/clipfrac_avg"),
        *(
            "val/clipfrac_avg",
            "val/ratio",
            "ratio/max_error",
            "grad_norm",
            "learning_rate",
            "completions/clipped_ratio",
        ),
        *("objective/non_score_reward", "objective/entropy", "objective/kl_coef", "values/mean", "returns/mean"),
    ],
    "best_of_n": [
        *("eval_reward", "eval_reward_se", "kept/least_reward", "mean_token_accuracy", "reward_std"),
        *("frac_reward_zero_std", "completions/clipped_ratio", "grad_norm", "timing/rollout", "timing/train"),
    ],
    "online_dpo": [
        *("eval_reward", "eval_reward_se", "loss", "objective/scores_margin", "objective/rlhf_reward"),
        *("logps/chosen", "logps/rejected", "rewards/chosen", "rewards/rejected", "val/contain_eos_token"),
        *("completions/clipped_ratio", "grad_norm", "timing/rollout", "timing/train"),
    ],
    "distill": [
        *("eval_loss", "eval_teacher/kl", "eval_teacher/agreement", "teacher/forward_kl", "teacher/entropy"),
        *("on_policy/share", "completions/clipped_ratio", "timing/rollout", "timing/teacher", "timing/train"),
    ],
    "grpo": [
        *("eval_reward", "eval_reward_se", "loss", "clip_ratio/region_mean", "completions/clipped_ratio", "reward_std"),
        *("advantages/std", "advantages/p10", "advantages/p90", "completions/length/p90", "ratio/max_error"),
        *("dynamic_sampling/turns", "timing/rollout", "timing/train"),
    ],
}

#: The metric that a run list draws small and a terminal shows first.
HEADLINE = {
    "sampler_proof": "proof/worst_z",
    "toy_diffusion": "loss",
    **image_metrics.HEADLINE,
    **tuning_metrics.HEADLINE,
    "sft": "loss",
    "reward_model": "accuracy",
    "dpo": "rewards/accuracies",
    "kto": "rewards/margins",
    "orpo": "rewards/accuracies",
    "simpo": "rewards/accuracies",
    "cpo": "rewards/accuracies",
    "ppo": "objective/scores",
    "grpo": "reward",
    "best_of_n": "reward",
    "online_dpo": "objective/scores",
    "distill": "teacher/kl",
}


#: What is told of each part of a reward: in words, whether it should rise, and what it means.
_OF_A_PART: dict[str, tuple[str, Direction, str]] = {
    "mean": ("mean", "up", "one part of the reward, unweighted"),
    "std": ("spread", "none", "one part of the reward, unweighted"),
    "failed": ("failed", "down", "share of answers that it raised an error for, gave no number, or took too long"),
    "unscored": (
        "not scored",
        "none",
        "share of answers that it has nothing to say of, so that the other parts decide",
    ),
}


def describe(name: str) -> Metric:
    """What is known of a metric; a reward part and an unknown name get a readable title."""
    if name in CATALOGUE:
        return CATALOGUE[name]
    if (found := tuning_metrics.of_steps(name)) is not None:
        return found
    parts = name.split("/")
    if len(parts) == 3 and parts[0] == "rewards":
        statistic, direction, meaning = _OF_A_PART.get(
            parts[2], (parts[2], "none", "one part of the reward, unweighted")
        )
        return Metric(f"Reward: {parts[1].replace('_', ' ')}, {statistic}", "", direction, meaning)
    return Metric(name.replace("_", " ").replace("/", ": ").capitalize())


def board(method: str) -> list[str]:
    """The metrics whose charts stand first for a method, most telling first."""
    return _FIRST.get(method, ["loss", "grad_norm", "learning_rate"])


def more(method: str) -> list[str]:
    """The metrics that come after the board's, before those nobody planned for."""
    return _THEN.get(method, [])
