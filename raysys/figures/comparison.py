"""All that is told of runs side by side, each thing worked out once: for the page and the report."""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import plotly.graph_objects as go
import pyarrow as pa

from raysys.figures import compare, compare_tables
from raysys.fronts.bootstrap import RESAMPLES
from raysys.store.comparison import EVIDENCE, Row, best_rows, comparable
from raysys.store.reader import Snapshot
from raysys.store.searches import Search, budgets, searches, with_like_fronts

MOST_ROWS = 200
"""Of more rows those with the most seeds are shown, then the best."""


class Chart(NamedTuple):
    """A figure, and in words what it shows."""

    figure: go.Figure
    alt: str


@dataclass(frozen=True)
class Comparison:
    """Runs side by side; None is what there is nothing to show of.

    `left_out`: why some were, each a few lines. `searches` are of the runs whose fronts compare, `rows` of
    all that compare, the first 200 of `all_rows`. `template` is that of the figures.
    """

    runs: tuple[Snapshot, ...]
    left_out: tuple[str, ...]
    searches: tuple[Search, ...]
    rows: tuple[Row, ...]
    all_rows: int
    template: str | None

    @property
    def score(self) -> str:
        """What ranks the students of these runs."""
        return self.runs[0].manifest.score

    @cached_property
    def fronts(self) -> Chart | None:
        """The final front of each run."""
        if not self._has_front:
            return None
        figure = compare.fronts_figure(self.searches, self.score, self.template)
        return Chart(figure, compare.fronts_alt(self.searches, self.score))

    @cached_property
    def attainment(self) -> Chart | None:
        """What half of the runs of each search attain, and the band between a quarter and three quarters."""
        if not (self._has_front and any(map(_is_evidence, self.searches))):
            return None
        figure = compare.attainment_figure(self.searches, self.score, self.template)
        return Chart(figure, compare.attainment_alt(self.searches, self.score))

    @cached_property
    def attained(self) -> pa.Table | None:
        """What the runs of each search attain within some budgets, in %."""
        if not self._has_front:
            return None
        return compare_tables.attainment_table(self.searches, budgets(self.searches))

    @cached_property
    def difference(self) -> Chart | None:
        """By how much what half of the runs of a search attain is above what half of the first's do."""
        if not self.ahead:
            return None
        figure = compare.difference_figure(self.searches, self.score, self.template)
        return Chart(figure, " ".join(self.ahead))

    @cached_property
    def ahead(self) -> tuple[str, ...]:
        """Where each other search with 3 runs is ahead of the first one, in words."""
        if not self._has_front or not _is_evidence(self.searches[0]):
            return ()
        named = list(zip(compare_tables.search_names(self.searches), self.searches, strict=True))
        return tuple(
            compare.ahead_text(self.searches[0], one, name) for name, one in named[1:] if _is_evidence(one)
        )

    @cached_property
    def hypervolume(self) -> Chart | None:
        """The hypervolume of each run, by search."""
        if not self._has_front:
            return None
        figure = compare.hypervolume_figure(self.searches, self.template)
        return Chart(figure, compare.hypervolume_alt(self.searches))

    @cached_property
    def searches_table(self) -> pa.Table:
        """The searches, and what each is above the first."""
        return compare_tables.searches_table(self.searches)

    @cached_property
    def methods(self) -> pa.Table:
        """The teacher and the rows as `raysys compare` prints them, with what tells rows apart."""
        table = compare_tables.methods_table(self.rows, self.runs[0].manifest)
        apart = pa.array(["", *compare_tables.differences(self.rows)], pa.string())
        return table.append_column("differs in", apart)

    @cached_property
    def settings(self) -> pa.Table:
        """What differs between the runs' settings."""
        return compare_tables.settings_table(self.runs)

    @property
    def commands(self) -> str:
        """What prints the same numbers, a line each."""
        of_searches = [run for one in self.searches for run in one.runs]
        return "\n".join(
            (
                shlex.join(["raysys", "compare", *(run.path for run in self.runs)]),
                shlex.join(["raysys", "compare", *of_searches, "--fronts"]),
            )
        )

    @property
    def searches_notes(self) -> list[str]:
        """What to know of the table of searches."""
        notes = [
            "Hypervolume: mean ± sample standard deviation over the n runs of a search; 1 is the best.",
            f"Interval: 95 % of {RESAMPLES:,} bootstrap resamples (seed 0) of the difference of the means."
            " Pairs of runs with one seed are drawn where both have the same seeds. Of a few runs it is too"
            " narrow. Win, tie, loss: by seeds that both searches have.",
        ]
        if not all(map(_is_evidence, self.searches)):
            notes.append(f"Searches with fewer than {EVIDENCE} runs (n) are no evidence.")
        return notes

    @property
    def methods_notes(self) -> list[str]:
        """What to know of the table of methods."""
        notes = [
            "Mean ± sample standard deviation over n seeds, in %. A row is one configuration.",
            *compare_tables.methods_notes(self.rows),
            compare_tables.noise_note(self.rows),
        ]
        if len(self.rows) < self.all_rows:
            notes.append(
                f"Showing {len(self.rows):,} of {self.all_rows:,} rows: those with the most seeds,"
                " then the best."
            )
        return [note for note in notes if note]

    @property
    def _has_front(self) -> bool:
        return any(len(front.members) for one in self.searches for front in one.fronts)


def _is_evidence(search: Search) -> bool:
    return len(search.runs) >= EVIDENCE


def compare_runs(runs: Sequence[Snapshot], template: str | None = None) -> Comparison:
    """Compare runs; those that cannot be compared with the first that has a result are left out.

    Give a `template` for files, as for `front_figure`.
    """
    kept, refused = comparable(runs)
    like, unlike = with_like_fronts(kept)
    rows, all_rows = best_rows(kept, MOST_ROWS)
    return Comparison(
        runs=tuple(kept),
        left_out=tuple(map(str, refused + unlike)),
        searches=tuple(searches(like)),
        rows=tuple(rows),
        all_rows=all_rows,
        template=template,
    )
