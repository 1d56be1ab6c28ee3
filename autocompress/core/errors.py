"""The three ways a command can end badly, each one sentence that names the place, the rule, the value and the way out."""

from __future__ import annotations


class AutocompressError(Exception):
    """Something failed while working; the message is one clear sentence. Exit code 1."""

    exit_code = 1


class UsageError(AutocompressError):
    """The input is wrong (study file, option, data, an unknown name); found before any work starts. Exit code 2."""

    exit_code = 2


class NothingFits(AutocompressError):
    """No trial satisfies the constraints. Exit code 3."""

    exit_code = 3


class TrialStopped(AutocompressError):
    """A trial ends early on purpose (its price breaks a constraint or cannot enter the front): *stopped*, not failed."""


class DeviceLost(AutocompressError):
    """The device that models are measured on did not answer for as long as one is patient. Nothing is lost by it."""


def unknown(kind: str, name: object, known: list[str] | tuple[str, ...], place: str = "") -> UsageError:
    """Error for a name that is not in a list: says what there is, and where the name stood."""
    where = f"{place}: " if place else ""
    return UsageError(f"{where}unknown {kind} {str(name)!r}; available: {', '.join(known) or 'none'}")
