import subprocess
import sys

CODE = """
import sys
import torch
from raysys.distill.determinism import compute_deterministically
from raysys.models.optimizer import make_optimizer

compute_deterministically()
layer = torch.nn.Linear(2, 2)
optimizer = make_optimizer("sgd", layer.parameters(), 0.1, 0.0)
layer(torch.ones(1, 2)).sum().backward()
optimizer.step()
print(torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled())
print([name for name in ("torch._dynamo", "torch._inductor") if name in sys.modules])
"""


def test_determinism_and_the_optimizer_do_not_cost_the_import_of_a_compiler() -> None:
    done = subprocess.run([sys.executable, "-W", "error", "-c", CODE], capture_output=True, text=True)
    assert done.stdout.split("\n") == ["True True", "[]", ""], done.stderr
