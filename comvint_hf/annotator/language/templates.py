"""Programs in words: questions, answers and claims from the templates in `wording/questions.toml`.

A template is chosen by the caller's random source. `is_question_for` and `is_answer_to` tell whether a text is one of the ways to say a
program, so that a judge can hold a text against what it is said to mean. This file decides nothing about truth.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from random import Random

from comvint_hf.annotator.facts.scene import Facts
from comvint_hf.annotator.language.slots import Manner, Slots, clause_variants
from comvint_hf.annotator.programs.execute import evaluate
from comvint_hf.annotator.programs.program import THING, Outcome, Program
from comvint_hf.annotator.programs.references import can_form_clause
from comvint_hf.annotator.words import vocabulary
from comvint_hf.annotator.words.english import number_of, sentence

MOST_WORDINGS = 8
"""Ways of wording one reference, at most: two for each of three nested ones."""
_SLOT = re.compile(r"\{(\w+)\}")
_LIKE = re.compile(r"things? like|thing that \{a\}")
"""What reads badly of an object whose kind is left open: "a thing like the thing that the man is holding"."""
_SPLIT = re.compile(
    r"\{a\} (?:to )?\{(?:value|thing)\}"
    r"|\{a\} (?:that|used|usually|normally|commonly|made|worn|powered|played|run|belong|called|serve|have)\b"
)
"""What reads badly after an object told by what is done to it: "is the shirt that the man is wearing used ...?"."""
_STRESSED = re.compile(r"^Is it ")
"""What reads badly of several: "is it some women who are wearing the jackets?"."""
_START = re.compile(r"([.?!] )([a-z])")


@dataclass(frozen=True)
class Template:
    """A template and its longest run of plain text, by which most texts can be told not to be its own."""

    text: str
    mark: str

    @classmethod
    def of(cls, text: str) -> Template:
        return cls(text, max(_SLOT.split(text)[::2], key=len).casefold())


@dataclass(frozen=True)
class Form:
    """How one head is put into words."""

    head: str
    topic: str
    ask: tuple[Template, ...]
    more: tuple[Template, ...]
    answer: tuple[Template, ...]
    claim: tuple[Template, ...]
    pick: tuple[Template, ...]
    brief: Template


@cache
def load_templates() -> dict[str, Form]:
    """Every form by its head."""

    def templates(entry: dict, name: str) -> tuple[Template, ...]:
        return tuple(map(Template.of, entry.get(name, ())))

    return {
        entry["head"]: Form(
            entry["head"],
            entry["topic"],
            **{name: templates(entry, name) for name in ("ask", "more", "answer", "claim", "pick")},
            brief=Template.of(entry.get("brief", "{value}")),
        )
        for entry in vocabulary.read_table("questions")["form"]
    }


def fill(template: Template, slots: Slots) -> str:
    """The template in words; each sentence begins with a capital."""
    text = template.text.format_map(slots)
    if ". " in text or "? " in text or "! " in text:
        text = _START.sub(lambda match: match[1] + match[2].upper(), text.strip())
    return f"<st>{text[4:5].upper()}{text[5:]}" if text.startswith("<st>") else sentence(text)


_NO_FOLLOW_UP = re.compile(r"^\{a\}:|\b(?:of|like) \{a\}")
"""What reads badly of what was just spoken of: "it: what is it used for?", "the young of it"."""


def ask(program: Program, facts: Facts, random: Random, manner: Manner = "named") -> str:
    """A question that asks for the program's value; a claim is asked by yes or no."""
    fitting = questions(program, facts)
    fitting = _exclude(_NO_FOLLOW_UP, fitting) if manner == "it" else fitting
    text = fill(random.choice(fitting), make_slots(program, facts, random, manner))
    return _remember("asked", program, facts, text)


def pick(program: Program, facts: Facts, random: Random) -> str:
    """A question above options, which it does not name itself."""
    return fill(random.choice(form_of(program).pick or questions(program, facts)), make_slots(program, facts, random))


def answer(program: Program, facts: Facts, random: Random, manner: Manner = "named") -> str:
    """A sentence or two that state the program's value."""
    text = fill(random.choice(answers(program, facts)), make_slots(program, facts, random, manner))
    return _remember("answered", program, facts, text)


def reply(program: Program, facts: Facts, random: Random, truth: bool, manner: Manner = "named") -> str:
    """The answer to a yes/no question about a program's value: yes or no, and what is so."""
    said = fill(answers(program, facts)[0], make_slots(program, facts, random, manner))
    lead = len("<st>") if said.startswith("<st>") else 0
    return f"{'Yes' if truth else 'No'}, {said[:lead]}{said[lead].lower()}{said[lead + 1 :]}"


