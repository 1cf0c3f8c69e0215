"""The made-up reviews: the same everywhere, and only to be told by reading."""

import hashlib
import random
import re
from pathlib import Path

import numpy as np
import pytest
from imdb_archive import one_line_error

from flax_imdb.data import split_words
from flax_imdb.data.sources import find_reviews, synthetic
from flax_imdb.data.sources.synthetic import CLAIMS, CONTRASTS, VERBS, WORDS, generate
from flax_imdb.errors import InputError

EXAMPLES = 2_000


@pytest.fixture(scope="module")
def reviews() -> tuple[list[str], np.ndarray]:
    return generate("train", examples=EXAMPLES)


class TestStream:
    def test_what_is_generated_is_pinned_to_the_version(self) -> None:
        texts, labels = generate("train", examples=100)
        digest = hashlib.sha256("\n".join([*texts, *map(str, labels)]).encode()).hexdigest()
        assert (synthetic.VERSION, digest[:16]) == (2, "ad9a712caca69fac"), (
            "the reviews have changed: raise VERSION, and pin the new digest"
        )

    def test_fewer_examples_are_the_first_of_more(
        self, reviews: tuple[list[str], np.ndarray]
    ) -> None:
        texts, labels = generate("train", examples=5)
        assert texts == reviews[0][:5]
        np.testing.assert_array_equal(labels, reviews[1][:5])

    @pytest.mark.parametrize("other", [("test", 0), ("train", 1)])
    def test_splits_and_seeds_share_no_text(
        self, reviews: tuple[list[str], np.ndarray], other: tuple[str, int]
    ) -> None:
        split, seed = other
        texts, _ = generate(split, seed=seed, examples=EXAMPLES)
        assert len(set(reviews[0]) | set(texts)) == 2 * EXAMPLES

    def test_no_examples_are_an_empty_list(self) -> None:
        texts, labels = generate("test", examples=0)
        assert (texts, labels.shape, labels.dtype) == ([], (0,), np.int32)

    def test_an_unknown_split_is_refused(self) -> None:
        with pytest.raises(InputError, match=r"^split 'dev' is unknown.*'train', 'test'.*$"):
            generate("dev")

    def test_a_negative_number_of_examples_is_refused(self) -> None:
        with pytest.raises(InputError, match=r"^-1 examples cannot be made; ask for 0 or more$"):
            generate("train", examples=-1)


class TestReviews:
    def test_labels_are_balanced(self, reviews: tuple[list[str], np.ndarray]) -> None:
        labels = reviews[1]
        assert labels.dtype == np.int32
        # One of each in every pair, in either order.
        pairs = labels.reshape(-1, 2)
        np.testing.assert_array_equal(pairs.sum(axis=1), 1)
        assert 0.4 < pairs[:, 0].mean() < 0.6

    def test_lengths_are_spread_like_those_of_real_reviews(
        self, reviews: tuple[list[str], np.ndarray]
    ) -> None:
        lengths = [len(split_words(text)) for text in reviews[0]]
        assert min(lengths) >= 20
        assert 130 < np.median(lengths) < 190
        assert 0.01 < np.mean(np.array(lengths) > 500) < 0.1

    def test_there_is_something_to_clean(self, reviews: tuple[list[str], np.ndarray]) -> None:
        text = " ".join(reviews[0])
        for token in ("<br /><br />", "The", "isn't", "science-fiction", "(", '"', "...", "!"):
            assert token in text
        assert not re.search(r"[{}]", text), "a slot was left open"

    def test_there_are_about_a_thousand_words(self, reviews: tuple[list[str], np.ndarray]) -> None:
        assert 1_000 < len({word for text in reviews[0] for word in split_words(text)}) < 2_000


