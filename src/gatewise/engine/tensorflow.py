"""The kernels inside TensorFlow: the operations of native/tensorflow.cpp and their gradients.

The operations run eagerly, in a `tf.function` with unknown sizes, and under any tape. `_plain`
computes the same in plain TensorFlow, because second derivatives need a function that TensorFlow
can differentiate.

XLA cannot call the kernels, and an exported file must run without gatewise. In both cases,
TensorFlow traces Keras's own loop.
"""

import copy
import functools
import itertools
import sys
import weakref
from collections.abc import Callable, Sequence
from importlib import resources
from types import FrameType
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf
from keras import tree
from keras.layers import RNN
from keras.optimizers import Adam
from keras.src.backend.tensorflow.trainer import TensorFlowTrainer, TFEpochIterator
from keras.src.trainers.data_adapters import array_slicing
from keras.src.trainers.data_adapters.array_data_adapter import ArrayDataAdapter
from keras.src.trainers.data_adapters.tf_dataset_adapter import TFDatasetAdapter
from tensorflow.python.eager import context as eager
from tensorflow.python.eager import record
from tensorflow.python.framework import ops as framework
from tensorflow.python.ops import control_flow_util
from tensorflow.python.ops.resource_variable_ops import BaseResourceVariable
from tensorflow.python.saved_model import save

from gatewise.engine import contract, library
from gatewise.engine.contract import (
    ACTIVATIONS,
    APART,
    DIFFERENTIABLE,
    JOINED,
    NONE,
    PRODUCTS,
    Array,
    Arrays,
    Direction,
    Outputs,
    States,
)
from gatewise.errors import EngineError

ALIASES = {
    "tanh": (tf.tanh, tf.nn.tanh),
    "sigmoid": (tf.sigmoid, tf.nn.sigmoid),
    "relu": (tf.nn.relu,),
    "softsign": (tf.nn.softsign,),
    "elu": (tf.nn.elu,),
    "linear": (tf.identity,),
}
FEW = contract.Few(wide=256)

NAME = library.NAME.replace("gatewise", "gatewise_tensorflow")
_FORWARD = {NONE: "Gatewise>States", APART: "Gatewise>Sequences", JOINED: "Gatewise>Joined"}
_BACKWARD = "Gatewise>Backward"

# The folders of the code that traces a model in order to export it.
_EXPORTERS = (
    *("/tensorflow/python/saved_model/", "/tensorflow/lite/python/"),
    *("/keras/src/export/", "/tf2onnx/"),
)


class Plan(NamedTuple):
    """Everything that is known of a call before its values."""

    directions: tuple[Direction, ...]
    outputs: int
    present: tuple[tuple[bool, ...], ...]  # which arrays each layer has, in the order of `Arrays`


def lstm(
    layers: Sequence[Arrays],
    directions: Sequence[Direction],
    *,
    sequences: bool = True,
    joined: bool = False,
) -> tuple[Outputs, States]:
    """See contract.py."""
    if reason := missing():
        raise EngineError(reason)
    # Keras passes its variables as tensors.
    layers = [
        Arrays(*[None if one is None else tf.convert_to_tensor(one) for one in arrays])
        for arrays in layers
    ]
    contract.check(layers, lambda one: one.dtype.name)
    outputs = (JOINED if joined else APART) if sequences else NONE
    present = tuple(tuple(one is not None for one in arrays) for arrays in layers)
    plan = Plan(tuple(directions), outputs, present)
    # Without a tape a gradient is unlikely. If it is needed after all, the forward pass runs again.
    found = _forward(plan, layers, training=record.could_possibly_record())
    y, states, _ = found
    return tuple(y), list(zip(states[::2], states[1::2], strict=True))


def why_not(x: Array | None = None, /) -> str | None:
    """See contract.py."""
    if reason := missing():
        return reason
    if tf.config.list_logical_devices("GPU"):
        return "TensorFlow computes on a GPU, and the kernels on the CPU."
    if isinstance(x, tf.RaggedTensor | tf.SparseTensor):
        return f"Its input is a {type(x).__name__}, and the kernels read dense arrays."
    graph = framework.get_default_graph()
    if not tf.executing_eagerly() and control_flow_util.GraphOrParentsInXlaContext(graph):
        return (
            "It is compiled by XLA (jit_compile=True), which cannot call the kernels. Without "
            "jit_compile they run."
        )
    return None


