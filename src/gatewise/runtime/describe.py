"""describe(): a Keras model as a `Graph`. The only file of the package that imports Keras."""

import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np
from keras import layers, tree

from gatewise.engine.contract import STARTS_WITH_STATE
from gatewise.errors import ConfigError
from gatewise.runtime.graph import OPERATIONS, Graph, Node, Structure

Tensor = Any  # keras.KerasTensor
Value = str  # the name of what a node writes

VANISH = (  # what these layers do in training only
    *(layers.Dropout, layers.SpatialDropout1D, layers.GaussianNoise, layers.GaussianDropout),
    *(layers.AlphaDropout, layers.ActivityRegularization, layers.Identity, layers.SpatialDropout2D),
)
MERGE = {
    layers.Add: "add",
    layers.Multiply: "multiply",
    layers.Subtract: "subtract",
    layers.Maximum: "maximum",
    layers.Minimum: "minimum",
    layers.Average: "add",
}
ACTIVATIONS = frozenset(
    (
        *("linear", "relu", "sigmoid", "tanh", "softmax", "log_softmax", "softplus", "softsign"),
        *("elu", "selu", "gelu", "silu", "exponential", "hard_sigmoid", "hard_silu", "relu6"),
        *("leaky_relu", "mish", "log_sigmoid", "tanh_shrink"),
    )
)
# Functions of keras.ops and keras.activations whose class has another name than the function.
FUNCTIONS = {"get_item": "getitem", "re_lu": "relu", "true_divide": "divide"}
LARGE = 1e9  # Keras's attention subtracts it from the scores of masked steps


def describe(model: keras.Model, backend: str | None = None) -> Graph:
    """The graph of a functional or Sequential model; its weights are copies.

    Args:
        model: a built model.
        backend: Keras's name of the backend whose loops the graph follows, such as that of the
            training; None: the one in use.

    Raises:
        ConfigError: the model is neither, is not built, or has a layer that a graph cannot hold.
            The message names the layer.
    """
    functional = _functional(model)
    dtypes = {str(one.dtype) for one in model.weights if "seed" not in one.path}
    dtypes = {one for one in dtypes if one.startswith(("float", "bfloat"))} or {"float32"}
    compute = {layer.compute_dtype for layer in model._flatten_layers()}
    if len(dtypes) > 1 or not dtypes <= {"float32", "float64"} or not compute <= dtypes:
        raise ConfigError(
            f"The model computes in {', '.join(sorted(dtypes | compute))}. A graph holds float32 "
            "or float64 alone."
        )
    loops = backend or keras.backend.backend()
    writer = _Writer(dtypes.pop(), starts_with_state=loops in STARTS_WITH_STATE)
    values: dict[int, Value] = {}
    for tensor in functional.inputs:
        shape, fixed = list(tensor.shape[1:]), tensor.shape[0] is not None
        config = {"batch_shape": list(tensor.shape)} if fixed else {"shape": shape}
        name = tensor._keras_history.operation.name
        values[id(tensor)] = writer.one("input", [], name=name, dtype=str(tensor.dtype), **config)
    _walk(writer, functional, values)

    def named(structure: Any) -> Structure:
        return _mapped(lambda tensor: values[id(tensor)], structure)

    return Graph(
        name=model.name,
        dtype=writer.dtype,
        nodes=tuple(writer.nodes),
        inputs=named(functional._inputs_struct),
        outputs=named(functional._outputs_struct),
    )


def _functional(model: Any) -> Any:
    """The functional form of a model."""
    if isinstance(model, keras.Sequential):
        model = model._functional if model.built else None
    if not isinstance(model, keras.models.Model) or not hasattr(model, "_nodes_by_depth"):
        raise ConfigError(
            "A graph describes a functional or a built Sequential model. Received: "
            f"{type(model).__name__}."
        )
    return model


def _mapped(function: Callable[[Any], Value], structure: Any) -> Structure:
    """A structure of tensors as the same structure of names, with lists for tuples."""
    if isinstance(structure, Mapping):
        return {str(key): _mapped(function, one) for key, one in structure.items()}
    if isinstance(structure, list | tuple):
        return [_mapped(function, one) for one in structure]
    return function(structure)


