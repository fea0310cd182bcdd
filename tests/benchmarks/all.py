"""All tables about speed and memory, one after the other, in a quarter of an hour on two cores: `make bench`.

Nothing else may run beside it. A name or several as arguments: these only.
"""

import subprocess
import sys
import time
from pathlib import Path

from rich.console import Console
from rich.table import Table

BENCHMARKS = {
    "trial_speed": [],
    "student_speed": [],
    "packing": [],
    "teacher_service": ["--seconds", "2", "--networks", "lenet5"],
    "overhead": ["--trials", "200", "--reports", "3000", "--searcher"],
    "exploration": [],
    "memory": [],
    "dashboard_pages": ["--trials", "3000", "--reruns", "5"],
}
"""Scripts of this folder, with arguments that make them short."""

_OUT = Console(width=110)


def main() -> int:
    chosen = sys.argv[1:] or list(BENCHMARKS)
    table = Table("", "seconds", "exit code", box=None)
    codes = []
    for name in chosen:
        _OUT.rule(" ".join([f"{name}.py", *BENCHMARKS[name]]))
        start = time.monotonic()
        codes.append(
            subprocess.call([sys.executable, Path(__file__).with_name(f"{name}.py"), *BENCHMARKS[name]])
        )
        table.add_row(name, f"{time.monotonic() - start:.0f}", str(codes[-1]))
    _OUT.print(table)
    return max(codes)


if __name__ == "__main__":
    sys.exit(main())
