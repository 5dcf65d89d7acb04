"""save(), load(): one folder, nothing pickled.

A run is written under a temporary name beside its place and moved there when it is whole, so a
folder with a run's name is always a whole run. Loading checks every byte that it reads against the
manifest and runs nothing. The report, the predictions and the like are for people, who may edit or
delete them.
"""

import hashlib
import importlib.metadata
import json
import math
import os
import platform
import shutil
import tempfile
import tomllib
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import polars as pl

from gatewise.data.preparation import Preparation
from gatewise.errors import ArtefactError, ConfigError
from gatewise.evaluation import Evaluation
from gatewise.networks.layers import masking
from gatewise.output import lies_in, writing_file
from gatewise.reporting.report import draw
from gatewise.reporting.sections import Record
from gatewise.settings import Experiment, from_mapping, from_toml, to_toml
from gatewise.training import History

FORMAT = 1
MODEL, PREPARATION, SETTINGS = "model.keras", "preparation.json", "settings.toml"
BASELINES, METRICS, MANIFEST = "baselines.json", "metrics.json", "manifest.json"
HISTORY, SPLITS, PREDICTIONS = "history.csv", "splits.json", "predictions.csv"
REPORT, ENVIRONMENT = "report.html", "environment.json"
LOADED = (MODEL, PREPARATION, SETTINGS, BASELINES, METRICS)  # and SPLITS, in newer folders


@dataclass(frozen=True)
class Artefact:
    """A trained model with everything that prediction needs."""

    folder: Path | None  # None: trained in this process and not saved
    experiment: Experiment
    preparation: Preparation
    network: keras.Model
    baselines: Mapping[str, Any]
    metrics: Mapping[str, Any]
    splits: Mapping[str, Any]  # what was learnt from; empty in folders of older versions

    def __repr__(self) -> str:
        """A line, for a notebook shows it of its own accord."""
        place, task = self.folder or "not saved", self.experiment.task.name
        return f"<Artefact {place}: {task}, {self.model.count_params()} parameters>"

    @property
    def model(self) -> keras.Model:
        """The Keras model; a plain one, to use as any other."""
        return self.network


def check_free(folder: Path, *, overwrite: bool) -> None:
    """Nothing is overwritten silently: refuse before the work, not after it.

    Raises:
        ConfigError: the folder exists and may not be replaced, or cannot be written beside.
    """
    if folder.exists():
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
    """There is room for about `size` bytes beside the folder: refuse before the training.

    Raises:
        ConfigError: there is less.
    """
    free = shutil.disk_usage(folder.parent).free
    if free < size:
        raise ConfigError(
            f"{folder.parent} has room for {free / 1e6:.1f} MB, and the run takes about "
            f"{size / 1e6:.1f} MB. Free some room, or choose another -o."
        )


def check_replaceable(folder: Path, reads: Iterable[Path]) -> None:
    """Refuse to replace a run folder when something else would be lost with it.

    Raises:
        ConfigError: it is a link, or holds what `reads` names or files that are not the run's.
    """
    if not (folder / MANIFEST).is_file():
        return
    if folder.is_symlink():
        raise ConfigError(f"{folder} is a link. Give the folder itself: -o {folder.resolve()}.")
    for read in reads:
        if read.exists() and lies_in(read, folder):
            raise ConfigError(
                f"{folder} holds {read}, which is read, so it is not replaced. Choose another -o."
            )
    listed = {*_manifest(folder)["files"], MANIFEST}
    names = (path.name for path in folder.iterdir() if not path.name.startswith("."))
    if strange := sorted(set(names) - listed):
        raise ConfigError(
            f"{folder} holds {', '.join(strange)}, which does not belong to the run and would be "
            "lost. Move it away, or choose another -o."
        )


@contextmanager
def writing(folder: Path, *, overwrite: bool) -> Iterator[Path]:
    """A temporary folder to write a run into: whole, it is moved to its place, else removed."""
    check_free(folder, overwrite=overwrite)
    draft = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    old = draft.with_name(f"{draft.name}-old")
    try:
        yield draft
        seal(draft)
        draft.chmod(0o755)  # mkdtemp makes it for its owner alone
        if folder.exists():
            folder.rename(old)
        draft.rename(folder)
    finally:
        if old.exists() and not folder.exists():
            old.rename(folder)  # interrupted between the two: the run of before stays
        for rest in (old, draft):
            if rest.exists():
                shutil.rmtree(rest)