def is_traced(x: Array) -> bool:
    """Whether `x` is traced for a file that must run without gatewise, or has an unknown rank."""
    if tf.executing_eagerly():
        return False
    return tf.TensorShape(x.shape).rank is None or _is_exporting(sys._getframe(1))


def is_hooked(_layer: Any, /) -> bool:
    """See contract.py."""
    return False


def settled(function: Callable[..., Any], *arguments: Any) -> Any:
    """See contract.py; TensorFlow runs Python code, once for each trace."""
    return function(*arguments)


def _is_exporting(frame: FrameType | None) -> bool:
    """Whether TensorFlow, LiteRT, Keras or tf2onnx is exporting; only the call stack tells."""
    while frame is not None:
        if any(folder in frame.f_code.co_filename for folder in _EXPORTERS):
            return True
        frame = frame.f_back
    return False


@functools.cache
def missing() -> str | None:
    """Load the operations; return why that is impossible, or None."""
    try:
        library.load()
    except EngineError as error:
        return str(error)
    place = resources.files("gatewise.engine") / NAME
    if sys.platform == "darwin":
        return "The kernels run in TensorFlow only on Linux."
    if not place.is_file():
        return (
            f"gatewise was installed without its operations for TensorFlow ({NAME}). Install it "
            "again on a machine with a C++ compiler."
        )
    try:
        with resources.as_file(place) as path:
            _operations(str(path))
        _guard_files()
    except (tf.errors.OpError, ImportError) as error:
        return f"TensorFlow {tf.__version__} does not load the kernels: {error}."
    return None


@functools.cache
def _operations(path: str = "") -> Any:
    if not path:
        return _operations(str(resources.files("gatewise.engine") / NAME))
    return tf.load_op_library(path)


# The work of Keras around a short loop.

_get_tf_dataset = ArrayDataAdapter.get_tf_dataset


def _one_batch(self: ArrayDataAdapter) -> Any:
    """Replace ArrayDataAdapter.get_tf_dataset.

    Keras builds a pipeline that shuffles and gathers. For one sequence, tracing its functions takes
    nine tenths of `predict` (docs/log.md). A single batch needs no such functions.
    """
    if (
        self._shuffle
        or not 0 < self._num_samples <= self._batch_size
        or not all(isinstance(one, np.ndarray | tf.Tensor) for one in tree.flatten(self._inputs))
    ):
        return _get_tf_dataset(self)
    inputs = array_slicing.convert_to_sliceable(self._inputs, target_backend="tensorflow")
    whole = self._num_samples == self._batch_size
    options = tf.data.Options()
    options.experimental_optimization.apply_default_optimizations = False
    options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.DATA
    data = tf.data.Dataset.from_tensor_slices(tree.lists_to_tuples(inputs))
    return data.batch(self._batch_size, drop_remainder=whole).with_options(options)


def _untuned(self: TFEpochIterator) -> Any:
    """Replace TFEpochIterator._get_iterator: TensorFlow does not tune Keras's own pipelines.

    The thread that tunes a pipeline sleeps for 10 ms, then 20, 40 and so on up to a minute. The end
    of an iterator often fails to wake it and waits for it, so an epoch takes up to twice as
    long as its steps (docs/log.md). The pipelines of Keras have nothing to tune; a data set of the
    user keeps its options.
    """
    data = self._distributed_dataset
    if isinstance(self.data_adapter, TFDatasetAdapter) or not isinstance(data, tf.data.Dataset):
        return data
    options = tf.data.Options()
    options.autotune.enabled = False
    return data.with_options(options)


_update_step = Adam.update_step


