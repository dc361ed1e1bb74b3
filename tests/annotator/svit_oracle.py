"""A judge of SVIT answers that knows the wording tables and the raw annotations, and none of the annotator's code.

It reads a question and its answer back through the tables, gets the blanks, and recomputes what they claim: own naming, own
geometry, own arithmetic. Knowledge is looked up in `knowledge.toml` by text.
"""

from __future__ import annotations

import re
import tomllib
from functools import cache, cached_property
from itertools import product
from pathlib import Path

from comvint_hf import annotator

FOLDER = Path(annotator.__file__).parent
WORDS = dict(zip(["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen", "twenty"], range(21), strict=True)) | {"no": 0, "none": 0}  # fmt: skip
COCO_WORDS = {"screen": "tv", "table": "dining table", "ball": "sports ball", "phone": "cell phone", "remote control": "remote"}
PLURALS = {"people": "person", "men": "man", "women": "woman", "children": "child", "knives": "knife", "mice": "mouse", "sheep": "sheep",
           "buses": "bus", "couches": "couch", "benches": "bench", "toothbrushes": "toothbrush", "sandwiches": "sandwich",
           "wine glasses": "wine glass", "skis": "skis", "scissors": "scissors", "boxes": "box", "watches": "watch"}  # fmt: skip
UNSAID = {
    "cork-board": "corkboard",
    "cork board": "corkboard",
    "cpu": "computer tower",
    "cpus": "computer towers",
    "tshirt": "t-shirt",
}
"""Names that annotators write and people do not say."""
SPELLING = {"gray": "grey", "golden": "gold", "blonde": "blond", "violet": "purple", "navy": "dark blue", "maroon": "dark red",
            "crimson": "red", "scarlet": "red", "burgundy": "dark red", "lavender": "purple", "aqua": "turquoise"}  # fmt: skip
NARROW = {"is": "is|are", "are": "is|are", "be": "is|are", "has": "has|have", "does": "does|do", "any": "any|one", "takes": "takes?",
          "dominates": "dominates?", "stay": "stays?", "answer": "yes|no", "a_kind": r"an? [a-z\- ]+"}  # fmt: skip


@cache
def table(name: str) -> dict:
    return tomllib.loads((FOLDER / "wording" / f"{name}.toml").read_text())


@cache
def knowledge() -> dict:
    return tomllib.loads((FOLDER / "knowledge.toml").read_text())


@cache
def narrow() -> dict[str, str]:
    """What a blank may hold, where that is a closed list or a single sentence."""
    places = sorted((said for lists in table("svit_places").values() for said in lists), key=len, reverse=True)
    verbs = sorted((entry["verb"] for entry in table("comvint_relations")["relation"]), key=len, reverse=True)
    colours = r"(?:dark )?(?:red|green|blue|yellow|purple|orange|black|white|brown|pink|grey|silver|gold|beige|tan|blond|turquoise|teal|khaki|cream)"
    sentence = r"[^.]+\."
    refs = r"<st>[^<]+<ed>\[\w+\](?:, \[\w+\])*"
    return {
        **NARROW,
        "where": "|".join(places),
        "verb": "|".join(verbs),
        "colour": colours,
        "true": f"{colours}|to the (?:left|right) of|above|below",
        "side": "to the (?:left|right) of|above|below",
        **dict.fromkeys(("seen", "known", "known_one", "known_two", "because", "danger"), sentence),
        **dict.fromkeys(("the", "one", "two", "large", "small"), "[^,.:;]+?"),
        **dict.fromkeys(
            ("clause", "clause_one", "clause_two"),
            "(?:people use|with) .+?|.+? (?:are|is|have|has|can|need|needs|break|breaks|stay|stays) .+?",
        ),
        "place": r"(?:on|in|at|along|near|beside|around|where|with|under|a|an|the) .+?",
        "refs": refs,
        "area": refs,
        "number": r"[^<>\[\]]+?",
    }


@cache
def pattern(template: str) -> re.Pattern[str]:
    """The template as a pattern: a blank is a named group, and the same text wherever it comes again."""
    seen: set[str] = set()

    def group(match: re.Match[str]) -> str:
        name = match[1]
        if name in seen:
            return f"(?P={name})"
        seen.add(name)
        return f"(?P<{name}>{narrow().get(name, '.+?')})"

    return re.compile(re.sub(r"\\\{(\w+)\\\}", group, re.escape(template)) + "$", re.IGNORECASE)


def templates(entry: dict, kinds: tuple[str, ...], wanted: bool) -> list[tuple[str, str]]:
    """(form, template) of the lists whose key starts with one of `kinds`, or of all others."""
    found = []
    for form, lists in entry.items():
        if isinstance(lists, str) or form.startswith(kinds) is not wanted:
            continue
        for trait, listed in lists.items() if isinstance(lists, dict) else [("", lists)]:
            found += [(f"{form}.{trait}" if trait else form, template) for template in listed]
    return found


