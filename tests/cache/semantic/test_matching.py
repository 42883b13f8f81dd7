"""Which neighbour's answer may be given."""

from entroute.cache.semantic.index import Neighbour
from entroute.cache.semantic.matching import judged

NEIGHBOURS = (
    Neighbour("1", "How do I enable it?", 0.99),
    Neighbour("2", "how do I disable it", 0.97),
    Neighbour("3", "How do you disable it?", 0.8),
)


def test_each_neighbour_above_the_threshold_is_judged_in_order() -> None:
    found = judged("How do I disable it?", NEIGHBOURS, 0.9)
    assert [(match.neighbour.key, match.guard) for match in found] == [
        ("1", "antonyms"),
        ("2", None),
    ]


def test_the_threshold_itself_is_alike_enough() -> None:
    assert len(judged("How do I disable it?", NEIGHBOURS, 0.8)) == 3
    assert judged("How do I disable it?", NEIGHBOURS, 0.991) == ()


def test_the_same_words_pass_in_any_language() -> None:
    same = Neighbour("1", "怎么 打开 防火墙。", 1.0)
    assert judged("怎么  打开\n防火墙。", [same], 0.9)[0].guard is None
    assert judged("怎么 关闭 防火墙。", [same], 0.9)[0].guard == "language"
