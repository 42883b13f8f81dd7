"""Language: the guards know English, and so does the embedding model."""

from entroute.cache.semantic.guards.reading import Reading

_PROFILES = {
    "en": "the of and to in is that for it with as on be are this what how do does i you my can "
    "which why who when where a an by from at or me your not should has have was were will there",
    "es": "el la los las de que y en un una por con para como es del se qué cómo al lo su más "
    "cuál dónde mi puedo son",
    "fr": "le la les des et en un une du que qui dans pour pas sur est au avec ce je comment "
    "quel quelle pourquoi où mon puis sont",
    "de": "der die das und ist nicht ein eine zu den von mit auf für im wie was ich kann mein "
    "warum wer wo sind dem des",
    "it": "il lo gli le di che e un una per con come sono del della mi è perché quale dove posso "
    "nel alla",
    "pt": "o a os as de que e em um uma para com não por como do da mais é qual onde meu posso "
    "são na no",
    "nl": "de het een en van ik te dat is op met voor niet zijn hoe wat waarom waar mijn kan",
    "hinglish": "kya hai kaise ka ki ke mein ho main kar se ko nahi aur kyon",
}
_WORDS = {name: frozenset(words.split()) for name, words in _PROFILES.items()}
_LATIN_END = "ɏ"
_FOREIGN_SHARE = 0.05


def not_english(a: Reading, b: Reading) -> bool:
    """Say whether either text is not in English as far as one can tell."""
    return _foreign(a) or _foreign(b)


def _foreign(text: Reading) -> bool:
    letters = [letter for letter in text.prose if letter.isalpha()]
    other = sum(letter > _LATIN_END for letter in letters)
    if other > _FOREIGN_SHARE * max(1, len(letters)):
        return True
    hits = {name: sum(word in words for word in text.words) for name, words in _WORDS.items()}
    return max(hits.values()) > hits["en"]
