//! What takes a decoder: packets come out of a container, of frames behind each other or of blocks of one size, and go
//! through a decoder of symphonia's, or of opus-pure's; or they are samples as they are.

use super::blocks::Blocks;
use super::container::Container;
use super::frames::{Frames, layer};
use super::linear::Linear;
use super::mp4::Heard;
use super::opus::{self, Opus};
use super::part::{Part, peek};
use super::source::{Format, Source};
use super::wave::{Coding, Wave, not_read};
use crate::error::{Error, Result};
use std::fs::File;
use std::io::ErrorKind;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use symphonia::core::codecs::audio::well_known as codecs;
use symphonia::core::codecs::audio::{AudioCodecId, AudioCodecParameters, AudioDecoder, AudioDecoderOptions};
use symphonia::core::errors::Error as Fault;
use symphonia::core::packet::Packet;
use symphonia::core::units::Duration;
use symphonia::default::get_codecs;

/// What the packets of a stream need to become sound.
#[derive(Clone)]
pub(super) struct Stream {
    pub(super) codec: AudioCodecParameters,
    /// How its samples are stored, where they are stored as they are, and how many channels they have.
    pub(super) linear: Option<(Linear, u16)>,
    /// Samples that its container promises, where it states them.
    pub(super) promised: Option<u64>,
    /// Whether pages without a time end it: nothing is cut by them.
    pub(super) timeless: bool,
    /// What of it is to be heard.
    pub(super) heard: Option<Heard>,
    /// Samples there are at most.
    pub(super) most: u64,
}

impl Stream {
    pub(super) fn new(codec: AudioCodecParameters) -> Stream {
        Stream { codec, linear: None, promised: None, timeless: false, heard: None, most: u64::MAX }
    }
}

/// What comes next out of a file.
pub(super) enum Fed {
    /// A stream begins: the first, or another.
    Stream(Box<Stream>),
    Packet(Packet),
    End,
}

/// Where packets come from. Decoders' own faults are told by whoever knows how far the sound had come.
enum Feed {
    Container(Box<Container>),
    Frames(Box<Frames>),
    Blocks(Blocks),
}

impl Feed {
    fn step(&mut self) -> Result<Result<Fed, Fault>> {
        match self {
            Feed::Container(container) => container.step(),
            Feed::Frames(frames) => frames.step().map(Ok),
            Feed::Blocks(blocks) => blocks.step().map(Ok),
        }
    }
}

/// A decoder of any kind.
enum Decoder {
    Symphonia(Box<dyn AudioDecoder>),
    Opus(Opus),
    /// Samples as they are, their rate and channels.
    Linear(Linear, u32, u16),
}

struct Coded {
    path: PathBuf,
    feed: Feed,
    decoder: Option<Decoder>,
    rate: u32,
    channels: usize,
    /// Of the stream that is being read: what it promises, whether it ends without a time and has not begun, what of it
    /// is to be heard, and that in samples: what is still to be skipped, what may still come.
    promised: Option<u64>,
    timeless: bool,
    first: bool,
    heard: Option<Heard>,
    skip: u64,
    most: u64,
    /// Samples decoded of this stream; samples handed out of all.
    frames: u64,
    total: u64,
    /// The last packet, interleaved.
    packet: Vec<f32>,
    /// Whether `packet` has not been handed out yet: the first is decoded on opening, which tells rate and channels.
    waiting: bool,
}

/// Opens the part `bounds` of a file, which begins as `format`.
pub(super) fn open(
    path: &Path,
    mut file: File,
    bounds: Range<u64>,
    format: Format,
) -> Result<(Format, Box<dyn Source>)> {
    let failed = |source| Error::io(path, "read", source);
    if format == Format::Ogg
        && let Some(why) = refused(path, &peek(&mut file, bounds.start, 512).map_err(failed)?)?
    {
        return Err(Error::unusable(path, not_read(&why)));
    }
    let feed = match format {
        Format::Mp2 | Format::Mp3 | Format::Aac => {
            Feed::Frames(Box::new(Frames::new(path.to_path_buf(), Part::new(file, bounds))))
        }
        _ => Feed::Container(Box::new(Container::open(path, file, bounds, format)?)),
    };
    Ok((format, Box::new(Coded::begin(path, feed)?)))
}

