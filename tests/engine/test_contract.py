"""Every backend offers what the contract says, with the same argument names.

Each in the process that runs on it: importing another framework takes seconds.
"""

import ast
import importlib
import inspect

import pytest
from conftest import BACKEND

from gatewise.engine import contract, hook, support


def _known_by(parameter):
    by_place = parameter.kind is inspect.Parameter.POSITIONAL_ONLY
    return (parameter.kind, "" if by_place else parameter.name)


def methods():
    return [name for name in vars(contract.Backend) if not name.startswith("_")]


def test_a_backend_keeps_the_contract():
    module = importlib.import_module(support.BACKENDS[BACKEND])
    assert methods() == ["missing", "why_not", "is_traced", "is_hooked", "settled", "lstm"]
    for method in methods():
        wanted = inspect.signature(getattr(contract.Backend, method)).parameters
        found = inspect.signature(getattr(module, method)).parameters
        # A parameter that is given by place alone has any name.
        assert list(map(_known_by, found.values())) == list(map(_known_by, wanted.values()))[1:]
    assert set(module.ALIASES) <= set(contract.ACTIVATIONS)
    assert isinstance(module.FEW, contract.Few)


@pytest.mark.parametrize(("oldest", "runs"), [("0.9", True), ("99.0", False)])
def test_a_framework_that_is_too_old_is_a_sentence(oldest, runs, monkeypatch):
    monkeypatch.setitem(contract.OLDEST, BACKEND, oldest)
    reason = support.why_not_here()
    assert reason is None if runs else f'pip install "{BACKEND}>=99.0"' in reason


@pytest.mark.parametrize("module", [hook, support])
def test_hook_and_support_name_no_framework(module):
    tree = ast.parse(inspect.getsource(module))
    kept = [
        node for node in tree.body if not ast.unparse(node).startswith(("BACKENDS =", "import"))
    ]
    code = "\n".join(ast.unparse(node) for node in kept).lower()
    assert not [name for name in support.BACKENDS if name in code]
