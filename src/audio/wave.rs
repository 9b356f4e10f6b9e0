//! What the heads of WAV, AIFF and AU say of their sound.

use super::linear::{Linear, Number};
use super::source::Format;
use std::ops::Range;

/// Sound in a file: how it is coded, and where.
#[derive(Debug, PartialEq)]
pub(super) struct Wave {
    pub(super) format: Format,
    /// Frames a second.
    pub(super) rate: u32,
    pub(super) channels: u16,
    pub(super) coding: Coding,
    /// The bytes of the sound that are there.
    pub(super) data: Range<u64>,
    /// The bytes of the sound that the head promises, where it does.
    pub(super) stated: Option<u64>,
}

/// How sound is coded.
#[derive(Debug, PartialEq)]
#[cfg_attr(not(feature = "formats"), allow(dead_code))] // only decoders look into blocks
pub(super) enum Coding {
    Linear(Linear),
    /// Blocks of so many bytes, each of so many frames; the head may state how many frames there are in all.
    Adpcm {
        kind: Adpcm,
        block: u16,
        frames: u64,
        total: Option<u64>,
    },
    /// A file of MPEG audio or ADTS in itself.
    Frames,
}

/// The kinds of ADPCM that are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Adpcm {
    Microsoft,
    Ima,
    QuickTime,
}

/// Whether a size is one that writers put where they do not know it: 2^31 and 2^32 less a few thousand.
pub(super) fn stands_for_unknown(size: u64) -> bool {
    const NEAR: u64 = 4_096;
    [1_u64 << 31, 1 << 32].iter().any(|full| (full - NEAR..=*full).contains(&size)) || size >= 1 << 62
}

/// The last bytes of the GUIDs that a tag of two bytes begins, as WAVEFORMATEXTENSIBLE has them, and for Ambisonics.
const GUIDS: [&[u8; 14]; 2] =
    [b"\0\0\0\0\x10\0\x80\0\0\xaa\0\x38\x9b\x71", b"\0\0\x21\x07\xd3\x11\x86\x44\xc8\xc1\xca\0\0\0"];

/// WAV: the chunk `fmt `, what lies in `data`, and the frames that `fact` states.
pub(super) fn described(
    fmt: &[u8],
    big_endian: bool,
    data: Range<u64>,
    stated: Option<u64>,
    fact: Option<u64>,
) -> Result<Wave, String> {
    if fmt.len() < 14 {
        return Err("header cut short: its chunk `fmt ` has less than 14 bytes".into());
    }
    let number = |at: usize, count: usize| {
        let bytes = fmt.get(at..at + count).unwrap_or_default();
        if big_endian { big(bytes) } else { little(bytes) }
    };
    let (mut tag, channels, rate) = (number(0, 2) as u16, number(2, 2) as u16, number(4, 4) as u32);
    let (align, bits) = (number(12, 2), number(14, 2));
    if tag == 0xfffe && fmt.len() >= 40 {
        if !GUIDS.iter().any(|guid| fmt[26..40] == guid[..]) {
            return Err(format!("WAV of a kind that is not read (GUID {:02x?})", &fmt[24..40]));
        }
        tag = number(24, 2) as u16;
    }
    let coding = match tag {
        0x0001 | 0xfffe => Coding::Linear(whole(bits, align, channels, big_endian)?),
        0x0003 if bits == 32 || bits == 64 => {
            Coding::Linear(Linear { number: Number::Float, bytes: bits as usize / 8, big_endian })
        }
        0x0003 => return Err(format!("floats of {bits} bits: 32 and 64 bits per sample are read")),
        0x0006 => Coding::Linear(law(Number::ALaw)),
        0x0007 => Coding::Linear(law(Number::MuLaw)),
        // Four bits a sample behind a head for each channel, which holds the first samples.
        0x0002 | 0x0011 => {
            let (kind, head, first) = if tag == 2 { (Adpcm::Microsoft, 7, 2) } else { (Adpcm::Ima, 4, 1) };
            let per_channel = align / u64::from(channels.max(1));
            if per_channel < head || bits != 4 {
                return Err(format!("ADPCM of {bits} bits in blocks of {align} bytes, which is not read"));
            }
            Coding::Adpcm { kind, block: align as u16, frames: 2 * (per_channel - head) + first, total: fact }
        }
        0x0050 | 0x0055 | 0x00ff | 0x1600 => Coding::Frames,
        other => return Err(not_read(&named(other))),
    };
    finished(Format::Wav, rate, channels, coding, data, stated)
}

