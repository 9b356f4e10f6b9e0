//! Random numbers and orders. Seeded streams are ChaCha8 (`rand_chacha` promises that they never change), so equal
//! seeds give equal results in every release.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::RngCore;

/// Returns a number from 0 up to 1, without 1, in steps of 2^-53.
pub fn unit(draws: &mut ChaCha8Rng) -> f64 {
    (draws.next_u64() >> 11) as f64 / (1_u64 << 53) as f64
}

/// Returns a number from 0 up to 1, without 1, in steps of 2^-24.
pub fn unit_f32(draws: &mut ChaCha8Rng) -> f32 {
    (draws.next_u32() >> 8) as f32 / (1 << 24) as f32
}

/// Returns a number that looks random and depends on `number` alone: output `number`, counted from 0, of SplitMix64
/// (Steele, Lea, Flood, "Fast splittable pseudorandom number generators", 2014) seeded with 0.
pub fn mixed(number: u64) -> u64 {
    let mut word = number.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}

/// Puts things in a random order (Fisher and Yates).
pub fn shuffle<T>(things: &mut [T], draws: &mut ChaCha8Rng) {
    for last in (1..things.len()).rev() {
        // The bias of the remainder is below 2^-30 for anything that fits memory.
        things.swap(last, (draws.next_u64() % (last as u64 + 1)) as usize);
    }
}

/// Returns a number that no other call and no other process should get: a hash of the time, the process id and a
/// counter, under the standard library's random keys.
pub(crate) fn unique() -> u64 {
    use std::hash::{BuildHasher, RandomState};
    use std::sync::atomic::{AtomicU64, Ordering};
    static DRAWN: AtomicU64 = AtomicU64::new(0);
    let now = std::time::SystemTime::now();
    RandomState::new().hash_one((now, std::process::id(), DRAWN.fetch_add(1, Ordering::Relaxed)))
}

/// Returns sixteen bytes of [`unique`] numbers, to identify something.
pub(crate) fn unique_bytes() -> [u8; 16] {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&unique().to_le_bytes());
    bytes[8..].copy_from_slice(&unique().to_le_bytes());
    bytes
}
