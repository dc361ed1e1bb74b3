"""An oracle for ComVint rows: reads a row's text by the template table and derives its answer from the raw scene.

It shares the tables of wording with the annotator and none of its code: names, geometry, counting and captions are read
here once more, plainly. What it cannot read it says so (`Unread`); what it reads it must agree with.
"""

import re
import tomllib
from itertools import pairwise
from pathlib import Path

from comvint_hf import annotator
from comvint_hf.generation.recipes.comvint.stages import LETTER_TEMPLATES, YES_NO_TEMPLATES

TABLES = Path(annotator.__file__).parent
FORMS = tomllib.loads((TABLES / "wording/questions.toml").read_text())["form"]
KINDS = tomllib.loads((TABLES / "wording/kinds.toml").read_text())
RELATIONS = tomllib.loads((TABLES / "wording/relations.toml").read_text())["relation"]
SHORT = tomllib.loads((TABLES / "wording/short_knowledge.toml").read_text())
KNOWN = tomllib.loads((TABLES / "knowledge.toml").read_text())
NUMBERS = [
    "none",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
    "thirteen",
    "fourteen",
    "fifteen",
    "sixteen",
]
COLOURS = "red|green|blue|yellow|purple|orange"
SHAPES = ("circle", "square", "triangle", "star")
SIDE = {"to the left of": (0, 1), "to the right of": (0, -1), "above": (1, 1), "below": (1, -1)}
BROAD = sorted({kind["is"] for kind in KINDS.values() if "is" in kind}, key=len, reverse=True)
DETERMINER = r"^(?:(?:an?|the|his|her|their|its|some|several|one|two|three|four|five|another|other|many|this|that|these) )+"
SHADES = [
    "red",
    "green",
    "blue",
    "yellow",
    "purple",
    "orange",
    "black",
    "white",
    "brown",
    "pink",
    "grey",
    "gray",
    "silver",
    "gold",
    "golden",
    "beige",
    "tan",
    "khaki",
    "navy",
    "maroon",
    "blond",
    "blonde",
]
SPELLING = {"gray": "grey", "golden": "gold", "blonde": "blond", "navy": "dark blue", "maroon": "dark red"}
FIELDS = ("use", "made_of", *SHORT)
PLURALS = {
    "mice": "mouse",
    "people": "person",
    "sheep": "sheep",
    "knives": "knife",
    "buses": "bus",
    "couches": "couch",
    "benches": "bench",
}


VERBS = "|".join(sorted((re.escape(entry["verb"]) for entry in RELATIONS), key=len, reverse=True))
TAIL = re.compile(
    r"(?P<noun>(?:(?!\b(?:that|who|to|above|below|used)\b).)+?) "
    rf"(?:(?:(?:that|who) (?:is|are) )?(?:(?P<side>to the left of|to the right of|above|below) (?P<anchor>the .+)|used to (?P<use>.+)"
    rf"|(?P<verb>{VERBS}) (?P<object>the .+))|that (?P<subject>the .+) (?:is|are) (?P<done>{VERBS}))$"
)


LIKE = {
    "object with the colour of ": lambda thing: KNOWN["colours"][thing.colour]["hint"],
    "object that is shaped like ": lambda thing: KNOWN["shapes"][thing.word]["like"],
}
"""How drawn shapes are told by what they are like, and what each one is like."""
NEAR = 60
"""Characters within which a caption names what its verb is about."""


def find_all(text, part):
    return [match.end() for match in re.finditer(re.escape(part), text)]


class Unread(Exception):
    """The oracle cannot read this text."""


def one(noun):
    """The singular of a counted noun."""
    last = noun.split(" ")[-1]
    if last in PLURALS:
        return noun[: len(noun) - len(last)] + PLURALS[last]
    if last.endswith(("sses", "ches", "xes", "shes")):
        return noun[:-2]
    return noun[:-1] if last.endswith("s") and not last.endswith("ss") else noun


