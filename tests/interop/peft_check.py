"""Loads a PEFT adapter on its base with transformers and peft and prints every position's logits as float32.

Usage: python3 peft_check.py BASE_FOLDER ADAPTER_FOLDER OUT_FILE ID [ID ...]
OUT_FILE receives the rows of V logits, little-endian, in the order of the ids.
"""

import sys

import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM

base_folder, adapter_folder, out_file, *ids = sys.argv[1:]
torch.set_num_threads(2)
base = AutoModelForCausalLM.from_pretrained(base_folder, dtype=torch.float32, attn_implementation="eager")
model = PeftModel.from_pretrained(base, adapter_folder).eval()

named = {name for name, _ in model.named_parameters() if "lora_" in name}
if not named:
    sys.exit("no LoRA parameter was loaded")
if all(parameter.abs().max() == 0 for name, parameter in model.named_parameters() if "lora_B" in name):
    sys.exit("every lora_B is zero: the adapter's names were not recognised")

with torch.no_grad():
    logits = model(torch.tensor([[int(i) for i in ids]])).logits[0]
logits.to(torch.float32).numpy().astype("<f4").tofile(out_file)
