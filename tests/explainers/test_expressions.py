import math
import time

import pytest
import torch
from hypothesis import given, reject, settings
from hypothesis import strategies as st
from torch.testing import assert_close

from explainers.expressions import (
    DEEPEST_EXPRESSION,
    LONGEST_EXPRESSION,
    ExpressionError,
    Reason,
    parse,
)

ZERO, ONE = torch.zeros(1), torch.ones(1)


class TestParse:
    @pytest.mark.parametrize(
        ("text", "value"),
        [
            ("x + y", 2.5),
            ("x - y - 1", 0.5),
            ("x * y / 2", 0.5),
            ("-x**2", -4.0),
            ("(-x)**2", 4.0),
            ("x^2", 4.0),
            ("2*x^2 + 1", 9.0),
            ("x**-1", 0.5),
            ("x**0.5", 2**0.5),
            ("x² + y³", 4.125),
            ("+x", 2.0),
            ("1e-3*x", 2e-3),
            ("sin(x) + cos(x)", math.sin(2) + math.cos(2)),
            ("tan(y)", math.tan(0.5)),
            ("exp(-x)", math.exp(-2)),
            ("e^-x", math.exp(-2)),
            ("2*e^(-x^2 - y^2)", 2 * math.exp(-4.25)),
            ("-e**x**2", -math.exp(4)),
            ("e**2 + 0*x", math.exp(2)),
            ("log(x)", math.log(2)),
            ("sqrt(abs(-x))", 2**0.5),
            ("tanh(y)", math.tanh(0.5)),
            ("pi*x", 2 * math.pi),
            ("π × x − e", 2 * math.pi - math.e),
            ("（x＋y）＊2", 5.0),
            ("  x  ", 2.0),
            ("sin(1) + 0*x", math.sin(1)),
        ],
    )
    def test_values(self, text, value, dtype, device):
        x = torch.full((3,), 2.0, dtype=dtype, device=device)
        assert_close(parse(text)(x, x / 4), torch.full_like(x, value))

    @pytest.mark.parametrize(
        ("text", "value"),
        [("1/x", math.inf), ("log(x)", -math.inf), ("sqrt(x - 1)", math.nan), ("0/x", math.nan)],
    )
    def test_outside_of_its_domain_it_is_what_torch_says(self, text, value):
        assert_close(parse(text)(ZERO, ZERO), torch.full_like(ZERO, value), equal_nan=True)

    @pytest.mark.parametrize(
        ("text", "along_x", "along_y"),
        [
            ("x - y", 1.0, -1.0),
            ("x * y / 4", 0.125, 0.5),
            ("y / x", -0.125, 0.5),
            ("2 / x - 3", -0.5, 0.0),
            ("-x**2", -4.0, 0.0),
            ("(-x)**3 + +y", -12.0, 1.0),
            ("x**0.5 * y**0", 2**-0.5 / 2, 0.0),
            ("x**-1", -0.25, 0.0),
            ("sin(x) + cos(y)", math.cos(2), -math.sin(0.5)),
            ("tan(y)", 0.0, 1 / math.cos(0.5) ** 2),
            ("exp(x * y)", math.e / 2, 2 * math.e),
            ("e**(x * y)", math.e / 2, 2 * math.e),
            ("log(x)", 0.5, 0.0),
            ("sqrt(x / 2 * y)", 0.25 / math.sqrt(2), 1 / math.sqrt(2)),
            ("abs(-y)", 0.0, 1.0),
            ("tanh(y)", 0.0, 1 / math.cosh(0.5) ** 2),
            ("sin(1) * x", math.sin(1), 0.0),
        ],
    )
    def test_slopes(self, text, along_x, along_y, dtype, device):
        """By hand, at x = 2 and y = 1/2."""
        x = torch.full((3,), 2.0, dtype=dtype, device=device)
        found = parse(text).slope(x, x / 4)
        assert_close(found, (torch.full_like(x, along_x), torch.full_like(x, along_y)))

    @pytest.mark.parametrize(
        ("text", "along_x", "along_y"),
        [
            ("x**2 + y**4", 0.0, 0.0),
            ("x**0 + y**1", 0.0, 1.0),
            ("abs(x) - y", 0.0, -1.0),
            ("log(x) + y", math.inf, 1.0),
            ("sqrt(x) * 2 + y", math.inf, 1.0),
            ("x / 0", math.inf, 0.0),
        ],
    )
    def test_slopes_at_the_origin(self, text, along_x, along_y):
        assert_close(parse(text).slope(ZERO, ZERO), (ZERO + along_x, ZERO + along_y))

    @pytest.mark.parametrize(
        ("text", "reason"),
        [
            ("", Reason.SYNTAX),
            ("x +", Reason.SYNTAX),
            ("2x", Reason.SYNTAX),
            ("x = 1", Reason.SYNTAX),
            ("x; y", Reason.SYNTAX),
            ("(x", Reason.SYNTAX),
            ("x\0", Reason.SYNTAX),
            ("x\ny", Reason.SYNTAX),
            ("(" * 150 + "x" + ")" * 40, Reason.SYNTAX),
            ("x" * 201, Reason.LENGTH),
            ("z + x", Reason.NAME),
            ("sin", Reason.NAME),
            ("xy", Reason.NAME),
            ("foo(x)", Reason.NAME),
            ("eval(x)", Reason.NAME),
            ("__import__(x)", Reason.NAME),
            ("x.real", Reason.OPERATION),
            ("x[0]", Reason.OPERATION),
            ("x if y else 1", Reason.OPERATION),
            ("x < y", Reason.OPERATION),
            ("x and y", Reason.OPERATION),
            ("lambda: x", Reason.OPERATION),
            ("[x for x in y]", Reason.OPERATION),
            ("(x, y)", Reason.OPERATION),
            ("x // y", Reason.OPERATION),
            ("x % y", Reason.OPERATION),
            ("x @ y", Reason.OPERATION),
            ("x << 3", Reason.OPERATION),
            ("~x", Reason.OPERATION),
            ("not x", Reason.OPERATION),
            ("'x'", Reason.OPERATION),
            ("f'{x}'", Reason.OPERATION),
            ("x + 1j", Reason.OPERATION),
            ("x + True", Reason.OPERATION),
            ("x + None", Reason.OPERATION),
            ("...", Reason.OPERATION),
            ("(y := x)", Reason.OPERATION),
            ("sin(x, y)", Reason.OPERATION),
            ("sin()", Reason.OPERATION),
            ("sin(*x)", Reason.OPERATION),
            ("sin(x=y)", Reason.OPERATION),
            ("sin(x)(y)", Reason.OPERATION),
            ("x.__class__()", Reason.OPERATION),
            ("await x", Reason.OPERATION),
            ("x**y", Reason.EXPONENT),
            ("(e)**foo", Reason.NAME),
            ("pi**x", Reason.EXPONENT),
            ("2**x", Reason.EXPONENT),
            ("x**21", Reason.EXPONENT),
            ("x**-21", Reason.EXPONENT),
            ("x**9**9**9", Reason.EXPONENT),
            ("x**1e999", Reason.EXPONENT),
            ("x**True", Reason.EXPONENT),
            ("x**'a'", Reason.EXPONENT),
            ("x**2j", Reason.EXPONENT),
            ("1e999*x", Reason.NUMBER),
            ("3 + pi", Reason.CONSTANT),
            ("-" * 100 + "x", Reason.DEPTH),
            ("x" + "+x" * 80, Reason.DEPTH),
        ],
    )
    def test_what_is_refused(self, text, reason):
        with pytest.raises(ExpressionError) as refused:
            parse(text)
        assert refused.value.reason == reason
        assert len(str(refused.value)) < 400
        assert isinstance(refused.value, ValueError)

    def test_every_reason_occurs(self):
        refused = self.test_what_is_refused.pytestmark[0].args[1]
        assert {reason for _text, reason in refused} == set(Reason) - {Reason.NOWHERE}

    def test_the_deepest_that_is_allowed(self):
        deepest = "-" * (DEEPEST_EXPRESSION - 1) + "x"
        assert_close(parse(deepest)(ONE, ONE), -ONE)
        with pytest.raises(ExpressionError):
            parse("-" + deepest)

    def test_the_longest_that_is_allowed(self):
        longest = "x" + " " * (LONGEST_EXPRESSION - 2) + "*2"
        assert_close(parse(longest[:1] + longest[2:])(ONE, ONE), 2 * ONE)
        with pytest.raises(ExpressionError):
            parse(longest)


