"""Text report of the plan of a call of `VideoGen`."""

from videogen_jax.training.planning.report import gib, spoken_mesh, verdict
from videogen_jax.training.planning.topology import Topology
from videogen_jax.training.planning.videos import ProgramPlan, VideoPlan


def describe_video(plan: VideoPlan, call: str) -> str:
    """Reports the parameters, memory, operations and least time of a call, in several lines.

    Args:
        plan: the figures.
        call: the call in words, such as "1 prompt, 16 frames of 512x512".
    """
    chip, rows = plan.topology.chip, dict(plan.parameters)
    rows["all of these"] = sum(plan.parameters.values())
    lines = [
        f"{plan.topology.size} × {chip.kind} ({plan.topology}), mesh {spoken_mesh(plan.mesh)}",
        call,
        "these are the compiler's figures, nothing has run",
        "parameters, a device's part",
        *(f"  {name:<26} {gib(size):>12}" for name, size in rows.items()),
        "memory of a device while a program runs: its own with its component's parameters, and",
        "those of the other components that are there",
        *map(program_line, plan.programs),
        *_time(plan),
        f"the call {verdict(plan)}",
    ]
    return "\n".join(lines)


def program_line(plan: ProgramPlan) -> str:
    """Reports one program in one line."""
    if not plan.accepted:
        return f"  {plan.name:<26} {verdict(plan)}"
    operations = f"{plan.flops.total / 1e12:.4g} TFLOP × {plan.runs}"
    parts = f"{gib(plan.program)} + {gib(plan.beside)}"
    return f"  {plan.name:<26} {gib(plan.total):>12}  = {parts}; {operations}"


def describe_search(found: Topology | None, tried: list[VideoPlan]) -> str:
    """Reports the search for the smallest mesh, a line for each try."""
    lines = [f"  {str(plan.topology):<12} {verdict(plan)}" for plan in tried]
    result = f"smallest mesh that fits: {found}" if found else "none of these fits"
    return "\n".join(["devices tried, with parameters and prompts over all (fsdp)", *lines, result])


def _time(plan: VideoPlan) -> list[str]:
    total = sum(program.runs * program.flops.total for program in plan.programs)
    lines = [f"operations of the call, all devices: {total / 1e12:.4g} TFLOP"]
    seconds = sum(program.least_seconds for program in plan.programs)
    if seconds:
        source = plan.topology.chip.source
        lines.append(f"it takes at least {seconds:.4g} s (assumed peaks: {source})")
    return lines
