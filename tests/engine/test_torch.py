"""`engine.torch.lstm` against the reference, and in all of PyTorch's modes."""

import io
import logging
import math
import os
import re
import sys
from functools import partial

import hypothesis.strategies as st
import keras
import numpy as np
import pytest
import torch
from conftest import one_after_another
from framework import misfits, random_layer
from hypothesis import given, settings
from keras import layers

import gatewise
from gatewise.engine import hook, library, reference
from gatewise.engine import torch as engine
from gatewise.engine.contract import (
    ACTIVATIONS,
    APART,
    DIFFERENTIABLE,
    JOINED,
    NONE,
    Arrays,
    Direction,
)
from gatewise.training import checkpoints

FORTH, BACK = Direction(start_output=False), Direction(go_backwards=True, flip=True)


def layer(seed=0, *, dtype=torch.float64, **how):
    """Return random arrays of one layer; trained arrays require gradients."""
    arrays = random_layer(
        lambda one: torch.tensor(one, dtype=torch.bool if one.dtype == bool else dtype), seed, **how
    )
    for name in DIFFERENTIABLE:
        getattr(arrays, name).requires_grad_()
    return arrays


def called(some, ways, outputs=APART):
    """Return the arguments of the operators, and those of them that have a gradient."""
    arrays = [array for one in some for array in one if array is not None]
    numbers = [n for one, way in zip(some, ways, strict=True) for n in engine._numbers(one, way)]
    return arrays, numbers, outputs


def plain(some, ways, outputs=APART):
    return engine._plain(*called(some, ways, outputs))


def ours(some, ways, outputs=APART):
    found, states = engine.lstm(some, ways, sequences=outputs != NONE, joined=outputs == JOINED)
    return [*found, *[one for pair in states for one in pair]]


def total(found):
    return sum(
        (torch.sin(one) * torch.linspace(1, 2, one.numel(), dtype=one.dtype).reshape(one.shape))
        .sum()
        .to(torch.float64)
        for one in found
    )


def trained(some):
    return [getattr(one, name) for one in some for name in DIFFERENTIABLE]


def gradients(function, some, *rest):
    return torch.autograd.grad(total(function(some, *rest)), trained(some))


def assert_close(one, two, *, rtol=1e-9, atol=1e-10):
    torch.testing.assert_close(list(one), list(two), rtol=rtol, atol=atol)


@settings(max_examples=25)
@given(
    sizes=st.fixed_dictionaries(
        {
            "batch": st.integers(1, 9),
            "steps": st.integers(1, 7),
            "features": st.integers(1, 37),
            "units": st.integers(1, 35),
        }
    ),
    activations=st.tuples(*[st.sampled_from(ACTIVATIONS)] * 2),
    masked=st.booleans(),
    seed=st.integers(0, 999),
)
def test_outputs_are_those_of_the_reference(sizes, activations, masked, seed):
    arrays = layer(seed, masked=masked, scale=0.2, dtype=torch.float32, **sizes)
    found = ours([arrays], [Direction(*activations)])
    x, mask, *rest = [None if one is None else one.detach().numpy() for one in arrays[:7]]
    x, *rest = (one.astype(np.float64) for one in (x, *rest))
    expected = reference.lstm(x, *rest, mask=mask, activations=activations)
    for one, two in zip(found, expected, strict=True):
        np.testing.assert_allclose(one.detach(), two, rtol=2e-5, atol=2e-6)


WAYS = {
    "forward": ([FORTH], APART),
    "backward": ([Direction(go_backwards=True)], APART),
    "zero output": ([Direction(zero_output=True)], APART),
    "states only": ([Direction(go_backwards=True)], NONE),
    "both directions": ([FORTH, BACK], APART),
    "joined": ([FORTH, BACK], JOINED),
}


