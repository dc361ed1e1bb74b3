"""Health: what histories tell of complicating and verifying, and the signs of a build gone wrong."""

from __future__ import annotations

import asyncio
import json
from collections import Counter

import pytest

from comvint_hf import comvint
from comvint_hf.dataset.failure_checks import find_warnings
from comvint_hf.dataset.schema import to_rejected_row, to_row
from comvint_hf.dataset.statistics import Statistics, TaskStatistics
from comvint_hf.dataset.tables import criteria_table, rounds_table, stop_reason_table, verification_tables
from comvint_hf.dataset.verification import Attempt, VerificationStatistics, read_attempts, read_versions
from comvint_hf.generation.group import OneByOne
from comvint_hf.generation.llm import LLMs, ScriptedLLM
from comvint_hf.sources import load_scenes


def row(*stages: str, rounds: int = 0, question: str = "What is it?", evidence: int = 1, format: str = "open") -> dict:
    """A row whose history has these stages; the version that each replaced is named after its place."""
    messages = [{"role": "user", "content": question}, {"role": "assistant", "content": "Red."}]
    history = [{"stage": stage, "instruction": "word " * (3 + place), "response": "x"} for place, stage in enumerate(stages)]
    return {
        "image_id": "a",
        "messages": messages,
        "task": "cross_modal",
        "format": format,
        "rounds": rounds,
        "boxes": [],
        "evidence": [{}] * evidence,
        "history": history,
        "reason": "source leak: the caption",
    }


HOP, PASSED = "complicate: one more hop", "verify: passed (complexity 6)"


@pytest.mark.parametrize(
    ("made", "told"),
    [
        (row(), {}),
        (row("reformulate: bool"), {}),
        (row(HOP, rounds=1), {1: Attempt(True, True)}),
        (row(HOP, PASSED, rounds=1), {1: Attempt(True, True, score=6)}),
        (
            row("complicate 1 failed: not verified: truly harder, consistent"),
            {1: Attempt(False, True, ("truly harder", "consistent"))},
        ),
        (
            row(
                HOP,
                PASSED,
                "verify: failed (truly harder; complexity 4)",
                "complicate 2 failed: not verified: truly harder",
                rounds=1,
            ),
            {1: Attempt(True, True, score=6), 2: Attempt(False, True, ("truly harder",), 4)},
        ),
        (row("verify: failed (answer right; complexity 2.5)"), {1: Attempt(False, True, ("answer right",), 2.5)}),
        (row("complicate 1 failed: source leak: 'the caption'"), {1: Attempt(why="source leak")}),
        (row("complicate 1, failed: the rewrite is a copy"), {1: Attempt(why="the rewrite is a copy")}),
        (row(PASSED, "complicate 1 failed: too long: 300 words"), {1: Attempt(why="too long", score=6)}),
        (row(HOP, HOP, "reformulate: choice", rounds=2), {1: Attempt(True, True), 2: Attempt(True, True)}),
    ],
)
def test_a_history_tells_how_each_attempt_ended(made, told) -> None:
    assert read_attempts(made) == told


def test_the_versions_of_a_row_are_the_open_ones() -> None:
    made = row(
        HOP, PASSED, "complicate 2 failed: not verified: answerable", "reformulate: choice", rounds=1, question="Which?\nA. x"
    )
    assert [len(text.split()) for text in read_versions(made)] == [3, 6]
    assert read_versions(row(HOP, PASSED, rounds=1)) == ["word " * 3, "What is it?"]
    assert read_versions(row()) == ["What is it?"]


def test_health_counts_by_round_and_adds_up() -> None:
    rows = [
        row(HOP, PASSED, rounds=1, evidence=3, question="one two three four five"),
        row(HOP, PASSED, "complicate 2 failed: not verified: truly harder", rounds=1, evidence=2, question="one"),
        row("complicate 1 failed: not verified: answer right, truly harder", evidence=1),
        row("complicate 1 failed: no usable reply: nothing came", evidence=1),
        row("complicate 1 failed: nothing certain left to ask: no further step", evidence=1),
    ]
    whole, parts = Statistics(), (Statistics(), Statistics())
    for number, made in enumerate(rows):
        for statistics in (whole, parts[number % 2]):
            statistics.add(made, "train")
            statistics.add_rejected(made)
    merged = Statistics.from_json(json.loads(json.dumps(parts[0].to_json())))
    merged.merge(parts[1])
    assert merged.to_json() == whole.to_json() and whole.rejected == {"source leak": 5}

    none, first, second = whole.verification.by_round()
    assert (none["tried"], none["question_words"], none["evidence"], none["score"]) == (0, 3, 1, None)
    assert [first[key] for key in ("tried", "passed", "refused", "abstained", "stopped")] == [10, 4, 2, 2, 2]
    assert (first["pass_rate"], first["question_words"], first["evidence"], first["score"]) == (4 / 6, 3, 2.5, 6)
    assert (second["tried"], second["pass_rate"], second["question_words"]) == (2, 0, None)
    assert whole.verification.criterion_pass_rates() == {
        "answer right": {"1": 1 - 2 / 6, "2": 1},
        "truly harder": {"1": 1 - 2 / 6, "2": 0},
    }
    assert rounds_table(whole.verification)[2] == ["1", "10", "4", "2", "2", "2", "66.7%", "3.0", "2.5", "6.0"]
    assert criteria_table(whole.verification)[1:] == [["answer right", "66.7%", "100.0%"], ["truly harder", "66.7%", "0.0%"]]
    assert stop_reason_table(whole.verification) == [["ended before a verdict", "round 1"], ["no usable reply", "2"]]
    assert verification_tables(VerificationStatistics()) == []


