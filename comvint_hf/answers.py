"""The one reader of closed answers: yes or no, an option's letter, a short phrase. Pure text in and out.

Each reader returns one reading or `None`. An unclear answer is unclear: no second rule is tried until one fits. The thoughts of a
model and its markup (bold, \\boxed{B}, <answer>B</answer>) are taken off first. Benchmarks
with an official rule keep that rule in `evaluation.benchmarks`.
"""

from __future__ import annotations

import re
from itertools import takewhile
from string import ascii_uppercase
from typing import Literal

from comvint_hf.thoughts import strip_thoughts

_SAID = r"(yes|no)\b(?![-‑](?!no\b)\w)"  # "no-one" says neither
_YES_NO = re.compile(rf"\b{_SAID}", re.IGNORECASE)
_STATED = re.compile(rf"\b{_SAID}(?=\W*(?:[,.;:!?]|$))|(?<=\bthere is )(no)\b|(?<=\bthere are )(no)\b", re.IGNORECASE)
_BEGINS = re.compile(rf"[\W_]*{_SAID}(?!\s*(?:/|\bor\b)\s*(?:yes|no)\b)", re.IGNORECASE)
_SENTENCE_END = re.compile(r"[.!?](?=\W|$)|\n")
_POLAR = re.compile(
    r"""\W*(?!(?:can|could|will|would)\s+you\b)(?:is|are|am|was|were|do|does|did|has|have|had|can|could|will|would|shall|should|may|
    might|must)(?:n['’]t)?\b | .*\byes\ or\ no\b""",
    re.IGNORECASE | re.DOTALL | re.VERBOSE,
)
_LABEL = r"\(?([A-Z])[.):]"
_LABEL_AHEAD = re.compile(rf"\s*{_LABEL}\s+", re.IGNORECASE)
# How a question may list its options: one a line ("A. cup", "A) cup", "(A) cup", "A: cup"), or "(A) cup (B) hat" in a line.
_OPTIONS = (
    re.compile(rf"^\s*{_LABEL}[ \t]*(\S.*?)[ \t\r]*$", re.MULTILINE),
    re.compile(r"\(([A-Z])\)\s*(\S.*?)\s*(?=\([A-Z]\)|$)", re.MULTILINE),
)
_LETTER = re.compile(
    r"(?:(?:the\s+)?(?:correct\s+|right\s+)?(?:answer|option|choice)(?:\s+is)?\s*:?\s*)?\(?([A-Z])\b(?!['’])", re.IGNORECASE
)
# An answer that declares its letter somewhere: "The correct answer is B", "Final answer: B", "I choose option (B)".
_DECLARED = re.compile(
    r"""(?:\b(?:answer|option|choice|letter)(?:\s+(?:to\s+\w+(?:\s+\w+)?|here))?(?:\s+(?:is|would\sbe|should\sbe|must\sbe))?(?:\s+option)?\s*[:=]?
    |\bi\s+(?:would\s+)?(?:choose|pick|select|go\s+with)(?:\s+option)?)\s*[("']*([B-HJ-Z]\b(?!['’])|[AI]\b(?!['’])(?![-\s]+(?!(?:or|and|because|since|as)\b)[a-z]))""",
    re.IGNORECASE | re.VERBOSE,
)
_BOXED = re.compile(r"\\boxed\s{0,4}\{([^{}]{0,200})\}")
_LATEX = re.compile(r"\\(?:text|mathrm|textbf|mathbf)\s{0,4}\{([^{}]{0,200})\}")
_TAGS = re.compile(r"</?(?:answer|final_answer|response|b|strong|em|i)>|<\|(?:begin|end)_of_box\|>|\$", re.IGNORECASE)
_ANSWER_END = re.compile(r"</(?:final_)?answer>", re.IGNORECASE)
_ANSWER_BEGIN = re.compile(r"<(?:final_)?answer>", re.IGNORECASE)
_LONGEST_READ = 40_000
"""Characters of an answer that are read: of a longer one its beginning and its end."""
_BOLD = re.compile(r"(\*\*|__|`)(?=\S)([^*_`]{1,200}?)(?<=\S)\1")
_ARTICLES = {"a", "an", "the"}


def yes_no(text: str, question: str = "") -> Literal["yes", "no"] | None:
    """Read a yes/no answer: the word it begins with, else the only one of the two in its first sentence.

    Args:
        text: The answer.
        question: The question, unless it is known to ask for yes or no. An answer to an open question must begin with the word;
            another one must state it: "the answer is no" and "there is no dog" do, "the sea had no waves" does not.

    >>> yes_no("No, there is no dog."), yes_no("The answer is yes."), yes_no("It is hard to say."), yes_no("It is yes or no.")
    ('no', 'yes', None, None)
    >>> yes_no("There is no dog.", "Is there a dog?"), yes_no("There is no dog.", "What is missing?")
    ('no', None)
    """
    text = _strip_markup(text)
    if begins := _BEGINS.match(text):
        return _single_verdict({begins[1]})
    sentence = _SENTENCE_END.split(text.strip(), maxsplit=1)[0]
    if question and not (_POLAR.match(question) and _STATED.search(sentence)):
        return None
    return _single_verdict(set(_YES_NO.findall(sentence)))