/// Why the Ogg that begins with `head` is not read, where symphonia does not know what it holds.
fn refused(path: &Path, head: &[u8]) -> Result<Option<String>> {
    let within = |name: &[u8]| head.windows(name.len()).position(|window| window == name);
    if within(b"Speex   ").is_some() {
        return Ok(Some("Speex".into()));
    }
    let Some(at) = within(b"OpusHead") else { return Ok(None) };
    Ok(contained(path, || Opus::new(&head[at..]))?.err())
}

/// Opens what a WAV or AIFF holds that is not linear.
pub(super) fn open_wave(path: &Path, file: File, wave: Wave) -> Result<Box<dyn Source>> {
    let held = wave.data.end - wave.data.start;
    if let Some(stated) = wave.stated.filter(|stated| *stated > held) {
        let why = format!("cut short: the file holds {held} bytes of sound, its header promises {stated}");
        return Err(Error::unusable(path, why));
    }
    let feed = match wave.coding {
        Coding::Adpcm { .. } => Feed::Blocks(Blocks::new(path, file, wave)?),
        _ => Feed::Frames(Box::new(Frames::new(path.to_path_buf(), Part::new(file, wave.data)))),
    };
    Ok(Box::new(Coded::begin(path, feed)?))
}

impl Coded {
    fn begin(path: &Path, feed: Feed) -> Result<Coded> {
        let mut coded = Coded {
            path: path.to_path_buf(),
            feed,
            decoder: None,
            rate: 0,
            channels: 0,
            promised: None,
            timeless: false,
            first: true,
            heard: None,
            skip: 0,
            most: u64::MAX,
            frames: 0,
            total: 0,
            packet: Vec::new(),
            waiting: false,
        };
        coded.waiting = coded.decode()?;
        if !coded.waiting {
            return Err(Error::unusable(path, "holds no samples"));
        }
        Ok(coded)
    }

    /// Decodes packets until one has samples; `false` when there are no more.
    fn decode(&mut self) -> Result<bool> {
        loop {
            let mut packet = match self.feed.step()? {
                Ok(Fed::Packet(packet)) => packet,
                Ok(Fed::Stream(stream)) => {
                    self.end()?;
                    self.take_up(*stream)?;
                    continue;
                }
                Ok(Fed::End) => {
                    self.end()?;
                    return Ok(false);
                }
                Err(fault) => return Err(self.explain(fault)),
            };
            if self.is_ogg() {
                self.set_right(&mut packet);
            }
            if self.frames == 0
                && let Some(Decoder::Symphonia(decoder)) = &self.decoder
                && decoder.codec_params().codec == codecs::CODEC_ID_MP3
                && let Some(layer) = layer(&packet.data).filter(|layer| *layer != codecs::CODEC_ID_MP3)
            {
                // MP4 has one name for all layers.
                let mut codec = decoder.codec_params().clone();
                codec.for_codec(layer);
                self.decoder = Some(Decoder::Symphonia(self.decoder_of(&codec)?));
            }
            let (rate, channels, decoded) = self.decoded(&packet)?;
            if decoded == 0 {
                continue;
            }
            if let Some(heard) = self.heard.take() {
                let (skip, most) = heard.samples(rate);
                (self.skip, self.most) = (self.skip.max(skip), most);
            }
            if self.total == 0 && self.rate == 0 {
                (self.rate, self.channels) = (rate, channels);
            }
            if (rate, channels) != (self.rate, self.channels) {
                let now = format!("{rate} Hz and {channels} channels");
                let before = format!("{} Hz and {} channels", self.rate, self.channels);
                let why = format!("changes to {now} from {before} at {:.2} s: cut it there", self.seconds());
                return Err(Error::unusable(&self.path, why));
            }
            self.frames += decoded;
            let skipped = self.skip.min(decoded);
            let kept = (decoded - skipped).min(self.most);
            (self.skip, self.most) = (self.skip - skipped, self.most - kept);
            self.packet.truncate((skipped + kept) as usize * channels);
            self.packet.drain(..skipped as usize * channels);
            self.total += kept;
            if kept > 0 {
                return Ok(true);
            }
        }
    }