@dataclass
class _Writer:
    """The nodes so far, and the mask that each value carries."""

    dtype: str
    starts_with_state: bool  # see engine.contract.STARTS_WITH_STATE
    nodes: list[Node] = field(default_factory=list)
    masks: dict[Value, Value] = field(default_factory=dict)
    dtypes: dict[Value, str] = field(default_factory=dict)
    weights: dict[int, Any] = field(default_factory=dict)  # by Keras variable, so copies are shared
    used: dict[str, int] = field(default_factory=dict)

    def write(
        self,
        operation: str,
        inputs: Sequence[Value],
        *,
        name: str = "",
        count: int = 1,
        weights: Mapping[str, Any] | None = None,
        **config: Any,
    ) -> list[Value]:
        """Add a node; return the values that it writes."""
        assert operation in OPERATIONS, operation
        name = self._free(name or operation)
        outputs = [name, *(f"{name}:{k}" for k in range(1, count))]
        held = {key: self._copied(one) for key, one in (weights or {}).items() if one is not None}
        self.nodes.append(
            Node(name, operation, tuple(inputs), tuple(outputs), _plain(config), held)
        )
        return outputs

    def one(self, operation: str, inputs: Sequence[Value], **options: Any) -> Value:
        """Add a node that writes one value."""
        return self.write(operation, inputs, **options)[0]

    def constant(self, value: Any, name: str = "constant") -> Value:
        """Add an array."""
        return self.one("constant", [], name=name, weights={"value": value})

    def _free(self, name: str) -> str:
        count = self.used[name] = self.used.get(name, 0) + 1
        return name if count == 1 else self._free(f"{name}_{count}")

    def _copied(self, variable: Any) -> Any:
        if id(variable) not in self.weights:
            # The variable is kept as well, so that no other object gets its id.
            self.weights[id(variable)] = (np.array(keras.ops.convert_to_numpy(variable)), variable)
        return self.weights[id(variable)][0]


def _plain(config: Mapping[str, Any]) -> dict[str, Any]:
    """A configuration as JSON values."""

    def plain(value: Any) -> Any:
        if isinstance(value, list | tuple):
            return [plain(one) for one in value]
        return value.item() if hasattr(value, "item") else value

    return {key: plain(value) for key, value in config.items()}


def _walk(writer: _Writer, functional: Any, values: dict[int, Value]) -> None:
    """Write the nodes of a functional model; `values` holds its inputs and gets all its tensors."""
    by_depth = functional._nodes_by_depth
    for depth in sorted(by_depth, reverse=True):
        for node in by_depth[depth]:
            if node.is_input or node.operation is None:
                continue
            written = _written(writer, node, values)
            for tensor, value in zip(tree.flatten(node.outputs), written, strict=True):
                values[id(tensor)] = value


def _written(writer: _Writer, node: Any, values: dict[int, Value]) -> list[Value]:
    """Write one call of a layer or function; return the values of its outputs, flat."""
    operation = node.operation
    signature = inspect.signature(operation.call)
    given = dict(signature.bind(*node.arguments.args, **node.arguments.kwargs).arguments)
    given.update(given.pop("kwargs", {}))
    if not isinstance(operation, keras.layers.Layer):
        return _function(writer, operation, given, node, values)
    if given.pop("training", None):
        raise ConfigError(f"Layer {operation.name} is called with training=True. {_ADVICE}")

    def value_of(one: Any) -> Any:
        if isinstance(one, keras.KerasTensor):
            return values[id(one)]
        return writer.constant(one) if keras.ops.is_tensor(one) else one

    given = {key: tree.map_structure(value_of, one) for key, one in given.items()}
    if hasattr(operation, "_nodes_by_depth") or isinstance(operation, keras.Sequential):
        return _submodel(writer, operation, given)
    return _layer(writer, operation, given)


_ADVICE = "gatewise runs and exports only the layers that docs/api.md lists."


def _submodel(writer: _Writer, model: Any, given: dict[str, Any]) -> list[Value]:
    """Write the layers of a model that is used as a layer."""
    inner = _functional(model)
    outer = tree.flatten(next(iter(given.values())))
    values = {id(tensor): one for tensor, one in zip(inner.inputs, outer, strict=True)}
    _walk(writer, inner, values)
    return [values[id(tensor)] for tensor in inner.outputs]


# Layers.

Written = Value | Sequence[Value]


