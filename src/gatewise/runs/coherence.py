"""Do the files of a run folder belong together? The sizes that they imply are compared."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from gatewise.data.batches import Shapes
from gatewise.data.preparation import Preparation
from gatewise.data.spacing import known_step
from gatewise.errors import GatewiseError
from gatewise.runtime.network import Network

EMBEDDING = "_embedding"  # the end of the name of a layer that embeds one of several vocabularies
LOGITS = "logits"  # the output of a network that returns its states as well
LONGEST = 60  # seconds of a frame
TRIED = (1, 64)  # steps of a trial; a convolution may need more than one

Size = tuple[int | None, ...]  # without the batch axis; None: any, or unknown


@dataclass(frozen=True)
class Sizes:
    """What a network reads and returns."""

    inputs: Mapping[str, Size] | None  # one input alone is named ""; None: they have no names
    output: Size | None  # None: unknown
    states: frozenset[str]  # inputs that are also outputs


def refuse_incoherent(preparation: Preparation[Any], shapes: Callable[..., Shapes]) -> None:
    """Refuse a preparation that contradicts itself.

    Raises:
        ValueError: it does, as the message says.
        LookupError: it names a column that it does not have.
    """
    found = preparation.scale.centre.shape
    rows = len(preparation.scale.ids) if preparation.scale.by == "series" else 1
    wanted = (rows, len(preparation.columns))
    if found[1] and found != wanted:  # without numbers nothing is scaled
        raise ValueError(f"the scale has the shape {found} in place of {wanted}")
    if not known_step(preparation.step):
        raise ValueError(f"the step {preparation.step[:60]!r} has no known unit")
    spectrum = getattr(preparation.own, "spectrum", None)
    if spectrum is not None and (
        spectrum.columns != preparation.columns
        or not 1 <= spectrum.hop_length <= spectrum.frame_length <= LONGEST * spectrum.rate
    ):
        raise ValueError("its frames are not those of its spectrum")
    if getattr(preparation.own, "window", 0) and not preparation.own.stride:
        raise ValueError("own.stride is 0, so its windows never end")
    preparation.positions(preparation.used)
    preparation.positions(getattr(preparation.own, "known", ()))
    sides = {*preparation.static_scale, *preparation.categories}
    if strange := set(getattr(preparation.own, "static", ())) - sides:
        raise LookupError(
            f"own.static names {min(strange)[:60]!r}, which has no scale and no levels"
        )
    shapes(preparation)


def refuse_other_sizes(network: Any, shapes: Shapes, *, own: bool) -> None:
    """Refuse a network that does not read or return what its preparation implies.

    `network` is a keras.Model, or a runtime network, or several of those by name. A user's `own`
    network may embed tokens in its own way, and leave inputs out.

    Raises:
        ValueError: a size differs; the message names both.
    """
    networks = list(network.values()) if isinstance(network, dict) else [network]
    embedded = {
        name: size
        for one in networks
        for name, size in _embedded(one).items()
        if size > 1  # not a constant
    }
    if embedded and not own:
        _compare_tokens(embedded, shapes.vocabulary)
    if not isinstance(network, dict):  # the parts of a beam search read other inputs
        _compare(sizes_of(network), shapes, own=own)


def _compare_tokens(embedded: Mapping[str, int], known: Mapping[str, int]) -> None:
    """Compare the embeddings, tokens by name of the layer, with the sizes of the vocabularies."""
    found, wanted = set(embedded.values()), set(known.values())
    # It may embed other things, too, such as the transitions of a CRF.
    if not wanted <= found:
        raise ValueError(
            f"the network embeds {_listed(found)} tokens, but the preparation knows "
            f"{_listed(wanted)}"
        )
    named = {name.removesuffix(EMBEDDING) for name in embedded if name.endswith(EMBEDDING)}
    if known and (len(embedded) < len(known) or (named and named != known.keys())):
        raise ValueError(
            f"the network has the embeddings {_listed(embedded)}, but the preparation has a "
            f"vocabulary of {_listed(known)}"
        )


def _compare(sizes: Sizes, shapes: Shapes, *, own: bool) -> None:
    if sizes.inputs is not None:
        wanted = dict(shapes.inputs)
        if len(wanted) == 1 and sizes.inputs.keys() == {""}:
            wanted = {"": next(iter(wanted.values()))}
        read = sizes.inputs.keys() - sizes.states
        if not read <= wanted.keys() or (not own and read != wanted.keys()):
            raise ValueError(
                f"the network reads the inputs {_listed(read)}, but the preparation makes "
                f"{_listed(wanted)}"
            )
        for name in read:
            if not _alike(sizes.inputs[name], wanted[name]):
                raise ValueError(
                    f"the network reads {_shown(sizes.inputs[name])}, but the preparation makes "
                    f"{_shown(wanted[name])}"
                )
    if sizes.output is not None:
        found = sizes.output[-len(shapes.output) :]
        if not _alike(found, shapes.output):
            raise ValueError(
                f"the network returns {_shown(found)}, but the preparation needs "
                f"{_shown(shapes.output)}"
            )


def _alike(found: Size, wanted: Size) -> bool:
    return len(found) == len(wanted) and all(
        a is None or b is None or a == b for a, b in zip(found, wanted, strict=True)
    )


def _shown(size: Size) -> str:
    return "(" + ", ".join("any" if one is None else str(one) for one in size) + ")"


def _listed(values: Any) -> str:
    return ", ".join(map(str, sorted(values))) or "none"


def sizes_of(network: Any) -> Sizes:
    """The sizes of a keras.Model or of a runtime network."""
    return _of_network(network) if isinstance(network, Network) else _of_model(network)


def _embedded(network: Any) -> dict[str, int]:
    """The number of tokens of each embedding, by the name of its layer."""
    if isinstance(network, Network):
        nodes = [node for node in network.graph.nodes if node.operation == "embedding"]
        return {node.name: len(node.weights["embeddings"]) for node in nodes}
    layers = [one for one in network._flatten_layers() if hasattr(one, "input_dim")]
    return {one.name: int(one.input_dim) for one in layers}  # only embeddings have input_dim


def _of_model(model: Any) -> Sizes:
    if not getattr(model, "inputs", None):  # of a class of the user's own
        return Sizes(None, None, frozenset())
    given, returned = model.input, model.output
    inputs = None
    if isinstance(given, Mapping):
        inputs = {name: tuple(one.shape[1:]) for name, one in given.items()}
    elif hasattr(given, "shape"):
        inputs = {"": tuple(given.shape[1:])}
    outputs = returned if isinstance(returned, Mapping) else {LOGITS: returned}
    logits: Any = outputs.get(LOGITS)
    return Sizes(
        inputs=inputs,
        output=tuple(logits.shape[1:]) if hasattr(logits, "shape") else None,
        states=frozenset(set(inputs or ()) & set(outputs)),
    )


def _of_network(network: Network) -> Sizes:
    shape = network.input_shape
    inputs = None
    if isinstance(shape, Mapping):
        inputs = {name: tuple(one[1:]) for name, one in shape.items()}
    elif isinstance(shape, tuple):
        inputs = {"": tuple(shape[1:])}
    returned = network.graph.outputs
    return Sizes(
        inputs=inputs,
        output=_tried(network, inputs) if inputs is not None else None,
        states=frozenset(set(inputs or ()) & set(returned))
        if isinstance(returned, Mapping)
        else frozenset(),
    )


def _tried(network: Network, inputs: Mapping[str, Size]) -> Size | None:
    """The size of the output for zeros, because a graph lists no sizes; None if that fails."""
    for steps in TRIED:
        zeros = {
            name: np.zeros([1, *(steps if one is None else one for one in size)])
            for name, size in inputs.items()
        }
        try:
            with np.errstate(all="ignore"):
                outputs = network(zeros[""] if zeros.keys() == {""} else zeros)
        except (GatewiseError, MemoryError):
            continue
        finally:
            network.reset_state()
        logits = outputs.get(LOGITS) if isinstance(outputs, Mapping) else outputs
        return tuple(np.shape(logits)[1:]) if logits is not None else None
    return None