def _fused_adam(self: Adam, gradient: Any, variable: Any, learning_rate: Any) -> None:
    """Replace Adam.update_step by TensorFlow's operation for the same formula.

    Keras's fifteen operations each read and write a whole embedding. With an Embedding(20000, 128),
    that took longer than the LSTM (docs/log.md).
    """
    index = self._get_variable_index(variable)
    m, v = (getattr(one, "value", one) for one in (self._momentums[index], self._velocities[index]))
    dtype = variable.dtype
    if (
        self.amsgrad
        or why_not()
        or not all(isinstance(one, BaseResourceVariable) for one in (variable, m, v))
        or dtype not in (tf.float32, tf.float64)
    ):
        _update_step(self, gradient, variable, learning_rate)
        return
    step = tf.cast(self.iterations + 1, dtype)
    beta_1, beta_2, epsilon = (
        tf.constant(one, dtype) for one in (self.beta_1, self.beta_2, self.epsilon)
    )
    powers = tf.pow(beta_1, step), tf.pow(beta_2, step)
    gradient = tf.cast(gradient, dtype)
    if isinstance(gradient, tf.IndexedSlices):
        # Keras adds up the squares of a row that occurs twice; the operation would square the sum.
        m.assign(m * beta_1)
        m.scatter_add(tf.IndexedSlices(gradient.values * (1 - beta_1), gradient.indices))
        squares = tf.IndexedSlices(tf.square(gradient.values), gradient.indices, variable.shape)
        gradient = tf.sqrt(tf.convert_to_tensor(squares))
        beta_1 = tf.ones((), dtype)  # m stays
    tf.raw_ops.ResourceApplyAdam(
        var=variable.handle,
        m=m.handle,
        v=v.handle,
        beta1_power=powers[0],
        beta2_power=powers[1],
        lr=tf.cast(learning_rate, dtype),
        beta1=beta_1,
        beta2=beta_2,
        epsilon=epsilon,
        grad=gradient,
    )


_make_function = TensorFlowTrainer._make_function


def _make_direct_function(self: TensorFlowTrainer, step_function: Callable[..., Any]) -> Any:
    """Replace TensorFlowTrainer._make_function: a step calls its traced function directly.

    Keras wraps what a step returns and unwraps it again, and TensorFlow looks up the function that
    belongs to an iterator, although the iterator is the same in all steps of an epoch. For short
    sequences, this took a quarter of a step (docs/log.md).
    """
    stock = _make_function(self, step_function)
    if (
        self.run_eagerly
        or self.jit_compile
        or self.steps_per_execution != 1
        or self._distribute_strategy is not None
        or not any(isinstance(layer, RNN) for layer in self._flatten_layers())
    ):
        return stock
    step = self._autoconvert_optionals(step_function)

    @tf.autograph.experimental.do_not_convert
    def of_next(iterator: Any) -> Any:
        return self.distribute_strategy.run(step, args=(iterator.get_next(),))

    traced = tf.function(of_next, reduce_retracing=True)
    direct: dict[bytes, Callable[[Any], Any]] = {}  # by the name of the traced function
    latest: weakref.ref[Any] | None = None  # the iterator of the last call
    call = traced

    def function(iterator: Any) -> Any:
        nonlocal latest, call
        if (
            not isinstance(iterator, tf.data.Iterator)
            or tf.distribute.has_strategy()
            or tf.config.functions_run_eagerly()
        ):
            return stock(iterator)
        if latest and iterator is latest():
            return call(iterator)
        outputs = traced(iterator)  # the first call creates variables
        concrete = traced.get_concrete_function(iterator)
        if concrete.name not in direct:
            direct[concrete.name] = _direct(concrete)
        latest, call = weakref.ref(iterator), direct[concrete.name]
        return outputs

    return function


def _direct(concrete: Any) -> Callable[[Any], Any]:
    """Return `concrete`, run by one thread where several have nothing to do at the same time."""
    if not _is_chain(concrete.graph.get_operations()):
        return concrete

    def call(iterator: Any) -> Any:
        context = eager.context()
        usual = context.function_call_options
        context.function_call_options = alone
        try:
            return concrete(iterator)
        finally:
            context.function_call_options = usual

    alone = copy.copy(eager.context().function_call_options)
    alone.executor_type = "SINGLE_THREADED_EXECUTOR"
    return call