@pytest.mark.parametrize("dropout", [False, True], ids=["", "dropout"])
@pytest.mark.parametrize("name", WAYS)
def test_every_direction_gives_what_plain_pytorch_gives(name, dropout):
    ways, outputs = WAYS[name]
    some = [layer(n, dropout=dropout, units=5 - 2 * n) for n, _ in enumerate(ways)]
    assert_close(ours(some, ways, outputs), plain(some, ways, outputs))
    assert_close(gradients(ours, some, ways, outputs), gradients(plain, some, ways, outputs))


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_gradients_are_central_differences(activation):
    other = ACTIVATIONS[(ACTIVATIONS.index(activation) + 1) % len(ACTIVATIONS)]
    arrays = layer(3, batch=2, steps=3, features=2, units=2)

    def run(*some):
        one = arrays._replace(**dict(zip(DIFFERENTIABLE, some, strict=True)))
        return tuple(ours([one], [Direction(activation, other)]))

    assert torch.autograd.gradcheck(run, trained([arrays]))
    if activation in ("tanh", "softsign"):  # the second derivatives of the others have kinks
        assert torch.autograd.gradgradcheck(run, trained([arrays]))


def test_the_operators_pass_the_checks_of_pytorch():
    # PyTorch traces the second derivative step by step, so few steps are enough.
    some, ways = [layer(dropout=True, steps=2), layer(1, units=3, steps=2)], [FORTH, BACK]
    arrays, numbers, outputs = called(some, ways)
    torch.library.opcheck(engine._forward, (arrays, numbers, outputs, True))
    found = engine._forward(arrays, numbers, outputs, True)
    given = [torch.randn_like(one).requires_grad_() for one in found[:3]]
    reserves = [one.detach() for one in found[-2:]]
    leaves = [one.detach().requires_grad_(one.requires_grad) for one in arrays]
    arguments = (leaves, reserves, given, numbers, outputs, 0b111, [0, 4])
    torch.library.opcheck(engine._backward, arguments)


def test_eager_code_and_the_operator_agree_to_the_last_bit():
    some, ways = [layer(dropout=True), layer(1, units=3)], [FORTH, BACK]
    arrays, numbers, outputs = called(some, ways)

    def through_the_operator(*_):
        return engine._forward(arrays, numbers, outputs, True)[:6]

    assert_close(ours(some, ways), through_the_operator(), rtol=0, atol=0)
    found, expected = (gradients(run, some, ways) for run in (ours, through_the_operator))
    assert_close(found, expected, rtol=0, atol=0)


def test_outputs_may_be_changed_in_place():
    some = [layer()]
    (y, *_), (twice, *_) = ours(some, [FORTH]), ours(some, [FORTH])
    twice.mul_(2)
    first, second = (torch.autograd.grad(one.sum(), trained(some)) for one in (y, twice))
    assert_close(second, [2 * one for one in first])


def test_only_wanted_gradients_are_computed():
    arrays = layer()
    frozen = {name: getattr(arrays, name).detach() for name in DIFFERENTIABLE}
    some = [arrays._replace(**frozen | {"kernel": arrays.kernel})]
    (found,) = torch.autograd.grad(total(ours(some, [FORTH])), [arrays.kernel])
    assert_close([found], [gradients(plain, [arrays], [FORTH])[3]])
    with torch.no_grad():
        assert not any(one.requires_grad for one in ours([arrays], [FORTH]))


def test_the_same_gradient_may_be_asked_for_again():
    some, ways = [layer(), layer(1)], [FORTH, BACK]
    loss = total(ours(some, ways))
    first = torch.autograd.grad(loss, trained(some), retain_graph=True)
    assert_close(torch.autograd.grad(loss, trained(some), retain_graph=True), first, rtol=0, atol=0)
    assert_close(torch.autograd.grad(loss, trained(some)), first, rtol=0, atol=0)


def test_what_is_saved_may_be_copied():
    some = [layer()]
    with torch.autograd.graph.saved_tensors_hooks(torch.clone, torch.clone):
        found = gradients(ours, some, [FORTH])
    assert_close(found, gradients(plain, some, [FORTH]))
    checkpointed = torch.utils.checkpoint.checkpoint(
        lambda: total(ours(some, [FORTH])), use_reentrant=False
    )
    assert_close(torch.autograd.grad(checkpointed, trained(some)), found)


def test_arrays_of_any_strides_give_the_same():
    arrays = layer()
    turned = arrays._replace(
        x=arrays.x.detach().transpose(0, 1).contiguous().transpose(0, 1).requires_grad_(),
        mask=arrays.mask.T.contiguous().T,
        kernel=arrays.kernel.detach().T.contiguous().T.requires_grad_(),
    )
    assert_close(ours([turned], [FORTH]), plain([arrays], [FORTH]))
    assert_close(gradients(ours, [turned], [FORTH]), gradients(plain, [arrays], [FORTH]))


