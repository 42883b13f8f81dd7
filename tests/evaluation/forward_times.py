"""A table of forward times as a test writes it."""

from pathlib import Path

from entroute.evaluation.hardware import GPUS, MODELS
from entroute.evaluation.step_times import ForwardSteps

TOKENS = (1, 64, 256, 1024, 4096)
MILLISECONDS = (10.0, 12.0, 20.0, 70.0, 280.0)


def slow_gpu() -> ForwardSteps:
    """Return steps of a GPU with these times."""
    linear_s = tuple(ms / 1e3 for ms in MILLISECONDS)
    return ForwardSteps(TOKENS, linear_s, GPUS["a100"], MODELS["Meta-Llama-3-8B"], 1)


def written_table(folder: Path) -> Path:
    """Write them as the file has them, with rows of another GPU between."""
    lines = ["gpu,model,num_tokens,tp,layer_ms,linear_ms_per_forward"]
    for tokens, ms in zip(TOKENS, MILLISECONDS, strict=True):
        lines += [f"a100,Meta-Llama-3-8B,{tokens},1,0.3,{ms}"]
        lines += [f"h100,Meta-Llama-3-8B,{tokens},1,0.1,{ms / 3}"]
    path = folder / "times.csv"
    path.write_text("\n".join(lines) + "\n")
    return path
