"""NumPy: a graph as a Python file that needs nothing else, with its weights in an .npz file."""

import re
import runpy
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from gatewise.data.sequences import Array
from gatewise.errors import ConfigError
from gatewise.exporting.program import Program, Sample
from gatewise.exporting.proof import Proof, Run, prove
from gatewise.runtime.graph import Node, names_in, starts_with_state

CODE, WEIGHTS = "network.py", "weights.npz"
# The functions of the file, each written only if the network uses it.
FUNCTIONS = {
    "sigmoid": """
def sigmoid(x):
    return 0.5 * np.tanh(0.5 * x) + 0.5
""",
    "softmax": """
def softmax(x, axis=-1):
    e = np.exp(x - x.max(axis=axis, keepdims=True))
    return e / e.sum(axis=axis, keepdims=True)
""",
    "log_softmax": """
def log_softmax(x, axis=-1):
    x = x - x.max(axis=axis, keepdims=True)
    return x - np.log(np.exp(x).sum(axis=axis, keepdims=True))
""",
    "softplus": """
def softplus(x):
    return np.logaddexp(x, 0)
""",
    "hard_sigmoid": """
def hard_sigmoid(x):
    return np.clip(x / 6 + 0.5, 0, 1)
""",
    "softsign": """
def softsign(x):
    return x / (1 + np.abs(x))
""",
    "relu": """
def relu(x):
    return np.maximum(x, 0)
""",
    "elu": """
def elu(x):
    return np.where(x > 0, x, np.expm1(np.minimum(x, 0)))
""",
    "silu": """
def silu(x):
    return x * (0.5 * np.tanh(0.5 * x) + 0.5)
""",
    "linear": """
def linear(x):
    return x
""",
    "normalized": '''
def normalized(x, epsilon):
    """Mean 0 and variance 1 along the last axis."""
    return (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + epsilon)
''',
    "convolved": '''
def convolved(x, kernel, stride, padding, dilation):
    """A convolution over the steps of x [batch, steps, features]."""
    span = dilation * (len(kernel) - 1) + 1
    short = max(0, (-(-x.shape[1] // stride) - 1) * stride + span - x.shape[1])
    before = {"valid": 0, "same": short // 2, "causal": span - 1}[padding]
    after = short - before if padding == "same" else 0
    x = np.pad(x, ((0, 0), (before, after), (0, 0)))
    last = x.shape[1] - span + 1
    return sum(x[:, k * dilation :][:, :last:stride] @ kernel[k] for k in range(len(kernel)))
''',
    "pooled": '''
def pooled(x, size, stride, padding, of):
    """The maximum or mean (`of`) of each `size` steps of x [batch, steps, features]."""
    short = max(0, (-(-x.shape[1] // stride) - 1) * stride + size - x.shape[1])
    before = short // 2 if padding == "same" else 0
    after = short - before if padding == "same" else 0
    x = np.pad(x, ((0, 0), (before, after), (0, 0)), constant_values=np.nan)
    starts = range(0, x.shape[1] - size + 1, stride)
    return np.stack([of(x[:, k : k + size], axis=1) for k in starts], axis=1)
''',
    "lstm": '''
def lstm(x, kernel, recurrent_kernel, bias=0, mask=None, h=None, c=None, activation=np.tanh,
         recurrent_activation=None, backwards=False, zeros=False, starts=True):
    """All outputs [batch, steps, units], and h and c after the last step.

    x is [batch, steps, features]; the gates of the weights are i, f, c, o. A masked step
    keeps the state, and repeats the output of the step before it, or is 0 with `zeros`.
    Before the first real step that is the initial state, or 0 without `starts`. With
    `backwards`, the outputs are in the order of processing.
    """
    gate = recurrent_activation or sigmoid
    units = len(recurrent_kernel)
    h = np.zeros((len(x), units), np.float32) if h is None else h
    c = np.zeros((len(x), units), np.float32) if c is None else c
    gates = x @ kernel + bias  # of all steps at once
    outputs = np.zeros((*x.shape[:2], units), np.float32)
    steps = range(x.shape[1])
    last = h if starts else np.zeros_like(h)
    for number, t in enumerate(reversed(steps) if backwards else steps):
        i, f, g, o = np.split(gates[:, t] + h @ recurrent_kernel, 4, axis=-1)
        new_c = gate(f) * c + gate(i) * activation(g)
        new_h = gate(o) * activation(new_c)
        if mask is None:
            h, c, last = new_h, new_c, new_h
        else:
            real = mask[:, t, None]
            h, c = np.where(real, new_h, h), np.where(real, new_c, c)
            last = np.where(real, new_h, 0 if zeros else last)
        outputs[:, number] = last
    return outputs, h, c
''',
}
UNARY = {
    "negative": "-{0}",
    "logical_not": "~{0}",
    "square": "{0} * {0}",
    **{
        name: f"np.{name}({{0}})"
        for name in ("absolute", "sqrt", "exp", "log", "log1p", "sin", "cos", "arcsinh")
    },
}
BINARY = {
    "add": "{0} + {1}",
    "subtract": "{0} - {1}",
    "multiply": "{0} * {1}",
    "divide": "{0} / {1}",
    "mod": "{0} % {1}",
    "power": "{0} ** {1}",
    "maximum": "np.maximum({0}, {1})",
    "minimum": "np.minimum({0}, {1})",
    "equal": "{0} == {1}",
    "not_equal": "{0} != {1}",
    "greater": "{0} > {1}",
    "greater_equal": "{0} >= {1}",
    "less": "{0} < {1}",
    "less_equal": "{0} <= {1}",
    "logical_and": "{0} & {1}",
    "logical_or": "{0} | {1}",
}
# Operations on one array with the axis as an option.
AXIS = {
    "flip": "np.flip({0}, axis={axis})",
    "cumsum": "np.cumsum({0}, axis={axis})",
    "expand_dims": "np.expand_dims({0}, {axis})",
    "squeeze": "np.squeeze({0}, {axis})",
    "repeat": "np.repeat({0}, {repeats}, axis={axis})",
    "transpose": "{0}.transpose({axes})",
    "pad": "np.pad({0}, {pad_width})",
    "flatten": "{0}.reshape(len({0}), -1)",
    **{
        name: f"{{0}}.{name}(axis={{axis}}, keepdims={{keepdims}})"
        for name in ("sum", "mean", "max", "min", "any", "all")
    },
}
USAGE = """
from network import predict
answer = predict(ARGUMENTS)  # NumPy arrays, described below
"""
ARGUMENT = "{name}={name}"  # an argument in USAGE


