"""Recognises the refusals of language models, in their usual spellings and languages."""

from __future__ import annotations

import re

_QUOTES = str.maketrans({"’": "'", "‘": "'", "ʼ": "'", "′": "'", "`": "'", "´": "'", "＇": "'"})
_CANNOT = r"(?:can(?:not|'t|\snot)|could(?:\snot|n't)|(?:am|'m)\s(?:unable|not\sable)\sto|won't(?:\sbe\sable\sto)?|will\snot(?:\sbe\sable\sto)?)"
_DO = (
    r"(?:see|view|answer|determine|assist|help|provide|fulfil\w*|comply|generate|identify|create|describe|discuss|engage|access|process|analy[sz]e"
    r"|complete|do\sthat|support|share|make\sout|tell\sfrom)"
)
REFUSAL = re.compile(
    rf"\b(?:as\san\sai\b|as\sa(?:\slarge)?\slanguage\smodel|i(?:'m|\sam)\s(?:so\s|very\s|really\s|truly\s)?sorry\b|i\sapologi[sz]e|my\sapologies"
    rf"|i(?:'m|\sam)\s(?:unable|not\sable)\b|i(?:'m|\sam)\safraid\s(?:that\s)?i\s{_CANNOT}|i\s{_CANNOT}\s(?:\w+\s)?{_DO}\b"
    rf"|i\s(?:do\snot|don't)\shave\s(?:the\sability|access|enough\sinformation)|i\smust\s(?:decline|refuse)|i\s(?:have\sto|need\sto)\sdecline"
    rf"|i(?:'d|\swould)\srather\snot|i(?:'m|\sam)\snot\scomfortable|(?:cannot|can't|can\snot)\sbe\sdetermined"
    rf"|no\sinformation\s(?:is|was)\s(?:given|provided)|against\smy\s(?:guidelines|programming|policy)|unable\sto\s(?:assist|comply|fulfil\w*))\b",
    re.IGNORECASE,
)
"""A refusal anywhere in an answer, whose apostrophes are straight."""
REFUSAL_WORDS = (
    "as an ai", "i'm", "i am", "i can", "i could", "i won", "i will", "i do", "i must", "i have to", "i need to", "i'd", "i would", "i apolog",
    "my apolog", "be determined", "no information", "language model", "against my", "unable to",
)  # fmt: skip
"""Lower-case substrings, at least one of which is in every match of `REFUSAL`."""
_BEGINNING = re.compile(
    rf"\A\W*(?:(?:i'm|i\sam|we're|we\sare)\s(?:so\s|very\s|really\s|truly\s)?(?:sorry|afraid)|sorry,|apologies|my\sapologies|i\sapologi[sz]e|i\s{_CANNOT}"
    rf"|i(?:'m|\sam)\s(?:unable|not\sable)|unfortunately,?\si\s{_CANNOT}|as\san\sai\b|i\smust\s(?:decline|refuse)|i(?:'d|\swould)\srather\snot"
    r"|es\stut\smir\sleid|ich\skann\s(?:dir|ihnen|das|dabei|diese\w*)?\s?(?:leider|nicht)|leider\skann\sich|entschuldigung,"
    r"|je\ssuis\s(?:vraiment\s)?désolée?|désolée?,|je\sne\speux\spas|lo\ssiento|no\spuedo\s(?:ayudar|responder|proporcionar)|mi\sdispiace|non\sposso\s"
    r"|desculpe|sinto\smuito|não\sposso|het\sspijt\sme|к\sсожалению|извините|я\sне\sмогу|抱歉|对不起|很抱歉|我无法|我不能|申し訳|すみません|죄송)",
    re.IGNORECASE,
)


def straighten_quotes(text: str) -> str:
    """Write every kind of apostrophe as the straight one."""
    return text if text.isascii() else text.translate(_QUOTES)


def begins_with_refusal(text: str) -> bool:
    """Whether a text begins with a refusal, in English or another common language.

    >>> begins_with_refusal("I’m sorry, but I can’t help with that."), begins_with_refusal("Lo siento, pero no puedo.")
    (True, True)
    >>> begins_with_refusal("The man is sorry for the dog.")
    False
    """
    return _BEGINNING.match(straighten_quotes(text[:200])) is not None
