"""save(), load(): one folder, nothing pickled.

A run is written under a temporary name next to its destination and moved there when it is complete,
so a folder with the name of a run always holds a complete run. Loading checks every file that it
reads against the manifest and executes nothing. The report, the predictions and the like are for
people, who may edit or delete them.
"""

import ctypes
import fcntl
import glob
import hashlib
import importlib
import importlib.metadata
import json
import logging
import math
import os
import platform
import shutil
import tempfile
import tomllib
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from gatewise.data.preparation import Preparation
from gatewise.errors import ArtefactError, ConfigError
from gatewise.output import as_parquet, lies_in, writing_file
from gatewise.runs.coherence import refuse_incoherent, refuse_other_sizes
from gatewise.runs.migration import FORMAT, present_preparation, present_settings
from gatewise.runtime import graph
from gatewise.runtime.network import Network
from gatewise.settings import Experiment, from_mapping, to_toml
from gatewise.tasks import TASKS, task_of

# Prediction reads run folders without Keras, so what needs it is imported on first use.
if TYPE_CHECKING:
    import keras

    from gatewise.judging.evaluation import Evaluation
    from gatewise.reporting.sections import Record
    from gatewise.training.progress import History

log = logging.getLogger("gatewise")

MODEL, PREPARATION, SETTINGS = "model.keras", "preparation.json", "settings.toml"
BASELINES, METRICS, MANIFEST = "baselines.json", "metrics.json", "manifest.json"
HISTORY, SPLITS, PREDICTIONS = "history.csv", "splits.json", "predictions.csv"
GRAPH, GRAPH_WEIGHTS = graph.DESCRIPTION, graph.WEIGHTS  # for prediction without Keras
REPORT, ENVIRONMENT, RESAMPLES = "report.html", "environment.json", "resamples.parquet"
# What file managers, notebooks and NFS leave in any folder, by how its name begins.
LITTER = (".DS_Store", "._", ".ipynb_checkpoints", ".nfs")
AT_FDCWD, RENAME_EXCHANGE = -100, 2  # of Linux: relative to the working folder; swap both
LOADED = (MODEL, PREPARATION, SETTINGS, BASELINES, METRICS)  # and SPLITS in newer folders


@dataclass(frozen=True)
class Artefact:
    """A trained model, with everything that prediction needs."""

    folder: Path | None  # None: trained in this process and not saved
    experiment: Experiment
    preparation: Preparation[Any]
    network: Any  # a keras.Model; of `open_run`, what `Task.outputs` predicts with
    baselines: Mapping[str, Any]
    metrics: Mapping[str, Any]
    splits: Mapping[str, Any]  # the steps of each part; empty in folders of older versions
    backend: str | None = None  # of the training, as Keras names it; None: the one in use

    def __repr__(self) -> str:
        """One line, because notebooks display it."""
        place, task = self.folder or "not saved", self.experiment.task.name
        return f"<Artefact {place}: {task}, {self.model.count_params()} parameters>"

    @property
    def model(self) -> "keras.Model":
        """The Keras model, a plain one that works like any other."""
        return self.network

    def stream(self, *, window: int | None = None, every: int | None = None, id: str = "") -> Any:
        """A `gatewise.Stream` of this run; its module is loaded on first use."""
        module = importlib.import_module("gatewise.streaming")
        return module.Stream(self, window=window, every=every, id=id)


def check_free(folder: Path, *, overwrite: bool, resume: bool = False) -> None:
    """Check before the work that the run folder can be written; nothing is overwritten silently.

    Raises:
        ConfigError: the folder exists and may not be replaced, or its parent cannot be written to.
    """
    if folder.exists():
        if resume and not overwrite and (folder / MANIFEST).is_file():
            raise ConfigError(
                f"{folder} is a finished run, so --resume has nothing to continue. Choose another "
                "-o to train again, or give --overwrite without --resume to replace the run."
            )
        if not overwrite:
            raise ConfigError(
                f"{folder} exists. Choose another -o, or give --overwrite to replace it."
            )
        if not (folder / MANIFEST).is_file():
            raise ConfigError(
                f"{folder} is not a run folder, so it is not replaced. Choose another -o."
            )
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"{folder.parent} cannot be made: {error.strerror}.") from None
    try:
        Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent)).rmdir()
    except OSError as error:
        raise ConfigError(
            f"{folder.parent} cannot be written to: {error.strerror}. Choose another -o."
        ) from None


