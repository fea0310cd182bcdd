"""How a new run searches, as it was asked for. No torch, no ray."""

from dataclasses import dataclass

from raysys.search.query_asha import SchedulerName
from raysys.search.samplers import SamplerName


@dataclass(frozen=True)
class Search:
    """How a new run searches, fixed at its start.

    `scheduler` None: see `plan_stopping`. `seeds`: trials that a config on the front gets. `preset` names
    the preset that made the space what it is, for the manifest; empty for none.
    """

    seed: int = 0
    sampler: SamplerName = "tpe"
    scheduler: SchedulerName | None = None
    seeds: int = 1
    warm_start: tuple[str, ...] = ()
    max_queries: int | None = None
    max_cost: float | None = None
    preset: str = ""
