"""Generated film reviews, for when the real ones are not available.

Their sentiment depends on word order, so a model has to learn more than word counts. An opinion is
a clause such as "the script was superb", and few opinions stand alone:

- Contrast: "although the script was superb, the acting was dull", "the acting was dull, even if
  the script was superb". Both contain praise and blame; the conjunction decides which one counts.
- Negation, by the verb ("was not superb") or from a distance: "nobody will tell you that the
  script, which Anna Holford worked on for six years, was superb". Outside contrasts every second
  claim is negated, so words of praise are equally frequent in positive and negative reviews.

One review in five has neither contrast nor negation: word counts are enough for these, and a
network learns from them first. One opinion in twenty contradicts the rest of its review. About half
of the sentences are about story and cast and express no opinion, though they contain "not", "but"
and "although", too. Lengths are distributed like those of the real reviews; a few reviews have more
than 500 words.

Test accuracy after fitting the whole training split: logistic regression on word counts 60.0 %, on
counts of words and bigrams 77.2 % (benchmarks/synthetic_ceiling.py). A masked LSTM (embedding 32,
LSTM 100, batch 64, Adam 1e-3, reviews cut at 500) reached 91.6 % and 93.7 % after 3 epochs (two
seeds, the first 4,000 test reviews, measured outside this project's command). For the first 400 to
700 steps it is hardly better than word counts.

Accuracy on these reviews says nothing about IMDB.
"""

import functools
import hashlib
import random
import re
from collections.abc import Sequence
from typing import TypeVar

import numpy as np

from flax_imdb.data.sources.source import Reviews, Split
from flax_imdb.errors import InputError

_T = TypeVar("_T")

VERSION = 2
"""Incremented whenever `generate` returns something else for the same arguments."""

EXAMPLES = {"train": 25_000, "test": 25_000}
"""The splits and their sizes, as in IMDB."""

PLAIN = 0.2
"""Share of reviews without contrast or negation."""
OPINIONS = 0.5
"""Share of opinions among the sentences before the last, which is always one."""
SLIPS = 0.05
"""Share of opinions that contradict their review."""
CONTRASTED = 0.6
"""Share of contrasts among the opinions, in reviews that are not plain."""
FRAMED = 0.3
"""Share of clauses that are introduced by one of `CLAIMS`."""
ADVERBS = 0.4
"""Share of words of praise or blame that follow an adverb."""

CLAIMS = (
    ("it is true that {clause}", "it is not true that {clause}"),
    ("I would say that {clause}", "I would not say that {clause}"),
    ("I always felt that {clause}", "I never felt that {clause}"),
    ("I am sure that {clause}", "I doubt that {clause}"),
    ("anybody will tell you that {clause}", "nobody will tell you that {clause}"),
    ("you will find that {clause}", "you won't find that {clause}"),
    ("I think {clause}", "I don't think {clause}"),
)
"""Phrases that assert or negate the clause after them."""

VERBS = (
    ("was", "was not"),
    ("is", "isn't"),
    ("seemed", "never seemed"),
    ("turned out to be", "was far from"),
)
"""Verbs that assert or negate the word of praise or blame."""

CONTRASTS = (
    "although {other}, {same}",
    "even though {other}, {same}",
    "while {other}, {same}",
    "{other}, but {same}",
    "{other}, but {same}",
    "{other}; however, {same}",
    "{same}, although {other}",
    "{same}, even if {other}",
)
"""Two clauses of opposite meanings; the sentence means `same`."""

SUBJECTS = (
    "the {aspect}",
    "the {aspect}",
    "the {aspect}",
    "the {aspect}",
    "the {aspect} of {person}",
    "the {aspect} in the {part}",
    "the {aspect}, which {person} worked on for {number} years,",
)
"""Subjects of clauses."""

TAILS = (
    *("",) * 10,
    " from start to finish",
    " in every way",
    " by any standard",
    " for a {genre} {film}",
    " at times",
    " as a whole",
)
"""Phrases that may follow the word of praise or blame."""

# How sentences begin and end. The last sentence of a review begins with one of `CLOSERS`.
OPENERS = ("", "", "", "", "to be honest, ", "well, ", "as far as I am concerned, ")
CLOSERS = ("all in all, ", "overall, ", "in the end, ", "in short, ", "to sum up, ")
ENDS = (". ",) * 10 + ("! ", "... ", ".<br /><br />", ".<br /><br />")

