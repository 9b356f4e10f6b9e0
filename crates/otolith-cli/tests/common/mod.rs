//! What the tests of the binary share: running it, and sounds to feed it.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used)] // each test file uses its own part

use serde_json::Value;
use std::f32::consts::TAU;
use std::path::Path;
use std::process::{Command, Output, Stdio};

pub fn otolith() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_otolith"));
    command.stdin(Stdio::null());
    command
}

/// Runs the binary and gives what it printed.
pub fn run(args: &[&str]) -> Output {
    otolith().args(args).output().unwrap()
}

/// Runs the binary, expects success, and reads the one document on stdout.
pub fn json(args: &[&str]) -> Value {
    let output = otolith().args(args).arg("--json").output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{args:?}: {error}"))
}

/// Runs the binary, expects this exit code and one line that begins with `error: `, and gives that line.
pub fn error(args: &[&str], code: i32) -> String {
    let output = run(args);
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(code), "{args:?}: {stderr}");
    stderr.lines().rfind(|line| line.starts_with("error: ")).unwrap_or_else(|| panic!("{args:?}: {stderr}")).to_owned()
}

/// A sound of its own for every seed: two gliding partials and noise.
pub fn samples(seed: u32, count: usize) -> Vec<f32> {
    let mut state = seed.wrapping_mul(2_654_435_761).wrapping_add(1);
    let mut noise = move || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / (1 << 23) as f32 - 1.0
    };
    let (low, high) = (150.0 + 53.0 * (seed % 17) as f32, 900.0 + 211.0 * (seed % 23) as f32);
    (0..count)
        .map(|n| {
            let t = n as f32 / 16_000.0;
            let glide = 1.0 + 0.3 * (t * (1.0 + (seed % 5) as f32)).sin();
            0.3 * (TAU * low * glide * t).sin() + 0.2 * (TAU * high * t / glide).sin() + 0.1 * noise()
        })
        .collect()
}

pub fn write_wav(path: &Path, rate: u32, samples: &[f32]) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    let spec =
        hound::WavSpec { channels: 1, sample_rate: rate, bits_per_sample: 16, sample_format: hound::SampleFormat::Int };
    let mut writer = hound::WavWriter::create(path, spec).unwrap();
    samples.iter().for_each(|sample| writer.write_sample((sample.clamp(-1.0, 1.0) * 32_767.0) as i16).unwrap());
    writer.finalize().unwrap();
}

pub fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}