def _is_chain(operations: Sequence[Any]) -> bool:
    """Whether each call of the kernels waits for the one before, and none is in a function or loop.

    Then the threads of TensorFlow only pass a step to each other. An executor with one thread
    refuses the loops that TensorFlow lowers to single operations.
    """
    before: dict[Any, int] = {}  # operation -> calls of the kernels that it waits for
    calls = 0
    for one in operations:  # in the order of creation: inputs come first, control inputs may not
        if any(attribute.HasField("func") for attribute in one.node_def.attr.values()):
            return False
        earlier = (*(x.op for x in one.inputs), *one.control_inputs)
        before[one] = max((before.get(other, 0) for other in earlier), default=0)
        if one.type.startswith("Gatewise>"):
            if before[one] < calls:
                return False
            calls += 1
            before[one] = calls
    return calls > 0


REPLACEMENTS = {
    (Adam, "update_step"): _fused_adam,
    (ArrayDataAdapter, "get_tf_dataset"): _one_batch,
    (TFEpochIterator, "_get_iterator"): _untuned,
    (TensorFlowTrainer, "_make_function"): _make_direct_function,
}


def _guard_files() -> None:
    """Make TensorFlow refuse to save a function of the user that was traced with the kernels."""
    verify = save._verify_ops

    def verify_ours(graph_def: Any, *arguments: Any, **options: Any) -> None:
        nodes = [graph_def.node, *(one.node_def for one in graph_def.library.function)]
        if any(node.op.startswith("Gatewise>") for some in nodes for node in some):
            raise EngineError(
                "A tf.function that was traced with the engine on cannot be saved, because the "
                "file would not run without gatewise. Create it, and call it for the first time, "
                "inside gatewise.accelerated(False)."
            )
        verify(graph_def, *arguments, **options)

    save._verify_ops = verify_ours


# The inputs of the operations.


def _forward(plan: Plan, layers: Sequence[Arrays], *, training: bool) -> tuple[Any, Any, Any]:
    """Return outputs, states and reserves."""
    operations = _operations()
    run = {
        NONE: operations.gatewise_states,
        APART: operations.gatewise_sequences,
        JOINED: operations.gatewise_joined,
    }[plan.outputs]
    *_, states, reserves = found = run(
        **_inputs(layers), layers=_numbers(plan), training=training, S=2 * len(layers)
    )
    y = [] if plan.outputs == NONE else found[0]
    return [y] if plan.outputs == JOINED else y, states, reserves


def _inputs(layers: Sequence[Arrays]) -> dict[str, list[Array]]:
    """Return the arrays in the order of native/tensorflow.cpp."""
    return {
        "x": [one.x for one in layers],
        "recurrent_kernel": [one.recurrent_kernel for one in layers],
        "arrays": [
            getattr(one, name) for one in layers for name in _REST if getattr(one, name) is not None
        ],
        "masks": [one.mask for one in layers if one.mask is not None],
    }


_REST = [one for one in Arrays._fields if one not in ("x", "mask", "recurrent_kernel")]


@functools.cache
def _names(plan: Plan) -> list[tuple[int, str]]:
    """Return layer and name of each input, in order, with the masks last."""
    has = [dict(zip(Arrays._fields, present, strict=True)) for present in plan.present]
    count = range(len(has))
    return [
        *((n, "x") for n in count),
        *((n, "recurrent_kernel") for n in count),
        *((n, name) for n in count for name in _REST if has[n][name]),
        *((n, "mask") for n in count if has[n]["mask"]),
    ]


Wanted = tuple[tuple[str, ...], ...]  # the names of the gradients that each layer has to give


@functools.cache
def _numbers(plan: Plan, wanted: Wanted = ()) -> list[int]:
    """Return the attribute `layers` of native/tensorflow.cpp."""
    rows = []
    for n, (one, present) in enumerate(zip(plan.directions, plan.present, strict=True)):
        names = wanted[n] if wanted else ()
        rows += [
            ACTIVATIONS.index(one.activation),
            ACTIVATIONS.index(one.recurrent_activation),
            one.go_backwards,
            one.zero_output,
            one.start_output,
            one.flip,
            PRODUCTS.index(one.products),
            sum(1 << bit for bit, there in enumerate(present) if there),
            sum(1 << bit for bit, name in enumerate(DIFFERENTIABLE) if name in names),
        ]
    return [int(one) for one in rows]


