"""README.txt and export.json, which describe an export to people and to programs."""

import shutil
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from gatewise.exporting.program import Port, Program
from gatewise.exporting.proof import Proof
from gatewise.runs.artefact import write_json

FACTS, README = "export.json", "README.txt"


def describe(
    draft: Path,
    program: Program,
    proof: Proof,
    usage: str,
    *,
    name: str = "",
    more: Sequence[tuple[str, str, Program]] = (),
    absent: str = "",
) -> None:
    """Write README.txt and export.json, and the Python files that the program names.

    Args:
        draft: the folder.
        program: the network; its title, facts and what is outside hold for the whole export.
        proof: what was compared.
        usage: lines of code that call the network.
        name: the name of the network, where there are several.
        more: further networks of the export, each with its name and a sentence on it.
        absent: a sentence on a form of the network that does not exist.
    """
    lines = [program.title, "", usage.strip(), ""]
    lines += [*([f"{name}:"] if name else []), *_ports(program)]
    for _, heading, other in more:
        lines += [heading, *_ports(other)]
    lines += [absent, ""] if absent else []
    outside = (*program.apart, *program.outside)
    if outside:
        lines += ["What is not inside:", *(f"  {one}" for one in outside), ""]
    lines += [proof.sentence(), *proof.notes]
    version = metadata.version("gatewise")
    lines += [f"Written by gatewise {version}. {FACTS} holds the same as data."]
    (draft / README).write_text("\n".join(lines) + "\n", encoding="utf-8")
    content = {
        "gatewise": version,
        "title": program.title,
        **({name: _as_data(program)} if name else _as_data(program)),
        **{key: _as_data(other) for key, _, other in more},
        **(program.facts or {}),
        "outside": list(outside),
        "proof": proof.facts(),
    }
    write_json(draft / FACTS, content)
    for path in program.files:
        shutil.copyfile(path, draft / path.name)


def _ports(program: Program) -> list[str]:
    lines = []
    for title, ports in (("Inputs", program.inputs), ("Outputs", program.outputs)):
        lines += [f"{title}:", *map(_line, ports)]
    return [*lines, ""]


def _line(port: Port) -> str:
    shape = ", ".join(map(str, port.shape))
    columns = f" Last axis: {', '.join(port.columns)}." if port.columns else ""
    return (
        f"  {port.name} {port.dtype} [{shape}] {port.meaning}{'.' if port.meaning else ''}{columns}"
    )


def _as_data(program: Program) -> dict[str, Any]:
    return {
        title: [
            {
                "name": port.name,
                "shape": list(port.shape),
                "dtype": port.dtype,
                "meaning": port.meaning,
                "columns": list(port.columns),
            }
            for port in ports
        ]
        for title, ports in (("inputs", program.inputs), ("outputs", program.outputs))
    }