def parents(kind):
    """A kind and its broader ones."""
    return {kind} | (parents(KINDS[kind]["is"]) if KINDS.get(kind, {}).get("is") else set())


def meant(word):
    """The kinds that a word may name."""
    return {
        kind
        for kind, entry in KINDS.items()
        if word in (kind, entry.get("word"), *entry.get("words", "").split()) or one(word) == kind
    }


class Thing:
    """An annotated object, as the oracle sees it."""

    def __init__(self, item, source):
        self.tag, self.boxes, self.crowd = item.tag, item.boxes, "crowd" in item.kind
        self.word = item.name.lower()
        self.names = {item.name.lower()} | {name.lower() for name in item.names}
        self.shades: set[str] = set()
        if source == "shapes":
            self.size, self.colour = item.attributes
            self.names |= {"object", "shape"}
        if source == "coco":
            self.word = KINDS.get(item.name, {}).get("word", item.name)
            self.names = parents(item.name) | {self.word}
        if source == "flickr30k":
            bare = {re.sub(DETERMINER, "", name.replace(" 's", "'s").replace("`", "'")) for name in self.names}
            self.shades = {SPELLING.get(word, word) for name in bare for word in name.split(" ") if word in SHADES}
            self.names = bare | {" ".join(word for word in name.split(" ") if word not in (*SHADES, "and")) for name in bare}
            tails = {" ".join(name.split(" ")[-size:]) for name in self.names for size in (1, 2)}
            self.names |= tails | {parent for tail in tails for kind in meant(tail) for parent in parents(kind)}
        words = {word for name in self.names for word in (name, *KINDS.get(name, {}).get("words", "").split())}
        self.with_article = {f"[{item.tag}]"} if source == "flickr30k" else words
        boxes = item.boxes
        self.box = (
            (min(b.x1 for b in boxes), min(b.y1 for b in boxes), max(b.x2 for b in boxes), max(b.y2 for b in boxes))
            if boxes
            else None
        )

    @property
    def area(self):
        return (self.box[2] - self.box[0]) * (self.box[3] - self.box[1])

    @property
    def centre(self):
        return (self.box[0] + self.box[2]) / 2, (self.box[1] + self.box[3]) / 2