def _read_plan(numbers: Sequence[int], outputs: int) -> tuple[Plan, Wanted]:
    """Return the plan from which `_numbers` was made."""
    directions, every, wanted = [], [], []
    for first in range(0, len(numbers), 9):
        activation, gate, *ways, products, present, gradients = numbers[first : first + 9]
        names = ACTIVATIONS[activation], ACTIVATIONS[gate]
        backwards, zero, start_output, flip = map(bool, ways)
        directions.append(
            Direction(*names, backwards, zero, start_output, flip, PRODUCTS[products])
        )
        every.append(tuple(bool(present >> bit & 1) for bit in range(len(Arrays._fields))))
        wanted.append(
            tuple(name for bit, name in enumerate(DIFFERENTIABLE) if gradients >> bit & 1)
        )
    return Plan(tuple(directions), outputs, tuple(every)), tuple(wanted)


def _layers(plan: Plan, inputs: Sequence[Array]) -> list[Arrays]:
    """Return the arrays of an operation, by layer."""
    found: list[dict[str, Array]] = [dict.fromkeys(Arrays._fields) for _ in plan.directions]
    for (n, name), one in zip(_names(plan), inputs, strict=True):
        found[n][name] = one
    return [Arrays(**one) for one in found]


# The gradient of a forward pass: the kernels'.


def _gradient_of_forward(outputs: int, op: Any, *given: Array | None) -> list[Array | None]:
    plan, _ = _read_plan(op.get_attr("layers"), outputs)
    layers = _layers(plan, op.inputs)
    count = len(layers)
    if op.get_attr("training"):
        reserves = list(op.outputs[-count:])
    else:
        reserves = _forward(plan, layers, training=True)[2]
    names = _names(plan)
    skipped = getattr(op, "skip_input_indices", None) or ()
    asked = {pair for place, pair in enumerate(names) if place not in skipped}
    wanted = tuple(
        tuple(name for name in DIFFERENTIABLE if (n, name) in asked) for n in range(count)
    )
    found = _backward(plan, wanted, layers, reserves, given[:-count])
    return [found.get(pair) for pair in names]


def _backward(
    plan: Plan,
    wanted: Wanted,
    layers: Sequence[Arrays],
    reserves: Sequence[Array],
    given: Sequence[Array | None],
) -> dict[tuple[int, str], Array]:
    """Return the wanted gradients, by layer and name."""
    gifts = [one for one in given if one is not None]
    pairs = [(n, name) for n, names in enumerate(wanted) for name in names]
    if not gifts or not pairs:
        return {}
    _, gradients = _operations().gatewise_backward(
        **_inputs(layers),
        reserves=reserves,
        gifts=gifts,
        layers=_numbers(plan, wanted),
        W=len(pairs),
        outputs=plan.outputs,
        given=sum(1 << bit for bit, one in enumerate(given) if one is not None),
    )
    for (n, name), one in zip(pairs, gradients, strict=True):
        if not tf.executing_eagerly():
            one.set_shape(getattr(layers[n], name).shape)
    return dict(zip(pairs, gradients, strict=True))


# The gradient of that gradient: plain TensorFlow's.


def _gradient_of_backward(op: Any, *moved: Array | None) -> list[Array | None]:
    plan, wanted = _read_plan(op.get_attr("layers"), op.get_attr("outputs"))
    names, count = _names(plan), len(plan.directions)
    masks = sum(name == "mask" for _, name in names)
    # Copies, because two layers may read the same array, and each has a gradient of its own.
    inputs = [tf.identity(one) for one in op.inputs]
    first, last = len(names) - masks, len(inputs) - masks
    arrays, gifts = inputs[:first], inputs[first + count : last]
    sources = {
        place: one
        for place, (one, (_, name)) in enumerate(zip(arrays, names, strict=False))
        if name in DIFFERENTIABLE
    } | dict(zip(range(first + count, last), gifts, strict=True))
    with tf.GradientTape() as tape:
        tape.watch(list(sources.values()))
        layers = _layers(plan, [*arrays, *inputs[last:]])
        found = _plain_gradient(plan, wanted, layers, gifts, op.get_attr("given"))
    gradients = tape.gradient(found, sources, output_gradients=list(moved[count:]))
    return [gradients.get(place) for place in range(len(inputs))]