def write(draft: Path, program: Program, samples: Sequence[Sample]) -> Proof:
    """Write network.py with the function `predict`, and weights.npz; prove them where they are."""
    return write_all(
        draft, {"predict": program}, lambda by, runs: prove(by, runs["predict"], samples)
    )


def write_all(
    draft: Path, programs: Mapping[str, Program], proved: Callable[[str, Mapping[str, Run]], Proof]
) -> Proof:
    """Write each program as a function of network.py; `proved` gets what runs them and how."""
    writer = _Writer()
    functions = [writer.function(name, program) for name, program in programs.items()]
    title = next(iter(programs.values())).title
    np.savez(draft / WEIGHTS, allow_pickle=False, **writer.weights)
    (draft / CODE).write_text(writer.text(title, functions), encoding="utf-8")
    made = runpy.run_path(str(draft / CODE))
    runs = {name: _run_of(made[name], program) for name, program in programs.items()}
    return proved(f"NumPy {np.__version__}", runs)


def _run_of(function: Callable[..., Any], program: Program) -> Run:
    names = [port.name for port in program.inputs]

    def run(inputs: Mapping[str, Array]) -> Sequence[Array]:
        found = function(*(inputs[name] for name in names))
        return found if isinstance(found, tuple) else (found,)

    return run