STORY = (
    "{person} plays a {job} who comes to {place} in the winter of {year}",
    "the story is about a {job} and a {job} who meet in {place}",
    "{person} is the {job}, and {person} plays the {relative} from {place}",
    "I saw this {film} with my {relative} in {year}",
    "I did not see this {film} when it came out in {year}",
    "my {relative} has the {film} on {medium}",
    "it was shot in {place} by {person} in {number} weeks",
    "it is based on a {source} by {person}, but the {source} is set in {place}",
    "although the {job} leaves {place}, the {relative} stays with the {job}",
    "the {job} does not know that the {thing} belongs to a {job}",
    "a {thing} is found in {place}, and {person} has to take it to the {job}",
    "the {film} runs for about {minutes} minutes",
    "the {film} opens with a {thing} in {place}",
    "there is a scene in the {part} where {person} looks for the {thing}",
    "in the {part} the {job} tells the {relative} about the {thing}",
    "nobody in {place} has seen the {job} since {year}",
    "{person} had been in {number} other {genre} {film}s before this one",
    "then the {relative} of the {job} goes back to {place} (this is in the {part})",
    "the {job} never says where the {thing} came from, but {person} finds out",
    "for those who do not know it, this is a {genre} {film} from {year}",
    "at the same time, {person} and {person} are on their way to {place} with the {thing}",
    'the {job} is called "{surname}" by everybody in {place}',
)
"""Sentences that express no opinion."""

WORDS: dict[str, Sequence[str]] = {
    slot: words.split()
    for slot, words in {
        "praise": """
            great good wonderful superb excellent brilliant perfect beautiful fascinating clever
            funny moving charming gripping delightful fresh convincing memorable thrilling
            touching witty impressive elegant subtle magnificent splendid inspired powerful
            enjoyable refreshing engaging masterful marvellous stunning graceful original
            hilarious terrific lovely rewarding
        """,
        "blame": """
            bad terrible awful boring dull horrible stupid poor predictable silly pathetic
            ridiculous weak lame tedious annoying dreadful pointless bland clumsy lifeless painful
            shallow stale forgettable wooden disappointing messy mediocre unconvincing tiresome
            laughable dreary atrocious irritating lazy embarrassing hollow appalling insulting
        """,
        "adverb": """
            really quite rather very truly simply remarkably just so pretty completely
            surprisingly utterly extremely
        """,
        "aspect": """
            acting script story plot direction music dialogue ending photography pacing cast
            editing humour atmosphere soundtrack camerawork beginning premise narration chemistry
            lighting scenery choreography finale screenplay performance
        """,
        "job": """
            doctor lawyer teacher soldier farmer singer writer painter policeman detective sailor
            nurse priest reporter pilot waitress butcher baker student professor driver gardener
            banker thief spy judge captain king tailor cook dancer boxer clerk miner barber
            carpenter plumber fisherman librarian smuggler widow mayor sheriff
        """,
        "relative": """
            brother sister mother father wife husband son daughter cousin uncle aunt grandmother
            grandfather nephew niece neighbour friend roommate boss
        """,
        "place": """
            London Paris Rome Berlin Boston Chicago Texas Alaska Vienna Madrid Lisbon Dublin Cairo
            Tokyo Moscow Prague Brooklyn Nevada Venice Athens Oslo Havana Mexico Canada India
            Kenya Iceland Scotland Wales Naples Geneva Denver Dallas Memphis Detroit Seattle
            Toronto Sydney Shanghai Budapest
        """,
        "film": "film movie picture feature",
        "genre": """
            horror comedy war crime science-fiction spy family martial-arts gangster disaster
            zombie sports detective pirate costume animated silent
        """,
        "medium": "DVD VHS video tape cable disc television",
        "source": "novel book play poem song comic diary legend",
        "thing": """
            letter key map suitcase ring painting photograph gun knife diamond book camera
            telephone bottle watch coat violin piano mirror car bicycle boat train horse dog cat
            parrot clock lamp hat box coin ticket newspaper necklace sword candle statue
        """,
        "number": "two three four five six seven eight nine ten eleven twelve twenty",
        "first": """
            John Anna Peter Mary David Susan Paul Laura James Helen Robert Julia Frank Alice
            George Emma Henry Clara Walter Ruth Albert Nora Oscar Vera Hugo Irene Martin Rosa
            Victor Sylvia Edgar Judith Felix Martha Simon Edith Leo Agnes Ralph Olga
        """,
        "surname_start": """
            Hol Wal Mar Bar Har Win Ash Ral Whit Brad Cal Dal Ed Fair Gar
            Hut Ken Lang Mor Nor Os Pres Rad Shel Thorn Ul Ving West Yar Zel
        """,
        "surname_end": """
            ford ton ley man son wood field berg well worth by stone ham land er ick brook
            more den shaw
        """,
    }.items()
}
"""The words for each {slot}, more frequent ones first."""
WORDS |= {
    "surname": [start + end for end in WORDS["surname_end"] for start in WORDS["surname_start"]],
    "person": ("{first} {surname}", "{first} {surname}", "{surname}", "{first}"),
    "minutes": [str(minutes) for minutes in range(75, 180)],
    "year": [str(year) for year in range(1925, 2008)],
    "part": (
        "first half",
        "second half",
        "opening scene",
        "last scene",
        "first act",
        "last twenty minutes",
        "first ten minutes",
        "middle",
    ),
}


