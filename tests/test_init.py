"""Without a choice of the user's, Keras runs on JAX; a choice is never overruled."""

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
    """KERAS_BACKEND after `import gatewise` in a fresh process, with the given keras.json."""

    def ask(config=None, *, chosen=None, before=""):
        environment = {k: v for k, v in os.environ.items() if k != "KERAS_BACKEND"}
        environment["KERAS_HOME"] = str(tmp_path)
        if chosen is not None:
            environment["KERAS_BACKEND"] = chosen
        if config is not None:
            text = config if isinstance(config, str) else json.dumps(config)
            (tmp_path / "keras.json").write_text(text, encoding="utf-8")
        code = f"import os\n{before}\nimport gatewise\nprint(os.environ.get('KERAS_BACKEND'))"
        done = subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            check=True,
            env=environment,
            timeout=120,
        )
        return done.stdout.strip()

    return ask


def test_without_a_choice_it_is_jax(backend):
    assert backend() == "jax"
    assert backend(chosen="") == "jax"


def test_the_file_that_keras_writes_by_itself_is_nobodys_choice(backend, tmp_path):
    assert backend(before="os.environ['KERAS_BACKEND'] = 'jax'; import keras") == "jax"
    assert json.loads((tmp_path / "keras.json").read_text(encoding="utf-8")) == BY_ITSELF
    assert backend() == "jax"


@pytest.mark.parametrize(
    "config",
    [
        BY_ITSELF | {"backend": "torch"},
        BY_ITSELF | {"floatx": "float16"},
        {"backend": "tensorflow"},
    ],
)
def test_a_file_that_someone_changed_is_a_choice(backend, config):
    assert backend(config) == "None"


@pytest.mark.parametrize("config", ["", "{not json", "[]", "{}", '{"floatx": "float32"}'])
def test_a_file_that_names_no_backend_is_no_choice(backend, config):
    assert backend(config) == "jax"


def test_the_environment_is_a_choice(backend):
    assert backend(chosen="torch") == "torch"
    assert backend(BY_ITSELF, chosen="tensorflow") == "tensorflow"


def test_it_is_too_late_to_choose_once_keras_is_there(backend):
    # A stand-in: the real one would choose, and import, a backend of its own.
    assert backend(before="import sys; sys.modules['keras'] = object()") == "None"