def _layer(writer: _Writer, layer: Any, given: dict[str, Any]) -> list[Value]:
    """Write a layer, and pass its mask on as Keras does (keras.layers.Layer.__call__)."""
    write = LAYERS.get(type(layer))
    if write is None and type(layer) in VANISH:
        write = _vanish
    if write is None and type(layer) in MERGE:
        write = _merge
    if write is None:
        raise ConfigError(
            f"Layer {layer.name} is a {type(layer).__name__}, which a graph cannot hold. {_ADVICE}"
        )
    tensors = [
        key for key in given if key != "mask" and tree.flatten(given[key]) and _is(given[key])
    ]
    x = given[tensors[0]]
    attached = tree.map_structure(writer.masks.get, x)
    mask = given.get("mask")
    # Keras reads the attached mask only if no other argument holds tensors.
    if mask is None and len(tensors) == 1 and layer._call_has_mask_arg:
        mask = attached
    written = write(writer, layer, x, mask, given)
    outputs = [written] if isinstance(written, str) else list(written)
    previous = mask if mask is not None else attached
    if layer.supports_masking and not isinstance(layer, CARRY):
        for value, one in zip(outputs, _passed(layer, previous, len(outputs)), strict=True):
            if one is not None:
                writer.masks.setdefault(value, one)
    return outputs


def _is(argument: Any) -> bool:
    """Whether an argument is a value or a list of values."""
    return all(isinstance(one, str) for one in tree.flatten(argument) if one is not None)


def _passed(layer: Any, mask: Any, count: int) -> list[Value | None]:
    """The masks of the outputs of a layer that keeps the steps of its input."""
    mask = next(iter(tree.flatten(mask)), None) if mask is not None else None
    if isinstance(layer, layers.LSTM | layers.Bidirectional):
        several = isinstance(layer, layers.Bidirectional) and layer.merge_mode is None
        sequences = layer.return_sequences
        return [mask if sequences and k < 1 + several else None for k in range(count)]
    if isinstance(layer, layers.GlobalAveragePooling1D):
        return [None] * count
    return [mask, *[None] * (count - 1)]


def _vanish(_writer: _Writer, _layer: Any, x: Value, _mask: Any, _given: Any) -> Written:
    return x


def _activation(layer: Any, function: Any) -> str:
    """The name of an activation of Keras."""
    # Not by keras.activations.serialize, which imports TensorFlow wherever it is installed.
    name = getattr(function, "__name__", type(function).__name__)
    if name not in ACTIVATIONS or keras.activations.get(name) is not function:
        raise ConfigError(f"Layer {layer.name} has the activation {name!r}. {_ADVICE}")
    return name


def _dense(writer: _Writer, layer: Any, x: Value, _mask: Any, _given: Any) -> Written:
    if layer.lora_enabled or layer.quantization_mode:
        raise ConfigError(f"Layer {layer.name} is quantized or has LoRA weights. {_ADVICE}")
    weights = {"kernel": layer._kernel, "bias": layer.bias}
    name = _activation(layer, layer.activation)
    return writer.one("dense", [x], name=layer.name, weights=weights, activation=name)


def _embedding(writer: _Writer, layer: Any, x: Value, _mask: Any, given: Any) -> Written:
    if layer.lora_enabled or layer.quantization_mode:
        raise ConfigError(f"Layer {layer.name} is quantized or has LoRA weights. {_ADVICE}")
    table = {"embeddings": layer._embeddings}
    if given.get("reverse"):
        return _reversed(writer, layer, x)
    y = writer.one("embedding", [x], name=layer.name, weights=table)
    if layer.mask_zero:
        zero = writer.constant(np.int32(0))
        writer.masks[y] = writer.one("not_equal", [x, zero], name=f"{layer.name}_mask")
    return y


def _reversed(writer: _Writer, layer: Any, x: Value) -> Value:
    """The logits of a ReversibleEmbedding."""
    if layer.tie_weights:
        table = writer.one("constant", [], name=layer.name, weights={"value": layer._embeddings})
        kernel = writer.one("transpose", [table], axes=[1, 0])
    else:
        kernel = writer.constant(layer.reverse_embeddings)
    logits = writer.one("matmul", [x, kernel], name=f"{layer.name}_reverse")
    if layer.logit_soft_cap is None:
        return logits
    cap = writer.constant(np.asarray(layer.logit_soft_cap, writer.dtype))
    small = writer.one("divide", [logits, cap])
    return writer.one("multiply", [writer.one("activation", [small], activation="tanh"), cap])


