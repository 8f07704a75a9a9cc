"""What a PromQL expression names, taken from its syntax tree by the grammar of Prometheus itself."""

import datetime as dt
from collections.abc import Iterator
from dataclasses import dataclass

import promql_parser as promql

# Words of Grafana that stand where PromQL wants a duration, and durations that no board uses for their place.
DURATIONS = {"$__rate_interval": "3m17s", "$__range": "1h7m"}
RATE_INTERVAL = dt.timedelta(minutes=3, seconds=17)


@dataclass(frozen=True)
class Selected:
    """A selector: its metric, its matchers as (label, operator, value), and the calls around it, the nearest first."""

    metric: str
    matchers: tuple[tuple[str, str, str], ...]
    calls: tuple[str, ...]
    window: dt.timedelta | None

    def has(self, label: str, value: str) -> bool:
        """Whether it asks for this by a regular expression."""
        return (label, "=~", value) in self.matchers


@dataclass(frozen=True)
class Words:
    """What one expression names. `labels`: in `by`, `without`, `on`, `ignoring` and `group_left`."""

    selected: tuple[Selected, ...]
    labels: frozenset[str]


def parsed(expression: str) -> promql.Expr:
    """Raises ValueError where Prometheus would refuse it."""
    for word, duration in DURATIONS.items():
        expression = expression.replace(word, duration)
    return promql.parse(expression)


def words_of(expression: str) -> Words:
    """Raises ValueError where Prometheus would refuse it."""
    tree = parsed(expression)
    return Words(tuple(_selected(tree, ())), frozenset(_labels(tree)))


# The library's operators are no keys of a dictionary.
OPERATORS = ((promql.MatchOp.Equal, "="), (promql.MatchOp.NotEqual, "!="), (promql.MatchOp.Re, "=~"))


def _operator(found: promql.MatchOp) -> str:
    return next((text for operator, text in OPERATORS if operator == found), "!~")


def _selected(tree: promql.Expr, calls: tuple[str, ...], window: dt.timedelta | None = None) -> Iterator[Selected]:
    if isinstance(tree, promql.VectorSelector):
        matchers = tuple((one.name, _operator(one.op), one.value) for one in tree.matchers.matchers)
        yield Selected(tree.name or "", matchers, calls, window)
    elif isinstance(tree, promql.MatrixSelector):
        yield from _selected(tree.vector_selector, calls, tree.range)
    else:
        inside = (tree.func.name, *calls) if isinstance(tree, promql.Call) else calls
        for child in _children(tree):
            yield from _selected(child, inside)


def _children(tree: promql.Expr) -> list[promql.Expr]:
    if isinstance(tree, promql.Call):
        return list(tree.args)
    if isinstance(tree, promql.BinaryExpr):
        return [tree.lhs, tree.rhs]
    if isinstance(tree, promql.AggregateExpr | promql.ParenExpr | promql.SubqueryExpr | promql.UnaryExpr):
        return [tree.expr]
    leaves = promql.VectorSelector | promql.MatrixSelector | promql.NumberLiteral | promql.StringLiteral
    assert isinstance(tree, leaves), tree
    return []


def _labels(tree: promql.Expr) -> Iterator[str]:
    if isinstance(tree, promql.AggregateExpr) and tree.modifier is not None:
        yield from tree.modifier.labels
    if isinstance(tree, promql.BinaryExpr) and tree.modifier is not None:
        matching = tree.modifier.matching
        yield from matching.labels if matching is not None else ()
        yield from tree.modifier.group_labels or ()
    for child in _children(tree):
        yield from _labels(child)
