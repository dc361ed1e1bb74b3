"""The figures of the official scripts on real answer files, reproduced."""

import json
from pathlib import Path

import pytest

from comvint_hf.errors import InputError
from comvint_hf.evaluation.benchmarks import BenchmarkFiles, chair, mme, pope, refcoco, seed, textvqa
from comvint_hf.evaluation.benchmarks.files import read_json, read_records


@pytest.fixture(scope="session")
def files(shared: Path) -> Path:
    return shared / "eval"


def test_mme_on_lavin(files: Path) -> None:
    result = mme.score(BenchmarkFiles(files / "mme" / "LaVIN"))
    assert result["perception"] == pytest.approx(963.6114445778312, abs=1e-9)
    assert result["cognition"] == pytest.approx(249.64285714285714, abs=1e-9)
    assert sum(task["n"] for task in result["tasks"].values()) == 2374
    reasoning = result["tasks"]["commonsense_reasoning"]
    assert reasoning["score"] == pytest.approx(87.142857, abs=1e-6)
    assert {name: reasoning[name] for name in ("tp", "fn", "tn", "fp", "other")} == {
        "tp": 56,
        "fn": 10,
        "tn": 26,
        "fp": 37,
        "other": 11,
    }
    landmark = result["tasks"]["landmark"]
    assert (landmark["accuracy"], landmark["accuracy_plus"], landmark["other"]) == (64.0, 29.5, 1)


def test_mme_writes_what_it_reads(files: Path, tmp_path: Path) -> None:
    asked = mme.read_questions(BenchmarkFiles(questions=files / "mme" / "Your_Results"))
    assert len(asked) == 2374 and asked[0].image.startswith("existence/")
    mme.write_answers(asked, ["Yes,\n\tit is"] * len(asked), tmp_path)
    result = mme.score(BenchmarkFiles(tmp_path))
    # Half of the questions are true and a pair always holds one of each.
    assert result["perception"] == 500 and result["cognition"] == 200
    template = (files / "mme" / "Your_Results" / "OCR.txt").read_text().splitlines()[0]
    assert (tmp_path / "OCR.txt").read_text().splitlines()[0] == template + "\tYes, it is"


@pytest.mark.parametrize(
    ("category", "confusion", "accuracy", "f1", "yes_ratio"),
    [
        ("popular", (1182, 59, 1441, 318), 0.8743333333333333, 0.8624589565851879, 0.4136666666666667),
        ("random", (1182, 31, 1379, 318), 0.8800687285223368, 0.8713601179506082, 0.4168384879725086),
    ],
)
def test_pope_on_llava_13b(files: Path, category: str, confusion: tuple, accuracy: float, f1: float, yes_ratio: float) -> None:
    folder = files / "pope"
    labels = folder / "v2023-08" / f"coco_pope_{category}.json"
    answers, questions = folder / "llava-v1.5-13b_answers.jsonl", folder / "llava_pope_test.jsonl"
    result = pope.score(BenchmarkFiles(answers, questions, labels, category=category))
    assert tuple(result[name] for name in ("tp", "fp", "tn", "fn")) == confusion
    assert (result["accuracy"], result["f1"], result["yes_ratio"]) == (accuracy, f1, yes_ratio)


@pytest.mark.parametrize(
    ("decoding", "accuracy", "precision"),
    [("greedy", 0.87, 0.9663865546218487), ("sample", 0.8363333333333334, 0.9279050042408821)],
)
def test_pope_on_llava_7b(files: Path, decoding: str, accuracy: float, precision: float) -> None:
    folder = files / "pope"
    result = pope.score(
        BenchmarkFiles(folder / f"llava-7b-coco-random-{decoding}.jsonl", gold=folder / "HEAD" / "coco_pope_random.json")
    )
    assert (result["accuracy"], result["precision"]) == (accuracy, precision)


def test_pope_refuses_another_version_of_the_questions(files: Path) -> None:
    folder = files / "pope"
    answers, questions = folder / "llava-v1.5-13b_answers.jsonl", folder / "llava_pope_test.jsonl"
    with pytest.raises(InputError, match="2,910 answers for 3,000 questions"):
        pope.score(BenchmarkFiles(answers, questions, folder / "HEAD" / "coco_pope_random.json", category="random"))
    with pytest.raises(InputError, match="the labels ask"):
        pope.score(BenchmarkFiles(answers, questions, folder / "HEAD" / "coco_pope_random.json", category="popular"))
    with pytest.raises(InputError, match="5,910 answers"):
        pope.score(BenchmarkFiles(answers, gold=folder / "v2023-08" / "coco_pope_random.json"))