def check_room(folder: Path, size: int) -> None:
    """Check before training that the disk has room for about `size` bytes.

    Raises:
        ConfigError: the disk has less room.
    """
    free = shutil.disk_usage(folder.parent).free
    if free < size:
        raise ConfigError(
            f"{folder.parent} has room for {free / 1e6:.1f} MB, but the run takes about "
            f"{size / 1e6:.1f} MB. Free some space, or choose another -o."
        )


def check_replaceable(folder: Path, reads: Iterable[Path]) -> None:
    """Refuse to replace a run folder if that would destroy something else.

    Raises:
        ConfigError: the folder is a link, or holds an input (`reads`) or a file that does not
            belong to the run.
    """
    if not (folder / MANIFEST).is_file():
        return
    if folder.is_symlink():
        raise ConfigError(f"{folder} is a link. Give the folder itself: -o {folder.resolve()}.")
    for read in reads:
        if read.exists() and lies_in(read, folder):
            raise ConfigError(
                f"{folder} holds the input {read}, so it is not replaced. Choose another -o."
            )
    listed = {*_manifest(folder)["files"], MANIFEST}
    names = (path.name for path in folder.iterdir() if not path.name.startswith(LITTER))
    if unknown := sorted(set(names) - listed):
        raise ConfigError(
            f"{folder} holds {', '.join(unknown)}, which does not belong to the run and would be "
            "lost. Move it away, or choose another -o."
        )


@contextmanager
def writing(folder: Path, *, overwrite: bool) -> Iterator[Path]:
    """A temporary folder for a run: moved to its destination when complete, otherwise removed."""
    check_free(folder, overwrite=overwrite)
    _remove_abandoned(folder)
    draft = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    old = draft.with_name(f"{draft.name}-old")
    lock = os.open(draft, os.O_RDONLY)
    try:
        with suppress(OSError):  # some file systems have no locks
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield draft
        seal(draft)
        draft.chmod(0o755)  # mkdtemp lets only the owner in
        if folder.exists():
            check_free(folder, overwrite=overwrite)  # another run may have written it meanwhile
            if _exchange(draft, folder):
                return
            folder.rename(old)
        draft.rename(folder)
    finally:
        if old.exists() and not folder.exists():
            old.rename(folder)  # interrupted between the two renames: keep the old run
        for rest in (old, draft):
            if rest.exists():
                shutil.rmtree(rest)
        os.close(lock)


def _exchange(one: Path, other: Path) -> bool:
    """Swap two folders in one step, which no kill can interrupt; False where that cannot be done.

    `renameat2` is a call of Linux that Python does not offer, and some file systems refuse it.
    """
    swap = getattr(ctypes.CDLL(None), "renameat2", None)
    return swap is not None and not swap(
        AT_FDCWD, os.fsencode(one), AT_FDCWD, os.fsencode(other), RENAME_EXCHANGE
    )


def _remove_abandoned(folder: Path) -> None:
    """Remove the drafts of this folder that killed processes left: those that nobody locks."""
    for draft in folder.parent.glob(f".{glob.escape(folder.name)}-????????"):
        # A process writes it, or it is of another user, or the file system has no locks.
        with suppress(OSError):
            if (draft / SETTINGS).is_file():
                _remove_unlocked(draft)


