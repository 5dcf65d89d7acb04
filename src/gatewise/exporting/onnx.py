"""ONNX: a graph as a model of standard operators, in opset 18."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from importlib import metadata
from pathlib import Path
from typing import Any

from gatewise.data.sequences import Array
from gatewise.errors import ConfigError
from gatewise.exporting.onnxarithmetic import ARITHMETIC
from gatewise.exporting.onnxlayers import LAYERS
from gatewise.exporting.onnxshapes import SHAPES
from gatewise.exporting.onnxwriter import TYPES, Inputs, Operation, Results, Value, Writer
from gatewise.exporting.program import TRACT, Port, Program, Sample
from gatewise.exporting.proof import Proof, Run, prove, zero_states
from gatewise.extras import require
from gatewise.runtime.graph import Node, names_in

USAGE = """
import onnxruntime
session = onnxruntime.InferenceSession("model.onnx")
answers = session.run(None, {ARGUMENTS})  # NumPy arrays, described below
"""
ARGUMENT = '"{name}": {name}'  # an argument in USAGE
OPSET = 18
IR_VERSION = 9  # of 2023; older runtimes refuse newer ones
OPENVINO = "OpenVINO 2026.4"  # the version that was tried
LENGTHS = 4  # the place of `sequence_lens` among the inputs of an LSTM
OPERATIONS: Mapping[str, Operation] = {**ARITHMETIC, **LAYERS, **SHAPES}


def model(program: Program, *, name: str) -> Any:
    """The program as an `onnx.ModelProto`, checked by ONNX itself.

    Raises:
        ConfigError: the package onnx is missing, or ONNX has no operator for a part.
    """
    onnx = require("onnx", "onnx", "Exporting to ONNX")
    writer = Writer(onnx, program.right_padded)
    for port in program.inputs:
        writer.values[port.name] = Value(port.name, port.dtype, len(port.shape))
    for node in program.graph.nodes:
        if node.operation != "input":
            writer.write(node, OPERATIONS.get(node.operation, _unknown))
    for port, value in zip(program.outputs, names_in(program.graph.outputs), strict=True):
        cast = writer.cast(writer.values[value], port.dtype)
        writer.emit("Identity", cast.name, output=port.name)
    graph = onnx.helper.make_graph(
        writer.nodes,
        name,
        [_declared(onnx, port) for port in program.inputs],
        [_declared(onnx, port) for port in program.outputs],
        initializer=writer.initializers,
        doc_string=program.title,
    )
    made = onnx.helper.make_model(
        graph,
        opset_imports=[onnx.helper.make_opsetid("", OPSET)],
        producer_name="gatewise",
        ir_version=IR_VERSION,
    )
    onnx.checker.check_model(made, full_check=True)
    return made


def _declared(onnx: Any, port: Port) -> Any:
    return onnx.helper.make_tensor_value_info(
        port.name, getattr(onnx.TensorProto, TYPES[port.dtype]), port.shape, doc_string=port.meaning
    )


def _unknown(_writer: Writer, node: Node, _inputs: Inputs) -> Results:
    raise ConfigError(
        f"ONNX: the operation '{node.operation}' of '{node.name}' is not translated. Choose "
        "another --to, or build the network without it."
    )


def write(draft: Path, program: Program, step: Program | str, samples: Sequence[Sample]) -> Proof:
    """Write model.onnx and, if there is a form for one step, step.onnx; both are proved first."""
    programs = {"model": program} | ({"step": step} if isinstance(step, Program) else {})

    def proved(by: str, runs: Mapping[str, Run]) -> Proof:
        if "step" not in programs:
            return prove(by, runs["model"], samples)
        one = _from_zero(runs["step"], programs["step"])
        states = [port.name for port in programs["step"].inputs[1:]]
        return prove(by, runs["model"], samples, step=one, states=states)

    return write_all(draft, programs, proved)


def write_all(
    draft: Path, programs: Mapping[str, Program], proved: Callable[[str, Mapping[str, Run]], Proof]
) -> Proof:
    """Write each program as NAME.onnx; `proved` gets what runs them and how."""
    models = {name: model(one, name=name) for name, one in programs.items()}
    proof = proved(*_runs(models))
    onnx = require("onnx", "onnx", "Exporting to ONNX")
    for name, made in models.items():
        facts = {"proof": proof.sentence(), "gatewise": metadata.version("gatewise")}
        onnx.helper.set_model_props(made, facts | {"description": programs[name].title})
        (draft / f"{name}.onnx").write_bytes(made.SerializeToString())
    return replace(proof, notes=(*proof.notes, *_limits(models)))


def _limits(models: Mapping[str, Any]) -> list[str]:
    """Sentences on runtimes that answer wrongly, or not at all."""
    layers = [
        (f"{name}.onnx", node)
        for name, made in models.items()
        for node in made.graph.node
        if node.op_type == "LSTM"
    ]
    chosen = {file for file, node in layers if any(a.name == "activations" for a in node.attribute)}
    lengths = {file for file, node in layers if node.input[LENGTHS]}
    limits = []
    if chosen:
        limits.append(
            f"{TRACT} answers wrongly, without a message, in {' and '.join(sorted(chosen))}: it "
            "computes every LSTM with sigmoid and tanh, but here are other activations. Use "
            "another runtime."
        )
    if lengths:
        files = " and ".join(sorted(lengths))
        limits.append(
            f"{OPENVINO} ignores the lengths of sequences in {files}, so shorter ones of a "
            f"batch are wrong, and {TRACT} ends with an error. Use another runtime."
        )
    return limits


def _from_zero(run: Run, program: Program) -> Run:
    """The run of one step, which begins with zeros where no states are given."""

    def step(inputs: Mapping[str, Array]) -> Sequence[Array]:
        batch = len(next(iter(inputs.values())))
        return run({**zero_states(program, batch), **inputs})

    return step


def _runs(models: Mapping[str, Any]) -> tuple[str, dict[str, Run]]:
    """What runs the models, and a function for each.

    ONNX's own reference implementation would not do, because its LSTM ignores `sequence_lens`.
    """
    runtime = require("onnxruntime", "onnx", "The proof of an ONNX export")
    options = runtime.SessionOptions()
    options.log_severity_level = 3
    sessions = {
        name: runtime.InferenceSession(
            made.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
        for name, made in models.items()
    }
    by = f"ONNX Runtime {runtime.__version__}"
    return by, {name: _runner(one) for name, one in sessions.items()}


def _runner(session: Any) -> Run:
    def run(inputs: Mapping[str, Array]) -> Sequence[Array]:
        answers: Sequence[Array] = session.run(None, dict(inputs))
        return answers

    return run
