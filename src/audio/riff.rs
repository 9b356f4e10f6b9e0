//! Files of chunks: WAV (RIFF, RIFX, RF64, BW64, Wave64), AIFF and AIFC; and Sun's AU, which is a head and samples.
//!
//! Chunks are walked as the standards say, in any order, with the byte that fills up an odd one. No size is believed:
//! each is held against the file. Sizes of the whole are not looked at; sound data of a size that stands for "unknown"
//! in files written to a pipe or never finished (0, or within a few thousand of 2^31 and 2^32) end where the file ends.

use super::part::{peek, read_up_to};
use super::source::Format;
use super::wave::{self, Wave};
use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::ops::Range;

/// Chunks that are walked before a file is given up: real ones have some ten.
const CHUNKS: usize = 100_000;

/// Most bytes of a chunk that describes sound: real ones have some fifty.
const DESCRIPTION: usize = 512;

/// Most bytes of zero between two chunks.
const ZEROS: u64 = 64 << 10;

/// Names that chunks have in practice, for files whose writer forgot to fill up an odd chunk or filled it up with
/// rubbish.
const NAMES: [&[u8; 4]; 36] = [
    b"fmt ", b"data", b"fact", b"LIST", b"bext", b"cue ", b"smpl", b"inst", b"junk", b"JUNK", b"id3 ", b"ID3 ",
    b"iXML", b"PEAK", b"PAD ", b"FLLR", b"ds64", b"levl", b"aXML", b"chna", b"wamd", b"guan", b"cart", b"acid",
    b"strc", b"_PMX", b"COMM", b"SSND", b"MARK", b"COMT", b"INST", b"APPL", b"NAME", b"AUTH", b"ANNO", b"FVER",
];

/// What a walk needs to know of a file.
pub(super) struct Walk<'f> {
    file: BufReader<&'f mut File>,
    at: u64,
    /// Where the file ends as it says, as it does, and the sound where tags follow it.
    whole: u64,
    length: u64,
    end: u64,
    form: Form,
}

/// How chunks are written.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    /// Name and size of 4 bytes each, filled up to even; RF64 may state sizes in `ds64`.
    Riff { big_endian: bool },
    /// Names of 16 bytes, sizes of 8 that count the head, filled up to multiples of 8.
    Wave64,
}

struct Chunk {
    name: [u8; 4],
    /// Where its contents begin, and the bytes it claims.
    at: u64,
    size: u64,
}

/// What chunks say of sound.
struct Found {
    description: Vec<u8>,
    data: Range<u64>,
    stated: Option<u64>,
    fact: Option<u64>,
}

/// The head of Wave64: names are GUIDs.
const WAVE64: &[u8; 16] = b"riff\x2e\x91\xcf\x11\xa5\xd6\x28\xdb\x04\xc1\x00\x00";

/// What a file that begins with `head` is, if this file knows it.
pub(super) fn recognise(head: &[u8]) -> Option<Format> {
    match head {
        [b'R', b'I', b'F', b'F' | b'X', _, _, _, _, b'W', b'A', b'V', b'E', ..]
        | [b'R', b'F', b'6', b'4', _, _, _, _, b'W', b'A', b'V', b'E', ..]
        | [b'B', b'W', b'6', b'4', _, _, _, _, b'W', b'A', b'V', b'E', ..] => Some(Format::Wav),
        [b'F', b'O', b'R', b'M', _, _, _, _, b'A', b'I', b'F', b'F' | b'C', ..] => Some(Format::Aiff),
        [b'.', b's', b'n', b'd', ..] => Some(Format::Au),
        _ if head.starts_with(WAVE64) => Some(Format::Wav),
        _ => None,
    }
}

