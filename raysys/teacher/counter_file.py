"""What a teacher's server counts, in a file: how many images of each run reached the teacher."""

import fcntl
import json
import threading
from collections import Counter
from pathlib import Path

from raysys.errors import StorageError

METRIC = "raysys_teacher_images_total"
"""The Prometheus counter of images that reached the teacher, by run."""


class QueryCounter:
    """How many images and requests of each run reached the teacher, in a file that only grows.

    A line is JSON, one a request: `{"run", "images"}`. It is written before the images are answered and not
    synced: it survives the death of the process, not of the machine. Raises StorageError when the file
    cannot be written, is damaged, or belongs to another server.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._images: Counter[str] = Counter()
        self._requests: Counter[str] = Counter()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = path.open("a+b", buffering=0)
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._file.close()
            raise StorageError(
                f"another server counts in {path}",
                "two servers of one teacher need a counter each",
                "stop the other one, or choose another file: --counter FILE",
            ) from None
        except OSError as error:
            raise self._cannot_write(error) from error
        self._replay()

    def add(self, run: str, images: int) -> None:
        """Count one request with `images` images. Raises StorageError; then nothing was counted."""
        line = json.dumps({"run": run, "images": images}).encode() + b"\n"
        try:
            self._file.truncate(self._end)  # what a failed write left behind
            if self._file.write(line) != len(line):
                raise OSError("the disk is full")
        except OSError as error:
            raise self._cannot_write(error) from error
        self._end += len(line)
        self._count(run, images)

    def metrics(self) -> str:
        """The counts in Prometheus' text format 0.0.4."""
        with self._lock:
            images, requests = dict(self._images), dict(self._requests)
        lines = []
        for name, counts, what in (
            (METRIC, images, "Images that reached the teacher, by run."),
            ("raysys_teacher_requests_total", requests, "Inference requests with these images, by run."),
        ):
            lines += [f"# HELP {name} {what}", f"# TYPE {name} counter"]
            for run, count in sorted(counts.items()):
                label = run.replace("\\", r"\\").replace('"', r"\"")
                lines.append(f'{name}{{run="{label}"}} {count}')
        return "\n".join([*lines, ""])

    def close(self) -> None:
        """Let another server count in the file."""
        self._file.close()

    def _replay(self) -> None:
        self._end = 0
        self._file.seek(0)
        for line in self._file:
            if not line.endswith(b"\n"):
                break  # torn: its images were not answered
            try:
                event = json.loads(line)
                self._count(str(event["run"]), int(event["images"]))
            except (ValueError, TypeError, KeyError):
                self._file.close()
                raise StorageError(
                    f"the counter is damaged: {self._path}, byte {self._end}",
                    "a line is not what this server writes",
                    "delete the file to count from 0, or choose another one: --counter FILE",
                ) from None
            self._end += len(line)

    def _count(self, run: str, images: int) -> None:
        with self._lock:
            self._images[run] += images
            self._requests[run] += 1

    def _cannot_write(self, error: OSError) -> StorageError:
        return StorageError(
            f"cannot write the counter {self._path}",
            str(error.strerror or error),
            "free space, or choose another file: --counter FILE",
        )
