//! MPEG audio and ADTS, frame by frame: both are frames behind each other and nothing else, so whatever is between them
//! is looked at here: tags, rubbish, the beginning of another sound.

use super::coded::{Fed, Stream};
use super::part::{Part, read_up_to};
use super::source::Format;
use super::tags;
use crate::error::{Error, Result};
use std::collections::VecDeque;
use std::io::{self, Seek, SeekFrom};
use std::path::PathBuf;
use symphonia::core::audio::Channels;
use symphonia::core::codecs::audio::well_known::{CODEC_ID_AAC, CODEC_ID_MP1, CODEC_ID_MP2, CODEC_ID_MP3};
use symphonia::core::codecs::audio::{AudioCodecId, AudioCodecParameters};
use symphonia::core::packet::PacketBuilder;
use symphonia::core::units::{Duration, Timestamp};

/// Bytes that are no frame and may be passed over in the middle of a sound: those of the largest frame.
const RUBBISH: usize = 2_881;
/// Bytes that are searched for the next frame.
const SEARCHED: usize = super::source::SEARCHED;
/// Samples that a decoder of layer 3 is late, which LAME's tag leaves out.
const DECODER_DELAY: u32 = 529;

/// Codecs by their layer.
const CODECS: [AudioCodecId; 4] = [CODEC_ID_AAC, CODEC_ID_MP1, CODEC_ID_MP2, CODEC_ID_MP3];

/// The codec of a frame of MPEG audio.
pub(super) fn layer(frame: &[u8]) -> Option<AudioCodecId> {
    head(frame).filter(|head| head.layer > 0).map(|head| CODECS[usize::from(head.layer)])
}

/// The head of a frame.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Head {
    /// 1 to 3 for MPEG audio, 0 for ADTS.
    layer: u8,
    rate: u32,
    channels: u16,
    /// Bytes of the frame, and of its head.
    length: usize,
    head: usize,
    /// Samples of each channel.
    samples: u32,
}

/// The kind of the file that begins with a frame, unless what follows it is none.
pub(super) fn at(bytes: &[u8]) -> Option<Format> {
    let first = head(bytes)?;
    let next = bytes.get(first.length..).unwrap_or_default();
    let follows =
        next.len() < 4 || tags::before(next).is_some() || head(next).is_some_and(|next| next.continues(&first));
    // UTF-16 text begins like a lone frame of layer 1.
    (follows && (first.layer != 1 || next.len() >= 4)).then(|| first.format())
}

/// The first place in front of which there is only rubbish: two frames at least follow each other there.
pub(super) fn within(bytes: &[u8]) -> Option<(usize, Format)> {
    let sync = |at: &usize| bytes[*at] == 0xff && bytes[at + 1] >= 0xe0;
    (0..bytes.len().saturating_sub(1)).filter(sync).find_map(|at| {
        let first = head(&bytes[at..])?;
        let second = head(bytes.get(at + first.length..)?)?;
        let third = bytes.get(at + first.length + second.length..).unwrap_or_default();
        let follows = third.len() < 4 || head(third).is_some_and(|third| third.continues(&first));
        (second.continues(&first) && follows).then(|| (at, first.format()))
    })
}

/// Whether these bytes begin a frame of free bit rate, which says nowhere how long it is.
pub(super) fn is_free(bytes: &[u8]) -> bool {
    matches!(bytes, [0xff, second, third, ..] if second & 0xe0 == 0xe0 && second & 6 != 0 && third & 0xf0 == 0)
}

impl Head {
    fn format(&self) -> Format {
        match self.layer {
            0 => Format::Aac,
            3 => Format::Mp3,
            _ => Format::Mp2,
        }
    }

    /// Whether it is of the same sound as `before`, as far as a head tells.
    fn continues(&self, before: &Head) -> bool {
        (self.layer, self.rate, self.samples) == (before.layer, before.rate, before.samples)
    }
}

