"""English for the embedded annotator: articles, number, lists, sentences, and noun phrases as corpora write them.

Everything is a pure function of text. This file knows no scene, no corpus and no question.
"""

from __future__ import annotations

import re
import tomllib
from functools import cache, lru_cache
from pathlib import Path
from typing import Literal, NamedTuple

Number = Literal["singular", "plural", "mass"]


@cache
def _english() -> dict:
    return tomllib.loads((Path(__file__).parents[1] / "wording" / "english.toml").read_text(encoding="utf-8"))


def words(name: str) -> frozenset[str]:
    """A list of words of `wording/english.toml`."""
    return frozenset(_english()[name].split())


IRREGULAR: dict[str, str] = _english()["irregular"]
COLOURS: dict[str, str] = _english()["colours"]
RENAMED: dict[str, str] = _english()["renamed"]
"""Words for colours and the one name we use for each."""
SAME, PLURAL_ONLY, PAIRS, MASS = words("same"), words("plural_only"), words("pairs"), words("mass")
NOT_PLURAL, COLLECTIVES, PRONOUNS, PROPER = words("not_plural"), words("collectives"), words("pronouns"), words("proper")
VERBS_OF_NAMES = words("verbs_of_names")
POSSESSIVES, ARTICLES, VAGUE_COUNTS = words("possessives"), words("articles"), words("vague_counts")
BREAKS, ONLY_ONES = words("breaks"), words("only_ones")
"""Words that end the core of a noun phrase: what stands before them holds its head."""
PROPER_OF = {word.lower(): word for word in PROPER - {"Native", "York", "Oriental", "Dalmatian"}}
"""Names as corpora often write them, and as they are to be written."""
VOWEL_SOUND = re.compile(
    r"^(?:hour|honest|honou?r|heir|herb\b|x-?ray|xmas|mp3|sms|suv|lcd|led\b|atm|[aefhilmnorsx]-|8|11\b|18)", re.IGNORECASE
)
CONSONANT_SOUND = re.compile(
    r"^(?:uni(?!n|m)|use|usual|usu|utensil|utility|uten|ure|ur[aio]n|euro|eu|ewe|one\b|one-|once|ouija|ufo|u-|ukulele)",
    re.IGNORECASE,
)
NUMBERS = (
    "no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve", "thirteen", "fourteen",
    "fifteen", "sixteen", "seventeen", "eighteen", "nineteen", "twenty",
)  # fmt: skip
NUMBER_OF_WORD = {word: number for number, word in enumerate(NUMBERS) if number}


class NounPhrase(NamedTuple):
    """A corpus's wording of a thing, without its determiner.

    `core` is `text` up to its first preposition or participle, `head` the core's last word in the singular; `count` is the number
    the phrase itself states (1 for "a man", 2 for "two men", `None` where it does not say).
    """

    text: str
    core: str
    head: str
    number: Number
    count: int | None = None

    @property
    def plural(self) -> bool:
        return self.number == "plural"

    @property
    def the(self) -> str:
        """With the definite article: "the young man"."""
        return f"the {self.text}"

    @property
    def a(self) -> str:
        """As first mentioned: "a young man", "two men", "some people", "snow"."""
        if self.count is not None and self.count > 1 and self.plural:
            return f"{number_word(self.count)} {self.text}"
        return indefinite(self.text, self.number)


def article(phrase: str) -> str:
    """The indefinite article by sound.

    >>> [article(word) for word in ("apple", "hour", "unicorn", "x-ray", "umbrella", "one-way sign")]
    ['an', 'an', 'a', 'an', 'an', 'a']
    """
    if VOWEL_SOUND.match(phrase):
        return "an"
    if CONSONANT_SOUND.match(phrase):
        return "a"
    return "an" if phrase[:1].lower() in "aeiou" else "a"


def indefinite(phrase: str, number: Number | None = None) -> str:
    """A phrase as first mentioned: with its article, "some" for several, "a pair of" for scissors, bare for snow.

    >>> [indefinite(word) for word in ("old oven", "trees", "scissors", "snow")]
    ['an old oven', 'some trees', 'a pair of scissors', 'snow']
    """
    number = number or number_of(phrase)
    if number == "singular":
        return f"{article(phrase)} {phrase}"
    if number == "mass":
        return phrase
    return f"a pair of {phrase}" if head_word(phrase) in PAIRS else f"some {phrase}"


@lru_cache(maxsize=8192)
def plural(noun: str) -> str:
    """The plural of a noun or of a phrase's last word; a plural stays as it is.

    >>> [plural(word) for word in ("person", "knife", "bus", "sheep", "baby", "box", "hot dog", "scissors", "day")]
    ['people', 'knives', 'buses', 'sheep', 'babies', 'boxes', 'hot dogs', 'scissors', 'days']
    """
    before, _, last = noun.rpartition(" ")
    return f"{before} {_plural(last)}" if before else _plural(last)


