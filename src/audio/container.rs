//! Files that symphonia takes apart into packets, and what it has to be told beyond them.

use super::coded::{Fed, Stream, contained, explain, is_end};
use super::mp4::{self, plain_aac};
use super::part::Part;
use super::source::Format;
use super::wave::not_read;
use super::{flac, matroska};
use crate::error::{Error, Result};
use std::collections::VecDeque;
use std::fs::File;
use std::ops::Range;
use std::path::{Path, PathBuf};
use symphonia::core::codecs::CodecParameters;
use symphonia::core::codecs::audio::AudioCodecParameters;
use symphonia::core::codecs::audio::well_known as codecs;
use symphonia::core::errors::Error as Fault;
use symphonia::core::formats::probe::Hint;
use symphonia::core::formats::{FormatOptions, FormatReader, Track, TrackType};
use symphonia::core::io::MediaSourceStream;
use symphonia::core::meta::MetadataOptions;
use symphonia::default::get_probe;

/// A file that symphonia takes apart, or several behind each other.
pub(super) struct Container {
    path: PathBuf,
    pub(super) format: Format,
    reader: Box<dyn FormatReader>,
    track: u32,
    /// The stream that begins.
    beginning: Option<Box<Stream>>,
    /// What follows.
    rest: VecDeque<Part>,
    /// What an MP4 says of its sounds.
    sounds: Vec<mp4::Sound>,
    /// What is wrong with a file that ends too early, where the reader may call it something else.
    cut: Option<String>,
    /// A Matroska, to see how it ends.
    whole: Option<(File, Range<u64>)>,
    pub(super) remarks: Vec<String>,
}

impl Container {
    /// Opens the part `bounds` of a file.
    pub(super) fn open(path: &Path, mut file: File, bounds: Range<u64>, format: Format) -> Result<Container> {
        let failed = |source| Error::io(path, "read", source);
        let (mut sounds, mut cut, mut whole) = (Vec::new(), None, None);
        let held = bounds.end - bounds.start;
        let shorter = |promised| format!("cut short: the file holds {held} bytes, its header promises {promised}");
        let mut parts = match format {
            Format::Flac => {
                let streams = flac::streams(file, bounds).map_err(failed)?;
                streams.map_err(|why| Error::unusable(path, format!("{format}: {why}")))?
            }
            Format::Mp4 => {
                let promised;
                (sounds, promised) = mp4::sounds(&mut file, bounds.clone()).map_err(failed)?;
                cut = promised.map(shorter);
                let changes = sounds.iter().filter_map(|sound| sound.hidden.clone()).collect();
                VecDeque::from([Part::new(file, bounds).changed(changes)])
            }
            Format::Matroska => {
                let promised = matroska::promised(&mut file, &bounds).map_err(failed)?;
                if let Some(promised) = promised.filter(|promised| *promised > held) {
                    return Err(Error::unusable(path, shorter(promised)));
                }
                whole = Some((file.try_clone().map_err(failed)?, bounds.clone()));
                VecDeque::from([Part::new(file, bounds)])
            }
            _ => VecDeque::from([Part::new(file, bounds)]),
        };
        let Some(first) = parts.pop_front() else { return Err(Error::unusable(path, "holds no samples")) };
        let reader = Container::reader(path, format, first, &sounds, cut.as_deref())?;
        let (path, remarks) = (path.to_path_buf(), Vec::new());
        let mut container =
            Container { path, format, reader, track: 0, beginning: None, rest: parts, sounds, cut, whole, remarks };
        container.begin()?;
        Ok(container)
    }

    fn reader(
        path: &Path,
        format: Format,
        part: Part,
        sounds: &[mp4::Sound],
        cut: Option<&str>,
    ) -> Result<Box<dyn FormatReader>> {
        let stream = MediaSourceStream::new(Box::new(part), Default::default());
        let probe = || get_probe().probe(&Hint::new(), stream, FormatOptions::default(), MetadataOptions::default());
        contained(path, probe)?.map_err(|fault| {
            // What is not known may look damaged.
            if let (Some(cut), true) = (cut, is_damage(&fault)) {
                return Error::unusable(path, cut);
            }
            match sounds.iter().find_map(|sound| sound.unknown.as_ref()) {
                Some(name) if is_damage(&fault) => Error::unusable(path, not_read(&format!("{format} holding {name}"))),
                _ => explain(path, format!("damaged {format}"), fault),
            }
        })
    }

