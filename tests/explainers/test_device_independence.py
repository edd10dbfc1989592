"""Every explainer computes where its inputs are: read off its source, since a GPU may be missing.

A tensor made from nothing names its device, and names no fixed one; nothing is fetched to the CPU;
no loop waits for the device by turning tensors into numbers. Reading weights (`load_file`) and
`*_like` or `new_*` factories are free to go without.
"""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import explainers

FILLED = {"empty", "empty_permuted", "empty_strided", "eye", "full", "ones", "zeros"}
COUNTED = {"arange", "linspace", "logspace", "range", "tril_indices", "triu_indices"}
COPIED = {"as_tensor", "asarray", "frombuffer", "scalar_tensor", "sparse_coo_tensor", "tensor"}
RANDOM = {"normal", "rand", "randint", "randn", "randperm"}
WINDOWS = {f"{name}_window" for name in ("bartlett", "blackman", "hamming", "hann", "kaiser")}
FACTORIES = FILLED | COUNTED | COPIED | RANDOM | WINDOWS
CPU_ONLY_FACTORIES = {"from_file", "from_numpy", "FloatTensor", "LongTensor", "Tensor"}
FETCHES = {"cpu", "numpy"}
FIXES = {"cuda", "mps"}
WAITS = {"item", "tolist"}
LOOPS = (ast.For, ast.While, ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)

SOURCES = sorted(Path(explainers.__file__).parent.rglob("*.py"))


def offences(source: str) -> list[str]:
    """What a module does that ties it to one device, as `line: what`, by line."""
    tree = ast.parse(source)
    modules, functions = torch_names(tree)
    found = {
        (call.lineno, offence)
        for call in calls(tree)
        for offence in offences_of(call, torch_function(call, modules, functions))
    }
    found |= {
        (call.lineno, f".{name}() in a loop")
        for repeated in repeated_parts(tree)
        for call in calls(repeated)
        if (name := method(call)) in WAITS
    }
    return [f"{line}: {offence}" for line, offence in sorted(found)]


def offences_of(call: ast.Call, function: str | None) -> Iterator[str]:
    device = next((word.value for word in call.keywords if word.arg == "device"), None)
    if function in CPU_ONLY_FACTORIES:
        yield f"torch.{function} is on the CPU"
    elif function in FACTORIES and device is None:
        yield f"torch.{function} without device="
    elif function in FACTORIES and is_fixed(device):
        yield f"torch.{function} on a fixed device"
    elif function == "device" and any(map(is_fixed, call.args)):
        yield "torch.device is a fixed device"
    if function is None and method(call) in FETCHES | FIXES:
        yield f".{method(call)}()"
    if method(call) == "to" and any(map(is_fixed, [device, *call.args])):
        yield ".to() a fixed device"


def torch_names(tree: ast.Module) -> tuple[set[str], dict[str, str]]:
    """The names that torch goes by in a module, and those of its functions imported one by one."""
    modules, functions = set(), {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            modules |= {name.asname or name.name for name in node.names if name.name == "torch"}
        if isinstance(node, ast.ImportFrom) and node.module == "torch":
            functions |= {name.asname or name.name: name.name for name in node.names}
    return modules, functions


def torch_function(call: ast.Call, modules: set[str], functions: dict[str, str]) -> str | None:
    """The name of the function of torch that is called, if one is."""
    match call.func:
        case ast.Attribute(ast.Name(module), name) if module in modules:
            return name
        case ast.Name(name):
            return functions.get(name)
    return None


def method(call: ast.Call) -> str | None:
    return call.func.attr if isinstance(call.func, ast.Attribute) else None


def is_fixed(device: ast.expr | None) -> bool:
    """Whether a device is written out; "meta", which holds no values, is none."""
    return (
        isinstance(device, ast.Constant)
        and isinstance(device.value, str)
        and device.value != "meta"
    )


def calls(node: ast.AST) -> Iterator[ast.Call]:
    return (child for child in ast.walk(node) if isinstance(child, ast.Call))


def repeated_parts(tree: ast.Module) -> Iterator[ast.AST]:
    """What runs more than once in loops: all of them but what their first iteration is over."""
    for loop in ast.walk(tree):
        if not isinstance(loop, LOOPS):
            continue
        once = loop.iter if isinstance(loop, ast.For) else None
        if hasattr(loop, "generators"):
            once = loop.generators[0].iter
            yield from loop.generators[0].ifs
            yield from loop.generators[1:]
        yield from (
            child
            for child in ast.iter_child_nodes(loop)
            if child is not once and not isinstance(child, ast.comprehension)
        )


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.stem)
def test_explainers_stay_on_the_device_of_their_inputs(path):
    assert offences(path.read_text(encoding="utf-8")) == []


