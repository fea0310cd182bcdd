"""The strip above every page: what the run does now, and whether there is news. The one live part."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pyarrow.compute as pc
import streamlit as st

from dashboard import frame, snapshot
from raysys.errors import RaysysError
from raysys.files import list_folder
from raysys.records import TrialStatus
from raysys.store.driver import Driver, read_driver
from raysys.store.headline import Pace, pace
from raysys.store.health import Accounts, Condition, condition, damage
from raysys.store.layout import RunLayout
from raysys.store.manifest import RunState
from raysys.store.reader import Snapshot, last_change, read_without_reports
from raysys.teacher.accounts import Charged, charged, quick_accounts

_POLL_SECONDS = 5

_LOOKS = {
    Condition.RUNNING: (":material/play_arrow:", "green"),
    Condition.DEAD: (":material/heart_broken:", "red"),
    Condition.STALLED: (":material/hourglass_disabled:", "orange"),
    Condition.FINISHED: (":material/check:", "blue"),
    Condition.INTERRUPTED: (":material/pause:", "orange"),
    Condition.CAPPED: (":material/vertical_align_top:", "violet"),
    Condition.FAILED: (":material/close:", "red"),
}
"""Shape and colour of each condition, beside its word."""


@dataclass(frozen=True)
class Now:
    """A run as it stands on disk: manifest and trials are `run`'s, its reports those of the snapshot.

    `words` tell its trials and spending, `pace` the time left, `new` how many trials ended since the snapshot
    that the session looks at, and `newer` that anything was written since. `driver` works on it.
    """

    run: Snapshot
    words: str
    pace: Pace | None
    new: int
    newer: bool
    driver: Driver | None = None

    @property
    def condition(self) -> Condition:
        """What it does."""
        return condition(self.run.manifest.state, self.driver, self.run.updated)


def now(view: frame.View) -> Now:
    """The run now; read again only when one of its files changed. Raises CorruptRunError, StorageError."""
    shown, layout = view.run, view.layout
    stamp = last_change(layout)
    key = (layout.location, shown.updated, stamp, str(_ledger_stamp(layout)))
    if (kept := st.session_state.get("now")) is None or kept[0] != key:
        run = shown
        if stamp != shown.updated:
            run = replace(read_without_reports(layout), reports=shown.reports)
        before, after = _ended(shown), _ended(run)
        new = len(after) - pc.sum(pc.is_in(after, before), min_count=0).as_py()
        kept = st.session_state["now"] = key, Now(run, _words(run, layout), pace(run), new, run is not shown)
    known: Now = kept[1]
    running = known.run.manifest.state is RunState.RUNNING
    return replace(known, driver=read_driver(layout) if running else None)


def strip() -> None:
    """Draw the strip."""
    running = frame.current().run.manifest.state is RunState.RUNNING
    st.session_state.pop("drawn", None)
    st.fragment(_strip, run_every=_POLL_SECONDS if running else None, key="status")()


def _strip() -> None:
    view = frame.current()
    if found_damage := damage(view.run):
        st.text(found_damage)
        if len(view.run.damaged) > 1:
            with st.expander("All of these files"):
                st.code("\n".join(view.run.damaged), language=None, wrap_lines=True)
    as_of = f"as of {view.run.updated:%Y-%m-%d %H:%M:%S} UTC"
    try:
        live = now(view)
    except RaysysError as failure:
        st.badge("cannot be read now", icon=":material/cloud_off:", color="red")
        st.text(f"{failure}\nThe pages show the run {as_of}.")
        return
    with st.container(horizontal=True, wrap=False, gap="small"):
        found = live.condition
        drawn: Condition = st.session_state.setdefault("drawn", found)  # with the page, not after it
        icon, color = _LOOKS[found]
        silent = f": no change for {_duration(datetime.now(UTC) - live.run.updated)}"
        told = found.value + (silent if found is Condition.STALLED else "")
        st.badge(told, icon=icon, color=color)  # type: ignore[arg-type]
        left = _left(live.pace) if live.pace and found is Condition.RUNNING else ""
        st.text(live.words + left, width="stretch")
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.caption(f"The pages show the run {as_of}.", width="content")
        if live.newer or found is not drawn:
            trials = "new trial" if live.new == 1 else "new trials"
            if live.newer:
                st.text(f"{live.new:,} {trials}:" if live.new else "There are newer results:")
            else:
                st.text(f"The page was drawn when the run was {drawn.value}:")
            if st.button("Refresh", key="refresh", icon=":material/refresh:"):
                snapshot.refresh(view.layout)
                st.rerun()


def _ended(run: Snapshot) -> pa.ChunkedArray:
    """Uids of the trials that ended."""
    states = pa.array([status.value for status in TrialStatus if status.ended])
    return run.trials.filter(pc.is_in(run.trials["status"], states))["uid"]


def charged_now(state: RunState | None, told: int, layout: RunLayout) -> Charged:
    """What was charged to a run in `state` whose tables tell of `told` queries."""
    return Charged(told) if state and state.settled else charged(told, accounts(layout))


def accounts(layout: RunLayout) -> Accounts:
    """The accounts of the run's ledger, read again when its files changed."""
    stamp = _ledger_stamp(layout)
    return stamp if isinstance(stamp, RaysysError) else _accounts(layout.location, stamp, layout)


