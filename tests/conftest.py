"""Fixtures that every part of the suite shares."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings
from s3_server import S3, serving

os.environ.pop("COLUMNS", None)  # pytest's helpers set it: tables are as wide as in a pipe


settings.register_profile("patient", deadline=None)  # an example is no slower for what else the machine does
settings.load_profile("patient")


@pytest.fixture(scope="session")
def data_root() -> Path:
    """The folder with real data (MNIST, cifar10): `RAYSYS_DATA_ROOT`, else `../shared/data`."""
    default = Path(__file__).resolve().parents[2] / "shared" / "data"
    root = Path(os.environ.get("RAYSYS_DATA_ROOT", default))
    if not root.is_dir():
        pytest.skip(f"no real data: {root} does not exist (set RAYSYS_DATA_ROOT)")
    return root


@pytest.fixture(scope="session")
def s3() -> Iterator[S3]:
    """An S3 server on loopback."""
    with serving() as server:
        yield server


@pytest.fixture(scope="module")
def local_ray() -> Iterator[None]:
    """A Ray of this process alone; other modules start or join one of their own."""
    import ray  # slow, and only slow tests need it

    ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False)
    yield
    ray.shutdown()
