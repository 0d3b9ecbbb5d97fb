"""The house rules, kept by the suite so that no reviewer has to."""

import ast
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent / "lvs_nat"
FLOORS = {
    "model": 0, "errors": 0,
    "core": 1,
    "system": 2, "checks": 2,
    "daemon": 3, "cli": 3, "lab": 3,
}  # fmt: skip
THINKING = {
    "__future__", "base64", "collections", "configobj", "dataclasses", "datetime", "difflib",
    "enum", "functools", "io", "ipaddress", "itertools", "json", "math", "operator", "re",
    "shlex", "struct", "types", "typing",
}  # fmt: skip
MODULES = {
    ".".join(path.relative_to(ROOT.parent).with_suffix("").parts): path
    for path in sorted(ROOT.rglob("*.py"))
    if path.name != "__init__.py"
}


@cache
def nodes(path):
    """Return all of the tree of a module, itself first."""
    return list(ast.walk(ast.parse(path.read_text())))


@cache
def imports(path):
    return list(imported(path))


def imported(path):
    for node in nodes(path):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            yield from (name if name in MODULES else node.module for name in names)


def floor(module):
    return FLOORS[module.split(".")[1]]


@pytest.mark.parametrize("module", MODULES)
def test_a_module_fits_on_seven_screens_and_a_function_on_one(module):
    assert len(MODULES[module].read_text().splitlines()) <= 350
    for node in nodes(MODULES[module]):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            assert node.end_lineno - node.lineno < 50, node.name


@pytest.mark.parametrize("module", MODULES)
def test_no_module_reaches_up(module):
    for other in imports(MODULES[module]):
        if other in MODULES:
            assert floor(other) <= floor(module), other


@pytest.mark.parametrize("module", [name for name in MODULES if floor(name) <= 1])
def test_decisions_import_nothing_that_acts(module):
    for other in imports(MODULES[module]):
        assert other.split(".")[0] in THINKING | {"lvs_nat"}, other


def test_no_import_goes_round_in_a_circle():
    left = {
        name: {other for other in imports(path) if other in MODULES}
        for name, path in MODULES.items()
    }
    while free := [name for name, needs in left.items() if not needs & left.keys()]:
        for name in free:
            del left[name]

    assert not left


@pytest.mark.parametrize("module", MODULES)
def test_no_state_hides_in_a_module(module):
    for node in nodes(MODULES[module]):
        assert not isinstance(node, ast.Global), f"line {node.lineno}"


@pytest.mark.parametrize("module", MODULES)
def test_a_module_says_in_one_sentence_what_only_it_does(module):
    assert ast.get_docstring(nodes(MODULES[module])[0])
