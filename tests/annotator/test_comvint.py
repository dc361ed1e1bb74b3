"""The embedded annotator as ComVint's writer and judge: every row is re-derived from its scene by an oracle of its own."""

import asyncio
import re
from collections import Counter
from itertools import islice

import pytest
from annotator import comvint_oracle as oracle

from comvint_hf import VLIT, comvint
from comvint_hf.annotator import ANSWERS, AnnotationLLM, register
from comvint_hf.annotator.facts.scene import facts_of
from comvint_hf.annotator.language.templates import load_templates
from comvint_hf.annotator.programs.execute import complexity, evaluate
from comvint_hf.annotator.programs.program import parse_chain
from comvint_hf.annotator.words.knowledge import RENDERED_COLOURS, SHAPE_NAMES
from comvint_hf.errors import InputError, ReplyError
from comvint_hf.generation import filters
from comvint_hf.generation.llm import LLMs, Reply
from comvint_hf.generation.prompt import Prompt
from comvint_hf.generation.recipes.comvint import COMVINT_KINDS, stages, verification
from comvint_hf.generation.stage import UNKNOWN_IMAGE
from comvint_hf.sources import load_scenes
from comvint_hf.types import FAILED, Edit, Object, Sample, Scene, Turn

CORPORA = {"coco": "coco", "flickr30k": "flickr30k_entities", "visual_genome": "visual_genome"}


def rows(scenes, seed=0, **settings):
    recipe, llms = comvint(**settings), LLMs.one(AnnotationLLM(seed))

    async def run():
        return [sample for scene in scenes for sample in await recipe.run(scene, llms)]

    return asyncio.run(run())


def real(shared, name, count):
    return list(islice(load_scenes(f"{name}:{shared / CORPORA[name]}"), count))


@pytest.fixture(scope="module")
def drawn():
    """Rows of 300 drawn scenes."""
    return [sample for sample in rows(load_scenes("shapes:300")) if sample.reason is None]


def disagreements(samples):
    """Rows the oracle rejects, and how many it could not read."""
    wrong, unread = [], 0
    for sample in samples:
        try:
            found = oracle.problem(sample)
        except oracle.Unread:
            unread += 1
        else:
            wrong += [f"{sample.scene.id}: {sample.instruction} {sample.response} ({found})"] if found else []
    return wrong, unread


@pytest.mark.parametrize("level", ["single", "grid", "crowded", "free"])
@pytest.mark.parametrize("rounds", [0, 2])
def test_the_oracle_derives_every_answer_about_shapes(level, rounds):
    samples = [sample for sample in rows(load_scenes(f"shapes:40,level={level}", seed=7), rounds=rounds) if sample.reason is None]
    wrong, unread = disagreements(samples)
    assert len(samples) > 150
    assert not wrong
    assert unread <= 0.01 * len(samples)


@pytest.mark.parametrize(
    ("name", "count", "fewest", "most_unread"),
    [("coco", 80, 1, 0.05), ("flickr30k", 150, 0.6, 0.25), ("visual_genome", 3, 1, 0.7)],
)
def test_the_oracle_derives_the_answers_about_photos(shared, name, count, fewest, most_unread):
    """`fewest` rows an image: Flickr30k's captions leave open most of what one could ask."""
    samples = [sample for sample in rows(real(shared, name, count)) if sample.reason is None]
    wrong, unread = disagreements(samples)
    assert len(samples) > fewest * count
    # A verb of a caption may be read by the annotator alone ("talking on").
    assert len(wrong) <= 0.02 * len(samples), wrong
    assert unread <= most_unread * len(samples)


def test_the_oracle_can_disagree(drawn):
    """Planted wrong answers are seen, or the tests above would say nothing."""
    planted = []
    for sample in drawn:
        wrong = {"bool": {"Yes": "No", "No": "Yes"}, "choice": {"A": "B", "B": "C", "C": "D", "D": "A"}}.get(sample.format, {})
        if sample.response in wrong:
            planted.append(sample.write([Turn(sample.instruction, wrong[sample.response])]))
    assert len(disagreements(planted[:200])[0]) == 200


