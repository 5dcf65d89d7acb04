"""C99: a graph as one file and a header that need nothing but math.h.

A network that reads its steps in order is exported as a step with a state, so it reads sequences of
any length in constant memory. Another one is exported as a call for a whole sequence, with all
buffers in the state. Nothing is allocated.
"""

import ctypes
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from gatewise.data.sequences import Array
from gatewise.errors import ConfigError
from gatewise.exporting.advancing import LAST
from gatewise.exporting.ctext import (
    Interface,
    Stored,
    code,
    example,
    header,
    in_file,
    of_part,
)
from gatewise.exporting.program import STEPS, Program, Sample
from gatewise.exporting.proof import Proof, Run, prove, spread
from gatewise.runtime.graph import names_in
from gatewise.runtime.network import Network

FLAGS = ("-std=c99", "-O3", "-Wall", "-Wextra", "-Wpedantic", "-Werror")
TYPES = {"float": np.float32, "int": np.intc, "signed char": np.int8}
COMPILERS = ("cc", "gcc", "clang")
USAGE = """
cc -std=c99 -O3 main.c {name}.c -lm -o main     (-march=native: faster, for this machine alone)
cc -std=c99 -O3 -DGW_SELF_TEST {name}.c -lm -o test && ./test

The second line tests stored sequences. This main.c reads from standard input {read}:

{program}

{memory} bytes of state, {weights} bytes of weights.
"""
APART = """
{step} holds the same network one step at a time, in a state that does not grow with the sequence.
A program has one of the two files: a whole sequence takes less time with {whole}.
"""
WHOLE, STEP = "network", "step"  # the names of files


def write(
    draft: Path, whole: Program, step: Program | str, samples: Sequence[Sample], *, rounded: bool
) -> tuple[Proof, str]:
    """Write network.c and network.h, compile and prove them; return the proof and the usage.

    The form for one step is in files of its own if it computes more for a whole sequence.

    Args:
        draft: the folder.
        whole: the network for sequences without padding.
        step: the network for one step, or why there is none.
        samples: the inputs and the answers of the proof.
        rounded: int8 weights.

    Raises:
        ConfigError: the network has a part that is not written, or there is no C compiler.
    """
    compiler = found_compiler()
    apart = isinstance(step, Program) and any(port.name == LAST for port in step.inputs)
    face = Interface(whole, "" if apart else step, rounded=rounded)
    proof = _proved(draft, WHOLE, face, samples, compiler)
    if not apart:
        return proof, _usage(face, WHOLE)
    other = Interface(whole, step, rounded=rounded)
    found = _proved(draft, STEP, other, samples, compiler)
    differences = {**proof.differences, "step by step": found.difference}
    proof = replace(proof, differences=differences, share=max(proof.share, found.share))
    usage = [
        _usage(face, WHOLE),
        APART.format(step=f"{STEP}.c", whole=f"{WHOLE}.c"),
        _usage(other, STEP),
    ]
    return proof, "".join(usage)


def _proved(
    draft: Path, name: str, face: Interface, samples: Sequence[Sample], compiler: str
) -> Proof:
    """Write a file and its header, compile and prove them."""
    rows = [row for sample in samples for row in _rows(sample, face)]
    (draft / f"{name}.h").write_text(in_file(header(face), name), encoding="utf-8")
    units = [
        max(
            *(one.unit for one in samples),
            spread(np.concatenate([row.answers[k].ravel() for row in rows])),
        )
        for k in range(len(face.results))
    ]
    text = in_file(code(face, [rows[0], rows[-1]], units), name)
    (draft / f"{name}.c").write_text(text, encoding="utf-8")
    with tempfile.TemporaryDirectory() as folder:
        library = Path(folder) / f"{name}.so"
        _compile(compiler, draft / f"{name}.c", library)
        return prove(_by(compiler), _Library(library, face), samples)


def write_all(
    draft: Path,
    programs: Mapping[str, Program],
    proved: Callable[[str, Mapping[str, Run]], Proof],
    *,
    rounded: bool,
) -> Proof:
    """Write a file and a header for each program; `proved` gets what runs them and how.

    The functions of the program `step` are `gw_step_run` and so on.

    Raises:
        ConfigError: as `write`.
    """
    compiler, stored = found_compiler(), _stored(programs, proved)
    runs: dict[str, Run] = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, program in programs.items():
            face = Interface(program, "", rounded=rounded)
            units = [
                max(1.0, spread(np.concatenate([one.answers[k].ravel() for one in stored[name]])))
                for k in range(len(face.results))
            ]
            (draft / f"{name}.h").write_text(of_part(header(face), name), encoding="utf-8")
            text = of_part(code(face, stored[name], units), name)
            (draft / f"{name}.c").write_text(text, encoding="utf-8")
            library = Path(folder) / f"{name}.so"
            _compile(compiler, draft / f"{name}.c", library)
            runs[name] = _Library(library, face, of_part("gw_run", name))
        return proved(_by(compiler), runs)