def readings(name: str, question: str, answer: str) -> list[tuple[str, str, str, dict[str, str]]]:
    """Every (kind, ask form, say form, blanks) that the wording table allows for a question and its answer."""
    found = []
    for kind, entry in table(name).items():
        asked = [
            (form, match.groupdict())
            for form, text in templates(entry, ("ask", "follow"), True)
            if (match := pattern(text).match(question))
        ]
        if not asked:
            continue
        said = [
            (form, match.groupdict())
            for form, text in templates(entry, ("ask", "follow"), False)
            if (match := pattern(text).match(answer))
        ]
        for (ask, first), (say, second) in product(asked, said):
            same = all(
                first[blank].lower() == second[blank].lower()
                for blank in (first.keys() & second.keys()) - {"is", "has", "a", "any"}
            )
            if same:
                found.append((kind, ask, say, {**second, **first} | ({"a_said": second["a"]} if "a" in second else {})))
    return found


def plain(phrase: str) -> str:
    """A noun phrase without article and markup, in lower case."""
    phrase = re.sub(r"<st>|<ed>(?:\[\w+\](?:, )?)*", "", phrase).strip().lower().rstrip(".")
    return re.sub(
        r"^(?:the|an?|another|some other|some|any|this|several)\s+", "", re.sub(r"^(?:an?|some|any)\s+pairs? of\s+", "", phrase)
    )


def one(word: str) -> str:
    """The singular, simply."""
    if word in PLURALS:
        return PLURALS[word]
    if re.search(r"(?:ies)$", word) and len(word) > 5:
        return f"{word[:-3]}y"
    return word[:-1] if word.endswith("s") and not word.endswith(("ss", "us")) else word


def number(text: str) -> int | None:
    """The number a phrase begins with: "two cars", "no corners"."""
    word = text.lower().split()[0]
    return WORDS.get(word, int(word) if word.isdigit() else None)