PIECES = [
    *("x", "y", "1", "9", "0x", "1e", "1j", "_", "²", "π", "ｘ", "𝓍", "λ", "٣", "pi", "sin", "exp"),
    *("**", "*", "+", "-", "/", "//", "%", "@", "<<", ">>", "&", "|", "^", "~", "=", "==", ":="),
    *("(", ")", "[", "]", "{", "}", ".", ",", ":", ";", "...", "#", "\\", "\n", "\t", "\0", "\f"),
    *("lambda ", "for ", "in ", "if ", "else ", "not ", "and ", "await ", "yield ", "import "),
    *("'", '"', "'''", "f'", 'f"', "rb'", "{x}", "{x!r:", "\\n", "\\N{BULLET}", "None", "True"),
    *("__class__", "__import__", "__builtins__", "eval", "exec", "open", "os.system", "self"),
]
LONGEST_TO_COMPUTE = [
    "x*" * 59 + "y",
    "+".join(["x*y"] * 50),
    "*".join(["sin(tan(exp(x)))"] * 11),
    "+".join(["x**.3"] * 33),
    "*".join(["tan(x)"] * 28),
    "tanh(" * 30 + "x" + ")" * 30,
    "*".join(["x²"] * 59),
    "-" * 50 + "x**-20",
]


