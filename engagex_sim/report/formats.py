"""How numbers and lists of names are written for people. An undefined number is an em dash, never 0."""

import math
from collections.abc import Sequence

UNDEFINED = "—"


def count(number: float) -> str:
    """A count with thousands separators: 12,345."""
    return UNDEFINED if math.isnan(number) else f"{number:,.0f}"


def counted(number: int, one: str, many: str = "") -> str:
    """A count with its noun, and its verb if there is one: 1 contact, 2 contacts; `many` is `one` and an s if empty."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def number(value: float, digits: int = 3) -> str:
    """A number to `digits` significant digits, without an exponent: 0.0252, 12.3, 4,310."""
    if math.isnan(value):
        return UNDEFINED
    if value == 0:
        return "0"
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    decimals = max(0, digits - 1 - math.floor(math.log10(abs(value))))
    return f"{value:,.{min(decimals, 8)}f}".replace("-", "−")


def percent(share: float, signed: bool = False) -> str:
    """A share as a percentage: one decimal below 10 % and just below 100 %; `signed` always shows the sign."""
    if math.isnan(share):
        return UNDEFINED
    if math.isinf(share):
        return "+∞ %" if share > 0 else "−∞ %"
    points = abs(100 * share)
    fine = points < 9.95 or 99.5 <= points < 100  # almost all is not all
    shown = f"{min(points, 99.9) if points < 100 else points:,.1f}" if fine else f"{points:,.0f}"
    if not shown.strip("0."):
        return "0 %" if points == 0 else "<0.1 %" if share > 0 and not signed else "0.0 %"
    sign = "−" if share < 0 else "+" if signed else ""
    return f"{sign}{shown} %"


def percent_range(low: float, high: float) -> str:
    """An interval of shares: +3.0 % … +21 %."""
    return f"{percent(low, signed=True)} … {percent(high, signed=True)}"


def number_range(low: float, high: float) -> str:
    """An interval of numbers: 0.0231 … 0.0274."""
    return UNDEFINED if math.isnan(low) or math.isnan(high) else f"{number(low)} … {number(high)}"


def listing(names: Sequence[str]) -> str:
    """Names as in a sentence: a, b and c."""
    return " and ".join([part for part in (", ".join(names[:-1]), names[-1]) if part])


def some(names: Sequence[str], most: int = 12) -> str:
    """All of a few names, or the first and the last of many with their number: a, b, …, z (26 in all)."""
    if len(names) <= most:
        return ", ".join(names)
    return f"{', '.join(names[: most - 1])}, …, {names[-1]} ({len(names)} in all)"


def sentence(text: str) -> str:
    """A clause as a sentence: the first letter large, one full stop at the end."""
    clause = text.strip().rstrip(".")
    return f"{clause[0].upper()}{clause[1:]}." if clause else ""


def shortened(text: str, length: int = 30) -> str:
    """One line of at most `length` characters."""
    line = " ".join(text.split())
    return line if len(line) <= length else line[: length - 1] + "…"
