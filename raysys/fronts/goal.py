"""What a run looks for: its objectives, what counts at all, and from where the hypervolume is measured."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from raysys.fronts.hypervolume import Reference, scaled_costs
from raysys.fronts.objectives import QUERIES, Floats, Objective, score, to_minimise


@dataclass(frozen=True)
class Goal:
    """Objectives, one of them a score and one `queries`; the reference; limits by objective's name.

    A limit is the least value that counts where more is better, else the largest.
    """

    objectives: tuple[Objective, ...]
    reference: Reference
    limits: Mapping[str, float] = field(default_factory=dict)

    @property
    def names(self) -> list[str]:
        """The objectives' names, in the order of the columns of values."""
        return [one.name for one in self.objectives]

    @property
    def score(self) -> str:
        """The objective that ranks students: `val_accuracy` or `agreement`."""
        return score(self.names)

    def column(self, values: Floats, name: str) -> Floats:
        """One objective's values (n,) of `values` (n, m)."""
        found: Floats = values[:, self.names.index(name)]
        return found

    def allows(self, values: Floats) -> npt.NDArray[np.bool_]:
        """Which points, values (n, m), are within all limits; NaN is not beyond one."""
        good = np.ones(len(values), dtype=np.bool_)
        for column, one in enumerate(self.objectives):
            if (limit := self.limits.get(one.name)) is not None:
                value = values[:, column]
                good &= ~(value < limit if one.direction == "maximize" else value > limit)
        return good

    def costs(self, values: Floats) -> Floats:
        """Values (n, m) as costs, less is better; NaN for points that are not finite or beyond a limit."""
        costs = to_minimise(values, self.objectives)
        costs[~self.allows(values)] = np.nan
        return costs

    def scaled(self, values: Floats) -> Floats:
        """Costs (n, 2) of score and log10 queries for the hypervolume; NaN as `costs` has it."""
        scaled = scaled_costs(
            self.column(values, QUERIES.name), self.column(values, self.score), self.reference
        )
        scaled[np.isnan(self.costs(values)).any(axis=1)] = np.nan
        return scaled