@pytest.mark.parametrize(("name", "count"), [("shapes", 300), ("coco", 80), ("flickr30k", 348)])
def test_no_three_words_begin_a_tenth_of_a_task(request, name, count):
    scenes = load_scenes("shapes:300") if name == "shapes" else real(request.getfixturevalue("shared"), name, count)
    samples = [sample for sample in rows(scenes) if sample.reason is None]
    for task in COMVINT_KINDS:
        starts = Counter(" ".join(sample.instruction.lower().split()[:3]) for sample in samples if sample.task == task)
        (start, most), total = starts.most_common(1)[0], starts.total()
        assert most <= 0.1 * total + 4, f"{start!r} begins {most} of {total} {task} questions of {name}"


def test_each_task_has_thirty_templates():
    knowing = {
        "tool",
        "serves",
        "all_legs",
        "all_wheels",
        "use",
        "made_of",
        "young",
        "sound",
        "eats",
        "native",
        "power",
        "worker",
        "sport",
        "body",
        "played",
    }
    thought = [
        template.text for head, form in load_templates().items() if head in knowing for template in (*form.ask, *form.more)
    ]
    seen = [
        template.text for head, form in load_templates().items() if head not in knowing for template in (*form.ask, *form.more)
    ]
    assert len(set(thought)) >= 30
    assert len(set(seen)) >= 30


def test_yes_and_no_and_the_letters_come_equally_often(drawn):
    closed = Counter(sample.response for sample in drawn if sample.format == "bool")
    letters = Counter(sample.response for sample in drawn if sample.format == "choice")
    assert 0.43 < closed["Yes"] / closed.total() < 0.57
    assert all(0.2 < letters[letter] / letters.total() < 0.3 for letter in "ABCD")
    formats = Counter(sample.format for sample in drawn)
    assert all(share > 0.28 * formats.total() for share in formats.values())


def test_existence_questions_ask_for_absent_things_too(drawn):
    asked = Counter(sample.response for sample in drawn if sample.topic == "existence" and sample.format == "bool")
    assert asked.total() > 0.05 * len(drawn)
    assert 0.35 < asked["No"] / asked.total() < 0.65


def test_presence_cannot_be_told_from_how_much_a_question_says():
    kinds = {"cross_modal": 1}
    asked = rows(load_scenes("shapes:300"), rounds=0, formats=("bool",), kinds=kinds, count=6)
    answers: dict[tuple[bool, bool], Counter] = {}
    for sample in asked:
        if sample.topic == "existence" and sample.reason is None:
            words = set(sample.instruction.lower().replace("?", " ").split())
            named = bool(words & set(RENDERED_COLOURS)), bool(words & set(SHAPE_NAMES))
            answers.setdefault(named, Counter())[sample.response] += 1
    assert len(answers) == 3, "told by colour, by kind, by both"
    assert sum(max(of.values()) for of in answers.values()) < 0.6 * sum(of.total() for of in answers.values())


def test_a_complication_takes_more_steps_and_names_more_things(drawn):
    harder = [sample for sample in drawn if sample.rounds == 1]
    assert len(harder) > 0.9 * len(drawn)
    for sample in harder:
        first, second = parse_chain(sample.reasoning)[:2]
        assert complexity(second) > complexity(first)
        facts = facts_of(sample.scene)
        if first.head == second.head and first.head in ("colour", "size", "shape") and "like" not in str(second):
            assert len(evaluate(second, facts).tags) > len(evaluate(first, facts).tags)


def test_simple_questions_about_shapes_are_short_and_use_few_words():
    samples = [sample for sample in rows(load_scenes("shapes:200"), rounds=0, kinds=("cross_modal",)) if sample.reason is None]
    bare = [oracle.taken_apart(sample)[0] for sample in samples]
    assert max(len(text.split()) for text in bare) <= 24
    assert sum(len(text.split()) for text in bare) / len(bare) < 9
    assert len({word.strip("?.,:").lower() for text in bare for word in text.split()}) < 150


def test_everything_is_clean_and_says_nothing_of_its_source(drawn, shared):
    for sample in (*drawn, *rows(real(shared, "coco", 40)), *rows(real(shared, "flickr30k", 60))):
        if sample.reason is None:
            assert filters.find_failure(sample, filters.CHECKS) is None
            assert "  " not in sample.instruction.replace("\n", " ")
            assert not {"caption", "annotation", "annotated", "box", "tag"} & set(sample.response.lower().split())


