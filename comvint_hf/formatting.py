"""How an amount of money is written, wherever one is told."""

from __future__ import annotations

import math


def dollars(amount: float) -> str:
    """An amount in dollars: whole cents, and below 100 dollars as many more digits as say what it is.

    Four decimals, or the first two digits of something smaller; zeros beyond the cents are left out.

    >>> dollars(0), dollars(25), dollars(0.0034), dollars(0.0000124), dollars(4.99871), dollars(1234.567)
    ('$0.00', '$25.00', '$0.0034', '$0.000012', '$4.9987', '$1,234.57')
    """
    size = abs(amount)
    if not size or size >= 100:
        return f"${amount:,.2f}"
    decimals = max(4, 1 - math.floor(math.log10(size)))
    whole, _, part = f"{amount:.{decimals}f}".partition(".")
    return f"${whole}.{part.rstrip('0'):0<2}"