class _Writer:
    """The lines of a function of the file, and the weights that all of them read."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.names: dict[str, str] = {}  # of the graph -> of Python
        self.weights: dict[str, Array] = {}
        self.used: dict[str, None] = {}  # functions, in the order of their use
        self._keys: dict[int, str] = {}

    def function(self, name: str, program: Program) -> str:
        """The code of a function that computes a program."""
        self.lines, self.names = [], {}
        for node in program.graph.nodes:
            self.write(node)
        inputs = [self.names[port.name] for port in program.inputs]
        ports = "\n".join(
            f"    {name}: [{', '.join(map(str, port.shape))}] {port.meaning}".rstrip()
            for name, port in zip(inputs, program.inputs, strict=True)
        )
        answers = [self.names[value] for value in names_in(program.graph.outputs)]
        return (
            f"def {name}({', '.join(inputs)}):\n"
            f'    """{", ".join(port.name for port in program.outputs)}.\n\n{ports}\n    """\n'
            + "".join(
                f"    {name} = np.asarray({name}, {_dtype(port.dtype)})\n"
                for name, port in zip(inputs, program.inputs, strict=True)
            )
            + "\n".join(self.lines)
            + f"\n    return {', '.join(answers)}\n"
        )

    def write(self, node: Node) -> None:
        """Write the line of one node."""
        for value in node.outputs:
            self.names[value] = self._name(value)
        if node.operation == "input":
            return
        inputs = [self.names[name] if name else "" for name in node.inputs]
        code = self._code(node, inputs)
        names = ", ".join(self.names[value] for value in node.outputs)
        if node.operation == "split":
            names += ","  # a list, even of one part
        self.lines.append(f"    {names} = {code}")

    def text(self, title: str, functions: Sequence[str]) -> str:
        """The whole file."""
        known = "\n".join(FUNCTIONS[name] for name in self.used)
        return (
            f'"""{title}"""\n\n'
            "from pathlib import Path\n\nimport numpy as np\n\n"
            f'W = dict(np.load(Path(__file__).with_name("{WEIGHTS}")))\n\n{known}\n\n'
            + "\n\n".join(functions)
        )

    def use(self, name: str) -> str:
        """The name of a function of the file."""
        if name == "lstm":
            self.used["sigmoid"] = None
        self.used[name] = None
        return name

    def weight(self, node: Node, name: str) -> str:
        """The Python expression of one of the node's weights."""
        array = np.asarray(node.weights[name])
        if array.dtype.kind in "iub" and array.ndim == 0:
            return str(array)
        if array.ndim == 0:
            return f"np.float32({float(array)!r})"
        array = array.astype(np.float32) if array.dtype.kind == "f" else array
        key = self._keys.get(id(node.weights[name])) or self._key(node, name, array)
        self._keys[id(node.weights[name])] = key
        self.weights[key] = array
        return f'W["{key}"]'

    def activation(self, name: str, node: Node) -> str:
        """The Python name of an activation."""
        if name in ("tanh",):
            return "np.tanh"
        if name == "exponential":
            return "np.exp"
        if name not in FUNCTIONS or set(node.config) & {"negative_slope", "max_value"}:
            raise ConfigError(
                f"NumPy: the activation '{name}' of '{node.name}' is not written. Choose --to onnx."
            )
        return self.use(name)

    def _code(self, node: Node, inputs: list[str]) -> str:
        name, config = node.operation, dict(node.config)
        if name in UNARY or name in BINARY:
            return (UNARY | BINARY)[name].format(*inputs)
        if name == "reshape":
            return _reshaped(inputs[0], config["newshape"])
        if name in AXIS:
            for key in ("axes", "pad_width", "axis"):
                if isinstance(config.get(key), list):
                    config[key] = _tuple(config[key])
            return AXIS[name].format(*inputs, **{"axis": None, "keepdims": False, **config})
        if name in WRITERS:
            return WRITERS[name](self, node, inputs)
        raise ConfigError(
            f"NumPy: the operation '{name}' of '{node.name}' is not written. Choose --to onnx."
        )

    def _key(self, node: Node, name: str, array: Array) -> str:
        """A name for a weight; another network has another name for another array."""
        first = key = f"{self._plain(node.name)}.{name}"
        number = 1
        while key in self.weights and not np.array_equal(self.weights[key], array):
            number += 1
            key = f"{first}_{number}"
        return key

    def _plain(self, name: str) -> str:
        word = re.sub(r"\W+", "_", name)
        return word if word[0].isalpha() else f"v{word}"

    def _name(self, value: str) -> str:
        name, number = self._plain(value), 1
        taken = {*self.names.values(), *FUNCTIONS, "np", "W", "predict", "Path"}
        while name in taken:
            number += 1
            name = f"{self._plain(value)}_{number}"
        return name