/// Reads the head of a frame.
fn head(bytes: &[u8]) -> Option<Head> {
    let [0xff, second, third, fourth, rest @ ..] = bytes else { return None };
    if second & 0xf6 == 0xf0 {
        const RATES: [u32; 13] =
            [96_000, 88_200, 64_000, 48_000, 44_100, 32_000, 24_000, 22_050, 16_000, 12_000, 11_025, 8_000, 7_350];
        let [fifth, sixth, seventh, ..] = rest else { return None };
        let length = usize::from(fourth & 3) << 11 | usize::from(*fifth) << 3 | usize::from(sixth >> 5);
        let (head, blocks) = (if second & 1 == 0 { 9 } else { 7 }, u32::from(seventh & 3) + 1);
        let channels = match third << 2 & 4 | fourth >> 6 {
            7 => 8,
            channels => u16::from(channels),
        };
        let rate = *RATES.get(usize::from(third >> 2 & 15))?;
        return (length > head).then_some(Head { layer: 0, rate, channels, length, head, samples: 1_024 * blocks });
    }
    const FIRST: [u32; 14] = [32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448];
    const SECOND: [u32; 14] = [32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384];
    const THIRD: [u32; 14] = [32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320];
    const LOW_FIRST: [u32; 14] = [32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256];
    const LOW: [u32; 14] = [8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160];
    let (version, layer) = (second >> 3 & 3, 4 - (second >> 1 & 3));
    // 1 is no version, 4 no layer.
    if second & 0xe0 != 0xe0 || version == 1 || layer == 4 {
        return None;
    }
    let kilobits = match (version, layer) {
        (3, 1) => FIRST,
        (3, 2) => SECOND,
        (3, _) => THIRD,
        (_, 1) => LOW_FIRST,
        _ => LOW,
    };
    let bits = 1_000 * kilobits.get(usize::from(third >> 4).checked_sub(1)?)?;
    let rate = [44_100, 48_000, 32_000].get(usize::from(third >> 2 & 3))? >> [2, 0, 1, 0][usize::from(version)];
    let (padding, samples) = (u32::from(third >> 1 & 1), if version == 3 || layer == 2 { 1_152 } else { 576 });
    let (length, samples) = match layer {
        1 => (4 * (12 * bits / rate + padding), 384),
        _ => (samples / 8 * bits / rate + padding, samples),
    };
    let channels = if fourth >> 6 == 3 { 1 } else { 2 };
    Some(Head { layer, rate, channels, length: length as usize, head: 0, samples })
}

/// What the first frame of a sound may say instead of sounding.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Info {
    /// Frames that follow, where it states them.
    frames: Option<u64>,
    /// Samples of the encoder's own, before and behind.
    delay: u32,
    padding: u32,
}

/// Reads the tags of Xing, LAME and Fraunhofer (VBRI).
fn info(frame: &[u8], head: &Head) -> Option<Info> {
    let number = |bytes: &[u8]| bytes.iter().fold(0, |sum, byte| sum << 8 | u32::from(*byte));
    if head.layer != 3 {
        return None;
    }
    if frame.get(36..40) == Some(b"VBRI") {
        return Some(Info { frames: frame.get(50..54).map(|frames| number(frames).into()), ..Info::default() });
    }
    let side = match (head.samples, head.channels) {
        (1_152, 2) => 32,
        (1_152, _) | (_, 2) => 17,
        _ => 9,
    };
    // Where encoders put a checksum before it, the side information still counts from the head.
    let tag = frame.get(4 + side..)?;
    if !tag.starts_with(b"Xing") && !tag.starts_with(b"Info") {
        return None;
    }
    let flags = number(tag.get(4..8)?);
    let mut rest = &tag[8..];
    let mut take = |bit: u32, bytes: usize| {
        let (field, behind) = if flags & bit == 0 { (None, rest) } else { (rest.get(..bytes), rest.get(bytes..)?) };
        rest = behind;
        Some(field)
    };
    let frames = take(1, 4)?;
    for (bit, bytes) in [(2, 4), (4, 100), (8, 4)] {
        take(bit, bytes)?;
    }
    let mut info = Info { frames: frames.map(|frames| number(frames).into()), ..Info::default() };
    let known = [b"LAME", b"Lavf", b"Lavc"].iter().any(|encoder| rest.starts_with(*encoder));
    if let (true, Some(gaps)) = (known, rest.get(21..24)) {
        let gaps = number(gaps);
        info.delay = (gaps >> 12) + DECODER_DELAY;
        info.padding = (gaps & 0xfff).saturating_sub(DECODER_DELAY);
    }
    Some(info)
}