def _single_verdict(words: set[str]) -> Literal["yes", "no"] | None:
    lowered = {word.lower() for word in words}
    return None if len(lowered) != 1 else "yes" if "yes" in lowered else "no"


def options(question: str) -> dict[str, str]:
    """Read the options that a question lists, by letter: at least two, A first and none left out.

    >>> options("What is it?\\nA. a cup\\nB) a hat"), options("What is it? (A) a cup (B) a hat")
    ({'A': 'a cup', 'B': 'a hat'}, {'A': 'a cup', 'B': 'a hat'})
    """
    for pattern in _OPTIONS:
        found = dict(pattern.findall(question))
        listed = {letter: found[letter] for letter in takewhile(found.__contains__, ascii_uppercase)}
        if len(listed) > 1:
            return listed
    return {}


def has_label(text: str) -> bool:
    """Whether a text begins like an option, with a letter and its mark.

    >>> has_label("B. a hat"), has_label("(b) a hat"), has_label("A hat.")
    (True, True, False)
    """
    return _LABEL_AHEAD.match(text) is not None


def strip_label(option: str) -> str:
    """Remove the letter that an option begins with.

    >>> strip_label("(B) a hat"), strip_label("a hat")
    ('a hat', 'a hat')
    """
    return option[found.end() :] if (found := _LABEL_AHEAD.match(option)) else option


def option_letter(text: str, question: str = "") -> str | None:
    """Read which option an answer takes: the letter it begins with, or the one option whose words it is.

    Only letters that `question` lists count, where it lists any. "A dog" is not the option A.

    >>> option_letter("(B) a hat"), option_letter("The answer is c."), option_letter("A dog is there.")
    ('B', 'C', None)
    >>> option_letter("a hat", "What is it?\\nA. a cup\\nB. a hat")
    'B'
    """
    text, listed = _strip_markup(text), options(question)
    own = [letter for letter, words in listed.items() if short_answer(words) == short_answer(text)]
    if len(own) == 1:
        return own[0]
    text = text.strip().lstrip('"*“')
    match = _LETTER.match(text)
    if match is None or not _is_letter(text, match, listed):
        return _declared_letter(text, listed)
    letter = match[1].upper()
    return letter if not listed or letter in listed else None


def _declared_letter(text: str, listed: dict[str, str]) -> str | None:
    """The one letter that a text declares to be its answer; `None` where it declares none, or several."""
    declared = {match[1].upper() for match in _DECLARED.finditer(text) if match[1].isupper() or not listed}
    letter = declared.pop() if len(declared) == 1 else None
    return letter if letter is None or not listed or letter in listed else None


def _strip_markup(text: str) -> str:
    r"""Take off a model's thoughts and its markup, and what stands outside of the tags of its answer.

    >>> _strip_markup(r"<think>Not A.</think> So **\boxed{B}**"), _strip_markup("Hm. <answer>B</answer>")
    ('B', 'B')
    """
    text = strip_thoughts(text)
    if len(text) > _LONGEST_READ:
        text = text[: _LONGEST_READ // 2] + text[-_LONGEST_READ // 2 :]
    if not ("\\" in text or "<" in text or "**" in text or "__" in text or "`" in text or "$" in text):
        return text
    if ends := list(_ANSWER_END.finditer(text)):
        begins = list(_ANSWER_BEGIN.finditer(text, 0, ends[-1].start()))
        text = text[begins[-1].end() : ends[-1].start()].strip() if begins else text
    text = _LATEX.sub(r"\1", text)
    text = _TAGS.sub("", boxed[-1] if (boxed := _BOXED.findall(text)) else text)
    return _BOLD.sub(r"\2", text)


def _is_letter(text: str, match: re.Match[str], listed: dict[str, str]) -> bool:
    """Whether the letter is an option and not the article or pronoun it might be."""
    rest = text[match.end() :].lstrip('"*”')
    if not rest.strip() or rest[0] in ".):,;":
        return True
    rest = rest.lstrip(" -–—")
    # "B a hat": a letter without punctuation counts only before that option's own words
    own = listed.get(match[1].upper())
    return own is not None and short_answer(rest) == short_answer(own)


def short_answer(text: str) -> str:
    """Normalise a short answer: lower case, no articles, no punctuation at the edges of words.

    >>> short_answer(" The Red circle. ")
    'red circle'
    """
    words = (word.strip(".,;:!?\"'()*") for word in text.lower().split())
    return " ".join(word for word in words if word and word not in _ARTICLES)
