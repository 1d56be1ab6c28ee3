"""Numbers as people read them: three figures, points, factors, durations; intervals beside what was measured."""

from __future__ import annotations


def points(fraction: float) -> str:
    """A fraction in points: 0.8637 is 86.4; never −0.0."""
    return _signed(f"{100 * fraction:.1f}")


def drop_text(drop: float, interval: tuple[float, float] | None) -> str:
    """A drop in points with its interval: `0.6 (−0.7…1.9)`."""
    return points(drop) + (f" ({points(interval[0])}…{points(interval[1])})" if interval else "")


def with_spread(value: float | None, interval: tuple[float, float] | None, factor: float, unit: str = "") -> str:
    """`1.0 ±1.1`: the value times `factor`, and the larger of the two sides of its interval."""
    if value is None:
        return ""
    text = _signed(f"{factor * value:.1f}") + unit
    return text if interval is None else f"{text} ±{factor * max(value - interval[0], interval[1] - value):.1f}"


def ms(milliseconds: float) -> str:
    """Three figures: 0.415, 4.23, 14.6."""
    return _three_figures(milliseconds)


def megabytes(size: float) -> str:
    """Three figures: 8.13, 13.7, 438."""
    return _three_figures(size)


def times(factor: float | None) -> str:
    """A factor: `10.1×`."""
    return "" if factor is None else f"{factor:.1f}×" if factor < 100 else f"{factor:.0f}×"


def factor(value: float, what: str) -> str:
    """A factor on either side of 1, in words: `1.3× as fast`, `0.77× as fast`, `as fast`."""
    return what if 0.995 <= value < 1.005 else f"{value:.2f}× {what}"


def duration(seconds: float) -> str:
    """`41 s`, `12 min`, `1 h 05 min`."""
    whole = round(seconds)
    if whole < 120:
        return f"{whole} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"


def counted(count: int, what: str) -> str:
    """`1 model`, `3 models`."""
    return f"{count:,} {what}{'' if count == 1 else 's'}"


def room(size_bytes: float) -> str:
    """Disk space: `13.7 MB`, `1.20 GB`."""
    return f"{megabytes(size_bytes / 1e6)} MB" if size_bytes < 1e9 else f"{megabytes(size_bytes / 1e9)} GB"


def _three_figures(value: float) -> str:
    digits = 3 if value < 1 else 2 if value < 10 else 1 if value < 100 else 0
    return f"{value:.{digits}f}"


def _signed(text: str) -> str:
    return text.lstrip("-") if float(text) == 0 else text.replace("-", "−")
