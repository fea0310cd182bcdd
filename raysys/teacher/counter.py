"""What a teacher's own server counted for a run, where it tells: the ledger is held against it."""

import re

from raysys.teacher.counter_file import METRIC
from raysys.teacher.http import HttpSource
from raysys.teacher.http_link import Failure, HttpLink

ROOM = 1 << 26
"""Bytes of all metrics: a server tells those of every run that it ever met."""


def read_counter(source: HttpSource) -> int | None:
    """Images that the server counted for `source.run_id`; None where it has no such counter, or is away."""
    link = HttpLink(source.spec, source.api_key)
    try:
        url = source.spec.url.rstrip("/") + "/metrics"
        text = link.request("GET", url, limit=ROOM).content.decode(errors="replace")
    except Failure:
        return None
    finally:
        link.close()
    if f"# TYPE {METRIC} " not in text:
        return None
    found = re.search(rf'^{METRIC}\{{run="{re.escape(source.run_id)}"\}} (\d+)', text, re.MULTILINE)
    return int(found[1]) if found else 0
