"""Format numbers for people: three figures, points, factors, durations, intervals."""

from __future__ import annotations


def points(fraction: float) -> str:
    """Return a fraction in points: 0.8637 is `86.4`. Zero has no sign."""
    return _signed(f"{100 * fraction:.1f}")


def drop_text(drop: float, interval: tuple[float, float] | None) -> str:
    """Return a drop in points with its interval: `0.6 (−0.7…1.9)`."""
    return points(drop) + (f" ({points(interval[0])}…{points(interval[1])})" if interval else "")


def with_spread(value: float | None, interval: tuple[float, float] | None, factor: float, unit: str = "") -> str:
    """Return `1.0 ±1.1`: the value times `factor`, and the larger half of its interval. A null value gives no text."""
    if value is None:
        return ""
    text = _signed(f"{factor * value:.1f}") + unit
    return text if interval is None else f"{text} ±{factor * max(value - interval[0], interval[1] - value):.1f}"


def ms(milliseconds: float) -> str:
    """Return milliseconds with three figures: `0.415`, `4.23`, `14.6`."""
    return _three_figures(milliseconds)


def megabytes(size: float) -> str:
    """Return megabytes with three figures: `8.13`, `13.7`, `438`."""
    return _three_figures(size)


def times(factor: float | None) -> str:
    """Return a factor: `10.1×`. Null gives no text."""
    return "" if factor is None else f"{factor:.1f}×" if factor < 100 else f"{factor:.0f}×"


def factor(value: float, comparison: str) -> str:
    """Return a factor in words: `1.30× as fast`, `0.77× as fast`, or `as fast` near 1."""
    return comparison if 0.995 <= value < 1.005 else f"{value:.2f}× {comparison}"


def duration(seconds: float) -> str:
    """Return `41 s`, `12 min` or `1 h 05 min`."""
    whole_seconds = round(seconds)
    if whole_seconds < 120:
        return f"{whole_seconds} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"


def counted(count: int, noun: str) -> str:
    """Return `1 model`, `3 models`."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def disk_space(size_bytes: float) -> str:
    """Return bytes as `13.7 MB` or `1.20 GB`."""
    return f"{megabytes(size_bytes / 1e6)} MB" if size_bytes < 1e9 else f"{megabytes(size_bytes / 1e9)} GB"


def _three_figures(value: float) -> str:
    digits = 3 if value < 1 else 2 if value < 10 else 1 if value < 100 else 0
    return f"{value:.{digits}f}"


def _signed(text: str) -> str:
    """Replace the hyphen of a negative number by a minus sign, and drop it from zero."""
    return text.lstrip("-") if float(text) == 0 else text.replace("-", "−")