def _plural(word: str) -> str:
    if word in SAME or word in PLURAL_ONLY or word in MASS or _is_plural_word(word):
        return word
    if word in IRREGULAR:
        return IRREGULAR[word]
    if re.search(r"(?:s|x|z|ch|sh)$", word):
        return f"{word}es"
    if re.search(r"[^aeiou]y$", word):
        return f"{word[:-1]}ies"
    return f"{word}s"


SINGULAR_OF = {many: one for one, many in IRREGULAR.items()}


@lru_cache(maxsize=8192)
def singular(noun: str) -> str:
    """The singular of a noun or of a phrase's last word; good enough for the nouns of captions.

    >>> [singular(word) for word in ("people", "knives", "buses", "glasses", "babies", "boxes", "horses", "trees", "grass", "houses")]
    ['person', 'knife', 'bus', 'glasses', 'baby', 'box', 'horse', 'tree', 'grass', 'house']
    """
    before, _, last = noun.rpartition(" ")
    return f"{before} {_singular(last)}" if before else _singular(last)


def _singular(word: str) -> str:
    if word in SINGULAR_OF:
        return SINGULAR_OF[word]
    if word in SAME or word in PLURAL_ONLY or word in NOT_PLURAL or len(word) < 4 and word != "tvs":
        return word
    if (
        word.endswith("ies")
        and len(word) > 4
        and word not in ("cookies", "movies", "brownies", "hoodies", "selfies", "zombies", "hippies")
    ):
        return f"{word[:-3]}y"
    if re.search(r"(?:sses|xes|ches|shes|zzes)$", word) and word not in ("caches", "headaches", "axes"):
        return word[:-2]
    if word.endswith("s") and not word.endswith(("ss", "us", "is")):
        return word[:-1]
    return word


def _is_plural_word(word: str) -> bool:
    if word in SINGULAR_OF or word in PLURAL_ONLY:
        return True
    if word in NOT_PLURAL or word in MASS or len(word) < 4 and word != "tvs":
        return False
    return word.endswith("s") and not word.endswith(("ss", "us", "is"))


def head_word(phrase: str) -> str:
    """The last word of a phrase's core, as it is written.

    >>> head_word("young man in a blue shirt"), head_word("group of people")
    ('man', 'group')
    """
    return core(phrase).rpartition(" ")[2]


def core(phrase: str) -> str:
    """A phrase up to its first preposition or participle; the whole if it begins with one."""
    words = phrase.split(" ")
    for place, word in enumerate(words):
        if place and word.lower() in BREAKS and not (word == "and" and words[place - 1].lower() in COLOURS):
            return " ".join(words[:place])
    return phrase


@lru_cache(maxsize=8192)
def number_of(phrase: str) -> Number:
    """Whether a phrase is one thing, several, or a stuff.

    >>> [number_of(word) for word in ("dog", "people", "blue jeans", "snow", "bowl of apples")]
    ['singular', 'plural', 'plural', 'mass', 'singular']
    """
    whole, head = core(phrase).lower(), head_word(phrase).lower()
    if re.search(r"\band\b", phrase) and " " not in whole:
        return "plural"
    if _is_plural_word(head):
        return "plural"
    return "mass" if head in MASS else "singular"


def be(number: Number | int) -> str:
    """ "is" or "are".

    >>> be("plural"), be(1), be("mass")
    ('are', 'is', 'is')
    """
    return "are" if number == "plural" or (isinstance(number, int) and number != 1) else "is"


def have(number: Number) -> str:
    """ "has" or "have"."""
    return "have" if number == "plural" else "has"


def number_word(number: int) -> str:
    """A number as a word up to twenty, else in digits; 0 is "no".

    >>> number_word(3), number_word(27)
    ('three', '27')
    """
    return NUMBERS[number] if 0 <= number < len(NUMBERS) else str(number)


def counted(noun: str, number: int) -> str:
    """A noun with its number.

    >>> counted("person", 2), counted("bus", 1), counted("scissors", 2), counted("dog", 0)
    ('two people', 'one bus', 'two pairs of scissors', 'no dogs')
    """
    if noun in PAIRS:
        return f"{number_word(number)} pair{'' if number == 1 else 's'} of {noun}"
    return f"{number_word(number)} {noun if number == 1 else plural(noun)}"


