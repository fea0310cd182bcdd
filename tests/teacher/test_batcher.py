from hypothesis import given
from hypothesis import strategies as st

from raysys.teacher.batcher import Batcher


def filled(rows: list[int], max_rows: int) -> Batcher[int]:
    batcher: Batcher[int] = Batcher(max_rows)
    for item, count in enumerate(rows):
        batcher.put(item, count)
    return batcher


def test_items_come_in_order_up_to_the_cap() -> None:
    batcher = filled([4, 6, 1, 9], max_rows=10)
    assert [batcher.take() for _ in range(3)] == [[0, 1], [2, 3], []]


def test_one_that_is_too_large_comes_alone() -> None:
    batcher = filled([4, 11, 4], max_rows=10)
    assert [batcher.take() for _ in range(3)] == [[0], [1], [2]]


def test_nothing_waits() -> None:
    batcher = filled([], max_rows=10)
    assert batcher.take() == []
    assert len(batcher) == 0


@given(st.lists(st.integers(1, 15) | st.none(), max_size=40))
def test_nothing_is_lost_or_overtaken_and_batches_are_full(script: list[int | None]) -> None:
    """A number puts an item of that many rows, None takes a batch."""
    batcher: Batcher[tuple[int, int]] = Batcher(10)
    put: list[tuple[int, int]] = []
    batches: list[list[tuple[int, int]]] = []
    for rows in [*script, *[None] * len(script)]:
        if rows is not None:
            put.append((len(put), rows))
            batcher.put(put[-1], rows)
            continue
        waiting = put[sum(map(len, batches)) :]
        batch = batcher.take()
        batches.append(batch)
        assert bool(batch) == bool(waiting)
        total = sum(rows for _, rows in batch)
        assert total <= 10 or len(batch) == 1
        if len(waiting) > len(batch):
            assert total + waiting[len(batch)][1] > 10
        assert len(batcher) == len(waiting) - len(batch)
    assert [item for batch in batches for item in batch] == put
