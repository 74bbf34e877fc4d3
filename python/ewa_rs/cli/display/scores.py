"""What networks say about images, and how often they are right."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import typer
from rich.table import Table

from ewa_rs.cli.console import output


def print_scores(scores: dict[str, Any]) -> None:
    """Print accuracy, and a table with each class."""
    output.print(
        f"{scores['model']} on {scores['data']}, {scores['split']}, {scores['images']:,} images: "
        f"accuracy {scores['accuracy']:.2%}, loss {scores['loss']:.4f}",
        markup=False,
    )
    table = Table("class", "accuracy", "most often taken for", box=None, header_style="bold")
    table.columns[1].justify = "right"
    names = list(scores["class_accuracy"])
    for i, (name, accuracy) in enumerate(scores["class_accuracy"].items()):
        wrong = [0 if j == i else n for j, n in enumerate(scores["confusion_matrix"][i])]
        worst = max(wrong)
        table.add_row(
            name,
            "-" if accuracy is None else f"{accuracy:.1%}",
            f"{names[wrong.index(worst)]} ({worst})" if worst else "",
        )
    output.print(table)


def print_predictions(predictions: Sequence[dict[str, Any]], top: int) -> None:
    """Print for each image its likeliest classes."""
    for prediction in predictions:
        likeliest = list(prediction["probabilities"].items())[:top]
        classes = "  ".join(f"{name} {share:.1%}" for name, share in likeliest)
        typer.echo(f"{prediction['image']}: {classes}")
