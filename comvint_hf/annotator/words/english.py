"""English for the embedded annotator: articles, number, lists, sentences, and noun phrases as corpora write them.

Everything is a pure function of text. This file knows no scene, no corpus and no question.
"""

from __future__ import annotations

import re
import tomllib
from functools import cache, lru_cache
from pathlib import Path
from typing import Literal, NamedTuple

from comvint_hf.text import MASS, PLURAL_ONLY, SAME, is_plural, plural, singular

Number = Literal["singular", "plural", "mass"]


@cache
def _english() -> dict:
    return tomllib.loads((Path(__file__).parents[1] / "wording" / "english.toml").read_text(encoding="utf-8"))


def words(name: str) -> frozenset[str]:
    """A list of words of `wording/english.toml`."""
    return frozenset(_english()[name].split())


COLOURS: dict[str, str] = _english()["colours"]
RENAMED: dict[str, str] = _english()["renamed"]
"""Words for colours and the one name we use for each."""
PAIRS, COLLECTIVES, PRONOUNS, PROPER = words("pairs"), words("collectives"), words("pronouns"), words("proper")
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
    """A corpus's wording of an object, without its determiner.

    `core` is `text` up to its first preposition or participle, `head` the core's last word in the singular; `quantity` is the number
    the phrase itself states (1 for "a man", 2 for "two men", `None` where it does not say).
    """

    text: str
    core: str
    head: str
    number: Number
    quantity: int | None = None

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
        if self.quantity is not None and self.quantity > 1 and self.plural:
            return f"{number_word(self.quantity)} {self.text}"
        return add_article(self.text, self.number)


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


def add_article(phrase: str, number: Number | None = None) -> str:
    """A phrase as first mentioned: with its article, "some" for several, "a pair of" for scissors, bare for snow.

    >>> [add_article(word) for word in ("old oven", "trees", "scissors", "snow")]
    ['an old oven', 'some trees', 'a pair of scissors', 'snow']
    """
    number = number or number_of(phrase)
    if number == "singular":
        return f"{article(phrase)} {phrase}"
    if number == "mass":
        return phrase
    return f"a pair of {phrase}" if head_word(phrase) in PAIRS else f"some {phrase}"


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
    """Whether a phrase is one object, several, or a stuff.

    >>> [number_of(word) for word in ("dog", "people", "blue jeans", "snow", "bowl of apples")]
    ['singular', 'plural', 'plural', 'mass', 'singular']
    """
    whole, head = core(phrase).lower(), head_word(phrase).lower()
    if re.search(r"\band\b", phrase) and " " not in whole:
        return "plural"
    if is_plural(head):
        return "plural"
    return "mass" if head in MASS else "singular"


def be(number: Number | int) -> str:
    """ "is" or "are".

    >>> be("plural"), be(1), be("mass")
    ('are', 'is', 'is')
    """
    return "are" if number == "plural" or (isinstance(number, int) and number != 1) else "is"


def number_word(number: int) -> str:
    """A number as a word up to twenty, else in digits; 0 is "no".

    >>> number_word(3), number_word(27)
    ('three', '27')
    """
    return NUMBERS[number] if 0 <= number < len(NUMBERS) else str(number)


def format_count(noun: str, number: int) -> str:
    """A noun with its number.

    >>> format_count("person", 2), format_count("bus", 1), format_count("scissors", 2), format_count("dog", 0)
    ('two people', 'one bus', 'two pairs of scissors', 'no dogs')
    """
    if noun in PAIRS:
        return f"{number_word(number)} pair{'' if number == 1 else 's'} of {noun}"
    return f"{number_word(number)} {noun if number == 1 else plural(noun)}"


def join_phrases(items: list[str] | tuple[str, ...], last: str = "and") -> str:
    """Join as in a sentence; "" for nothing.

    >>> join_phrases(["a dog", "a cat", "two cows"]), join_phrases(["left", "right"], "or")
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
    """Read a corpus's wording of an object; `None` if no clean phrase can be had.

    >>> noun_phrase("A young man in a blue shirt").the, noun_phrase("Two men").a, noun_phrase("WOMAN'S arm").the
    ('the young man in a blue shirt', 'two men', "the woman's arm")
    >>> noun_phrase("his hand").text, noun_phrase("people").number, noun_phrase("him") is None
    ('hand', 'plural', True)
    """
    text = _CLITIC.sub(r"\1", _EDGE.sub("", _SPACE.sub(" ", raw)).replace("`", "'"))
    if not text or _ODD.search(text):
        return None
    words = _lower(text).split(" ")
    if words[0] == "no":
        return None
    count, words = _split_article(words)
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
        or _is_incomplete(words, head)
        or _is_sentence(words)
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


def _is_incomplete(words: list[str], head: str) -> bool:
    """Whether a phrase was cut off or lacks a word: "some stacked orange", "a couple guys", "group of woman", "men or boys"."""
    if len(words) > 1 and head in COLOURS or "or" in words:
        return True
    if words[0] not in COLLECTIVES or len(words) == 1:
        return False
    last = words[-1]
    return words[0] == "couple" and words[1] not in BREAKS or words[1:-1] == ["of"] and plural(last) != last


def _is_sentence(words: list[str]) -> bool:
    """Whether a name is a sentence: "floor is wood", "see cupboard"; "man who is waiting" is none."""
    return not VERBS_OF_NAMES.isdisjoint(words) and "who" not in words and "that" not in words


def _lower(text: str) -> str:
    """Lower case, but names are capitals ("American flag", "a Hispanic woman"), and so are short acronyms in mixed text ("old TV")."""
    if text.isupper() or text.islower():
        return " ".join(PROPER_OF.get(word, word) for word in text.lower().split(" "))
    return " ".join(map(_lower_word, text.split(" ")))


def _lower_word(word: str) -> str:
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


def _split_article(words: list[str]) -> tuple[int | None, list[str]]:
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


def third_person(verb: str) -> str:
    """A verb as it follows "she".

    >>> [third_person(word) for word in ("walk", "catch", "carry", "play")]
    ['walks', 'catches', 'carries', 'plays']
    """
    if verb == "have":
        return "has"
    if verb.endswith(("ch", "sh", "ss", "x")):
        return f"{verb}es"
    return f"{verb[:-1]}ies" if verb.endswith("y") and verb[-2] not in "aeo" else f"{verb}s"


def gerund(verb: str) -> str:
    """A verb as it follows "she is".

    >>> [gerund(word) for word in ("walk", "ride", "sit", "lie", "ski")]
    ['walking', 'riding', 'sitting', 'lying', 'skiing']
    """
    if verb in words("doubling"):
        return f"{verb}{verb[-1]}ing"
    if verb.endswith("ie"):
        return f"{verb[:-2]}ying"
    return f"{verb[:-1]}ing" if verb.endswith("e") and not verb.endswith("ee") else f"{verb}ing"


@cache
def verbs_by_form(plural: bool) -> dict[str, str]:
    """The verbs of captions by their form after one or after several, with the base."""
    return {verb if plural else third_person(verb): verb for verb in words("verbs")}
