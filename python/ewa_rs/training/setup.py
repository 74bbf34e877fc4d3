"""The small decisions before a run."""

from __future__ import annotations

import numpy as np

from ewa_rs.models import model_options
from ewa_rs.training.checkpoint import CheckpointInfo
from ewa_rs.training.config import TrainConfig
from ewa_rs.training.data import DataSet, load_data


def configured_data(config: TrainConfig) -> DataSet:
    """Load the data set of a run."""
    return load_data(
        config.data,
        config.data_dir,
        image_size=config.image_size,
        channels=config.channels,
        val_fraction=config.val_fraction,
        seed=config.seed,
    )


def checkpoint_info(config: TrainConfig, data: DataSet) -> CheckpointInfo:
    """Return what the run's checkpoints say of themselves: not where it runs, but all options."""
    defaults = {k: v for k, v in model_options(config.model).items() if k != "backend"}
    return CheckpointInfo(
        model=config.model,
        model_options={**defaults, **config.to_dict()["model_options"]},
        input_shape=data.input_shape,
        class_names=data.class_names,
        mean=data.mean,
        std=data.std,
        data=data.name,
        seed=config.seed,
        val_fraction=config.val_fraction,
        image_size=config.image_size,
        channels=config.channels,
    )


def epoch_seed(seed: int, epoch: int) -> int:
    """Return the seed of everything random in an epoch, so that none of it needs to be stored."""
    return int(np.random.SeedSequence((seed, epoch)).generate_state(1, np.uint64)[0] >> 1)