def _remove_unlocked(draft: Path) -> None:
    """Remove a draft that no process locks.

    Raises:
        OSError: a process does, or the draft cannot be opened, locked or removed.
    """
    lock = os.open(draft, os.O_RDONLY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(draft)
    finally:
        os.close(lock)


def save(
    artefact: Artefact, history: "History", evaluation: "Evaluation | None", *, overwrite: bool
) -> None:
    """Write the run folder; if that fails, write it elsewhere and say where.

    Raises:
        ArtefactError: the folder cannot be written.
    """
    assert artefact.folder is not None
    try:
        _write(artefact, history, evaluation, folder=artefact.folder, overwrite=overwrite)
    except (OSError, ConfigError) as error:  # ConfigError: the folder is no longer free
        reason = (getattr(error, "strerror", None) or str(error)).rstrip(".")
        refuge = _rescue(artefact, history, evaluation, artefact.folder)
        if refuge is None:
            raise ArtefactError(
                f"{artefact.folder} cannot be written: {reason}. No other folder can be written "
                "either, so the trained network is lost. Free some space, or choose another -o, "
                "and train again."
            ) from error
        raise ArtefactError(
            f"{artefact.folder} cannot be written: {reason}. The run was saved in {refuge} "
            "instead; move it to a permanent place."
        ) from error


def _rescue(
    artefact: Artefact, history: "History", evaluation: "Evaluation | None", folder: Path
) -> Path | None:
    """Save the run in the first other folder that can be written; None if there is none."""
    for place in (tempfile.gettempdir, Path.home, Path.cwd):
        try:
            refuge = Path(tempfile.mkdtemp(prefix="gatewise-", dir=place()))
        except (OSError, RuntimeError):  # no such place; RuntimeError: the user has no home folder
            continue
        try:
            _write(artefact, history, evaluation, folder=refuge / folder.name, overwrite=False)
        except (OSError, ConfigError):
            refuge.rmdir()
            continue
        return refuge / folder.name
    return None


def _write(
    artefact: Artefact,
    history: "History",
    evaluation: "Evaluation | None",
    *,
    folder: Path,
    overwrite: bool,
) -> None:
    from gatewise.reporting.report import draw

    with writing(folder, overwrite=overwrite) as draft:
        save_parts(draft, artefact.experiment, artefact.preparation, artefact.network)
        write_json(draft / BASELINES, artefact.baselines)
        write_json(draft / METRICS, {**artefact.metrics, "run": str(folder)})
        write_json(draft / ENVIRONMENT, environment())
        write_json(draft / SPLITS, artefact.splits)
        (draft / HISTORY).write_text(pl.DataFrame(history.columns).write_csv(), encoding="utf-8")
        if evaluation is not None:
            (draft / PREDICTIONS).write_text(as_csv(evaluation.table), encoding="utf-8")
            (draft / RESAMPLES).write_bytes(as_parquet(resamples_of(evaluation)))
        (draft / REPORT).write_text(draw(read_record(draft, FORMAT)), encoding="utf-8")


def resamples_of(evaluation: "Evaluation") -> pl.DataFrame:
    """The scores of the model: a row for each metric and seed, the resampled ones as a list."""
    measured = evaluation.resampled
    metrics = list(dict.fromkeys(one.metric for one in measured))
    return pl.DataFrame(
        {
            "metric": [one.metric for one in measured],
            "seed": [k // len(metrics) for k in range(len(measured))],
            "score": [one.score for one in measured],
            "clusters": [one.clusters for one in measured],
            "resampled": [one.drawn for one in measured],
        },
        schema_overrides={"resampled": pl.List(pl.Float64)},
    )


def read_record(folder: Path, number: int) -> "Record":
    """The part of a run folder of format `number` that the report shows."""
    from gatewise.reporting.sections import Record

    with intact(folder / HISTORY):
        history = pl.read_csv(folder / HISTORY).to_dict(as_series=False)
    return Record(
        settings=read_settings(folder, number),
        metrics=read_json(folder / METRICS),
        history=history,
        environment=read_json(folder / ENVIRONMENT),
    )


def read_settings(folder: Path, number: int) -> Experiment:
    """The settings of a run folder of format `number`."""
    with intact(folder / SETTINGS):
        given = tomllib.loads((folder / SETTINGS).read_text(encoding="utf-8"))
        return from_mapping(present_settings(given, number))


def seal(folder: Path) -> None:
    """Write the manifest: the format number, and the SHA-256 of every other file."""
    files = sorted(path for path in folder.iterdir() if path.name != MANIFEST)
    write_json(
        folder / MANIFEST,
        {
            "format": FORMAT,
            "gatewise": importlib.metadata.version("gatewise"),
            "files": {path.name: _digest(path) for path in files},
        },
    )


def save_parts(
    folder: Path, experiment: Experiment, preparation: Preparation[Any], network: "keras.Model"
) -> None:
    """Write settings, preparation and model; without its loss, so that Keras alone can open it."""
    import keras

    from gatewise.networks.imports import without_tensorflow
    from gatewise.networks.variants import has_variants

    (folder / SETTINGS).write_text(to_toml(experiment), encoding="utf-8")
    write_json(folder / PREPARATION, preparation.to_json())
    with without_tensorflow(keras.saving.serialize_keras_object):
        plain(network).save(folder / MODEL)
    if has_variants(network):
        log.info(
            "%s holds a layer of gatewise, because of network.zoneout or "
            "network.cell_normalization. Keras opens it after import gatewise.networks.variants.",
            MODEL,
        )
    _save_graphs(folder, experiment, preparation, network)


def _save_graphs(
    folder: Path, experiment: Experiment, preparation: Preparation[Any], network: "keras.Model"
) -> None:
    """Write the network as graphs, or the reason why a graph cannot hold it.

    They repeat what `model.keras` holds, because reading that file takes Keras or a copy of its
    reader, and the models of a beam search are in no file of Keras.
    """
    from gatewise.runtime.describe import describe

    task = TASKS[preparation.task].network
    try:
        models = task.runtime_models(network, preparation, experiment)
        graphs = {name: describe(model) for name, model in models.items()}
    except ConfigError as error:
        write_json(folder / GRAPH, {"format": graph.FORMAT, "reason": str(error)})
    else:
        graph.save(graphs, folder / GRAPH, folder / GRAPH_WEIGHTS)


def plain(network: "keras.Model") -> "keras.Model":
    """A model of the same weights without optimizer and loss, which may be ours.

    Its layers are those of the network, or copies, if some of them exist for training only. A model
    of a user's own class is returned as it is.
    """
    import keras

    from gatewise.networks.dropping import without_weight_dropout
    from gatewise.networks.layers import masking

    copy = without_weight_dropout(network)
    network = network if copy is network else masking(copy)
    if isinstance(network, keras.Sequential):  # `input` is undefined before the first call
        return keras.Model(network.inputs[0], network.outputs[0], name=network.name)
    if getattr(network, "inputs", None) and type(network).__module__.startswith("keras."):
        return keras.Model(network.input, network.output, name=network.name)
    return network


def load(folder: str | Path) -> Artefact:
    """Load a saved run with its Keras model, and check it against its manifest.

    Raises:
        ArtefactError: the folder is not a run folder, a file is missing or changed, or the format
            is unknown.
    """
    folder = folder_of(folder)
    artefact = _without_network(folder, MODEL)  # before Keras, whose import takes seconds

    from gatewise.networks.layers import masking
    from gatewise.networks.loading import load_model

    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Layer .* was passed an input with a mask attached")
            network = load_model(folder / MODEL)
    except graph.DAMAGED as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ArtefactError(
            f"Keras cannot open {folder / MODEL}: {reason} Layers of your own must be registered "
            "(keras.saving.register_keras_serializable) and imported before loading."
        ) from error
    refuse_another_network(network, artefact)
    return replace(artefact, network=masking(network), backend=_backend_of(folder))


def _backend_of(folder: Path) -> str | None:
    """The backend of the training; None if the file, which people may edit, does not tell."""
    if not (folder / ENVIRONMENT).is_file():  # a pipe would never end
        return None
    try:
        backend = json.loads((folder / ENVIRONMENT).read_text(encoding="utf-8"))["backend"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return backend if isinstance(backend, str) else None


def refuse_another_network(network: Any, artefact: Artefact) -> None:
    """Refuse a network that does not fit the preparation of its run.

    Raises:
        ArtefactError: a size differs; the message names both.
    """
    shapes = task_of(artefact.preparation.task).fitted_shapes(artefact.preparation)
    settings = artefact.experiment.network
    try:
        refuse_other_sizes(network, shapes, own=bool(settings.build) or settings.kind == "own")
    except ValueError as error:
        raise ArtefactError(
            f"{artefact.folder} is damaged, because {PREPARATION} and the network do not belong "
            f"together: {error}. Restore the folder from a backup."
        ) from None


def folder_of(run: Any) -> Path:
    """The folder of a run: of a path, of a loaded artefact or of what training returned.

    Raises:
        ConfigError: the run was not saved, or is none of these.
    """
    artefact = getattr(run, "artefact", run)
    if isinstance(artefact, Artefact):
        if artefact.folder is None:
            raise ConfigError("This run was not saved. Give train an output folder to save it.")
        return artefact.folder
    if isinstance(artefact, str | os.PathLike):
        return Path(artefact)
    raise ConfigError(
        "A run is a run folder, or what gatewise.load or gatewise.train returned. "
        f"Received: {type(run).__name__}."
    )


def open_run(folder: str | Path) -> Artefact:
    """Open a saved run to predict with it: without Keras, if it holds the graph of its network.

    Otherwise it is what `load` returns, and the log says why.

    Raises:
        ArtefactError: as `load`.
    """
    folder = Path(folder)
    if reason := _needs_keras(folder):
        log.info("Keras runs the network, because %s", reason)
        return load(folder)
    artefact = _without_network(folder, GRAPH, GRAPH_WEIGHTS)
    graphs = graph.load(folder / GRAPH, folder / GRAPH_WEIGHTS)
    networks = {name: Network(one) for name, one in graphs.items()}
    network = networks.get(graph.ALONE, networks)
    refuse_another_network(network, artefact)
    return replace(artefact, network=network)


def _needs_keras(folder: Path) -> str:
    """Why a run cannot predict without Keras, as the end of a sentence; "": it can."""
    if GRAPH not in _manifest(folder)["files"]:
        return "an earlier version of gatewise saved this run. Train it again to do without."
    verify(folder, (SETTINGS, GRAPH))
    with intact(folder / GRAPH):
        reason = read_json(folder / GRAPH).get("reason")
    if reason:
        return f"a graph cannot hold it. {reason}"
    if read_settings(folder, format_of(folder)).engine.kind == "stock":
        return "the settings of this run say engine.kind = stock."
    return ""


def _without_network(folder: Path, *needed: str) -> Artefact:
    """A saved run, except its network, whose files `needed` are checked too."""
    listed = SPLITS in _manifest(folder)["files"]  # older versions did not write this file
    others = tuple(name for name in LOADED if name != MODEL)
    verify(folder, (*needed, *others, SPLITS) if listed else (*needed, *others))
    number = format_of(folder)
    experiment = read_settings(folder, number)
    with intact(folder / PREPARATION):
        own = task_of(experiment.task.name).fitted
        fitted = present_preparation(read_json(folder / PREPARATION), own, number)
        preparation = Preparation.from_json(fitted, own)
        refuse_incoherent(preparation, task_of(experiment.task.name).fitted_shapes)
    if preparation.task != experiment.task.name:
        raise ArtefactError(
            f"{folder} holds the files of two runs: {SETTINGS} is of the task "
            f"{experiment.task.name}, {PREPARATION} of {preparation.task}. Restore the folder."
        )
    return Artefact(
        folder=folder,
        experiment=experiment,
        preparation=preparation,
        network=None,
        baselines=read_json(folder / BASELINES),
        metrics=read_json(folder / METRICS),
        splits=read_json(folder / SPLITS) if listed else {},
    )


def format_of(folder: Path) -> int:
    """The format number of a run folder.

    Raises:
        ArtefactError: it is not a run folder, or of a format that this version does not read.
    """
    return int(_manifest(folder)["format"])


def verify(folder: Path, names: Sequence[str] = LOADED) -> None:
    """Check that files of a run folder exist and match the manifest.

    Raises:
        ArtefactError: one is missing or was changed.
    """
    files = _manifest(folder)["files"]
    for name in names:
        if name not in files:
            raise ArtefactError(
                f"{folder / MANIFEST} does not list {name}. Restore the folder from a backup."
            )
        path = folder / name
        if not path.is_file():
            raise ArtefactError(
                f"{folder} is incomplete: {name} is missing. Restore it from a backup."
            )
        if not as_saved(path):
            raise ArtefactError(
                f"{path} is not the file that was saved (its SHA-256 differs). Restore it from a "
                "backup."
            )


def as_saved(path: Path) -> bool:
    """True if a file of a run folder is byte for byte the one in the manifest."""
    return bool(_digest(path) == _manifest(path.parent)["files"].get(path.name))


def seal_again(path: Path) -> None:
    """Update the manifest entry of one file of a run folder; the other entries stay."""
    manifest = _manifest(path.parent)
    manifest["files"][path.name] = _digest(path)
    with writing_file(path.parent / MANIFEST, overwrite=True) as draft:
        write_json(draft, manifest)


def _manifest(folder: Path) -> dict[str, Any]:
    """The manifest of a run folder, if this version can read its format."""
    path = folder / MANIFEST
    if not path.is_file():
        missing = "it is a file" if folder.exists() else "there is no such folder"
        reason = f"it has no {MANIFEST}" if folder.is_dir() else missing
        raise ArtefactError(f"{folder} is not a run folder: {reason}.")
    try:
        manifest = read_json(path)
        number, files = int(manifest["format"]), dict(manifest["files"])
        if any(Path(name).name != name for name in files):
            raise ValueError("A run folder contains no folders.")
        if number < 1:
            raise ValueError("The first format is 1.")
    except (ValueError, KeyError, TypeError):
        raise ArtefactError(f"{path} is damaged. Restore the folder from a backup.") from None
    if number > FORMAT:
        raise ArtefactError(
            f"{folder} has format {number}, but this version of gatewise reads up to {FORMAT}. "
            f"Install gatewise {manifest.get('gatewise', 'of a newer version')} or newer."
        )
    return dict(manifest)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_json(path: Path, content: Any) -> None:
    """Write content as JSON; a number that is not finite becomes null."""
    path.write_text(as_json(content), encoding="utf-8")


def as_json(content: Any) -> str:
    """The content as JSON; a number that is not finite becomes null."""
    text = json.dumps(finite(content), indent=1, ensure_ascii=False, allow_nan=False)
    return f"{text}\n"


def finite(content: Any) -> Any:
    """The content as plain Python objects, with None for every number that JSON cannot hold."""
    if isinstance(content, Mapping):
        return {str(key): finite(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [finite(value) for value in content]
    if hasattr(content, "item"):
        content = content.item()
    if isinstance(content, float) and not math.isfinite(content):
        return None
    return content


def read_json(path: Path) -> Any:
    """Read what `write_json` wrote.

    Raises:
        ArtefactError: the file holds no JSON.
    """
    with intact(path):
        return json.loads(path.read_text(encoding="utf-8"))


@contextmanager
def intact(path: Path) -> Iterator[None]:
    """Turn the errors of reading a damaged file or folder into one sentence.

    Raises:
        ArtefactError: the file or folder is damaged.
    """
    try:
        yield
    except OSError as error:
        raise ArtefactError(f"{path} cannot be read: {error.strerror or error}.") from error
    except (*graph.DAMAGED, pl.exceptions.PolarsError) as error:
        reason = (str(error).strip() or "nothing to read").splitlines()[0].rstrip(".")
        raise ArtefactError(
            f"{path} is damaged ({type(error).__name__}: {reason}). Restore the folder from a "
            "backup."
        ) from error


def as_csv(table: pl.DataFrame) -> str:
    """A table as CSV; times show a fraction of a second only if it is not zero."""
    return table.write_csv(datetime_format="%Y-%m-%d %H:%M:%S%.f")


def _processor() -> str:
    """The name of the processor, which `platform` does not know on Linux."""
    about = Path("/proc/cpuinfo")
    for line in about.read_text(encoding="utf-8").splitlines() if about.is_file() else ():
        key, _, name = line.partition(":")
        if key.strip() == "model name":
            return name.strip()
    return platform.processor()


def environment() -> dict[str, Any]:
    """The packages, the backend and the machine of the run."""
    import keras

    packages = (
        "gatewise",
        "keras",
        "jax",
        "tensorflow",
        "tensorflow-cpu",
        "torch",
        "numpy",
        "polars",
        "scikit-learn",
    )
    versions = {}
    for package in packages:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return {
        **versions,
        "python": platform.python_version(),
        "backend": keras.backend.backend(),
        "platform": platform.platform(),
        "machine": platform.machine(),
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0))
        if hasattr(os, "sched_getaffinity")
        else os.cpu_count(),
    }