/// Finds the sound in a file of `length` bytes that [`recognise`] knows; without tags it is `bounds`. The inner error
/// says what is wrong.
pub(super) fn find(file: &mut File, length: u64, bounds: Range<u64>) -> io::Result<Result<Wave, String>> {
    let head = peek(file, bounds.start, 12)?;
    let (start, end) = (bounds.start, bounds.end);
    if head.starts_with(b".") {
        return Ok(wave::au(&peek(file, start, 24)?, start, length, end));
    }
    let big_endian = head.starts_with(b"FORM") || head.starts_with(b"RIFX");
    let (form, skip) = if head.starts_with(b"riff") { (Form::Wave64, 40) } else { (Form::Riff { big_endian }, 12) };
    let stated = head.get(4..8).map_or(0, |size| if big_endian { wave::big(size) } else { wave::little(size) });
    let whole = start + 8 + stated;
    let walk = Walk { file: BufReader::new(file), at: start + skip, whole, length, end, form };
    if !head.starts_with(b"FORM") {
        let found = walk.find(b"fmt ", b"data")?;
        return Ok(found
            .and_then(|found| wave::described(&found.description, big_endian, found.data, found.stated, found.fact)));
    }
    let found = walk.find(b"COMM", b"SSND")?;
    Ok(found.and_then(|found| wave::common(&found.description, head.ends_with(b"C"), found.data, found.stated)))
}

