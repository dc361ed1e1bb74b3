"""Format statistics as tables of text, header first, for the card and `comvint stats`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from comvint_hf.dataset.card_references import find_task_figures
from comvint_hf.dataset.statistics import Statistics
from comvint_hf.dataset.verification import VerificationStatistics
from comvint_hf.types import FORMATS, NOTHING_LEFT

MAX_FIRST_WORDS = 8
MAX_STOP_REASONS = 8
Table = list[list[str]]


def overview_table(statistics: Statistics) -> Table:
    """Make a table with a line for each task: rows, splits, mean words, yes to no, boxes and first words."""
    lines = [
        ["task", "rows", "train / test", "words in question / answer", "boxes per row", "yes : no", "most frequent first words"]
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
                _format_frequent(task.first_words, pairs),
            ]
        )
    return lines


def question_table(statistics: Statistics) -> Table:
    """Make a table with a line for each task: question-answer pairs, first words as in the papers, and yes/no answers."""
    header = ["task", "questions", "what", "why", "how", "of them how many", "answers with yes or no", "yes for each no"]
    lines = [header]
    for name, task in sorted(statistics.tasks.items()):
        averages = task.averages
        lines.append(
            [
                name,
                f"{task.pairs:,}",
                *(f"{averages[f'share_{word}']:.0%}" for word in ("what", "why", "how")),
                _format_share(task.how_many, task.first_words["how"]),
                f"{averages['share_yes_no']:.1%}",
                _format_number(averages.get("yes_for_each_no"), ".2f"),
            ]
        )
    return lines


def format_table(statistics: Statistics) -> Table:
    """Make a table with a line for each task: formats, letters and lengths of right options, rounds of complication."""
    header = ["task", *FORMATS, "right option A : B : C : D", "words in right / wrong options", "rows by rounds of complication"]
    lines = [header]
    for name, task in sorted(statistics.tasks.items()):
        options = " : ".join(f"{task.options[letter]:,}" for letter in "ABCD") if task.options else "-"
        means = [_format_number(task.averages.get(f"mean_{side}_option_words"), ".1f") for side in ("right", "wrong")]
        rounds = ", ".join(f"{number}: {count:,}" for number, count in sorted(task.rounds.items()))
        formats = (_format_count(task.formats[name], task.rows) for name in FORMATS)
        lines.append([name, *formats, options, " / ".join(means) if task.option_texts else "-", rounds])
    return lines


def comparison_table(statistics: Statistics, figures: Sequence[Mapping[str, Any]]) -> Table:
    """Make a table with a line for each task that a paper gives figures of: ours, the published ones in brackets.

    Returns:
        No lines at all, not even a header, if there are no such tasks. The same holds for the tables below.
    """
    lines = [["task", "questions", "words in question", "words in answer", "what", "why", "how", "of them how many"]]
    for name, task in sorted(statistics.tasks.items()):
        if known := find_task_figures(figures, name):
            pairs = max(task.pairs, 1)
            cells = {
                "pairs": f"{task.pairs:,}",
                "question_words": f"{task.question_words / pairs:.1f}",
                "answer_words": f"{task.answer_words / pairs:.1f}",
                **{word: f"{task.first_words[word] / pairs:.0%}" for word in ("what", "why", "how")},
                "how_many": _format_share(task.how_many, task.first_words["how"]),
            }
            lines.append([name, *(cell + _format_reference(key, known) for key, cell in cells.items())])
    return lines if len(lines) > 1 else []


def _format_reference(key: str, known: Mapping[str, float]) -> str:
    spec = {"pairs": ",", "question_words": ".1f", "answer_words": ".1f"}.get(key, ".0%")
    return f" ({known[key]:{spec}})" if key in known else ""


def rounds_table(verification: VerificationStatistics) -> Table:
    """Make a table with a line for each round: how its attempts ended, and how complex the kept versions are."""
    header = ["round", "tried", "passed", "refused by the judge", NOTHING_LEFT, "ended before a verdict", "pass rate"]
    lines = [[*header, "words in question", "objects used", "judge's score, 1-10"]]
    for entry in verification.by_round():
        tried = (
            [f"{entry[key]:,}" for key in ("tried", "passed", "refused", "abstained", "stopped")] if entry["tried"] else ["-"] * 5
        )
        means = [_format_number(entry[key], ".1f") for key in ("question_words", "evidence", "score")]
        lines.append([str(entry["round"]), *tried, _format_number(entry["pass_rate"], ".1%"), *means])
    return lines if len(lines) > 1 else []


def criteria_table(verification: VerificationStatistics) -> Table:
    """Make a table with a line for each criterion that ever failed: the share of verdicts that passed it, by round."""
    rates = verification.criterion_pass_rates()
    numbers = sorted({number for by_round in rates.values() for number in by_round}, key=int)
    lines = [["the judge asks", *(f"round {number}" for number in numbers)]]
    for name, by_round in rates.items():
        lines.append([name, *(_format_number(by_round.get(number), ".1%") for number in numbers)])
    return lines if rates else []


def stop_reason_table(verification: VerificationStatistics) -> Table:
    """Make a table with a line for each of the most frequent reasons that ended attempts before a verdict, by round."""
    reasons = list(verification.stop_reasons().items())[:MAX_STOP_REASONS]
    numbers = sorted({number for _, by_round in reasons for number in by_round}, key=int)
    lines = [["ended before a verdict", *(f"round {number}" for number in numbers)]]
    lines += [[reason, *(f"{by_round[number]:,}" for number in numbers)] for reason, by_round in reasons]
    return lines if reasons else []


def probe_table(probed: Sequence[Mapping[str, Any]]) -> Table:
    """Make a table with a line for each task and format of the blind probe: accuracy with its 95 % interval, and chance."""
    header = ["task", "format", "questions", "right without the image", "95 % interval", "chance"]
    return [
        header,
        *(
            [
                str(result["task"] or "-"),
                str(result["format"]),
                f"{result['questions']:,}",
                f"{result['accuracy']:.3f}",
                f"{result['low']:.3f} to {result['high']:.3f}",
                f"{result['chance']:.2f}",
            ]
            for result in probed
        ),
    ]


def make_tables(statistics: Statistics) -> list[Table]:
    """Make all tables of the card except the comparison with published datasets."""
    return [
        overview_table(statistics),
        question_table(statistics),
        format_table(statistics),
        *verification_tables(statistics.verification),
    ]


def verification_tables(verification: VerificationStatistics) -> list[Table]:
    """Make the tables about complicating and verifying."""
    tables = (rounds_table(verification), criteria_table(verification), stop_reason_table(verification))
    return [lines for lines in tables if lines]


def _format_frequent(counts: Counter[str], total: int) -> str:
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:MAX_FIRST_WORDS]
    return ", ".join(f"{word} {count / total:.0%}" for word, count in ordered)


def _format_share(part: int, total: int) -> str:
    return f"{part / total:.0%}" if total else "-"


def _format_count(count: int, total: int) -> str:
    return f"{count:,} ({count / total:.0%})" if count else "0"


def _format_number(value: float | None, spec: str) -> str:
    return "-" if value is None else format(value, spec)