    /// Counts the samples of an Ogg from its first packet on, and holds what is cut off at its end against that.
    fn set_right(&mut self, packet: &mut Packet) {
        if std::mem::take(&mut self.first) {
            // A recording cut out of a stream begins at a later time than 0. Of Vorbis the first block does not sound.
            let start = packet.pts.get().saturating_add_unsigned(packet.trim_start.get());
            let start = u64::try_from(start).unwrap_or(0);
            self.promised = self.promised.map(|end| end.saturating_sub(start));
        }
        if self.timeless || self.promised.is_some() {
            // A page without a time, which is written as -1, would trim away all that it holds.
            let end = self.frames + packet.dur.get() + packet.trim_end.get();
            let over = self.promised.map_or(0, |promised| end.saturating_sub(promised));
            packet.trim_end = packet.trim_end.min(Duration::new(over));
        }
    }

    /// Decodes one packet; its rate, its channels, and how many samples each of them has.
    fn decoded(&mut self, packet: &Packet) -> Result<(u32, usize, u64)> {
        let samples = &mut self.packet;
        let found = match &mut self.decoder {
            Some(Decoder::Symphonia(decoder)) => contained(&self.path, || {
                let decoded = decoder.decode(packet)?;
                decoded.copy_to_vec_interleaved(samples);
                Ok((decoded.spec().rate(), decoded.num_planes(), decoded.frames() as u64))
            })?,
            Some(Decoder::Opus(opus)) => {
                let decoded = contained(&self.path, || opus.decode(&packet.data, samples))?;
                let decoded = decoded.map_err(|why| {
                    Error::unusable(&self.path, format!("damaged at {:.2} s: Opus: {why}", self.total as f64 / 48e3))
                })?;
                // What the container marks as padding; what it marks in front is in the header, too.
                let kept = decoded.saturating_sub(packet.trim_end.get() as usize);
                samples.truncate(kept * opus.channels);
                Ok((opus::RATE, opus.channels, kept as u64))
            }
            Some(Decoder::Linear(linear, rate, channels)) => {
                let whole = packet.data.len() - packet.data.len() % (linear.bytes * usize::from(*channels)).max(1);
                samples.clear();
                linear.decode(&packet.data[..whole], samples);
                let channels = usize::from(*channels);
                Ok((*rate, channels, (samples.len() / channels.max(1)) as u64))
            }
            None => return Err(Error::unusable(&self.path, "damaged: sound before its description")),
        };
        found.map_err(|fault| self.explain(fault))
    }

    /// Makes the decoder of a stream.
    fn take_up(&mut self, stream: Stream) -> Result<()> {
        let Stream { codec, linear, promised, timeless, heard, most } = stream;
        (self.promised, self.heard, self.skip, self.most, self.frames) = (promised, heard, 0, most, 0);
        (self.timeless, self.first) = (timeless, true);
        self.decoder = Some(if let Some((linear, channels)) = linear {
            Decoder::Linear(linear, codec.sample_rate.unwrap_or(0), channels)
        } else if codec.codec == codecs::CODEC_ID_OPUS {
            let header = codec.extra_data.as_deref().unwrap_or_default();
            let opus = contained(&self.path, || Opus::new(header))?;
            let opus = opus.map_err(|why| Error::unusable(&self.path, not_read(&why)))?;
            self.skip = opus.skip;
            Decoder::Opus(opus)
        } else {
            Decoder::Symphonia(self.decoder_of(&codec)?)
        });
        Ok(())
    }

    fn decoder_of(&self, codec: &AudioCodecParameters) -> Result<Box<dyn AudioDecoder>> {
        let options = AudioDecoderOptions::default().verify(true);
        let decoder = contained(&self.path, || get_codecs().make_audio_decoder(codec, &options))?;
        decoder.map_err(|fault| {
            let why = match fault {
                Fault::Unsupported(why) if why.contains("audio codec") => not_read(&named(codec.codec)),
                Fault::Unsupported(why) => not_read(&format!("{} of a kind ({why})", named(codec.codec))),
                other => format!("{} that cannot be read: {other}", named(codec.codec)),
            };
            Error::unusable(&self.path, why)
        })
    }

    /// Checks at the end of a stream that all is there that was promised, and that it is right.
    fn end(&mut self) -> Result<()> {
        if self.promised.is_some_and(|promised| promised > self.frames) {
            return Err(self.incomplete());
        }
        let verified = match &mut self.decoder {
            Some(Decoder::Symphonia(decoder)) => decoder.finalize().verify_ok,
            _ => None,
        };
        match verified {
            Some(false) => Err(Error::unusable(&self.path, "damaged: the checksum of the samples is another")),
            _ => Ok(()),
        }
    }

