"""The benchmarks' readers and writers on small files written here."""

import json
from pathlib import Path

import pytest
from PIL import Image

from comvint_hf.errors import InputError
from comvint_hf.evaluation.benchmarks import BenchmarkFiles, chair, load_benchmark, mme, pope, refcoco, seed, textvqa
from comvint_hf.evaluation.benchmarks.files import read_records


def lines(path: Path, *records: dict) -> Path:
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path


def test_records_come_as_lines_arrays_or_lines_with_commas(tmp_path: Path) -> None:
    path = tmp_path / "records.json"
    for text in ('{"a": 1}\n{"a": 2}\n', '[{"a": 1}, {"a": 2}]', '{"a": 1},\n{"a": 2},\n'):
        path.write_text(text)
        assert read_records(path) == [{"a": 1}, {"a": 2}]


@pytest.mark.parametrize(("text", "message"), [('{"a": 1}\n{"a": \n', "line 2"), ("", "no records"), ("[1]", "something else")])
def test_a_broken_file_is_named_with_its_line(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "broken.jsonl"
    path.write_text(text)
    with pytest.raises(InputError, match=message):
        read_records(path)


def test_mme_refuses_files_that_are_not_pairs(tmp_path: Path) -> None:
    file = tmp_path / "existence.txt"
    file.write_text("1.jpg\tIs it?\tYes\tyes\n")
    with pytest.raises(InputError, match="even number"):
        mme.score(BenchmarkFiles(tmp_path))
    file.write_text("1.jpg\tIs it?\tYes\tyes\n2.jpg\tIs it?\tNo\tno\n")
    with pytest.raises(InputError, match="two questions an image"):
        mme.score(BenchmarkFiles(tmp_path))
    file.write_text("1.jpg\tIs it?\tYes\n1.jpg\tIs it?\tNo\n")
    with pytest.raises(InputError, match="3 columns"):
        mme.score(BenchmarkFiles(tmp_path))


def test_mme_gives_no_total_while_tasks_are_missing(tmp_path: Path) -> None:
    (tmp_path / "count.txt").write_text("1.jpg\tOne?\tYes\tyes\n1.jpg\tTwo?\tNo\thard to say\n")
    result = mme.score(BenchmarkFiles(tmp_path))
    assert result["perception"] is None and "existence" in result["missing"]
    assert result["tasks"]["count"]["score"] == 50 and result["tasks"]["count"]["other"] == 1


def test_pope_matches_by_id_where_answers_have_no_text(tmp_path: Path) -> None:
    labels = lines(
        tmp_path / "labels.json",
        {"question_id": 1, "image": "a.jpg", "text": "Is there a cat in the image?", "label": "yes"},
        {"question_id": 2, "image": "a.jpg", "text": "Is there a dog in the image?", "label": "no"},
    )
    load_benchmark("pope").write_answers(
        pope.read_questions(BenchmarkFiles(questions=labels)), ["Yes", "No, there is none"], tmp_path / "answers.jsonl"
    )
    assert pope.score(BenchmarkFiles(tmp_path / "answers.jsonl", gold=labels))["accuracy"] == 1.0
    shifted = lines(tmp_path / "shifted.jsonl", {"question_id": 11, "text": "Yes"}, {"question_id": 13, "text": "No"})
    with pytest.raises(InputError, match="question_id 13; expected 12"):
        pope.score(BenchmarkFiles(shifted, gold=labels))
    blind = lines(tmp_path / "blind.jsonl", {"text": "Yes"}, {"text": "No"})
    with pytest.raises(InputError, match="cannot be matched"):
        pope.score(BenchmarkFiles(blind, gold=labels))


def test_seed_asks_with_options_and_scores_by_type(tmp_path: Path) -> None:
    file = tmp_path / "SEED-Bench.json"
    choices = {f"choice_{letter}": word for letter, word in zip("abcd", ("one", "two", "three", "four"), strict=True)}
    common = {"question": "How many?", "question_type_id": 5, **choices}
    questions = [
        {"question_id": "7", "data_id": "x.jpg", "data_type": "image", "answer": "B", **common},
        {"question_id": "8", "data_id": "y.jpg", "data_type": "image", "answer": "C", **common},
        {"question_id": "9", "data_id": "z.mp4", "data_type": "video", "answer": "A", **common},
    ]
    file.write_text(json.dumps({"questions": questions, "question_type": {"Instances Counting": 5}}))
    asked = seed.read_questions(BenchmarkFiles(questions=file))
    assert [question.id for question in asked] == ["7", "8"]
    assert asked[0].text.splitlines()[2] == "B. two" and asked[0].group == "Instances Counting"
    seed.write_answers(asked, ["(B) two", "hard to say"], tmp_path / "answers.jsonl")
    result = seed.score(BenchmarkFiles(tmp_path / "answers.jsonl", questions=file))
    assert result["accuracy"] == 50 and result["types"] == {"Instances Counting": {"n": 2, "accuracy": 50.0}}


def test_refcoco_reads_text_as_fractions_of_the_image(tmp_path: Path) -> None:
    Image.new("RGB", (200, 100)).save(tmp_path / "COCO_train2014_000000000001.jpg")
    gold = tmp_path / "gold.json"
    crops = ["COCO_train2014_000000000001_0.jpg"]
    gold.write_text(json.dumps([{"sent": "man", "gt_box": [20, 10, 100, 50], "pred_boxes": [], "pred_boxes_img_id": crops}]))
    asked = refcoco.read_questions(BenchmarkFiles(questions=gold))
    assert (asked[0].text, asked[0].image) == ("Where is the man?", "COCO_train2014_000000000001.jpg")
    refcoco.write_answers(asked, ["The <st>man<ed>[0.1, 0.1, 0.6, 0.6] stands."], tmp_path / "answers.jsonl")
    assert refcoco.score(BenchmarkFiles(tmp_path / "answers.jsonl", gold=gold, images=tmp_path))["mean_iou"] == pytest.approx(1.0)
    with pytest.raises(InputError, match="--images"):
        refcoco.score(BenchmarkFiles(tmp_path / "answers.jsonl", gold=gold))


def test_textvqa_normalises_as_the_evaluator_does() -> None:
    assert textvqa.normalise("The dont-walk sign's 3.5, ten!") == "don't walk sign 's 3.5 10"
    assert textvqa.normalise("1,000 dollars.") == "1000 dollars"
    assert textvqa.accuracy("stop", ["stop"] * 3 + ["go"] * 7) == pytest.approx((3 * 2 / 3 + 7) / 10)
    assert textvqa.accuracy("none", ["0"] * 10) == 1.0


def test_textvqa_refuses_an_answer_to_an_unknown_question(tmp_path: Path) -> None:
    gold = tmp_path / "gold.json"
    gold.write_text(json.dumps({"data": [{"image_id": "x", "question": "What?", "answers": ["a"] * 10}]}))
    answers = lines(tmp_path / "answers.jsonl", {"question_id": "x", "prompt": "Why?\nBe short.", "text": "a"})
    with pytest.raises(InputError, match="no question 'why\\?'"):
        textvqa.score(BenchmarkFiles(answers, gold=gold))


def test_chair_counts_a_compound_as_one_object(tmp_path: Path) -> None:
    synonyms = tmp_path / "synonyms.txt"
    synonyms.write_text("person, man, baby\nbird, duck\ndog, puppy\nhot dog\ntoilet\nchair, seat\nwine glass\n")
    names = chair.read_synonyms(synonyms)
    found = chair.read_caption("1", "A baby bird, two puppies and hot dogs near wine glasses.", names, {"1": {"bird", "dog"}})
    assert found.mentioned == ["bird", "dog", "hot dog", "wine glass"]
    assert found.hallucinated == ["hot dog", "wine glass"]
    assert chair.read_caption("1", "The toilet has a white seat.", names, {"1": set()}).mentioned == ["toilet"]
    with pytest.raises(InputError, match="image 2"):
        chair.read_caption("2", "A dog.", names, {"1": set()})


def test_marks_and_separators_inside_texts_are_no_fault(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_bytes(b"\xef\xbb\xbf" + '{"a": "x\u2028y\u0085z"}\r\n{"a": 2}\n'.encode())
    assert read_records(path) == [{"a": "x\u2028y\u0085z"}, {"a": 2}]


@pytest.mark.parametrize("line", ["[" * 100_000, '{"a": ' + "9" * 5000 + "}", "\x00"])
def test_a_hostile_line_ends_in_a_sentence(tmp_path, line):
    path = tmp_path / "a.jsonl"
    path.write_text('{"a": 1}\n' + line)
    with pytest.raises(InputError, match=r"a\.jsonl, line 2"):
        read_records(path)
