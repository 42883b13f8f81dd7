"""Turn a GGUF file into a folder of bfloat16 safetensors that vLLM loads.

Runs with the interpreter of the vLLM environment, never with the project's own, and imports
nothing of entroute:

    PYTHON tests/vllm/convert.py MODEL.gguf FOLDER

Knows nothing of where weights come from or where the folder belongs.
"""

import sys
from pathlib import Path

import torch
from safetensors.torch import save_file
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoTokenizer,
)

ARCHITECTURES = {"qwen2": "Qwen2ForCausalLM", "llama": "LlamaForCausalLM"}


def convert(gguf: Path, folder: Path) -> None:
    """Write weights, configuration, tokenizer and chat template of `gguf` into `folder`.

    Raises:
        SystemExit: The file's architecture is not known here, or it carries no chat template.
    """
    source = {"pretrained_model_name_or_path": gguf.parent, "gguf_file": gguf.name}
    tokenizer = AutoTokenizer.from_pretrained(**source)
    if not tokenizer.chat_template:
        sys.exit(f"{gguf}: carries no chat template; vLLM could not serve chats with it")
    config = AutoConfig.from_pretrained(**source)
    if config.model_type not in ARCHITECTURES:
        sys.exit(f"{gguf}: architecture '{config.model_type}' is not one of {[*ARCHITECTURES]}")

    model = AutoModelForCausalLM.from_pretrained(**source, dtype=torch.bfloat16)
    config = model.config
    config.architectures = [ARCHITECTURES[config.model_type]]
    config.dtype = torch.bfloat16
    # save_pretrained refuses a model that was quantised: the weights no longer are.
    if hasattr(config, "quantization_config"):
        del config.quantization_config
    tied = {"lm_head.weight"} if config.tie_word_embeddings else set()
    weights = {
        name: tensor.to(torch.bfloat16).contiguous().clone()
        for name, tensor in model.state_dict().items()
        if name not in tied
    }
    folder.mkdir(parents=True, exist_ok=True)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    config.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


if __name__ == "__main__":
    convert(Path(sys.argv[1]), Path(sys.argv[2]))