def _masking(writer: _Writer, layer: Any, x: Value, _mask: Any, _given: Any) -> Written:
    value = writer.constant(np.asarray(layer.mask_value, writer.dtype))
    differs = writer.one("not_equal", [x, value])
    real = writer.one("any", [differs], name=f"{layer.name}_mask", axis=-1, keepdims=False)
    column = writer.one("expand_dims", [real], axis=-1)
    zero = writer.constant(np.zeros((), writer.dtype))
    y = writer.one("where", [column, x, zero], name=layer.name)
    writer.masks[y] = real
    return y


def _lstm(writer: _Writer, layer: Any, x: Value, mask: Any, given: Any) -> Written:
    states = given.get("initial_state")
    states = ["", ""] if states is None else list(states)
    mask = next((one for one in tree.flatten(mask) if one is not None), "") if mask else ""
    cell = layer.cell
    return writer.write(
        "lstm",
        [x, mask, *states],
        name=layer.name,
        count=3 if layer.return_state else 1,
        weights={
            "kernel": cell.kernel,
            "recurrent_kernel": cell.recurrent_kernel,
            "bias": cell.bias if cell.use_bias else None,
        },
        units=cell.units,
        activation=_activation(layer, cell.activation),
        recurrent_activation=_activation(layer, cell.recurrent_activation),
        go_backwards=layer.go_backwards,
        return_sequences=layer.return_sequences,
        zero_output_for_mask=layer.zero_output_for_mask,
        start_output=writer.starts_with_state and not layer.unroll,
        stateful=layer.stateful,
    )


def _bidirectional(writer: _Writer, layer: Any, x: Value, mask: Any, given: Any) -> Written:
    ways = (layer.forward_layer, layer.backward_layer)
    if any(type(one) is not layers.LSTM for one in ways):
        raise ConfigError(
            f"Layer {layer.name} holds a {type(ways[0]).__name__}; a graph holds a bidirectional "
            f"LSTM. {_ADVICE}"
        )
    states = given.get("initial_state")
    halves: list[Any] = [None, None]
    if states is not None:
        half = len(states) // 2
        halves = [states[:half], states[half:]]
    written = [
        list(_lstm(writer, one, x, mask, {"initial_state": state}))
        for one, state in zip(ways, halves, strict=True)
    ]
    first, second = written[0][0], written[1][0]
    if layer.return_sequences:
        second = writer.one("flip", [second], axis=1)
    rest = [*written[0][1:], *written[1][1:]] if layer.return_state else []
    mode, name = layer.merge_mode, layer.name
    if mode is None:
        return [first, second, *rest]
    if mode == "concat":
        merged = writer.one("concatenate", [first, second], name=name, axis=-1)
    elif mode == "ave":
        total = writer.one("add", [first, second])
        merged = writer.one("divide", [total, writer.constant(np.asarray(2, writer.dtype))])
    else:
        how = {"sum": "add", "mul": "multiply"}[mode]
        merged = writer.one(how, [first, second], name=name)
    return [merged, *rest]


def _time_distributed(writer: _Writer, layer: Any, x: Value, _mask: Any, _given: Any) -> Written:
    inner = layer.layer
    # These read the last axis only, so a further axis changes nothing.
    if type(inner) not in (layers.Dense, layers.Activation, *VANISH):
        raise ConfigError(
            f"Layer {layer.name} distributes a {type(inner).__name__} over time, which a graph "
            f"cannot hold. {_ADVICE}"
        )
    return _layer(writer, inner, {"inputs": x})


def _refuse_channels_first(layer: Any) -> None:
    if getattr(layer, "data_format", "channels_last") == "channels_first":
        raise ConfigError(f"Layer {layer.name} has data_format='channels_first'. {_ADVICE}")


def _convolution(writer: _Writer, layer: Any, x: Value, _mask: Any, _given: Any) -> Written:
    _refuse_channels_first(layer)
    return writer.one(
        "conv1d",
        [x],
        name=layer.name,
        weights={"kernel": layer._kernel, "bias": layer.bias},
        strides=layer.strides[0],
        padding=layer.padding,
        dilation_rate=layer.dilation_rate[0],
        groups=layer.groups,
        activation=_activation(layer, layer.activation),
    )


