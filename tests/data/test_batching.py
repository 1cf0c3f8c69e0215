"""Which rows are in which batch, and what a batch looks like."""

import jax
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flax_imdb.data import Batching, Examples, inputs_of


def examples(lengths: list[int]) -> Examples:
    """Reviews of these lengths; review ``i`` repeats token ``i + 1``, its label is ``i % 2``."""
    tokens = [np.full(length, i + 1, np.int32) for i, length in enumerate(lengths)]
    return Examples.build(tokens, np.arange(len(lengths)) % 2)


LENGTHS = st.lists(st.integers(1, 60), min_size=1, max_size=200)


class TestOrder:
    @given(lengths=LENGTHS, batch_size=st.integers(1, 9), seed=st.integers(0, 99))
    def test_every_example_once_an_epoch(
        self, lengths: list[int], batch_size: int, seed: int
    ) -> None:
        plan = Batching(batch_size, 60).plan_epoch(examples(lengths), seed=seed, epoch=1)
        seen = np.concatenate([planned.indices for planned in plan])
        np.testing.assert_array_equal(np.sort(seen), np.arange(len(lengths)))
        assert len(plan) == -(-len(lengths) // batch_size)

    @given(lengths=LENGTHS, batch_size=st.integers(1, 9))
    def test_depends_on_the_seed_and_the_epoch_alone(
        self, lengths: list[int], batch_size: int
    ) -> None:
        batching = Batching(batch_size, 60)

        def order(seed: int, epoch: int) -> list[list[int]]:
            plan = batching.plan_epoch(examples(lengths), seed=seed, epoch=epoch)
            return [planned.indices.tolist() for planned in plan]

        assert order(7, 1) == order(7, 1)
        if len(set(lengths)) > 20:
            assert order(7, 1) != order(7, 2)
            assert order(7, 1) != order(8, 1)

    def test_rows_of_similar_length_are_together(self) -> None:
        """Padding is a small part of a batch, and next to none comes before the longest row."""
        lengths = np.random.default_rng(0).integers(1, 500, 4096).tolist()
        batching = Batching(64, 500)
        plan = batching.plan_epoch(examples(lengths), seed=7, epoch=1)
        rows = [np.array(lengths)[planned.indices] for planned in plan]
        assert sum(64 * row.max() for row in rows) < 1.1 * sum(lengths)
        assert sum(64 * planned.time for planned in plan) < 1.3 * sum(lengths)

    def test_there_are_at_most_five_padded_lengths(self) -> None:
        """Each is compiled once."""
        for max_length in (1, 7, 500, 4096):
            lengths = np.arange(1, max_length + 1).tolist()
            plan = Batching(2, max_length).plan_evaluation(examples(lengths))
            assert len({planned.time for planned in plan}) <= 5
            assert max(planned.time for planned in plan) == max_length
            assert {planned.time for planned in plan} == {*Batching(2, max_length).padded_lengths}
        assert Batching(2, 500, "keras").padded_lengths == (500,)

    def test_texts_of_several_windows_have_five_more(self) -> None:
        batching = Batching(1, 500, stride=250)
        longer = batching.padded_lengths[5:]
        assert longer == (750, 1000, 1250, 1750, 2250)  # Of 2, 3, 4, 6 and 8 windows.
        assert batching.padded_lengths[:5] == Batching(1, 500).padded_lengths
        plan = batching.plan_evaluation(examples([3, 500, 501, 750, 751, 1251, 2250]))
        assert [planned.time for planned in plan] == [100, 500, 750, 750, 1000, 1750, 2250]

    @pytest.mark.parametrize(
        ("batch_size", "most", "sizes"),
        [
            (64, 1, [1]),
            (64, 2, [1, 8]),
            (64, 8, [1, 8]),
            (64, 9, [1, 8, 64]),
            (64, 1000, [1, 8, 64]),
            (64, None, [1, 8, 64]),
            (8, None, [1, 8]),
            (5, 3, [1, 5]),
            (1, None, [1]),
        ],
    )
    def test_few_rows_have_a_size_of_their_own(
        self, batch_size: int, most: int | None, sizes: list[int]
    ) -> None:
        found = Batching(batch_size, 60).sizes(most)
        assert [batching.batch_size for batching in found] == sizes


class TestBatch:
    @given(
        lengths=LENGTHS,
        batch_size=st.integers(1, 9),
        multiple_of=st.integers(1, 4),
        padding=st.sampled_from(["masked", "keras"]),
    )
    def test_holds_what_was_planned(
        self, lengths: list[int], batch_size: int, multiple_of: int, padding: str
    ) -> None:
        data = examples(lengths)
        batching = Batching(batch_size, 60, padding, multiple_of)  # type: ignore[arg-type]
        for planned in batching.plan_epoch(data, seed=1, epoch=1):
            batch = batching.make(data, planned)
            rows = -(-batch_size // multiple_of) * multiple_of
            real = len(planned.indices)
            assert batch["tokens"].shape == (rows, planned.time)
            np.testing.assert_array_equal(batch["weights"], np.arange(rows) < real)
            np.testing.assert_array_equal(batch["example_ids"][:real], planned.indices)
            np.testing.assert_array_equal(batch["labels"][:real], planned.indices % 2)
            for index, tokens, length in zip(
                planned.indices, batch["tokens"], batch["lengths"], strict=False
            ):
                review = np.full(lengths[index], index + 1)
                padded = np.zeros(planned.time - lengths[index])
                if padding == "masked":
                    np.testing.assert_array_equal(tokens, [*review, *padded])
                    assert length == lengths[index]
                else:
                    np.testing.assert_array_equal(tokens, [*padded, *review])
                    assert length == planned.time == 60
            for name in ("tokens", "lengths", "labels"):
                np.testing.assert_array_equal(batch[name][real:], 0)  # type: ignore[literal-required]
            np.testing.assert_array_equal(batch["example_ids"][real:], -1)
            dtypes = {name: array.dtype.name for name, array in batch.items()}  # type: ignore[attr-defined]
            assert dtypes.pop("weights") == "float32"
            assert set(dtypes.values()) == {"int32"}

    def test_keras_padding_is_that_of_pad_sequences(self) -> None:
        from keras.utils import pad_sequences

        data = examples([3, 60, 1]).limited(100, 40)
        batching = Batching(3, 40, "keras")
        (planned,) = batching.plan_evaluation(data)
        reviews = [[1] * 3, [2] * 60, [3]]
        expected = pad_sequences(reviews, maxlen=40)
        np.testing.assert_array_equal(batching.make(data, planned)["tokens"], expected)


@pytest.mark.parametrize(("epoch", "first"), [(1, [164, 204, 125, 206]), (2, [90, 130, 171, 51])])
def test_the_first_batch_of_a_known_epoch_is_pinned(epoch: int, first: list[int]) -> None:
    """Pinned: a change here changes every run, and what a resumed run sees."""
    data = examples([1 + i % 40 for i in range(300)])
    plan = Batching(4, 40).plan_epoch(data, seed=7, epoch=epoch)
    assert plan[0].indices.tolist() == first


def test_the_shares_of_a_batch_together_are_its_rows() -> None:
    rng = np.random.default_rng(0)
    reviews = [rng.integers(3, 30, rng.integers(1, 13)) for _ in range(9)]
    examples = Examples.build(reviews, rng.integers(0, 2, 9))
    for padding in ("masked", "keras"):
        batching = Batching(9, 12, padding, multiple_of=8)
        (planned,) = batching.plan_evaluation(examples)
        shares = [batching.make(examples, planned, (part, 4)) for part in range(4)]
        whole = batching.make(examples, planned)
        joined = {name: np.concatenate([share[name] for share in shares]) for name in whole}
        jax.tree.map(np.testing.assert_array_equal, joined, dict(whole))


@given(
    lengths=st.lists(st.integers(1, 12), min_size=1, max_size=30),
    batch_size=st.integers(1, 7),
    kept=st.integers(1, 12),
)
def test_batches_of_numeric_sequences_hold_their_ends(
    lengths: list[int], batch_size: int, kept: int
) -> None:
    rng = np.random.default_rng(len(lengths))
    sequences = [rng.normal(size=(length, 2)).astype(np.float32) for length in lengths]
    of_sequences = Examples.build(sequences, np.arange(len(lengths)) % 2).shortened(kept)
    batching = Batching(batch_size, kept)
    seen = []
    for planned in batching.plan_evaluation(of_sequences):
        batch = batching.make(of_sequences, planned)
        assert "tokens" not in batch
        assert inputs_of(batch) is batch["inputs"]
        assert (batch["inputs"].dtype, batch["inputs"].shape[2]) == (np.float32, 2)
        for row, length, number in zip(
            batch["inputs"], batch["lengths"], batch["example_ids"], strict=True
        ):
            if number >= 0:
                np.testing.assert_array_equal(row[:length], sequences[number][-kept:])
                seen.append(int(number))
            assert not row[length:].any()
    assert sorted(seen) == list(range(len(lengths)))