def _remember(how: str, program: Program, facts: Facts, text: str) -> str:
    """Keep a text with the program that it says, so that a judge need not go through all ways to say it."""
    facts.memory.setdefault((how, program), set()).add(text)
    return text


def brief(program: Program, facts: Facts, value: str, random: Random) -> str:
    """A value as a short option, capitalised."""
    text = form_of(program).brief.text.format_map(Slots(program, facts, value, _make_picker(random)))
    return f"{text[:1].upper()}{text[1:]}"


def form_of(program: Program) -> Form:
    """The form of a program; of a claim that of its question."""
    return load_templates()[program.claimed[0].head if program.head == "is" else program.head]


def questions(program: Program, facts: Facts) -> tuple[Template, ...]:
    """The templates that ask for a program's value; rendered scenes keep to the short ones."""
    form = form_of(program)
    asked = program.claimed[0] if program.head == "is" else program
    fitting = form.claim if program.head == "is" else form.ask if facts.rendered else (*form.ask, *form.more)
    if any(ref.noun == THING for ref in asked.refs):
        fitting = _exclude(_LIKE, fitting)
    if program.head == "is" and asked.head in ("what", "who") and number_of(str(program.args[1])) == "plural":
        fitting = _exclude(_STRESSED, fitting)
    if not facts.rendered and any(not ref.simple for ref in asked.refs[:1]):
        fitting = _exclude(_SPLIT, fitting)
    return fitting


def _exclude(odd: re.Pattern[str], templates: tuple[Template, ...]) -> tuple[Template, ...]:
    """The templates without what reads badly here; all of them if none is left."""
    return tuple(template for template in templates if not odd.search(template.text)) or templates


def answers(program: Program, facts: Facts) -> tuple[Template, ...]:
    """The templates that state a program's value; "it is a wall that the board is against" and "it is girls who" are none."""
    form = form_of(program)
    if program.head == "exists":
        outcome = evaluate(program, facts)
        return form.answer[:1] if outcome and outcome.value == "yes" else form.answer[1:]
    outcome = evaluate(program, facts) if program.head == "who" else None
    stranded = program.head == "what" and not can_form_clause(program.words[0])
    # "It is to the left of the table" would be the answer to many questions.
    sided = program.head == "across" and not facts.rendered
    return form.answer[:1] if sided or stranded or outcome and number_of(outcome.value) == "plural" else form.answer


def make_slots(program: Program, facts: Facts, random: Random, manner: Manner = "named") -> Slots:
    """The slots of a program; of a claim those of its question with the claimed value."""
    if program.head == "is":
        question, value = program.claimed
        return Slots(question, facts, value, _make_picker(random), manner)
    outcome = evaluate(program, facts)
    return Slots(program, facts, outcome.value if outcome else None, _make_picker(random), manner)


def _make_picker(random: Random) -> Callable[[tuple[str, ...]], str]:
    """One choice for all references of a text, so that a judge can go through all texts."""
    return _pick_by_index(random.randrange(MOST_WORDINGS))


def _pick_by_index(choice: int) -> Callable[[tuple[str, ...]], str]:
    return lambda ways: ways[choice % len(ways)]


def is_question_for(text: str, program: Program, facts: Facts) -> bool:
    """Whether a text is one of the ways to ask for a program's value."""
    return text in facts.memory.get(("asked", program), ()) or _matches(text, program, facts, questions(program, facts))


def is_answer_to(text: str, program: Program, facts: Facts) -> bool:
    """Whether a text is one of the ways to state a program's value."""
    return text in facts.memory.get(("answered", program), ()) or _matches(text, program, facts, answers(program, facts))


def _matches(text: str, program: Program, facts: Facts, templates: tuple[Template, ...]) -> bool:
    folded, outcome = text.casefold(), evaluate(program, facts)
    return any(
        template.mark in folded and any(text == said for said in _all_texts(template, program, facts, outcome))
        for template in templates
    )


def _all_texts(template: Template, program: Program, facts: Facts, outcome: Outcome | None) -> Iterator[str]:
    """Every text of a template: one for each way of choosing among the wordings of its references."""
    ways = max((len(clause_variants(ref.where, ref.noun)) for ref in program.refs), default=1)
    for choice in range(MOST_WORDINGS if ways > 1 else 1):
        yield fill(template, Slots(program, facts, outcome.value if outcome else None, _pick_by_index(choice)))