READERS = {
    "forwards": lambda: layers.LSTM(4, return_sequences=True),
    "backwards": lambda: layers.LSTM(4, return_sequences=True, go_backwards=True),
    "cells": lambda: layers.RNN([layers.LSTMCell(4), layers.LSTMCell(3)], return_sequences=True),
    "both, side by side": lambda: layers.Bidirectional(layers.LSTM(4, return_sequences=True)),
    "both, summed": lambda: layers.Bidirectional(
        layers.LSTM(4, return_sequences=True), merge_mode="sum"
    ),
}


@pytest.mark.parametrize("make", READERS.values(), ids=READERS)
def test_a_dropout_behind_a_layer_draws_as_behind_keras_own(make):
    x = torch.tensor(np.random.default_rng(0).normal(size=(6, 9, 3)), dtype=torch.float32)
    found = []
    for native in (True, False):
        keras.utils.set_random_seed(0)
        reader = make()
        with gatewise.accelerated(native):
            y = reader(x)
        found.append(torch.nn.functional.dropout(y.detach(), 0.5))
    assert found[0].stride() == found[1].stride()
    assert_close(found[0], found[1], rtol=1e-4, atol=1e-5)


TRANSFORMS = {
    "grad": torch.func.grad,
    "second derivative": lambda f: torch.func.grad(lambda x: (torch.func.grad(f)(x) ** 2).sum()),
    "third derivative": lambda f: torch.func.grad(
        lambda x: torch.func.grad(lambda x: torch.func.grad(f)(x).sin().sum())(x).sin().sum()
    ),
    "vmap": lambda f: lambda x: torch.func.vmap(f)(torch.stack([x, 2 * x])),
    "vmap of grad": lambda f: (
        lambda x: torch.func.vmap(torch.func.grad(f))(torch.stack([x, 2 * x]))
    ),
    "grad of vmap": lambda f: torch.func.grad(
        lambda x: torch.func.vmap(f)(torch.stack([x, 2 * x])).sum()
    ),
    "jacobian": lambda f: torch.func.jacrev(lambda x: torch.stack([f(x), 2 * f(x)])),
    "forward mode": lambda f: lambda x: torch.func.jvp(f, (x,), (x.cos(),))[1],
    "forward over reverse": lambda f: (
        lambda x: torch.func.jvp(torch.func.grad(f), (x,), (x.cos(),))[1]
    ),
    "hessian": lambda f: torch.func.hessian(f),
}


# PyTorch compiles its own rules of forward mode by torch.jit.script when it first needs one.
@pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated:DeprecationWarning")
@pytest.mark.parametrize("name", TRANSFORMS)
def test_a_transformed_function_gives_what_plain_pytorch_gives(name):
    arrays = layer(batch=2, steps=3, features=2, units=2)
    arrays = Arrays(*[None if one is None else one.detach() for one in arrays])

    def loss(function, x):
        return total(function([arrays._replace(x=x)], [FORTH]))

    transform = TRANSFORMS[name]
    found = transform(partial(loss, ours))(arrays.x)
    assert_close([found], [transform(partial(loss, plain))(arrays.x)], rtol=1e-8)


@pytest.mark.parametrize("name", ["x", "mask", "h0", "kernel", "recurrent_masks"])
def test_vmap_over_any_array_gives_what_plain_pytorch_gives(name):
    arrays = layer(dropout=True)
    arrays = Arrays(*[None if one is None else one.detach() for one in arrays])
    value = getattr(arrays, name)
    stacked = torch.stack([value, value.flip(0), value])

    def run(function, value):
        return tuple(function([arrays._replace(**{name: value})], [FORTH]))

    found = torch.func.vmap(partial(run, ours))(stacked)
    assert_close(found, torch.func.vmap(partial(run, plain))(stacked))


