"""One case from its row to its result: forms built, gate passed, times taken."""

import importlib.metadata
import importlib.util
from collections.abc import Callable
from typing import Any

from experiments._harness.errors import UserError, one_line
from experiments.benchmark import gate, timing
from experiments.benchmark.case import Case, Form, Peer, Prepared
from experiments.benchmark.forms import build_form

EXTRA = "kexue_jax[bench]"

Result = dict[str, Any]


def measure(
    case: Case,
    *,
    seed: int = 0,
    rounds: int = 7,
    seconds: float = 10.0,
    say: Callable[[str], None] = print,
) -> Result:
    """The result of a case: a row a form, and samples; no times if the gate is red."""
    result: Result = {
        "case": case.name,
        "about": case.about,
        "goal": case.goal,
        "goals": dict(case.goals),
        "memory_goal": case.memory_goal,
    }
    inputs = case.inputs(seed)
    rows: dict[str, Result] = {}
    try:
        forms = _built(case, inputs, rows, say)
    except gate.Red as red:
        say(f"{case.name}: gate red: {red}")
        return {**result, "status": f"gate red: {red}", "forms": []}
    calls = {name: form.call for name, form in forms.items()}
    samples = timing.interleave(calls, rounds=rounds, seconds=seconds)
    for name, form in forms.items():
        rows[name] |= _times(samples[name], samples["fast"], form)
    for row in rows.values():
        say(f"{case.name}: {one_line(_sentence(row))}")
    return {
        **result,
        "status": "measured",
        "best_peer": _best(rows),
        "forms": list(rows.values()),
        "samples": samples,
    }


def _built(
    case: Case, inputs: tuple[Any, ...], rows: dict[str, Result], say: Any
) -> dict[str, Form]:
    """The forms by name, each of which agrees with ours; their rows are begun."""
    fast, twin = build_form(case.fast, inputs), build_form(case.twin, inputs)
    forms = {"fast": fast, "twin": twin}
    worst = gate.check_values("twin", fast.value, twin.value, case.tolerance)
    if fast.work and twin.work:
        gate.check_work("twin", fast.work, twin.work)
    if (
        case.gradient
        and not isinstance(case.fast, Prepared)
        and not isinstance(case.twin, Prepared)
    ):
        slopes = [
            gate.gradients(function, inputs, case.gradient)
            for function in (case.fast, case.twin)
        ]
        slope = gate.check_values(
            "gradient of twin", slopes[0], slopes[1], case.tolerance
        )
        worst = max(worst, slope)
    rows["fast"] = {"form": "fast", "status": "measured"}
    rows["twin"] = {"form": "twin", "status": "measured", "difference": worst}
    for peer in case.peers:
        rows[peer.name], form = _peer(case, peer, inputs, fast)
        if form is not None:
            forms[peer.name] = form
    return forms


def _peer(
    case: Case, peer: Peer, inputs: tuple[Any, ...], fast: Form
) -> tuple[Result, Form | None]:
    """The row of a peer and its form, or None where it is not there."""
    row: Result = {"form": peer.name, "package": peer.package, "equal": peer.equal}
    if importlib.util.find_spec(peer.imported_as) is None:
        return row | {"status": f"not installed: pip install '{EXTRA}'"}, None
    try:
        form = peer.build(*inputs)
    except (ImportError, UserError) as error:
        return row | {"status": f"cannot be imported: {one_line(str(error))}"}, None
    row["version"] = importlib.metadata.version(peer.package)
    if form.value is not None:
        tolerance = case.tolerance if peer.tolerance is None else peer.tolerance
        row["difference"] = gate.check_values(
            peer.name, fast.value, form.value, tolerance
        )
    if peer.equal:
        gate.check_work(peer.name, fast.work, form.work)
    return row | {"status": "measured"}, form


def _times(ours: list[float], fast: list[float], form: Form) -> Result:
    """What the clock said of a form; ``ratio`` is fast over it."""
    seen, against = timing.spread(ours), timing.ratio(fast, ours)
    row: Result = {
        "median_seconds": seen.median,
        "min_seconds": seen.minimum,
        "spread": seen.relative,
        "ratio": against._asdict(),
        "work": dict(form.work),
        **form.facts,
    }
    flops = form.work.get("flops")
    if flops:
        row["work_flops_per_second"] = flops / seen.median
    return row


def _best(rows: dict[str, Result]) -> str | None:
    """The fastest of the peers that do the same work; None without one."""
    equal = {n: r["median_seconds"] for n, r in rows.items() if _rival(r)}
    return min(equal, key=equal.__getitem__) if equal else None


def _rival(row: Result) -> bool:
    return "package" in row and row["equal"] and row["status"] == "measured"


def _sentence(row: Result) -> str:
    if row["status"] != "measured":
        return f"{row['form']} {row['status']}"
    against = row["ratio"]
    text = f"{row['form']} {row['median_seconds'] * 1e3:.4g} ms"
    text += f" (min {row['min_seconds'] * 1e3:.4g}, spread {row['spread']:.0%})"
    if row["form"] != "fast":
        text += f", fast / {row['form']} {against['median']:.3f}"
        text += f" ({against['low']:.3f} to {against['high']:.3f})"
    return text