def save(
    made: Artefact, history: History, evaluation: Evaluation | None, *, overwrite: bool
) -> None:
    """Write the run folder, or where that fails, write it elsewhere and say where.

    Raises:
        ArtefactError: the folder cannot be written.
    """
    assert made.folder is not None
    try:
        _write(made, history, evaluation, folder=made.folder, overwrite=overwrite)
    except (OSError, ConfigError) as error:  # ConfigError: the folder is not free any more
        reason = (getattr(error, "strerror", None) or str(error)).rstrip(".")
        refuge = _rescue(made, history, evaluation, made.folder)
        if refuge is None:
            raise ArtefactError(
                f"{made.folder} cannot be written: {reason}. No other place could be written "
                "either, so the trained network is lost. Free some room, or choose another -o, "
                "and train again."
            ) from error
        raise ArtefactError(
            f"{made.folder} cannot be written: {reason}. The run was saved in {refuge} instead; "
            "move it to where it can stay."
        ) from error


def _rescue(
    made: Artefact, history: History, evaluation: Evaluation | None, folder: Path
) -> Path | None:
    """The run saved in the first other place that takes it; None where there is none."""
    for place in (tempfile.gettempdir(), Path.home(), Path.cwd()):
        try:
            refuge = Path(tempfile.mkdtemp(prefix="gatewise-", dir=place))
        except OSError:
            continue
        try:
            _write(made, history, evaluation, folder=refuge / folder.name, overwrite=False)
        except (OSError, ConfigError):
            refuge.rmdir()
            continue
        return refuge / folder.name
    return None


def _write(
    made: Artefact,
    history: History,
    evaluation: Evaluation | None,
    *,
    folder: Path,
    overwrite: bool,
) -> None:
    with writing(folder, overwrite=overwrite) as draft:
        save_parts(draft, made.experiment, made.preparation, made.network)
        write_json(draft / BASELINES, made.baselines)
        write_json(draft / METRICS, {**made.metrics, "run": str(folder)})
        write_json(draft / ENVIRONMENT, environment())
        write_json(draft / SPLITS, made.splits)
        pl.DataFrame(history.columns).write_csv(draft / HISTORY)
        if evaluation is not None:
            (draft / PREDICTIONS).write_text(as_csv(evaluation.table), encoding="utf-8")
        (draft / REPORT).write_text(draw(read_record(draft)), encoding="utf-8")


def read_record(folder: Path) -> Record:
    """What the report is made of, from a run folder."""
    return Record(
        settings=from_toml(folder / SETTINGS),
        metrics=read_json(folder / METRICS),
        history=pl.read_csv(folder / HISTORY).to_dict(as_series=False),
        environment=read_json(folder / ENVIRONMENT),
    )


def seal(folder: Path) -> None:
    """Write the manifest: the format number and the SHA-256 of every other file."""
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
    folder: Path, experiment: Experiment, preparation: Preparation, network: keras.Model
) -> None:
    """Settings, preparation and model; the model without its loss, so that plain Keras opens it."""
    (folder / SETTINGS).write_text(to_toml(experiment), encoding="utf-8")
    write_json(folder / PREPARATION, preparation.to_json())
    plain(network).save(folder / MODEL)


def plain(network: keras.Model) -> keras.Model:
    """The same layers and weights without optimizer and loss, which may be ours.

    A model of a class of the user's own is left as it is.
    """
    if isinstance(network, keras.Sequential):  # its own `input` is not defined before a first call
        return keras.Model(network.inputs[0], network.outputs[0], name=network.name)
    if getattr(network, "inputs", None) and type(network).__module__.startswith("keras."):
        return keras.Model(network.input, network.output, name=network.name)
    return network