class Oracle:
    """Judges pairs about one scene by its raw records."""

    def __init__(self, scene) -> None:
        self.scene = scene
        self.objects = {item.tag: item for item in scene.objects}
        self.exact = scene.source == "shapes"
        self.complete = scene.source in ("shapes", "coco")

    # naming ----------------------------------------------------------------------------------------------------------

    def words_of(self, tag: str) -> set[str]:
        """Every word that the annotation uses for a thing, singular and plural."""
        item = self.objects[tag]
        raw = " ".join((item.name, *item.names, *item.attributes)).lower().replace("-", " ").replace(" 's", "'s")
        words = set(re.findall(r"[a-z']+", raw))
        words |= {part for name in (item.name, *item.names) for part in UNSAID.get(name.lower(), "").split()}
        words |= {part for word in words if word in SPELLING for part in SPELLING[word].split()}
        words |= {word for said, name in COCO_WORDS.items() if name == item.name for word in said.split()}
        return words | {one(word) for word in words} | {word[:-2] for word in words if word.endswith("es")}

    def is_called(self, phrase: str, tag: str) -> bool:
        words = re.findall(r"[a-z']+", plain(phrase).replace("-", " "))
        words = [word for word in words if word not in ("leftmost", "rightmost")]
        return bool(words) and all({word, one(word), word.removesuffix("es")} & self.words_of(tag) for word in words)

    def same_kind(self, tag: str) -> list[str]:
        name = self.objects[tag].name
        return [other for other, item in self.objects.items() if item.name == name and item.boxes]

    def means(self, phrase: str, tag: str) -> bool:
        """Whether a definite phrase fits this thing, and where everything is annotated, nothing else."""
        if phrase.lower() in ("it", "he", "she", "they", "him", "her", "them", "this person"):
            return True
        name = plain(phrase)
        if not self.is_called(name, tag):
            return False
        if not self.complete:
            return True
        others = [other for other in self.objects if other != tag and self.objects[other].boxes and self.is_called(name, other)]
        side = re.match(r"(leftmost|rightmost) ", name)
        if side:
            x = self.centre(tag)[0]
            return all((x < self.centre(other)[0]) == (side[1] == "leftmost") for other in others)
        return not others

    def pick(self, phrase: str, tags: list[str]) -> str:
        """The evidence that a phrase is about; raises if there is none."""
        found = [tag for tag in tags if self.means(phrase, tag)]
        if not found:
            raise AssertionError(
                f"{phrase!r} names none of {[(tag, self.objects[tag].name, self.objects[tag].attributes) for tag in tags if tag in self.objects]}"
            )
        return found[0]

    # geometry --------------------------------------------------------------------------------------------------------

    def hull(self, tag: str) -> tuple[float, float, float, float]:
        boxes = self.objects[tag].boxes
        return min(b.x1 for b in boxes), min(b.y1 for b in boxes), max(b.x2 for b in boxes), max(b.y2 for b in boxes)

    def centre(self, tag: str) -> tuple[float, float]:
        x1, y1, x2, y2 = self.hull(tag)
        return (x1 + x2) / 2, (y1 + y2) / 2

    def size(self, tag: str) -> float:
        x1, y1, x2, y2 = self.hull(tag)
        return (x2 - x1) * (y2 - y1)

    def lies(self, a: str, side: str, b: str) -> bool:
        """Whether `a` is on that side of `b`: wholly so in drawn scenes, by its centre in photos."""
        side = side.lower().removeprefix("to the ").removesuffix(" of").strip()
        first, second = self.hull(a), self.hull(b)
        axis = 0 if side in ("left", "right") else 1
        if side in ("right", "below"):
            first, second = second, first
        elif side not in ("left", "above"):
            raise AssertionError(f"no side: {side!r}")
        if self.exact:
            return first[axis + 2] <= second[axis] + 1e-6
        return first[axis] + first[axis + 2] + 0.1 < second[axis] + second[axis + 2]

    def is_at(self, tag: str, where: str) -> bool:
        """Whether the centre is in the part of the picture that the words name."""
        place = next(key for key, said in table("svit_places").items() if where.lower().rstrip(".,") in said)
        x, y = self.centre(tag)
        if self.exact:
            words = [
                word
                for word, true in (("top", y < 1 / 3), ("bottom", y >= 2 / 3), ("left", x < 1 / 3), ("right", x >= 2 / 3))
                if true
            ]
            return place == (" ".join(words) or "middle")
        checks = {"left": x < 0.45, "right": x > 0.55, "top": y < 0.45, "bottom": y > 0.55}
        if place == "middle":
            return 0.3 < x < 0.7 and 0.3 < y < 0.7
        return all(checks[word] for word in place.split())

    # what there is ---------------------------------------------------------------------------------------------------

    @cached_property
    def said(self) -> set[str]:
        texts = [
            *self.scene.captions,
            *(region.text for region in self.scene.regions),
            *(n for o in self.scene.objects for n in (o.name, *o.names)),
        ]
        words = {word for text in texts for word in re.findall(r"[a-z]+", text.lower())}
        return words | {one(word) for word in words} | {word[:-2] for word in words if word.endswith("es")}

    def absent(self, word: str) -> bool:
        if self.exact:
            return not any(self.is_called(word, tag) for tag in self.objects)
        name = COCO_WORDS.get(word, word)
        return (
            all(item.name != name for item in self.scene.objects) and not {one(last) for last in word.split()[-1:]} <= self.said
        )

    def tally(self, noun: str) -> int:
        """How many there are of a noun, singular or plural."""
        noun = noun.lower()
        single = one(noun)
        if self.exact:
            return len(self.objects) if single == "shape" else sum(self.is_called(single, tag) for tag in self.objects)
        assert self.scene.source == "coco", "only COCO's photos may be counted"
        name = COCO_WORDS.get(single, COCO_WORDS.get(noun, single if any(o.name == single for o in self.scene.objects) else noun))
        found = [item for item in self.scene.objects if item.name == name]
        assert not any("crowd" in item.kind for item in found), f"a crowd of {noun} was counted"
        return len(found)

    def colours(self, tag: str) -> set[str]:
        return self.words_of(tag)

    def linked(self, a: str, verb: str, b: str) -> bool:
        """Whether a relation or a caption says so, in any form of the verb."""
        forms = next(entry["forms"] for entry in table("comvint_relations")["relation"] if entry["verb"] == verb.lower())
        forms = {verb.lower(), *forms}
        for relation in self.scene.relations:
            said = re.sub(r"^(?:is|are|was|were) ", "", relation.predicate.lower().strip())
            if (relation.subject, relation.object) == (a, b) and (
                said in forms or re.sub(r"\b(?:an?|the) ?", "", said).strip() in forms
            ):
                return True
        captions = [*self.scene.captions, *self.scene.meta.get("grounded_captions", ())]
        return self.scene.source in ("coco", "flickr30k") and any(
            form in caption.lower() for form in {*forms, "in", "with"} for caption in captions
        )

    def captioned(self, sentence: str) -> bool:
        """Whether a sentence is a caption, but for blanks and one "is" or "are"."""

        def bare(text: str) -> str:
            return re.sub(r"[^a-z0-9]", "", re.sub(r"\b(?:is|are)\b", "", text.lower()))

        return bare(sentence) in {bare(caption) for caption in self.scene.captions}

    # knowledge -------------------------------------------------------------------------------------------------------

    def known(self, tag: str) -> list[tuple[str, dict]]:
        """Entries of knowledge whose name or synonym the thing is called by."""
        words = self.words_of(tag)
        item = self.objects[tag]
        return [
            (name, entry)
            for name, entry in knowledge()["nouns"].items()
            if any(set(word.split()) <= words or word == item.name for word in (name, *entry.get("synonyms", ())))
        ]

    def holds(self, sentence: str, tags: list[str]) -> bool:
        """Whether a sentence is knowledge about one of the things."""
        text = sentence.lower().rstrip(".")
        for tag in tags:
            for _, entry in self.known(tag):
                fields = [entry.get(key, "").lower().rstrip(".") for key in ("use", "care", "danger", "fact", "made_of", "place")]
                many = [re.sub(r"\bit\b", "them", field) for field in fields]
                if any(field and field in text for field in (*fields, *many)):
                    return True
                if any(trait in text for trait in map(TRAIT_WORDS.get, entry.get("traits", ())) if trait) or (
                    "can be drunk" in text and entry["kind"] == "drink"
                ):
                    return True
        return False

    def rule(self, field: str, text: str, tags: list[str]) -> bool:
        """Whether a rule of knowledge concludes this and the evidence fulfils it."""
        for rule in knowledge()["rules"]:
            if rule.get(field, "").lower().rstrip(".") != text.lower().rstrip("."):
                continue
            names = [{name for name, _ in self.known(tag)} | ({"person"} if self.person(tag) else set()) for tag in tags]
            if len(tags) == len(rule["all"]) and all(any(set(group) & name for name in names) for group in rule["all"]):
                return True
        return False

    def person(self, tag: str) -> bool:
        people = [
            "person",
            "man",
            "woman",
            "boy",
            "girl",
            "child",
            "kid",
            "people",
            "men",
            "women",
            "guy",
            "lady",
            "worker",
            "player",
            "somebody",
        ]
        return (
            bool(self.words_of(tag) & set(people))
            or self.objects[tag].kind.startswith("people")
            or any(entry["kind"] in ("person", "child", "athlete", "performer") for _, entry in self.known(tag))
        )

    def seen(self, sentence: str, tags: list[str]) -> None:
        """Check "There is a bench on the left." and "One can see a dog and a cat."."""
        text = sentence.strip().rstrip(".")
        match = re.match(r"(?:there (?:is|are)|one can see) (?P<what>.+)$", text, re.IGNORECASE)
        if not match:
            match = re.match(r"(?P<who>.+?) can be seen with (?P<what>.+)$", text, re.IGNORECASE)
            assert match, f"not a sentence about the picture: {sentence!r}"
            self.pick(match["who"], tags)
        what = match["what"]
        wordings = sorted((said for lists in table("svit_places").values() for said in lists), key=len, reverse=True)
        where = next((said for said in wordings if what.lower().endswith(f" {said}")), None)
        if where:
            what = what[: -len(where) - 1]
        for phrase in re.split(r", | and ", what):
            tag = self.pick_any(phrase, tags)
            assert where is None or self.is_at(tag, where), f"{phrase} is not {where}"

    def pick_any(self, phrase: str, tags: list[str]) -> str:
        """The evidence that an indefinite phrase may be about."""
        found = [tag for tag in tags if self.is_called(phrase, tag)]
        assert found, f"{phrase!r} is none of {tags}"
        return found[0]