def _tuple(values: Sequence[Any]) -> Any:
    return tuple(_tuple(one) if isinstance(one, list | tuple) else one for one in values)


def _reshaped(x: str, shape: Sequence[int]) -> str:
    # A size of 0 is that of the same axis before, as in ONNX.
    sizes = [f"{x}.shape[{k}]" if size == 0 else str(size) for k, size in enumerate(shape)]
    return f"{x}.reshape({', '.join(sizes)})"


def _constant(writer: _Writer, node: Node, _inputs: list[str]) -> str:
    return writer.weight(node, "value")


def _dense(writer: _Writer, node: Node, inputs: list[str]) -> str:
    code = f"{inputs[0]} @ {writer.weight(node, 'kernel')}"
    return _activated(writer, node, _biased(writer, node, code))


def _biased(writer: _Writer, node: Node, code: str) -> str:
    return f"{code} + {writer.weight(node, 'bias')}" if "bias" in node.weights else code


def _activated(writer: _Writer, node: Node, code: str) -> str:
    name = node.config.get("activation") or "linear"
    return code if name == "linear" else f"{writer.activation(name, node)}({code})"


def _embedding(writer: _Writer, node: Node, inputs: list[str]) -> str:
    return f"{writer.weight(node, 'embeddings')}[{inputs[0]}.astype(np.int64)]"


def _lstm(writer: _Writer, node: Node, inputs: list[str]) -> str:
    config = node.config
    parts = [
        writer.weight(node, name)
        for name in ("kernel", "recurrent_kernel", "bias")
        if name in node.weights
    ]
    options = [
        f"{key}={value}"
        for key, value in zip(("mask", "h", "c"), inputs[1:], strict=False)
        if value
    ]
    if config["activation"] != "tanh":
        options.append(f"activation={writer.activation(config['activation'], node)}")
    if config["recurrent_activation"] != "sigmoid":
        gate = writer.activation(config["recurrent_activation"], node)
        options.append(f"recurrent_activation={gate}")
    options += ["backwards=True"] if config.get("go_backwards") else []
    options += ["zeros=True"] if config.get("zero_output_for_mask") else []
    options += [] if starts_with_state(node) else ["starts=False"]
    code = f"{writer.use('lstm')}({', '.join([inputs[0], *parts, *options])})"
    if len(node.outputs) == 1:
        return f"{code}[0]" if config["return_sequences"] else f"{code}[0][:, -1]"
    return code if config["return_sequences"] else f"(lambda y, h, c: (y[:, -1], h, c))(*{code})"


def _conv1d(writer: _Writer, node: Node, inputs: list[str]) -> str:
    config = node.config
    if int(config.get("groups", 1)) != 1:
        raise ConfigError(f"NumPy: '{node.name}' has groups, which are not written. Use onnx.")
    stride, dilation = (np.ravel(config.get(key, 1))[0] for key in ("strides", "dilation_rate"))
    code = (
        f"{writer.use('convolved')}({inputs[0]}, {writer.weight(node, 'kernel')}, {stride}, "
        f'"{config.get("padding", "valid")}", {dilation})'
    )
    return _activated(writer, node, _biased(writer, node, code))


def _pooling(writer: _Writer, node: Node, inputs: list[str]) -> str:
    config = node.config
    size = int(np.ravel(config["pool_size"])[0])
    stride = int(np.ravel(config.get("strides") or size)[0])
    of = "np.nanmax" if node.operation == "max_pooling1d" else "np.nanmean"
    padding = config.get("padding", "valid")
    return f'{writer.use("pooled")}({inputs[0]}, {size}, {stride}, "{padding}", {of})'


def _global_average(_writer: _Writer, node: Node, inputs: list[str]) -> str:
    x, mask = [*inputs, ""][:2]
    keep = bool(node.config.get("keepdims"))
    if not mask:
        return f"{x}.mean(axis=1, keepdims={keep})"
    real = f"{mask}[..., None]"
    count = f"{real}.sum(axis=1, keepdims={keep})"
    return f"(({x} * {real}).sum(axis=1, keepdims={keep}) / {count}).astype(np.float32)"