def load(folder: str | Path) -> Artefact:
    """A saved run, checked against its manifest.

    Raises:
        ArtefactError: no run folder, a missing or changed file, or a newer format.
    """
    folder = Path(folder)
    listed = SPLITS in _manifest(folder)["files"]  # older versions did not write them
    verify(folder, (*LOADED, SPLITS) if listed else LOADED)
    experiment = from_mapping(tomllib.loads((folder / SETTINGS).read_text(encoding="utf-8")))
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Layer .* was passed an input with a mask attached")
            network = keras.saving.load_model(folder / MODEL, compile=False, safe_mode=True)
    except (ValueError, TypeError, OSError) as error:
        reason = str(error).strip().splitlines()[0]
        raise ArtefactError(
            f"Keras cannot open {folder / MODEL}: {reason} Layers of your own must be registered "
            "(keras.saving.register_keras_serializable) and imported before loading."
        ) from error
    return Artefact(
        folder=folder,
        experiment=experiment,
        preparation=Preparation.from_json(read_json(folder / PREPARATION)),
        network=masking(network),
        baselines=read_json(folder / BASELINES),
        metrics=read_json(folder / METRICS),
        splits=read_json(folder / SPLITS) if listed else {},
    )


def verify(folder: Path, names: Sequence[str] = LOADED) -> None:
    """These files of a run folder are there, and are what the manifest says.

    Raises:
        ArtefactError: they are not.
    """
    files = _manifest(folder)["files"]
    for name in names:
        if name not in files:
            raise ArtefactError(
                f"{folder / MANIFEST} does not list {name}. Restore the folder from a copy."
            )
        path = folder / name
        if not path.is_file():
            raise ArtefactError(
                f"{folder} is incomplete: {name} is missing. Restore it from a copy."
            )
        if not as_saved(path):
            raise ArtefactError(
                f"{path} is not the file that was saved (its SHA-256 differs). Restore it "
                "from a copy."
            )


def as_saved(path: Path) -> bool:
    """Whether a file of a run folder is, byte for byte, the one that the manifest lists."""
    return bool(_digest(path) == _manifest(path.parent)["files"].get(path.name))


def seal_again(path: Path) -> None:
    """List one file of a run folder as it is now; what is known of the others stays."""
    manifest = _manifest(path.parent)
    manifest["files"][path.name] = _digest(path)
    with writing_file(path.parent / MANIFEST, overwrite=True) as draft:
        write_json(draft, manifest)


def _manifest(folder: Path) -> dict[str, Any]:
    """The manifest of a run folder of a format that this version reads."""
    path = folder / MANIFEST
    if not path.is_file():
        raise ArtefactError(f"{folder} is not a run folder: it has no {MANIFEST}.")
    try:
        manifest = read_json(path)
        number, files = int(manifest["format"]), dict(manifest["files"])
        if any(Path(name).name != name for name in files):
            raise ValueError("A run folder holds no folders.")
    except (ValueError, KeyError, TypeError):
        raise ArtefactError(f"{path} is damaged. Restore the folder from a copy.") from None
    if number > FORMAT:
        raise ArtefactError(
            f"{folder} has format {number}, and this version of gatewise reads up to {FORMAT}. "
            f"Install gatewise {manifest.get('gatewise', 'of a newer version')} or newer."
        )
    return dict(manifest)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_json(path: Path, content: Any) -> None:
    """JSON with sorted-out numbers: one that is not finite is null."""
    text = json.dumps(finite(content), indent=1, ensure_ascii=False, allow_nan=False)
    path.write_text(text + "\n", encoding="utf-8")


def finite(content: Any) -> Any:
    """The same content in plain Python, with None for every number that JSON cannot hold."""
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
    """What `write_json` wrote."""
    return json.loads(path.read_text(encoding="utf-8"))


def as_csv(table: pl.DataFrame) -> str:
    """A table as CSV; times have a fraction of a second only where it is not zero."""
    return table.write_csv(datetime_format="%Y-%m-%d %H:%M:%S%.f")


def environment() -> dict[str, Any]:
    """What the run was made with."""
    packages = (
        "gatewise",
        "keras",
        "jax",
        "tensorflow",
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
        "cores": len(os.sched_getaffinity(0))
        if hasattr(os, "sched_getaffinity")
        else os.cpu_count(),
    }
