"""Which items are answered together."""

import asyncio
from collections.abc import Sequence

import pytest

from flax_imdb.serve.batcher import Batcher, Full


def batches(items: int, sizes: Sequence[int]) -> list[int]:
    """The sizes of the batches in which so many items that wait together are answered."""
    found: list[int] = []

    async def ask() -> None:
        batcher = Batcher(list, sizes, items, found.append)
        waiting = asyncio.create_task(batcher(range(items)))
        await asyncio.sleep(0)
        running = asyncio.create_task(batcher.run())
        assert await waiting == [*range(items)]
        running.cancel()

    asyncio.run(ask())
    return found


@pytest.mark.parametrize(
    ("items", "expected"),
    [
        (1, [1]),
        (2, [2]),  # A quarter of 8.
        (9, [8, 1]),
        (15, [8, 7]),
        (16, [16]),  # A quarter of 64.
        (65, [64, 1]),
        (200, [64, 64, 64, 8]),
    ],
)
def test_the_largest_batch_is_taken_of_which_a_quarter_is_full(
    items: int, expected: list[int]
) -> None:
    assert batches(items, (1, 8, 64)) == expected


def test_one_that_is_cancelled_forgets_what_waits() -> None:
    async def ask() -> None:
        batcher = Batcher(list, (1, 2), 3)
        for cancelled in ("a", "abc"):
            waiting = asyncio.create_task(batcher(cancelled))
            await asyncio.sleep(0)
            assert batcher.waiting == len(cancelled)
            waiting.cancel()
            await asyncio.gather(waiting, return_exceptions=True)
            assert batcher.waiting == 0
        running = asyncio.create_task(batcher.run())
        assert await batcher("def") == ["d", "e", "f"]
        running.cancel()

    asyncio.run(ask())


def test_no_more_wait_than_may() -> None:
    async def ask() -> None:
        batcher = Batcher(list, (1,), 3)
        waiting = asyncio.create_task(batcher("ab"))
        await asyncio.sleep(0)
        with pytest.raises(Full):
            await batcher("cd")
        assert batcher.waiting == 2
        waiting.cancel()

    asyncio.run(ask())


def test_an_error_is_of_those_alone_who_asked_with_it() -> None:
    def invert(items: Sequence[int]) -> list[float]:
        return [1 / item for item in items]

    async def ask() -> None:
        batcher = Batcher(invert, (1, 2), 9)
        running = asyncio.create_task(batcher.run())
        with pytest.raises(ZeroDivisionError):
            await batcher([1, 0])
        assert await batcher([4, 2]) == [0.25, 0.5]
        running.cancel()

    asyncio.run(ask())
