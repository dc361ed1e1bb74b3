"""Statistics as tables of text, header first: what the card shows and `comvint stats` prints.

This file knows counts; it knows no row and no file.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

from comvint_hf.dataset.paper_figures import published_task
from comvint_hf.dataset.statistics import Statistics
from comvint_hf.dataset.verification import Health
from comvint_hf.types import FORMATS, NOTHING_LEFT

FIRST_WORDS_SHOWN = 8
STOPS_SHOWN = 8
Table = list[list[str]]


def table(statistics: Statistics) -> Table:
    """One line a task: rows, splits, mean words, yes to no, boxes a row and first words."""
    lines = [
        ["task", "rows", "train / test", "words in question / answer", "boxes a row", "yes : no", "most frequent first words"]
    ]
    for name, task in sorted(statistics.tasks.items()):
        pairs = max(task.pairs, 1)
        lines.append(
            [
                name,
                f"{task.rows:,}",
                f"{task.splits['train']:,} / {task.splits['test']:,}",
                f"{task.question_words / pairs:.1f} / {task.answer_words / pairs:.1f}",
                f"{task.boxes / max(task.rows, 1):.2f}",
                f"{task.yes_no['yes']:,} : {task.yes_no['no']:,}" if task.yes_no else "-",
                _shares(task.first_words, pairs),
            ]
        )
    return lines


def question_table(statistics: Statistics) -> Table:
    """One line a task: question-answer pairs, the first words that the papers count, and answers that say yes or no."""
    header = ["task", "questions", "what", "why", "how", "of them how many", "answers with yes or no", "yes for each no"]
    lines = [header]
    for name, task in sorted(statistics.tasks.items()):
        figures = task.figures
        lines.append(
            [
                name,
                f"{task.pairs:,}",
                *(f"{figures[f'share_{word}']:.0%}" for word in ("what", "why", "how")),
                _share(task.how_many, task.first_words["how"]),
                f"{figures['share_yes_no']:.1%}",
                _figure(figures.get("yes_for_each_no"), ".2f"),
            ]
        )
    return lines


def form_table(statistics: Statistics) -> Table:
    """One line a task: formats, where the right options stand and how long they are, rounds of complication."""
    header = ["task", *FORMATS, "right option A : B : C : D", "words in right / wrong options", "rows by rounds of complication"]
    lines = [header]
    for name, task in sorted(statistics.tasks.items()):
        options = " : ".join(f"{task.options[letter]:,}" for letter in "ABCD") if task.options else "-"
        means = [_figure(task.figures.get(f"mean_{side}_option_words"), ".1f") for side in ("right", "wrong")]
        rounds = ", ".join(f"{number}: {count:,}" for number, count in sorted(task.rounds.items()))
        formats = (_count_and_share(task.formats[form], task.rows) for form in FORMATS)
        lines.append([name, *formats, options, " / ".join(means) if task.option_texts else "-", rounds])
    return lines


def published_table(statistics: Statistics, recipes: Iterable[str]) -> Table:
    """One line a task that a paper gives figures of, each figure followed by the published one; no lines where there are none."""
    recipes = tuple(recipes)
    lines = [["task", "questions", "words in question", "words in answer", "what", "why", "how", "of them how many"]]
    for name, task in sorted(statistics.tasks.items()):
        if known := published_task(recipes, name):
            pairs = max(task.pairs, 1)
            ours = {
                "pairs": f"{task.pairs:,}",
                "question_words": f"{task.question_words / pairs:.1f}",
                "answer_words": f"{task.answer_words / pairs:.1f}",
                **{word: f"{task.first_words[word] / pairs:.0%}" for word in ("what", "why", "how")},
                "how_many": _share(task.how_many, task.first_words["how"]),
            }
            lines.append([name, *(said + _as_published(key, known) for key, said in ours.items())])
    return lines if len(lines) > 1 else []


def _as_published(key: str, known: dict[str, float]) -> str:
    form = {"pairs": ",", "question_words": ".1f", "answer_words": ".1f"}.get(key, ".0%")
    return f" ({known[key]:{form}})" if key in known else ""


def rounds_table(health: Health) -> Table:
    """One line a round: how its attempts ended, and how complex the versions are that stood; no lines where nothing was tried."""
    lines = [
        [
            "round",
            "tried",
            "passed",
            "refused by the judge",
            NOTHING_LEFT,
            "ended before a verdict",
            "pass rate",
            "words in question",
            "things used",
            "judge's score, 1-10",
        ]
    ]
    for entry in health.rounds():
        tried = (
            [f"{entry[key]:,}" for key in ("tried", "passed", "refused", "abstained", "stopped")] if entry["tried"] else ["-"] * 5
        )
        means = [_figure(entry[key], ".1f") for key in ("question_words", "evidence", "score")]
        lines.append([str(entry["round"]), *tried, _figure(entry["pass_rate"], ".1%"), *means])
    return lines if len(lines) > 1 else []


def criteria_table(health: Health) -> Table:
    """One line a criterion that the judge ever denied: the share of verdicts that it passed, by round; no lines without any."""
    rates = health.criterion_rates()
    numbers = sorted({number for by_round in rates.values() for number in by_round}, key=int)
    lines = [["the judge asks", *(f"round {number}" for number in numbers)]]
    for name, by_round in rates.items():
        lines.append([name, *(_figure(by_round.get(number), ".1%") for number in numbers)])
    return lines if rates else []


def stops_table(health: Health) -> Table:
    """One line for each of the commonest reasons that ended an attempt before a verdict; no lines without any."""
    found = list(health.stops().items())[:STOPS_SHOWN]
    numbers = sorted({number for _, by_round in found for number in by_round}, key=int)
    lines = [["ended before a verdict", *(f"round {number}" for number in numbers)]]
    return [*lines, *([reason, *(f"{by_round[number]:,}" for number in numbers)] for reason, by_round in found)] if found else []


def tables(statistics: Statistics) -> list[Table]:
    """Everything that the card shows in tables, but for what was published."""
    return [table(statistics), question_table(statistics), form_table(statistics), *health_tables(statistics.health)]


def health_tables(health: Health) -> list[Table]:
    """What there is to say of complicating and verifying."""
    return [lines for lines in (rounds_table(health), criteria_table(health), stops_table(health)) if lines]


def _shares(counts: Counter[str], whole: int) -> str:
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:FIRST_WORDS_SHOWN]
    return ", ".join(f"{word} {count / whole:.0%}" for word, count in ordered)


def _share(part: int, whole: int) -> str:
    return f"{part / whole:.0%}" if whole else "-"


def _count_and_share(count: int, whole: int) -> str:
    return f"{count:,} ({count / whole:.0%})" if count else "0"


def _figure(value: Any, form: str) -> str:
    return "-" if value is None else format(value, form)