def test_the_sources_are_found():
    assert "anchors_nms" in {path.stem for path in SOURCES}


@pytest.mark.parametrize(
    ("line", "offence"),
    [
        ("torch.zeros(3)", "torch.zeros without device="),
        ("torch.tensor([1, 2], dtype=x.dtype)", "torch.tensor without device="),
        ("f(torch.arange(len(x)))", "torch.arange without device="),
        ("torch.rand(3, generator=g)", "torch.rand without device="),
        ("x + arange(3)", "torch.arange without device="),
        ("x + from_nothing(3)", "torch.zeros without device="),
        ("also_torch.ones(3)", "torch.ones without device="),
        ("torch.ones(3, device='cpu')", "torch.ones on a fixed device"),
        ("torch.ones(3, device='cuda:0')", "torch.ones on a fixed device"),
        ("torch.ones(3, device=torch.device('cpu'))", "torch.device is a fixed device"),
        ("torch.from_numpy(x)", "torch.from_numpy is on the CPU"),
        ("torch.FloatTensor([1.0])", "torch.FloatTensor is on the CPU"),
        ("torch.Tensor([1.0])", "torch.Tensor is on the CPU"),
        ("x.numpy()", ".numpy()"),
        ("x.detach().cpu()", ".cpu()"),
        ("x.cuda()", ".cuda()"),
        ("x.to('cuda')", ".to() a fixed device"),
        ("x.to(device='cpu')", ".to() a fixed device"),
        ("for i in x: total += i.item()", ".item() in a loop"),
        ("while x.sum().item() > 1: x = x / 2", ".item() in a loop"),
        ("[row.tolist() for row in x]", ".tolist() in a loop"),
        ("{i: x[i].item() for i in range(3)}", ".item() in a loop"),
        ("any(row.item() > 1 for row in x)", ".item() in a loop"),
        ("[i for i in range(3) if x[i].item()]", ".item() in a loop"),
        ("[j for i in x for j in i.tolist()]", ".tolist() in a loop"),
        ("for i in x:\n  if i > 1:\n    f(lambda: i.item())", ".item() in a loop"),
    ],
)
def test_an_offence_is_found(line, offence):
    found = offences(
        "import torch\n"
        "import torch as also_torch\n"
        "from torch import arange, zeros as from_nothing\n" + line
    )
    assert [entry.split(": ", 1)[1] for entry in found] == [offence]


@pytest.mark.parametrize(
    "line",
    [
        "torch.zeros(3, device=x.device)",
        "torch.full((2, 2), 1.0, dtype=x.dtype, device=device)",
        "torch.rand(3, generator=g, device=g.device).to(x)",
        "torch.zeros(3, device=torch.device(device))",
        "with torch.device('meta'): network = Network()",
        "torch.zeros_like(x)",
        "x.new_tensor([1, 2])",
        "x.new_zeros(3)",
        "torch.cat([x, x]).to(x.device)",
        "x.to(torch.float64)",
        "x.sum().item()",
        "for value in x.tolist(): total += value",
        "[value + 1 for value in x.tolist()]",
        "load_file(path)",
        "load_file(path, device='cpu')",
        "'torch.zeros(3)'",
        "zeros(3)",
        "figure.range(3)",
    ],
)
def test_what_is_allowed(line):
    assert offences(f"import torch\nfrom safetensors.torch import load_file\n{line}") == []
