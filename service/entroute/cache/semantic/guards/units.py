"""Units and currencies: the same number of something else is something else."""

import re

from entroute.cache.semantic.guards.reading import Reading

_NAMES = """
metre meter meters metres m; kilometre kilometer kilometres kilometers km kms; centimetre centimeter
centimetres centimeters cm cms; millimetre millimeter millimetres millimeters mm; mile miles mi;
yard yards; foot feet ft; inch inches; gram grams gramme grammes g gm; kilogram kilograms kilo
kilos kg kgs; milligram milligrams mg; pound pounds lb lbs; ounce ounces oz; ton tons tonne tonnes;
litre liter litres liters; millilitre milliliter millilitres milliliters ml; gallon gallons;
second seconds sec secs; minute minutes min mins; hour hours hr hrs; day days; week weeks; month
months; year years yr yrs; decade decades; century centuries; millisecond milliseconds ms;
celsius centigrade; fahrenheit; kelvin; dollar dollars usd $; euro euros eur €; rupee rupees inr
rs ₹; yen jpy ¥; yuan rmb cny; gbp £ sterling; bitcoin btc; ethereum eth; cent cents; percent
percentage % pct; degree degrees °; radian radians rad; byte bytes; bit bits; kb kilobyte kilobytes;
mb megabyte megabytes; gb gigabyte gigabytes gig gigs; tb terabyte terabytes; kib; mib; gib; mbps;
gbps; kbps; hz hertz; khz; mhz; ghz; volt volts; amp amps ampere amperes; watt watts; kilowatt
kilowatts kw; kwh; mah; ohm ohms; joule joules; calorie calories kcal cal; mph; kph kmh; knot knots;
psi; bar; pascal pascals; acre acres; hectare hectares; cup cups; tablespoon tablespoons tbsp;
teaspoon teaspoons tsp; lakh lakhs; crore crores; pixel pixels px; dpi; fps; rpm; decibel decibels
"""
_UNIT = {
    word: names.split()[0]
    for names in _NAMES.replace("\n", " ").split(";")
    for word in names.split()
}
_SHORT = frozenset({"m", "g", "min", "rs", "mi", "ms", "cal", "rad", "bar", "kilo", "second"})
"""Units only after a number: alone they are names, letters or other words."""
_AFTER_NUMBER = re.compile(r"\d\s*(°?\s?[CFK]\b|[a-zµ%°]+)")
_SIGN = re.compile(r"[$€£¥₹%°]")
_TEMPERATURE = {"c": "celsius", "f": "fahrenheit", "k": "kelvin"}


def differs(a: Reading, b: Reading) -> bool:
    """Say whether one text measures in a unit that the other does not use."""
    return _units(a) != _units(b)


def is_unit(word: str) -> bool:
    """Say whether a lower-case word after a number is a unit."""
    return word in _UNIT


def _units(text: Reading) -> frozenset[str]:
    found = {_UNIT[word] for word in text.words if word in _UNIT and word not in _SHORT}
    found |= {_UNIT[sign] for sign in _SIGN.findall(text.prose)}
    for match in _AFTER_NUMBER.findall(text.prose):
        unit = match.replace("°", "").strip()
        if unit in {"C", "F"} or ("°" in match and unit in {"C", "F", "K"}):
            found.add(_TEMPERATURE[unit.lower()])
        elif unit in _UNIT:
            found.add(_UNIT[unit])
    # A temperature's scale says that degrees are meant.
    if found & set(_TEMPERATURE.values()):
        found.discard("degree")
    return frozenset(found)
