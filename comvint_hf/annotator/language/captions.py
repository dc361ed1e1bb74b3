"""Captions as whole sentences: those that are one, or become one with an "is", in the words of their writers.

This file knows captions only; whether a sentence is true of the image is its writer's word.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple

from comvint_hf.annotator.words import knowledge
from comvint_hf.annotator.words.colors import is_known, may_describe_same
from comvint_hf.annotator.words.english import ARTICLES, COLLECTIVES, PROPER_OF, gerund, head_word, number_of, verbs_by_form
from comvint_hf.annotator.words.english import words as _listed
from comvint_hf.annotator.words.vocabulary import is_a
from comvint_hf.grounding import find_tags
from comvint_hf.text import PLURAL_ONLY
from comvint_hf.types import Scene

_SINGULAR = (
    "man|woman|boy|girl|person|dog|cat|horse|bird|lady|guy|kid|baby|skier|surfer|snowboarder|skateboarder|player|cow|elephant|zebra|giraffe|"
    "bear|train|bus|plane|airplane|boat|car|truck|child|couple|group of people|group of men|toddler|worker|couple"
)
_PLURAL = (
    "men|women|boys|girls|people|children|dogs|cats|horses|birds|kids|cows|elephants|zebras|giraffes|sheep|bears|planes|boats|cars|"
    "players|skiers|surfers|workers|ladies|guys|adults"
)
_MANY = "Two|Three|Four|Five|Six|Some|Several|Many"
_WORDS = r"(?:[a-z\-]+ ){0,3}?"
_DOING = r"(?!building|morning|evening|wedding|painting|during)([a-z]+ing)\b"
_ONE_DOING = re.compile(rf"^((?:A|An|One|The) {_WORDS}(?:{_SINGULAR})) {_DOING}")
_MANY_DOING = re.compile(rf"^((?:{_MANY}) {_WORDS}(?:{_PLURAL})) {_DOING}")
_FINITE = re.compile(
    r"^(?:A|An|One|The|This) (?:[a-z\-]+ ){1,10}?is [a-z]+(?:ing\b|ed\b)|^(?:"
    + _MANY
    + r"|People) (?:[a-z\-]+ ){0,10}?are [a-z]+(?:ing\b|ed\b)"
)
DOES = frozenset(
    (*verbs_by_form(False), "lights", "shines", "shows", "casts", "grows", "leads", "faces", "has", "is", "tries", "covers")
)
"""Verbs of one who does something."""
_DO = "|".join(sorted(verbs_by_form(True)))
_CLUMSY = re.compile(
    r"\b(?:each others|lay|lays|laying|picture|photo|photograph|image|shot|view|close-?up|caption|out side|collage|there|which|and \w+ (?:\w+ )?is|s are|s is|one another is)\b"
    r"|\bno (?!one)|\bcouple (?!of|is|are|[a-z]+ing\b|[a-z]+s\b [a-z]+ing\b)|\blook(?:s|ing)? (?:some|the |an? )"
    r"|\band (?:an?|one|two|the|another) (?:[a-z]+ )?[a-z]+ [a-z]+ing\b"
    r"|\ba [aeio](?!ne\b|uro)|\ban [bcdfgjklmnpqrstvwyz]|\b(\w+) \1\b"
    r"|[^A-Za-z0-9 ,.'\-]|,.*,.*,| '|\bis\b.*\bis\b|\bare\b.*\bis\b|\bis\b.*\bare\b"
    r"|(?<!next )(?<!close )\bto [a-z]{3,}(?<!e)ed\b|\b[a-z]+ed (?:wearing|holding) an?\b"
    r"|\b(?:at|of|with|in|on|near|by|for|to|from) (?:he|she|they|we|I)\b"
    r"|\b(?:at|of|with|for|to|in) (?:at|of|with|to|in|behind|by)\b"
    r"|\bduring (?:[a-z]+ )?(?<!the )(?<!an )(?<! a )(?:competition|game|match|race|event|day|party|parade)\b"
    rf"|^(?:{_MANY}) {_WORDS}(?:dog|man|woman|boy|girl|person|cat|bird|car|boat)\b",
    re.IGNORECASE,
)
_SECOND_VERB = re.compile(rf"\b(?:{'|'.join(sorted(DOES))}|{_DO})\b")
_ONE = ("A", "An", "One", "The", "This")
_SEVERAL = (*_MANY.split("|"), "People", "Men", "Women", "Children", "Kids", "Girls", "Boys", "Dogs")
MOST_BEFORE_VERB = 11
"""Words of a subject with all that describes it."""
_HAVING = frozenset(
    ("wearing", "holding", "riding", "carrying", "with", "behind", "near", "during", "using", "driving") + ("pulling",)
)
"""Words after which a countable noun has a determiner: "wearing jacket" was written in haste."""
_OWN = ARTICLES | {"his", "her", "its", "their", "my", "our", "one", "each", "another", "no"}
SMALL_WORDS = _listed("small_words") | _listed("adverbs") | {"at", "by", "two", "three", "next", "near"}
COUNTS = frozenset(("two", "three", "four", "five", "six", "several", "many"))
FEWEST, MOST = 6, 24
"""Words of a caption that says something; the longer ones were often written in haste."""


def caption_sentences(scene: Scene) -> list[str]:
    """The captions that are grammatical sentences about what is seen; the others are left out.

    >>> caption_sentences(Scene(id="x/1", source="coco", width=1, height=1, captions=("A man riding a wave on a surfboard", "Surf!")))
    ['A man is riding a wave on a surfboard.']
    """
    return list(dict.fromkeys(sentence for caption in scene.captions if (sentence := _sentence(caption))))


class Doing(NamedTuple):
    """What a caption says that somebody does: "the man in a red hat", "is", "holding a guitar", and the whole sentence."""

    subject: str
    be: str
    doing: str
    sentence: str

    @property
    def verb(self) -> str:
        """The first word of what is done: "holding"."""
        return self.doing.partition(" ")[0]


_DOING_SENTENCE = re.compile(r"^(?P<subject>[^,]+?) (?P<be>is|are) (?P<doing>[a-z]+ing\b.*)\.$")
_VAGUE_DOINGS = _listed("vague_doings")
MOST_SUBJECT_WORDS = 9


def doings(scene: Scene) -> list[Doing]:
    """Who does what, by the captions that are whole sentences; one for each subject and verb.

    >>> scene = Scene(id="x/1", source="coco", width=1, height=1, captions=("A man in a cap rides a wave on a surfboard",))
    >>> doings(scene)[0].subject, doings(scene)[0].doing
    ('the man in a cap', 'riding a wave on a surfboard')
    """
    found: dict[tuple[str, str], Doing] = {}
    for sentence in caption_sentences(scene):
        doing = _doing(sentence)
        if doing and doing.verb not in _VAGUE_DOINGS and len(doing.subject.split()) <= MOST_SUBJECT_WORDS and _acts(doing):
            found.setdefault((doing.subject.split()[-1], doing.verb), doing)
    return list(found.values())


def _acts(doing: Doing) -> bool:
    """Whether the subject is one of whom one asks what it does: not the stop sign that stands at a corner."""
    head = head_word(doing.subject.removeprefix("the "))
    return head in _COMPANIES or any(is_a(head, kind) for kind in ("person", "animal", "vehicle"))


_COMPANIES = _listed("companies")


@lru_cache(maxsize=4096)
def _doing(sentence: str) -> Doing | None:
    if match := _DOING_SENTENCE.match(sentence):
        if re.search(r"\b(?:is|are|who|that|while|as)\b|ly$", match["subject"]):
            return None
        return Doing(_definite(match["subject"]), match["be"], match["doing"], sentence)
    found = _finite_verb(sentence.rstrip("."))
    if found is None or sentence.startswith("The picture shows "):
        return None
    words = sentence.rstrip(".").split(" ")
    place, verb = found
    subject, rest = " ".join(words[:place]), " ".join(words[place + 1 :])
    # "A man stands and waves": the second verb would stay as it is.
    if not rest or "," in subject or re.search(r"\b(?:and|while|as|who|that|then)\b", rest):
        return None
    return Doing(_definite(subject), "are" if words[0] in _SEVERAL else "is", f"{gerund(verb)} {rest}", sentence)


_INDEFINITE = re.compile(r"^(?:a|an|one|some|several|many|the) ", re.IGNORECASE)


def _definite(subject: str) -> str:
    """A subject as known: "the man", "the two men", "the people"."""
    lowered = subject if subject[:2].isupper() else f"{subject[:1].lower()}{subject[1:]}"
    return f"the {_INDEFINITE.sub('', lowered)}"


def named_tags(scene: Scene, sentence: str) -> list[str]:
    """The tags of what a spoken caption names, where the corpus ties captions to objects."""
    grounded = scene.meta.get("grounded_captions", ())
    return next((find_tags(tied) for raw, tied in zip(scene.captions, grounded, strict=False) if _sentence(raw) == sentence), [])


def adds_content(caption: str, before: str) -> bool:
    """Whether a caption speaks of other objects than the one before, tells of another activity, and sees no other colours.

    >>> adds_content("Two children are practicing martial arts.", "Two boys are practicing karate."), adds_content("A man is singing.", "A dog runs.")
    (False, True)
    """
    words, known = ({word for word in text.lower().rstrip(".").split()} for text in (caption, before))
    starts = {word[:3] for word in known}
    doing = [word for word in words if word.endswith("ing") or word in DOES - {"is", "has"}]
    again = any(word[:3] in starts for word in doing) or _about_people(words) and _about_people(known)
    return bool(doing) and not again and not (words & known) - SMALL_WORDS and may_describe_same(before, caption)


def names_several_people(caption: str) -> bool:
    """Whether a caption names people in the plural: "two adults" may be the man and the woman that another one names.

    >>> names_several_people("Two children and two adults are gathered."), names_several_people("A man is singing.")
    (True, False)
    """
    words = caption.lower().rstrip(".").replace(",", "").split()
    return any(is_a(word, "person") and (number_of(word) == "plural" or word in COLLECTIVES) for word in words)


def _about_people(words: set[str]) -> bool:
    """Whether a caption names somebody, who in another one may be the same, seen differently."""
    return any(is_a(word, "person") for word in words)


@lru_cache(maxsize=4096)
def _sentence(caption: str) -> str | None:
    text = re.sub(r"\s+([,.])", r"\1", " ".join(caption.split())).rstrip(". ")
    text = re.sub(r"\b([A-Za-z]+) - ([a-z]+)\b", r"\1-\2", text)
    text = re.sub(r"\blaying (?=on\b|in\b|down\b|upside\b|next\b|under\b|against\b)", "lying ", text)
    text = " ".join(PROPER_OF.get(word, word) for word in text.split(" "))
    if _CLUMSY.search(text) or "." in text or not FEWEST <= len(text.split()) <= MOST or text.isupper() or _lacks_article(text):
        return None
    for pattern, verb in ((_ONE_DOING, "is"), (_MANY_DOING, "are")):
        changed, count = pattern.subn(rf"\1 {verb} \2", text, count=1)
        if count and not re.search(r"\b(?:is|are|was|were|has|have)\b", text) and not _SECOND_VERB.search(text):
            return f"{changed}."
    finite = _FINITE.match(text)
    if finite:
        head = re.split(r" (?:is|are) ", finite[0])[0].rpartition(" ")[2]
        return f"{text}." if is_known(head) or head in COLLECTIVES else None
    if _finite_verb(text):
        return f"{text}."
    # A phrase for what is seen: "a woman in a blue hat sitting on a bench".
    phrase = text.startswith(
        (*(f"{word} " for word in _ONE[:3]), *(f"{word} " for word in _MANY.split("|")))
    ) and _PARTICIPLE.search(text)
    return (
        f"The picture shows {text[:1].lower()}{text[1:]}."
        if phrase and not _SECOND_VERB.search(text) and not _BE.search(text)
        else None
    )


_BE = re.compile(r"\b(?:is|are|was|were)\b")
_PARTICIPLE = re.compile(rf" {_DOING} [a-z]")


def _finite_verb(text: str) -> tuple[int, str] | None:
    """The place of the verb in "a man in a cap rides a wave", and its base; `None` where no known verb follows the subject."""
    words = text.split(" ")
    if words[0] not in (*_ONE, *_SEVERAL):
        return None
    forms = verbs_by_form(words[0] in _SEVERAL)
    for place, word in enumerate(words[1:MOST_BEFORE_VERB], start=1):
        before = words[place - 1].lower()
        if word in ("is", "are", "and", "while", "as") or word in verbs_by_form(words[0] not in _SEVERAL) and is_known(before):
            return None
        if word in forms and (is_known(before) or before in COLLECTIVES) and before not in _OWN and not before.endswith("ing"):
            return place, forms[word]
    return None


def _is_plural_clothing(word: str) -> bool:
    return word not in PLURAL_ONLY and number_of(word) == "plural" and is_a(word, "piece of clothing")


def _lacks_article(text: str) -> bool:
    """Whether a noun and its determiner do not fit: "wearing jacket", "riding bike", "a plaid shirts"."""
    words = text.lower().split(" ")
    for place, word in enumerate(words[:-1]):
        if word in ("a", "an") and any(_is_plural_clothing(after) for after in words[place + 1 : place + 3]):
            return True
        if word in COUNTS and all(number_of(later.rstrip(",")) == "singular" for later in words[place + 1 : place + 4]):
            return True
        after = words[place + 1].rstrip(",")
        noun = knowledge.find_noun(after) if word in _HAVING and after not in _OWN else None
        if noun and not noun.mass and number_of(after) == "singular" and after not in PLURAL_ONLY:
            last = words[place + 2].rstrip(",") if place + 2 < len(words) else ""
            if not (last and number_of(last) != "singular" and is_known(last)):
                return True
    return False