def meaning(sentence: str) -> bool:
    """What someone who knows the constructions takes a sentence to mean: praise or not."""
    sentence = re.sub(", which .*? years,", "", sentence)  # beside the point
    for contrast in CONTRASTS:
        pattern = re.escape(contrast).replace(r"\{", "{").replace(r"\}", "}")
        pattern = pattern.replace("{same}", "(?P<same>.+)").replace("{other}", ".+")
        if found := re.fullmatch(pattern, sentence):
            return meaning(found["same"])
    denials = [denied.replace("{clause}", "") for _, denied in CLAIMS]
    denials += [f" {denied} " for _, denied in VERBS]
    words = set(split_words(sentence))
    praised, blamed = words & set(WORDS["praise"]), words & set(WORDS["blame"])
    assert len(praised) + len(blamed) == 1, sentence
    return bool(praised) != any(denial in sentence for denial in denials)


class TestOpinions:
    @pytest.mark.parametrize("positive", [True, False])
    @pytest.mark.parametrize("plain", [True, False])
    def test_a_reader_understands_every_one(self, positive: bool, plain: bool) -> None:
        rng = random.Random(0)
        for _ in range(500):
            sentence = synthetic._opinion(rng, positive, plain)
            assert meaning(sentence) == positive, sentence

    @pytest.mark.parametrize("contrast", CONTRASTS)
    def test_contrast_turns_on_which_clause_is_which(self, contrast: str) -> None:
        good, bad = "the script was superb", "the acting was dull"
        assert meaning(contrast.format(same=good, other=bad))
        assert not meaning(contrast.format(same=bad, other=good))

    @pytest.mark.parametrize(("asserted", "denied"), CLAIMS)
    def test_denial_turns_the_meaning(self, asserted: str, denied: str) -> None:
        clause = "the script, which Anna Holford worked on for six years, was superb"
        assert meaning(asserted.format(clause=clause))
        assert not meaning(denied.format(clause=clause))

    @pytest.mark.parametrize("denied", [True, False])
    def test_a_claim_means_the_same_denied_or_not(self, denied: bool) -> None:
        rng = random.Random(0)
        claims = [synthetic._claim(rng, True, denied=denied) for _ in range(200)]
        assert all(map(meaning, claims))
        expected = WORDS["blame"] if denied else WORDS["praise"]
        assert all(set(split_words(claim)) & set(expected) for claim in claims)


def test_counting_words_is_not_enough(reviews: tuple[list[str], np.ndarray]) -> None:
    """A linear model of the words of praise and blame, the ones that a count could go by."""
    words = {word: i for i, word in enumerate([*WORDS["praise"], *WORDS["blame"]])}

    def counts(texts: list[str]) -> np.ndarray:
        table = np.zeros((len(texts), len(words)))
        for row, text in zip(table, texts, strict=True):
            for word in split_words(text):
                if word in words:
                    row[words[word]] += 1
        return table

    x, sign = counts(reviews[0]), 2.0 * reviews[1] - 1
    weights = np.linalg.solve(x.T @ x + 10 * np.eye(len(words)), x.T @ sign)
    texts, labels = generate("test", examples=EXAMPLES)
    accuracy = np.mean((counts(texts) @ weights > 0) == labels)
    assert 0.54 < accuracy < 0.64  # above chance: the plain reviews; and not much above


class TestAsASource:
    def test_reads_what_is_generated(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(synthetic, "generate", lambda split: ([f"of {split}"], np.ones(1)))
        found = find_reviews("synthetic")
        assert found.read("test") == (["of test"], np.ones(1))
        assert (found.name, found.location) == ("synthetic", "")
        assert found.note.endswith("accuracy means nothing for IMDB")

    def test_fingerprint_follows_the_version(self, monkeypatch: pytest.MonkeyPatch) -> None:
        before = find_reviews("synthetic").fingerprint
        assert find_reviews("synthetic").fingerprint == before
        monkeypatch.setattr(synthetic, "VERSION", -1)
        assert find_reviews("synthetic").fingerprint != before

    def test_a_data_dir_is_refused(self, tmp_path: Path) -> None:
        with one_line_error(f"`data_dir` {tmp_path} has no effect"):
            find_reviews("synthetic", tmp_path)
