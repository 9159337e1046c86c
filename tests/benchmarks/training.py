"""How fast SFT learns, and what memory it takes, beside TRL's: `python -m tests.benchmarks.training`. Printed only.

Both train the same Llama of four layers on the same rows in the same order, each in a process of its own with one
thread, in turn. Speed is tokens of the rows, padding not counted, a second of the processor's time; the first steps are
left out. Memory is the highest of the process less what it held once all was imported and the model built. Goals: 1.2
times TRL's speed at a vocabulary of 512 and 3 times at 32,000, with no more memory; a cost that is a line in the rows.
"""

import argparse
import json
import subprocess
import sys
from typing import Any

Measured = dict[str, Any]

CONTESTANTS = {
    "TRL, defaults": ["trl", "--as-shipped"],
    "TRL, tuned": ["trl"],
    "Plumbline, packing none": ["plumbline", "--packing", "none"],
    "Plumbline, packing padding_free": ["plumbline", "--packing", "padding_free"],
    "Plumbline, packing packed": ["plumbline", "--packing", "packed"],
}
#: Vocabulary, rows a step, steps.
WORKLOADS = ((512, 32, 16), (32_000, 16, 8))
ROWS = (1_000, 3_000, 10_000, 30_000, 100_000)
SMALL = ["--layers", "1", "--width", "32", "--batch-size", "64", "--prompt", "8", "--vocabulary", "258"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3, help="the best of so many counts")
    parser.add_argument("--most-rows", type=int, default=ROWS[-1], help="leave out longer epochs")
    options = parser.parse_args()
    for vocabulary, batch_size, steps in WORKLOADS:
        sizes = ["--vocabulary", str(vocabulary), "--batch-size", str(batch_size), "--steps", str(steps)]
        rounds = [{name: apart([*how, *sizes]) for name, how in CONTESTANTS.items()} for _ in range(options.rounds)]
        print_speeds(vocabulary, batch_size, rounds)
    print_rows([rows for rows in ROWS if rows <= options.most_rows])


def apart(arguments: list[str]) -> Measured:
    """One contestant in a process of its own."""
    command = [sys.executable, "-m", "tests.benchmarks.sft_steps", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr[-2000:])
    measured: Measured = json.loads(done.stdout.splitlines()[-1])
    return measured


def print_speeds(vocabulary: int, batch_size: int, rounds: list[dict[str, Measured]]) -> None:
    best = {name: max((one[name] for one in rounds), key=lambda m: m["tokens_per_second"]) for name in CONTESTANTS}
    base = best["TRL, tuned"]["tokens_per_second"]
    print(f"\nSFT, vocabulary {vocabulary:,}, {batch_size} rows a step\n")
    print("| | tokens/s | times TRL, tuned | memory of training, MiB | last loss |")
    print("|---|---|---|---|---|")
    for name, one in best.items():
        speed = one["tokens_per_second"]
        cells = [f"{speed:,.0f}", f"{speed / base:.2f}", f"{one['memory_mib']:.0f}", f"{one['losses'][-1]:.4f}"]
        print(f"| {' | '.join([name, *cells])} |")


def print_rows(counts: list[int]) -> None:
    """What an epoch costs, encoding included."""
    print("\nOne epoch of a small model (1 layer of 32, 64 rows a step), by rows\n")
    print("| rows | tokens | CPU seconds | microseconds a token | memory of training, MiB |")
    print("|---|---|---|---|---|")
    for rows in counts:
        steps = str(-(-rows // 64))
        one = apart(["plumbline", *SMALL, "--rows", str(rows), "--steps", steps, "--text"])
        cost = 1e6 * one["seconds"] / one["tokens"]
        print(f"| {rows:,} | {one['tokens']:,} | {one['seconds']:.1f} | {cost:.1f} | {one['memory_mib']:.0f} |")


if __name__ == "__main__":
    main()