def _stored(
    programs: Mapping[str, Program], proved: Callable[[str, Mapping[str, Run]], Proof]
) -> dict[str, list[Stored]]:
    """The first sequence of the proof, and the answers to it, for the self-test of each program."""
    stored: dict[str, list[Stored]] = {}

    def recorded(name: str, program: Program) -> Run:
        network, face = Network(program.graph), Interface(program, "", rounded=False)

        def run(inputs: Mapping[str, Array]) -> Sequence[Array]:
            answers = tuple(network([inputs[one] for one in names_in(program.graph.inputs)]))
            if name not in stored:
                stored[name] = [next(_rows(Sample("", inputs, answers), face))]
            return answers

        return run

    proved("", {name: recorded(name, program) for name, program in programs.items()})
    return stored


def _by(compiler: str) -> str:
    return f"C ({Path(compiler).name} {' '.join(FLAGS[:2])})"


def found_compiler() -> str:
    """The C compiler: $CC, cc, gcc or clang.

    Raises:
        ConfigError: there is none.
    """
    names = (os.environ["CC"],) if os.environ.get("CC") else COMPILERS
    for name in names:
        if path := shutil.which(name):
            return path
    raise ConfigError(
        f"The proof of a C export needs a C compiler. Looked for: {', '.join(names)}. Install one "
        "(apt install gcc), or set CC to its name."
    )


def _compile(compiler: str, source: Path, library: Path) -> None:
    options = [*FLAGS, "-shared", "-fPIC"]
    command = [compiler, *options, str(source), "-o", str(library), "-lm"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if "error" in line]
        first = lines[0] if lines else f"exit status {done.returncode}"
        raise ConfigError(
            f"{compiler} does not compile the export: {first}. Set CC to a compiler of C99; if it "
            "is one, please report this."
        )


def _usage(face: Interface, name: str) -> str:
    named = ", then ".join(
        f"the numbers of {port.name}" + (", step by step" if STEPS in port.shape else "")
        for port in face.whole.inputs
    )
    read = f"the number of steps, then {named}" if face.open and not face.by_step else named
    program = "\n".join(
        f"    {line}".rstrip() for line in in_file(example(face), name).splitlines()
    )
    weights = sum(array.astype(_narrow(array)).nbytes for array in face.writer.weights.values())
    return USAGE.format(
        name=name, read=read, program=program, memory=face.state_bytes(), weights=weights
    )


def _narrow(array: Array) -> np.dtype:
    return array.dtype if array.dtype == np.int8 else np.dtype(np.float32)


def _rows(sample: Sample, face: Interface) -> Iterator[Stored]:
    """The sequences of a batch, each in its own length."""
    inputs, lengths = sample.inputs, sample.inputs.get("lengths")
    names = [port.name for port in face.whole.inputs]
    open_ = [port.name for port in face.whole.inputs if STEPS in port.shape]
    for k in range(len(inputs[names[0]])):
        steps = inputs[open_[0]].shape[1] if open_ else 0
        steps = int(lengths[k]) if lengths is not None else steps
        given = tuple(
            np.ascontiguousarray(
                np.atleast_1d(inputs[port.name][k])[: steps if port.name in open_ else None],
                TYPES[face.kind(port)],
            )
            for port in face.whole.inputs
        )
        answers = tuple(
            answer[k][tuple(slice(size) for size in face.shape(j, steps))]
            for j, answer in enumerate(sample.answers)
        )
        yield Stored(given, steps, answers)


class _Library:
    """Runs a compiled export on batches."""

    def __init__(self, path: Path, face: Interface, function: str = "gw_run") -> None:
        self._run = ctypes.CDLL(str(path))[function]
        self._face = face
        self._state = ctypes.create_string_buffer(face.state_bytes())

    def __call__(self, inputs: Mapping[str, Array]) -> Sequence[Array]:
        """The outputs for a batch; steps after the end of a sequence are 0."""
        face = self._face
        rows = list(_rows(Sample("", inputs, ()), face))
        most = max(row.steps for row in rows)
        found = [
            np.zeros((len(rows), *face.shape(k, most)), np.float32)
            for k in range(len(face.results))
        ]
        for k, row in enumerate(rows):
            outputs = [np.zeros(face.shape(j, row.steps), np.float32) for j in range(len(found))]
            steps = [ctypes.c_int(row.steps)] if face.open else []
            given = [ctypes.c_void_p(one.ctypes.data) for one in row.inputs]
            written = [ctypes.c_void_p(one.ctypes.data) for one in outputs]
            if self._run(ctypes.byref(self._state), *given, *steps, *written):
                raise ConfigError(f"The C export refuses a sequence of {row.steps} steps.")
            for one, output in zip(found, outputs, strict=True):
                one[k][tuple(slice(size) for size in output.shape)] = output
        return found
