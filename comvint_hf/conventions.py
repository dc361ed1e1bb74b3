"""comvint.json: what building and tuning wrote down, and serving reads back, so that the two cannot disagree."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from comvint_hf.box_formats import DIALECTS, Dialect
from comvint_hf.errors import InputError

if TYPE_CHECKING:
    from PIL.Image import Image

FILE = "comvint.json"


def whole(name: str | None) -> str | None:
    """A folder here by its whole path, which nobody can take for a name on the Hub; any other name as it is.

    >>> whole("org/model"), whole(None)
    ('org/model', None)
    """
    return str(Path(name).resolve()) if name and Path(name).is_dir() else name


class Conventions(BaseModel):
    """The agreements between a dataset, the model tuned on it, and whoever serves that model.

    `box_dialect` names an entry of `dialects.DIALECTS`; `min_pixels` and `max_pixels` bound a picture before the
    processor sees it (`None`: as the processor does); `templates` are the task sentences that carried no loss;
    `learn` says which side did; `prompts` maps each prompt's name to a hash of its text. `base_dtype` and `quantization` say how
    the base was loaded while it was tuned: its dtype, and bitsandbytes' settings where it was quantised.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: int = 1
    box_dialect: str = "fraction"
    min_pixels: int | None = None
    max_pixels: int | None = None
    templates: tuple[str, ...] = ()
    learn: str | None = None
    base_model: str | None = None
    base_revision: str | None = None
    base_dtype: str | None = None
    quantization: dict[str, Any] | None = None
    dataset: str | None = None
    recipe: str | None = None
    generator: str | None = None
    judge: str | None = None
    prompts: dict[str, str] = {}

    @property
    def dialect(self) -> Dialect:
        if self.box_dialect not in DIALECTS:
            raise InputError(f"{FILE}: box_dialect is {self.box_dialect!r}; expected one of {', '.join(DIALECTS)}.")
        return DIALECTS[self.box_dialect]

    def fitted(self, picture: Image) -> Image:
        """The picture within the pixel bounds, its shape kept: what training and serving hand to the processor."""
        pixels = picture.width * picture.height
        wanted = max(min(pixels, self.max_pixels or pixels), self.min_pixels or 0)
        if wanted == pixels:
            return picture
        scale = math.sqrt(wanted / pixels)
        # Rounding down keeps the upper bound, rounding up the lower one.
        side = math.floor if scale < 1 else math.ceil
        return picture.resize((max(1, side(picture.width * scale)), max(1, side(picture.height * scale))))

    def write(self, folder: Path | str) -> Path:
        """Write the file into a folder; base and dataset that are folders here are written with their whole path."""
        path = Path(folder) / FILE
        path.parent.mkdir(parents=True, exist_ok=True)
        told = self.model_copy(update={name: whole(getattr(self, name)) for name in ("base_model", "dataset")})
        path.write_text(told.model_dump_json(indent=2) + "\n")
        return path

    @classmethod
    def read(cls, folder: Path | str) -> Self:
        """Read a folder's conventions; the defaults if it has none. Raises `InputError` if the file is broken."""
        path = Path(folder) / FILE
        if not path.exists():
            return cls()
        try:
            return cls.model_validate_json(path.read_bytes())
        except ValidationError as error:
            problem = error.errors()[0]
            where = ".".join(map(str, problem["loc"])) or "the file"
            raise InputError(
                f"{path}: {where}: {problem['msg']}; write it again by building or tuning, or mend it by hand."
            ) from error
