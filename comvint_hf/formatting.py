"""Format costs for messages, logs and cards."""

from __future__ import annotations

import math


def format_cost(amount: float) -> str:
    """Format an amount in dollars: cents, and below 100 dollars four decimals, or the first two digits of a smaller amount.

    Zeros beyond the cents are left out.

    >>> " ".join(map(format_cost, (0, 25, 0.0034, 0.0000124, 4.99871, 1234.567)))
    '$0.00 $25.00 $0.0034 $0.000012 $4.9987 $1,234.57'
    """
    size = abs(amount)
    if not size or size >= 100:
        return f"${amount:,.2f}"
    decimals = max(4, 1 - math.floor(math.log10(size)))
    whole, _, part = f"{amount:.{decimals}f}".partition(".")
    return f"${whole}.{part.rstrip('0'):0<2}"