def generate(
    split: str, *, seed: int = 0, examples: int | None = None
) -> tuple[list[str], np.ndarray]:
    """Generate reviews and their labels.

    The same arguments give the same reviews on every machine, and a smaller number of `examples`
    gives the first of a larger one. Of reviews 2 i and 2 i + 1 one is positive and one negative.

    Args:
      split: "train" or "test"; they are independent.
      seed: seed of the random numbers.
      examples: number of reviews; by default that of IMDB's split.

    Returns:
      The texts, and int32 labels [examples]: 1 positive, 0 negative.

    Raises:
      InputError: the split is unknown or `examples` is negative.
    """
    if split not in EXAMPLES:
        raise InputError(f"split {split!r} is unknown; the synthetic reviews have {list(EXAMPLES)}")
    if examples is None:
        examples = EXAMPLES[split]
    if examples < 0:
        raise InputError(f"{examples} examples cannot be made; ask for 0 or more")
    # Only random() is used: Python guarantees no other method's sequence across versions.
    rng = random.Random(f"{split} {seed}")
    texts: list[str] = []
    labels: list[bool] = []
    for index in range(examples):
        positive = not labels[-1] if index % 2 else _chance(rng, 0.5)
        texts.append(_review(rng, positive))
        labels.append(positive)
    return texts, np.array(labels, np.int32)


def _review(rng: random.Random, positive: bool) -> str:
    plain = _chance(rng, PLAIN)
    # 4 to 39 sentences; long reviews are rare.
    last = 3 + int(36 * rng.random() * rng.random())
    text = ""
    for index in range(last + 1):
        if index == last or _chance(rng, OPINIONS):
            opener = _pick(rng, CLOSERS if index == last else OPENERS)
            sentence = opener + _opinion(rng, positive != _chance(rng, SLIPS), plain)
        else:
            sentence = _fill(rng, _pick(rng, STORY))
        text += sentence[0].upper() + sentence[1:] + _pick(rng, ENDS)
    return text.rstrip()


def _opinion(rng: random.Random, positive: bool, plain: bool) -> str:
    """A sentence that praises if `positive`; without contrast or negation if `plain`."""
    if plain:
        return _claim(rng, positive, denied=False)
    if _chance(rng, CONTRASTED):
        same = _claim(rng, positive, denied=_chance(rng, 0.2))
        other = _claim(rng, not positive, denied=_chance(rng, 0.2))
        return _pick(rng, CONTRASTS).format(same=same, other=other)
    return _claim(rng, positive, denied=_chance(rng, 0.5))


def _claim(rng: random.Random, positive: bool, denied: bool) -> str:
    """A clause that praises if `positive`, by negating blame if `denied`."""
    word = "{praise}" if positive != denied else "{blame}"
    framed = _chance(rng, FRAMED)
    verb = _pick(rng, VERBS)[denied and not framed]
    adverb = "{adverb} " if _chance(rng, ADVERBS) else ""
    clause = f"{_pick(rng, SUBJECTS)} {verb} {adverb}{word}{_pick(rng, TAILS)}"
    if framed:
        clause = _pick(rng, CLAIMS)[denied].replace("{clause}", clause)
    return _fill(rng, clause)


def _fill(rng: random.Random, template: str) -> str:
    """Replace each {slot} with one of its `WORDS`."""
    if "{" not in template:
        return template
    parts = list(_parts(template))
    for index in range(1, len(parts), 2):
        words = WORDS[parts[index]]
        draw = rng.random()
        parts[index] = _fill(rng, words[int(draw * draw * len(words))])
    return "".join(parts)


@functools.cache
def _parts(template: str) -> tuple[str, ...]:
    """Text and slot names alternating, starting and ending with text."""
    return tuple(re.split(r"\{(\w+)\}", template))


def _pick(rng: random.Random, options: Sequence[_T]) -> _T:
    return options[int(rng.random() * len(options))]


def _chance(rng: random.Random, probability: float) -> bool:
    return rng.random() < probability


class SyntheticReviews(Reviews):
    """The reviews of `generate`; `why` goes into the note."""

    name = "synthetic"

    def __init__(self, why: str) -> None:
        self.note = f"SYNTHETIC REVIEWS: {why}; accuracy means nothing for IMDB"

    @functools.cached_property
    def fingerprint(self) -> str:
        """SHA-256 of the version of the generator."""
        return hashlib.sha256(f"synthetic {VERSION}".encode()).hexdigest()

    def read(self, split: Split) -> tuple[list[str], np.ndarray]:
        """Generate one split."""
        return generate(split)
