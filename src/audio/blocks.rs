//! ADPCM, whose sound comes in blocks of one size that stand for equally many samples each.

use super::coded::{Fed, Stream};
use super::part::{Part, read_up_to};
use super::wave::{Adpcm, Coding, Wave, not_read};
use crate::error::{Error, Result};
use std::fs::File;
use std::path::{Path, PathBuf};
use symphonia::core::audio::Channels;
use symphonia::core::codecs::audio::AudioCodecParameters;
use symphonia::core::codecs::audio::well_known as codecs;
use symphonia::core::packet::PacketBuilder;
use symphonia::core::units::{Duration, Timestamp};

/// Blocks that are decoded at a time.
const BLOCKS: usize = 16;

/// The blocks of one file.
pub(super) struct Blocks {
    path: PathBuf,
    part: Part,
    block: usize,
    samples: u64,
    beginning: Option<Box<Stream>>,
}

impl Blocks {
    pub(super) fn new(path: &Path, file: File, wave: Wave) -> Result<Blocks> {
        let Wave { data, rate, channels, format, .. } = wave;
        let (kind, block, frames, total) = match wave.coding {
            Coding::Adpcm { kind, block, frames, total } if block > 0 && channels <= 2 => (kind, block, frames, total),
            _ => {
                return Err(Error::unusable(path, not_read(&format!("{format} holding ADPCM of {channels} channels"))));
            }
        };
        let codec = codec(kind, rate, channels, frames, frames * BLOCKS as u64);
        let block = usize::from(block);
        // Of a part of a block as many samples are sound as have their four bits.
        let samples = |bytes: u64| {
            let (whole, part) = (bytes / block as u64, bytes % block as u64);
            let lost = (block as u64 - part) * 2 / u64::from(channels);
            whole * frames + if part == 0 { 0 } else { frames.saturating_sub(lost) }
        };
        let total = total.filter(|total| *total > 0).unwrap_or(u64::MAX);
        let mut stream = Stream::new(codec);
        stream.most = samples(data.end - data.start).min(total);
        let (path, part) = (path.to_path_buf(), Part::new(file, data));
        Ok(Blocks { path, part, block, samples: frames, beginning: Some(Box::new(stream)) })
    }

    pub(super) fn step(&mut self) -> Result<Fed> {
        if let Some(stream) = self.beginning.take() {
            return Ok(Fed::Stream(stream));
        }
        let mut data = vec![0; BLOCKS * self.block];
        let held = read_up_to(&mut self.part, &mut data).map_err(|source| Error::io(&self.path, "read", source))?;
        if held == 0 {
            return Ok(Fed::End);
        }
        // The last block may be a part of one: it is filled up, and what that sounds like is cut off.
        data.truncate(held.next_multiple_of(self.block));
        let samples = (data.len() / self.block) as u64 * self.samples;
        let packet = PacketBuilder::new().track_id(0).pts(Timestamp::ZERO).dur(Duration::new(samples));
        Ok(Fed::Packet(packet.data(data).build()))
    }
}

/// What a decoder needs to know, of packets of `most` samples at most.
pub(super) fn codec(kind: Adpcm, rate: u32, channels: u16, frames: u64, most: u64) -> AudioCodecParameters {
    let mut codec = AudioCodecParameters::new();
    codec.for_codec(match kind {
        Adpcm::Microsoft => codecs::CODEC_ID_ADPCM_MS,
        Adpcm::Ima => codecs::CODEC_ID_ADPCM_IMA_WAV,
        Adpcm::QuickTime => codecs::CODEC_ID_ADPCM_IMA_QT,
    });
    codec.with_sample_rate(rate).with_channels(Channels::Discrete(channels));
    codec.with_bits_per_coded_sample(4).with_bits_per_sample(16);
    codec.with_frames_per_block(frames).with_max_frames_per_packet(most);
    codec
}
