"""What a whole run may cost: caps on queries and on money, as the ledger enforces them. No torch, no ray."""

import math
from collections.abc import Mapping
from decimal import Decimal

from raysys.cluster.plan import budget_range
from raysys.errors import UsageError
from raysys.space.schema import Space


def run_caps(space: Space, max_queries: int | None, max_cost: float | None) -> dict[str, float]:
    """The caps as the manifest holds them. Raises UsageError for a cost without a price."""
    caps: dict[str, float] = {}
    if max_queries is not None:
        caps["queries"] = max_queries
    if max_cost is not None:
        if not (math.isfinite(max_cost) and max_cost > 0):
            raise UsageError(f"--max-cost {max_cost:g} is no sum of money", hint="write USD, e.g. 12.50")
        if not space.price:
            raise UsageError(
                f"--max-cost {max_cost:g} needs the price of a query",
                f"space {space.name} has none",
                "say what one costs in USD: -s price=0.001",
            )
        caps["cost"] = max_cost
    return caps


def payable(caps: Mapping[str, float], price: float) -> int | None:
    """How many images the cap on cost pays for: a server may bill every attempt. None where there is none."""
    if "cost" not in caps:
        return None
    return int(Decimal(str(caps["cost"])) // Decimal(str(price)))


def most_queries(caps: Mapping[str, float], price: float) -> int | None:
    """The most queries that a run may be charged, whichever cap comes first."""
    limits = [payable(caps, price), int(caps["queries"]) if "queries" in caps else None]
    return min((limit for limit in limits if limit is not None), default=None)


def told(caps: Mapping[str, float]) -> str:
    """The caps, for a person."""
    parts = [f"{caps['queries']:,.0f} queries"] if "queries" in caps else []
    return " and ".join([*parts, f"{caps['cost']:,.12g} USD"] if "cost" in caps else parts)


def doubled(caps: Mapping[str, float]) -> str:
    """The command line's options for caps twice as large."""
    options = [f"--max-queries {2 * caps['queries']:.0f}"] if "queries" in caps else []
    return " ".join([*options, f"--max-cost {2 * caps['cost']:.12g}"] if "cost" in caps else options)


def check_caps(caps: Mapping[str, float], space: Space, evaluation: int) -> None:
    """Refuse caps that pay for no trial. Raises UsageError."""
    most, (smallest, _) = most_queries(caps, space.price), budget_range(space)
    if most is not None and most < evaluation + smallest:
        raise UsageError(
            f"the run's cap of {told(caps)} pays for no trial",
            f"the held-out images take {evaluation} queries once, the smallest trial {smallest}",
            f"allow at least {evaluation + smallest} queries, or ask fewer held-out images: -s held_out=N",
        )
