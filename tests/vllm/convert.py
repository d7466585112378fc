"""`convert.py MODEL.gguf FOLDER` writes the same weights as a Hugging Face folder.

It runs in vLLM's environment, which has torch.
"""

import os
import sys

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

folder, name = os.path.split(sys.argv[1])
model = AutoModelForCausalLM.from_pretrained(
    folder,
    gguf_file=name,
    dtype=torch.bfloat16,
    quantization_config=GgufConfig(dequantize=True),
)
model.save_pretrained(sys.argv[2])
AutoTokenizer.from_pretrained(folder, gguf_file=name).save_pretrained(sys.argv[2])
for path in os.scandir(sys.argv[2]):
    os.chmod(path, 0o644)
