"""Captions as whole sentences: those that are one, or become one with an "is", in the words of their writers.

This file knows captions only; whether a sentence is true of the picture is its writer's word.
"""

from __future__ import annotations

import re

from comvint_hf.records import Scene
from comvint_hf.synthesis.annotator.words import knowledge, lexicon
from comvint_hf.synthesis.annotator.words.language import singular

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
    r"^(?:A|An|One|The) (?:[a-z\-]+ ){1,8}?is [a-z]+(?:ing\b|ed\b)|^(?:"
    + _MANY
    + r"|People) (?:[a-z\-]+ ){0,6}?are [a-z]+(?:ing\b|ed\b)"
)
_DOES = (
    "stands|sits|rides|holds|walks|plays|looks|smiles|runs|jumps|poses|watches|carries|wears|throws|catches|swings|reads|eats|drinks|"
    "talks|lies|leans|waits|works|cooks|sleeps|pulls|pushes|climbs|performs|dances|sings|rests|sells|paints|cleans|kicks|prepares|"
    "crosses|passes|flies|swims|laughs|hugs"
)
_DO = (
    "stand|sit|ride|hold|walk|play|look|smile|run|jump|pose|watch|carry|wear|throw|catch|swing|read|eat|drink|talk|lie|lean|wait|"
    "work|cook|sleep|pull|push|climb|perform|dance|sing|rest|sell|paint|clean|kick|prepare|cross|pass|fly|swim|laugh|hug"
)
_CLUMSY = re.compile(
    r"\b(?:picture|photo|photograph|image|shot|view|close-?up|caption|out side|collage|there|who|which|that|and \w+ (?:\w+ )?is|s are|s is|one another is)\b"
    rf"|\ban? [a-z]+ (?:{_DO})\b|\bno (?!one)"
    r"|\ba [aeio](?!ne\b|uro)|\ban [bcdfgjklmnpqrstvwyz]|\b(\w+) \1\b"
    r"|[^A-Za-z0-9 ,.'\-]|,.*,.*,| '|\bis\b.*\bis\b|\bare\b.*\bis\b|\bis\b.*\bare\b",
    re.IGNORECASE,
)
_ACTS = re.compile(
    rf"^(?:A|An|One|The) {_WORDS}(?:{_SINGULAR}) (?:in [a-z ]{{3,30}} |with [a-z ]{{3,30}} )?(?:{_DOES})\b"
    rf"|^(?:{_MANY}) {_WORDS}(?:{_PLURAL}) (?:in [a-z ]{{3,30}} )?(?:{_DO})\b|^People (?:{_DO})\b"
)
_SECOND_VERB = re.compile(
    rf"\b(?:{_DOES}|{_DO}|hits|lays|hangs|tries|gets|takes|makes|uses|shows|gives|goes|does|skis|surfs|points)\b"
)
FEWEST, MOST = 6, 24
"""Words of a caption that says something and still fits into an answer."""


def spoken(scene: Scene) -> list[str]:
    """The captions that are grammatical sentences about what is seen; the others are left out.

    >>> spoken(Scene(id="x/1", source="coco", width=1, height=1, captions=("A man riding a wave on a surfboard", "Surf!")))
    ['A man is riding a wave on a surfboard.']
    """
    return list(dict.fromkeys(sentence for caption in scene.captions if (sentence := _sentence(caption))))


def _sentence(caption: str) -> str | None:
    text = re.sub(r"\s+([,.])", r"\1", " ".join(caption.split())).rstrip(". ")
    text = re.sub(r"\b([A-Za-z]+) - ([a-z]+)\b", r"\1-\2", text)
    if _CLUMSY.search(text) or "." in text or not FEWEST <= len(text.split()) <= MOST or text.isupper():
        return None
    for pattern, verb in ((_ONE_DOING, "is"), (_MANY_DOING, "are")):
        changed, count = pattern.subn(rf"\1 {verb} \2", text, count=1)
        if count and not re.search(r"\b(?:is|are|was|were|has|have)\b", text) and not _SECOND_VERB.search(text):
            return f"{changed}."
    finite = _FINITE.match(text)
    if finite:
        head = re.split(r" (?:is|are) ", finite[0])[0].rpartition(" ")[2]
        return f"{text}." if _known(head) else None
    return f"{text}." if _ACTS.match(text) else None


def _known(word: str) -> bool:
    """Whether a subject's last word is one we know: slips of the pen ("a tog") are not."""
    return not word.islower() or singular(word) in lexicon.known() or knowledge.known(word) is not None
