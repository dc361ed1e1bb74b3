"""Talk of the source: whether a text speaks of the annotations that its writer was shown instead of the image.

Models write "the provided information", "it is not mentioned" or "the bounding box". Pictures, however, show captions on
posters, boxes of fruit and lists of prices, so a word counts by what stands around it.
"""

from __future__ import annotations

import re

_DETERMINER = r"(?:the|this|these|those|your|its|any|all|each|both|an?|my|our)"
_GIVEN = r"(?:given|provided|supplied|aforementioned|(?<=the\s)(?:available|above|accompanying|following|preceding)|(?<=these\s)(?:above|following))"
_KIND = r"(?:image|picture|photo|scene|object|region|visual|textual|text|written|verbal|short|detailed|brief|various|other|same|first|second|specific|limited)"
_NOUN = r"(?:captions?|descriptions?|annotations?|information|info|data|facts?|metadata|bounding[ -]?box(?:es)?|coordinates|statements?|sentences?|labels?|lists?)"
_SPEAKING = (
    r"(?:captions?|descriptions?|annotations?|annotators?|metadata|bounding[ -]?box(?:es)?|coordinates|facts|statements?|sentences?|"
    r"(?:(?:image|scene|object)\s+)?(?:information|data)(?:\s+(?:about|on|for)\s+(?:the\s+)?\w+)?)"
)
_CARRIER = (
    r"(?:sign|board|label|poster|menu|ticket|screen|packag\w*|bottle|shirt|banner|book|newspaper|magazine|map|page|card|plaque|"
    r"scoreboard|clock|jersey|door|window|wall|paper|tag|billboard|schedule|brochure|leaflet|painting|cartoon|exhibit|bus|train|"
    r"truck|cup|can|jar|display|monitor|receipt|letter|invitation|program|programme|flyer|wrapper|chart|front|side|back|bottom|top|"
    r"receipt|timetable|notice|instructions?|recipe|contract|form|t-shirt|back of)"
)
# What stands in the picture and can be read there is no source.
_NOT_SEEN = (
    rf"(?!\s+(?:that\s+(?:is|are)\s+)?(?:(?:printed|written|painted|posted|shown|displayed|engraved|listed|provided|given)\s+)?"
    rf"(?:on|under|underneath|below|beneath|beside|above|at|across|along|inside|near|by|next\s+to|in|from|of)\s+"
    rf"(?:the\s+|a\s+|an\s+|his\s+|her\s+|their\s+|its\s+|this\s+|each\s+)?(?:[\w-]+\s+){{0,2}}?{_CARRIER}s?\b)"
)
_NO_THING = r"(?!\s+(?:board|desk|kiosk|booth|sign|signs|cent(?:er|re)|counter|panel|point|stand|technology|plaque|plate|tag|entry|sheet|screen|box)\b)"

