"""Makes the tiny Whisper checkpoints beside this file, and what the reference gives for them.

    python make.py

Needs torch, transformers, safetensors, numpy. Everything is seeded. The weights are random: these checkpoints recognise
nothing, they only pin down the arithmetic. Only the encoder is kept; weights are f16, positions f32.

    sound.wav        1.3 s at 16 kHz: a chirp, a hum, noise, silence at the end
    tiny/            80 mel bands, the windows of 30 s that published models have
    bands128/        128 mel bands (as in large-v3), windows of 4 s, tensors named as a model without a head names them
    */log_mel.npy    [bands, frames], the frames of the sound and a few of the silence behind it
    */last.npy       [rows, width], the last hidden state, as many rows as the sound has
"""
import json
import pathlib
import wave

import numpy as np
import torch
from safetensors.torch import save_file
from transformers import WhisperConfig, WhisperFeatureExtractor, WhisperModel

HERE = pathlib.Path(__file__).parent
RATE = 16_000
torch.set_num_threads(1)


def sound():
    n = int(1.3 * RATE)
    t = np.arange(n) / RATE
    x = 0.4 * np.sin(2 * np.pi * (200 + 1800 * t) * t) + 0.1 * np.sin(2 * np.pi * 120 * t)
    x = (x + 0.05 * np.random.default_rng(5).standard_normal(n)) * (t < 1.2)
    return np.round(x * 32_767).astype(np.int16)


def write(name, samples, bands, seconds, prefix):
    folder = HERE / name
    folder.mkdir(exist_ok=True)
    config = WhisperConfig(
        num_mel_bins=bands, max_source_positions=seconds * 50, d_model=16, encoder_layers=2, encoder_attention_heads=2,
        encoder_ffn_dim=64, decoder_layers=1, decoder_attention_heads=1, decoder_ffn_dim=16, vocab_size=8,
        max_target_positions=8, pad_token_id=0, bos_token_id=1, eos_token_id=2, decoder_start_token_id=1,
        begin_suppress_tokens=None)
    torch.manual_seed(len(name))
    encoder = WhisperModel(config).eval().encoder
    tensors = {}
    for key, value in encoder.state_dict().items():
        if key != "embed_positions.weight":
            # Large enough that every part shows in the result.
            centre = 1.0 if "norm.weight" in key else 0.0
            spread = 0.2 if value.dim() == 1 else 1.5 / value[0].numel() ** 0.5
            value = (centre + spread * torch.randn_like(value)).half()
        tensors[prefix + key] = value.contiguous()
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    encoder.load_state_dict({key.removeprefix(prefix): value.float() for key, value in tensors.items()})
    extractor = WhisperFeatureExtractor(feature_size=bands, chunk_length=seconds)
    preprocessor = {key: value for key, value in extractor.to_dict().items() if key != "mel_filters"}
    for file, fields in [("config.json", config.to_dict()), ("preprocessor_config.json", preprocessor)]:
        (folder / file).write_text(json.dumps(fields, indent=1, sort_keys=True) + "\n")

    samples = samples.astype(np.float32) / 32_768
    log_mel = extractor(samples, sampling_rate=RATE, return_tensors="pt").input_features
    with torch.no_grad():
        last = encoder(log_mel).last_hidden_state[0]
    np.save(folder / "log_mel.npy", log_mel[0, :, :len(samples) // 160 + 6].numpy().copy())
    np.save(folder / "last.npy", last[:len(samples) // 320].numpy().copy())


if __name__ == "__main__":
    samples = sound()
    with wave.open(str(HERE / "sound.wav"), "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(RATE)
        out.writeframes(samples.tobytes())
    write("tiny", samples, 80, 30, "model.encoder.")
    write("bands128", samples, 128, 4, "encoder.")
