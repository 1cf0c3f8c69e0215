"""What a run has behind it."""

import dataclasses
import json
import math

from epochs import epochs

from flax_imdb.training import History, Segment, StepRecord, UnfinishedEpoch


class TestHistory:
    def test_the_best_epoch_is_the_first_of_the_best_by_validation(self) -> None:
        history = History(epochs(1, 2, 3, accuracies=(0.5, 0.9, 0.9)))
        assert history.best() == history.epochs[1]
        assert history.best(step=1) == history.epochs[0]

    def test_the_best_epoch_is_that_of_what_is_monitored(self) -> None:
        records = [
            dataclasses.replace(record, eval_loss=loss, eval_roc_auc=area)
            for record, loss, area in zip(
                epochs(1, 2, 3, accuracies=(0.9, 0.8, 0.7)),
                (0.5, 0.4, 0.4),
                (0.1, 0.2, 0.3),
                strict=True,
            )
        ]
        for monitor, best in (("accuracy", 1), ("loss", 2), ("roc_auc", 3)):
            history = History([dataclasses.replace(each, monitor=monitor) for each in records])
            found = history.best()
            assert found is not None
            assert found.epoch == best

    def test_it_is_stalled_after_as_many_epochs_without_a_better_one(self) -> None:
        history = History(epochs(1, 2, 3, 4, accuracies=(0.5, 0.9, 0.9, 0.8)))
        assert history.is_stalled(2)
        assert not history.is_stalled(3)
        assert not history.is_stalled(None)
        assert not History(epochs(1, 2, 3)).is_stalled(1)  # Nothing was held out.
        assert not History().is_stalled(1)

    def test_a_record_of_an_older_version_is_monitored_by_accuracy(self) -> None:
        content = dataclasses.asdict(History(epochs(3, accuracies=(0.5,))))
        for name in ("monitor", "eval_macro_f1", "eval_roc_auc"):
            del content["epochs"][0][name]
        assert History.from_dict(content).epochs[0].monitored == 0.5

    def test_the_last_epoch_is_the_best_where_nothing_was_held_out(self) -> None:
        history = History(epochs(1, 2, 3))
        assert history.best() == history.epochs[2]
        assert history.best(step=2) == history.epochs[1]

    def test_no_epoch_is_the_best_before_the_first(self) -> None:
        assert History(epochs(5)).best(step=4) is None

    def test_what_is_written_is_read_again(self) -> None:
        steps = [StepRecord(1, 3, 0.5, 0.75, 1.25, 9.0), StepRecord(2, 4, None, 0.5, None, 8.0)]
        history = History(epochs(3), UnfinishedEpoch(1, 1, records=steps[1:]), steps[:1])
        history.go_on(3, {"jax": "1"}, "auto")
        written = json.dumps(dataclasses.asdict(history), allow_nan=False)
        assert History.from_dict(json.loads(written)) == history

    def test_a_new_segment_begins_where_it_goes_on_elsewhere(self) -> None:
        one, two = {"devices": "1 x cpu"}, {"devices": "2 x cpu"}
        history = History()
        history.go_on(0, one, "auto")
        history.go_on(2, one, "auto")
        assert history.segments == [Segment(0, 0, one, "auto")]
        history.go_on(3, two, "auto")
        history.go_on(3, one, "scan")  # Nothing was kept of the one before.
        assert history.segments == [Segment(0, 0, one, "auto"), Segment(3, 0, one, "scan")]
        history.go_on(3, one, "auto")
        assert history.segments == [Segment(0, 0, one, "auto")]
        history.epochs = epochs(3)
        history.go_on(3, two, "auto")  # After the evaluation.
        assert history.segments[-1].begin == (3, 1)

    def test_of_an_older_version_has_the_times_of_its_steps_alone(self) -> None:
        content = dataclasses.asdict(History(epochs(3), UnfinishedEpoch(2)))
        del content["last_steps"], content["segments"], content["unfinished"]["records"]
        content["unfinished"]["step_ms"] = [1.5, 2.5]
        history = History.from_dict(content)
        assert history.last_steps == history.segments == []
        assert history.unfinished is not None
        assert [record[:2] for record in history.unfinished.records] == [(2, 4), (2, 5)]
        assert history.unfinished.records[0].loss is None
        assert history.unfinished.recent_ms() == 2.0


class TestUnfinishedEpoch:
    def test_has_the_loss_of_each_step_and_none_where_it_is_not_finite(self) -> None:
        epoch = UnfinishedEpoch()
        sums = {"loss": 6.0, "correct": 4.0, "examples": 8.0, "rows": 8.0}
        assert epoch.count(1, 1, {**sums, "gradient_norm": 2.0}, 0.5, 0.25)
        assert not epoch.count(1, 2, {**sums, "gradient_norm": math.inf}, 0.5, 0.0)
        assert epoch.records == [
            StepRecord(1, 1, 0.75, 0.5, 2.0, 250.0),
            StepRecord(1, 2, 0.75, 0.5, None, 500.0),
        ]
