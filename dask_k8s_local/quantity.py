"""Quantities (``500m``, ``2Gi``), as ``k8s.io/apimachinery/pkg/api/resource`` reads and writes them."""

from __future__ import annotations

import re
from decimal import ROUND_CEILING, Decimal
from functools import lru_cache
from typing import Any

_QUANTITY = re.compile(r"([+-]?(?:\d+(?:\.\d*)?|\.\d+))(?:(Ki|Mi|Gi|Ti|Pi|Ei)|([numkMGTPE]|)|[eE]([+-]?\d+))")
_BINARY = {suffix: 1024 ** (power + 1) for power, suffix in enumerate(("Ki", "Mi", "Gi", "Ti", "Pi", "Ei"))}
_DECIMAL = {"n": -9, "u": -6, "m": -3, "": 0, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
_SUFFIX = {power: suffix for suffix, power in _DECIMAL.items()}
QUANTITY_DETAIL = (
    "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"
)
_NANO = Decimal("1e-9")


def parse(value: Any) -> Decimal:
    """Return a quantity's number; raise ValueError for what isn't one."""
    return _parse(str(value))[0]


@lru_cache(maxsize=4096)
def _parse(text: str) -> tuple[Decimal, str]:
    match = _QUANTITY.fullmatch(text)
    if match is None:
        raise ValueError(QUANTITY_DETAIL)
    number, binary, suffix, exponent = match.groups()
    if binary:
        return Decimal(number) * _BINARY[binary], "binary"
    if exponent is not None:
        return Decimal(number).scaleb(int(exponent)), "exponent"
    return Decimal(number).scaleb(_DECIMAL[suffix or ""]), "decimal"


def is_quantity(value: Any) -> bool:
    """Tell whether a value of JSON is a quantity."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return False
    return _QUANTITY.fullmatch(str(value)) is not None


def canonical(value: Any) -> Any:
    """Return a quantity as Kubernetes writes it back, what isn't one unchanged (it is refused later)."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return value
    return _canonical(str(value), value)


@lru_cache(maxsize=4096)
def _canonical(text: str, value: Any) -> Any:
    try:
        number, form = _parse(text)
    except ValueError:
        return value
    if form == "binary" and abs(number) >= 1024 and number == number.to_integral_value():
        return _binary_text(int(number))
    number = (number / _NANO).to_integral_value(rounding=ROUND_CEILING) * _NANO
    if number == 0:
        return "0"
    return _exponent_text(number, "e" if form == "exponent" else "")


def _binary_text(number: int) -> str:
    for suffix, unit in reversed(_BINARY.items()):
        if number % unit == 0:
            return f"{number // unit}{suffix}"
    return str(number)


def _exponent_text(number: Decimal, exponent_sign: str) -> str:
    for power in sorted(_SUFFIX, reverse=True):
        scaled = number.scaleb(-power)
        if scaled == scaled.to_integral_value():
            suffix = f"{exponent_sign}{power}" if exponent_sign and power else _SUFFIX[power]
            return f"{int(scaled)}{suffix}"
    return str(number)