TRAIT_WORDS = {"seat": "made for sitting", "edible": "can be eaten", "container": "made to hold things", "readable": "there to be read",
               "electric": "electricity to work", "fragile": "easily", "sharp": "sharp", "flies": "able to fly",
               "floats": "stay on top of the water"}  # fmt: skip


# ---- one check a kind: `b` are the blanks, `tags` the evidence; each raises `AssertionError` where something is wrong ----


def existence(o: Oracle, b: dict, tags: list[str], ask: str, say: str) -> None:
    if say.startswith("yes"):
        tag = o.pick_any(b["a"], tags)
        assert "where" not in b or o.is_at(tag, b["where"])
        return
    word = b.get("word") or plain(b["a"])
    assert o.absent(plain(word)), f"{word} is there"
    if "other" in b:
        o.pick_any(b["other"], tags)


def count(o: Oracle, b: dict, tags: list[str], ask: str, say: str) -> None:
    assert o.tally(b["things"]) == number(b["number"]), f"{o.tally(b['things'])} {b['things']}"
    assert len(tags) == number(b["number"])


def colour(o: Oracle, b: dict, tags: list[str], ask: str, say: str) -> None:
    tag = o.pick(b.get("the") or b.get("it") or "it", tags)
    words = o.words_of(tag)
    assert set(b.get("true", b.get("colour", "")).lower().split()) <= words or say == "yes", f"{b} of {words}"
    if say.startswith("yes"):
        assert set(b["colour"].lower().split()) <= words
    elif say.startswith("no"):
        assert b["colour"].lower() not in words


