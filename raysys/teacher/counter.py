"""What a teacher's own server counted for a run, where it tells: the ledger is held against it."""

import re
import time

from raysys.teacher.http import HttpSource
from raysys.teacher.http_link import Failure, HttpLink

METRIC = "raysys_teacher_images_total"
"""The Prometheus counter of `raysys teacher serve`: images that reached the teacher, by run."""


def read_counter(source: HttpSource) -> int | None:
    """Images that the server counted for `source.run_id`; None where it has no such counter, or is away."""
    link = HttpLink(source.spec, source.api_key, time.sleep)
    try:
        text = link.request("GET", source.spec.url.rstrip("/") + "/metrics").text
    except Failure:
        return None
    finally:
        link.close()
    if f"# TYPE {METRIC} " not in text:
        return None
    found = re.search(rf'^{METRIC}\{{run="{re.escape(source.run_id)}"\}} (\d+)', text, re.MULTILINE)
    return int(found[1]) if found else 0