def test_seed_bench_on_gpt_4v(files: Path) -> None:
    path = files / "seed" / "SEED-Bench-1_GPT-4V.json"
    with pytest.raises(json.JSONDecodeError):
        json.loads(path.read_text())
    result = seed.score(BenchmarkFiles(path))
    assert (result["n"], result["repeated"], result["accuracy"]) == (17997, 8, pytest.approx(67.2834361282436, abs=1e-10))


def test_textvqa_on_llava(files: Path) -> None:
    gold = files / "ocr" / "textvqa_gt_llava.json"
    result = textvqa.score(BenchmarkFiles(files / "ocr" / "llava-v1.5-13b_textvqa_answers.jsonl", gold=gold))
    assert (result["n"], result["accuracy"]) == (993, pytest.approx(62.7693856998993, abs=1e-9))


def test_textvqa_gives_nothing_for_whole_sentences(files: Path, tmp_path: Path) -> None:
    records = read_records(files / "ocr" / "textvqa_gt_llava.json")
    for record in records:
        record |= {"question_id": Path(record["image_path"]).stem}
    answers = tmp_path / "old.jsonl"
    answers.write_text("".join(json.dumps(record) + "\n" for record in records))
    assert textvqa.score(BenchmarkFiles(answers, gold=files / "ocr" / "textvqa_gt_llava.json"))["accuracy"] == 0.0


def test_chair_finds_the_words_of_the_official_example(files: Path) -> None:
    names = chair.read_synonyms(files / "chair" / "synonyms.txt")
    truth = {image: set(objects) for image, objects in read_json(files / "chair" / "gt_objects.json").items()}
    official = read_json(files / "chair" / "example_outputs.json")
    for sentence in official["sentences"]:
        caption = chair.read_caption(str(sentence["image_id"]), sentence["caption"], names, truth)
        assert caption.mentioned == sentence["mscoco_generated_words"]
        assert caption.hallucinated == sentence["mscoco_hallucinated_words"]
        assert caption.words == sentence["words"]
    folder = files / "chair"
    result = chair.score(
        BenchmarkFiles(folder / "example_inputs.jsonl", gold=folder / "gt_objects.json", synonyms=folder / "synonyms.txt")
    )
    expected = official["overall_metrics"]
    assert (result["chair_s"], result["chair_i"]) == (100 * expected["CHAIRs"], 100 * expected["CHAIRi"])
    assert result["recall"] == pytest.approx(100 * expected["Recall"])


@pytest.mark.parametrize(
    ("log", "chair_s", "chair_i", "recall"),
    [
        ("llava-1.5_greedy", 45.0, 12.629070691024623, 80.05249343832021),
        ("llava-1.5_ours", 44.8, 12.71326362135388, 79.13385826771653),
        ("minigpt4_greedy", 29.0, 9.14442700156986, 62.79527559055118),
        ("minigpt4_ours", 22.8, 8.6053412462908, 61.22047244094488),
    ],
)
def test_chair_on_long_captions_within_a_point(files: Path, log: str, chair_s: float, chair_i: float, recall: float) -> None:
    folder = files / "chair"
    result = chair.score(
        BenchmarkFiles(folder / "opera_log" / f"{log}.jsonl", gold=folder / "gt_objects.json", synonyms=folder / "synonyms.txt")
    )
    assert result["n"] == 500
    assert (result["chair_s"], result["chair_i"], result["recall"]) == pytest.approx((chair_s, chair_i, recall), abs=1.0)


def test_refcoco_with_the_first_and_the_best_proposals(files: Path, tmp_path: Path) -> None:
    gold = files / "refcoco" / "testA_unc_dets.json"
    expressions = read_records(gold)

    def scored(choose, form: str) -> dict[str, float]:
        answers = tmp_path / "answers.jsonl"
        answers.write_text("".join(json.dumps({"box": choose(expression)}) + "\n" for expression in expressions))
        return refcoco.score(BenchmarkFiles(answers, gold=gold, boxes=form))

    def best(expression: dict) -> list[float]:
        truth = refcoco.to_corners(expression["gt_box"], "xywh")
        return max(expression["pred_boxes"], key=lambda box: refcoco.corners_iou(refcoco.to_corners(box, "xywh"), truth))

    assert scored(lambda expression: expression["pred_boxes"][0], "xywh")["acc_at_50"] == 0
    oracle = scored(best, "xywh")
    assert (oracle["n"], oracle["acc_at_50"]) == (27, 1.0)
    assert oracle["mean_iou"] == pytest.approx(0.8672740155440392, abs=1e-12)
    with pytest.raises(InputError, match="no area"):
        scored(best, "xyxy")