@pytest.mark.parametrize("dynamic", [False, True])
def test_compiled_code_has_no_graph_break_and_gives_the_same(dynamic):
    model = network()
    x, more = torch.randn(5, 6, 3), torch.randn(7, 9, 3)
    with gatewise.accelerated(engine="native"):
        expected = [model(one) for one in (x, more)]
        wanted = torch.autograd.grad(expected[0].sum(), [one.value for one in model.weights])
        before = hook.calls["native"]
        compiled = torch.compile(model, backend="aot_eager", fullgraph=True, dynamic=dynamic)
        found = [compiled(one) for one in (x, more)]
        assert hook.calls["native"] > before
    assert_close(found, expected, rtol=1e-6, atol=1e-7)
    gradient = torch.autograd.grad(found[0].sum(), [one.value for one in model.weights])
    assert_close(gradient, wanted, rtol=1e-5, atol=1e-6)


def network():
    keras.utils.set_random_seed(0)
    return keras.Sequential(
        [
            layers.Input((None, 3)),
            layers.LSTM(5, return_sequences=True),
            layers.Bidirectional(layers.LSTM(4)),
            layers.Dense(1),
        ]
    )


@pytest.mark.filterwarnings("ignore:.torch.jit.trace:DeprecationWarning")
@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning")  # of Keras's own layers
def test_what_is_exported_needs_no_gatewise(tmp_path):
    x = torch.randn(2, 4, 3)
    model = network()
    with gatewise.accelerated(engine="native"):
        expected = model(x)
        program = torch.export.export(model, (x,))
        traced = torch.jit.trace(model, x, check_trace=False)
        before = hook.calls["native"]
        model(x)
        assert hook.calls["native"] > before  # it came back
    # Graphs name files, too, which may lie in a folder of this name.
    operations = f"{program.graph} {traced.inlined_graph}"
    assert not re.search(r"gatewise::|ops\.gatewise", operations)
    file = io.BytesIO()
    torch.export.save(program, file)
    file.seek(0)
    assert_close([torch.export.load(file).module()(x)], [expected], rtol=1e-5, atol=1e-6)
    assert_close([traced(x)], [expected], rtol=1e-5, atol=1e-6)


def test_onnx_files_need_no_gatewise(tmp_path):
    pytest.importorskip("onnxscript", reason="PyTorch writes ONNX by onnxscript")
    onnx = pytest.importorskip("onnx")
    model = network()
    with gatewise.accelerated(engine="native"):
        model(torch.randn(1, 4, 3))
        model.export(tmp_path / "model.onnx", format="onnx", verbose=False)
    graph = onnx.load(tmp_path / "model.onnx").graph
    assert all(node.domain in ("", "ai.onnx") for node in graph.node)


def test_other_devices_are_left_to_keras():
    with keras.device("meta"):
        assert "PyTorch computes on meta, and the kernels on the CPU." in engine.why_not()
        x = torch.ones((2, 3, 4), device="meta")
        assert "PyTorch computes on meta" in engine.why_not(x)
        with gatewise.accelerated():
            found = layers.LSTM(5, return_sequences=True)(x)
    assert found.shape == (2, 3, 5) and found.device.type == "meta"


