"""The methods paragraph of a paper or report: what a run measured, and how, as far as the run says it."""

import shlex

import pyarrow.compute as pc

from raysys.figures.looks import text
from raysys.fronts.front import Front
from raysys.fronts.objectives import TESTED
from raysys.store.comparison import hidden_by_teacher
from raysys.store.manifest import NO_SAMPLER, NO_SCHEDULER, Manifest, RunState
from raysys.store.points import run_front
from raysys.store.reader import Snapshot
from raysys.store.schema import PARAMETER


def methods_text(run: Snapshot) -> str:
    """How the run measured what it shows, in plain text: one paragraph a subject, between empty lines.

    What the run does not say, such as the hash of a teacher behind HTTP, is left out.
    """
    manifest, front = run.manifest, run_front(run)
    parts = (
        _problem(run),
        _search(run),
        _queries(run),
        _measures(manifest, front),
        _tested(run),
        _provenance(run),
    )
    return "\n\n".join(" ".join(sentences) for sentences in parts)


def front_command(run: Snapshot) -> str:
    """The command that prints the run's front."""
    return f"raysys front {shlex.quote(run.path)}"


def _problem(run: Snapshot) -> list[str]:
    manifest = run.manifest
    card, most = manifest.teacher, manifest.space.get("held_out")
    told = []
    if card is not None:
        told.append(f"The teacher that was imitated is {card.id} (architecture {card.architecture}).")
        if card.sha256:
            told.append(f"Its sha256 is {card.sha256}.")
        known = {"val": card.val_accuracy, "test": card.test_accuracy}
        reached = [f"{value:.2%} on {split}" for split, value in known.items() if value is not None]
        told += [f"Its accuracy is {' and '.join(reached)}."] if reached else []
    hidden = [f"{key} {value}" for key, value in hidden_by_teacher(run).items()]
    labels = {"hard": "its top-1 label only", "soft": "class probabilities"}[manifest.response]
    told.append(f"It answered with {labels} ({', '.join([f'response {manifest.response}', *hidden])}).")
    dataset = manifest.dataset
    if "name" in dataset:
        digest = f" (sha256 {dataset['sha256']})" if dataset.get("sha256") else ""
        told.append(f"Students were measured on held-out images of the data set {dataset['name']}{digest}.")
    images = "All of its held-out images" if most is None else f"At most {most:,} of its held-out images"
    told.append(
        f"{images} were split once, by class and a fixed seed, into two halves: val, which the search"
        " looks at, and test."
    )
    return told


def _search(run: Snapshot) -> list[str]:
    manifest = run.manifest
    told = [f"Method: {manifest.method}" + (f", preset {manifest.preset}." if manifest.preset else ".")]
    name = manifest.space.get("name")
    told.append(f"Search space: {f'{name}, ' if name else ''}sha256 {manifest.space_digest}.")
    if manifest.sampler == NO_SAMPLER:
        told.append("Nothing was searched: the configuration was given.")
    else:
        stopping = "no early stopping" if manifest.scheduler == NO_SCHEDULER else manifest.scheduler
        judged = ", ".join(f"{queries:,}" for queries in manifest.milestones)
        at = f", which judges trials at {judged} queries" if judged else ""
        told.append(f"Sampler {manifest.sampler}; scheduler: {stopping}{at}.")
        if manifest.warm_start:
            told.append(f"It began with the trials of {', '.join(manifest.warm_start)}.")
    states = ", ".join(f"{count} {status}" for status, count in run.counts().items() if count)
    told.append(f"{manifest.trials:,} trials were planned; {states or 'none'}.")
    told.append(f"The seed of the run is {manifest.seed}; each trial has its own, in the trials table.")
    if manifest.seeds > 1:
        told.append(f"A configuration on the front gets {manifest.seeds} trials with different seeds.")
    return told


