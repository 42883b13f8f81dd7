"""What must be equal to the letter: code and quotations."""

from entroute.cache.semantic.guards.reading import Reading


def code_differs(a: Reading, b: Reading) -> bool:
    """Say whether the code in the texts is not the same but for white space."""
    return a.code != b.code


def quotation_differs(a: Reading, b: Reading) -> bool:
    """Say whether the texts quote different things."""
    return a.quotations != b.quotations and {q.lower() for q in a.quotations} != {
        q.lower() for q in b.quotations
    }
