"""`QueryAsha` as Ray Tune's scheduler. It decides nothing."""

import logging
import math
from collections.abc import Mapping, Sequence
from typing import Any

from ray.tune.schedulers import FIFOScheduler

from raysys.search.query_asha import QueryAsha

_log = logging.getLogger(__name__)


class TuneScheduler(FIFOScheduler):
    """Tells `asha` what the trials report, and Tune which of them stop.

    Results have `reports`, each a dict of `Report`, and a `status` where they are their trial's last;
    `score` and `extras` name a report's fields. Decisions are logged. `reasons` says by uid why trials were
    stopped.

    As of `TuneSearcher`, Tune pickles nothing of it: a resume replays the run's own files into `asha`.
    """

    def __init__(self, asha: QueryAsha, score: str, extras: Sequence[str] = ()) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._asha = asha
        self._score = score
        self._extras = extras
        self.reasons: dict[str, str] = {}

    def spare(self, uid: str) -> None:
        """See `QueryAsha.spare`."""
        self._asha.spare(uid)

    def on_trial_result(self, tune_controller: Any, trial: Any, result: Mapping[str, Any]) -> str:
        """STOP or CONTINUE. Never raises: an exception here would end the whole run."""
        try:
            return self._decide(trial.config, result)
        except Exception:
            _log.exception("a result of %s could not be judged: it goes on", trial)
            return str(self.CONTINUE)

    def _decide(self, config: Mapping[str, Any], result: Mapping[str, Any]) -> str:
        uid, budget = config["uid"], int(config["options"]["query_budget"])
        if result.get("status") == "finished":
            last = result["reports"][-1]
            self._asha.ended(uid, last["queries"], *self._values(last))
        elif "status" not in result:
            for report in result["reports"]:
                score, extra = self._values(report)
                decision = self._asha.report(
                    uid, budget, report["queries"], score, bool(report["milestone"]), extra
                )
                if decision is None:
                    continue
                _log.info("%s %s", uid, decision.reason)
                if not decision.goes_on:
                    self.reasons[uid] = decision.reason
                    return str(self.STOP)
        return str(self.CONTINUE)

    def _values(self, report: Mapping[str, Any]) -> tuple[float | None, list[float | None]]:
        return report[self._score], [report.get(name, math.nan) for name in self._extras]

    def __getstate__(self) -> dict[str, Any]:
        return {}