def _queries(run: Snapshot) -> list[str]:
    manifest = run.manifest
    told = [
        "A query is one image that the teacher answers once; every image is charged, also those of"
        " evaluation, and none is charged twice."
    ]
    budget = PARAMETER + "query_budget"
    if budget in run.trials.column_names and run.trials.num_rows:
        ends = pc.min_max(run.trials[budget]).as_py()
        told.append(f"Each trial had a budget of its own, of {ends['min']:,} to {ends['max']:,} queries.")
    units = {"queries": "{:,.0f} queries", "cost": "{:,.2f} USD", "time": "{:,.0f} seconds"}
    caps = [units.get(name, name + " {:g}").format(cap) for name, cap in sorted(manifest.caps.items())]
    told.append(f"The whole run was limited to {', '.join(caps)}." if caps else "The whole run had no cap.")
    far = "so far" if manifest.state is RunState.RUNNING else "in all"
    told.append(f"{run.charged:,} queries were charged {far}, evaluation included.")
    if manifest.executed:
        told.append(f"{manifest.executed:,} images were sent, all attempts included.")
        if manifest.price:
            told.append(f"At {manifest.price:g} USD for each image sent that is {manifest.cost:,.2f} USD.")
    return told


def _measures(manifest: Manifest, front: Front) -> list[str]:
    goal = manifest.goal
    score, reference = text(goal.score), goal.reference
    wanted = ", ".join(f"{text(one.name)} ({one.direction}d)" for one in goal.objectives)
    limits = ", ".join(f"{text(name)} {limit:g}" for name, limit in sorted(goal.limits.items()))
    told = [
        f"Objectives: {wanted}.",
        "A point is the finished trials of one configuration, which differ by their seed only: their mean,"
        " and their sample standard deviation (n - 1) where there are several.",
        "The final front has the points that no other point is at least as good as in all objectives and"
        " better in one; stopped, failed and interrupted trials are never on it, and points with a value"
        " that is not finite are left out.",
    ]
    if limits:
        told.append(f"Points beyond these limits are left out: {limits}.")
    told.append(
        f"The hypervolume is that of {score} and queries, below the reference point of {score}"
        f" {reference.accuracy:g} (chance) and {reference.queries:,} queries, after normalising:"
        f" (1 - {score}) / (1 - {reference.accuracy:g}), and log10(queries) / log10({reference.queries:,});"
        " it lies between 0 and 1, more is better."
    )
    told.append(
        "The knee is the point of the front with the largest perpendicular distance, towards the ideal, to"
        " the chord between the front's extremes on these axes, scaled to [0, 1]; it needs three points."
    )
    points = "point" if len(front.members) == 1 else "points"
    told.append(f"The final front has {len(front.members)} {points}, hypervolume {front.hypervolume:.4f}.")
    for count, why in ((front.excluded, "a value that is not finite"), (front.outside, "a limit")):
        told += [f"{count} left out for {why}."] if count else []
    return told


def _tested(run: Snapshot) -> list[str]:
    tested = run.trials.num_rows - run.trials[TESTED[run.manifest.score]].null_count
    return [
        "The test half is looked at once, when the run has ended, for the students that it delivers; nothing"
        " is chosen by it.",
        f"Students tested: {tested or 'none yet'}.",
    ]


def _provenance(run: Snapshot) -> list[str]:
    manifest = run.manifest
    packages = ", ".join(f"{name} {version}" for name, version in manifest.versions.items())
    told = [f"Versions: raysys {manifest.raysys}{f', {packages}' if packages else ''}."]
    if manifest.code:
        told.append(f"The sha256 of the sources of raysys is {manifest.code}.")
    state = "is still running" if manifest.state is RunState.RUNNING else f"is {manifest.state}"
    told.append(
        f"The run {run.name} began at {manifest.created} and {state},"
        f" as of {run.updated:%Y-%m-%d %H:%M:%S} UTC."
    )
    own = {one["name"] for one in manifest.space.get("objectives", [])}
    if own in (set(), set(manifest.goal.names)):
        told.append(f"{front_command(run)} prints the same numbers.")
    else:
        told.append(f"These objectives are not the run's own ({', '.join(sorted(own))}).")
    return told
