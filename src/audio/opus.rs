//! Opus, whose packets lie in Ogg, MP4 and WebM: what its header says, and its decoder.

use super::wave::{big, little};
use opus_pure::{MAX_PACKET_SAMPLES, OpusDecoder, OpusMSDecoder};

/// Opus is decoded at this rate, whatever it was made from.
pub(super) const RATE: u32 = 48_000;

/// Decodes the packets of a stream.
pub(super) struct Opus {
    streams: Streams,
    pub(super) channels: usize,
    /// Samples in front that are the encoder's own.
    pub(super) skip: u64,
    /// What samples are to be multiplied with.
    gain: f32,
    /// Whether an empty packet came.
    ended: bool,
    decoded: Vec<f32>,
}

enum Streams {
    One(Box<OpusDecoder>),
    Several(Box<OpusMSDecoder>),
}

impl Opus {
    /// A decoder for the stream with this identification header: as Ogg has it, or, with version 0, as MP4 has it.
    pub(super) fn new(header: &[u8]) -> Result<Opus, String> {
        let [b'O', b'p', b'u', b's', b'H', b'e', b'a', b'd', version, channels, rest @ ..] = header else {
            return Err("Opus without its header".into());
        };
        let [a, b, _, _, _, _, c, d, family, table @ ..] = rest else { return Err("Opus with half a header".into()) };
        let number = |bytes: [u8; 2]| if *version == 0 { big(&bytes) } else { little(&bytes) } as u16;
        let (skip, gain) = (number([*a, *b]), number([*c, *d]) as i16);
        let count = usize::from(*channels);
        let wrong = |error: opus_pure::Error| format!("Opus of a kind ({error})");
        let streams = match (family, count) {
            (0, 1 | 2) => Streams::One(Box::new(OpusDecoder::new(RATE as i32, count).map_err(wrong)?)),
            (1, 1..=8) => {
                let several = OpusMSDecoder::new(RATE as i32, count, 1).map_err(wrong)?;
                let layout = several.layout();
                let expected = [layout.nb_streams as u8, layout.nb_coupled_streams as u8];
                if table.get(..2) != Some(&expected[..]) || table.get(2..2 + count) != Some(&layout.mapping[..]) {
                    return Err(format!("Opus of {count} channels in an unusual order"));
                }
                Streams::Several(Box::new(several))
            }
            _ => return Err(format!("Opus of {count} channels in mapping family {family}")),
        };
        let gain = 10_f32.powf(f32::from(gain) / 256.0 / 20.0);
        Ok(Opus { streams, channels: count, skip: skip.into(), gain, ended: false, decoded: Vec::new() })
    }

    /// Replaces `into` by the interleaved samples of a packet; how many each channel has.
    pub(super) fn decode(&mut self, packet: &[u8], into: &mut Vec<f32>) -> Result<usize, String> {
        self.decoded.resize(MAX_PACKET_SAMPLES * self.channels, 0.0);
        into.clear();
        // Some writers end with an empty packet. Before others it stands for a lost one, which a file has no reason to
        // hold.
        if packet.is_empty() {
            self.ended = true;
            return Ok(0);
        }
        if self.ended {
            return Err("an empty packet".into());
        }
        let frames = match &mut self.streams {
            Streams::One(one) => one.decode(packet, MAX_PACKET_SAMPLES, &mut self.decoded),
            Streams::Several(several) => several.decode(packet, MAX_PACKET_SAMPLES, &mut self.decoded),
        };
        let frames = frames.map_err(|error| error.to_string())?;
        into.extend(self.decoded[..frames * self.channels].iter().map(|sample| sample * self.gain));
        Ok(frames)
    }
}
