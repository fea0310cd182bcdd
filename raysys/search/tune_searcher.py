"""`StudySearcher` as Ray Tune's searcher. It decides nothing."""

import logging
from collections.abc import Callable, Mapping
from typing import Any

from ray.tune.search import Searcher

from raysys.records import TrialStatus
from raysys.search.study_searcher import StudySearcher, Suggestion

_log = logging.getLogger(__name__)


class TuneSearcher(Searcher):
    """Gives at most `count` suggestions of `study` to Tune and tells it what became of them.

    `places` says how many of them may be under way at once.

    New trials are suggested only while `more()`; those that a replay found unfinished always go on.

    `on_suggest` is called with each suggestion before Tune knows of it: it records the trial durably and
    returns the trainable's config. The last result of a trial that ended by itself has
    `status: finished`; without that mark the trial was stopped.

    The run's own files are the truth: a resume replays them into a new study and starts a new Tuner. What
    Tune pickles of this object is therefore empty, so that `on_suggest` may hold files and actors.
    """

    def __init__(
        self,
        study: StudySearcher,
        on_suggest: Callable[[Suggestion], dict[str, Any]],
        count: int,
        places: Callable[[], int],
        more: Callable[[], bool] = lambda: True,
    ) -> None:
        super().__init__()
        self._study = study
        self._on_suggest = on_suggest
        self._left = count
        self._places = places
        self._more = more
        self._uids: dict[str, str] = {}

    def set_max_concurrency(self, max_concurrent: int) -> bool:
        """True: `suggest` itself sees to it."""
        return True

    def suggest(self, trial_id: str) -> Any:
        """The config of the next trial; None while there is no place for it.

        FINISHED after `count` of them, or when there are no `more`.
        """
        if self._left <= 0:
            return Searcher.FINISHED
        if len(self._uids) >= self._places():
            return None
        if not (self._study.has_unfinished or self._more()):
            return Searcher.FINISHED
        suggestion = self._study.ask()
        config = self._on_suggest(suggestion)
        self._uids[trial_id] = suggestion.uid
        self._left -= 1
        return config

    def on_trial_complete(
        self, trial_id: str, result: Mapping[str, Any] | None = None, error: bool = False
    ) -> None:
        """Tell the study how the trial ended. Never raises: an exception here would end the whole run."""
        result = result or {}
        status = TrialStatus.FINISHED if result.get("status") == "finished" else TrialStatus.STOPPED
        try:
            uid = self._uids.pop(trial_id, f"of Tune's trial {trial_id}")
            self._study.tell(uid, TrialStatus.FAILED if error else status, result)
        except Exception:
            _log.exception("the searcher could not be told of trial %s", trial_id)

    def save(self, checkpoint_path: str) -> None:
        """Nothing is saved: see the class."""

    def __getstate__(self) -> dict[str, Any]:
        return {}
