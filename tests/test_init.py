"""Without a choice by the user, Keras runs on JAX; a choice is never overridden."""

import json
import os
import subprocess
import sys

import pytest

# What Keras 3 writes by itself, whatever backend runs.
BY_ITSELF = {
    "floatx": "float32",
    "epsilon": 1e-07,
    "backend": "tensorflow",
    "image_data_format": "channels_last",
}


@pytest.fixture
def backend(tmp_path):
    """KERAS_BACKEND as seen by Keras, with the given keras.json, in a new process.

    Keras and the frameworks are stand-ins: which one is chosen does not depend on what they do.
    """
    for name in ("keras", "tensorflow", "torch", "jax"):
        (tmp_path / f"{name}.py").write_text("", encoding="utf-8")

    def ask(config=None, *, chosen=None, before="", after="", script=""):
        environment = {k: v for k, v in os.environ.items() if k != "KERAS_BACKEND"}
        environment |= {"KERAS_HOME": str(tmp_path), "PYTHONPATH": str(tmp_path)}
        if chosen is not None:
            environment["KERAS_BACKEND"] = chosen
        if config is not None:
            text = config if isinstance(config, str) else json.dumps(config)
            (tmp_path / "keras.json").write_text(text, encoding="utf-8")
        code = f"{before}\nimport gatewise\n{after}\nimport keras\n"
        (tmp_path / "script.py").write_text(
            (script or code) + "\nimport os\nprint(os.environ.get('KERAS_BACKEND'))",
            encoding="utf-8",
        )
        done = subprocess.run(
            [sys.executable, *(["-m", "gatewise", "run"] if script else []), "script.py"],
            capture_output=True,
            text=True,
            env=environment,
            cwd=tmp_path,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    return ask


def test_without_a_choice_the_backend_is_jax(backend):
    assert backend() == "jax"
    assert backend(chosen="") == "jax"


def test_the_config_file_that_keras_writes_by_itself_is_not_a_choice(backend, tmp_path):
    subprocess.run(
        [sys.executable, "-c", "import keras"],
        check=True,
        timeout=120,
        env=os.environ | {"KERAS_BACKEND": "jax", "KERAS_HOME": str(tmp_path / "written")},
    )
    written = (tmp_path / "written" / "keras.json").read_text(encoding="utf-8")
    assert json.loads(written) == BY_ITSELF
    assert backend(written) == "jax"


@pytest.mark.parametrize(
    "config",
    [
        BY_ITSELF | {"backend": "torch"},
        BY_ITSELF | {"floatx": "float16"},
        {"backend": "tensorflow"},
    ],
)
def test_a_changed_config_file_is_a_choice(backend, config):
    assert backend(config) == "None"
    assert backend(config, before="import torch") == "None"


@pytest.mark.parametrize("config", ["", "{not json", "[]", "{}", '{"floatx": "float32"}'])
def test_a_config_file_without_a_backend_is_not_a_choice(backend, config):
    assert backend(config) == "jax"


def test_the_environment_is_a_choice(backend):
    assert backend(chosen="torch") == "torch"
    assert backend(BY_ITSELF, chosen="tensorflow") == "tensorflow"
    assert backend(chosen="torch", before="import tensorflow") == "torch"
    assert backend(after="import os; os.environ['KERAS_BACKEND'] = 'numpy'") == "numpy"


def test_the_framework_that_is_imported_first_is_a_choice(backend):
    assert backend(before="import tensorflow") == "tensorflow"
    assert backend(after="import torch") == "torch"
    assert backend(before="import torch", after="import tensorflow") == "torch"
    assert backend(after="import jax, tensorflow") == "jax"
    assert backend(BY_ITSELF, after="import tensorflow as tf") == "tensorflow"
    assert backend(after="import keras, tensorflow") == "jax"  # too late


def test_under_gatewise_run_a_later_import_of_the_script_is_a_choice(backend, tmp_path):
    """With sorted imports, Keras comes before TensorFlow."""
    assert backend(script="import keras\nimport tensorflow as tf") == "tensorflow"
    assert backend(script="import keras\nfrom torch import __name__\nimport tensorflow") == "torch"
    assert backend(script="import os\nimport keras\n") == "jax"
    assert (
        backend(script="import keras\nif False:\n    import missing.one, tensorflow")
        == "tensorflow"
    )


def test_under_gatewise_run_the_modules_next_to_the_script_are_also_read(backend, tmp_path):
    package = tmp_path / "own" / "deep"
    package.mkdir(parents=True)
    files = {
        "helper.py": "if False:\n    import script, helper\nimport tensorflow as tf\ngrad = 1",
        "own/__init__.py": "",
        "own/deep/__init__.py": "from .. import first",
        "own/deep/last.py": "value = 1",
        "own/first.py": "if False:\n    from torch import nn",
        "broken.py": "def f(:",
        "unused.py": "import tensorflow",
    }
    for name, text in files.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    assert backend(script="import keras\nfrom helper import grad") == "tensorflow"
    assert backend(script="import keras\nimport own.deep.last\nimport helper") == "torch"
    assert backend(script="import keras\nfrom own.deep import last") == "torch"
    assert backend(script="import keras\nfrom own import first") == "torch"
    assert backend(script="import keras\nif False:\n    import broken, own") == "jax"


def test_there_is_no_choice_once_keras_is_imported(backend):
    assert backend(before="import keras") == "None"


def test_the_garbage_collector_pauses_while_keras_is_imported(backend, tmp_path):
    (tmp_path / "keras.py").write_text("import gc\nprint(gc.isenabled())", encoding="utf-8")
    later = "import atexit, gc\natexit.register(lambda: print(gc.isenabled()))"
    assert backend(after=later).split() == ["False", "jax", "True"]


SEEDED = """
import random, sys
import numpy as np
import gatewise
import keras
print({"sklearn", "scipy.stats", "matplotlib.pyplot"} & set(sys.modules))
from gatewise.networks.imports import without_tensorflow
from gatewise.runtime.describe import describe

def drawn():
    return random.random(), np.random.random(), np.asarray(keras.random.normal((2,))).tolist()

model = keras.Sequential([keras.Input((3, 2)), keras.layers.LSTM(4), keras.layers.Dense(1)])
with without_tensorflow(keras.utils.set_random_seed):
    keras.utils.set_random_seed(7)
ours = drawn()
with without_tensorflow(keras.saving.serialize_keras_object):
    model.save(sys.argv[1])
keras.saving.load_model(sys.argv[1])
describe(model)
print("tensorflow" in sys.modules)
keras.utils.set_random_seed(7)
print(ours == drawn())
"""


def test_seeding_and_saving_are_those_of_keras_and_import_no_other_framework(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", SEEDED, str(tmp_path / "model.keras")],
        capture_output=True,
        text=True,
        env=os.environ | {"KERAS_BACKEND": "jax"},
        timeout=120,
        check=True,
    )
    waiting, *said = done.stdout.splitlines()
    assert waiting == "set()"  # the packages that Keras needs in two of its modules alone
    assert said == ["False", "True"]


def test_the_modules_of_keras_that_wait_give_what_they_hold():
    import keras  # behind gatewise, as above

    assert keras.wrappers.SKLearnClassifier.__module__ == "keras.src.wrappers.sklearn_wrapper"
    found = keras.visualization.plot_image_gallery
    assert found is keras.src.visualization.plot_image_gallery.plot_image_gallery
    with pytest.raises(AttributeError, match="keras.visualization"):
        _ = keras.visualization.plot_nothing
