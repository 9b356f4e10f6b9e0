//! An hour of sound becomes rows in memory that holds the rows but not the samples.
#![cfg(feature = "audio")]
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]

use otolith::embed::{LogMel, embed_file};

/// Most memory this process has held so far, in bytes.
#[cfg(target_os = "linux")]
fn peak_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1_024
}

#[cfg(target_os = "linux")]
#[test]
fn an_hour_goes_through_in_memory_for_its_rows() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("hour.wav");
    let (rate, seconds) = (16_000, 3_600);
    let sample_format = hound::SampleFormat::Int;
    let spec = hound::WavSpec { channels: 1, sample_rate: rate, bits_per_sample: 16, sample_format };
    let mut writer = hound::WavWriter::create(&path, spec).unwrap();
    let mut state = 1_u32;
    for _ in 0..rate * seconds {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        writer.write_sample((state >> 16) as i16).unwrap();
    }
    writer.finalize().unwrap();
    let before = peak_bytes();
    let embedded = embed_file(&LogMel::new(), &path).unwrap();
    let grown = peak_bytes() - before;
    assert_eq!((embedded.matrix.rows(), embedded.seconds), (179_999, 3_600.0));
    let (rows, samples) = (179_999 * 64 * 4, u64::from(rate * seconds) * 4);
    println!("figure hour_of_sound_memory = {} MiB", grown >> 20);
    println!("figure hour_of_sound_rows = {} MiB", rows >> 20);
    // The first 4 minutes are kept until the sound turns out to be longer: 16 MiB, and as much while that grows.
    assert!(grown < rows + (50 << 20) && grown < samples / 2, "{grown} bytes for rows of {rows}");
}