class Oracle:
    """What the raw scene says."""

    def __init__(self, scene):
        self.scene, self.drawn = scene, scene.source == "shapes"
        self.things = [thing for item in scene.objects if item.boxes and not (thing := Thing(item, scene.source)).crowd]

    # Reading references ----------------------------------------------------------------------------------------------

    def group(self, text):
        """All things that "red stars to the left of the circle" or "the dog above the bench" may mean."""
        text = text.removeprefix("the ").strip()
        text = re.sub(r" (?:in the picture|shown here)$", "", text)
        for looks, told in LIKE.items():
            if text.startswith(looks):
                return [thing for thing in self.things if told(thing) == text.removeprefix(looks)]
        match = TAIL.match(text)
        if match and match["side"]:
            anchor = self.the(match["anchor"])
            return [
                thing for thing in self.group(match["noun"]) if thing is not anchor and self.beside(thing, anchor, match["side"])
            ]
        if match and match["use"]:
            return [thing for thing in self.group(match["noun"]) if match["use"] in self.uses(thing)]
        if match and match["verb"]:
            anchor = self.the(match["object"])
            return [thing for thing in self.group(match["noun"]) if self.said(thing, match["verb"], anchor)]
        if match:
            subject = self.the(match["subject"])
            return [thing for thing in self.group(match["noun"]) if self.said(subject, match["done"], thing)]
        if text == "thing":
            return self.things
        outer = re.match(r"(leftmost|rightmost) (.+)", text)
        if outer:
            found = sorted(self.group(outer[2]), key=lambda thing: thing.centre[0])
            return found[:1] if outer[1] == "leftmost" else found[-1:]
        if self.drawn:
            words = text.split(" ")
            noun = words[-1] if words[-1] in (*SHAPES, "object", "shape") else one(words[-1])
            if noun not in (*SHAPES, "object", "shape"):
                raise Unread(text)
            return [t for t in self.things if noun in t.names and all(word in (t.size, t.colour) for word in words[:-1])]
        for noun in (text, one(text)):
            if found := [thing for thing in self.things if noun in thing.names]:
                return found
        return []

    def uses(self, thing):
        return {
            entry.get("use")
            for noun, entry in KNOWN["nouns"].items()
            if not thing.names.isdisjoint({noun, *entry.get("synonyms", ())})
        }

    def said(self, subject, verb, target):
        """Whether the corpus says so: by a relation, or a caption that names one, then the verb, then the other."""
        forms = next(set(entry["forms"]) | {verb} for entry in RELATIONS if entry["verb"] == verb)
        if any(
            r.subject == subject.tag and r.object == target.tag and r.predicate.removeprefix("is ") in forms
            for r in self.scene.relations
        ):
            return True
        forms |= {"in", "with", "has", "have"} if verb == "wearing" else set()
        for caption in self.scene.meta.get("grounded_captions", self.scene.captions):
            text = caption.lower()
            after = [text[place:] for name in subject.with_article for place in find_all(text, name)]
            for rest in after:
                for form in forms:
                    found = re.search(rf"\b{re.escape(form)}\b", rest)
                    if found and any(name in rest[found.end() : found.end() + NEAR] for name in target.with_article):
                        return True
        return False

    def the(self, text):
        """The one thing a definite reference means."""
        found = self.group(text)
        assert len(found) == 1, f"{text!r} means {len(found)} things in {self.scene.id}"
        return found[0]

    def beside(self, a, b, side):
        """Whether most people would say so: the centre lies there, and in photos not by a hair."""
        axis, sign = SIDE[side]
        apart = sign * (b.centre[axis] - a.centre[axis])
        touching = sign * (b.box[axis + (0 if sign > 0 else 2)] - a.box[axis + (2 if sign > 0 else 0)])
        return touching >= -1e-9 if self.drawn else apart > 0.05

    def level(self, a, b, side):
        """Whether two things share most of the shorter one's extent along a side's axis, so that neither is on that side."""
        low, high = SIDE[side][0], SIDE[side][0] + 2
        shared = min(a.box[high], b.box[high]) - max(a.box[low], b.box[low])
        return shared > 0.6 * min(a.box[high] - a.box[low], b.box[high] - b.box[low])

    # Answers ----------------------------------------------------------------------------------------------------------

    def solve(self, head, slots):
        """The answer in plain words."""
        if head in ("across", "vertical", "relative"):
            a, b = self.the(slots["a"]), self.the(slots["b"])
            sides = (
                ("to the left of", "to the right of")
                if head == "across"
                else ("above", "below")
                if head == "vertical"
                else tuple(SIDE)
            )
            if head == "relative":
                return {side for side in sides if self.beside(a, b, side) and not self.level(a, b, side)}
            return {side for side in sides if self.beside(a, b, side)}
        if head == "colour" and not self.drawn:
            (shade,) = self.the(slots["a"]).shades
            return shade
        if head in ("colour", "size", "shape") and self.drawn:
            thing = self.the(slots["a"])
            return {"colour": thing.colour, "size": thing.size, "shape": next(name for name in SHAPES if name in thing.names)}[
                head
            ]
        if head in ("count", "total", "difference", "more", "all_corners", "all_legs", "all_wheels"):
            return self.numbers(head, slots)
        if head in ("further", "nearer", "bigger", "order"):
            return self.compared(head, slots)
        if head == "exists":
            return bool(self.group(re.sub(r"^(?:a|an|another|some) ", "", slots["some"])))
        if head == "name":
            found = self.group(f"{slots['kind']} {slots['tail']}")
            assert len(found) == 1, (slots, self.scene.id)
            return found[0].names
        if head in ("mixed", "like", "twin", "corners"):
            return self.lore(head, self.the(slots["a"]))
        if head in FIELDS:
            return self.field(head, self.the(slots["a"]))
        if head == "written":
            return self.scene.texts[0].text
        if head == "serves":
            return any(slots["use"] in self.uses(thing) for thing in self.things)
        if head == "tool":
            return set().union(*(thing.names for thing in self.things if slots["use"] in self.uses(thing)))
        if head in ("what", "who"):
            known = self.the(slots["a"])
            pairs = ((known, thing) if head == "what" else (thing, known) for thing in self.things)
            return set().union(*(b.names if head == "what" else a.names for a, b in pairs if self.said(a, slots["verb"], b)))
        raise Unread(head)

    def numbers(self, head, slots):
        first = len(self.group(slots["many"]))
        if head in ("all_corners", "all_legs", "all_wheels"):
            noun = one(slots["many"].split(" ")[-1] if self.drawn else re.split(r" (?:to the|above|below)", slots["many"])[0])
            each = {"triangle": 3, "square": 4}.get(noun) if head == "all_corners" else KNOWN["nouns"][noun][head[4:]]
            return first * each
        if head == "count":
            return first
        second = len(self.group(slots["many2"]))
        return {"total": first + second, "difference": first - second, "more": (first, second)}[head]

    def compared(self, head, slots):
        named = self.listed(slots.get("alternatives") or slots["list"])
        things = [self.the(name) for name in named]
        if head == "order":
            ranked = sorted(zip(things, named, strict=True), key=lambda pair: pair[0].centre[0])
            assert all(self.beside(a[0], b[0], "to the left of") for a, b in pairwise(ranked))
            return [name for _, name in ranked]
        key = {
            "further": lambda thing: thing.centre[0] * (1 if slots.get("side") == "left" else -1),
            "bigger": lambda thing: -thing.area,
            "nearer": lambda thing: self.distance(thing, self.the(slots["a"])) if head == "nearer" else 0,
        }[head]
        return named[min(range(len(things)), key=lambda place: key(things[place]))]

    def distance(self, a, b):
        (ax, ay), (bx, by) = a.centre, b.centre
        return ((ax - bx) * self.scene.width) ** 2 + ((ay - by) * self.scene.height) ** 2

    def listed(self, text):
        """The items of "the a, the b or the c"."""
        items = re.split(r", | or (?=the )| and (?=the )", text)
        return [item.strip()[:1].lower() + item.strip()[1:] for item in items if item.strip()]

    def lore(self, head, thing):
        if head == "like" and not self.drawn:
            (shade,) = thing.shades
            return KNOWN["colours"][shade]["hint"]
        shape = next(name for name in SHAPES if name in thing.names)
        if head == "mixed":
            return next(" and ".join(sorted(entry["of"])) for entry in KNOWN["mixtures"] if entry["gives"] == thing.colour)
        return {
            "like": KNOWN["colours"][thing.colour]["hint"],
            "twin": KNOWN["shapes"][shape]["like"],
            "corners": KNOWN["shapes"][shape]["corners"],
        }[head]

    def field(self, field, thing):
        """Every value that one of the thing's names has."""
        if field in SHORT:
            found = {SHORT[field][name] for name in thing.names if name in SHORT[field]}
        else:
            nouns = {noun: {noun, *entry.get("synonyms", ())} for noun, entry in KNOWN["nouns"].items() if entry.get(field)}
            found = {KNOWN["nouns"][noun][field] for noun, words in nouns.items() if not words.isdisjoint(thing.names)}
        if not found:
            raise Unread(f"{field} of {thing.names}")
        return found