def attribute(o: Oracle, b: dict, tags: list[str], ask: str, say: str) -> None:
    tag = o.pick(b.get("the") or "it", tags)
    assert b["attribute"].lower().removeprefix("made of ") in " ".join(o.objects[tag].attributes).lower()


def size(o: Oracle, b: dict, tags: list[str], ask: str, say: str) -> None:
    assert b["size"].lower() in o.objects[o.pick(b.get("the") or "it", tags)].attributes


def position(o: Oracle, b: dict, tags: list[str], ask: str, say: str) -> None:
    assert o.is_at(o.pick(b.get("the") or "it", tags), b["where"])


def grounding(o: Oracle, b: dict, tags: list[str], ask: str, say: str) -> None:
    tag = o.pick(b["name"], tags)
    assert re.findall(r"\[(\w+)\]", b["the"]) == [tag], "the answer points elsewhere"
    assert plain(b["name"]) == plain(b["the"])
    assert "where" not in b or o.is_at(tag, b["where"])


def group(o: Oracle, b: dict, tags: list[str], ask: str, say: str) -> None:
    noun = b.get("things") or b["thing"]
    pointed = re.findall(r"\[(\w+)\]", b["refs"])
    assert o.tally(noun) == len(pointed) == len(set(pointed)) and set(pointed) == set(tags)
    assert number(b.get("number", "zero")) in (0, len(pointed))
    assert all(o.is_called(b["refs"], tag) for tag in pointed)


def side(o: Oracle, b: dict, tags: list[str], ask: str, say: str) -> None:
    firsts = [tag for tag in tags if o.means(b["one"], tag)] if "one" in b else tags[:1]
    seconds = [tag for tag in tags if o.means(b["two"], tag)] if "two" in b else tags[1:]
    told = b.get("true", b["side"])
    assert any(
        first != second
        and o.lies(first, told, second)
        and (say != "yes" or o.lies(first, b["side"], second))
        and (say != "no" or not o.lies(first, b["side"], second))
        for first, second in product(firsts, seconds)
    ), f"{b} of {firsts}, {seconds}"


def beside(o: Oracle, b: dict, tags: list[str], ask: str, say: str) -> None:
    second = o.pick(b["the"], tags[1:])
    assert o.lies(o.pick_any(b["a"], tags[:1]), b["side"], second)


def area(o: Oracle, b: dict, tags: list[str], ask: str, say: str) -> None:
    large = o.pick(b["large"], tags)
    small = o.pick(b["small"], [tag for tag in tags if tag != large])
    assert o.size(large) > 1.5 * o.size(small)


def linked(o: Oracle, b: dict, tags: list[str], ask: str, say: str) -> None:
    subject = o.pick(b["the"], tags[:1]) if "the" in b else tags[0]
    target = o.pick_any(b["object"], tags[1:])
    assert o.linked(subject, b["verb"], target), f"{b} is nowhere said"


def caption(o: Oracle, b: dict, tags: list[str], ask: str, say: str) -> None:
    assert o.captioned(b["caption"])


def contents(o: Oracle, b: dict, tags: list[str], ask: str, say: str) -> None:
    phrases = [plain(phrase) for phrase in re.split(r", | and ", b["list"])]
    assert len(phrases) == len(o.objects) and sorted(tags) == sorted(o.objects)
    assert all(o.is_called(phrase, tag) for phrase, tag in zip(phrases, tags, strict=True))


def text(o: Oracle, b: dict, tags: list[str], ask: str, say: str) -> None:
    assert b["text"] in {known.text for known in o.scene.texts}


def place_rule(o: Oracle, b: dict, tags: list[str], ask: str, say: str) -> None:
    assert o.rule("concludes", b["place"], tags)
    for clue in re.split(r", | and ", b["clues"]):
        o.pick_any(clue, tags)
    assert "because" not in b or o.rule("because", b["because"], tags)


def acting(o: Oracle, b: dict, tags: list[str], ask: str, say: str) -> None:
    for field, blank in (
        ("concludes", "doing"),
        ("because", "because"),
        ("next", "next"),
        ("skill", "skill"),
        ("concludes", "weather"),
    ):
        assert blank not in b or o.rule(field, b[blank], tags), f"{blank}: {b[blank]}"
    if "the" in b:
        assert o.person(o.pick(b["the"], tags[:1]))
    for blank in ("seen", "seen_clause"):
        if blank in b:
            o.seen(b[blank], tags)


def knowing(o: Oracle, b: dict, tags: list[str], ask: str, say: str) -> None:
    told = " ".join(b[key] for key in ("use", "fact", "place", "material", "care") if key in b)
    assert told and o.holds(told, tags[:1]), f"not known: {b}"