def _ledger_stamp(layout: RunLayout) -> tuple[object, ...] | RaysysError:
    try:
        files = list_folder(layout.filesystem, layout.ledger, recursive=True)
    except RaysysError as failure:
        return failure
    return tuple((info.path, info.size, info.mtime_ns) for info in files)


@st.cache_resource(
    max_entries=500, show_spinner=False, validate=lambda found: not isinstance(found, RaysysError)
)
def _accounts(location: str, stamp: object, _layout: RunLayout) -> Accounts:
    del location, stamp  # the key
    return quick_accounts(_layout.ledger, _layout.filesystem)


def _words(run: Snapshot, layout: RunLayout) -> str:
    manifest, counts = run.manifest, run.counts()
    ended = {status: n for status, n in counts.items() if status.ended}
    others = {status: n for status, n in counts.items() if n and not status.ended}
    kinds = f" ({_told(ended)})" if sum(ended.values()) else ""
    cap, cost = manifest.caps.get("queries"), manifest.caps.get("cost")
    spent = charged_now(run.manifest.state, run.charged, layout)
    words = [
        f"{sum(ended.values())} of {manifest.trials} trials ended{kinds}",
        *([_told(others)] if others else []),
        *(["rows are lost: not all is known"] if run.skipped else []),
        f"{spent} queries charged" + (f" of {cap:,.0f} ({spent.queries / cap:.0%})" if cap else ""),
    ]
    if manifest.price:
        words.append(f"{manifest.cost:,.2f}" + (f" of {cost:,.2f} USD" if cost else " USD"))
    return "  |  ".join(words)


def _told(counts: Mapping[TrialStatus, int]) -> str:
    return ", ".join(f"{count:,} {status}" for status, count in counts.items() if count)


def _left(pace: Pace) -> str:
    """The time left, and how it is estimated."""
    left, each = (_duration(timedelta(seconds=seconds)) for seconds in (pace.left_s, pace.seconds))
    trials = "1 trial" if pace.open == 1 else f"{pace.open:,} trials"
    work = f"{pace.at_once} at once and half done, {each} each as so far"
    return f"  |  about {left} left: {trials} open, {work}"


def _duration(time: timedelta) -> str:
    """A rough length of time."""
    minutes = time.total_seconds() / 60
    if minutes < 2:
        return f"{60 * minutes:.0f} s"
    return f"{minutes:.0f} min" if minutes < 90 else f"{minutes / 60:.1f} h"
