"""Which raysys and which packages work here: what a run records, and what a resume compares."""

from collections.abc import Mapping
from importlib.metadata import version
from platform import python_version

from raysys.store.manifest import Manifest

PACKAGES = ("ray", "torch", "torchvision", "optuna", "pyarrow", "numpy", "scikit-learn")
"""Packages whose versions a run records."""


def versions() -> dict[str, str]:
    """The versions of Python and of `PACKAGES`."""
    return {"python": python_version(), **{name: version(name) for name in PACKAGES}}


def changed_code(manifest: Manifest, code: str, now: Mapping[str, str]) -> list[str]:
    """What works on a run now and did not begin it, a sentence each; nothing where a run does not say."""
    found = []
    if manifest.code and manifest.code != code:
        found.append(
            f"raysys' code is {code[:12]}, the run began with {manifest.code[:12]} of {manifest.raysys}:"
            " trials may come out otherwise"
        )
    other = {name: (was, now.get(name, "none")) for name, was in manifest.versions.items()}
    told = [f"{name} {was} -> {here}" for name, (was, here) in other.items() if was != here]
    return found + ([f"packages: {', '.join(told)}"] if told else [])