def test_the_same_scene_gives_the_same_rows_in_any_order():
    scenes = list(load_scenes("shapes:12"))
    forwards, backwards = rows(scenes), rows(scenes[::-1])
    said = [[(sample.scene.id, sample.instruction, sample.response) for sample in group] for group in (forwards, backwards)]
    assert sorted(said[0]) == sorted(said[1])
    assert said[0] != [(sample.scene.id, sample.instruction, sample.response) for sample in rows(scenes, seed=1)]


# The judge --------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def complicated():
    """A rewrite that the judge accepts, with its question about "the ... to the left of the ..."."""
    llm = AnnotationLLM()

    async def run():
        for scene in load_scenes("shapes:50"):
            for sample in await stages.synthesize("cross_modal", 6)(Sample(scene=scene), LLMs.one(llm)):
                try:
                    (harder,) = await stages.complicate(sample, LLMs.one(llm))
                except ReplyError:
                    continue
                if parse_chain(harder.reasoning)[-1].head == "colour" and "the object" in harder.instruction:
                    return harder
        pytest.fail("no question for a colour could be made harder")

    return asyncio.run(run())


def judged(sample):
    (verdict,) = asyncio.run(verification.verify(sample, LLMs.one(AnnotationLLM())))
    return verdict.reason


def test_the_judge_accepts_a_right_rewrite(complicated):
    assert judged(complicated) is None


def test_the_judge_rejects_a_wrong_answer(complicated):
    colour = evaluate(parse_chain(complicated.reasoning)[-1], facts_of(complicated.scene)).value
    other = "purple" if colour != "purple" else "green"
    planted = complicated.write([Turn(complicated.instruction, complicated.response.replace(colour, other))])
    assert "answer right" in judged(planted)


def test_the_judge_rejects_a_thing_that_is_absent(complicated):
    program = str(parse_chain(complicated.reasoning)[-1])
    first = str(parse_chain(complicated.reasoning)[0])
    planted = complicated.model_copy(update={"reasoning": f"{first} => {program.replace('the(object', 'the(hexagon')}"})
    planted = planted.write(
        [Turn(complicated.instruction.replace("object", "hexagon"), complicated.response.replace("object", "hexagon"))]
    )
    assert "nothing absent" in judged(planted)


def test_the_judge_rejects_text_that_its_reasoning_does_not_say(complicated):
    planted = complicated.write([Turn("What colour is the unicorn behind the moon?", complicated.response)])
    assert "nothing absent" in judged(planted)
    assert "consistent" in judged(planted)


def test_the_judge_rejects_a_rewrite_that_is_not_harder(complicated):
    before = complicated.history[-1]
    first = str(parse_chain(complicated.reasoning)[0])
    same = complicated.model_copy(update={"reasoning": f"{first} => {first}"})
    assert "truly harder" in judged(same.write([Turn(before.instruction, before.response)]))


def test_the_judge_rejects_an_answer_that_rests_on_nothing(complicated):
    assert "about this image" in judged(complicated.model_copy(update={"evidence": ()}))


def test_the_judge_doubts_what_it_cannot_evaluate(complicated):
    assert "answer right" in judged(complicated.model_copy(update={"reasoning": "The circle is red because it is red."}))


def test_a_rewrite_of_another_hand_is_not_complicated(complicated):
    other = complicated.model_copy(update={"reasoning": "I looked at it."})
    with pytest.raises(ReplyError, match="own reasoning"):
        asyncio.run(stages.complicate(other, LLMs.one(AnnotationLLM())))


# Hand-made scenes -------------------------------------------------------------------------------------------------------


def photo(*objects, source="coco", captions=(), **more):
    made = tuple(
        Object(tag=f"o{place}", key=str(place), name=name, names=(name,), boxes=tuple(boxes), kind=kind)
        for place, (name, kind, boxes) in enumerate(objects, start=1)
    )
    return Scene(
        id=f"{source}/toy",
        source=source,
        width=640,
        height=480,
        captions=captions,
        objects=made,
        **more,
    )


