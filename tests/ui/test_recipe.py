"""A recipe's script: names, imports, literals, and what it prints."""

import dataclasses
import math
import sys
import types
from collections.abc import Iterator
from typing import Any

import pytest
import torch

from ui.recipe import Recipe


@dataclasses.dataclass(frozen=True)
class Counts:
    """Numbers alone: a result to print."""

    total: int
    share: float


@dataclasses.dataclass(frozen=True)
class Match:
    """Tensors: a result to go on with."""

    iou: torch.Tensor
    count: int


def count(values: torch.Tensor, least: float = 0.0) -> Counts:
    """Count."""
    return Counts(int((values > least).sum()), 0.5)


def count_up(values: torch.Tensor) -> Iterator[Counts]:
    """Count one more each time."""
    for number in range(len(values)):
        yield Counts(number, 0.5)


def match(values: torch.Tensor) -> Match:
    """Match."""
    return Match(values * 2, len(values))


def make_values(size: int, generator: torch.Generator | None = None) -> torch.Tensor:
    """Make."""
    return torch.rand(size, generator=generator)


def halves(values: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Halve."""
    return values[: len(values) // 2], values[len(values) // 2 :]


def call(recipe: Recipe, function: Any, *arguments: Any, **options: Any) -> Any:
    result = function(*arguments, **options)
    recipe.record(function, arguments, options, result)
    return result


def run(recipe: Recipe) -> dict[str, Any]:
    """Run the script as a visitor would; its variables."""
    variables: dict[str, Any] = {}
    exec(compile(recipe.script(), "script", "exec"), variables)
    return variables


@pytest.fixture
def recipe(monkeypatch) -> Recipe:
    """A recipe whose functions, those of this module, can be imported by its script."""
    monkeypatch.setitem(sys.modules, __name__, sys.modules.get(__name__) or _this())
    return Recipe()


def _this() -> Any:
    module = types.ModuleType(__name__)
    vars(module).update(globals())
    return module


def test_results_are_named_and_used_by_their_names(recipe, capsys):
    values = call(recipe, make_values, 5, torch.Generator().manual_seed(7))
    found = call(recipe, match, values)
    counts = call(recipe, count, found.iou, least=0.5)
    variables = run(recipe)
    assert torch.equal(variables["values"], values)
    assert torch.equal(variables["match_result"].iou, found.iou)
    assert variables["counts"] == counts
    assert "least=0.5" in recipe.script()
    assert capsys.readouterr().out == f"{counts}\n"


def test_calls_of_the_same_function_have_names_of_their_own(recipe):
    first, second = call(recipe, make_values, 3), call(recipe, make_values, 4)
    call(recipe, match, first)
    call(recipe, match, second)
    variables = run(recipe)
    assert len(variables["values"]) == 3
    assert len(variables["values_2"]) == 4


def test_parts_of_tuples_are_known(recipe):
    values = call(recipe, make_values, 4, torch.Generator().manual_seed(1))
    _left, right = call(recipe, halves, values)
    counts = call(recipe, count, right)
    assert run(recipe)["counts"] == counts
    assert "[1]" in recipe.script()


def test_the_last_result_is_printed_where_none_is_a_summary(recipe, capsys):
    call(recipe, make_values, 2, torch.Generator().manual_seed(3))
    run(recipe)
    assert capsys.readouterr().out.startswith("tensor([")


@pytest.mark.parametrize(
    "values",
    [
        torch.tensor([0.1, 1 / 3, 1e-30, -2.0]),
        torch.tensor([1.0, 2.0], dtype=torch.float64),
        torch.tensor([[1, 2], [3, 4]]),
        torch.tensor([1, 2], dtype=torch.int32),
        torch.tensor([True, False]),
        torch.zeros(0, 4),
        torch.zeros(0),
        torch.zeros(0, dtype=torch.int64),
        torch.tensor(0.1),
        torch.tensor([0.1, 1 / 3, 1e-300], dtype=torch.float64),
    ],
    ids=lambda values: f"{values.dtype} {tuple(values.shape)}",
)
def test_small_tensors_are_written_out_exactly(recipe, values):
    found = call(recipe, match, values.reshape(values.shape or (1,)))
    made = run(recipe)["match_result"]
    assert made.iou.dtype == found.iou.dtype
    assert torch.equal(made.iou, found.iou)


def test_numbers_beyond_the_finite_are_written_so_that_python_reads_them(recipe):
    values = torch.tensor([[math.inf, -math.inf], [math.nan, 1.0]])
    found = call(recipe, match, values)
    torch.testing.assert_close(run(recipe)["match_result"].iou, found.iou, equal_nan=True)
    recipe.record(dict, (), {"least": -math.inf}, {})
    run(recipe)


def test_arguments_of_every_plain_kind(recipe):
    recipe.record(dict, (), {"a": 1, "b": 0.5, "c": "x'y", "d": None, "e": True}, {})
    recipe.record(list, ([1, [2.5]],), {}, [])
    recipe.record(list, ((1,),), {}, [])
    recipe.record(list, ((),), {}, [])
    script = recipe.script()
    assert 'dict(a=1, b=0.5, c="x\'y", d=None, e=True)' in script
    assert "list([1, [2.5]])" in script
    assert "list((1,))" in script
    assert "list(())" in script


def test_a_large_tensor_of_unknown_origin_is_refused(recipe):
    call(recipe, match, torch.zeros(401))
    with pytest.raises(ValueError, match="no expression is known for a value of type Tensor"):
        recipe.script()


def test_an_alias_says_where_a_large_tensor_comes_from(recipe):
    values = call(recipe, make_values, 1000, torch.Generator().manual_seed(5))
    best = values[values > 0.5]
    recipe.alias(best, values, "{0}[{0} > 0.5]")
    counts = call(recipe, count, best)
    assert run(recipe)["counts"] == counts


def test_definitions_come_before_the_calls(recipe):
    values = torch.arange(500.0)
    recipe.define("ramp", values, "torch.arange(500.0)")
    counts = call(recipe, count, values)
    assert run(recipe)["counts"] == counts
    assert recipe.script().index("ramp = ") < recipe.script().index("counts = ")


def test_the_source_holds_every_function_once(recipe):
    values = call(recipe, make_values, 3)
    call(recipe, match, values)
    call(recipe, match, values)
    assert recipe.source().count("def match(") == 1
    assert recipe.source().count("def make_values(") == 1
    assert [function.__name__ for function in recipe.functions()] == ["make_values", "match"]


def test_a_generator_is_repeated_up_to_the_state_on_screen(recipe):
    states = list(count_up(torch.arange(5.0)))[:3]
    recipe.record_states(count_up, (torch.arange(5.0),), {}, states)
    assert run(recipe)["counts"] == states[-1]