/// Samples of one byte each by a law of G.711.
fn law(number: Number) -> Linear {
    Linear { number, bytes: 1, big_endian: false }
}

/// Whole numbers of so many bits: they fill as many bytes as they need, or as many as the frames have room for.
fn whole(bits: u64, align: u64, channels: u16, big_endian: bool) -> Result<Linear, String> {
    let needed = bits.div_ceil(8);
    let channels = u64::from(channels.max(1));
    let room = align / channels;
    let roomy = align.is_multiple_of(channels) && room > needed && room <= 8;
    if !(1..=8).contains(&needed) {
        return Err(format!("{bits} bits per sample: 1 to 64 are read"));
    }
    let bytes = if roomy { room } else { needed } as usize;
    Ok(Linear { number: if bytes == 1 { Number::Unsigned } else { Number::Signed }, bytes, big_endian })
}

/// AIFF: the chunk `COMM`, of AIFC with the kind of compression, and what lies in `SSND`.
pub(super) fn common(comm: &[u8], compressed: bool, data: Range<u64>, stated: Option<u64>) -> Result<Wave, String> {
    if comm.len() < if compressed { 22 } else { 18 } {
        return Err("header cut short: its chunk `COMM` is too small".into());
    }
    let (channels, frames, bits) = (big(&comm[..2]) as u16, big(&comm[2..6]), big(&comm[6..8]));
    let rate = extended(&comm[8..18]);
    let kind = if compressed { &comm[18..22] } else { b"NONE" };
    let coding = compression(kind, bits, channels)?;
    let mut wave = finished(Format::Aiff, rate, channels, coding, data, stated)?;
    // Frames are stated once more: they count where the chunk did not say how long it is.
    if let (None, Coding::Linear(linear)) = (stated, &wave.coding) {
        let bytes = frames * u64::from(channels) * linear.bytes as u64;
        if (1..=wave.data.end - wave.data.start).contains(&bytes) {
            wave.data.end = wave.data.start + bytes;
        }
    }
    Ok(wave)
}

/// How AIFC and QuickTime code sound of this kind, in samples of so many bits.
pub(super) fn compression(kind: &[u8], bits: u64, channels: u16) -> Result<Coding, String> {
    let needed = bits.div_ceil(8) as usize;
    let linear = |number, bytes, big_endian| Coding::Linear(Linear { number, bytes, big_endian });
    Ok(match &kind.to_ascii_lowercase()[..] {
        b"none" | b"twos" if (1..=8).contains(&needed) => linear(Number::Signed, needed, true),
        b"sowt" if (1..=8).contains(&needed) => linear(Number::Signed, needed, false),
        b"none" | b"twos" | b"sowt" => return Err(format!("{bits} bits per sample: 1 to 64 are read")),
        b"raw " => linear(Number::Unsigned, needed.clamp(1, 8), true),
        b"in24" => linear(Number::Signed, 3, true),
        b"in32" => linear(Number::Signed, 4, true),
        b"42ni" => linear(Number::Signed, 3, false),
        b"23ni" => linear(Number::Signed, 4, false),
        b"fl32" => linear(Number::Float, 4, true),
        b"fl64" => linear(Number::Float, 8, true),
        b"alaw" => Coding::Linear(law(Number::ALaw)),
        b"ulaw" => Coding::Linear(law(Number::MuLaw)),
        b"ima4" => {
            Coding::Adpcm { kind: Adpcm::QuickTime, block: channels.saturating_mul(34), frames: 64, total: None }
        }
        _ => return Err(not_read(&format!("compression `{}`", String::from_utf8_lossy(kind).escape_default()))),
    })
}