def telling(o: Oracle, b: dict, tags: list[str], ask: str, say: str) -> None:
    """Answers that say what is seen, and something known of it."""
    if "seen" in b:
        o.seen(b["seen"], tags)
    for key in ("the", "one", "two", "a"):
        if key in b:
            o.pick_any(b[key], tags)
    known = [b[key] for key in b if key.startswith(("known", "clause", "danger", "care", "use"))]
    assert known and all(o.holds(told, tags) for told in known), f"not known: {known}"


def remove(o: Oracle, b: dict, tags: list[str], ask: str, say: str) -> None:
    kind = b.get("kind") or plain(b["a_kind"])
    assert any(entry["kind"] == kind.lower() for _, entry in o.known(tags[0]))
    telling(o, {key: value for key, value in b.items() if key not in ("a_kind", "kind") and key != "a"}, tags, ask, say)


def why(o: Oracle, b: dict, tags: list[str], ask: str, say: str) -> None:
    subject = o.pick_any(b["the"], tags[:1])
    assert o.linked(subject, b["verb"], tags[1])
    assert "object" not in b or o.pick_any(b["object"], tags[1:])
    known = [b[key] for key in ("known", "clause", "use") if key in b]
    assert known and all(o.holds(told, tags[1:]) for told in known)


def perspective(o: Oracle, b: dict, tags: list[str], ask: str, say: str) -> None:
    small = o.pick(b["small"], tags[:1])
    large = o.pick(b["large"], tags[1:]) if "large" in b else tags[1]
    assert o.size(small) > 1.5 * o.size(large), "the smaller kind does not look larger"
    usual = {tag: max(entry.get("size", 0) for _, entry in o.known(tag)) for tag in (small, large)}
    assert usual[large] >= 3 * usual[small] > 0


def indoors(o: Oracle, b: dict, tags: list[str], ask: str, say: str) -> None:
    side = b["inside"].lower().rstrip("s")
    assert side in ("indoor", "outdoor") and len(tags) >= 2
    assert all(any(side in entry.get("traits", ()) for _, entry in o.known(tag)) for tag in tags)
    for clue in re.split(r", | and ", b["clues"]):
        o.pick_any(clue, tags)


def kinds(o: Oracle, b: dict, tags: list[str], ask: str, say: str) -> None:
    names = [plain(name) for name in re.split(r", | and ", b["list"])]
    found = {
        name
        for item in o.scene.objects
        for name, entry in o.known(item.tag)
        if item.name == name and item.boxes and entry["kind"] == b.get("kind", entry["kind"])
    }
    assert len(set(names)) == len(names) and set(names) <= found
    assert number(b.get("number", "zero")) in (0, len(names))


def legs(o: Oracle, b: dict, tags: list[str], ask: str, say: str) -> None:
    noun = b.get("animals") or b["animal"]
    each = {entry[key] for _, entry in o.known(tags[0]) for key in ("legs", "wheels") if key in entry}
    assert number(b["each"]) in each
    assert number(b["total"]) == number(b["each"]) * o.tally(noun) and number(b["number"]) == o.tally(noun)


def enough(o: Oracle, b: dict, tags: list[str], ask: str, say: str) -> None:
    people, things = o.tally("person"), o.tally(b.get("thing") or one(b["things"]))
    assert number(b["people"]) == people and number(b["number"]) == things
    suffices = things >= people
    assert (b["answer"].lower() == "yes") == (suffices if ask == "ask" else not suffices)
    assert ("not enough" in b["conclusion"]) is not suffices


def our_words(raw: str) -> str:
    """A region's text without its end, and in words that people say."""
    return " ".join(UNSAID.get(word, word) for word in raw.lower().rstrip(". \n").split())


def region(o: Oracle, b: dict, tags: list[str], ask: str, say: str) -> None:
    pointed = re.findall(r"\[(r\d+)\]", b["text"])
    assert pointed == tags == re.findall(r"\[(r\d+)\]", b["area"])
    raw = next(region.text for region in o.scene.regions if region.tag == tags[0])
    assert our_words(raw) == re.sub(r"<st>|<ed>\[\w+\]", "", b["text"]).lower()


def identity(o: Oracle, b: dict, tags: list[str], ask: str, say: str) -> None:
    assert re.findall(r"\[(\w+)\]", b["area"]) == re.findall(r"\[(\w+)\]", b["a"]) == tags
    assert o.is_called(b["a"], tags[0])


def corners(o: Oracle, b: dict, tags: list[str], ask: str, say: str) -> None:
    sides = {"circle": 0, "triangle": 3, "square": 4, "star": 10}
    assert number(b["total"]) == sum(sides[item.name] for item in o.objects.values())
    for step in re.split(r", | and ", b["steps"]):
        words = step.split()
        assert number(words[-2]) == number(words[0]) * sides[one(words[1])] and number(words[0]) == o.tally(words[1])


