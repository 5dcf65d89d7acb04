"""A copy of a model that keeps no state between calls and takes batches of any size."""

from typing import Any

import keras

from gatewise.errors import ConfigError


def stateless(model: keras.Model) -> keras.Model:
    """The model itself; if it has stateful layers, a copy whose layers begin at zero.

    A stateful layer has a fixed batch size, and each call changes its state. The copy has the
    weights that the model has now.

    Raises:
        ConfigError: Keras cannot copy the stateful model, such as one of a class of its own.
    """
    if not any(getattr(one, "stateful", False) for one in model._flatten_layers()):
        return model
    try:
        copy = model.__class__.from_config(_changed(model.get_config()))
    except (NotImplementedError, TypeError, ValueError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ConfigError(
            f"{model.name} has stateful layers, and Keras cannot copy it from its configuration "
            f"({reason}). Build it with stateful=False, and give it the weights."
        ) from error
    for old, new in zip(_leaves(model), _leaves(copy), strict=True):
        new.set_weights(old.get_weights())
    return copy


def _changed(config: Any) -> Any:
    """A configuration of Keras without states and batch sizes."""
    if isinstance(config, dict):
        changed = {key: _changed(value) for key, value in config.items()}
        if "stateful" in changed:
            changed["stateful"] = False
        if changed.get("batch_shape"):
            changed["batch_shape"] = (None, *changed["batch_shape"][1:])
        return changed
    if isinstance(config, list | tuple):
        return type(config)(_changed(one) for one in config)
    return config


def _leaves(model: keras.Model) -> list[Any]:
    """The layers without layers inside, which hold the weights; a recurrent one holds states."""
    layers = model._flatten_layers(include_self=False)
    return [one for one in layers if not list(one._flatten_layers(include_self=False))]
