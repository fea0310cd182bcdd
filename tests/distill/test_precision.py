import torch
import torch.nn.functional as F
from torch.func import vmap

from raysys.distill.precision import autocast, autocast_in_vmap, computes_in_bfloat16

CPU = torch.device("cpu")


def product(precision: str, device: torch.device = CPU) -> torch.Tensor:
    with autocast(precision, device):
        return torch.ones(4, 4) @ torch.ones(4, 4)


def test_float32_stays_float32() -> None:
    assert product("float32").dtype == torch.float32


def test_auto_is_bfloat16_only_where_the_machine_computes_with_it() -> None:
    assert product("auto").dtype == (torch.bfloat16 if computes_in_bfloat16(CPU) else torch.float32)
    assert not computes_in_bfloat16(torch.device("meta")), "nothing is known of other devices"


def test_within_vmap_products_are_rounded_as_without() -> None:
    rng = torch.Generator().manual_seed(0)
    values, weight = torch.randn(3, 4, 8, generator=rng), torch.randn(3, 5, 8, generator=rng)
    exact = vmap(F.linear)(values, weight)
    with autocast_in_vmap("float32", CPU):
        assert torch.equal(vmap(F.linear)(values, weight), exact)
    with autocast_in_vmap("auto", CPU):
        found = vmap(F.linear)(values, weight)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, exact, rtol=0.05, atol=0.05)
    assert torch.equal(found, exact) is not computes_in_bfloat16(CPU)