# Rows -----------------------------------------------------------------------------------------------------------------

WORDS = {
    "is": "is|are", "does": "does|do", "it": "it|they", "its": "its|their", "vis": "is|are", "vdoes": "does|do", "vs": "s|", "who": "who|that",
    "nis": "is|are", "vis1": "is|are", "further": "further|furthest", "nearer": "nearer|nearest", "closer": "closer|closest",
    "bigger": "bigger|biggest", "more": "more of|most of", "more_space": "more space|the most space", "side": "left|right",
    "a": "the .+?", "b": "the .+?", "c": "the .+?", "the": "the .+?", "thing": "(?:an?|some|a pair of) .+?", "some": "(?:an?|another|some|a pair of) .+?",
    "kind": "|".join(BROAD), "verb": VERBS, "number": "|".join((*NUMBERS, r"\d+")), "alternatives": ".+", "list": ".+", "rest": "the .+",
    "tail": f"(?:to the|above|below|used|{VERBS}) .+?",
}  # fmt: skip
VALUES = {
    "colour": "|".join((*SHADES, "dark red", "dark blue", "turquoise", "teal", "cream")), "size": "large|small", "across": "to the left of|to the right of", "vertical": "above|below",
    **{field: "|".join(map(re.escape, sorted({e[field] for e in KNOWN["nouns"].values() if e.get(field)}, key=len, reverse=True))) for field in ("use", "made_of")},
    **{field: "|".join(map(re.escape, sorted(set(table.values()), key=len, reverse=True))) for field, table in SHORT.items()},
}  # fmt: skip


