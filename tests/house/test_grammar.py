"""Signatures and names follow the grammar of the house."""

import inspect
import re

import pytest

from tests.house.public import ROOT, public_functions, public_names, sources

FUNCTIONS = public_functions()
FORBIDDEN = re.compile(r"^(get_|compute_|my_)|utils|helpers|common")


@pytest.mark.parametrize(("name", "function"), FUNCTIONS, ids=[n for n, _ in FUNCTIONS])
def test_key_comes_first_and_hyperparameters_are_keywords(name, function) -> None:
    parameters = list(inspect.signature(function).parameters.values())
    for place, parameter in enumerate(parameters):
        kind = parameter.kind
        assert kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD), name
        if parameter.name == "key" and kind is not parameter.KEYWORD_ONLY:
            assert place == 0, f"{name}: the key comes first"
        simple = isinstance(parameter.default, (bool, int, float, str))
        if simple:
            assert kind is parameter.KEYWORD_ONLY, f"{name}: `{parameter.name}`"


@pytest.mark.parametrize("name", [n for n, _ in public_names()])
def test_public_name_is_a_plain_term(name: str) -> None:
    assert not FORBIDDEN.search(name.split(".")[1])


def test_all_lists_are_without_repetition() -> None:
    names = [name for name, _ in public_names()]
    assert len(names) == len(set(names))


def test_no_module_is_called_utils() -> None:
    for path in sources("kexue_jax", "experiments", "tests"):
        assert not FORBIDDEN.search(path.relative_to(ROOT).stem), path


@pytest.mark.parametrize(("name", "function"), FUNCTIONS, ids=[n for n, _ in FUNCTIONS])
def test_public_function_is_annotated(name, function) -> None:
    signature = inspect.signature(function)
    assert signature.return_annotation is not signature.empty, name
    for parameter in signature.parameters.values():
        assert parameter.annotation is not parameter.empty, f"{name}: {parameter.name}"
