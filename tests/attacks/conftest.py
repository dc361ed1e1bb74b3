"""The local Hub, and the small model and dataset of training, for the attacks."""

from hub.conftest import _hub_process, environment, hub
from train.conftest import dataset, model

__all__ = ["_hub_process", "dataset", "environment", "hub", "model"]