def removed(o: Oracle, b: dict, tags: list[str], ask: str, say: str) -> None:
    left = [item for item in o.objects.values() if b["colour"] not in item.attributes]
    assert number(b["left"]) == len(left)
    assert number(b.get("all", "zero")) in (0, len(o.objects)) and number(b.get("left_word", b["left"])) == len(left)
    gone = b.get("gone") or b.get("gone_word")
    assert gone is None or number(gone) == len(o.objects) - len(left)


def added(o: Oracle, b: dict, tags: list[str], ask: str, say: str) -> None:
    now = o.tally(b["things"])
    assert number(b["total"]) == now + number(b["more"]) and number(b.get("now") or b["number"]) == now


def mixture(o: Oracle, b: dict, tags: list[str], ask: str, say: str) -> None:
    first, second = o.pick(b["one"], tags), o.pick(b["two"], tags[1:])
    real = {frozenset(("red", "yellow")): "orange", frozenset(("blue", "yellow")): "green", frozenset(("red", "blue")): "purple"}
    assert real[frozenset((o.objects[first].attributes[1], o.objects[second].attributes[1]))] == b["result"].lower()


def told_of_shape(o: Oracle, b: dict, tags: list[str], ask: str, say: str) -> None:
    """like, hint, rolls and warm: the thing is the one meant, and what is told of its shape or colour holds."""
    item = o.objects[tags[0]]
    if "where" in b:
        assert o.is_at(tags[0], b["where"]) and sum(o.is_at(tag, b["where"]) for tag in o.objects) == 1
    if "the" in b:
        words = plain(b["the"]).removesuffix(" shape")
        there = words.removeprefix("thing ")
        assert [tag for tag in o.objects if (o.is_called(words, tag) if there == words else o.is_at(tag, there))] == tags
    assert b.get("shape", item.name).lower() == item.name and b.get("colour", item.attributes[1]).lower() == item.attributes[1]
    assert b.get("like", "").lower() in ("", knowledge()["shapes"][item.name]["like"])
    assert b.get("hint", "").lower() in ("", knowledge()["colours"][item.attributes[1]]["hint"])
    assert b.get("warmth", "").lower() in ("", "warm" if item.attributes[1] in ("red", "yellow", "orange") else "cool")
    if say.startswith(("yes", "no")):
        rolls = item.name == "circle"
        assert say.startswith("yes") == (rolls if ask == "ask" else not rolls)


def odd(o: Oracle, b: dict, tags: list[str], ask: str, say: str) -> None:
    tag = o.pick(b["the"], tags)
    assert {one(b["things"])} == {item.name for other, item in o.objects.items() if other != tag} and o.objects[tag].name != one(
        b["things"]
    )


def path(o: Oracle, b: dict, tags: list[str], ask: str, say: str) -> None:
    start, end = o.pick(b["one"], tags), o.pick(b["two"], tags[1:])
    side = {"left": "left", "right": "right", "up": "above", "down": "below"}[b["direction"].lower()]
    assert o.lies(end, side, start)
    assert "side" not in b or o.lies(end, b["side"], start)


def more(o: Oracle, b: dict, tags: list[str], ask: str, say: str) -> None:
    first, second = o.tally(b["one"]), o.tally(b["two"])
    assert number(b["first"]) == first and number(b["second"]) == second
    assert (first == second) is (say == "same")
    assert say == "same" or one(b["winner"].lower()) == one((b["one"] if first > second else b["two"]).lower())


def listing(o: Oracle, b: dict, tags: list[str], ask: str, say: str) -> None:
    """The things of a description: numbers that are counted, "a" or "some" for what is there at all."""
    for phrase in re.split(r", | and ", b["list"]):
        words = phrase.lower().split()
        if words[0] in WORDS and words[0] != "one":
            noun = " ".join(words[3:] if words[1:3] == ["pairs", "of"] else words[1:])
            if o.complete:
                assert o.tally(noun) == number(phrase), phrase
                continue
            phrase = noun
        o.pick_any(phrase, tags)


def total(o: Oracle, b: dict, tags: list[str], ask: str, say: str) -> None:
    assert number(b["number"]) == len(o.objects) and b.get("ground", o.scene.meta["background"]) == o.scene.meta["background"]


def large(o: Oracle, b: dict, tags: list[str], ask: str, say: str) -> None:
    assert any(o.size(tag) > 0.4 for tag in tags if o.is_called(b["the"], tag))


def item(o: Oracle, b: dict, tags: list[str], ask: str, say: str) -> None:
    found = [tag for tag in tags if o.is_called(b["a"], tag) and o.is_at(tag, b["where"])]
    assert found, f"no {b['a']} {b['where']}"


