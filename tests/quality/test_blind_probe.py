"""The blind probe finds what texts give away, and nothing in texts that give nothing away."""

import random

from comvint_hf.quality.blind_probe import blind_probe, closed_questions

NOUNS = ("dog", "cat", "car", "bus", "cup", "hat", "bench", "kite")


def row(number, question, answer, **columns):
    messages = [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
    return {"image_id": f"image {number // 2}", "task": "conversation", "messages": messages, **columns}


def yes_no_rows(share_of_yes, count=1200):
    """Questions for nouns; the share of yes depends on the noun as the function says."""
    draw = random.Random(3)
    for number in range(count):
        noun = draw.choice(NOUNS)
        yield row(number, f"Is there a {noun} in the picture?", "Yes." if draw.random() < share_of_yes(noun) else "No.")


def choice_rows(biased, count=600):
    draw = random.Random(5)
    for number in range(count):
        listed = draw.sample(NOUNS, 4)
        right = min(listed) if biased else draw.choice(listed)
        lines = "".join(f"{letter}. {noun}\n" for letter, noun in zip("ABCD", listed, strict=True))
        yield row(number, f"What is the man holding?\n{lines}Answer with the letter.", "ABCD"[listed.index(right)])


def test_a_noun_that_tells_the_answer_is_found_and_warned_of() -> None:
    (found,) = blind_probe(yes_no_rows(lambda noun: 0.95 if noun < "cup" else 0.05))
    assert found.accuracy > 0.9 and found.low > 0.8 and found.warning and "without the image" in found.warning
    assert (found.task, found.format, found.questions, found.images, found.chance) == ("conversation", "bool", 1200, 600, 0.5)


def test_balanced_nouns_leave_nothing_but_chance() -> None:
    (found,) = blind_probe(yes_no_rows(lambda noun: 0.5))
    assert found.low < 0.5 < found.high + 0.03 and found.high - found.low < 0.1 and found.warning is None


def test_options_are_probed_with_their_question() -> None:
    (biased,), (fair,) = blind_probe(choice_rows(biased=True)), blind_probe(choice_rows(biased=False))
    assert biased.format == "choice" and biased.accuracy > 0.55 and biased.warning
    assert 0.15 < fair.accuracy < 0.35 and fair.chance == 0.25 and fair.warning is None


def test_records_of_llava_are_read_turn_by_turn() -> None:
    record = {
        "id": "7",
        "image": "7.jpg",
        "conversations": [
            {"from": "human", "value": "<image>\nIs <st>the dog<ed>[0.1, 0.2, 0.3, 0.4] brown?"},
            {"from": "gpt", "value": "Yes, it is."},
            {"from": "human", "value": "What is it doing?"},
            {"from": "gpt", "value": "It has no ball and sleeps."},
        ],
    }
    (closed,) = closed_questions(record)
    assert closed.image == "7.jpg" and closed.right == 1 and "dog brown" in " ".join(closed.question.split())


def test_the_sample_and_the_split_are_seeded() -> None:
    rows = list(yes_no_rows(lambda noun: 0.5))
    assert blind_probe(rows, seed=1, most=400) == blind_probe(rows, seed=1, most=400)
    assert blind_probe(rows, seed=1, most=400)[0].questions == 400


def test_few_questions_are_no_result() -> None:
    assert blind_probe(yes_no_rows(lambda noun: 0.5, count=50)) == []
