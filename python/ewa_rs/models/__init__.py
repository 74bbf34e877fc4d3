"""Image classifiers, one file a network, built by name with `create_model`."""

from ewa_rs.models import dot_product, ewa, ewa_net, linear, vgg_like
from ewa_rs.models.registry import create_model, list_models, model_options

__all__ = [
    "create_model",
    "dot_product",
    "ewa",
    "ewa_net",
    "linear",
    "list_models",
    "model_options",
    "vgg_like",
]