def place(o: Oracle, b: dict, tags: list[str], ask: str, say: str) -> None:
    assert any(o.is_called(b["the"], tag) and o.is_at(tag, b["where"]) for tag in tags)


def described_region(o: Oracle, b: dict, tags: list[str], ask: str, say: str) -> None:
    assert b["text"].lower() in {our_words(region.text) for region in o.scene.regions}


def described_link(o: Oracle, b: dict, tags: list[str], ask: str, say: str) -> None:
    pairs = product((tag for tag in tags if o.is_called(b["the"], tag)), (tag for tag in tags if o.is_called(b["object"], tag)))
    assert any(one != two and o.linked(one, b["verb"], two) for one, two in pairs)


DESCRIBED = {"count": listing, "total": total, "item": item, "place": place, "side": side, "attribute": None, "attribute_other": None,
             "link": described_link, "large": large, "text": text, "region": described_region}  # fmt: skip


def looks(o: Oracle, b: dict, tags: list[str], ask: str, say: str) -> None:
    words = b["attribute"].lower().removeprefix("made of ").split()
    assert any(o.is_called(b["the"], tag) and set(words) <= o.words_of(tag) for tag in tags)


DESCRIBED |= {"attribute": looks, "attribute_other": looks}


def judge_sentence(scene, sentence: str, tags: list[str]) -> str | None:
    """`None` if a sentence of a description is a caption or one of its templates, and true."""
    oracle = Oracle(scene)
    if oracle.captioned(sentence):
        return None
    problems = []
    for kind, entry in table("svit_description").items():
        for form, template in templates(entry, (), False):
            match = pattern(template).match(sentence)
            if match:
                try:
                    DESCRIBED[kind](oracle, match.groupdict(), tags, "ask", form)
                    return None
                except (AssertionError, KeyError, IndexError, StopIteration) as error:
                    problems.append(f"{kind}: {error}")
    for joined in re.finditer(r", (?:and|while) ", sentence):
        halves = f"{sentence[: joined.start()]}.", sentence[joined.end() :]
        if not any(judge_sentence(scene, half, tags) for half in halves):
            return None
    return f"{sentence} | {problems or 'no template reads it'}"


def judge_description(scene, description: str, tags: list[str]) -> list[str]:
    """What is wrong with each sentence that is wrong."""
    tags = [tag for tag in tags if tag.startswith("o")]
    return [
        problem for sentence in re.split(r"(?<=[.]) (?=[A-Z])", description) if (problem := judge_sentence(scene, sentence, tags))
    ]


CHECKS = {
    "svit_conversation": {
        "existence": existence, "count": count, "colour": colour, "colour_check": colour, "attribute": attribute, "material_seen": attribute,
        "size": size, "position": position, "side": side, "side_check": side, "area": area, "linked_object": linked, "linked_place": linked,
        "activity": caption, "activity_more": caption, "contents": contents, "text": text, "setting": place_rule, "next": acting,
        "use": knowing, "fact": knowing, "place": knowing, "material": knowing, "care": knowing,
    },
    "svit_referring": {
        "grounding": grounding, "group": group, "identity": identity, "colour": colour, "colour_check": colour, "side": side,
        "side_check": side, "beside": beside, "area": area, "linked": linked, "link_check": linked, "use": knowing, "care": knowing,
        "region": region,
    },
    "svit_reasoning": {
        "purpose": telling, "wish": telling, "remove": remove, "setting": place_rule, "indoors": indoors, "activity": acting,
        "pastime": acting, "next": acting, "skill": acting, "weather": acting, "danger": telling, "advice": telling,
        "perspective": perspective, "pair": telling, "kind": kinds, "legs": legs, "enough": enough, "why": why, "hidden": why,
        "material": why, "corners": corners, "removed": removed, "added": added, "mixture": mixture, "like": told_of_shape,
        "hint": told_of_shape, "rolls": told_of_shape, "warm": told_of_shape, "odd": odd, "path": path, "more": more,
    },
}  # fmt: skip


def judge(scene, name: str, pair) -> str | None:
    """`None` if some reading of the pair is true of the scene, else what is wrong with each."""
    found = readings(name, pair.question, pair.answer)
    problems = []
    for kind, ask, say, blanks in found:
        try:
            CHECKS[name][kind](Oracle(scene), blanks, list(pair.evidence), ask, say)
            return None
        except (AssertionError, KeyError, IndexError, TypeError, StopIteration, AttributeError) as error:
            problems.append(f"{kind}: {type(error).__name__} {error}")
    return f"{pair.question} | {pair.answer} | {pair.evidence} | {'; '.join(problems) or 'no template reads it'}"
