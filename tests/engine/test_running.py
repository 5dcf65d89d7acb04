"""`gatewise run X` behaves like `python X`: the same output, status and environment."""

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from gatewise.shell import cli

SCRIPTS = {
    "names and places": """
import os, sys
os.chdir("/")
print(__name__, __file__, sys.argv, sys.path, __spec__, sys.orig_argv[1:], sys.flags)
print(open(os.path.join(os.path.dirname(__file__), "beside.txt")).read())
print(sorted(vars(sys.modules["__main__"])), sys.stdin.read())
ours = {"PYTHONPATH", "GATEWISE_RUN"}
print(sorted((name, value) for name, value in os.environ.items() if name not in ours))
""",
    "status": "import sys; sys.exit(3)",
    "status in words": "import sys; sys.exit('no more of this')",
    "no status": "raise SystemExit",
    "an error": "def f():\n    1 / 0\n\nf()\n",
    "an error of gatewise": "import gatewise\nraise gatewise.DataError('of the script')",
    "no Python": "def f(:\n    pass\n",
    "Ctrl-C": "def f():\n    raise KeyboardInterrupt\n\nf()",
    "a hook for errors": "import sys\nsys.excepthook = lambda *a: print(a[:2])\n1 / 0",
    "at exit": """
import atexit, sys
@atexit.register
def last():
    print(sys.argv, __name__, sys.modules["__main__"].last is last)
""",
    "logging": """
import logging
logging.basicConfig(level="INFO")
logging.getLogger("gatewise").warning("once")
logging.getLogger("another").info("once")
print(logging.getLogger("gatewise").handlers)
""",
    "logging untouched": "import logging; logging.getLogger('gatewise').info('not heard')",
    "processes": """
import multiprocessing, sys
def child(n):
    print(__name__, sys.argv, n, flush=True)
if __name__ == "__main__":
    for method in ("fork", "spawn"):
        one = multiprocessing.get_context(method).Process(target=child, args=(method,))
        one.start()
        one.join()
""",
    "pickles": """
import pickle
class Own:
    pass
print(pickle.loads(pickle.dumps(Own)) is Own)
""",
}


def ran(folder, *command, **environment):
    """Run Python with these arguments."""
    return subprocess.run(
        [sys.executable, *command],
        capture_output=True,
        text=True,
        input="what is read",
        cwd=folder,
        env=os.environ | environment,
        timeout=300,
        check=False,
    )


def both(folder, *command, **environment):
    """Return the output and status of Python and of `gatewise run`."""
    before = ([], ["-m", "gatewise", "run"])
    return [ran(folder, *one, *command, **environment) for one in before]


def assert_same(plain, ours):
    assert ours.stderr == plain.stderr
    assert ours.stdout == plain.stdout
    assert ours.returncode == plain.returncode


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_sees_no_difference(name, tmp_path):
    (tmp_path / "beside.txt").write_text("it lies beside")
    (tmp_path / "script.py").write_text(SCRIPTS[name])
    assert_same(*both(tmp_path, "script.py", "--some", "-x", "--engine", "7"))


def test_modules_folders_and_standard_input_are_run_too(tmp_path):
    package = tmp_path / "package"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "other.py").write_text("word = 'relative'")
    (package / "__main__.py").write_text("import sys; print(__name__, sys.argv, __spec__.name)")
    (package / "inner.py").write_text("from .other import word; import sys; print(word, sys.argv)")
    assert_same(*both(tmp_path, "-m", "package.inner", "-m", "--some"))
    assert_same(*both(tmp_path, "package", "-v"))
    assert_same(*both(tmp_path, "-"))


def test_a_sitecustomize_of_the_users_own_is_run_once(tmp_path):
    (tmp_path / "sitecustomize.py").write_text("print('own', __name__)")
    (tmp_path / "script.py").write_text("import sitecustomize; print(sitecustomize.__file__)")
    plain, ours = both(tmp_path, "script.py", PYTHONPATH=str(tmp_path))
    assert plain.stdout.startswith("own") and plain.returncode == ours.returncode == 0
    # It is run in the process of `gatewise run` first.
    assert ours.stdout == "own sitecustomize\n" + plain.stdout


TAPE = """
import keras
import tensorflow as tf

layer = keras.layers.LSTM(3)
x = tf.ones((9, 5, 2))
with tf.GradientTape() as tape:
    y = tf.reduce_sum(layer(x))
print([one.shape for one in tape.gradient(y, layer.trainable_variables)])
"""


