"""Kill -9 teacher actors, trial workers, drivers and the teacher's server of one run; then check its books.

    python tests/benchmarks/crashes.py [--kills 100] [--seed 0]

`tests/cluster/test_crashes.py` does the same with fewer kills. Exits 1 if anything does not hold.
"""

import argparse
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # where pytest finds the builders

from crash_runs import Outcome, Workshop, storm

SHARES = {"teacher": 0.35, "worker": 0.35, "driver": 0.16}
"""Of the kills; the rest are the server's."""


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0, help="of the order of the victims and the moments")
    arguments = parser.parse_args()
    victims = {victim: round(share * arguments.kills) for victim, share in SHARES.items()}
    victims["server"] = arguments.kills - sum(victims.values())
    start = time.monotonic()
    with tempfile.TemporaryDirectory() as folder, Workshop(Path(folder)) as workshop:
        outcome = storm(workshop, arguments.seed, victims, trials=3 * arguments.kills // 2)
    show(outcome, arguments.seed, time.monotonic() - start)
    return 1 if outcome.faults else 0


def show(outcome: Outcome, seed: int, seconds: float) -> None:
    kills = Counter(kill.victim for kill in outcome.kills)
    books, audit = outcome.books, outcome.audit
    rows = {
        "kills": f"{len(outcome.kills)}: " + ", ".join(f"{n} {victim}" for victim, n in kills.items()),
        "trials": f"{outcome.trials}",
        "charged": f"{books.charged}",
        "unique": f"{sum(books.charges.values())}",
        "reported": f"{outcome.reported}",
        "server counter": f"{audit['counted']}",
        "executed": f"{audit['executed']}",
        "lost (sent, no answer)": f"{books.sent - books.charged} in {len(books.lost)} requests",
        "charged twice": f"{len(books.twice)}",
        "asked again": f"{len(books.again)}",
        "seconds": f"{seconds:.0f}",
        "verdict": "; ".join(outcome.faults) or "every query once",
    }
    table = Table("", f"seed {seed}", box=None)
    for name, value in rows.items():
        table.add_row(name, value)
    Console(width=110).print(table)


if __name__ == "__main__":
    sys.exit(main())