def _pooling(writer: _Writer, layer: Any, x: Value, _mask: Any, _given: Any) -> Written:
    _refuse_channels_first(layer)
    kind = "max" if isinstance(layer, layers.MaxPooling1D) else "average"
    return writer.one(
        f"{kind}_pooling1d",
        [x],
        name=layer.name,
        pool_size=layer.pool_size[0],
        strides=layer.strides[0],
        padding=layer.padding,
    )


def _global_average(writer: _Writer, layer: Any, x: Value, mask: Any, _given: Any) -> Written:
    _refuse_channels_first(layer)
    keep = layer.keepdims
    return writer.one("global_average_pooling1d", [x, mask or ""], name=layer.name, keepdims=keep)


def _global_max(writer: _Writer, layer: Any, x: Value, _mask: Any, _given: Any) -> Written:
    _refuse_channels_first(layer)
    return writer.one("max", [x], name=layer.name, axis=1, keepdims=layer.keepdims)


def _batch_normalization(writer: _Writer, layer: Any, x: Value, _mask: Any, _given: Any) -> Written:
    weights = {
        "moving_mean": layer.moving_mean,
        "moving_variance": layer.moving_variance,
        "gamma": layer.gamma if layer.scale else None,
        "beta": layer.beta if layer.center else None,
    }
    options = {"axis": layer.axis, "epsilon": layer.epsilon}
    return writer.one("batch_normalization", [x], name=layer.name, weights=weights, **options)


def _layer_normalization(writer: _Writer, layer: Any, x: Value, _mask: Any, _given: Any) -> Written:
    axes = [layer.axis] if isinstance(layer.axis, int) else list(layer.axis)
    if axes not in ([-1], [len(layer._build_shapes_dict["input_shape"]) - 1]) or layer.rms_scaling:
        raise ConfigError(
            f"Layer {layer.name} normalises other axes than the last, or by the root mean square. "
            f"{_ADVICE}"
        )
    weights = {"gamma": layer.gamma, "beta": layer.beta}
    options = {"axis": -1, "epsilon": layer.epsilon}
    return writer.one("layer_normalization", [x], name=layer.name, weights=weights, **options)


def _activate(writer: _Writer, layer: Any, x: Value, mask: Any, _given: Any) -> Written:
    """Write an Activation layer, or a layer that is one activation with arguments."""
    name, options = "", {}
    if isinstance(layer, layers.Activation):
        name = _activation(layer, layer.activation)
    elif isinstance(layer, layers.ReLU):
        name = "relu"
        options = {
            "negative_slope": layer.negative_slope,
            "max_value": layer.max_value,
            "threshold": layer.threshold,
        }
    elif isinstance(layer, layers.LeakyReLU):
        name, options = "leaky_relu", {"negative_slope": layer.negative_slope}
    elif isinstance(layer, layers.ELU):
        name, options = "elu", {"alpha": layer.alpha}
    elif mask is not None or not isinstance(layer.axis, int):
        raise ConfigError(f"Layer {layer.name} is a softmax with a mask or several axes. {_ADVICE}")
    else:
        return writer.one("softmax", [x], name=layer.name, axis=layer.axis)
    return writer.one("activation", [x], name=layer.name, activation=name, **options)


def _merge(writer: _Writer, layer: Any, x: list[Value], mask: Any, _given: Any) -> Written:
    """Write a layer that merges elements; its mask is the union of masks, if all have one."""
    y = x[0]
    for other in x[1:]:
        y = writer.one(MERGE[type(layer)], [y, other], name=layer.name)
    if isinstance(layer, layers.Average):
        y = writer.one("divide", [y, writer.constant(np.asarray(len(x), writer.dtype))])
    if mask is not None and None not in mask:
        writer.masks[y] = _union(writer, mask)
    return y


def _union(writer: _Writer, masks: list[Value]) -> Value:
    """The mask of the steps that any of these masks keeps."""
    union, *others = masks
    for other in others:
        union = writer.one("logical_or", [union, other])
    return union


def _concatenate(writer: _Writer, layer: Any, x: list[Value], mask: Any, _given: Any) -> Written:
    y = writer.one("concatenate", x, name=layer.name, axis=layer.axis)
    if mask is None or all(one is None for one in mask):
        return y
    rank = len(layer._build_shapes_dict["input_shape"][0])
    if layer.axis in (-1, rank - 1):
        # A step is masked if all inputs mask it; an input without a mask masks none.
        if None not in mask:
            writer.masks[y] = _union(writer, mask)
        return y
    parts = []
    for value, one in zip(x, mask, strict=True):
        if one is None:
            first = writer.one("getitem", [value], key=["...", 0])
            one = writer.one("ones_like", [first], dtype="bool")
        parts.append(one)
    writer.masks[y] = writer.one("concatenate", parts, axis=layer.axis)
    return y


