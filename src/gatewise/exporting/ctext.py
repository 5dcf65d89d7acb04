"""The text of a C export: the header, the code, its self-test and a program that uses it."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from gatewise.data.sequences import Array
from gatewise.exporting.cfunctions import FUNCTIONS, with_calls
from gatewise.exporting.cgraph import written
from gatewise.exporting.cvalues import (
    BOOL,
    DOUBLE,
    FLOAT,
    INT,
    MOST,
    Open,
    Value,
    array_of,
    capacity,
    fixed,
    number,
    times,
)
from gatewise.exporting.cwriter import plain
from gatewise.exporting.onestep import STATES
from gatewise.exporting.program import STEPS, Port, Program
from gatewise.exporting.proof import LIMIT, OWN
from gatewise.runtime.graph import names_in

HEADER = "network.h"
LONGEST = 256  # steps of a network that reads whole sequences; a macro of the header
SCANNED = {FLOAT: "%f", INT: "%d", BOOL: "%hhd"}


@dataclass(frozen=True)
class Stored:
    """A sequence of the self-test."""

    inputs: tuple[Array, ...]  # in the order of the ports
    steps: int
    answers: tuple[Array, ...]


class Interface:
    """The functions of an export, and what they read and write."""

    def __init__(self, whole: Program, step: Program | str, *, rounded: bool) -> None:
        self.whole = whole  # for sequences without padding
        self.by_step = isinstance(step, Program)  # gw_step exists
        self.computed = step if isinstance(step, Program) else whole
        held = [port.name for port in self.computed.inputs if port.name in STATES]
        self.held = held if self.by_step else []  # the inputs that are kept in the state
        self.writer = written(self.computed, self.held, rounded=rounded)
        values = [self.writer.values[name] for name in names_in(self.computed.graph.outputs)]
        self.results, self.states = values[: len(whole.outputs)], values[len(whole.outputs) :]
        # gw_run takes the number of steps.
        self.open = any(STEPS in port.shape for port in whole.inputs)
        # gw_run of a network by step answers after each of them.
        ranks = [len(one.outputs[0].shape) for one in (whole, self.computed)]
        self.each_step = ranks[0] > ranks[1]

    def kind(self, port: Port) -> str:
        """The type of an input."""
        return self.writer.values[port.name].kind

    def shape(self, k: int, steps: int) -> tuple[int, ...]:
        """The shape of output `k` for a sequence, without an axis of batches."""
        sizes = [s.of(steps) if isinstance(s, Open) else s for s in self.results[k].shape[1:]]
        return (steps, *sizes) if self.each_step else tuple(sizes)

    def state_bytes(self) -> int:
        """At least the size of gw_state."""
        return 64 + sum(
            8
            + (8 if kind == DOUBLE else 4)
            * int(np.prod([s.of(LONGEST) if isinstance(s, Open) else s for s in shape]))
            for kind, shape in self.writer.buffers.values()
        )


def macro(port: Port) -> str:
    """The macro for the size of a port."""
    return f"GW_{plain(port.name).upper()}"


def in_file(text: str, name: str) -> str:
    """Text of the files of this name."""
    return text.replace(HEADER, f"{name}.h").replace("GW_NETWORK_H", f"GW_{name.upper()}_H")


def of_part(text: str, name: str) -> str:
    """Text of one of several networks of a program, whose names begin with that of the network."""
    text = re.sub(r"\bgw_", f"gw_{name}_", text.replace(HEADER, f"{name}.h"))
    return re.sub(rf"\bGW_(?!{MOST[3:]}\b|SELF_TEST\b)", f"GW_{name.upper()}_", text)


def _comment(text: str) -> str:
    """Text that cannot end a comment."""
    return " ".join(text.replace("*/", "* /").replace("/*", "/ *").split())


def _parameters(face: Interface, *, step: bool = False) -> str:
    given = [f"const {face.kind(port)} *{plain(port.name)}" for port in face.whole.inputs]
    steps = ["int n"] if face.open and not step else []
    written = [f"float *{plain(port.name)}" for port in face.whole.outputs]
    return ", ".join(["gw_state *state", *given, *steps, *written])


def header(face: Interface) -> str:
    """network.h."""
    lines = [f"/* {_comment(face.whole.title)} Written by gatewise; see README.txt. */", ""]
    lines += ["#ifndef GW_NETWORK_H", "#define GW_NETWORK_H", ""]
    sizes = [
        *((port, fixed(port.shape[1:])) for port in face.whole.inputs),
        *(
            (port, fixed(value.shape))
            for port, value in zip(face.whole.outputs, face.results, strict=True)
        ),
    ]
    for port, size in sizes:
        about = [f"{port.name}: {port.meaning}" if port.meaning else port.name]
        about += [f"   {k} {name}" for k, name in enumerate(port.columns)]
        lines += ["/*", *(f" * {_comment(one)}" for one in about), " */"]
        each = " for each step" if STEPS in port.shape else ""
        lines += [f"#define {macro(port)} {size} /* numbers{each} */", ""]
    if face.open and not face.by_step:
        lines += ["/* The longest sequence; another one must be defined for all files alike. */"]
        lines += [f"#ifndef {MOST}", f"#define {MOST} {LONGEST}", "#endif", ""]
    lines += ["/* Everything that changes: one for each sequence that is read at the same time. */"]
    lines += ["typedef struct {"]
    members = face.writer.buffers or {"none": (BOOL, (1,))}
    lines += [f"  {kind} {name}[{capacity(shape)}];" for name, (kind, shape) in members.items()]
    lines += ["} gw_state;", "", "/* Begin a sequence. */", "void gw_init(gw_state *state);", ""]
    if face.by_step:
        lines += ["/* Read the next step, and answer for the sequence so far. */"]
        lines += [f"void gw_step({_parameters(face, step=True)});", ""]
    returns = "Return 0."
    if face.open:
        limit = "" if face.by_step else f" or more than {MOST}"
        returns = f"Return 0, or 1 if there are no steps{limit}."
    lines += [f"/* Begin and read a whole sequence, and answer for it. {returns} */"]
    return "\n".join([*lines, f"int gw_run({_parameters(face)});", "", "#endif", ""])


def code(face: Interface, stored: Sequence[Stored], units: Sequence[float]) -> str:
    """network.c.

    Args:
        face: its functions.
        stored: the sequences of its self-test.
        units: the spread of each output, by which the self-test measures a difference.
    """
    writer = face.writer
    copies = list(zip(face.whole.outputs, face.results, strict=True))
    lines = [
        *writer.lines,
        *(_copy(plain(port.name), value) for port, value in copies),
        *(
            _copy(writer.values[name].code, value)
            for name, value in zip(face.held, face.states, strict=False)
        ),
    ]
    lines = [f"  {line}" for line in lines]
    if face.by_step:
        body = [f"void gw_step({_parameters(face, step=True)}) {{", *lines, "}", ""]
        body += _run_by_step(face)
    else:
        unused = [f"  (void){plain(p.name)};" for p in face.whole.inputs]
        body = [f"int gw_run({_parameters(face)}) {{", *unused]
        body += [f"  if (n < 1 || n > {MOST}) return 1;"] if face.open else []
        body += [*lines, "  return 0;", "}", ""]
    return "\n".join(
        [
            f"/* {_comment(face.whole.title)} Written by gatewise; see README.txt. */\n",
            f'#include "{HEADER}"\n\n#include <math.h>\n',
            *(array_of(name, array) for name, array in writer.weights.items()),
            *(f"{FUNCTIONS[name].code.strip()}\n" for name in with_calls(writer.functions)),
            *_init(face),
            *body,
            *_self_test(face, stored, units),
        ]
    )


def _copy(to: str, value: Value) -> str:
    return f"for (int i = 0; i < {times(value.shape)}; i++) {to}[i] = {value.code}[i];"


def _init(face: Interface) -> list[str]:
    held = [face.writer.values[name] for name in face.held]
    zeros = [
        f"  for (int i = 0; i < {times(value.shape)}; i++) {value.code}[i] = 0.0f;"
        for value in held
    ]
    return ["void gw_init(gw_state *state) {", *(zeros or ["  (void)state;"]), "}", ""]


def _run_by_step(face: Interface) -> list[str]:
    (given,), (port,) = face.whole.inputs, face.whole.outputs
    x, y = plain(given.name), plain(port.name)
    place = f"{y} + t * {macro(port)}" if face.each_step else y
    return [
        f"int gw_run({_parameters(face)}) {{",
        "  if (n < 1) return 1;",
        "  gw_init(state);",
        f"  for (int t = 0; t < n; t++) gw_step(state, {x} + t * {macro(given)}, {place});",
        "  return 0;",
        "}",
        "",
    ]


def _self_test(face: Interface, stored: Sequence[Stored], units: Sequence[float]) -> list[str]:
    """A main() that runs stored sequences, and fails if an answer differs from that of the run."""
    arrays, calls = [], []
    most = [max(one.answers[k].size for one in stored) for k in range(len(face.results))]
    for k, one in enumerate(stored):
        names = [f"test_{k}_{plain(port.name)}" for port in face.whole.inputs]
        arrays += [array_of(name, x) for name, x in zip(names, one.inputs, strict=True)]
        steps = [str(one.steps)] if face.open else []
        given = [*names, *steps, *(f"y{j}" for j in range(len(face.results)))]
        calls.append(f"  bad |= gw_run(&state, {', '.join(given)});")
        for j, answer in enumerate(one.answers):
            arrays.append(array_of(f"test_{k}_answer_{j}", answer.astype(np.float32)))
            calls += [
                f"  for (int i = 0; i < {answer.size}; i++) {{",
                f"    const float wanted = test_{k}_answer_{j}[i];",
                f"    const float apart = fabsf(y{j}[i] - wanted);",
                f"    const float own = {number(LIMIT * OWN)} * fabsf(wanted);",
                f"    const float allowed = own > {number(LIMIT * units[j])} ? own : "
                f"{number(LIMIT * units[j])};",
                "    worst = apart > worst ? apart : worst;",
                "    bad |= !(apart <= allowed);",
                "  }",
            ]
    return [
        "#ifdef GW_SELF_TEST\n#include <stdio.h>\n",
        *arrays,
        "int main(void) {",
        "  static gw_state state;",
        *(f"  static float y{j}[{size}];" for j, size in enumerate(most)),
        "  float worst = 0.0f;",
        "  int bad = 0;",
        *calls,
        f'  printf("%s: largest difference %g, spread of the answers {max(units):.3g}\\n", '
        'bad ? "FAILED" : "passed", (double)worst);',
        "  return bad;",
        "}",
        "#endif",
        "",
    ]


def example(face: Interface) -> str:
    """A program that reads a sequence from standard input, and writes the answers."""
    lines = ["#include <stdio.h>", '#include "network.h"', "", "int main(void) {"]
    lines += ["  static gw_state state;"]
    ports, outputs = face.whole.inputs, face.whole.outputs
    if face.by_step:
        (given,), (port,) = ports, outputs
        x, y = plain(given.name), plain(port.name)
        write = f'for (int i = 0; i < {macro(port)}; i++) printf("%g\\n", (double){y}[i]);'
        lines += [
            f"  static {face.kind(given)} {x}[{macro(given)}];",
            f"  static float {y}[{macro(port)}];",
            "  gw_init(&state);",
            f'  for (int k = 0; scanf("{SCANNED[face.kind(given)]}", &{x}[k]) == 1;) {{',
            f"    if (++k < {macro(given)}) continue;",
            f"    gw_step(&state, {x}, {y});",
            *([f"    {write}"] if face.each_step else []),
            "    k = 0;",
            "  }",
            *([] if face.each_step else [f"  {write}"]),
        ]
        return "\n".join([*lines, "  return 0;", "}"])
    for port in ports:
        wide = f" * {MOST}" if STEPS in port.shape else ""
        lines += [f"  static {face.kind(port)} {plain(port.name)}[{macro(port)}{wide}];"]
    sizes = [capacity(value.shape) for value in face.results]
    lines += [
        f"  static float {plain(port.name)}[{size}];"
        for port, size in zip(outputs, sizes, strict=True)
    ]
    if face.open:
        lines += ["  int n;", f'  if (scanf("%d", &n) != 1 || n < 1 || n > {MOST}) return 1;']
    for port in ports:
        count = f"n * {macro(port)}" if STEPS in port.shape else macro(port)
        one = f'scanf("{SCANNED[face.kind(port)]}", &{plain(port.name)}[i])'
        lines += [f"  for (int i = 0; i < {count}; i++)", f"    if ({one} != 1) return 1;"]
    names = [plain(port.name) for port in ports]
    arguments = [*names, *(["n"] if face.open else []), *(plain(port.name) for port in outputs)]
    lines += [f"  if (gw_run(&state, {', '.join(arguments)})) return 1;"]
    for port, value in zip(outputs, face.results, strict=True):
        one = f'printf("%g\\n", (double){plain(port.name)}[i])'
        lines += [f"  for (int i = 0; i < {times(value.shape)}; i++) {one};"]
    return "\n".join([*lines, "  return 0;", "}"])
