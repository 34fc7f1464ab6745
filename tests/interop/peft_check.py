"""Runs jobs in transformers and peft, each printing every position's logits as float32.

Usage: python3 peft_check.py JOBS.json

JOBS.json is a list of {"base": FOLDER, "adapter": FOLDER | null, "make": {…} | null, "ids": [ID, …], "out": FILE}. Without an adapter
the base answers alone; with "make" (arguments of LoraConfig) the adapter is a random one that PEFT makes and saves there, else it is
loaded from there. OUT receives the rows of V logits, little-endian, in the order of the ids.
"""

import json
import sys

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import AutoModelForCausalLM

torch.set_num_threads(2)


def randomise(model):
    """B away from its zeros and DoRA's lengths from the rows' own, so that a name or a factor that is lost shows."""
    torch.manual_seed(1)
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.1)
        elif "lora_magnitude_vector" in name:
            parameter.data *= 1 + 0.1 * torch.randn(parameter.shape)


def load(job):
    model, loading = AutoModelForCausalLM.from_pretrained(
        job["base"], dtype=torch.float32, attn_implementation="eager", output_loading_info=True
    )
    wrong = {kind: list(names) for kind, names in loading.items() if names}
    if wrong:
        sys.exit(f"{job['base']}: {wrong}")
    if job.get("make"):
        model = get_peft_model(model, LoraConfig(task_type="CAUSAL_LM", **job["make"]))
        with torch.no_grad():
            randomise(model)
        model.save_pretrained(job["adapter"])
    elif job.get("adapter"):
        model = PeftModel.from_pretrained(model, job["adapter"])
        halves = [parameter for name, parameter in model.named_parameters() if "lora_B" in name]
        if not halves or all(half.abs().max() == 0 for half in halves):
            sys.exit(f"{job['adapter']}: no lora_B with values was loaded: the adapter's names were not recognised")
    return model.eval()


with open(sys.argv[1], encoding="utf-8") as file:
    jobs = json.load(file)
for job in jobs:
    with torch.no_grad():
        logits = load(job)(torch.tensor([job["ids"]])).logits[0]
    logits.to(torch.float32).numpy().astype("<f4").tofile(job["out"])
