"""Which methods there are, and what they declare. Somebody else's are in `own_methods`."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from tiny_trial import CutOff, Door, config, pictures, train

from raysys.distill.options import GROUP, METHODS, method_options
from raysys.errors import UsageError


@pytest.fixture(autouse=True)
def _own(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("Peek", "Blind", "Soft", "Lost"):
        monkeypatch.setitem(METHODS, name.lower(), f"own_methods:{name}Options")


def test_a_method_that_needs_real_images_gets_those_and_no_others(tmp_path: Path) -> None:
    images = pictures(70, seed=1)
    with Door(tmp_path) as door:
        outcome = train(door, config(method="peek"), images=images)
        np.testing.assert_array_equal(np.concatenate(door.teacher.asked), images[:50])
    assert outcome.reports[-1].queries == 50


def test_a_method_that_declares_nothing_sees_no_image(tmp_path: Path) -> None:
    with Door(tmp_path) as door:
        with pytest.raises(UsageError, match="method blind must not see real images"):
            train(door, config(method="blind"), images=pictures(70))
        with pytest.raises(UsageError, match="method peek needs real images"):
            train(door, config(method="peek"))
        train(door, config(method="blind"))
        assert not np.concatenate(door.teacher.asked).any(), "it asked the black images of its own"


def test_a_soft_method_on_a_hard_teacher_is_refused_before_any_query(tmp_path: Path) -> None:
    line = CutOff()
    with Door(tmp_path) as door:
        with pytest.raises(
            UsageError, match="method soft cannot learn from a teacher that is hard"
        ) as caught:
            train(door, config(method="soft"), wrap=line)
        assert "--response soft" in caught.value.hint
        assert line.calls == 0
    with Door(tmp_path / "soft", "soft") as door:
        assert train(door, config(method="soft", response="soft")).reports[-1].queries == 50


@pytest.mark.parametrize(
    ("value", "why"),
    [
        ("own_methods:Nothing", "AttributeError"),
        ("no_such_package:Options", "ModuleNotFoundError: No module named 'no_such_package'"),
        ("tiny_trial:Door", "tiny_trial:Door is no raysys.distill.options.MethodOptions"),
        ("tiny_trial:TASK", "tiny_trial:TASK is no raysys.distill.options.MethodOptions"),
    ],
)
def test_a_method_that_cannot_be_loaded_is_told(
    monkeypatch: pytest.MonkeyPatch, value: str, why: str
) -> None:
    monkeypatch.setitem(METHODS, "broken", value)
    with pytest.raises(UsageError, match=f"method broken cannot be loaded\n  .*{why}"):
        method_options("broken")
    assert method_options("ideal") is not None, "the others are as they were"


def test_a_method_whose_class_is_missing_is_told(tmp_path: Path) -> None:
    with Door(tmp_path) as door, pytest.raises(UsageError, match=r"method lost cannot be loaded\n.*Nowhere"):
        train(door, config(method="lost"))


PACKAGE = """
from typing import ClassVar
from pydantic import Field
from raysys.distill.options import StudentOptions

class Options(StudentOptions):
    implementation: ClassVar[str] = "theirs.method:Theirs"
    shade: float = Field(0.5, ge=0, le=1, description="how grey the images are")
"""
METHOD = """
import torch
from raysys.distill.method import Progress
from raysys.distill.pooled import PooledMethod

class Theirs(PooledMethod):
    def __init__(self, setting, options):
        super().__init__(setting, options)
        self.shade = options.shade

    def step(self):
        if not self.remaining:
            return None
        images = torch.full((min(self.remaining, 20), *self.task.image_shape), self.shade)
        return Progress({"student": self.run_passes()}, self.ask_into_pool(images))
"""
SCRIPT = """
import sys
from raysys.distill.options import known_methods, parse_options
assert "theirs" in known_methods()
assert parse_options("theirs", {"shade": 0.25}).shade == 0.25
assert parse_options("ideal", {}).implementation == "raysys.distill.ideal:Ideal"
assert "torch" not in sys.modules and "theirs.method" not in sys.modules
from tiny_trial import Door, config, train
from pathlib import Path
with Door(Path(sys.argv[1])) as door:
    train(door, config(method="theirs", shade=0.2))
    assert door.teacher.forwards == [20, 20, 10]
    assert {int(value) for images in door.teacher.asked for value in images.flat} == {51}
"""


def test_an_installed_package_adds_a_method_and_takes_no_name(tmp_path: Path) -> None:
    site, tests = tmp_path / "site", Path(__file__).parents[1]
    info = site / "theirs-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: theirs\nVersion: 1.0\n")
    entries = f"[{GROUP}]\ntheirs = theirs:Options\nideal = theirs:Options\n"
    (info / "entry_points.txt").write_text(entries)
    (site / "theirs").mkdir()
    (site / "theirs" / "__init__.py").write_text(PACKAGE)
    (site / "theirs" / "method.py").write_text(METHOD)
    paths = f"import sys; sys.path[:0] = [{str(site)!r}, {str(tests)!r}]\n"
    done = subprocess.run(
        [sys.executable, "-c", paths + SCRIPT, str(tmp_path / "door")],
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert done.returncode == 0, done.stderr