def reader(head, template, greedy=False):
    """A template as a regular expression; a slot that comes twice must say the same."""
    pattern, seen = "", set()
    for part in re.split(r"(\{\w+\})", template):
        slot = part.strip("{}") if part.startswith("{") else None
        if slot is None:
            pattern += re.escape(part)
        elif slot in seen:
            pattern += f"(?:{WORDS[slot]})" if slot in ("is", "does", "vis", "it") else f"(?P={slot})"
        else:
            seen.add(slot)
            words = VALUES.get(head, ".+?") if slot == "value" else WORDS.get(slot, ".+?")
            words = words.replace(".+?", ".+") if greedy else words
            pattern += f"(?P<{slot}>{words})"
    return re.compile(pattern + "$", re.IGNORECASE)


READERS = [
    (form, name, reader(form["head"], text, greedy))
    for greedy in (False, True)
    for form, name, text in sorted(
        ((form, name, text) for form in FORMS for name in ("ask", "more", "pick", "claim") for text in form.get(name, ())),
        key=lambda entry: -len(re.sub(r"\{\w+\}", "", entry[2])),
    )
]
"""Templates with the most text of their own come first: "How many more {many} than ..." before "How many {many} ..."."""


def readings(question, style):
    """Every (form, slots) that the question may be."""
    for form, name, pattern in READERS:
        asks = name == "claim" or form["head"] in ("exists", "serves") if style == "bool" else name != "claim"
        match = pattern.match(question) if asks else None
        if match:
            yield form, {slot: value[:1].lower() + value[1:] for slot, value in match.groupdict().items()}


def number(text):
    """The number that a word says."""
    text = text.lower().strip(" .")
    return int(text) if text.isdigit() else NUMBERS.index(text)


def stated(head, value, text, slots):
    """Whether a text states the value: an answer or an option."""
    text = text.lower().strip(" .")
    words = re.findall(r"[a-z0-9'-]+", text)
    if head in ("count", "total", "difference", "all_corners", "all_legs", "all_wheels", "corners"):
        return str(value) in words or (value < len(NUMBERS) and NUMBERS[value] in words) or value == 0 and "no" in words
    if head == "more":
        first, second = value
        winner = one(slots["many"] if first > second else slots["many2"])
        return winner in one(text) or slots["many" if first > second else "many2"].lower() in text
    if head in ("across", "vertical", "relative"):
        said = {side for side in SIDE if re.search(rf"\b{side.removeprefix('to the ').removesuffix(' of')}\b", text)}
        return bool(value) and value <= said if head != "relative" else said == value
    if head == "order":
        text = plain(text)
        places = [text.find(plain(name)) for name in value]
        return all(place >= 0 for place in places) and places == sorted(places)
    if head in ("name", "tool", "what", "who", *FIELDS):
        return any(re.search(rf"\b{re.escape(name.lower())}\b", text) for name in value)
    if head in ("further", "nearer", "bigger"):
        return plain(value) in plain(text)
    if head == "mixed":
        return all(colour in words for colour in value.split(" and "))
    return str(value).lower() in text


