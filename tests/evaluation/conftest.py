"""The tiny model of the serving tests."""

from serving.conftest import tiny  # noqa: F401
