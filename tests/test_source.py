import subprocess
import sys
from pathlib import Path

import raysys
from raysys.source import code_id, source_sha256

PROGRAM = "from raysys.source import code_id; print(code_id())"


def told_in(folder: Path) -> str:
    """The id of the raysys that a process finds which starts in `folder`."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], cwd=folder, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def copied(folder: Path) -> Path:
    root = Path(raysys.__file__).parent
    for path in root.rglob("*.py"):
        there = folder / "raysys" / path.relative_to(root)
        there.parent.mkdir(parents=True, exist_ok=True)
        there.write_bytes(path.read_bytes())
    return folder


def test_the_same_files_are_the_same_code_wherever_they_lie(tmp_path: Path) -> None:
    assert told_in(copied(tmp_path)) == code_id()
    assert source_sha256()[:12] in code_id() and raysys.__version__ in code_id()


def test_any_changed_or_renamed_file_is_other_code(tmp_path: Path) -> None:
    path = copied(tmp_path) / "raysys" / "search" / "samplers.py"
    path.write_bytes(path.read_bytes() + b"#")
    changed = told_in(tmp_path)
    path.write_bytes(path.read_bytes()[:-1])
    path.rename(path.with_name("other.py"))
    assert len({changed, told_in(tmp_path), code_id()}) == 3