def problem(sample):
    """What is wrong with a row, `None` if the oracle agrees; `Unread` if it cannot read it."""
    oracle = Oracle(sample.scene)
    question, options = taken_apart(sample)
    unread = "no template"
    for form, slots in readings(question, sample.format):
        try:
            verdict = judged(oracle, form["head"], slots, sample, options, question)
        except (Unread, StopIteration, KeyError, ValueError, AssertionError) as error:
            unread = f"{type(error).__name__}: {error}"
            continue
        return None if verdict else f"{form['head']} {slots} answered {sample.response!r}"
    raise Unread(f"{question} ({unread})")


def taken_apart(sample):
    """The bare question and the options by letter."""
    text = sample.instruction
    for sentence in (*YES_NO_TEMPLATES, *LETTER_TEMPLATES):
        text = text.removesuffix(sentence).rstrip()
    question, *listed = text.split("\n")
    return question, {line[0]: line[3:] for line in listed}


def judged(oracle, head, slots, sample, options, question):
    if sample.format == "bool" and head not in ("exists", "serves"):
        truth = claimed(oracle, head, slots)
        return truth == (sample.response == "Yes")
    if head in ("further", "nearer", "bigger") and options:
        things = [option[:1].lower() + option[1:] for option in options.values()]
        present = [name for name in things if safely(oracle, name)]
        value = oracle.compared(head, {**slots, "list": ", ".join(present)})
    elif head == "seen":
        return [letter for letter, option in options.items() if oracle.group(re.sub(r"^an? ", "", option.lower()))] == [
            sample.response
        ]
    else:
        value = oracle.solve(head, slots)
    if sample.format == "bool":
        return value == (sample.response == "Yes")
    if head == "exists":
        return sample.response.startswith("Yes" if value else "No")
    if options and head in ("further", "nearer", "bigger"):
        return plain(options[sample.response]) == plain(value)
    if options:
        return [letter for letter, option in options.items() if stated(head, value, option, slots)] == [sample.response]
    return stated(head, value, sample.response, slots)


def plain(text):
    """Without the words that two wordings of one reference differ in."""
    return re.sub(r" (?:that|who) (?:is|are)\b", "", text.lower())


def safely(oracle, name):
    try:
        return len(oracle.group(name)) == 1
    except Unread:
        raise
    except AssertionError:
        return False


def claimed(oracle, head, slots):
    """Whether a yes/no claim is so."""
    if head in ("count", "total", "difference", "all_corners", "all_legs", "all_wheels"):
        if head == "count" and "exactly" in slots:
            slots = {**slots, "many": slots["exactly"]}
        return oracle.numbers(head, slots) == number(slots["number"])
    if head == "more":
        return len(oracle.group(slots["winner"])) > len(oracle.group(slots["loser"]))
    if head in ("further", "nearer", "bigger"):
        listed = slots.get("list") or f"{slots['the']}, {slots['rest']}"
        return oracle.compared(head, {**slots, "list": listed}) == slots["the"]
    if head == "order":
        named = oracle.listed(slots["value"])
        return oracle.compared(head, {**slots, "list": slots["value"]}) == named
    if head in ("across", "vertical"):
        return oracle.beside(oracle.the(slots["a"]), oracle.the(slots["b"]), slots["value"])
    value = oracle.solve(head, slots)
    said = slots.get("value") or slots.get("thing") or slots.get("number")
    if head == "corners":
        return value == number(said)
    if head in FIELDS:
        return said.lower() in {known.lower() for known in value}
    if head in ("name", "tool", "what", "who"):
        said = slots.get("thing") or slots["the"]
        return any(re.fullmatch(rf"(?:an? |the |some |a pair of )?{re.escape(name)}", said) for name in value)
    said = re.sub(r"^an? ", "", said) if head in ("shape",) else said
    return (
        said.casefold() == str(value).casefold()
        or head == "mixed"
        and sorted(said.split(" and ")) == sorted(value.split(" and "))
    )