def _batch_normalization(writer: _Writer, node: Node, inputs: list[str]) -> str:
    mean, variance = (writer.weight(node, f"moving_{part}") for part in ("mean", "variance"))
    if node.config.get("axis", -1) not in (-1, [-1], 1, 2, [2]):
        raise ConfigError(f"NumPy: '{node.name}' does not normalise the last axis. Use onnx.")
    code = f"({inputs[0]} - {mean}) / np.sqrt({variance} + {node.config['epsilon']})"
    return _scaled(writer, node, code)


def _layer_normalization(writer: _Writer, node: Node, inputs: list[str]) -> str:
    code = f"{writer.use('normalized')}({inputs[0]}, {node.config['epsilon']})"
    return _scaled(writer, node, code)


def _scaled(writer: _Writer, node: Node, code: str) -> str:
    if "gamma" in node.weights:
        code = f"{code} * {writer.weight(node, 'gamma')}"
    return f"{code} + {writer.weight(node, 'beta')}" if "beta" in node.weights else code


def _softmax(writer: _Writer, node: Node, inputs: list[str]) -> str:
    return f"{writer.use(node.operation)}({inputs[0]}, {node.config.get('axis', -1)})"


def _getitem(_writer: _Writer, node: Node, inputs: list[str]) -> str:
    def part(one: Any) -> str:
        if isinstance(one, list | tuple):
            ends = ["" if end is None else str(end) for end in one]
            return ":".join(ends if ends[2] not in ("", "1") else ends[:2])
        return "..." if one == "..." else str(one)

    return f"{inputs[0]}[{', '.join(part(one) for one in node.config['key'])}]"


def _joined(_writer: _Writer, node: Node, inputs: list[str]) -> str:
    axis = node.config.get("axis", -1)
    return f"np.{node.operation}([{', '.join(inputs)}], axis={axis})"


def _like(_writer: _Writer, node: Node, inputs: list[str]) -> str:
    kind = node.config.get("dtype")
    return f"np.{node.operation}({inputs[0]}{f', {_dtype(kind)}' if kind else ''})"


def _dtype(kind: str) -> str:
    """A type of NumPy; np.bool is missing in its versions 1.24 to 1.26."""
    return "np.bool_" if kind == "bool" else f"np.{kind}"


WRITERS: dict[str, Callable[[_Writer, Node, list[str]], str]] = {
    "constant": _constant,
    "dense": _dense,
    "embedding": _embedding,
    "lstm": _lstm,
    "conv1d": _conv1d,
    "max_pooling1d": _pooling,
    "average_pooling1d": _pooling,
    "global_average_pooling1d": _global_average,
    "batch_normalization": _batch_normalization,
    "layer_normalization": _layer_normalization,
    "activation": lambda writer, node, inputs: _activated(writer, node, inputs[0]),
    "softmax": _softmax,
    "log_softmax": _softmax,
    "getitem": _getitem,
    "concatenate": _joined,
    "stack": _joined,
    "split": lambda _w, node, inputs: (
        f"np.split({inputs[0]}, {node.config['indices_or_sections']}, "
        f"axis={node.config.get('axis', 0)})"
    ),
    "take": lambda _w, node, i: f"np.take({i[0]}, {i[1]}, axis={node.config['axis']})",
    "take_along_axis": lambda _w, node, i: (
        f"np.take_along_axis({i[0]}, {i[1]}, axis={node.config['axis']})"
    ),
    "matmul": lambda _w, _node, i: f"{i[0]} @ {i[1]}",
    "where": lambda _w, _node, i: f"np.where({i[0]}, {i[1]}, {i[2]})",
    "cast": lambda _w, node, i: f"{i[0]}.astype({_dtype(node.config['dtype'])})",
    "ones_like": _like,
    "zeros_like": _like,
    "top_k": lambda _w, node, i: (
        f"-np.sort(-{i[0]})[..., :{node.config['k']}], "
        f"np.argsort(-{i[0]})[..., :{node.config['k']}]"
    ),
}
