//! WAV through hound; what hound does not know goes on to symphonia.

use super::source::{Format, Source, open_coded};
use crate::error::{Error, Result};
use hound::{SampleFormat, WavReader};
use std::fs::File;
use std::io::{BufReader, ErrorKind, Seek};
use std::path::{Path, PathBuf};

/// Samples read at a time, over all channels.
const BLOCK: usize = 16_384;

struct Wav {
    path: PathBuf,
    reader: WavReader<BufReader<File>>,
    /// Frames handed out so far.
    frames: u64,
}

pub(super) fn open(path: &Path, file: File) -> Result<(Format, Box<dyn Source>)> {
    let mut again = file.try_clone().map_err(|source| Error::io(path, "open", source))?;
    let why = match WavReader::new(BufReader::new(file)) {
        Ok(reader) if known(&reader) => {
            return Ok((Format::Wav, Box::new(Wav { path: path.to_path_buf(), reader, frames: 0 })));
        }
        Ok(reader) => format!("{} bits a sample", reader.spec().bits_per_sample),
        Err(hound::Error::IoError(source)) if is_end(&source) => {
            return Err(Error::unusable(path, "WAV header cut short: no sound data follows it"));
        }
        Err(hound::Error::IoError(source)) => return Err(Error::io(path, "read", source)),
        Err(other) => other.to_string(),
    };
    again.rewind().map_err(|source| Error::io(path, "read", source))?;
    // The second opinion counts only when it is a better one.
    open_coded(path, again, Format::Wav)
        .map_err(|second| Error::unusable(path, format!("WAV that cannot be read: {why} ({})", reason(&second))))
}

/// Whether hound decodes samples of this kind.
fn known(reader: &WavReader<BufReader<File>>) -> bool {
    let spec = reader.spec();
    match spec.sample_format {
        SampleFormat::Int => matches!(spec.bits_per_sample, 8 | 16 | 24 | 32),
        SampleFormat::Float => spec.bits_per_sample == 32,
    }
}

fn reason(error: &Error) -> String {
    match error {
        Error::Unusable { why, .. } => why.clone(),
        other => other.to_string(),
    }
}

/// hound reports the end of the file inside something as an error of no particular kind.
fn is_end(error: &std::io::Error) -> bool {
    error.raw_os_error().is_none() && matches!(error.kind(), ErrorKind::Other | ErrorKind::UnexpectedEof)
}

impl Source for Wav {
    fn rate(&self) -> u32 {
        self.reader.spec().sample_rate
    }

    fn channels(&self) -> usize {
        usize::from(self.reader.spec().channels)
    }

    fn read(&mut self, into: &mut Vec<f32>) -> Result<bool> {
        let spec = self.reader.spec();
        let channels = self.channels();
        let (count, before) = ((BLOCK / channels).max(1) * channels, into.len());
        let outcome = match spec.sample_format {
            SampleFormat::Float => append(into, self.reader.samples::<f32>().take(count), |sample| sample),
            SampleFormat::Int => {
                // A power of two, so that every sample of up to 24 bits is exact.
                let scale = 1.0 / (1_u64 << (spec.bits_per_sample - 1)) as f32;
                append(into, self.reader.samples::<i32>().take(count), |sample| sample as f32 * scale)
            }
        };
        let read = into.len() - before;
        self.frames += (read / channels) as u64;
        match outcome {
            Ok(()) => Ok(read > 0),
            Err(hound::Error::IoError(source)) if is_end(&source) => Err(Error::unusable(
                &self.path,
                format!(
                    "cut short: the file holds {} samples a channel, its header promises {}",
                    self.frames,
                    self.reader.duration()
                ),
            )),
            Err(hound::Error::IoError(source)) => Err(Error::io(&self.path, "read", source)),
            Err(other) => Err(Error::unusable(&self.path, other.to_string())),
        }
    }
}

fn append<T>(
    into: &mut Vec<f32>,
    samples: impl Iterator<Item = hound::Result<T>>,
    convert: impl Fn(T) -> f32,
) -> hound::Result<()> {
    for sample in samples {
        into.push(convert(sample?));
    }
    Ok(())
}
