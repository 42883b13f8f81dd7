"""Words of content: a text that says more, or something else, asks something else."""

from itertools import pairwise

from entroute.cache.semantic.guards.numbers import is_number
from entroute.cache.semantic.guards.reading import Reading, stem
from entroute.cache.semantic.guards.units import is_unit


def _forms(words: str) -> frozenset[str]:
    return frozenset(form for word in words.split() for form in (word, stem(word)))


_FREE = _forms("""
the a an and or of in at is are was were be been being am do does did doing done has have had
having i you he she it we they me him her us them my your his its our their mine yours one
oneself myself yourself who whom whose which what when where why how that this these those there
here can could will would should shall may might must ought able if so as to for on with from by
about up out than into onto upon over between through per via such then also just really very
quite actually basically simply even ever possible possibly way ways tip tips step steps method
methods technique techniques thing things something anything someone somebody anyone anybody
people person persons some any best good great nice please kindly hi hello hey thanks thank else
etc s t re vs versus let lets own kind kinds type types sort sorts different various major main
several own get got getting go going
""")
_LIGHT = _forms("""
make makes making made find finding found know knowing known tell say said give giving given
describe explain explanation list show become becoming becomes start starting started begin
beginning learn learning mean means meant meaning suggest recommend consider considered try come
comes happen happens happening occur exist exists now currently nowadays days reason reasons
cause causes much many lot lots most more quora keep take takes happen ask asking
""")
FILLERS = _FREE | _LIGHT
"""Words and stems without which a question mostly stays what it is, or that other guards watch."""

_SYNONYMS = """
site website webpage; film movie cinema; kid child children; photo photograph picture image pic;
buy purchase bought; issue problem trouble; fast quick quickly rapidly speedily; favorite
favourite; usa us america; car automobile; doctor physician; big large; fix repair; man men;
woman women; mouse mice; institute institution; earth world; lose losing lost; improve increase
enhance; teacher instructor; illness disease; error mistake; gift present; mobile cellphone
smartphone; lawyer attorney; finish complete; choose select pick chose chosen; speak talk spoke
spoken; hear heard; bring brought; teach taught; write wrote written; eat ate eaten; run ran;
see saw seen; sell sold; build built; send sent; grow grew grown; break broke broken; drive
drove driven; fly flew flown; leave left; win won; understand understood; think thought; sleep
slept; wear wore worn; forget forgot forgotten; colour color; centre center; behaviour behavior;
analyse analyze; organise organize; programme program; mom mum mother mommy; dad father daddy;
tv television; phone telephone; fridge refrigerator; bike bicycle; petrol gasoline; flat
apartment; holiday vacation; soccer football; cheap inexpensive; smart intelligent clever;
scared afraid; quit stop; cope deal handle; math maths mathematics; company firm; delete erase;
folder directory; database db; application app; disadvantage drawback; difference distinction;
example instance; calculate compute; easy easily simple; easiest simplest; question questions;
idea ideas; recommendation suggestion
"""
_SAME_LIGHT = """
find get; know tell say; become get be; start begin; reason cause why; mean meaning; make get;
give list show tell suggest recommend; explain describe explanation; happen occur; many much lot
lots; now currently nowadays
"""


def _canonical(groups: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for group in groups.replace("\n", " ").split(";"):
        words = group.split()
        for word in words:
            first = found.get(stem(word), stem(words[0]))
            found.setdefault(word, first)
            found.setdefault(stem(word), first)
    return found


_CANONICAL = _canonical(_SYNONYMS)
_ALIKE = tuple(_forms(group) for group in _SAME_LIGHT.replace("\n", " ").split(";"))


def content_words(text: Reading) -> frozenset[str]:
    """Return a text's words of content, one form for all that mean the same."""
    return frozenset(
        _CANONICAL.get(word, _CANONICAL.get(root, root))
        for word, root in zip(text.words, text.stems, strict=True)
        if word not in FILLERS and root not in FILLERS and not _counts(word)
    )


def _counts(word: str) -> bool:
    """Whether a word is a number or a unit, which have guards of their own."""
    return all(is_number(part) or (len(part) > 1 and is_unit(part)) for part in word.split("-"))


def differs(a: Reading, b: Reading) -> bool:
    """Say whether a text has a word of content that the other has in no form.

    Light verbs may be left out, but not exchanged: "learn Java" is not "find Java".
    """
    mine, yours = content_words(a), content_words(b)
    if mine - yours - _in_two(b, a) - _joined(b) or yours - mine - _in_two(a, b) - _joined(a):
        return True
    light_a, light_b = _light(a) - b.known, _light(b) - a.known
    return any(not _alike(x, light_b) for x in light_a) and any(
        not _alike(y, light_a) for y in light_b
    )


def _joined(text: Reading) -> frozenset[str]:
    """Return every two neighbours as one word: "backend" for "back end"."""
    return frozenset(first + second for first, second in pairwise(text.words))


def _in_two(whole: Reading, text: Reading) -> frozenset[str]:
    """Return the stems of neighbours in a text that the other text writes as one word."""
    return frozenset(
        stem(word) for pair in pairwise(text.words) if "".join(pair) in whole.words for word in pair
    )


def _light(text: Reading) -> frozenset[str]:
    return frozenset(root for root in text.stems if root in _LIGHT and root not in _FREE)


def _alike(word: str, others: frozenset[str]) -> bool:
    return any(word in group and not group.isdisjoint(others) for group in _ALIKE)
