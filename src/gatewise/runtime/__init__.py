"""Run the network of a saved run on arrays, with NumPy and the kernels of native/ alone.

>>> from gatewise import runtime
>>> network = runtime.load("runs/nyc-taxi")  # doctest: +SKIP
>>> network(window)  # [batch, lookback, targets]  # doctest: +SKIP

This imports neither Keras nor what reading files needs (Polars, scikit-learn, SciPy), so it starts
at once and stays small. Inputs are prepared as the network reads them (scaled numbers, tokens), and
outputs are its raw outputs. `gatewise.predict` reads files, prepares and answers in the units of
the data; it runs the network in the same way.
"""

import hashlib
import json
from pathlib import Path
from typing import Any

from gatewise.errors import ArtefactError, ConfigError
from gatewise.runtime import graph
from gatewise.runtime.network import Network

__all__ = ["Network", "load", "load_all"]


def load(folder: str | Path) -> Network:
    """The network of a run folder; call it with the arrays that its Keras model reads.

    Raises:
        ArtefactError: the folder holds no graph of the network, or a file is damaged.
        ConfigError: a graph cannot hold the network, or there are several (a beam search).
    """
    networks = load_all(folder)
    if graph.ALONE not in networks:
        raise ConfigError(
            f"{folder} holds the networks {', '.join(networks)}. Give one to runtime.load_all("
            "folder)[name], or use gatewise.predict."
        )
    return networks[graph.ALONE]


def load_all(folder: str | Path) -> dict[str, Network]:
    """The networks of a run folder, by name; see `load`."""
    folder = Path(folder)
    description = _checked(folder, graph.DESCRIPTION)
    if reason := _read(description).get("reason"):
        raise ConfigError(f"{folder} needs Keras: {reason} Use gatewise.load.")
    graphs = graph.load(description, _checked(folder, graph.WEIGHTS))
    return {name: Network(one) for name, one in graphs.items()}


def _read(path: Path) -> dict[str, Any]:
    """The mapping in a JSON file.

    Raises:
        ArtefactError: the file holds something else.
    """
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except graph.DAMAGED:
        raise ArtefactError(f"{path} is damaged. Restore the folder from a backup.") from None


def _checked(folder: Path, name: str) -> Path:
    """A file of a run folder, checked against its manifest (runs/artefact.py)."""
    manifest, path = folder / "manifest.json", folder / name
    if not manifest.is_file():
        reason = f"it has no {manifest.name}" if folder.is_dir() else "there is no such folder"
        raise ArtefactError(f"{folder} is not a run folder: {reason}.")
    files = _read(manifest).get("files")
    if not isinstance(files, dict):
        raise ArtefactError(f"{manifest} is damaged. Restore the folder from a backup.")
    if name not in files:
        raise ArtefactError(
            f"{folder} has no {name}, because an earlier version of gatewise saved it. Train it "
            "again, or use gatewise.load."
        )
    if not path.is_file() or hashlib.sha256(path.read_bytes()).hexdigest() != files[name]:
        raise ArtefactError(f"{path} is not the file that was saved. Restore it from a backup.")
    return path