/// Says of parts of a frame of layer 3 that have no data that they have no scale factors either: some writers of
/// silence leave them stated, and a decoder would look for them.
fn quieten(frame: &mut [u8], head: &Head) {
    let (full, mono) = (head.samples == 1_152, head.channels == 1);
    // Bits in front of the first part, of a part, and of the field behind 12 + 9 + 8 others.
    let (front, part, field) = match (full, mono) {
        (true, true) => (18, 59, 4),
        (true, false) => (20, 59, 4),
        (false, true) => (9, 63, 9),
        (false, false) => (10, 63, 9),
    };
    // A checksum may follow the head.
    let start = 8 * if frame[1] & 1 == 0 { 6 } else { 4 } + front;
    for index in 0..usize::from(head.channels) * if full { 2 } else { 1 } {
        let at = start + index * part;
        let is_set = |bit: usize| frame.get(bit / 8).is_none_or(|byte| byte << (bit % 8) & 0x80 != 0);
        if (at..at + 12).any(is_set) || at + part > 8 * frame.len() {
            continue;
        }
        for bit in at + 29..at + 29 + field {
            frame[bit / 8] &= !(0x80 >> (bit % 8));
        }
    }
}

/// The frames of a file, as packets for a decoder.
pub(super) struct Frames {
    path: PathBuf,
    ahead: Ahead,
    /// The head of the sound that is being read, and what it says of itself.
    head: Option<Head>,
    info: Info,
    /// Frames that were read and not handed out, with their samples: as many as padding may lie in.
    queue: VecDeque<(Vec<u8>, u32)>,
    /// Frames of this sound, and its samples that are still to be cut.
    counted: u64,
    delay: u32,
    /// Samples handed out of all sounds, for errors.
    samples: u64,
    /// The first frame of the next sound, once it was met; whether there is none.
    following: Option<(Head, Vec<u8>)>,
    ended: bool,
    /// Whether the file ended inside a frame.
    cut: bool,
    pub(super) remarks: Vec<String>,
}

/// What is read next.
enum Next {
    Frame(Head, Vec<u8>),
    /// The same, behind something that separates it from what was before.
    Apart(Head, Vec<u8>),
    End,
}

impl Frames {
    pub(super) fn new(path: PathBuf, part: Part) -> Frames {
        Frames {
            path,
            ahead: Ahead { part, buffer: Vec::new(), used: 0 },
            head: None,
            info: Info::default(),
            queue: VecDeque::new(),
            counted: 0,
            delay: 0,
            samples: 0,
            following: None,
            ended: false,
            cut: false,
            remarks: Vec::new(),
        }
    }

    /// The next packet, or what the next sound needs to be decoded.
    pub(super) fn step(&mut self) -> Result<Fed> {
        if self.head.is_none() {
            return match self.read()? {
                Next::Frame(head, frame) | Next::Apart(head, frame) => {
                    Ok(Fed::Stream(Box::new(self.begin(head, frame))))
                }
                Next::End => Ok(Fed::End),
            };
        }
        let behind = (self.info.padding as usize).div_ceil(576);
        while !self.ended && self.following.is_none() && self.queue.len() <= behind {
            match self.read()? {
                Next::End => self.ended = true,
                Next::Apart(head, frame) => self.following = Some((head, frame)),
                Next::Frame(head, frame) if self.is_another(&head, &frame)? => self.following = Some((head, frame)),
                Next::Frame(head, frame) => self.push(&head, frame),
            }
        }
        let Some((frame, samples)) = self.queue.pop_front() else {
            self.check()?;
            return Ok(match self.following.take() {
                Some((head, frame)) => Fed::Stream(Box::new(self.begin(head, frame))),
                None => Fed::End,
            });
        };
        let start = self.delay.min(samples);
        self.delay -= start;
        let later: u32 = self.queue.iter().map(|(_, samples)| samples).sum();
        let end = self.info.padding.saturating_sub(later).min(samples - start);
        let end = if self.ended || self.following.is_some() { end } else { 0 };
        self.samples += u64::from(samples - start - end);
        let trim = |samples: u32| Duration::new(samples.into());
        let packet = PacketBuilder::new().track_id(0).pts(Timestamp::ZERO).dur(trim(samples - start - end));
        Ok(Fed::Packet(packet.trim_start(trim(start)).trim_end(trim(end)).data(frame).build()))
    }

