//! FLAC, Ogg, MP3, AAC, MP4 and rare kinds of WAV through symphonia.

use super::source::{Format, Source};
use crate::error::{Error, Result};
use std::fs::File;
use std::io::ErrorKind;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use symphonia::core::codecs::CodecParameters;
use symphonia::core::codecs::audio::{AudioDecoder, AudioDecoderOptions};
use symphonia::core::errors::Error as Fault;
use symphonia::core::formats::probe::Hint;
use symphonia::core::formats::{FormatOptions, FormatReader, Track, TrackType};
use symphonia::core::io::MediaSourceStream;
use symphonia::core::meta::MetadataOptions;
use symphonia::default::{get_codecs, get_probe};

struct Coded {
    path: PathBuf,
    container: Box<dyn FormatReader>,
    decoder: Box<dyn AudioDecoder>,
    track: u32,
    rate: u32,
    channels: usize,
    /// Frames the container promises, where it states them.
    promised: Option<u64>,
    /// Whether the end of the file is the end of the sound, in the middle of a packet or not: WAV of unknown length.
    ends_with_file: bool,
    /// Frames decoded so far.
    frames: u64,
    /// The last packet, interleaved.
    packet: Vec<f32>,
    /// Whether `packet` has not been handed out yet: the first is decoded on opening, which tells rate and channels.
    waiting: bool,
}

/// Opens a file that begins like `likely`; what it is in fact (a tag may hide it) comes back.
pub(super) fn open(path: &Path, file: File, likely: Format) -> Result<(Format, Box<dyn Source>)> {
    let stream = MediaSourceStream::new(Box::new(file), Default::default());
    let probe = || get_probe().probe(&Hint::new(), stream, FormatOptions::default(), MetadataOptions::default());
    let container = contained(path, probe)?.map_err(|fault| explain(path, format!("damaged {likely}"), fault))?;
    let format = match container.format_info().short_name {
        "wave" => Format::Wav,
        "flac" => Format::Flac,
        "ogg" => Format::Ogg,
        "mp3" => Format::Mp3,
        "aac" => Format::Aac,
        "isomp4" => Format::Mp4,
        other => return Err(Error::unusable(path, format!("{other} sound, which is not read"))),
    };
    let track = container.default_track(TrackType::Audio);
    let Some((track, Some(CodecParameters::Audio(codec)))) = track.map(|track| (track, &track.codec_params)) else {
        return Err(Error::unusable(path, format!("{format} without a sound track")));
    };
    let options = AudioDecoderOptions::default().verify(true);
    let decoder = contained(path, || get_codecs().make_audio_decoder(codec, &options))?
        .map_err(|fault| explain(path, format!("{format} of a kind that cannot be read"), fault))?;
    let (track, promised) = (track.id, promised_frames(track, format));
    let mut coded = Coded {
        path: path.to_path_buf(),
        container,
        decoder,
        track,
        rate: 0,
        channels: 0,
        promised,
        ends_with_file: format == Format::Wav && promised.is_none(),
        frames: 0,
        packet: Vec::new(),
        waiting: false,
    };
    coded.waiting = coded.decode()?;
    if !coded.waiting {
        return Err(Error::unusable(&coded.path, "holds no samples"));
    }
    Ok((format, Box::new(coded)))
}

/// The length a container states. ADTS, and MP3 without a tag, give only an estimate; in Ogg it is the time of the last
/// page, if that is marked as the last.
fn promised_frames(track: &Track, format: Format) -> Option<u64> {
    let stated = match format {
        Format::Wav | Format::Flac | Format::Ogg | Format::Mp4 => true,
        Format::Mp3 => track.delay.is_some(),
        Format::Aac => false,
    };
    // A recording cut out of a stream begins at a later time than 0.
    let start = u64::try_from(track.start_ts.get()).unwrap_or(0);
    track.num_frames.filter(|_| stated).map(|end| end.saturating_sub(start))
}

impl Coded {
    /// Decodes packets until one has samples; `false` when there are no more.
    fn decode(&mut self) -> Result<bool> {
        loop {
            let packet = match contained(&self.path, || self.container.next_packet())? {
                Ok(Some(packet)) => packet,
                Ok(None) => return self.end(),
                Err(Fault::IoError(source)) if is_end(&source) && self.ends_with_file => return self.end(),
                Err(fault) => return Err(self.explain(fault)),
            };
            if packet.track_id != self.track {
                continue;
            }
            let (decoder, samples) = (&mut self.decoder, &mut self.packet);
            let decode = || {
                let decoded = decoder.decode(&packet)?;
                decoded.copy_to_vec_interleaved(samples);
                Ok((decoded.spec().rate(), decoded.num_planes(), decoded.frames()))
            };
            let (rate, channels, frames) = contained(&self.path, decode)?.map_err(|fault| self.explain(fault))?;
            if frames == 0 {
                continue;
            }
            if self.frames == 0 {
                (self.rate, self.channels) = (rate, channels);
            }
            if (rate, channels) != (self.rate, self.channels) {
                let now = format!("{rate} Hz and {channels} channels");
                let before = format!("{} Hz and {} channels", self.rate, self.channels);
                return Err(Error::unusable(&self.path, format!("changes to {now} from {before}")));
            }
            self.frames += frames as u64;
            return Ok(true);
        }
    }

    /// Checks at the end that all is there that was promised, and that it is right.
    fn end(&mut self) -> Result<bool> {
        if self.promised.is_some_and(|promised| promised > self.frames) {
            return Err(self.incomplete());
        }
        match self.decoder.finalize().verify_ok {
            Some(false) => Err(Error::unusable(&self.path, "damaged: the checksum of the samples is another")),
            _ => Ok(false),
        }
    }

    fn incomplete(&self) -> Error {
        let holds = format!("the file holds {} samples a channel", self.frames);
        let why = match self.promised {
            Some(promised) => format!("cut short or damaged: {holds}, its header promises {promised}"),
            None => format!("cut short: {holds} and a part of a packet"),
        };
        Error::unusable(&self.path, why)
    }

    fn explain(&self, fault: Fault) -> Error {
        let seconds = self.frames as f64 / f64::from(self.rate.max(1));
        match fault {
            Fault::IoError(source) if is_end(&source) => self.incomplete(),
            Fault::ResetRequired => Error::unusable(
                &self.path,
                format!("a second stream begins at {seconds:.2} s: only the first can be read"),
            ),
            other => explain(&self.path, format!("damaged at {seconds:.2} s"), other),
        }
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
}

/// Runs a step of the decoder; a panic in it, which a hostile file may provoke, becomes an error.
/// Nothing of the decoder is used after one, so a state left half changed is never seen.
fn contained<T>(path: &Path, step: impl FnOnce() -> T) -> Result<T> {
    catch_unwind(AssertUnwindSafe(step)).map_err(|_| Error::unusable(path, "damaged: the decoder gave up"))
}

fn explain(path: &Path, place: String, fault: Fault) -> Error {
    match fault {
        Fault::IoError(source) if is_end(&source) => Error::unusable(path, format!("{place}: cut short")),
        Fault::IoError(source) if source.raw_os_error().is_some() => Error::io(path, "read", source),
        other => Error::unusable(path, format!("{place}: {other}")),
    }
}

fn is_end(error: &std::io::Error) -> bool {
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
