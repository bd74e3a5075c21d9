"""What a case of the benchmark is made of: Case, Peer, Prepared, Form, Goal."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple


class Form(NamedTuple):
    """One way of computing a case, ready to be timed.

    ``call()`` does the work once and returns when it is done. ``value`` is a tree of
    arrays that the gate compares (None: nothing to compare). ``work`` counts what the
    form does by definition (parameters, flops): a peer's must equal ours. ``facts``
    are what is only reported.
    """

    call: Callable[[], Any]
    value: Any = None
    work: Mapping[str, float] = {}
    facts: Mapping[str, Any] = {}


@dataclasses.dataclass(frozen=True)
class Prepared:
    """A form that is more than a pure function: ``build(*inputs) -> Form``."""

    build: Callable[..., Form]


@dataclasses.dataclass(frozen=True)
class Peer:
    """Another library's form: ``build(*inputs) -> Form``, called if it is installed.

    ``package`` is its name for pip, ``module`` its name for import (default: the same
    with underscores), ``label`` the name of its rows (default: the package).
    ``tolerance`` None takes that of the case. A peer that cannot be made ``equal`` in
    work is compared by time per flop, and the table says so.
    """

    package: str
    build: Callable[..., Form]
    module: str = ""
    label: str = ""
    tolerance: float | None = None
    equal: bool = True

    @property
    def name(self) -> str:
        """The name of the rows of this peer."""
        return self.label or self.package

    @property
    def imported_as(self) -> str:
        """The module to look for."""
        return self.module or self.package.replace("-", "_")


Function = Callable[..., Any]


@dataclasses.dataclass(frozen=True)
class Case:
    """One row of the benchmark, named "topic.what".

    ``inputs(seed)`` makes the arrays; ``fast`` and its readable ``twin`` are pure
    functions of them or Prepared. The forms must agree to ``tolerance`` times the
    largest entry, and so must the gradients with respect to the inputs at the
    positions ``gradient``. ``goal`` bounds the time over the best equal peer's (over
    the twin's where there are no peers), ``goals`` that over forms by the names of
    their rows, ``memory_goal`` the compiled peak of bytes over the twin's; each becomes
    a claim with a verdict.
    """

    name: str
    inputs: Callable[[int], tuple[Any, ...]]
    fast: Function | Prepared
    twin: Function | Prepared
    peers: tuple[Peer, ...] = ()
    gradient: tuple[int, ...] = ()
    tolerance: float = 2e-5
    goal: float | None = None
    about: str = ""
    goals: Mapping[str, float] = dataclasses.field(default_factory=dict)
    memory_goal: float | None = None

    def __post_init__(self) -> None:
        if self.gradient and (
            isinstance(self.fast, Prepared) or isinstance(self.twin, Prepared)
        ):
            raise ValueError(
                f"Case {self.name}: `gradient` needs pure functions; put the gradient "
                "into the value of a prepared form."
            )
