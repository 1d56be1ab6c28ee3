"""Values of a study file: strict YAML and durations."""

from __future__ import annotations

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from autocompress.config import parse_duration
from autocompress.config.yaml_documents import parse
from autocompress.core.errors import UsageError


@settings(deadline=None)
@given(st.floats(0, 1e6, allow_nan=False), st.sampled_from([("", 1), ("s", 1), ("m", 60), ("h", 3600)]))
def test_parse_duration_converts_units(number: float, unit: tuple[str, int]) -> None:
    suffix, factor = unit
    assert parse_duration(f"{number:.3f}{suffix}") == pytest.approx(float(f"{number:.3f}") * factor)
    assert parse_duration(number) == number


@settings(deadline=None)
@given(st.text(max_size=8))
def test_parse_duration_refuses_other_texts(text: str) -> None:
    if any(letter.isdigit() for letter in text):
        return
    with pytest.raises(ValueError, match="a time like 90s, 30m or 2h is needed"):
        parse_duration(text)


keys = st.sampled_from(["a", "b", "c", "1", "yes"])


@settings(deadline=None)
@given(st.lists(keys, min_size=1, max_size=5), st.integers(0, 2))
def test_parse_refuses_repeated_keys(names: list[str], depth: int) -> None:
    indent = "  " * depth
    text = "".join(f"{'  ' * level}outer:\n" for level in range(depth)) + "".join(
        f"{indent}{name}: 0\n" for name in names
    )
    if len(set(names)) == len(names):
        assert parse(text, "x") == yaml.safe_load(text)
    else:
        with pytest.raises(UsageError, match="is repeated"):
            parse(text, "x")


def test_parse_reads_exponents_without_a_point_as_numbers() -> None:
    assert parse("[5e-5, 1E3, -2.5e+1, 5e, e5, 1.e2]", "x") == [5e-5, 1000.0, -25.0, "5e", "e5", 100.0]
