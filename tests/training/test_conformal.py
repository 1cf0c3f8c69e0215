"""Split conformal prediction, against NumPy's quantiles and the exact law of its coverage."""

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from flax_imdb.errors import InputError
from flax_imdb.training import check_coverage, conformity, least_probability, prediction_sets

COVERAGES = st.integers(1, 999).map(lambda thousandths: thousandths / 1000)
SHARES = st.floats(0, 1, width=32)
KNOWN = np.zeros(1, bool)


class TestConformity:
    def test_is_the_probability_of_the_own_class_ascending(self) -> None:
        probabilities = np.array([[0.75, 0.25], [0.5, 0.5], [0.125, 0.875]], np.float32)
        assert conformity(probabilities, np.array([0, 1, 0])) == (0.125, 0.5, 0.75)

    def test_that_is_not_a_number_is_refused(self) -> None:
        with pytest.raises(InputError, match="not a number"):
            conformity(np.array([[math.nan, 0.5]], np.float32), np.array([0]))


class TestLeastProbability:
    @given(st.lists(SHARES, min_size=1, max_size=60).map(sorted), COVERAGES)
    def test_is_the_quantile_of_the_scores_as_angelopoulos_and_bates_have_it(
        self, shares: list[float], coverage: float
    ) -> None:
        rows = len(shares)
        # Their section 1: the ceil((n + 1) (1 - alpha)) / n quantile of 1 - probability.
        rank = math.ceil((rows + 1) * Fraction(round(1000 * coverage), 1000))
        if rank > rows:
            with pytest.raises(InputError, match="rows to calibrate with, and there are"):
                least_probability(shares, coverage)
            return
        scores = np.sort([1 - Fraction(share) for share in shares])
        assert least_probability(shares, coverage) == float(1 - scores[rank - 1])

    @given(st.integers(1, 40), COVERAGES)
    def test_a_new_row_is_covered_as_often_as_the_ranks_say(
        self, rows: int, coverage: float
    ) -> None:
        """Of exchangeable rows each is the new one equally often: counted, without a draw."""
        shares = np.linspace(0.01, 0.99, rows + 1)
        covered, refused = 0, False
        for new in range(rows + 1):
            try:
                least = least_probability(np.delete(shares, new).tolist(), coverage)
            except InputError:
                refused = True
                break
            covered += shares[new] >= least
        if refused:  # No finite set of rows covers as often.
            assert Fraction(rows, rows + 1) < Fraction(round(1000 * coverage), 1000)
            return
        share, stated = Fraction(int(covered), rows + 1), Fraction(round(1000 * coverage), 1000)
        assert stated <= share <= stated + Fraction(1, rows + 1)

    def test_the_coverage_of_many_draws_is_that_of_the_beta_distribution(self) -> None:
        rng = np.random.default_rng(0)
        rows, coverage, draws = 99, 0.9, 2000
        least = [
            least_probability(np.sort(rng.random(rows)).tolist(), coverage) for _ in range(draws)
        ]
        # Of uniform shares the part above `least` is the coverage, given the rows.
        expected = stats.beta(90, 10)
        assert stats.kstest(1 - np.array(least), expected.cdf).pvalue > 0.01

    @pytest.mark.parametrize(("rows", "coverage"), [(19, 0.95), (9, 0.9), (99, 0.99), (4, 0.8)])
    def test_so_few_rows_are_just_enough(self, rows: int, coverage: float) -> None:
        """Also where (n + 1) * coverage is rounded up in double precision."""
        shares = np.linspace(0.1, 0.9, rows).tolist()
        assert least_probability(shares, coverage) == shares[0]
        with pytest.raises(InputError) as refused:
            least_probability(shares[1:], coverage)
        assert f"needs {rows} rows to calibrate with, and there are {rows - 1}" in str(
            refused.value
        )

    @pytest.mark.parametrize("coverage", [0, 1, -0.5, 95, math.nan, True, "0.9", None])
    def test_a_coverage_is_between_0_and_1(self, coverage: object) -> None:
        with pytest.raises(InputError, match=r"`abstain` .* a number between 0 and 1 is needed"):
            check_coverage("`abstain`", coverage)  # type: ignore[arg-type]

    def test_a_coverage_may_be_a_number_of_numpy(self) -> None:
        assert least_probability([0.25, 0.5], np.float64(0.5)) == 0.25
        assert least_probability([0.25, 0.5], np.float32(0.5)) == 0.25


class TestPredictionSets:
    def test_have_the_classes_with_the_least_probability_or_more(self) -> None:
        probabilities = np.array([[0.2, 0.8], [0.45, 0.55], [0.6, 0.4]], np.float32)
        least = float(np.float32(0.55))
        sets = prediction_sets(probabilities, least, np.zeros(3, bool))
        assert sets.tolist() == [[False, True], [False, True], [True, False]]
        assert prediction_sets(probabilities, 0.3, np.zeros(3, bool)).sum() == 5
        assert not prediction_sets(probabilities, 0.9, np.zeros(3, bool)).any()

    def test_have_all_classes_where_no_word_is_known(self) -> None:
        probabilities = np.array([[0.01, 0.99], [0.01, 0.99]], np.float32)
        sets = prediction_sets(probabilities, np.array([0.5, 0.5]), np.array([True, False]))
        assert sets.tolist() == [[True, True], [False, True]]

    @given(st.lists(SHARES, min_size=19, max_size=40).map(sorted), SHARES)
    def test_a_higher_coverage_has_no_smaller_sets(self, shares: list[float], p: float) -> None:
        row = np.array([[1 - p, p]], np.float32)
        before = np.zeros((1, 2), bool)
        for coverage in (0.05, 0.5, 0.8, 0.9, 0.95):
            sets = prediction_sets(row, least_probability(shares, coverage), KNOWN)
            assert np.all(sets >= before)
            before = sets
