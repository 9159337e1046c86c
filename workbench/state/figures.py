"""Numbers and times as people read them: three significant digits, a unit in a word, the true minus sign."""

from __future__ import annotations

import math

MINUS = "\N{MINUS SIGN}"
INFINITY = "\N{INFINITY}"
ELLIPSIS = "\N{HORIZONTAL ELLIPSIS}"
UNKNOWN = "\N{EN DASH}"

_SIZES = ("B", "kB", "MB", "GB", "TB")


def number(value: float, digits: int = 3) -> str:
    """Significant digits, zeros kept so that a live figure does not dance: 0.940, 31.2, 12,345, 1.00e-5."""
    if not math.isfinite(value):
        return _broken(value)
    if value == 0:
        return "0"
    rounded = float(f"{value:.{digits - 1}e}")
    exponent = math.floor(math.log10(abs(rounded)))
    if not -4 <= exponent < 9:
        mantissa, _, power = f"{value:.{digits - 1}e}".partition("e")
        return _true_minus(f"{mantissa}e{int(power)}")
    decimals = digits - 1 - exponent
    return _true_minus(f"{rounded:.{decimals}f}" if decimals > 0 else f"{value:,.0f}")


def measured(value: float, *, is_count: bool) -> str:
    """A metric's value: whole where it counts things, `number` where it measures."""
    return count(int(value)) if is_count and math.isfinite(value) and value == int(value) else number(value)


def signed(value: float, digits: int = 3) -> str:
    """`number` with a plus where it is positive: for advantages and differences."""
    return f"+{number(value, digits)}" if value > 0 else number(value, digits)


def fixed(value: float, decimals: int = 2) -> str:
    """So many decimals, for columns that line up; never a negative zero."""
    if not math.isfinite(value):
        return _broken(value)
    return _true_minus(f"{round(value, decimals) + 0.0:,.{decimals}f}")


def count(value: int) -> str:
    return _true_minus(f"{value:,d}")


def many(value: int, thing: str) -> str:
    """Things with their count: `1 image`, `1,234 images`."""
    return f"{count(value)} {thing}" + ("s" if value != 1 else "")


def share(fraction: float) -> str:
    """0.61 is 61%; below a tenth one decimal, and never 100% or 0% unless it is."""
    if not math.isfinite(fraction):
        return _broken(fraction)
    percent = 100 * fraction
    if 0 < percent < 0.1:
        return "<0.1%"
    if 99.5 <= percent < 100:
        return f"{min(percent, 99.9):.1f}%"
    return _true_minus(f"{percent:.1f}%" if 0 < percent < 9.95 and percent != round(percent) else f"{percent:.0f}%")


def size(octets: float) -> str:
    """Decimal units as disks are sold: 40 MB, 2.1 GB."""
    value, unit = float(octets), 0
    while value >= 999.5 and unit < len(_SIZES) - 1:
        value, unit = value / 1000, unit + 1
    return f"{value:.1f} {_SIZES[unit]}" if unit and value < 9.95 else f"{value:.0f} {_SIZES[unit]}"


def pace(seconds_per_step: float) -> str:
    """0.10 s/step; milliseconds below a hundredth of a second, minutes above one."""
    if not math.isfinite(seconds_per_step) or seconds_per_step <= 0:
        return f"{UNKNOWN} s/step"
    if seconds_per_step < 0.01:
        return f"{number(1000 * seconds_per_step, 2)} ms/step"
    if seconds_per_step < 60:
        return f"{number(seconds_per_step, 2)} s/step"
    return f"{number(seconds_per_step / 60, 2)} min/step"


def duration(seconds: float) -> str:
    """The two largest units: 9 s, 2 min 5 s, 1 h 12 min, 3 d 4 h."""
    if not math.isfinite(seconds) or seconds < 0:
        return UNKNOWN
    if 0 < seconds < 0.95:
        return f"{max(seconds, 0.1):.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return _two(whole, 60, "min", 1, "s")
    return _two(whole, 3600, "h", 60, "min") if whole < 86_400 else _two(whole, 86_400, "d", 3600, "h")


def left(seconds: float) -> str:
    """9 s left; nothing to say ("") while the pace is not known."""
    return f"{duration(seconds)} left" if math.isfinite(seconds) and seconds >= 0 else ""


def ago(seconds: float) -> str:
    """just now, 20 s ago, 4 min ago, 3 h ago, yesterday, 5 days ago. A clock that went back is "just now"."""
    if seconds < 5:
        return "just now"
    for limit, unit, name in ((60, 1, "s"), (3600, 60, "min"), (86_400, 3600, "h")):
        if seconds < limit:
            return f"{int(seconds // unit)} {name} ago"
    days = int(seconds // 86_400)
    return "yesterday" if days == 1 else f"{days:,d} days ago"


def progress(step: int, total: int | None) -> str:
    return f"step {count(step)} of {count(total)}" if total else f"step {count(step)}"


def tick(value: float, spacing: float) -> str:
    """The label of an axis tick: the decimals that the spacing needs, the same for all its neighbours."""
    if abs(value) < spacing * 1e-6:
        return "0"
    if abs(value) >= 1e6 or spacing < 1e-5:
        mantissa, _, power = f"{value:.2e}".partition("e")
        return _true_minus(f"{float(mantissa):g}e{int(power)}")
    decimals = max(0, -math.floor(math.log10(spacing) + 1e-9))
    return _true_minus(f"{value:,.{decimals}f}")


def _two(whole: int, large: int, large_name: str, small: int, small_name: str) -> str:
    """Two units; the smaller is left out when it is none of them."""
    high, low = divmod(whole, large)
    return f"{high} {large_name} {low // small} {small_name}" if low // small else f"{high} {large_name}"


def _true_minus(text: str) -> str:
    return text.replace("-", MINUS)


def _broken(value: float) -> str:
    if math.isnan(value):
        return "NaN"
    return INFINITY if value > 0 else MINUS + INFINITY
