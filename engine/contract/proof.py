"""What a `sampler_proof` run found out: RUN_DIR/proof.json, replaced whole after every check, and what it means."""

from pathlib import Path
from typing import Literal, NamedTuple

from pydantic import BaseModel, ValidationError

from engine.contract.run_dir import write_json

PROOF = "proof.json"
#: No proof of ours comes near it.
LARGEST_PROOF = 1024 * 1024
#: Orders are whole numbers, and on a schedule with bends they are met at small steps only. One too low is seen.
ORDER_LIMIT = 0.3
#: A hundred numbers of a right sampler stay below it in 1,400 of 1,500 proofs with seeds of their own, or more.
Z_LIMIT = 4.5

FILE = {"frozen": True, "ser_json_inf_nan": "constants"}


class OrderCheck(BaseModel, **FILE):
    """Errors against the exact flow at growing numbers of steps. order: the slope between the last two."""

    sampler: str
    expected: int
    steps: tuple[int, ...]
    errors: tuple[float, ...]
    order: float

    @property
    def holds(self) -> bool:
        return abs(self.order - self.expected) < ORDER_LIMIT


class LawCheck(BaseModel, **FILE):
    """Samples against the exact law of their own sampler, in standard errors: each mean, each covariance once."""

    sampler: str
    eta: float
    steps: int
    samples: int
    z_means: tuple[float, ...]
    z_covariances: tuple[float, ...]

    @property
    def worst(self) -> float:
        """The largest |z|. NaN, which compares as neither, is the worst of all."""
        return max((abs(z) if z == z else float("inf") for z in (*self.z_means, *self.z_covariances)), default=0.0)

    @property
    def holds(self) -> bool:
        return self.worst < Z_LIMIT


class ParityCheck(BaseModel, **FILE):
    """The largest difference to diffusers' own loop, pixel for pixel, from the same noise."""

    sampler: str
    eta: float
    steps: int
    difference: float
    limit: float

    @property
    def holds(self) -> bool:
        return self.difference < self.limit


class Budget(BaseModel, **FILE):
    """How far a sampler's law is from the data's, by number of steps: the Wasserstein-2 distance between Gaussians.

    looks: how often the network is asked. is_sampled: the law was estimated from samples, so about 0.02 is nothing.
    """

    sampler: str
    steps: tuple[int, ...]
    looks: tuple[int, ...]
    distances: tuple[float, ...]
    is_sampled: bool = False


class Proof(BaseModel, **FILE):
    """Everything found out so far.

    schedule: in words. alphas: alpha-bar along the timesteps, thinned. left_out: what this schedule does not allow.
    """

    version: Literal[1] = 1
    schedule: str
    timesteps: int
    alphas: tuple[float, ...]
    is_whole: bool = False
    orders: tuple[OrderCheck, ...] = ()
    laws: tuple[LawCheck, ...] = ()
    parity: tuple[ParityCheck, ...] = ()
    budgets: tuple[Budget, ...] = ()
    left_out: tuple[str, ...] = ()


class Verdict(NamedTuple):
    """What it all means. words: one sentence. failed: one for each check that does not hold."""

    holds: bool
    words: str
    failed: tuple[str, ...]


def verdict(proof: Proof) -> Verdict:
    """The proof in words."""
    failed = [*map(_order_words, proof.orders), *map(_law_words, proof.laws), *map(_parity_words, proof.parity)]
    wrong = tuple(words for words in failed if words)
    count = len(failed)
    if wrong:
        return Verdict(False, f"{len(wrong)} of {count} checks fail on this schedule.", wrong)
    if not proof.is_whole:
        return Verdict(True, f"{count} checks hold so far; the rest is still to come.", ())
    if not count:
        return Verdict(False, "Nothing could be checked on this schedule.", ())
    return Verdict(True, f"All {count} checks hold: on this schedule the samplers are what they claim to be.", ())


def write_proof(run: Path, proof: Proof) -> None:
    """Replace the run's proof, whole."""
    write_json(run / PROOF, proof.model_dump(mode="json"))


def read_proof(run: Path) -> Proof | None:
    """The proof of a run, or None where there is none that can be read."""
    path = run / PROOF
    try:
        if path.stat().st_size > LARGEST_PROOF:
            return None
        return Proof.model_validate_json(path.read_bytes())
    except (OSError, ValidationError):
        return None


def _order_words(check: OrderCheck) -> str:
    return "" if check.holds else f"{check.sampler} has order {check.order:.2f}, and should have {check.expected}."


def _law_words(check: LawCheck) -> str:
    if check.holds:
        return ""
    named = named_sampler(check.sampler, check.eta)
    return f"{named} draws images {check.worst:.1f} standard errors off its own law; at most {Z_LIMIT} is chance."


def _parity_words(check: ParityCheck) -> str:
    if check.holds:
        return ""
    named = named_sampler(check.sampler, check.eta)
    return f"{named} in {check.steps} steps is {check.difference:.1e} off diffusers, and may be {check.limit:.0e}."


def named_sampler(sampler: str, eta: float) -> str:
    """ddim at eta 0.5, or just ddpm."""
    return f"{sampler} at eta {eta:g}" if sampler == "ddim" else sampler