BEGINNING = """
import gatewise
gatewise.accelerate(engine="native")
import keras
import torch
from keras.src.utils import module_utils
module_utils.tensorflow._available = False  # Keras imports it for seconds, whatever it runs on
"""
# The first comes first because a process is forked before it has threads.
SCRIPTS = {
    "parallel": """
from pathlib import Path
from torch import distributed, multiprocessing

def trained(x, y, wrap):
    keras.utils.set_random_seed(0)
    model = keras.Sequential([
        keras.layers.Input((None, 3)), keras.layers.Masking(),
        keras.layers.Bidirectional(keras.layers.LSTM(4)), keras.layers.Dense(1),
    ])
    run = wrap(model)
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    for _ in range(3):
        optimizer.zero_grad()
        ((run(x) - y) ** 2).mean().backward()
        optimizer.step()
    return [one.detach().clone() for one in model.parameters()]

def work(rank):
    meeting = Path("meeting").resolve().as_uri()
    distributed.init_process_group("gloo", meeting, rank=rank, world_size=2)
    random = torch.Generator().manual_seed(0)
    x, y = (torch.randn(*shape, generator=random) for shape in ((8, 5, 3), (8, 1)))
    wrap = torch.nn.parallel.DistributedDataParallel
    found = trained(x[rank::2], y[rank::2], wrap)
    expected = trained(x, y, lambda model: model)
    for one, two in zip(found, expected, strict=True):
        torch.testing.assert_close(one, two, rtol=1e-4, atol=1e-6)
    assert gatewise.info()["calls"]["native"] > 0
    distributed.barrier()
    distributed.destroy_process_group()

multiprocessing.start_processes(work, nprocs=2, start_method="fork")
print("done")
""",
    "idle": """
import time
from pathlib import Path

keras.layers.LSTM(3)(torch.ones(2, 3, 4))
x = torch.ones(500, 500)

def sleeps():
    texts = {one: (one / "status").read_text() for one in Path("/proc/self/task").iterdir()}
    return {one: int(text.split("voluntary_ctxt_switches:")[1].split()[0])
            for one, text in texts.items()}

before = sleeps()
for _ in range(100):
    x + x
    time.sleep(0.001)
print(sorted(count - before.get(one, 0) for one, count in sleeps().items())[-2])
""",
    "data loader": """
layer = keras.layers.LSTM(64)
x = torch.ones((16, 50, 32))
expected = layer(x)  # the threads of this process are there before it forks

class Data(torch.utils.data.Dataset):
    def __len__(self):
        return 4

    def __getitem__(self, n):
        with torch.no_grad():
            return layer(x)

found = torch.utils.data.DataLoader(Data(), num_workers=2, multiprocessing_context="fork")
for one in found:
    torch.testing.assert_close(one[0], expected.detach())
    layer(x)
model = keras.Sequential([layer, keras.layers.Dense(1)])
model.compile("sgd", "mse")
pairs = torch.utils.data.TensorDataset(x, torch.ones(16, 1))
loader = torch.utils.data.DataLoader(pairs, batch_size=8, num_workers=2)
before = gatewise.info()["calls"]["native"]
model.fit(loader, verbose=0)
print(gatewise.info()["calls"]["native"] > before)
""",
}


@pytest.fixture(scope="module")
def said(tmp_path_factory):
    """What each of the scripts prints."""
    scripts = {name: BEGINNING + script for name, script in SCRIPTS.items()}
    return one_after_another(tmp_path_factory.mktemp("scripts"), scripts, OMP_NUM_THREADS="2")


def test_two_processes_train_one_model(said):
    assert said["parallel"] == "done\n"


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="It reads /proc.")
def test_the_threads_of_pytorch_sleep_between_its_operators(said):
    """The main thread sleeps most often; the second one is the OpenMP helper."""
    if len(os.sched_getaffinity(0)) != 2:
        pytest.skip("This machine has not two cores; with more, several threads take turns.")
    assert int(said["idle"]) > 50


def test_the_processes_of_a_data_loader_run_the_kernels(said):
    assert said["data loader"] == "True\n"


@pytest.mark.parametrize("batch, units", [(1, 7), (13, 70)])
def test_the_number_of_threads_changes_no_bit(batch, units):
    some = [layer(n, batch=batch, units=units, steps=20) for n in range(2)]
    before, found = library.threads(), []
    try:
        for count in (1, 2, 3):
            gatewise.set_threads(count)
            found.append(gradients(ours, some, [FORTH, BACK]))
    finally:
        gatewise.set_threads(before)
    for other in found[1:]:
        assert_close(other, found[0], rtol=0, atol=0)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_spreads_as_in_plain_pytorch(value):
    arrays = layer(masked=False)
    with torch.no_grad():
        arrays.x[1, 3, 2] = value
    found, expected = ours([arrays], [FORTH]), plain([arrays], [FORTH])
    torch.testing.assert_close(found, expected, equal_nan=True)
    assert torch.isfinite(found[0][0]).all()  # the other rows are as they were