PATTERNS: dict[str, str] = {
    "basis": rf"""
        (?:\b(?:based|relying|relies|rely|drawing|going|judging|inferred|concluded|deduced|derived|determined|seen|known|clear|evident)
            \s+(?:solely\s+|only\s+|purely\s+|entirely\s+)?(?:up)?(?:on|by|from|off)
          | \baccording\s+to | \bas\s+per | \bin\s+line\s+with | \bconsistent\s+with | \bby\s+reading)
        \s+(?:{_DETERMINER}\s+)?(?:{_GIVEN}\s+|{_KIND}\s+)*
        (?:{_NOUN}|context(?=\s*[,.]|\s+(?:given|provided))|details\s+(?=given|provided|above|available))\b{_NOT_SEEN}{_NO_THING}
      | \b(?:from|in|by|with|per|given)\s+(?:the|these|this)\s+(?:{_GIVEN}\s+|{_KIND}\s+)*
        (?:captions?|descriptions?|annotations?|bounding[ -]?box(?:es)?|coordinates|metadata)\b{_NOT_SEEN}
        (?!\s+of\s+(?!the\s+(?:image|picture|photo|scene)))
    """,
    "speaking": rf"""
        \b{_SPEAKING}\b{_NOT_SEEN}\s*(?:itself\s+|also\s+|only\s+|clearly\s+|simply\s+|explicitly\s+|all\s+|both\s+|that\s+|which\s+|,\s*which\s+)?
        (?:says?|said|states?|stated|mentions?|mentioned|describes?|described|indicates?|indicated|suggests?|tells?|notes?|noted|
           specify|specifies|implies|imply|reports?|refers?|shows?|reveals?|do(?:es)?\s+not|do(?:es)?n't|did\s+not|didn't|calls?|speaks?|
           confirms?|provides?|gives?|contains?|includes?|agrees?|points?|places?|puts?|identif(?:y|ies)|lists?|makes?|leaves?)\b
    """,
    "given": rf"""
        \b{_GIVEN}\s+(?:{_KIND}\s+)*
        (?:captions?|descriptions?|annotations?|information|info|data|facts?|metadata|details?|context|texts?|statements?|lists?|labels?|tags?|
           images?|pictures?|photos?|photographs?|scene|scenario|content|clues|cues|evidence|objects?|regions?|relations?|attributes|
           coordinates|references|input|prompt|sentences?)\b{_NOT_SEEN}{_NO_THING}
      | \b(?:information|info|details?|facts?|data|captions?|descriptions?|annotations?|context|coordinates|labels?|texts?|images?|picture|photo)
        \s+(?:that\s+|which\s+)?(?:(?:is|are|was|were|has\s+been|have\s+been|I\s+(?:have|was)|we\s+(?:have|were)|you\s+(?:have\s+)?)\s*)?
        (?:given|provided|supplied|available|gave|above|at\s+hand)\b{_NOT_SEEN}(?!\s+by\s+(?:the\s+)?(?!caption|descri|annot|image|picture|list|prompt))
    """,
    "mention": rf"""
        \b(?:not|never|isn't|aren't|wasn't|weren't|nowhere|neither|nor)\s+(?:\w+ly\s+|be\s+|been\s+|further\s+)?
          (?:mentioned|specified|stated|annotated|described|noted|detailed|disclosed|indicated|provided|given|listed|recorded)\b{_NOT_SEEN}
          (?!\s+(?:to|a|any|enough|much|for|by|up|in\s+to)\b)
      | (?<!be\s)(?<!\bthat\s)\b(?:is|are|was|were|been|being|as|explicitly|only|also)\s+(?:also\s+|explicitly\s+|only\s+|clearly\s+|previously\s+)?
          (?:mentioned|specified|stated|annotated|captioned)\b{_NOT_SEEN}
      | \bas\s+(?:described|noted|listed)\b{_NOT_SEEN}(?!\s+by\s+(?:the\s+)?\w+(?<!captions)(?<!caption)(?<!description))
      | \b(?:is|are|was|were)\s+(?:also\s+)?described{_NOT_SEEN}\s+(?:as|to|in|by|with|here)\b
      | \b(?:no|any|without|every)\s+mention\b{_NOT_SEEN}
      | \b(?:mentioned|specified|stated|annotated|listed|described|noted|given|included|recorded)\s+in\s+(?:the|these|this|your|any|all|both|one|each|either)\s+
          (?:of\s+the\s+)?(?:{_GIVEN}\s+|{_KIND}\s+)*(?:{_NOUN}|context|text|details|prompt|question|input|image|picture|photo|scene)\b{_NOT_SEEN}
      | \b(?:image|picture|photo|photograph|scene|captions?|descriptions?|facts|data|it|they|which)\s+(?:do(?:es)?|did)(?:\s+not|n't)\s+
          (?:\w+ly\s+)?(?:mention|specify|state|detail|provide|describe|give\s+(?:any\s+)?(?:information|details)|include\s+(?:any\s+)?(?:information|details))\b
      | \b(?:image|picture|photo|scene)\s+(?:mentions?|states?|specif(?:y|ies))\b
      | \bno\s+(?:further\s+|additional\s+|specific\s+|other\s+|explicit\s+|direct\s+|more\s+|clear\s+)?(?:information|details?|data|description|annotation|caption)s?
          \s+(?:is|are|was|were|about|on|regarding|given|provided|available|concerning|as\s+to|in\s+the)\b{_NOT_SEEN}
      | \b(?:lack\s+of|insufficient|not\s+enough|limited|without\s+(?:more|further|additional))\s+(?:\w+\s+)?(?:information|details|data|context)\b{_NOT_SEEN}
      | \bit\s+(?:is|was|has\s+been)\s+(?:also\s+)?(?:stated|mentioned|noted|said|described|specified|given)\b
      | \b(?:we|I|you)(?:\s+(?:are|were|am|was|have\s+been)|'ve\s+been)\s+(?:only\s+|just\s+)?(?:told|given|informed|provided|shown\s+only)\b
    """,
    "coordinates": r"""
        \bbounding[ -]?box | \bbbox | \bx-?(?:axis|coordinates?|values?)\b | \by-?(?:axis|coordinates?|values?)\b | \b[xy][12]\s*[=,:]
      | \b(?:the|its|their|these|those|box|pixel|normali[sz]ed|same|similar|exact|given|whose|object|image)\s+coordinates\b
          (?!\s+(?:on|of\s+the\s+(?:team|dance|event|ship|place|location)|the|their|his|her|with)\b)
      | \bcoordinates\s+(?:of\s+(?:the\s+)?(?:box|object|region|man|woman|person|dog|\w+\s+box)|are|\(|\[|given|provided|suggest|indicate|show|place|for)
      | \b0\.\d{3}\b | \[\s*0?\.\d+\s*, | \(\s*0?\.\d+\s*,
      | (?:%|\bpercent)\s+of\s+the\s+(?:image|picture|photo)(?:'s)?\s+(?:\w+\s+and\s+)?(?:width|height)\b
      | \bfractions?\s+of\s+the\s+(?:image|picture)\b | \bnormali[sz]ed\b
      | \b(?:object|region|annotation|detection|reference|annotated)(?:'?s)?\s+box(?:es)?\b | \bbox(?:es)?\s+(?:overlaps?|coordinates?)\b
      | \bthe\s+box\s+(?:around|enclosing|surrounding|that\s+(?:contains?|bounds?|encloses?|marks?)|marking|assigned\s+to)\s+(?:the|a|each|him|her|it)\b
      | \boverlap\w*\s+(?:of|between)\s+(?:the|their|its)\s+(?:\w+\s+)?box(?:es)?\b
    """,
    "tags": r"""
        \b(?:object|region|item|tag|reference|label|entity|element|id|person|figure|number)s?\s*[#:]?\s*\(?\[?["'`]?[or]\d{1,3}\b
      | (?<![\w-])[or]\d{1,3}(?![\w-]) | \b(?:object|region|entity)\s*(?:\#|no\.\s*|number\s+)?\d{1,3}\b
      | \b(?:tagged|referenced|denoted)\s+(?:as|with|by)\b | \b(?:reference|object|region)\s+(?:tags?|codes?|ids?|labels?|numbers?)\b
    """,
    "names": rf"""
        \bannotators?\b | \bannotations?\b{_NOT_SEEN}(?!\s+(?:in|on)\s+(?:the\s+)?(?:margins?|score|sheet|notebook)) | \bscene\s+graphs?\b | \bmeta-?data\b
      | \bground[ -]truth\b | \bdata\s?sets?\b
      | \b(?:region|object|image|scene|picture|photo|textual|text|text-based|verbal|reference)\s+(?:descriptions?|captions?|lists?|annotations?|tags|labels)\b{_NOT_SEEN}
      | \blists?\s+of\s+(?:the\s+)?(?:objects|regions|relations|captions|descriptions|attributes|facts|references)\b
      | \bdescriptions?\s+(?:of|for)\s+(?:the|this)\s+(?:image|picture|photo|scene|region|object)s?\b
      | \b(?:the|these|this|those|all|both|several|most|some|one|two|three|four|five|another|other|each|first|second|third|fourth|last|different|multiple)\s+
          (?:of\s+the\s+)?(?:image\s+|five\s+|other\s+)?captions?\b{_NOT_SEEN}(?!\s+(?:reads?|reading|under|below|beneath|on|above|of\s+(?!the\s+(?:image|picture|photo|scene))
              |(?:is|are|was|were)\s+(?:hand\s?written|printed|written|shown|displayed|painted|white|black|red|yellow|blue|green|small|large|tiny|funny|
                 too|hard|in|on|at|below|under|above|cut))\b)
      | \b(?:one|another|several|most|some|all|first|second|third|other|different|multiple)\s+(?:of\s+the\s+)?descriptions\b
      | \b(?:no|any|every|either|neither)\s+captions?\b{_NOT_SEEN} | \bthe\s+statement\s+that\b | \blabels?\s+(?:for|of)\s+(?:this|the)\s+(?:region|object|box)\b
      | \b(?:objects?|items|regions?|relations?|attributes|things)\s+(?:that\s+are\s+|which\s+are\s+)?(?:listed|annotated|mentioned|tagged|labell?ed)\b{_NOT_SEEN}
      | \brelation\b[^.]{{0,20}}\b(?:listed|given|stated)\b | \bcaptioned\s+(?:as|with)\b | \b(?:the|this|these)\s+facts?\s+(?:say|state|tell|mention|show|given|above|about\s+the\s+(?:image|picture))
      | \b(?:listed|annotated|tagged|referenced|mentioned|described|labell?ed)\s+(?:attributes|objects?|items?|regions?|things?|elements?|people|persons?|relations?|scene|image|picture)\b{_NOT_SEEN}
      | \b(?:relations?|relationships?|attributes?)\s+(?:lists?|listed|given|provided|says?|states?|indicates?)\b
    """,
    "writer": rf"""
        \byou(?:'ve|\s+have)?\s+(?:provided|gave|given|described|mentioned|listed|shared|supplied)\b
      | \b(?:image|picture|photo|scene)\s+(?:is|was)\s+(?:described|captioned|labell?ed|annotated|said|stated)\b
      | \b(?:in|of|by|from|to)\s+(?:the|your|this)\s+(?:prompt|input|query)\b | \bthe\s+(?:prompt|input|list){_NOT_SEEN}\s+(?:says|states|mentions?|asks|does\s+not|doesn't)\b
      | \b(?:the|these|both)\s+descriptions\b{_NOT_SEEN}(?!\s+of\s+(?!the\s+(?:image|picture|photo|scene)))
      | \b(?:image|picture|photo|scene)'s\s+(?:captions?|descriptions?|annotations?)\b
      | \b(?:I|we)\s+(?:don't|do\s+not)\s+have\s+(?:\w+\s+)?(?:information|details)\b | \b(?:nothing|anything|something)\s+(?:is|was)\s+(?:said|stated|told)\b
      | \bbox(?:es)?\b[^.]{{0,30}}\b(?:spans?|extends?|reach(?:es)?|covers?)\b[^.]{{0,30}}\b(?:image|picture|photo|frame|width|height)\b
      | \bwithout\s+(?:actually\s+)?(?:seeing|viewing|access\s+to|looking\s+at)\s+the\s+(?:actual\s+)?(?:image|picture|photo)\b
      | \b(?:I|we)\s+(?:cannot|can't|can\s+not|don't|do\s+not|am\s+not\s+able\s+to|am\s+unable\s+to)\s+(?:actually\s+|directly\s+)?(?:see|view|have\s+access\s+to)\s+(?:the|this|any)\s+
          (?:actual\s+)?(?:image|picture|photo)\b
      | \binformation\s+(?:that\s+)?(?:we|I)\s+have\b | \bsource\s+(?:text|data|material|description)s?\b
      | \bfrom\s+what\s+(?:I|we|you|is|was|has\s+been)\s*(?:'ve|have|was|were|am|are)?\s*(?:been\s+)?(?:told|given|described|provided|stated|written|listed)\b
    """,
}
"""Patterns of talk about the source, by kind."""
HINTS = (
    "caption", "descri", "annotat", "bounding", "bbox", "coordinate", "information", "info ", "data", "facts", "statement",
    "sentence", "label", "mention", "specif", "stated", "noted", "not given", "n't given", "never given", "is given", "was given",
    "given i", "given p", "are given", "were given", "given s", "given o", "given r", "provided", "supplied", "available i",
    "the above", "these above", "image above", "picture above", "photo above", "accompanying", "the following", "these following",
    "preceding", "told", "informed", "truth", "list", "tagged", "tags", "codes", "referenc", "normali", "fractions", "prompt", "input",
    "query", "the box ", "box overlap", "boxes overlap", "object box", "region box", "s box", "detection box", "detail", "context",
    "object ", "region", "entity", "graph", "relation", "attribute", "without see", "without view", "without acc", "without look",
    "without actually", "without more", "without further", "without add", "not enough", "insufficient", "limited", "lack of",
    "see the i", "see the p", "see the a", "see this", "see any", "view the", "view any", "have access", "axis", "y1", "x1", "y2",
    "x2", "0.", "[.", "[0", "% of", "percent of", "denoted", "said", "recorded", "indicated", "disclosed", "you ga", "you share", "-value", "x val", "y val",
    "source ", "statements", "nothing ", "anything ", "something ", " box", "boxes", "number ", "person ", "figure ", "item ", "element ", "id ", "given,", "given the",
)  # fmt: skip
"""Lower-case substrings, at least one of which is in every match. Searching for them first is much faster than the patterns."""
PLAIN_HINTS = (
    "caption", "description", "annotat", "bounding", "coordinates", "list", "information", "text", "data", "details", "mentioned",
    "specified", "stated", "graph", "tag",
)  # fmt: skip
"""The plainest of them, for texts that only quote captions."""
_TAGGED = re.compile(r"\b[or]\d")
LEAK = re.compile("|".join(f"(?:{pattern})" for pattern in PATTERNS.values()), re.IGNORECASE | re.VERBOSE)


def find_leak(text: str, *, is_quoted: bool = False) -> str | None:
    """Return the first words of a text that talk about its source, or `None`.

    Args:
        text: What a model wrote.
        is_quoted: Whether it is made of templates and captions, which is searched for plain words only, to save time.

    >>> find_leak("Based on the information provided, a man waits.")
    'Based on the information'
    >>> find_leak("The caption on the poster reads SALE.")
    """
    lowered = text.lower()
    hints = PLAIN_HINTS if is_quoted else HINTS
    if not any(map(lowered.__contains__, hints)) and (is_quoted or not _TAGGED.search(lowered)):
        return None
    found = LEAK.search(text)
    return found[0].strip() if found else None