    fn incomplete(&self) -> Error {
        let holds = format!("the file holds {} samples a channel", self.frames);
        let why = match self.promised {
            Some(promised) => format!("cut short or damaged: {holds}, its header promises {promised}"),
            None if self.is_ogg() => format!("cut short: {holds}, and no page says that it is the last"),
            None => format!("cut short: {holds} and a part of a packet"),
        };
        Error::unusable(&self.path, why)
    }

    fn explain(&self, fault: Fault) -> Error {
        match fault {
            Fault::IoError(source) if is_end(&source) => self.incomplete(),
            other => explain(&self.path, format!("damaged at {:.2} s", self.seconds()), other),
        }
    }

    fn is_ogg(&self) -> bool {
        matches!(&self.feed, Feed::Container(container) if container.format == Format::Ogg)
    }

    fn seconds(&self) -> f64 {
        self.total as f64 / f64::from(self.rate.max(1))
    }
}

impl Source for Coded {
    fn rate(&self) -> u32 {
        self.rate
    }

    fn channels(&self) -> usize {
        self.channels
    }

    fn read(&mut self, into: &mut Vec<f32>) -> Result<bool> {
        if !std::mem::take(&mut self.waiting) && !self.decode()? {
            return Ok(false);
        }
        into.extend_from_slice(&self.packet);
        Ok(true)
    }

    fn remarks(&self) -> Vec<String> {
        match &self.feed {
            Feed::Container(container) => container.remarks.clone(),
            Feed::Frames(frames) => frames.remarks.clone(),
            Feed::Blocks(_) => Vec::new(),
        }
    }
}

/// What a codec is called.
pub(super) fn named(codec: AudioCodecId) -> String {
    let names = [
        (codecs::CODEC_ID_AAC, "AAC"),
        (codecs::CODEC_ID_AC3, "AC-3"),
        (codecs::CODEC_ID_AC4, "AC-4"),
        (codecs::CODEC_ID_ALAC, "ALAC"),
        (codecs::CODEC_ID_DCA, "DTS"),
        (codecs::CODEC_ID_EAC3, "E-AC-3"),
        (codecs::CODEC_ID_FLAC, "FLAC"),
        (codecs::CODEC_ID_MP1, "MP1"),
        (codecs::CODEC_ID_MP2, "MP2"),
        (codecs::CODEC_ID_MP3, "MP3"),
        (codecs::CODEC_ID_SPEEX, "Speex"),
        (codecs::CODEC_ID_TRUEHD, "TrueHD"),
        (codecs::CODEC_ID_TTA, "TTA"),
        (codecs::CODEC_ID_VORBIS, "Vorbis"),
        (codecs::CODEC_ID_WAVPACK, "WavPack"),
        (codecs::CODEC_ID_WMA, "WMA"),
    ];
    let name = names.iter().find(|(id, _)| *id == codec).map(|(_, name)| (*name).to_owned());
    name.unwrap_or_else(|| format!("codec {codec}"))
}

/// Runs a step of a decoder; a panic in it, which a hostile file may provoke, becomes an error.
/// Nothing of the decoder is used after one, so a state left half changed is never seen.
pub(super) fn contained<T>(path: &Path, step: impl FnOnce() -> T) -> Result<T> {
    catch_unwind(AssertUnwindSafe(step)).map_err(|_| Error::unusable(path, "damaged: the decoder gave up"))
}

pub(super) fn explain(path: &Path, place: String, fault: Fault) -> Error {
    match fault {
        Fault::IoError(source) if is_end(&source) => Error::unusable(path, format!("{place}: cut short")),
        Fault::IoError(source) if source.raw_os_error().is_some() => Error::io(path, "read", source),
        other => Error::unusable(path, format!("{place}: {other}")),
    }
}

pub(super) fn is_end(error: &std::io::Error) -> bool {
    error.kind() == ErrorKind::UnexpectedEof
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_of_the_decoder_becomes_an_error() {
        let error = contained(Path::new("a.ogg"), || panic!("an assertion of the decoder")).unwrap_err();
        assert_eq!(error.to_string(), "a.ogg: damaged: the decoder gave up");
        assert_eq!(contained(Path::new("a.ogg"), || 7).unwrap(), 7);
    }
}