    /// Begins a sound with its first frame.
    fn begin(&mut self, head: Head, frame: Vec<u8>) -> Stream {
        let told = info(&frame, &head);
        self.info = told.unwrap_or_default();
        (self.head, self.delay, self.counted) = (Some(head), self.info.delay, 0);
        if told.is_none() {
            self.push(&head, frame);
        }
        let mut codec = AudioCodecParameters::new();
        codec.for_codec(CODECS[usize::from(head.layer)]);
        codec.with_sample_rate(head.rate).with_channels(Channels::Discrete(head.channels));
        Stream::new(codec)
    }

    fn push(&mut self, head: &Head, mut frame: Vec<u8>) {
        if head.layer == 3 {
            quieten(&mut frame, head);
        }
        // A decoder of AAC wants what is behind the head.
        frame.drain(..head.head);
        self.queue.push_back((frame, head.samples));
        self.counted += 1;
    }

    /// Whether a frame that follows without a gap begins another sound.
    fn is_another(&mut self, head: &Head, frame: &[u8]) -> Result<bool> {
        let same = self.head.is_some_and(|first| head.continues(&first) && head.channels == first.channels);
        if !same || info(frame, head).is_some() {
            return Ok(true);
        }
        // All frames that were stated are there, and more than the one that some encoders forget to count.
        let complete = self.info.frames.is_some_and(|frames| frames > 0 && self.counted == frames);
        let more = self.ahead.peek(RUBBISH).map_err(|error| Error::io(&self.path, "read", error))?;
        Ok(complete && more.len() >= head.length / 2)
    }

    /// Checks at the end of a sound that all its frames were there; some encoders count the one that counts.
    fn check(&self) -> Result<()> {
        match self.info.frames {
            Some(frames) if frames > self.counted + u64::from(!self.cut) => {
                let holds = format!("the file holds {} frames, its header promises {frames}", self.counted);
                Err(Error::unusable(&self.path, format!("cut short or damaged: {holds}")))
            }
            _ => Ok(()),
        }
    }

    /// Reads on to the next frame.
    fn read(&mut self) -> Result<Next> {
        let mut apart = false;
        loop {
            let bytes = self.ahead.peek(SEARCHED).map_err(|error| Error::io(&self.path, "read", error))?;
            if bytes.is_empty() {
                return Ok(Next::End);
            }
            if let Some(head) = head(bytes) {
                if bytes.len() < head.length {
                    return self.cut(head.layer);
                }
                // A change must be borne out by the frame behind it.
                let changes = self.head.is_some_and(|first| !head.continues(&first));
                if !changes || at(bytes).is_some() {
                    let frame = bytes[..head.length].to_vec();
                    self.ahead.skip(head.length as u64);
                    return Ok(if apart { Next::Apart(head, frame) } else { Next::Frame(head, frame) });
                }
            }
            if let Some(tag) = tags::before(bytes).or_else(|| bytes.starts_with(b"TAG").then_some(128)) {
                self.ahead.skip(tag);
                apart = true;
                continue;
            }
            let zeros = bytes.iter().position(|byte| *byte != 0).unwrap_or(bytes.len());
            if zeros > 0 {
                self.ahead.skip(zeros as u64);
                continue;
            }
            let held = bytes.len();
            match within(bytes).map(|(at, _)| at).or_else(|| last_frame(bytes, self.head)) {
                Some(at) if (1..=RUBBISH).contains(&at) => self.pass_over(at),
                None if held <= RUBBISH => self.pass_over(held),
                _ => {
                    let why = format!("damaged at {:.2} s: bytes that are no frame follow", self.seconds());
                    return Err(Error::unusable(&self.path, why));
                }
            }
        }
    }