/// AU: its head, which begins at byte `start` of a file of `length` bytes; the sound ends at `end` at the latest.
pub(super) fn au(head: &[u8], start: u64, length: u64, end: u64) -> Result<Wave, String> {
    if head.len() < 24 {
        return Err("header cut short".into());
    }
    let number = |at: usize| big(&head[at..at + 4]);
    let (from, size, rate, channels) = (start + number(4), number(8), number(16) as u32, number(20));
    let linear = |number, bytes| Coding::Linear(Linear { number, bytes, big_endian: true });
    let coding = match number(12) {
        1 => Coding::Linear(law(Number::MuLaw)),
        bytes @ 2..=5 => linear(Number::Signed, bytes as usize - 1),
        6 => linear(Number::Float, 4),
        7 => linear(Number::Float, 8),
        27 => Coding::Linear(law(Number::ALaw)),
        other => return Err(not_read(&format!("encoding {other}"))),
    };
    let Ok(channels) = u16::try_from(channels) else {
        return Err(format!("{channels} channels"));
    };
    let held = length.checked_sub(from).ok_or("header cut short: no sound data follows it")?;
    let stated = Some(size).filter(|size| *size <= held || !stands_for_unknown(*size));
    let data = from..stated.map_or(end.max(from), |size| from + size.min(held));
    finished(Format::Au, rate, channels, coding, data, stated)
}

/// Checks what every head states.
fn finished(
    format: Format,
    rate: u32,
    channels: u16,
    coding: Coding,
    data: Range<u64>,
    stated: Option<u64>,
) -> Result<Wave, String> {
    match channels {
        0 => Err("zero channels".into()),
        _ => Ok(Wave { format, rate, channels, coding, data, stated }),
    }
}

/// How a file can be read after all.
pub(super) fn not_read(what: &str) -> String {
    format!("{what}, which is not read: convert it, say with `ffmpeg -i FILE out.wav`")
}

/// What a WAV of this tag holds.
fn named(tag: u16) -> String {
    let name = match tag {
        0x0010 | 0x0017 | 0x0020 => "ADPCM of an old telephone card",
        0x0014 | 0x0040 | 0x0045 | 0x0064 | 0x0140 => "G.721, G.723 or G.726 ADPCM",
        0x0022 => "DSP Group TrueSpeech",
        0x0030 | 0x0092 | 0x2000 => "AC-3",
        0x0031 | 0x1500 => "GSM 6.10",
        0x0042 | 0x0111 => "G.723.1",
        0x0065 | 0x028f => "G.722",
        0x0083 => "G.729",
        0x0160..=0x0163 => "Windows Media Audio",
        0x0270 => "ATRAC3",
        0x2001 | 0x0008 => "DTS",
        0x566f | 0x674f..=0x6771 => "Vorbis",
        0x704f => "Opus",
        0xa109 => "Speex",
        0xf1ac => "FLAC",
        _ => return format!("a codec of tag 0x{tag:04x}"),
    };
    name.to_owned()
}

/// A number whose lowest byte comes first.
pub(super) fn little(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |sum, byte| sum << 8 | u64::from(*byte))
}

/// A number whose highest byte comes first.
pub(super) fn big(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte))
}

/// A float of 80 bits, as AIFF states rates, rounded; what no rate can be is 0 or the largest.
fn extended(bytes: &[u8]) -> u32 {
    let (exponent, mantissa) = (big(&bytes[..2]) as i32, big(&bytes[2..10]));
    if exponent >= 0x8000 { 0 } else { (mantissa as f64 * 2_f64.powi(exponent - 16_383 - 63)).round() as u32 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_of_eighty_bits_are_read() {
        assert_eq!(extended(b"\x40\x0e\xac\x44\0\0\0\0\0\0"), 44_100);
        assert_eq!(extended(b"\x40\x0b\xfa\0\0\0\0\0\0\0"), 8_000);
        assert_eq!(extended(b"\x40\x0c\xac\x44\0\0\0\0\0\0"), 11_025);
        assert_eq!((extended(&[0; 10]), extended(&[0xff; 10]), extended(b"\x7f\xff12345678")), (0, 0, u32::MAX));
    }

    #[test]
    fn sizes_of_pipes_stand_for_unknown_and_others_do_not() {
        for size in [0x7fff_f000, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff, 0xffff_ffd3, u64::MAX] {
            assert!(stands_for_unknown(size), "{size:x}");
        }
        for size in [0, 1, 16_000, 0x7000_0000, 0x9000_0000, 1 << 40] {
            assert!(!stands_for_unknown(size), "{size:x}");
        }
    }
}
