"""Keras's own formats: the model file, and TensorFlow's SavedModel."""

import shutil
from importlib import metadata
from pathlib import Path
from typing import Any

import keras

from gatewise.errors import ConfigError
from gatewise.networks.variants import has_variants
from gatewise.runs.artefact import MODEL, Artefact, plain, write_json

NOTE = """{title}

{usage}

The file holds the network alone. Scaling, vocabulary and postprocessing are in preparation.json
of the run folder; gatewise.predict applies all of them. Written by gatewise {version}.
"""
KERAS = """import keras
model = keras.saving.load_model("model.keras")
answers = model.predict(inputs)"""
VARIANTS = "import gatewise.networks.variants  # a layer of the model\n"
SAVED = """import tensorflow
answers = tensorflow.saved_model.load(".").serve(inputs)"""


def write(
    draft: Path, model: keras.Model, trained: Any, *, saved: bool
) -> tuple[float, float, list[str]]:
    """Write the model in one of the two formats; both hold the same weights, and neither is run.

    Raises:
        ConfigError: a SavedModel needs TensorFlow as the backend of Keras.
    """
    title = f"The Keras model '{model.name}'."
    if saved:
        if keras.backend.backend() != "tensorflow":
            raise ConfigError(
                "A SavedModel needs TensorFlow as the backend of Keras; it is "
                f"{keras.backend.backend()}. Set KERAS_BACKEND=tensorflow (pip install "
                "'gatewise[tensorflow]')."
            )
        plain(model).export(draft, verbose=False)
    elif isinstance(trained, Artefact) and trained.folder is not None:
        shutil.copyfile(trained.folder / MODEL, draft / MODEL)
    else:
        plain(model).save(draft / MODEL)
    version = metadata.version("gatewise")
    usage = SAVED if saved else (VARIANTS if has_variants(model) else "") + KERAS
    note = NOTE.format(title=title, usage=usage, version=version)
    (draft / "README.txt").write_text(note, encoding="utf-8")
    write_json(draft / "export.json", {"gatewise": version, "title": title})
    return 0.0, 0.0, ["The weights are those of the run, unchanged."]