    fn pass_over(&mut self, bytes: usize) {
        if self.head.is_some() {
            self.remarks.push(format!("{bytes} bytes at {:.2} s are no sound and were passed over", self.seconds()));
        }
        self.ahead.skip(bytes as u64);
    }

    /// The file ends inside a frame: of ADTS that is a cut; MP3 is cut out of streams anywhere, its frames reach into
    /// others.
    fn cut(&mut self, layer: u8) -> Result<Next> {
        match layer {
            0 => Err(Error::unusable(&self.path, format!("cut short at {:.2} s: a part of a frame", self.seconds()))),
            _ => {
                self.ahead.skip(u64::MAX);
                self.cut = true;
                Ok(Next::End)
            }
        }
    }

    fn seconds(&self) -> f64 {
        let queued: u64 = self.queue.iter().map(|(_, samples)| u64::from(*samples)).sum();
        (self.samples + queued) as f64 / f64::from(self.head.map_or(1, |head| head.rate))
    }
}

/// Where the last frame of a file begins, which no other follows to bear it out.
fn last_frame(bytes: &[u8], first: Option<Head>) -> Option<usize> {
    let first = first?;
    (0..bytes.len().min(RUBBISH))
        .find(|at| head(&bytes[*at..]).is_some_and(|head| head.continues(&first) && at + head.length == bytes.len()))
}

/// Bytes that were read and not used.
struct Ahead {
    part: Part,
    buffer: Vec<u8>,
    used: usize,
}

impl Ahead {
    /// The next bytes, at least `least` of them unless the file ends before.
    fn peek(&mut self, least: usize) -> io::Result<&[u8]> {
        if self.buffer.len() - self.used < least {
            self.buffer.drain(..self.used);
            self.used = 0;
            let held = self.buffer.len();
            self.buffer.resize(2 * least.max(SEARCHED), 0);
            let read = read_up_to(&mut self.part, &mut self.buffer[held..])?;
            self.buffer.truncate(held + read);
        }
        Ok(&self.buffer[self.used..])
    }

    /// Uses so many bytes, or all there are.
    fn skip(&mut self, bytes: u64) {
        let held = (self.buffer.len() - self.used) as u64;
        self.used += bytes.min(held) as usize;
        if bytes > held {
            let end = self.part.len();
            let here = self.part.stream_position().unwrap_or(end);
            // Seeking in a part is arithmetic and does not fail.
            let _ = self.part.seek(SeekFrom::Start(here.saturating_add(bytes - held).min(end)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_of_every_kind_tell_length_and_samples() {
        let of =
            |bytes: &[u8]| head(bytes).map(|head| (head.layer, head.rate, head.channels, head.length, head.samples));
        assert_eq!(of(b"\xff\xfb\x90\x64"), Some((3, 44_100, 2, 417, 1_152)));
        assert_eq!(of(b"\xff\xfb\x92\x64"), Some((3, 44_100, 2, 418, 1_152)));
        assert_eq!(of(b"\xff\xf3\x44\xc0"), Some((3, 24_000, 1, 96, 576)));
        assert_eq!(of(b"\xff\xe3\x18\xc0"), Some((3, 8_000, 1, 72, 576)));
        assert_eq!(of(b"\xff\xfd\x84\xc0"), Some((2, 48_000, 1, 384, 1_152)));
        assert_eq!(of(b"\xff\xff\x84\xc0"), Some((1, 48_000, 1, 256, 384)));
        assert_eq!(of(b"\xff\xf1\x50\x80\x02\x1f\xfc"), Some((0, 44_100, 2, 16, 1_024)));
        for none in [
            &b"\xff\xfb\x00\x64"[..],
            b"\xff\xfb\xf0\x64",
            b"\xff\xfb\x9c\x64",
            b"\xff\xeb\x90\x64",
            b"\xff\xf8\x90\x64",
            b"\xff",
        ] {
            assert_eq!(of(none), None, "{none:02x?}");
        }
        assert!(is_free(b"\xff\xfb\x00\x64") && !is_free(b"\xff\xfb\x90\x64"));
    }
}