def held_to_the_rules(text: str) -> None:
    """A text is refused in a short sentence, or a function of x and y, elementwise."""
    try:
        function = parse(text)
    except ExpressionError as refused:
        function, said = None, str(refused)
    if function is None:
        assert len(said) < 1000
        return
    points = torch.linspace(-2, 2, 5), torch.ones(5)
    for values in (function(*points), *function.slope(*points)):
        assert isinstance(values, torch.Tensor)
        assert values.shape == (5,)


def expressions(numbers, largest_exponent):
    return st.recursive(
        st.sampled_from(["x", "y", "3", "pi", "0", *numbers]),
        lambda part: st.one_of(
            st.tuples(part, st.sampled_from("+-*/"), part).map("({0[0]}{0[1]}{0[2]})".format),
            st.tuples(st.sampled_from(["sin", "log", "exp", "sqrt", "abs", "-", ""]), part).map(
                "{0[0]}({0[1]})".format
            ),
            st.tuples(part, st.integers(-largest_exponent, largest_exponent)).map(
                "({0[0]})**{0[1]}".format
            ),
        ),
        max_leaves=12,
    )


@pytest.mark.filterwarnings("ignore::SyntaxWarning", "ignore::DeprecationWarning")
class TestWhateverIsTyped:
    @given(st.text(max_size=LONGEST_EXPRESSION + 5))
    def test_any_text(self, text):
        held_to_the_rules(text)

    @settings(max_examples=1000)
    @given(st.lists(st.sampled_from(PIECES), max_size=40).map("".join))
    def test_any_pieces_of_python(self, text):
        held_to_the_rules(text)

    @settings(max_examples=300)
    @given(expressions(["1e300"], 25))
    def test_any_expression(self, text):
        held_to_the_rules(text)

    @settings(max_examples=300, derandomize=True)
    @given(expressions(["0.5"], 3))
    def test_the_slope_is_that_of_autograd(self, text):
        """Where both are finite: at a pole the order of operations decides what is inf or NaN.

        The same texts each time: what cancels out, such as exp(exp(x/x)**3), differs by rounding.
        """
        try:
            function = parse(text)
        except ExpressionError:
            reject()
        x, y = torch.rand(2, 100, generator=torch.Generator().manual_seed(0)).double()
        x, y = (4 * x - 2).requires_grad_(), (4 * y - 2).requires_grad_()
        wanted = torch.autograd.grad(function(x, y).sum(), (x, y), materialize_grads=True)
        for found, expected in zip(function.slope(x, y), wanted, strict=True):
            finite = found.isfinite() & expected.isfinite()
            assert_close(found[finite], expected[finite], rtol=1e-6, atol=1e-6)
            assert (found.isfinite() == expected.isfinite())[function(x, y).isfinite()].all()

    @pytest.mark.parametrize(
        "text",
        [
            *("9" * 190 + "*x", "0x" + "f" * 190 + "*x", "x**" + "9" * 190, "x" + "**9" * 60),
            *("(" * 99 + "x" + ")" * 99, "[" * 200, "{" * 200, "-" * 199 + "x", "x" * 10**6),
            *("sin(" * 50, "x" + ".a" * 99, "x" + "[0]" * 60, "x" + "()" * 99, "f'" * 100),
            *("not " * 49 + "x", "lambda:" * 28 + "x", "x if x else " * 16 + "x", "²" * 199),
        ],
        ids=lambda text: text[:12],
    )
    def test_towers(self, text):
        held_to_the_rules(text)

    @pytest.mark.parametrize("text", LONGEST_TO_COMPUTE, ids=lambda text: text[:12])
    def test_nothing_takes_long(self, text):
        """A page asks for the values and slopes of all points of a map at once."""
        points = torch.randn(100 * 100, 2, dtype=torch.float64, requires_grad=True)
        started = time.process_time()
        function = parse(text)
        function(*points.unbind(dim=1)), function.slope(*points.unbind(dim=1))
        assert time.process_time() - started < 1

    def test_nothing_of_it_is_run(self, tmp_path):
        made = tmp_path / "made"
        for text in (
            f"open('{made}', 'w')",
            f"__import__('os').system('touch {made}')",
            f"(lambda: open('{made}', 'w'))()",
            f"[open(x, 'w') for x in ['{made}']]",
            f"f\"{{open('{made}', 'w')}}\"",
            f"(x := open('{made}', 'w'))",
            f"sin(x=open('{made}', 'w'))",
        ):
            with pytest.raises(ExpressionError):
                parse(text)
        assert not made.exists()
