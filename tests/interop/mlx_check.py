"""Loads MLX adapters on their bases with mlx-lm and writes every position's logits as float32.

Usage: python3 mlx_check.py JOBS_FILE with a JSON list of {"base", "adapter", "ids", "out"}
"""

import json
import sys
from pathlib import Path

import mlx.core as mx
import numpy
from mlx_lm.tuner.utils import load_adapters
from mlx_lm.utils import load_model

for job in json.loads(Path(sys.argv[1]).read_text()):
    model, _ = load_model(Path(job["base"]))
    load_adapters(model, job["adapter"])
    model.set_dtype(mx.float32)
    model.eval()
    logits = model(mx.array([job["ids"]]))[0]
    numpy.array(logits).astype("<f4").tofile(job["out"])
