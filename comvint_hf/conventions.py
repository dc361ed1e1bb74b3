"""comvint.json: the conventions that builds and training write and serving reads, so that they cannot disagree."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from comvint_hf.box_formats import BOX_FORMATS, BoxFormat
from comvint_hf.errors import InputError
from comvint_hf.images import fit_pixels
from comvint_hf.strict_reader import LIMITS, read_json_file

if TYPE_CHECKING:
    from PIL.Image import Image

FILE = "comvint.json"


class Conventions(BaseModel):
    """The conventions that a dataset, the model tuned on it and its server share.

    Attributes:
        box_dialect: A name of `box_formats.BOX_FORMATS`.
        min_pixels: Lower bound on width x height of an image before the processor sees it; `None` leaves it to the processor.
        max_pixels: Upper bound, likewise.
        templates: The task sentences that carried no loss.
        learn: Which side of a conversation carried loss ("response", "instruction+response").
        base_dtype: The dtype of the base model during training.
        quantization: bitsandbytes' settings, if the base was quantised.
        prompts: A hash of each prompt's text by its name.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: int = 1
    box_dialect: str = "fraction"
    min_pixels: Annotated[int, Field(ge=1, le=LIMITS.resized_pixels)] | None = None
    max_pixels: Annotated[int, Field(ge=1, le=LIMITS.resized_pixels)] | None = None
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

    @model_validator(mode="after")
    def _check_bounds(self) -> Self:
        if self.min_pixels and self.max_pixels and self.min_pixels > self.max_pixels:
            raise ValueError(f"min_pixels is {self.min_pixels:,} and max_pixels only {self.max_pixels:,}")
        return self

    @property
    def box_format(self) -> BoxFormat:
        if self.box_dialect not in BOX_FORMATS:
            raise InputError(f"{FILE}: box_dialect is {self.box_dialect!r}; expected one of {', '.join(BOX_FORMATS)}.")
        return BOX_FORMATS[self.box_dialect]

    def fit_image(self, image: Image) -> Image:
        """Resize an image into the pixel bounds, its shape kept, as training and serving hand it to the processor."""
        return fit_pixels(image, self.min_pixels, self.max_pixels)

    def write(self, folder: Path | str) -> Path:
        """Write the file into a folder; base model and dataset that are folders here are written with their absolute path."""
        path = Path(folder) / FILE
        path.parent.mkdir(parents=True, exist_ok=True)
        absolute = self.model_copy(update={name: to_absolute(getattr(self, name)) for name in ("base_model", "dataset")})
        path.write_text(absolute.model_dump_json(indent=2) + "\n")
        return path

    @classmethod
    def read(cls, folder: Path | str) -> Self:
        """Read a folder's conventions; the defaults if it has no file. Raises `InputError` if the file is broken."""
        path = Path(folder) / FILE
        if not path.exists():
            return cls()
        try:
            return cls.model_validate_json(json.dumps(read_json_file(path, max_bytes=LIMITS.conventions_bytes)))
        except ValidationError as error:
            problem = error.errors()[0]
            where = ".".join(map(str, problem["loc"]))[:100] or "the file"
            raise InputError(
                f"{path}: {where}: {problem['msg'][:200]}; write it again by building or training, or repair it by hand."
            ) from error


def to_absolute(name: str | None) -> str | None:
    """Return the absolute path of a folder here, which cannot be taken for a name on the Hub; any other name unchanged.

    >>> to_absolute("org/model"), to_absolute(None)
    ('org/model', None)
    """
    return str(Path(name).resolve()) if name and Path(name).is_dir() else name
