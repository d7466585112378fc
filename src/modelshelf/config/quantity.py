"""Sizes as Kubernetes writes them (`100Gi`), and the same followed by a B (`200MB`). Pure.

Format: https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/
"""

from __future__ import annotations

import math
import re
from decimal import Decimal

from modelshelf.shelf.errors import UsageError

_QUANTITY = re.compile(
    r"(?P<number>\d+(?:\.\d*)?|\.\d+)(?:[eE](?P<exponent>[+-]?\d{1,2})|(?P<unit>[KMGTPE]i|[kMGTPE]))?B?"
)
_BINARY = ("Ki", "Mi", "Gi", "Ti", "Pi", "Ei")
_UNITS: dict[str, int] = {unit: 1024**power for power, unit in enumerate(_BINARY, 1)} | {
    unit: 1000**power for power, unit in enumerate(("k", "M", "G", "T", "P", "E"), 1)
}
# From this many of a unit on, rounding up to a whole unit adds at most a tenth.
_ENOUGH_TO_ROUND = 10


def bytes_of(text: str) -> int:
    """Convert a quantity to bytes, rounded up.

    Args:
        text: A number with or without a unit: `1024`, `100Gi`, `1.5G`, `2e9`, `200MB`.

    Raises:
        UsageError: The text is not a size.

    Example:
        >>> bytes_of("1.5Ki"), bytes_of("200MB")
        (1536, 200000000)
    """
    match = _QUANTITY.fullmatch(text.strip())
    if match is None:
        raise UsageError(
            f"{text!r} is not a size", hint="write a number and a unit, such as 100Gi or 500M"
        )
    number = Decimal(f"{match['number']}e{match['exponent'] or 0}")
    return math.ceil(number * _UNITS.get(match["unit"] or "", 1))


def quantity_of(count: int) -> str:
    """Convert a number of bytes to a short binary quantity.

    The quantity is at least as large as the number, and at most a tenth larger.

    Example:
        >>> quantity_of(15 * 2**30), quantity_of(3 * 2**29), quantity_of(200)
        ('15Gi', '1536Mi', '200')
    """
    for unit in reversed(_BINARY):
        scale = _UNITS[unit]
        if count >= _ENOUGH_TO_ROUND * scale or (count >= scale and count % scale == 0):
            return f"{-(-count // scale)}{unit}"
    return str(count)


def kubernetes_quantity(text: str) -> str:
    """Convert a size to the form that Kubernetes accepts: without the B after the unit.

    Raises:
        UsageError: The text is not a size, or the size is less than one byte.
    """
    if bytes_of(text) < 1:
        raise UsageError(f"{text!r} is not a size: it must be more than 0", hint="write 100Gi")
    return text.strip().removesuffix("B")
