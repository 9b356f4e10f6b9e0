"""Loads a checkpoint that otolith wrote in transformers and compares logits; exit 77 where torch or transformers is missing.

    python3 tests/load_with_transformers.py DIR     # DIR: the checkpoint, samples.f32 (prepared), logits.json
"""

import json
import pathlib
import sys

try:
    import torch
    from transformers import Wav2Vec2ForSequenceClassification
except ImportError as error:
    print(error)
    sys.exit(77)

folder = pathlib.Path(sys.argv[1])
model, report = Wav2Vec2ForSequenceClassification.from_pretrained(folder, output_loading_info=True)
missing, extra = report["missing_keys"], report["unexpected_keys"]
if missing or extra:
    sys.exit(f"tensors missing: {missing}, without a place: {extra}")
samples = torch.frombuffer(bytearray((folder / "samples.f32").read_bytes()), dtype=torch.float32)
with torch.no_grad():
    found = model.float().eval()(samples[None]).logits[0].tolist()
expected = json.loads((folder / "logits.json").read_text())
off = max(abs(a - b) for a, b in zip(found, expected, strict=True))
print(f"figure transformers_logit_difference = {off:.1e}")
if off > 1e-4:
    sys.exit(f"logits {found}, expected {expected}")
