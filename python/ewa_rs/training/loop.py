"""The training loop, to be read from top to bottom."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from ewa_rs.models import create_model
from ewa_rs.models.registry import with_backend
from ewa_rs.training.checkpoint import load_state, save_checkpoint, save_state
from ewa_rs.training.config import TrainConfig
from ewa_rs.training.data import Split
from ewa_rs.training.data.batches import Normaliser, augment
from ewa_rs.training.device import pick_memory_format, resolve_precision
from ewa_rs.training.distributed import ALONE, World, check_batch_size, join, own_device
from ewa_rs.training.environment import environment, peak_memory
from ewa_rs.training.evaluation import autocast, evaluate
from ewa_rs.training.metrics import Totals, best_epoch
from ewa_rs.training.optimizer import make_optimizer
from ewa_rs.training.run_folder import RunFolder, default_output, tensorboard
from ewa_rs.training.setup import checkpoint_info, configured_data, epoch_seed
from ewa_rs.utils.files import write_json

OnEvent = Callable[[dict[str, Any]], None]
#: Parts of a run whose states are stored after every epoch.
_STATEFUL = ("model", "optimizer", "schedule", "scaler")


def train(
    config: TrainConfig, *, on_event: OnEvent | None = None, test: bool = True
) -> dict[str, Any]:
    """Train a network, or go on with an unfinished run, or return the result of a finished one.

    Everything random in an epoch follows from ``config.seed`` and the epoch's number, so a run
    that was stopped and resumed has the losses of one that was not.

    Parameters
    ----------
    config
        The settings. ``config.output`` is the folder of the run, see `RunFolder`.
    on_event
        Called with a dict whose ``event`` is ``start``, ``step``, ``epoch`` or ``result``.
    test
        False: leave the test set alone, for runs by which something is chosen. The result then has
        the validation split's figures, and the same call without it adds those of the test set.

    Returns
    -------
    dict
        What ``result.json`` holds. The test set is used for it, once, and for nothing else.

    Raises
    ------
    ValueError
        If the folder holds another run, or a setting does not fit.
    FloatingPointError
        If the training loss is no longer finite.
    """
    folder = RunFolder(Path(config.output) if config.output else default_output(config))
    if not (test or config.val_fraction):
        raise ValueError("val_fraction: expected more than 0 where the test set is not used, got 0")
    with join(config.device) as world:
        result = world.from_first(lambda: folder.finished(config, test=test))
        if result is None:
            run = Run(config, folder, on_event or (lambda event: None), world)
            world.from_first(lambda: folder.create(config))  # only now: all settings fit
            result = run.finish(test=test)
    return result


class Run:
    """One run, from its data to its result."""

    def __init__(
        self, config: TrainConfig, folder: RunFolder, on_event: OnEvent, world: World = ALONE
    ) -> None:
        self.config, self.folder, self.on_event = config, folder, on_event
        self.device, self.world = own_device(config.device), world
        self.data = data = world.first_on_each_node(lambda: configured_data(config))
        self.info = checkpoint_info(config, data)
        torch.manual_seed(config.seed)
        options = with_backend(config.model, config.model_options, config.backend)
        shape, classes = data.input_shape, len(data.class_names)
        model = create_model(config.model, input_shape=shape, num_classes=classes, **options)
        self.model = model.to(self.device)
        self.precision = resolve_precision(config.precision, self.device, self.model)
        memory_format = pick_memory_format(self.model, channels_last=config.channels_last)
        self.model.to(memory_format=memory_format)
        self.normalise = Normaliser(data.mean, data.std, self.device, memory_format)
        self.train_split, self.val_split = data.train.to(self.device), data.val.to(self.device)
        # The last, smaller batch is left out: every step has the same shape.
        self.batch_size = check_batch_size(min(config.batch_size, len(data.train)), world.size)
        self.steps = len(data.train) // self.batch_size
        self.parameters = tuple(self.model.parameters())
        self.optimizer = make_optimizer(self.model, config)
        self.schedule = torch.optim.lr_scheduler.OneCycleLR(
            self.optimizer, max_lr=config.lr, total_steps=config.epochs * self.steps
        )
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=self.precision == "fp16")
        self.history: list[dict[str, Any]] = []
        self._restore()
        self.forward: Callable[[Tensor], Tensor] = world.wrap(self.model)
        if config.compile:
            self.forward = torch.compile(self.forward)

    def finish(self, *, test: bool = True) -> dict[str, Any]:
        """Train the epochs that are left, test, and write the result."""
        self.fit()
        result = self._score("test" if test else "val")
        if self.world.rank == 0:
            write_json(self.folder.result, result)
            if test:  # else the test is left to go on with
                self.folder.state.unlink(missing_ok=True)
        self._tell("result", **result)
        return result

    def fit(self) -> list[dict[str, Any]]:
        """Train the epochs that are left; return the lines of all of them."""
        done, epochs, size = len(self.history), self.config.epochs, self._parameters()
        about = {"epoch": done, "epochs": epochs, "steps": self.steps, "parameters": size}
        self._tell("start", **about, **self._place())
        with tensorboard(self.config, self.folder, done) as write_scalars:
            for epoch in range(done + 1, epochs + 1):
                line = self._train_epoch(epoch) | self._validate()
                self.history.append(line)
                if self.world.rank == 0:
                    self._save(line)
                write_scalars(line)
                self._tell("epoch", **line)
        return self.history

    def _train_epoch(self, epoch: int) -> dict[str, Any]:
        start = time.perf_counter()
        torch.manual_seed(epoch_seed(self.config.seed, epoch))
        self.model.train()
        totals = Totals(self.device)
        order = torch.randperm(len(self.train_split), device=self.device)
        self.world.diverge()
        for step in range(self.steps):
            first = step * self.batch_size
            chosen = self.world.share(order[first : first + self.batch_size])
            # index_select copies whole images; indexing with [] is many times slower.
            images = self.train_split.images.index_select(0, chosen)
            labels = self.train_split.labels.index_select(0, chosen)
            loss, logits = self._step(images, labels)
            totals.add(loss, logits, labels)
            self._tell("step", epoch=epoch, step=step + 1)
        loss_mean, accuracy = totals.means(self.world)
        self.world.broadcast(self.model.buffers())
        if not math.isfinite(loss_mean):
            raise FloatingPointError(f"epoch {epoch}: the training loss is {loss_mean}; lower --lr")
        seconds = time.perf_counter() - start
        return {
            "epoch": epoch,
            "loss": loss_mean,
            "train_accuracy": accuracy,
            "lr": self.schedule.get_last_lr()[0],
            "seconds": seconds,
            "images_per_second": self.steps * self.batch_size / seconds,
        }

    def _step(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        x = self.normalise(images)
        if self.config.augment:
            x = augment(x)
        with autocast(self.device, self.precision):
            logits = self.forward(x).float()
            loss = F.cross_entropy(logits, labels, label_smoothing=self.config.label_smoothing)
        for parameter in self.parameters:
            parameter.grad = None  # as zero_grad(), which takes fifteen times as long to say so
        self.scaler.scale(loss).backward()
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.schedule.step()
        return loss, logits

    def _validate(self) -> dict[str, Any]:
        scores = self._evaluate(self.val_split) if len(self.val_split) else {}
        return {"val_loss": scores.get("loss"), "val_accuracy": scores.get("accuracy")}

    def _score(self, split: Literal["test", "val"]) -> dict[str, Any]:
        """Score the last epoch's weights; this is the only place that reads the test set."""
        scores = self._evaluate(getattr(self.data, split).to(self.device))
        seconds = [line["seconds"] for line in self.history]
        return {
            "parameters": self._parameters(),
            f"{split}_accuracy": scores["accuracy"],
            f"{split}_loss": scores["loss"],
            "val_accuracy": self.history[-1]["val_accuracy"],
            "best_epoch": best_epoch(self.history),
            "class_accuracy": scores["class_accuracy"],
            "confusion_matrix": scores["confusion_matrix"],
            "seconds_per_epoch": statistics.median(seconds),
            "total_seconds": sum(seconds),
            "peak_memory_bytes": peak_memory(),
            **self._place(),
            **environment(),
            "command": self.config.command(),
            "config": self.config.to_dict(),
        }

    def _evaluate(self, split: Split) -> dict[str, Any]:
        names = self.data.class_names
        return evaluate(self.model, split, self.normalise, names, self.precision, self.world)

    def _place(self) -> dict[str, Any]:
        device, processes = str(self.device), self.world.size
        return {"device": device, "precision": self.precision, "processes": processes}

    def _parameters(self) -> int:
        return sum(p.numel() for p in self.parameters)

    def _save(self, line: dict[str, Any]) -> None:
        """Keep an epoch. The state comes last: what it does not know of is done again."""
        if best_epoch(self.history) == line["epoch"]:
            save_checkpoint(self.folder.best, self.model, self.info)
        save_checkpoint(self.folder.last, self.model, self.info)
        self.folder.write_epochs(self.history)
        parts = {name: part.state_dict() for name, part in self._stateful().items()}
        save_state(self.folder.state, {"history": self.history, **parts})

    def _restore(self) -> None:
        """Go on from the state that rank 0 finds in the folder, if there is one."""
        path = self.folder.state
        state = self.world.from_first(lambda: load_state(path) if path.exists() else None)
        if state is None:
            return
        try:
            for name, part in self._stateful().items():
                part.load_state_dict(state[name])
            self.history = state["history"]
        except (KeyError, ValueError, RuntimeError) as error:
            raise ValueError(f"{path}: not of this run ({error})") from error

    def _stateful(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in _STATEFUL}

    def _tell(self, event: str, **details: Any) -> None:
        if self.world.rank == 0:
            self.on_event({"event": event, **details})