def listed(items: list[str] | tuple[str, ...], last: str = "and") -> str:
    """Join as in a sentence; "" for nothing.

    >>> listed(["a dog", "a cat", "two cows"]), listed(["left", "right"], "or")
    ('a dog, a cat and two cows', 'left or right')
    """
    return f" {last} ".join(filter(None, (", ".join(items[:-1]), items[-1]))) if items else ""


def sentence(text: str, end: str = ".") -> str:
    """Capitalise the first letter and end with a full stop unless there is an end.

    >>> sentence("the dog is left of the car")
    'The dog is left of the car.'
    """
    text = text.strip()
    return f"{text[:1].upper()}{text[1:]}{'' if text.endswith(('.', '?', '!')) else end}"


_SPACE = re.compile(r"\s+")
_EDGE = re.compile(r"^[\W_]+|[^\w)\"']+$")
_CLITIC = re.compile(r"\s+('s|n't|'re|'ll|')(?=\s|$)")
_ODD = re.compile(r"[^A-Za-z0-9 '\-]")


@lru_cache(maxsize=65536)
def noun_phrase(raw: str) -> NounPhrase | None:
    """Read a corpus's wording of a thing; `None` if no clean phrase can be had.

    >>> noun_phrase("A young man in a blue shirt").the, noun_phrase("Two men").a, noun_phrase("WOMAN'S arm").the
    ('the young man in a blue shirt', 'two men', "the woman's arm")
    >>> noun_phrase("his hand").text, noun_phrase("people").number, noun_phrase("him") is None
    ('hand', 'plural', True)
    """
    text = _CLITIC.sub(r"\1", _EDGE.sub("", _SPACE.sub(" ", raw)).replace("`", "'"))
    if not text or _ODD.search(text):
        return None
    words = _lowered(text).split(" ")
    if words[0] == "no":
        return None
    count, words = _without_determiner(words)
    text = RENAMED.get(" ".join(words), " ".join(words))
    words = text.split(" ")
    if not text or not text[0].isalpha() or len(text) < 2 or words[-1] in BREAKS | ARTICLES or words[0] in BREAKS:
        return None
    whole = core(text)
    head = whole.rpartition(" ")[2]
    if (
        head in PRONOUNS
        or text in PRONOUNS
        or any(word.endswith(("one's", "body's")) for word in words)
        or _halved(words, head)
        or _states(words)
    ):
        return None
    number = number_of(text)
    if count == 1 and number == "mass":
        number = "singular"
    if count == 1 and number == "plural" and head not in PLURAL_ONLY:
        count = None
    if count is not None and count > 1 and number == "singular" and head not in SAME:
        return None
    if count is not None and count > 1:
        number = "plural"
    return NounPhrase(text, whole, singular(head), number, count)


def _halved(words: list[str], head: str) -> bool:
    """Whether a phrase was cut off or lacks a word: "some stacked orange", "a couple guys", "group of woman", "men or boys"."""
    if len(words) > 1 and head in COLOURS or "or" in words:
        return True
    if words[0] not in COLLECTIVES or len(words) == 1:
        return False
    last = words[-1]
    return words[0] == "couple" and words[1] not in BREAKS or words[1:-1] == ["of"] and plural(last) != last


def _states(words: list[str]) -> bool:
    """Whether a name is a sentence: "floor is wood", "see cupboard"; "man who is waiting" is none."""
    return not VERBS_OF_NAMES.isdisjoint(words) and "who" not in words and "that" not in words


def _lowered(text: str) -> str:
    """Lower case, but names are capitals ("American flag", "a Hispanic woman"), and so are short acronyms in mixed text ("old TV")."""
    if text.isupper() or text.islower():
        return " ".join(PROPER_OF.get(word, word) for word in text.lower().split(" "))
    return " ".join(map(_lowered_word, text.split(" ")))


def _lowered_word(word: str) -> str:
    if word in PROPER_OF:
        return PROPER_OF[word]
    if (
        word.removesuffix("'s") in PROPER
        or word.isupper()
        and 1 < len(word) <= 4
        and word not in ("ON", "IN", "OF", "MAN", "TREE")
    ):
        return word
    return word.lower()


def _without_determiner(words: list[str]) -> tuple[int | None, list[str]]:
    """The count that leading determiners state, and the words after them."""
    count: int | None = None
    while len(words) > 1:
        word = words[0].lower()
        if word in ("a", "an", "another"):
            count = 1
        elif word in NUMBER_OF_WORD:
            count = NUMBER_OF_WORD[word]
        elif word.isdigit() and len(word) < 3:
            count = int(word)
        elif word in ("other", "more") or word in ARTICLES | POSSESSIVES | VAGUE_COUNTS:
            pass
        else:
            break
        words = words[1:]
    return count, words
