"""What a run has behind it."""

import dataclasses

from epochs import epochs

from flax_imdb.training import History, UnfinishedEpoch


class TestHistory:
    def test_the_best_epoch_is_the_first_of_the_best_by_validation(self) -> None:
        history = History(epochs(1, 2, 3, accuracies=(0.5, 0.9, 0.9)))
        assert history.best() == history.epochs[1]
        assert history.best(step=1) == history.epochs[0]

    def test_the_last_epoch_is_the_best_where_nothing_was_held_out(self) -> None:
        history = History(epochs(1, 2, 3))
        assert history.best() == history.epochs[2]
        assert history.best(step=2) == history.epochs[1]

    def test_no_epoch_is_the_best_before_the_first(self) -> None:
        assert History(epochs(5)).best(step=4) is None

    def test_what_is_written_is_read_again(self) -> None:
        history = History(epochs(3), UnfinishedEpoch(2, 1, step_ms=[1.5, 2.5]))
        assert History.from_dict(dataclasses.asdict(history)) == history