VERDICT = {name: "said" for name in ("match", "depth", "soundness")} | {"complexity": 7}
CRITERIA = ("about_this_image", "consistent", "nothing_absent", "needs_picture", "truly_harder", "answer_right", "answerable")


def test_the_histories_that_the_recipe_writes_are_understood() -> None:
    """The first rewrite of each sample is found good, the second too easy."""
    scene = next(iter(load_scenes("shapes:1")))

    def answer(prompt, form):
        name = prompt.name.rpartition("/")[2]
        if name == "synthesize":
            made = {"reasoning": "", "evidence": ["o1"], "question": "What is here?", "answer": "A thing."}
            return form.model_validate(
                {"samples": [{**made, "question": f"What is here {n}?"} for n in range(prompt.blanks["count"])]}
            )
        if name == "complicate":
            asked = f"And besides, {prompt.sample.instruction}"
            return form.model_validate(
                {"change": "hop", "reasoning": "", "evidence": ["o1"], "question": asked, "answer": "One."}
            )
        good = dict.fromkeys(CRITERIA, True) | {"truly_harder": prompt.sample.instruction.count("besides") < 2}
        return form.model_validate(VERDICT | good)

    recipe = comvint(rounds=2, formats=("open",), kinds=("cross_modal",), count=3)
    samples = asyncio.run(recipe.run(scene, LLMs.one(OneByOne(ScriptedLLM(answer)))))
    statistics = Statistics()
    for number, sample in enumerate(samples):
        statistics.add(to_row(sample, str(number)), "train")
        statistics.add_rejected(to_rejected_row(sample, str(number), "just so"))
    none, first, second = statistics.verification.by_round()
    assert (none["tried"], none["question_words"]) == (0, 4)
    assert (first["tried"], first["pass_rate"], first["question_words"], first["score"]) == (6, 1.0, 6, 7)
    assert (second["tried"], second["passed"], second["refused"], second["score"]) == (6, 0, 6, None)
    assert statistics.verification.criteria == {"2/truly harder": 6}


def build(verification: VerificationStatistics | None = None, **counts) -> Statistics:
    return Statistics({"cross_modal": TaskStatistics(rows=100, **counts)}, verification=verification or VerificationStatistics())


def by_round(**figures: dict[str, float]) -> VerificationStatistics:
    return VerificationStatistics(**{name: Counter(values) for name, values in figures.items()})


@pytest.mark.parametrize(
    ("statistics", "settings", "sign"),
    [
        (build(by_round(passed={"1": 40}, refused={"1": 60})), {}, "Round 1: only 40% of 100 complications passed"),
        (build(by_round(passed={"1": 4}, refused={"1": 6})), {}, None),
        (build(by_round(passed={"1": 60}, refused={"1": 40}, stopped={"1/no usable reply": 500})), {}, None),
        (
            build(
                by_round(
                    versions={"0": 50, "1": 50},
                    question_words={"0": 500, "1": 450},
                    rows={"0": 9, "1": 9},
                    evidence={"0": 18, "1": 18},
                )
            ),
            {},
            "Round 1 does not make samples more complex: objects used 2.0 after 2.0, words in the question 9.0 after 10.0;",
        ),
        (build(by_round(versions={"0": 50, "1": 50}, question_words={"0": 500, "1": 550})), {}, None),
        (
            build(
                by_round(
                    versions={"1": 50, "2": 50},
                    question_words={"1": 500, "2": 550},
                    scored={"1": 50, "2": 50},
                    scores={"1": 300, "2": 250},
                )
            ),
            {},
            "Round 2 does not make samples more complex: judge's score 5.0 after 6.0;",
        ),
        (
            build(formats=Counter(open=70, bool=30)),
            {"formats": ["open", "bool"]},
            "Format open: 70% of the rows, 50% were requested",
        ),
        (build(formats=Counter(open=55, bool=45)), {"formats": ["open", "bool"]}, None),
        (build(formats=Counter(open=70, bool=30)), {}, None),
        (build(formats=Counter(open=28, bool=17)), {"formats": ["open", "bool"]}, None),
        (build(formats=Counter(choice=79), options=Counter(A=12, B=16, C=28, D=23)), {"formats": ["choice"]}, None),
        (build(), {"kinds": {"cross_modal": 1, "outside_knowledge": 1}}, "Task outside_knowledge: 0% of the rows, 50%"),
        (
            build(formats=Counter(bool=100), yes_no=Counter(yes=80, no=20)),
            {"formats": ["bool"]},
            "The answer 'yes' makes up 80% of 100, expected about 50%",
        ),
        (
            build(formats=Counter(choice=100), options=Counter(A=50, B=50)),
            {"formats": ["choice"]},
            "The right option 'A' makes up 50%",
        ),
        (
            build(option_texts=Counter(right=50, wrong=150), option_words=Counter(right=200, wrong=300)),
            {},
            "Right options are longer than wrong ones (4.0 and 2.0 words)",
        ),
        (build(option_texts=Counter(right=50, wrong=150), option_words=Counter(right=110, wrong=300)), {}, None),
    ],
)
def test_signs_of_failure_are_sentences(statistics, settings, sign) -> None:
    signs = find_warnings(statistics, settings)
    assert signs == [] if sign is None else any(one.startswith(sign) for one in signs), signs