@pytest.mark.skipif(not find_spec("tensorflow"), reason="TensorFlow is not installed")
@pytest.mark.parametrize("name", ["keras", "tf.keras", "tf.keras behind jax"])
def test_a_tensorflow_script_runs_on_tensorflow(name, tmp_path, monkeypatch):
    """Natively, because `--engine native` ends a script that cannot run so.

    `tf.keras` means TensorFlow whatever was imported before.
    """
    monkeypatch.delenv("KERAS_BACKEND", raising=False)
    name, _, first = name.partition(" behind ")
    own = TAPE if name == "keras" else TAPE.replace("import keras\n", "").replace("keras", name)
    own = f"import {first}\n{own}" if first else own
    (tmp_path / "script.py").write_text(own)
    command = ("-m", "gatewise", "run", "--engine", "native", "script.py")
    done = ran(tmp_path, *command, KERAS_HOME=str(tmp_path))
    assert done.returncode == 0, done.stderr
    shapes = ", ".join(f"TensorShape({shape})" for shape in ([2, 12], [3, 12], [12]))
    assert done.stdout == f"[{shapes}]\n" and "Keras runs" not in done.stderr


CHILD = """
import multiprocessing

def child():
    import keras
    import gatewise
    keras.layers.LSTM(2)(keras.ops.ones((3, 3, 2)))
    print(gatewise.info()["calls"], flush=True)

if __name__ == "__main__":
    one = multiprocessing.get_context("spawn").Process(target=child)
    one.start()
    one.join()
"""


def test_spawned_children_have_the_engine_too(tmp_path):
    (tmp_path / "script.py").write_text(CHILD)
    ours = ran(tmp_path, "-m", "gatewise", "run", "script.py", KERAS_BACKEND="jax")
    assert ours.stdout == "{'native': 1, 'stock': 0}\n", ours.stderr


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["nowhere.py"], "There is no script nowhere.py."),
        (["json"], "There is no script json. To run a module: gatewise run -m json."),
        (["notes.ipynb"], "jupyter nbconvert --to script notes.ipynb"),
        (["--engine", "fast", "script.py"], "auto, native, stock. Received: fast."),
    ],
)
def test_a_missing_script_is_one_sentence(given, said, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["gatewise", "run", *given])
    with pytest.raises(SystemExit, match="1"):
        cli.main()
    assert said in capsys.readouterr().err


@pytest.mark.parametrize("given", ["auto", "auto float32"])
def test_the_environment_may_leave_the_products_out(python, given):
    startup = str(Path(cli.__file__).parents[1] / "startup")
    code = "from gatewise import engine; print(engine._chosen, engine._products)"
    assert python(code=code, GATEWISE_RUN=given, PYTHONPATH=startup) == "auto float32\n"


TRAINING = """
import sys
import keras
import numpy as np
from keras import layers
from keras.src.utils import module_utils
module_utils.tensorflow._available = False  # Keras imports it for seconds, whatever it runs on

random = np.random.default_rng(0)
x = random.normal(size=(64, 10, 1))
y = (x.sum(axis=(1, 2)) > 0).astype("float32")
keras.utils.set_random_seed(0)
model = keras.Sequential()
model.add(layers.LSTM(64, input_shape=(10, 1)))
model.add(layers.Dense(1, activation="sigmoid"))
model.compile(loss="binary_crossentropy", optimizer="adam", metrics=["accuracy"])
model.fit(x, y, epochs=2, batch_size=16, verbose=2 if "-v" in sys.argv else 0)
print(__name__, sys.argv[1:], "%.3f" % model.evaluate(x, y, verbose=0)[0])
sys.exit(int(sys.argv[-1]))
"""


def test_a_script_that_trains_prints_the_same(tmp_path):
    (tmp_path / "script.py").write_text(TRAINING, encoding="utf-8")
    given = ("script.py", "--some", "-x", "7")
    plain = ran(tmp_path, *given, KERAS_BACKEND="jax")
    engine = ("-m", "gatewise", "run", "--engine", "native")
    fast = ran(tmp_path, *engine, *given, KERAS_BACKEND="jax")
    assert fast.returncode == plain.returncode == 7
    assert fast.stdout == plain.stdout and "__main__ ['--some', '-x', '7']" in fast.stdout


def test_other_backends_are_left_alone(python):
    code = (
        "import gatewise; gatewise.accelerate(); import keras;"
        "layer = keras.layers.LSTM(2);"
        "print(layer(keras.ops.ones((1, 3, 2))).shape, gatewise.why_not(layer))"
    )
    said = python(code=code, KERAS_BACKEND="numpy")
    assert "(1, 2) Keras runs on numpy, and the kernels run on jax" in said
