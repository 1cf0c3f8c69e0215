"""Film reviews that the project makes up itself, for where the real ones cannot be had.

What is in them is decided by the order of the words, so that a model has to read. An opinion is
a clause such as "the script was superb", and few of them stand alone:

- contrast: "although the script was superb, the acting was dull", "the acting was dull even if
  the script was superb". Both kinds of word are there; the connective says which one counts.
- denial, mostly far from the word that it turns: "nobody will tell you that the script, which
  Anna Holford worked on for six years, was superb". Half of the claims outside contrasts are
  denied, so a word of praise is in reviews of both kinds equally often.

One reviewer in five (`PLAIN`) neither denies nor contrasts. They are what a count of words can
learn from, and what a network learns from first. Most sentences are about the story or the cast
and mean nothing, though they too contain "not", "but" and "although".

The accuracy reached on these reviews means nothing for IMDB.
"""

import functools
import random
import re
from collections.abc import Sequence

import numpy as np

from flax_imdb.errors import InputError

VERSION = 1
"""Raised whenever `generate` returns something else for the same arguments."""

EXAMPLES = {"train": 25_000, "test": 25_000}
"""The splits and their sizes, those of IMDB."""

PLAIN = 0.2
"""Share of the reviews that a bag of words can tell."""

PRAISE = ["great", "good", "wonderful", "superb", "excellent", "brilliant", "perfect", "beautiful", "fascinating", "clever", "funny", "moving", "charming", "gripping", "delightful", "fresh", "convincing", "memorable", "thrilling", "touching", "witty", "impressive", "elegant", "subtle", "magnificent", "splendid", "inspired", "powerful", "enjoyable", "refreshing", "engaging", "masterful", "marvellous", "stunning", "graceful", "original", "hilarious", "terrific", "lovely", "rewarding"]
BLAME = ["bad", "terrible", "awful", "boring", "dull", "horrible", "stupid", "poor", "predictable", "silly", "pathetic", "ridiculous", "weak", "lame", "tedious", "annoying", "dreadful", "pointless", "bland", "clumsy", "lifeless", "painful", "shallow", "stale", "forgettable", "wooden", "disappointing", "messy", "mediocre", "unconvincing", "tiresome", "laughable", "dreary", "atrocious", "irritating", "lazy", "embarrassing", "hollow", "appalling", "insulting"]

CLAIMS = (
    ("{clause}", "it is not true that {clause}"),
    ("I would say that {clause}", "I would not say that {clause}"),
    ("I always felt that {clause}", "I never felt that {clause}"),
    ("I am sure that {clause}", "I doubt that {clause}"),
    ("anybody will tell you that {clause}", "nobody will tell you that {clause}"),
    ("you will find that {clause}", "you won't find that {clause}"),
    ("I think {clause}", "I don't think {clause}"),
    (
        "my {relative} says that {clause}, and I agree",
        "my {relative} says that {clause}, and I disagree",
    ),
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
    "the {aspect} of {person}",
    "the {aspect} in the {part}",
    "the {aspect}, which {person} worked on for {number} years,",
    "the {aspect} that {person} brought to the {part}",
)

TAILS = (
    "from start to finish",
    "in every way",
    "by any standard",
    "for a {genre} {film}",
    "for a {film} from {year}",
    "in the {part}",
    "at times",
    "as a whole",
    "in my eyes",
)

OPENERS = ("", "", "", "", "to be honest, ", "well, ", "as far as I am concerned, ")
CLOSERS = ("all in all, ", "overall, ", "in the end, ", "in short, ", "to sum up, ")

