"""Find images that are the same picture, whatever their file name, size or compression, by a perceptual hash."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

from comvint_hf.errors import ImageError, InputError
from comvint_hf.images import decode_image

BITS = 64
BANDS = 4
DISTANCE = 3
"""Most bits that differ. Below the number of bands, so that two such hashes agree in one band at least."""


def hash_picture(encoded: bytes) -> int | None:
    """Hash what an encoded image looks like to 64 bits (DCT hash of ImageHash); `None` if it cannot be decoded.

    Raises:
        InputError: If ImageHash is not installed.
    """
    try:
        from imagehash import phash
    except ImportError as error:
        raise InputError("Duplicates are found by ImageHash: install it with pip install 'comvint-hf[quality]'.") from error
    try:
        return int(str(phash(decode_image(encoded))), 16)
    except ImageError:
        return None


def group_duplicates(hashed: Iterable[tuple[str, int]]) -> list[list[str]]:
    """Group names whose hashes differ in at most `DISTANCE` bits, also through others of the group; names that stand alone are left out.

    >>> group_duplicates([("a", 0b1), ("b", 0b11), ("c", 1 << 40 | 0xFFFF)])
    [['a', 'b']]
    """
    names: dict[int, list[str]] = defaultdict(list)
    for name, value in hashed:
        names[value].append(name)
    values = list(names)
    parents = {value: value for value in values}
    for group in _bands(values):
        for number, first in enumerate(group):
            for second in group[number + 1 :]:
                if (first ^ second).bit_count() <= DISTANCE:
                    parents[_root(parents, second)] = _root(parents, first)
    joined: dict[int, list[str]] = defaultdict(list)
    for value in values:
        joined[_root(parents, value)] += names[value]
    return [group for group in joined.values() if len(group) > 1]


def _bands(values: Sequence[int]) -> list[list[int]]:
    """The hashes that agree in a quarter of their bits: only these can be near each other."""
    width = BITS // BANDS
    grouped: dict[tuple[int, int], list[int]] = defaultdict(list)
    for value in values:
        for band in range(BANDS):
            grouped[band, value >> band * width & (1 << width) - 1].append(value)
    return [group for group in grouped.values() if len(group) > 1]


def _root(parents: dict[int, int], value: int) -> int:
    while parents[value] != value:
        parents[value] = value = parents[parents[value]]
    return value