impl Walk<'_> {
    /// The next chunk; `None` where there is none. Behind the sound (`done`) rubbish is none either; in front of it a
    /// name may be of any bytes, and zeros that fill up more than they should are passed over.
    fn next(&mut self, done: bool) -> io::Result<Option<Chunk>> {
        if !done && matches!(self.form, Form::Riff { .. }) {
            let from = self.at;
            while self.at < from + ZEROS && self.bytes(self.at, 2)?.is_some_and(|two| two == [0, 0]) {
                self.at += 2;
            }
        }
        let Some(head) = self.bytes(self.at, self.head())? else { return Ok(None) };
        let Ok(name) = <[u8; 4]>::try_from(&head[..4]) else { return Ok(None) };
        if done && !name.iter().all(|byte| (0x20..0x7f).contains(byte)) {
            return Ok(None);
        }
        let (at, size) = (self.at + self.head(), self.number(&head[head.len() - self.size_bytes()..]));
        let size = if self.form == Form::Wave64 { size.saturating_sub(self.head()) } else { size };
        Ok(Some(Chunk { name, at, size }))
    }

    /// Goes to the chunk behind this one; `false` when its size leads out of the file.
    fn skip(&mut self, chunk: &Chunk) -> io::Result<bool> {
        let Some(end) = chunk.at.checked_add(chunk.size).filter(|end| *end <= self.length) else { return Ok(false) };
        self.at = match self.form {
            Form::Wave64 => chunk.at + chunk.size.next_multiple_of(8),
            Form::Riff { .. } if chunk.size.is_multiple_of(2) => end,
            Form::Riff { .. } => end + u64::from(self.is_filled_up(end)?),
        };
        Ok(true)
    }

    /// Whether an odd chunk that ends at `end` has a byte behind it that belongs to no other.
    fn is_filled_up(&mut self, end: u64) -> io::Result<bool> {
        let Some(five) = self.bytes(end, 5)? else { return Ok(true) };
        let known = |name: &[u8]| NAMES.iter().any(|known| known[..] == *name);
        Ok(known(&five[1..]) || !known(&five[..4]))
    }

    /// Walks the chunks: one describes the sound, another holds it.
    fn find(mut self, describing: &[u8; 4], holding: &[u8; 4]) -> io::Result<Result<Found, String>> {
        let (mut description, mut data, mut fact, mut ds64) = (None, None, None, None);
        for _ in 0..CHUNKS {
            let Some(mut chunk) = self.next(data.is_some())? else { break };
            match &chunk.name {
                b"ds64" => ds64 = self.bytes(chunk.at, 16)?.map(|sizes| wave::little(&sizes[8..16])),
                b"fact" => fact = self.bytes(chunk.at, 4)?.map(|frames| self.number(&frames)),
                name if name == describing && description.is_none() => description = Some(self.contents(&chunk)?),
                name if name == holding && data.is_some() => return Ok(Err("holds two chunks of sound data".into())),
                name if name == holding => {
                    if let (Some(size), 0xffff_ffff) = (ds64, chunk.size) {
                        chunk.size = size;
                    }
                    let mut before = 0;
                    if holding == b"SSND" {
                        let Some(offsets) = self.bytes(chunk.at, 8)? else { break };
                        // Sound begins some bytes into the chunk, which count.
                        before = 8 + self.number(&offsets[..4]);
                    }
                    let inner = Chunk { at: chunk.at + before, size: chunk.size.saturating_sub(before), ..chunk };
                    if inner.at > self.length {
                        return Ok(Err(too_long(&chunk)));
                    }
                    let found = self.sound(&inner)?;
                    let open = found.1.is_none();
                    data = Some(found);
                    // What lies behind data that end with the file is their own.
                    if open {
                        break;
                    }
                }
                _ => {}
            }
            if !self.skip(&chunk)? {
                if data.is_none() {
                    return Ok(Err(too_long(&chunk)));
                }
                break;
            }
        }
        let Some(description) = description else { return Ok(Err(lacks(describing))) };
        let Some((data, stated)) = data else { return Ok(Err(lacks(holding))) };
        Ok(Ok(Found { description, data, stated, fact }))
    }

    /// The bytes of sound in a chunk, and how many it states, if it does.
    fn sound(&mut self, chunk: &Chunk) -> io::Result<(Range<u64>, Option<u64>)> {
        let held = self.length - chunk.at.min(self.length);
        let unknown = match chunk.size {
            // A header that was written first and never again; if another chunk follows, there is no sound.
            0 => self.bytes(chunk.at, 4)?.is_some_and(|name| !NAMES.iter().any(|known| known[..] == name[..])),
            // A writer that took the size of the file for that of its data.
            size if size > held && self.whole <= self.length && (size == self.length || size + 8 == self.length) => {
                true
            }
            size => size > held && wave::stands_for_unknown(size),
        };
        if unknown {
            return Ok((chunk.at..self.end.max(chunk.at), None));
        }
        Ok((chunk.at..chunk.at + chunk.size.min(held), Some(chunk.size)))
    }

    /// What a chunk that describes the sound holds, as far as anybody needs it.
    fn contents(&mut self, chunk: &Chunk) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; chunk.size.min(DESCRIPTION as u64) as usize];
        self.file.seek(SeekFrom::Start(chunk.at))?;
        let held = read_up_to(&mut self.file, &mut bytes)?;
        bytes.truncate(held);
        Ok(bytes)
    }

    /// So many bytes from there on, where the file has them.
    fn bytes(&mut self, at: u64, count: u64) -> io::Result<Option<Vec<u8>>> {
        if at.checked_add(count).is_none_or(|end| end > self.length) {
            return Ok(None);
        }
        let mut bytes = vec![0; count as usize];
        let here = self.file.stream_position()?;
        self.file.seek_relative(at.wrapping_sub(here) as i64)?;
        self.file.read_exact(&mut bytes)?;
        Ok(Some(bytes))
    }

    fn head(&self) -> u64 {
        if self.form == Form::Wave64 { 24 } else { 8 }
    }

    fn size_bytes(&self) -> usize {
        if self.form == Form::Wave64 { 8 } else { 4 }
    }

    fn number(&self, bytes: &[u8]) -> u64 {
        if self.form == (Form::Riff { big_endian: true }) { wave::big(bytes) } else { wave::little(bytes) }
    }
}

fn lacks(name: &[u8; 4]) -> String {
    format!("header cut short: no sound data follows it (no chunk `{}`)", name.escape_ascii())
}

fn too_long(chunk: &Chunk) -> String {
    let name = chunk.name.escape_ascii();
    format!(
        "header cut short or damaged: chunk `{name}` at byte {} claims {} bytes, more than follow",
        chunk.at - 8,
        chunk.size
    )
}
