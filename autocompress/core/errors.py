"""The errors of the package. A message names the place, the value, the rule and the way out, in one sentence."""

from __future__ import annotations


class AutocompressError(Exception):
    """Base of all errors with a message for the user. Exit code 1: something failed during the work."""

    exit_code = 1


class UsageError(AutocompressError):
    """An input is wrong: the study file, an option, the data or a name. Raised before any work starts. Exit code 2."""

    exit_code = 2


class NothingFits(AutocompressError):
    """No trial satisfies the constraints. Exit code 3."""

    exit_code = 3


class TrialStopped(AutocompressError):
    """A trial ends early on purpose: it breaks a constraint or cannot enter the front. Its state is `stopped`."""


class DeviceLost(AutocompressError):
    """The device that measures did not answer within its `patience`. No result is lost; the study can be resumed."""


def unknown(kind: str, name: object, known: list[str] | tuple[str, ...], place: str = "") -> UsageError:
    """Return the error for a name that is not in `known`; `place` says where the name stands."""
    prefix = f"{place}: " if place else ""
    return UsageError(f"{prefix}unknown {kind} {str(name)!r}; available: {', '.join(known) or 'none'}")
