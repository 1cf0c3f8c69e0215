"""Requests that come at the same time, answered together."""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from typing import Generic, TypeVar

Item = TypeVar("Item")
Answer = TypeVar("Answer")


class Full(Exception):  # noqa: N818
    """Too much is waiting already."""


class Batcher(Generic[Item, Answer]):
    """Answers items in batches, on a thread of its own.

    While a batch is answered the next one gathers. So nothing waits for others to come, and the
    more there is to do, the larger the batches are. Use it in one event loop.

    Args:
      answer: the answers to items, in their order.
      sizes: of the batches, the smallest first, which is 1: a batch of fewer items than its size
        takes as long.
      waiting: items that may wait.
      observe: is told how large each batch is.
    """

    def __init__(
        self,
        answer: Callable[[Sequence[Item]], Sequence[Answer]],
        sizes: Sequence[int],
        waiting: int,
        observe: Callable[[int], object] = lambda items: None,
    ):
        self._answer, self._sizes, self._most_waiting = answer, sizes, waiting
        self._observe = observe
        self._jobs: deque[tuple[Item, asyncio.Future[Answer]]] = deque()
        self._came = asyncio.Event()

    @property
    def waiting(self) -> int:
        """The number of items that wait."""
        return len(self._jobs)

    async def __call__(self, items: Sequence[Item]) -> list[Answer]:
        """The answers to items; if it is cancelled, what still waits is dropped.

        Raises:
          Full: too many wait.
        """
        if len(self._jobs) + len(items) > self._most_waiting:
            raise Full
        loop = asyncio.get_running_loop()
        jobs = [(item, loop.create_future()) for item in items]
        self._jobs.extend(jobs)
        self._came.set()
        try:
            return [await future for _, future in jobs]
        finally:
            for _, future in jobs:
                future.cancel()  # Without effect on those that are done.
            if any(future.cancelled() for _, future in jobs):
                self._jobs = deque(job for job in self._jobs if not job[1].cancelled())
            for _, future in jobs:
                if not future.cancelled():
                    future.exception()  # One was raised: asyncio need not complain of the others.

    def _next(self) -> int:
        """How many to take: a larger batch is worth its time once a quarter of it is full."""
        waiting = len(self._jobs)
        return min(waiting, max(size for size in self._sizes if size <= max(4 * waiting, 1)))

    async def run(self) -> None:
        """Answer whatever comes, until it is cancelled."""
        thread = ThreadPoolExecutor(1)
        try:
            while True:
                await self._came.wait()
                batch = [self._jobs.popleft() for _ in range(self._next())]
                if not self._jobs:
                    self._came.clear()
                if batch:  # All may have been cancelled.
                    await self._answer_on(thread, batch)
        finally:
            thread.shutdown(wait=False)

    async def _answer_on(
        self, thread: Executor, batch: Sequence[tuple[Item, asyncio.Future[Answer]]]
    ) -> None:
        self._observe(len(batch))
        items = [item for item, _ in batch]
        try:
            answers = await asyncio.get_running_loop().run_in_executor(thread, self._answer, items)
        except Exception as error:
            for _, future in batch:
                if not future.done():
                    future.set_exception(error)
        else:
            for (_, future), answer in zip(batch, answers, strict=True):
                if not future.done():
                    future.set_result(answer)
