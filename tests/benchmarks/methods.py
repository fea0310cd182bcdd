"""Run presets of a space at budgets with seeds, a `raysys trial` each, and compare them.

    python tests/benchmarks/methods.py --space digits --presets uniform,structured,once \
        --budgets 2000,5000 --seeds 0,1,2 --storage DIR [--jobs 2] [--fresh] [-s KEY=VALUE]

Runs that have finished are kept: after a stop the same command goes on. Ends with `raysys compare`. Real data
is read below RAYSYS_DATA_ROOT. Exits 1 if a trial failed.
"""

import argparse
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import product
from pathlib import Path

from raysys.errors import CorruptRunError
from raysys.store.layout import RunLayout
from raysys.store.manifest import RunState, read_manifest


def raysys(*arguments: str) -> subprocess.CompletedProcess[str]:
    # One thread a trial, as the spaces say: jobs beside each other do not get in each other's way.
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [sys.executable, "-m", "raysys", *arguments], env=environment, text=True, stdout=subprocess.PIPE
    )


def finished(run: Path) -> bool:
    try:
        return read_manifest(RunLayout.open(run)).state is RunState.FINISHED
    except CorruptRunError:
        return False


def one(space: str, preset: str, budget: str, seed: str, run: Path, settings: Sequence[str]) -> bool:
    """True when the run has finished, now or before; what a stop left is made again."""
    if not finished(run):
        shutil.rmtree(run, ignore_errors=True)
        options = ["--space", space, "--preset", preset, "--seed", seed]
        for setting in (f"query_budget={budget}", *settings):
            options += ["-s", setting]
        raysys("trial", *options, "--storage", str(run.parent), "--name", run.name)
    return finished(run)


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    for name in ("space", "presets", "budgets", "seeds"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--storage", type=Path, required=True)
    parser.add_argument("--jobs", type=int, default=1, help="trials at once")
    parser.add_argument("--fresh", action="store_true", help="compare fresh students, too")
    parser.add_argument("-s", action="append", default=[], metavar="KEY=VALUE", help="for all trials")
    chosen = parser.parse_args(argv)
    wanted = list(product(*(one.split(",") for one in (chosen.presets, chosen.budgets, chosen.seeds))))
    runs = [chosen.storage / "-".join((Path(chosen.space).stem, *parts, *chosen.s)) for parts in wanted]
    with ThreadPoolExecutor(chosen.jobs) as threads:
        jobs = [
            threads.submit(one, chosen.space, *parts, run, chosen.s)
            for parts, run in zip(wanted, runs, strict=True)
        ]
        good = [run for run, job in zip(runs, jobs, strict=True) if job.result()]
    if good:
        sys.stdout.write(raysys("compare", *map(str, good), *["--fresh"] * chosen.fresh).stdout)
    return 0 if len(good) == len(runs) else 1


if __name__ == "__main__":
    sys.exit(main())