def box(x1, y1, x2, y2):
    from comvint_hf.types import Box

    return Box(x1=x1, y1=y1, x2=x2, y2=y2)


def test_a_crowd_is_never_counted_and_a_mentioned_kind_never_absent():
    scene = photo(
        ("person", "person/crowd", [box(0.1, 0.1, 0.9, 0.9)]),
        ("dog", "animal", [box(0.1, 0.6, 0.3, 0.9)]),
        ("bench", "furniture", [box(0.6, 0.6, 0.9, 0.9)]),
        captions=("A boy on a pony near a dog.",),
    )
    facts = facts_of(scene)
    assert facts.count("person") is None
    assert facts.count("dog") == 1
    assert not facts.is_absent("person")
    assert not facts.is_absent("horse")
    assert facts.is_absent("elephant")


def test_sides_are_clear_or_left_open():
    scene = photo(
        ("dog", "animal", [box(0.0, 0.5, 0.3, 0.9)]),
        ("bench", "furniture", [box(0.6, 0.5, 0.9, 0.9)]),
        ("bed", "furniture", [box(0.25, 0.4, 0.8, 0.95)]),
    )
    facts = facts_of(scene)
    dog, bench, bed = facts.objects
    assert facts.side(dog, bench, "left of") is True
    assert facts.side(bench, dog, "left of") is False
    assert facts.side(bed, bench, "left of") is None
    assert facts.relative_positions(dog, bench) == ("left of",)


def test_a_word_that_fits_two_things_is_no_reference():
    scene = photo(
        ("cup", "kitchen", [box(0.0, 0.5, 0.2, 0.9)]),
        ("cup", "kitchen", [box(0.5, 0.5, 0.7, 0.9)]),
        ("dog", "animal", [box(0.2, 0.1, 0.5, 0.4)]),
    )
    facts = facts_of(scene)
    assert facts.describe(facts.objects[0]).text == "the leftmost cup"
    assert facts.describe(facts.objects[2]).text == "the dog"


# The door ---------------------------------------------------------------------------------------------------------------


def test_an_unknown_prompt_teaches_what_to_do():
    with pytest.raises(InputError, match=r"register\(name, function\)"):
        asyncio.run(AnnotationLLM().ask(Prompt("nobody/knows", scene=photo()), Reply))


def test_a_prompt_of_ones_own_can_be_registered():
    class Count(Reply):
        things: int

    register("mine/count", lambda prompt, random: Count(things=len(prompt.scene.objects)))
    try:
        reply = asyncio.run(AnnotationLLM().ask(Prompt("mine/count", scene=photo(("dog", "animal", [box(0, 0, 1, 1)]))), Count))
        assert reply.things == 1
        with pytest.raises(ReplyError, match="expected a Verdict"):
            asyncio.run(AnnotationLLM().ask(Prompt("mine/count", scene=photo()), verification.Verdict))
    finally:
        del ANSWERS["mine/count"]


def test_an_empty_scene_gives_no_rows():
    found = rows([photo()])
    assert found and all(sample.reason == UNKNOWN_IMAGE for sample in found)


def test_every_dialogue_honours_its_constraint(shared):
    for scene in (*islice(load_scenes("shapes:12"), 12), *real(shared, "coco", 10)):
        for sample in asyncio.run(VLIT.run(scene, LLMs.one(AnnotationLLM()))):
            if sample.reason:
                continue
            said = [message.content for message in sample.messages]
            match sample.topic:
                case "negatives":
                    assert {"No", "Ye"} <= {answer[:2] for answer in said[1:4:2]}
                case "one_region":
                    assert "<st>" in said[0]
                case "multi_turn":
                    assert len(said) >= 4
                    assert {"it", "its", "they", "their"} & set(re.findall(r"[a-z]+", said[2].lower()))
                case "reasoned":
                    assert all(len(answer.split()) > 10 for answer in said[1::2])
            assert filters.find_failure(sample, filters.CHECKS) is None


def test_a_failed_attempt_stays_in_the_history():
    samples = rows(load_scenes("shapes:10,level=single"), rounds=2)
    failed = [edit for sample in samples for edit in sample.history if FAILED in edit.stage]
    assert failed
    assert all(isinstance(edit, Edit) for edit in failed)