    /// Looks up the sound among the tracks.
    fn begin(&mut self) -> Result<()> {
        let tracks = self.reader.tracks();
        let is_sound = |track: &&Track| {
            matches!(track.codec_params, Some(CodecParameters::Audio(_)))
                || self.sounds.iter().any(|sound| sound.id == track.id)
        };
        let count = tracks.iter().filter(is_sound).count();
        if count > 1 && self.remarks.is_empty() {
            self.remarks.push(format!("of {count} sound tracks one is read"));
        }
        let told = self.sounds.iter().find(|sound| sound.stream.is_some());
        let track = match (self.reader.default_track(TrackType::Audio), told) {
            (Some(track), _) => Some(track),
            (None, Some(sound)) => tracks.iter().find(|track| track.id == sound.id),
            _ => None,
        };
        let Some(track) = track else {
            let mut unknown = self.sounds.iter().find_map(|sound| sound.unknown.clone());
            if let Some((file, bounds)) = &mut self.whole {
                let names = matroska::codecs(file, bounds).map_err(|source| Error::io(&self.path, "read", source))?;
                unknown = names.into_iter().next();
            }
            let why = match unknown {
                Some(name) => not_read(&format!("{} holding {name}", self.format)),
                None => format!("{} without a sound track of a kind that is known", self.format),
            };
            return Err(Error::unusable(&self.path, why));
        };
        let sound = self.sounds.iter().find(|sound| sound.id == track.id);
        let mut stream = match (&track.codec_params, sound.and_then(|sound| sound.stream.clone())) {
            (_, Some(stream)) => stream,
            (Some(CodecParameters::Audio(codec)), None) => Stream::new(codec.clone()),
            _ => Stream::new(AudioCodecParameters::new()),
        };
        if stream.promised.is_none() {
            stream.promised = promised_samples(track, &stream.codec, self.format);
        }
        stream.timeless = self.format == Format::Ogg && track.num_frames.is_some() && stream.promised.is_none();
        stream.heard = sound.and_then(|sound| sound.heard);
        self.track = track.id;
        if stream.codec.codec == codecs::CODEC_ID_AAC
            && let Some(plain) = stream.codec.extra_data.as_deref().map(plain_aac)
        {
            let (config, rate) = plain.map_err(|why| Error::unusable(&self.path, not_read(&why)))?;
            if let Some(rate) = rate {
                self.remarks.push(format!("HE-AAC: its AAC-LC part was read, which ends at {} Hz", rate / 2));
                // It has half the samples that the container counts.
                stream.promised = None;
                stream.codec.with_sample_rate(rate);
            }
            stream.codec.extra_data = Some(config);
        }
        self.beginning = Some(Box::new(stream));
        Ok(())
    }

    pub(super) fn step(&mut self) -> Result<Result<Fed, Fault>> {
        loop {
            if let Some(stream) = self.beginning.take() {
                return Ok(Ok(Fed::Stream(stream)));
            }
            match contained(&self.path, || self.reader.next_packet())? {
                Ok(Some(packet)) if packet.track_id == self.track => return Ok(Ok(Fed::Packet(packet))),
                Ok(Some(_)) => {}
                Err(Fault::ResetRequired) => self.begin()?,
                Err(Fault::IoError(fault)) if is_end(&fault) && self.ends_here()? => return Ok(Ok(Fed::End)),
                Err(fault) if is_damage(&fault) && self.cut.is_some() => {
                    return Err(Error::unusable(&self.path, self.cut.take().unwrap_or_default()));
                }
                Err(fault) => return Ok(Err(fault)),
                Ok(None) => {
                    let Some(next) = self.rest.pop_front() else { return Ok(Ok(Fed::End)) };
                    self.reader = Container::reader(&self.path, self.format, next, &self.sounds, None)?;
                    self.begin()?;
                }
            }
        }
    }

    /// Whether the end of the file may be that of a sound that does not say how long it is.
    fn ends_here(&mut self) -> Result<bool> {
        let Some((file, bounds)) = &mut self.whole else { return Ok(false) };
        matroska::is_complete(file, bounds).map_err(|source| Error::io(&self.path, "read", source))
    }
}

/// Whether it is the bytes of a file that are at fault.
fn is_damage(fault: &Fault) -> bool {
    !matches!(fault, Fault::IoError(source) if source.raw_os_error().is_some())
}

/// The samples a container states; in Ogg it is the time of the last page, if that is marked as the last.
fn promised_samples(track: &Track, codec: &AudioCodecParameters, format: Format) -> Option<u64> {
    let less = match format {
        Format::Matroska => return None,
        // Whoever reads the first packet knows when it begins.
        Format::Ogg => 0,
        // Whole packets are counted, of which the last may be a part.
        Format::Caf => codec.max_frames_per_packet.unwrap_or(1).saturating_sub(1),
        _ => u64::try_from(track.start_ts.get()).unwrap_or(0),
    };
    // A last page without a time has -1 for it.
    track.num_frames.filter(|end| *end < 1 << 63).map(|end| end.saturating_sub(less))
}