def _plain_gradient(
    plan: Plan, wanted: Wanted, layers: Sequence[Arrays], gifts: Sequence[Array], bits: int
) -> list[Array]:
    """Return the results of the backward pass."""
    sources = [
        getattr(one, name) for one, names in zip(layers, wanted, strict=True) for name in names
    ]
    with tf.GradientTape() as tape:
        tape.watch(sources)
        outputs, states = _plain(plan, layers)
        flat = [*outputs, *itertools.chain.from_iterable(states)]
        targets = [one for bit, one in enumerate(flat) if bits >> bit & 1]
    return list(
        tape.gradient(targets, sources, output_gradients=list(gifts), unconnected_gradients="zero")
    )


for _outputs, _name in _FORWARD.items():
    tf.RegisterGradient(_name)(functools.partial(_gradient_of_forward, _outputs))
tf.RegisterGradient(_BACKWARD)(_gradient_of_backward)


# In plain TensorFlow.

_PLAIN = {
    "tanh": tf.tanh,
    "sigmoid": tf.sigmoid,
    "relu": tf.nn.relu,
    "hard_sigmoid": lambda x: tf.clip_by_value(x / 6 + 0.5, 0, 1),
    "softsign": tf.nn.softsign,
    "elu": tf.nn.elu,
    "linear": tf.identity,
}


def _plain(plan: Plan, layers: Sequence[Arrays]) -> tuple[Outputs, States]:
    """Return what `lstm` returns, computed by a loop over the steps."""
    found = [_scan(one, arrays) for one, arrays in zip(plan.directions, layers, strict=True)]
    outputs = {
        NONE: lambda: (),
        APART: lambda: tuple(y for y, _ in found),
        JOINED: lambda: (tf.concat([y for y, _ in found], -1),),
    }[plan.outputs]()
    return outputs, [state for _, state in found]


def _scan(way: Direction, arrays: Arrays) -> tuple[Array, tuple[Array, Array]]:
    activation, gate = _PLAIN[way.activation], _PLAIN[way.recurrent_activation]
    x, dtype = arrays.x, arrays.x.dtype
    batch, steps = tf.unstack(tf.shape(x)[:2])
    units = arrays.recurrent_kernel.shape[0]
    weights = [tf.split(one, 4, -1) for one in (arrays.kernel, arrays.recurrent_kernel)]
    biases = [0.0] * 4 if arrays.bias is None else tf.split(arrays.bias, 4)
    input_masks, recurrent_masks = (
        [tf.ones((), dtype)] * 4 if one is None else tf.unstack(one)
        for one in (arrays.input_masks, arrays.recurrent_masks)
    )

    def step(t: Array, h: Array, c: Array, started: Array, outputs: Any) -> Any:
        place = steps - 1 - t if way.go_backwards else t
        x_t = x[:, place]
        used = tf.ones((batch, 1), bool) if arrays.mask is None else arrays.mask[:, place, None]
        i, f, g, o = (
            (x_t * of_x) @ kernel + (h * of_h) @ recurrent + bias
            for of_x, of_h, kernel, recurrent, bias in zip(
                input_masks, recurrent_masks, *weights, biases, strict=True
            )
        )
        after_c = gate(f) * c + gate(i) * activation(g)
        after_h = gate(o) * activation(after_c)
        h, c = tf.where(used, after_h, h), tf.where(used, after_c, c)
        started = started | used
        put_out = used if way.zero_output else started | way.start_output
        return t + 1, h, c, started, outputs.write(t, tf.where(put_out, h, tf.zeros_like(h)))

    zeros = tf.zeros((batch, units), dtype)
    h, c = (zeros if one is None else one for one in (arrays.h0, arrays.c0))
    _, h, c, _, outputs = tf.while_loop(
        lambda t, *_: t < steps,
        step,
        (
            tf.constant(0),
            h,
            c,
            tf.zeros((batch, 1), bool),
            tf.TensorArray(dtype, steps, element_shape=(None, units)),
        ),
        maximum_iterations=steps,
    )
    y = tf.transpose(outputs.stack(), (1, 0, 2))
    return tf.reverse(y, [1]) if way.flip else y, (h, c)
