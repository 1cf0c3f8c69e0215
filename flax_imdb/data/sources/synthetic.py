"""Film reviews that the project makes up itself, for where the real ones cannot be had.

What they mean is decided by the order of the words, so that a model has to read. An opinion is a
clause such as "the script was superb", and few of them stand alone:

- Contrast: "although the script was superb, the acting was dull", "the acting was dull, even if
  the script was superb". Both kinds of word are there; the connective says which clause counts.
- Denial, by the verb ("was not superb") or from further away: "nobody will tell you that the
  script, which Anna Holford worked on for six years, was superb". Outside contrasts every second
  claim is denied, so that words of praise are as frequent in reviews of either kind.

One reviewer in five neither denies nor contrasts: these a count of words can tell, and a network
learns from them first. One opinion in twenty goes against the rest of its review. About half of
the sentences are about story and cast and mean nothing, though "not", "but" and "although" are in
them too. Lengths are spread like those of the real reviews, and a few have more than 500 words.

Accuracy on test after fitting all of train: logistic regression on counts of words 60.0 %, on
those of words and pairs of neighbours 77.2 % (benchmarks/synthetic_ceiling.py). A masked LSTM
(embedding 32, LSTM 100, batch 64, Adam 1e-3, reviews cut at 500) reached 91.6 % and 93.7 % after
3 epochs (two seeds, the first 4,000 test reviews, a trial outside this project's command). It
needs most of them: until some 400 to 700 steps it knows little more than a count of words.

The accuracy that a model reaches on these reviews means nothing for IMDB.
"""

import functools
import hashlib
import random
import re
from collections.abc import Sequence
from typing import TypeVar

import numpy as np

from flax_imdb.data.sources.reviews import Reviews, Split
from flax_imdb.errors import InputError

_T = TypeVar("_T")

VERSION = 2
"""Raised whenever `generate` returns something else for the same arguments."""

EXAMPLES = {"train": 25_000, "test": 25_000}
"""The splits and their sizes, those of IMDB."""

PLAIN = 0.2
"""Share of the reviews without contrast or denial."""
OPINIONS = 0.5
"""Share of opinions among the sentences before the last, which always is one."""
SLIPS = 0.05
"""Share of opinions that go against their review."""
CONTRASTED = 0.6
"""Share of contrasts among the opinions, in reviews that are not plain."""
FRAMED = 0.3
"""Share of clauses that one of `CLAIMS` introduces."""
ADVERBS = 0.4
"""Share of words of praise or blame with an adverb before them."""

CLAIMS = (
    ("it is true that {clause}", "it is not true that {clause}"),
    ("I would say that {clause}", "I would not say that {clause}"),
    ("I always felt that {clause}", "I never felt that {clause}"),
    ("I am sure that {clause}", "I doubt that {clause}"),
    ("anybody will tell you that {clause}", "nobody will tell you that {clause}"),
    ("you will find that {clause}", "you won't find that {clause}"),
    ("I think {clause}", "I don't think {clause}"),
)
"""What asserts the clause after it, and what denies it."""

VERBS = (
    ("was", "was not"),
    ("is", "isn't"),
    ("seemed", "never seemed"),
    ("turned out to be", "was far from"),
)
"""The same inside the clause, next to the word itself."""

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
"""What a clause is about."""

TAILS = (
    *("",) * 10,
    " from start to finish",
    " in every way",
    " by any standard",
    " for a {genre} {film}",
    " at times",
    " as a whole",
)
"""What may follow the word of praise or blame."""

# How sentences begin and end; the last of a review has openers of its own.
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
"""Sentences that say nothing about the quality of the film."""

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
"""What stands for each {slot}; the earlier in its list the more frequent."""
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
    """Returns made-up reviews and what they mean.

    The same arguments give the same reviews on every machine, and fewer `examples` are the first
    of more. Of the reviews 2 i and 2 i + 1 one is positive and one negative.

    Args:
      split: "train" or "test"; they have nothing in common.
      seed: another seed gives other reviews.
      examples: how many; by default as many as IMDB has in the split.

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
    # Of this generator only random() is used: Python promises to keep the sequence of no other.
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
    """A sentence that means praise if `positive`; without contrast or denial if `plain`."""
    if plain:
        return _claim(rng, positive, denied=False)
    if _chance(rng, CONTRASTED):
        same = _claim(rng, positive, denied=_chance(rng, 0.2))
        other = _claim(rng, not positive, denied=_chance(rng, 0.2))
        return _pick(rng, CONTRASTS).format(same=same, other=other)
    return _claim(rng, positive, denied=_chance(rng, 0.5))


def _claim(rng: random.Random, positive: bool, denied: bool) -> str:
    """A clause that means praise if `positive`, put as the denial of its opposite if `denied`."""
    word = "{praise}" if positive != denied else "{blame}"
    framed = _chance(rng, FRAMED)
    verb = _pick(rng, VERBS)[denied and not framed]
    adverb = "{adverb} " if _chance(rng, ADVERBS) else ""
    clause = f"{_pick(rng, SUBJECTS)} {verb} {adverb}{word}{_pick(rng, TAILS)}"
    if framed:
        clause = _pick(rng, CLAIMS)[denied].replace("{clause}", clause)
    return _fill(rng, clause)


def _fill(rng: random.Random, template: str) -> str:
    """Replaces each {slot} by one of its `WORDS`."""
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
    """The text and the names of the slots in turn, beginning and ending with text."""
    return tuple(re.split(r"\{(\w+)\}", template))


def _pick(rng: random.Random, options: Sequence[_T]) -> _T:
    return options[int(rng.random() * len(options))]


def _chance(rng: random.Random, probability: float) -> bool:
    return rng.random() < probability


class SyntheticReviews(Reviews):
    """What `generate` makes; `why` says in the note why it is these."""

    name = "synthetic"

    def __init__(self, why: str) -> None:
        self.note = f"SYNTHETIC REVIEWS: {why}; accuracy means nothing for IMDB"

    @functools.cached_property
    def fingerprint(self) -> str:
        """Of the version of what is generated."""
        return hashlib.sha256(f"synthetic {VERSION}".encode()).hexdigest()

    def read(self, split: Split) -> tuple[list[str], np.ndarray]:
        """As generated."""
        return generate(split)