def _attention(writer: _Writer, layer: Any, x: list[Value], mask: Any, given: Any) -> Written:
    """Write the products and the softmax of dot-product attention (Luong et al. 2015)."""
    if layer.score_mode != "dot" or given.get("use_causal_mask"):
        raise ConfigError(f"Layer {layer.name} has additive or causal attention. {_ADVICE}")
    query, value = x[:2]
    key = x[2] if len(x) > 2 else value
    query_mask, value_mask = (mask[0], mask[1]) if mask else (None, None)
    turned = writer.one("transpose", [key], axes=[0, 2, 1])
    scores = writer.one("matmul", [query, turned])
    if layer.scale is not None:
        scores = writer.one("multiply", [scores, writer.constant(layer.scale)])
    if value_mask is not None:
        large = writer.constant(np.asarray(LARGE, writer.dtype))
        lower = writer.one("subtract", [scores, large])
        real = writer.one("expand_dims", [value_mask], axis=-2)
        scores = writer.one("where", [real, scores, lower])
    weights = writer.one("softmax", [scores], axis=-1)
    y = writer.one("matmul", [weights, value], name=layer.name)
    if query_mask is not None:
        real = writer.one("expand_dims", [query_mask], axis=-1)
        y = writer.one("where", [real, y, writer.constant(np.zeros((), writer.dtype))])
        writer.masks[y] = query_mask
    return [y, weights] if given.get("return_attention_scores") else y


def _reshape(writer: _Writer, layer: Any, x: Value, _mask: Any, _given: Any) -> Written:
    if isinstance(layer, layers.Flatten):
        _refuse_channels_first(layer)
        return writer.one("reshape", [x], name=layer.name, newshape=[0, -1])
    return writer.one("reshape", [x], name=layer.name, newshape=[0, *layer.target_shape])


def _permute(writer: _Writer, layer: Any, x: Value, _mask: Any, _given: Any) -> Written:
    return writer.one("transpose", [x], name=layer.name, axes=[0, *layer.dims])


def _repeat_vector(writer: _Writer, layer: Any, x: Value, _mask: Any, _given: Any) -> Written:
    rows = writer.one("expand_dims", [x], axis=1)
    return writer.one("repeat", [rows], name=layer.name, repeats=layer.n, axis=1)


def _padding(writer: _Writer, layer: Any, x: Value, _mask: Any, _given: Any) -> Written:
    _refuse_channels_first(layer)
    widths = [[0, 0], list(layer.padding), [0, 0]]
    return writer.one("pad", [x], name=layer.name, pad_width=widths)


def _cropping(writer: _Writer, layer: Any, x: Value, _mask: Any, _given: Any) -> Written:
    begin, end = layer.cropping
    key = [[None, None, None], [begin, -end or None, None]]
    return writer.one("getitem", [x], name=layer.name, key=key)


def _up_sampling(writer: _Writer, layer: Any, x: Value, _mask: Any, _given: Any) -> Written:
    return writer.one("repeat", [x], name=layer.name, repeats=layer.size, axis=1)


def _rescaling(writer: _Writer, layer: Any, x: Value, _mask: Any, _given: Any) -> Written:
    scaled = writer.one("multiply", [x, writer.constant(np.asarray(layer.scale, writer.dtype))])
    offset = writer.constant(np.asarray(layer.offset, writer.dtype))
    return writer.one("add", [scaled, offset], name=layer.name)