def test_errors_are_not_above_those_of_plain_pytorch():
    """The float32 error of each array is at most 1.5 times that of plain float32."""
    sizes = {"batch": 16, "steps": 60, "features": 20, "units": 48, "scale": 0.3}
    narrow = [layer(7, dtype=torch.float32, **sizes)]
    wide = [
        Arrays(
            *[
                one.detach().double().requires_grad_()
                if one is not None and one.requires_grad
                else one
                for one in narrow[0]
            ]
        )
    ]

    def errors(function):
        pairs = [
            *zip(function(narrow, [FORTH]), plain(wide, [FORTH]), strict=True),
            *zip(
                gradients(function, narrow, [FORTH]), gradients(plain, wide, [FORTH]), strict=True
            ),
        ]
        return np.array([float(((one - two).norm() / two.norm()).detach()) for one, two in pairs])

    assert (errors(ours) <= 1.5 * errors(plain) + 1e-8).all()


def test_arrays_that_do_not_fit_are_refused():
    arrays = layer()
    for name, wrong in misfits(arrays).items():
        with pytest.raises(ValueError, match=f"{name} is .* the kernels need"):
            engine.lstm([arrays._replace(**{name: wrong})], [FORTH])


SCRIPT = """
import {first}
import {second}

layer = keras.layers.LSTM(3)
x = torch.ones((9, 5, 2))
layer(x).sum().backward()
print(keras.backend.backend(), [tuple(one.value.grad.shape) for one in layer.trainable_variables])
import gatewise
print(gatewise.info()["calls"])
"""


@pytest.mark.parametrize("first, second", [("torch", "keras"), ("keras", "torch")])
def test_a_script_that_imports_torch_runs_on_it(first, second, python, tmp_path):
    (tmp_path / "script.py").write_text(SCRIPT.format(first=first, second=second))
    command = ("-m", "gatewise", "run", "--engine", "native", "script.py")
    said = python(*command, KERAS_BACKEND="", KERAS_HOME=str(tmp_path))
    assert said == "torch [(2, 12), (3, 12), (12,)]\n{'native': 1, 'stock': 0}\n"


@pytest.mark.parametrize("where", ["forward_layer", "backward_layer"])
@pytest.mark.parametrize("kind", ["register_forward_pre_hook", "register_forward_hook"])
def test_hooks_of_a_half_are_called(where, kind):
    layer = layers.Bidirectional(layers.LSTM(5, seed=1))
    x = torch.rand(4, 9, 3)
    calls = []
    with gatewise.accelerated():
        plain_answer = layer(x)
        before = gatewise.info()["calls"]["native"]
        layer(x)
        assert gatewise.info()["calls"]["native"] > before
        handle = getattr(getattr(layer, where), kind)(lambda *given: calls.append(given))
        np.testing.assert_allclose(layer(x).detach(), plain_answer.detach(), atol=1e-6)
        assert len(calls) == 1
        handle.remove()
        layer(x)
    assert len(calls) == 1


def test_autocast_is_left_to_pytorch(caplog):
    layer = layers.LSTM(32, seed=1)
    x = torch.rand(8, 40, 16)
    with gatewise.accelerated():
        layer(x)
        hook._said.clear()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            with caplog.at_level(logging.WARNING, "gatewise"):
                found = layer(x)
            with gatewise.accelerated(False):
                expected = layer(x)
    assert torch.equal(found, expected)
    assert "torch.autocast chooses the precision" in caplog.text


class Killed(BaseException):
    """Ends a training in the middle, as SIGKILL would."""


def test_a_killed_training_ends_like_a_whole_one(
    series_file, forecast_settings, tmp_path, monkeypatch
):
    """Keras's dropout draws from PyTorch's own generator, whose state follows the steps."""

    def kill(progress, _over):
        if (progress.epoch, progress.step) == (2, 2):
            raise Killed

    monkeypatch.setattr(checkpoints, "SHARE", math.inf)
    monkeypatch.setattr(checkpoints, "WITHIN", 0.0)
    given = forecast_settings | {"network": {"units": [3], "dropout": 0.2}}
    whole = gatewise.train(series_file, settings=given)
    with pytest.raises(Killed):
        gatewise.train(series_file, settings=given, output=tmp_path / "run", watch=kill)
    cut = gatewise.train(series_file, settings=given, output=tmp_path / "run", resume=True)
    for kept, again in zip(whole.model.get_weights(), cut.model.get_weights(), strict=True):
        np.testing.assert_array_equal(kept, again)
    assert whole.history.columns["loss"] == cut.history.columns["loss"]
