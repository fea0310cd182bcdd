"""A trial of a packed run as Tune sees it: it passes on what the trial tells in its pack. No torch here."""

import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any

import ray
from ray import tune
from ray.actor import ActorHandle

from raysys.errors import UnreachableError

HELD = {"memory": 1.0}
"""What a relay holds of its node: next to nothing, but Tune wants it to hold something."""
PREFIX = "pack-"
"""What the names of a run's packs begin with; each run has a namespace of Ray's for itself."""
LOOK_S = 0.1
"""How often a trial that finds no place looks again."""
PATIENCE_S = 5.0
"""How long packs may take to say whether they have room; later answers count when they come."""

Handle = ActorHandle[Any]


def relay(config: Mapping[str, Any], context: Any) -> None:
    """`trainable`, done in a pack that has room.

    `context` is a list with a reference to the `TrialContext`: only the pack unpacks it.
    """
    uid = config["uid"]
    try:
        pack = _enter(config, context)
    except UnreachableError as error:  # not the trial's fault: see `trainable.work`
        why = {"error": str(error), "exit_code": error.exit_code}
        tune.report({"uid": uid, "reports": [], "status": "interrupted", **why})
        return
    results: Iterator[Any] = iter(lambda: ray.get(pack.next.remote(uid)), None)
    for result in results:
        tune.report(result)


def _enter(config: Mapping[str, Any], context: Any) -> Handle:
    """The pack that took the trial: of those with room the emptiest. Raises UnreachableError without any.

    A pack that died comes back as soon as some node has a place for it; meanwhile any other will do.
    """
    asked: dict[str, tuple[Handle, Any]] = {}
    while True:
        for name in ray.util.list_named_actors():
            if name.startswith(PREFIX) and name not in asked:
                pack = ray.get_actor(name)
                asked[name] = pack, pack.room.remote(config["uid"])
        if not asked:
            raise UnreachableError(
                "no pack can be started",
                "their processes end at their start",
                "look at the nodes with raysys doctor --address, or go on without --pack",
            )
        answers = {answer: name for name, (_, answer) in asked.items()}
        ready, _ = ray.wait(list(answers), num_returns=len(answers), timeout=PATIENCE_S)
        rooms: dict[str, int] = {}
        for answer in ready:
            with suppress(ray.exceptions.RayActorError):  # it has just died: ask it again
                rooms[answers[answer]] = ray.get(answer)
        best = max(rooms, key=lambda name: rooms[name], default="")
        if best and rooms[best] > 0 and min(rooms.values()) >= 0:
            pack, _ = asked[best]
            if ray.get(pack.enter.remote(config, context)):
                return pack
        # Who has not answered is not asked again: a second question would end an attempt that entered since.
        for answer in ready:
            del asked[answers[answer]]
        time.sleep(LOOK_S)
