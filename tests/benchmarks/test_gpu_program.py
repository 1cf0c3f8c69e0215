"""benchmarks/gpu_program.py: how it counts what a GPU would run. Compiling for one is not tried."""

import pytest
from gpu_program import count_kernels

# The form of XLA's listing, shortened: a loop whose body is a command buffer between two of them.
LISTING = """\
000: kCommandBuffer [source | next=003 (1)]
    001: kCustomKernel [source | sink] first grid: [1, 1, 1]
    002: kCopy [source | sink] kCopy
003: kWhile [prev=000 (1) | next=008 (1)]
condition:
    004: kCustomKernel [source | sink] compare grid: [1, 1, 1]
  body:
    000: kCommandBuffer [source | sink]
        005: kCustomKernel [source | sink] product grid: [1, 1, 1]
        006: kCustomKernel [source | sink] gates grid: [1, 1, 1]
    007: kGemm [source | sink] outside
008: kCustomKernel [prev=003 (1) | sink] last grid: [1, 1, 1]
"""


def test_kernels_in_a_loop_count_for_each_of_its_steps() -> None:
    kernels, launches, bodies = count_kernels(LISTING, [10])
    assert kernels == 2 + 10 * 4 + 1
    assert launches == 1 + 10 * 3 + 1  # The condition, the body's buffer, and what is outside it.
    assert bodies == [4]


def test_more_loops_than_the_listing_has_are_refused() -> None:
    with pytest.raises(ValueError, match="the listing has fewer loops than 2"):
        count_kernels(LISTING, [10, 20])


def test_loops_within_loops_are_refused() -> None:
    nested = LISTING.replace("007: kGemm [source | sink] outside", "007: kWhile [source | sink]")
    with pytest.raises(ValueError, match="loops within loops"):
        count_kernels(nested, [10, 20])