LAYERS: dict[type, Callable[[_Writer, Any, Any, Any, dict[str, Any]], Written]] = {
    layers.Dense: _dense,
    layers.Embedding: _embedding,
    layers.ReversibleEmbedding: _embedding,
    layers.Masking: _masking,
    layers.LSTM: _lstm,
    layers.Bidirectional: _bidirectional,
    layers.TimeDistributed: _time_distributed,
    layers.Conv1D: _convolution,
    layers.MaxPooling1D: _pooling,
    layers.AveragePooling1D: _pooling,
    layers.GlobalAveragePooling1D: _global_average,
    layers.GlobalMaxPooling1D: _global_max,
    layers.BatchNormalization: _batch_normalization,
    layers.LayerNormalization: _layer_normalization,
    layers.Activation: _activate,
    layers.ReLU: _activate,
    layers.LeakyReLU: _activate,
    layers.ELU: _activate,
    layers.Softmax: _activate,
    layers.Concatenate: _concatenate,
    layers.Attention: _attention,
    layers.Reshape: _reshape,
    layers.Flatten: _reshape,
    layers.Permute: _permute,
    layers.RepeatVector: _repeat_vector,
    layers.ZeroPadding1D: _padding,
    layers.Cropping1D: _cropping,
    layers.UpSampling1D: _up_sampling,
    layers.Rescaling: _rescaling,
}
# Layers whose function above gives the output its mask.
CARRY = (layers.Masking, layers.Concatenate, layers.Attention, *MERGE)


# Functions of keras.ops.


def _function(
    writer: _Writer, operation: Any, given: dict[str, Any], node: Any, values: dict[int, Value]
) -> list[Value]:
    """Write a function of keras.ops or keras.activations; as in Keras, no mask passes it."""
    name = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", type(operation).__name__).lower()
    name = FUNCTIONS.get(name, name)
    if name == "convert_to_tensor":
        return [values[id(given["x"])]]
    known = name in ACTIVATIONS or (name in OPERATIONS and name not in NOT_FUNCTIONS)
    if not (known and type(operation).__module__.startswith("keras.")):
        raise ConfigError(
            f"The model calls {type(operation).__name__} ({operation.name}), which a graph cannot "
            f"hold. {_ADVICE}"
        )
    outputs = tree.flatten(node.outputs)
    config = _options(name, operation, given, str(outputs[0].dtype))
    flat = tree.flatten([one for one in given.values() if one is not None])
    peers = [str(one.dtype) for one in flat if isinstance(one, keras.KerasTensor)]
    inputs = [
        values[id(one)]
        if isinstance(one, keras.KerasTensor)
        else writer.constant(_as_array(one, peers))
        for one in flat
    ]
    if name not in OPERATIONS:
        config["activation"], name = name, "activation"
    return writer.write(name, inputs, name=operation.name, count=len(outputs), **config)


def _options(name: str, operation: Any, given: dict[str, Any], dtype: str) -> dict[str, Any]:
    """The configuration of a function; takes all but tensors out of the arguments of its call."""
    config = dict(operation.get_config())
    for unused in ("name", "sorted", "sparse", "initial", "mode"):
        if config.pop(unused, None) not in (None, operation.name, True, False, "constant"):
            raise ConfigError(f"The model calls keras.ops.{name} with {unused}. {_ADVICE}")
    if name == "pad" and given.pop("constant_values", None):
        raise ConfigError(f"The model pads with other values than 0. {_ADVICE}")
    if name == "getitem":
        key = given.pop("key")
        # A saved model holds a list for a tuple.
        config["key"] = [_key(one) for one in (key if isinstance(key, tuple | list) else (key,))]
    given.pop("dtype", None)
    if name in ("cast", "ones_like", "zeros_like", "one_hot"):
        config["dtype"] = dtype
    else:
        config.pop("dtype", None)
    return config


NOT_FUNCTIONS = ("input", "constant", "lstm", "dense", "embedding")


def _key(one: Any) -> Any:
    """An entry of an index as a JSON value."""
    if isinstance(one, slice):
        return [one.start, one.stop, one.step]
    if one is Ellipsis:
        return "..."
    if one is None or isinstance(one, int):
        return one
    raise ConfigError(f"The model indexes with {type(one).__name__}. {_ADVICE}")


def _as_array(value: Any, peers: Sequence[str]) -> Any:
    """A number or array as an array, numbers in the type of the tensors beside them."""
    array = np.asarray(keras.ops.convert_to_numpy(value) if keras.ops.is_tensor(value) else value)
    if array.ndim or not peers:
        return array.astype(keras.config.floatx()) if array.dtype == np.float64 else array
    whole = array.dtype.kind in "iub"
    near = [one for one in peers if one != "bool"]
    if whole and near:
        return array.astype(near[0])
    if whole:
        return array.astype("bool" if array.dtype.kind == "b" else "int32")
    floats = [one for one in near if one.startswith("float")]
    return array.astype(floats[0] if floats else keras.config.floatx())
