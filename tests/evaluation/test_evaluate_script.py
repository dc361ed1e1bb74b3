"""train/evaluate.py, run as a user runs it."""

import json
import os
import runpy
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from PIL import Image

SCRIPT = Path(__file__).parents[2] / "train" / "evaluate.py"
KEYS = [
    "closed_accuracy",
    "mean_iou",
    "acc_at_50",
    "absent_accuracy",
    "yes_ratio",
    "description_f1",
    "n",
    "train_minutes",
    "git",
    "versions",
    "details",
]


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "COLUMNS": "120"}
    return subprocess.run(
        [sys.executable, str(SCRIPT), *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=280,
        env=environment,
        check=False,
    )


def rows(image: bool = True) -> list[dict]:
    box = "<st>the square<ed>[0.250, 0.250, 0.750, 0.750]"
    made = [
        ("Is there a star?", "No.", "conversation", "bool", "existence"),
        ("Is there a square?", "Yes.", "conversation", "bool", "existence"),
        ("Which is it?\nA. a star\nB. a square", "B", "cross_modal", "choice", "shape"),
        ("Where is the square?", f"It is at {box}.", "referring_qa", "open", ""),
        ("Describe it.", "A red square.", "detail_description", "open", ""),
    ]
    return [
        {
            "id": str(number),
            "image_id": "one",
            **({"images": [Image.new("RGB", (32, 32), "red")]} if image else {}),
            "messages": [{"role": "user", "content": question}, {"role": "assistant", "content": answer}],
            "task": task,
            "format": format,
            "topic": topic,
            "evidence": [{"tag": "o1", "key": "1", "name": "square", "boxes": []}],
        }
        for number, (question, answer, task, format, topic) in enumerate(made)
    ]


def dataset(folder: Path, *, image: bool = True) -> Path:
    from datasets import Dataset, Features, List, Value
    from datasets import Image as ImageFeature

    text = Value("string")
    columns = {
        "id": text,
        "image_id": text,
        "images": List(ImageFeature()),
        "messages": List({"role": text, "content": text}),
        "task": text,
        "format": text,
        "topic": text,
        "evidence": List({"tag": text, "key": text, "name": text, "boxes": List(List(Value("float32"), length=4))}),
    }
    if not image:
        del columns["images"]
    (folder / "data").mkdir(parents=True)
    Dataset.from_list(rows(image), features=Features(columns)).to_parquet(folder / "data" / "test-00000-of-00001.parquet")
    return folder


def test_a_dataset_is_asked_and_scored(tiny: Path, tmp_path: Path) -> None:
    out = tmp_path / "results.json"
    made = dataset(tmp_path / "rows")
    done = run("--model", tiny, "--dataset", made, "--out", out, "--max-new-tokens", 8, "--device", "cpu", "--vc")
    assert done.returncode == 0, done.stderr
    results = json.loads(out.read_text())
    contribution = results.pop("visual_contribution")
    assert list(results) == KEYS
    assert contribution["n"] == 5 and contribution["by_task"]["conversation"]["n"] == 2
    records = [json.loads(line) for line in (tmp_path / "results_vc.jsonl").read_text().splitlines()]
    assert sum(row["value"] for row in records) / 5 == pytest.approx(contribution["value"])
    assert "visual contribution, nats a row" in done.stdout
    assert results["n"] == {"closed": 3, "grounding": 1, "absent": 1, "description": 1}
    assert results["closed_accuracy"] in (0, 1 / 3, 2 / 3, 1) and results["mean_iou"] is not None
    assert results["train_minutes"] is None and results["versions"]["transformers"]
    answers = [json.loads(line) for line in (tmp_path / "results_answers.jsonl").read_text().splitlines()]
    assert [answer["id"] for answer in answers] == ["0#0", "1#0", "2#0", "3#0", "4#0"]
    assert "closed questions" in done.stdout and "5 of 5" in done.stderr


def test_a_model_behind_an_endpoint_is_asked_and_its_thoughts_are_not_scored(tmp_path: Path) -> None:
    from endpoint.situations import events
    from endpoint.wire import Request, Response, running

    seen: list[dict] = []

    def answer(request: Request) -> Response:
        seen.append(request.json() | {"team": request.headers.get("x-team")})
        text = str(request.json()["messages"][-1]["content"])
        said = (
            ("No." if "star?" in text else "Yes.")
            if "Is there" in text
            else "The answer is **B**"
            if "Which" in text
            else "A square."
        )
        return events("<think>It is not yes.", "</think>", said)

    made, out = dataset(tmp_path / "rows"), tmp_path / "results.json"
    with running(answer) as address:
        common = (
            "--model",
            "vlm",
            "--base-url",
            f"{address}/v1",
            "--dataset",
            made,
            "--out",
            out,
            "--header",
            "X-Team=vision-team",
        )
        done = run(*common, "--extra-body", '{"top_p": 0.5}')
    assert done.returncode == 0, done.stderr
    assert json.loads(out.read_text())["closed_accuracy"] == 1.0
    assert len(seen) == 5 and {(body["team"], body["top_p"], body["temperature"]) for body in seen} == {("vision-team", 0.5, 0)}
    assert "no --base-url" in run("--model", "vlm", "--dataset", made, "--header", "X-Team=v").stderr


def test_rows_without_their_image_are_refused(tiny: Path, tmp_path: Path) -> None:
    made = dataset(tmp_path / "rows", image=False)
    common = ("--model", tiny, "--dataset", made, "--out", tmp_path / "results.json", "--max-new-tokens", 4, "--device", "cpu")
    refused = run(*common)
    assert refused.returncode == 1 and "holds no image" in refused.stderr and "Traceback" not in refused.stderr
    blind = run(*common, "--text-only", "--limit", 2)
    assert blind.returncode == 0, blind.stderr
    assert len((tmp_path / "results_answers.jsonl").read_text().splitlines()) == 2


def test_unusable_datasets_are_refused(tiny: Path, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    for arguments, message in (
        (("--dataset", tmp_path / "none"), "There is no folder"),
        (("--dataset", empty), "cannot be loaded"),
        (("--dataset", dataset(tmp_path / "rows"), "--split", "train"), "The split 'train' of"),
    ):
        done = run("--model", tiny, "--out", tmp_path / "results.json", *arguments)
        assert done.returncode == 2 and message in done.stderr and "Traceback" not in done.stderr, done.stderr


def test_a_model_answers_a_benchmark_and_is_scored(tiny: Path, tmp_path: Path) -> None:
    Image.new("RGB", (32, 32), "red").save(tmp_path / "a.jpg")
    asked = tmp_path / "coco_pope_random.json"
    texts = [("Is there a star in the image?", "no"), ("Is there a square in the image?", "yes")]
    records = [
        {"question_id": n, "image": "a.jpg", "text": text, "label": label} for n, (text, label) in enumerate(texts, start=1)
    ]
    asked.write_text("\n".join(map(json.dumps, records)))
    answers, out = tmp_path / "answers.jsonl", tmp_path / "pope.json"
    common = ("--benchmark", "pope", "--questions", asked, "--answers", answers, "--out", out)
    done = run(*common, "--model", tiny, "--images", tmp_path, "--max-new-tokens", 4, "--device", "cpu")
    assert done.returncode == 0, done.stderr
    assert len(answers.read_text().splitlines()) == 2
    scores = json.loads(out.read_text())
    assert scores["n"] == 2 and scores["benchmark"] == "pope"
    # The answer file scores the same without the model.
    assert run(*common).returncode == 0
    assert json.loads(out.read_text())["accuracy"] == scores["accuracy"]
    missing = run(*common[:4], "--answers", tmp_path / "none.jsonl")
    assert missing.returncode == 2 and "cannot be read" in missing.stderr


MY_BENCHMARK = """
from comvint_hf.evaluation.benchmarks import Benchmark, BenchmarkQuestion
from comvint_hf.evaluation.benchmarks.files import read_records
from comvint_hf.registry import benchmark


@benchmark("colours")
def my_colours():
    def score(files):
        pairs = zip(read_records(files.answers), read_records(files.questions), strict=True)
        correct = [record["gold"] in record["answer"] for record in ({**answer, **question} for answer, question in pairs)]
        return {"n": len(correct), "accuracy": sum(correct) / len(correct)}

    return Benchmark(
        read_questions=lambda files: [
            BenchmarkQuestion(number, record["image"], "Which colour is it?")
            for number, record in enumerate(read_records(files.require("questions", "lines with image and gold")))
        ],
        score=score,
    )
"""


@pytest.mark.parametrize("name", ["my_benchmark", "my_benchmark:my_colours"])
def test_a_benchmark_in_a_file_of_the_user(name: str, tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("my_benchmark.py").write_text(MY_BENCHMARK)
    Image.new("RGB", (32, 32), "red").save("a.png")
    Path("questions.jsonl").write_text('{"image": "a.png", "gold": "red"}\n{"image": "a.png", "gold": "blue"}\n')
    Path("answers.jsonl").write_text('{"answer": "It is red."}\n{"answer": "It is red."}\n')
    common = ("--benchmark", name, "--questions", "questions.jsonl", "--out", "results.json")
    done = run(*common, "--answers", "answers.jsonl")
    assert done.returncode == 0, done.stderr
    assert json.loads(Path("results.json").read_text())["accuracy"] == 0.5
    done = run(*common, "--answers", "new.jsonl", "--model", tiny, "--images", ".", "--max-new-tokens", 4, "--device", "cpu")
    assert done.returncode == 0, done.stderr
    first = json.loads(Path("new.jsonl").read_text().splitlines()[0])
    assert first["question_id"] == 0 and first["question"] == "Which colour is it?"


POPE = ("--benchmark", "pope", "--answers", "x")


@pytest.mark.parametrize(
    ("arguments", "message", "code"),
    [
        ((), "Nothing to do", 2),
        (("--modle", "x"), "No such option '--modle'", 2),
        (("--benchmark", "mme"), "--answers is missing", 2),
        (("--benchmark", "nme", "--answers", "x"), "No benchmark is called 'nme': expected mme, pope,", 2),
        (("--benchmark", "json:decoder", "--answers", "x"), "expected a Benchmark, or a function that returns one", 2),
        (("--benchmark", "mme", "--answers", "x", "--vc"), "--vc needs true answers", 2),
        (("--benchmark", "chair", "--answers", "x"), "--gold is missing", 2),
        (
            (*POPE, "--dataset", "y", "--limit", 3),
            "--dataset, --limit cannot be used, as --benchmark has its own questions",
            2,
        ),
        ((*POPE, "--batch-size", 3), "--batch-size cannot be used, as no model is asked: name one with --model", 2),
        ((*POPE, "--boxes", "xyxy"), "--boxes cannot be used, as the benchmark pope does not use it", 2),
        (("--model", "x", "--dataset", "y", "--suffix", "z"), "--suffix cannot be used, as there is no --benchmark", 2),
        (("--model", "/nope", "--dataset", "/neither"), "There is no folder /nope", 2),
        (
            ("--model", "/nope", "--dataset", "/neither", "--out", "/proc/no/results.json"),
            "The folder /proc/no cannot be made",
            1,
        ),
    ],
)
def test_missing_and_unused_flags_are_refused(arguments: tuple, message: str, code: int) -> None:
    done = called(*arguments)
    assert done.exit_code == code and message in " ".join(done.output.split()), done.output


def test_files_of_the_score_are_checked_before_the_model_is_asked(tiny: Path, tmp_path: Path) -> None:
    (tmp_path / "gold.json").write_text("{}")
    files = ("--answers", tmp_path / "answers.jsonl", "--gold", tmp_path / "gold.json", "--images", tmp_path)
    done = called("--benchmark", "chair", "--model", tiny, *files)
    assert done.exit_code == 2 and "--synonyms is missing: expected CHAIR's synonyms.txt." in done.output


def called(*arguments: object) -> Result:
    """evaluate.py in this process."""
    script = runpy.run_path(str(SCRIPT))
    return CliRunner().invoke(script["main"], list(map(str, arguments)), prog_name="evaluate.py")