ENDS = (". ",) * 10 + ("! ", "... ", ".<br /><br />", ".<br /><br />")
OPINIONS, CONTRASTED, SLIPS = 0.45, 0.6, 0.15

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
    "praise": PRAISE,
    "blame": BLAME,
    "adverb": ["really", "quite", "rather", "very", "truly", "simply", "remarkably", "just", "so", "pretty", "completely", "surprisingly", "utterly", "extremely"],
    "aspect": ["acting", "script", "story", "plot", "direction", "music", "dialogue", "ending", "photography", "pacing", "cast", "editing", "humour", "atmosphere", "soundtrack", "camerawork", "beginning", "premise", "narration", "chemistry", "lighting", "scenery", "choreography", "finale", "screenplay", "performance"],
    "job": ["doctor", "lawyer", "teacher", "soldier", "farmer", "singer", "writer", "painter", "policeman", "detective", "sailor", "nurse", "priest", "reporter", "pilot", "waitress", "butcher", "baker", "student", "professor", "driver", "gardener", "banker", "thief", "spy", "judge", "captain", "king", "tailor", "cook", "dancer", "boxer", "clerk", "miner", "barber", "carpenter", "plumber", "fisherman", "librarian", "smuggler", "widow", "mayor", "sheriff"],
    "relative": ["brother", "sister", "mother", "father", "wife", "husband", "son", "daughter", "cousin", "uncle", "aunt", "grandmother", "grandfather", "nephew", "niece", "neighbour", "friend", "roommate", "boss"],
    "place": ["London", "Paris", "Rome", "Berlin", "Boston", "Chicago", "Texas", "Alaska", "Vienna", "Madrid", "Lisbon", "Dublin", "Cairo", "Tokyo", "Moscow", "Prague", "Brooklyn", "Nevada", "Venice", "Athens", "Oslo", "Havana", "Mexico", "Canada", "India", "Kenya", "Iceland", "Scotland", "Wales", "Naples", "Geneva", "Denver", "Dallas", "Memphis", "Detroit", "Seattle", "Toronto", "Sydney", "Shanghai", "Budapest"],
    "film": ["film", "movie", "picture", "feature"],
    "genre": ["horror", "comedy", "war", "crime", "science-fiction", "spy", "family", "martial-arts", "gangster", "disaster", "zombie", "sports", "detective", "pirate", "costume", "animated", "silent"],
    "medium": ["DVD", "VHS", "video", "tape", "cable", "disc", "television"],
    "source": ["novel", "book", "play", "poem", "song", "comic", "diary", "legend"],
    "thing": ["letter", "key", "map", "suitcase", "ring", "painting", "photograph", "gun", "knife", "diamond", "book", "camera", "telephone", "bottle", "watch", "coat", "violin", "piano", "mirror", "car", "bicycle", "boat", "train", "horse", "dog", "cat", "parrot", "clock", "lamp", "hat", "box", "coin", "ticket", "newspaper", "necklace", "sword", "candle", "statue"],
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
    "person": ("{first} {surname}", "{first} {surname}", "{surname}", "{first}"),
    "number": ["two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve", "twenty"],
    "minutes": [str(minutes) for minutes in range(75, 180)],
    "year": [str(year) for year in range(1925, 2008)],
    "first": ["John", "Anna", "Peter", "Mary", "David", "Susan", "Paul", "Laura", "James", "Helen", "Robert", "Julia", "Frank", "Alice", "George", "Emma", "Henry", "Clara", "Walter", "Ruth", "Albert", "Nora", "Oscar", "Vera", "Hugo", "Irene", "Martin", "Rosa", "Victor", "Sylvia", "Edgar", "Judith", "Felix", "Martha", "Simon", "Edith", "Leo", "Agnes", "Ralph", "Olga"],
    "surname": [
        start + end
        for end in ["ford", "ton", "ley", "man", "son", "wood", "field", "berg", "well", "worth", "by", "stone", "ham", "land", "er", "ick", "brook", "more", "den", "shaw"]
        for start in ["Hol", "Wal", "Mar", "Bar", "Har", "Win", "Ash", "Ral", "Whit", "Brad", "Cal", "Dal", "Ed", "Fair", "Gar", "Hut", "Ken", "Lang", "Mor", "Nor", "Os", "Pres", "Rad", "Shel", "Thorn", "Ul", "Ving", "West", "Yar", "Zel"]
    ],
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
    # 4 to 39 sentences, few of the reviews long.
    last = 3 + int(36 * rng.random() * rng.random())
    text = ""
    for index in range(last + 1):
        if index == last:
            sentence = _pick(rng, CLOSERS) + _opinion(rng, positive != _chance(rng, SLIPS), plain)
        elif _chance(rng, OPINIONS):
            sense = positive != _chance(rng, SLIPS)
            sentence = _pick(rng, OPENERS) + _opinion(rng, sense, plain)
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
    framed = _chance(rng, 0.6)
    verb = _pick(rng, VERBS)[denied and not framed]
    clause = f"{_pick(rng, SUBJECTS)} {verb} {{adverb}} {word} {_pick(rng, TAILS)}"
    if framed:
        clause = _pick(rng, CLAIMS)[denied].replace("{clause}", clause)
    return _fill(rng, clause)


def _fill(rng: random.Random, template: str) -> str:
    """Replaces each {name} by one of `WORDS[name]`, the earlier in its list the likelier."""
    parts = list(_parts(template))
    if len(parts) == 1:
        return template
    for index in range(1, len(parts), 2):
        options = WORDS[parts[index]]
        draw = rng.random()
        parts[index] = _fill(rng, options[int(draw * draw * len(options))])
    return "".join(parts)


@functools.lru_cache(4096)
def _parts(template: str) -> list[str]:
    return re.split(r"\{(\w+)\}", template)


def _pick(rng, options):
    return options[int(rng.random() * len(options))]


def _chance(rng: random.Random, probability: float) -> bool:
    # random() is the one method whose sequence Python promises to keep.
    return rng.random() < probability
