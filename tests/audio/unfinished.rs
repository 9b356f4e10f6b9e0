//! Sounds that were cut out of others, never finished, or written where nobody can go back: all that is there is read.

use crate::data;
use otolith::audio::{Clip, Reader};
use std::ops::Range;
use tempfile::tempdir;

fn bytes(name: &str) -> Vec<u8> {
    std::fs::read(data(&format!("audio/{name}"))).unwrap()
}

/// All samples of a file at its own rate, or why there are none.
fn read(file: &[u8]) -> Result<Vec<f32>, String> {
    let folder = tempdir().unwrap();
    let path = folder.path().join("a");
    std::fs::write(&path, file).unwrap();
    let rate = Reader::open(&path, 16_000).and_then(Reader::finish).map_err(|error| error.to_string())?.rate;
    Ok(Clip::read(&path, rate).unwrap().samples)
}

/// The pages of an Ogg.
fn pages(ogg: &[u8]) -> Vec<Vec<u8>> {
    let mut rest = ogg;
    std::iter::from_fn(|| {
        let pieces = usize::from(*rest.get(26)?);
        let contents: usize = rest[27..27 + pieces].iter().map(|piece| usize::from(*piece)).sum();
        let (page, behind) = rest.split_at(27 + pieces + contents);
        rest = behind;
        Some(page.to_vec())
    })
    .collect()
}

/// Pages behind each other, with their sums.
fn ogg(pages: &[Vec<u8>]) -> Vec<u8> {
    let sealed = pages.iter().flat_map(|page| {
        let mut page = page.clone();
        page[22..26].fill(0);
        let sum = page.iter().fold(0_u32, |sum, byte| {
            let shift = |sum: u32| sum << 1 ^ if sum >> 31 == 1 { 0x04c1_1db7 } else { 0 };
            (0..8).fold(sum ^ u32::from(*byte) << 24, |sum, _| shift(sum))
        });
        page[22..26].copy_from_slice(&sum.to_le_bytes());
        page
    });
    sealed.collect()
}

const TIME: Range<usize> = 6..14;
const LAST: u8 = 4;

#[test]
fn ogg_pages_without_a_time_cut_nothing() {
    let whole = pages(&bytes("agree/later.ogg"));
    assert_eq!(ogg(&whole), bytes("agree/later.ogg"));
    let sound = read(&ogg(&whole)).unwrap();
    // Behind three of headers, several of sound.
    assert!(whole.len() > 5, "{} pages", whole.len());
    for at in whole.len() - 4..whole.len() - 1 {
        let mut pages = whole.clone();
        pages[at][TIME].fill(0xff);
        let found = read(&ogg(&pages)).unwrap_or_else(|error| panic!("page {at}: {error}"));
        assert_eq!(found[..sound.len()], sound, "page {at}");
    }
    // The last page, of which the encoder's own samples are kept then.
    let opus = split(&pages(&bytes("agree/speech.opus")));
    assert_eq!(read(&ogg(&opus)).unwrap(), read(&bytes("agree/speech.opus")).unwrap());
    for whole in [whole, opus] {
        let (sound, mut pages) = (read(&ogg(&whole)).unwrap(), whole);
        pages.last_mut().unwrap()[TIME].fill(0xff);
        let found = read(&ogg(&pages)).unwrap();
        let behind = found.len() - sound.len();
        assert!(behind < 1_024 && found[..sound.len()] == sound, "{behind} samples more");
    }
}

/// The same with the last page made two behind its fifth packet of 20 ms.
fn split(pages: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let (last, before) = pages.split_last().unwrap();
    let (lengths, contents) = last[27..].split_at(usize::from(last[26]));
    let size: usize = lengths[..5].iter().map(|length| usize::from(*length)).sum();
    let mut first = [&last[..26], &[5], &lengths[..5], &contents[..size]].concat();
    first[5] &= !LAST;
    first[TIME].copy_from_slice(&(5 * 960_u64).to_le_bytes());
    let mut second = [&last[..26], &[last[26] - 5], &lengths[5..], &contents[size..]].concat();
    second[18] += 1;
    [before, &[first, second]].concat()
}

#[test]
fn ogg_without_a_last_page_is_said_to_have_none() {
    for name in ["agree/later.ogg", "agree/speech.opus"] {
        let mut pages = pages(&bytes(name));
        pages.last_mut().unwrap()[5] &= !LAST;
        let error = read(&ogg(&pages)).unwrap_err();
        assert!(error.contains("cut short") && error.ends_with("no page says that it is the last"), "{error}");
    }
}

#[test]
fn opus_may_end_in_an_empty_packet_and_may_not_hold_one() {
    let (sound, mut pages) = (read(&bytes("agree/speech.opus")).unwrap(), split(&pages(&bytes("agree/speech.opus"))));
    let count = pages.len();
    let mut empty = [&pages[count - 1][..26], &[1, 0]].concat();
    empty[18] += 1;
    pages[count - 1][5] &= !LAST;
    pages.push(empty.clone());
    assert_eq!(read(&ogg(&pages)).unwrap(), sound);
    // The same in front of the sound.
    pages.pop();
    pages[count - 1][5] |= LAST;
    empty[18] -= 1;
    empty[5] &= !LAST;
    empty[TIME].fill(0);
    pages[count - 1][18] += 1;
    pages.insert(count - 1, empty);
    assert!(read(&ogg(&pages)).unwrap_err().contains("an empty packet"));
}

#[test]
fn matroska_of_unknown_length_ends_with_its_file_but_not_within_a_block() {
    let webm = bytes("agree/pipe.webm");
    let sound = read(&webm).unwrap();
    let cluster = webm.windows(4).position(|four| four == b"\x1f\x43\xb6\x75").unwrap();
    // Browsers do not know the length of clusters either.
    let mut open = webm.clone();
    open[cluster + 4..cluster + 6].copy_from_slice(&[0x7f, 0xff]);
    let blocks = webm.windows(2).rposition(|two| two == b"\xa3\xb8").unwrap();
    for file in [&webm, &open] {
        assert_eq!(read(file).unwrap(), sound);
        for cut in [1, 30, webm.len() - cluster - 20] {
            let error = read(&file[..file.len() - cut]).unwrap_err();
            assert!(error.contains("cut short"), "{cut} bytes less: {error}");
        }
    }
    // Between two blocks it may have ended, but for a cluster that says how long it is.
    let shorter = read(&open[..blocks]).unwrap();
    assert!(!shorter.is_empty() && shorter.len() < sound.len() && shorter == sound[..shorter.len()]);
    assert!(read(&webm[..blocks]).unwrap_err().contains("cut short"));
}

#[test]
fn matroska_that_is_shorter_than_it_says_is_called_so() {
    let webm = bytes("agree/opus.webm");
    for held in [webm.len() - 1, webm.len() - 500, webm.len() / 2, 200] {
        let error = read(&webm[..held]).unwrap_err();
        let told = format!("cut short: the file holds {held} bytes, its header promises {}", webm.len());
        assert!(error.ends_with(&told), "{error}");
    }
}

#[test]
fn caf_of_unknown_length_ends_with_its_file() {
    let caf = bytes("agree/pipe.caf");
    let sound = read(&caf).unwrap();
    let data = caf.windows(12).position(|head| head == b"data\xff\xff\xff\xff\xff\xff\xff\xff").unwrap();
    let half = read(&caf[..data + 16 + 800]).unwrap();
    assert_eq!(half, sound[..200]);
    let cut = bytes("agree/big.caf");
    assert!(
        read(&cut[..cut.len() - 100])
            .unwrap_err()
            .contains("the file holds 3150 samples a channel, its header promises 3200")
    );
}

#[test]
fn silence_of_mp3_that_states_scale_factors_is_silence() {
    let mp3 = bytes("bare.mp3");
    // Mono of 44,100 Hz: behind the head 18 bits, then two parts of 59, each with the factors behind 29.
    let frames: Vec<usize> = (0..mp3.len() - 4).filter(|at| mp3[*at..].starts_with(&mp3[..2])).collect();
    let silent = |set: bool| {
        let mut mp3 = mp3.clone();
        for at in &frames[frames.len() / 2..frames.len() / 2 + 3] {
            mp3[at + 4..at + 21].fill(0);
            for bit in [18 + 29, 18 + 59 + 29].iter().flat_map(|first| *first..first + 4).filter(|_| set) {
                mp3[at + 4 + bit / 8] |= 0x80 >> (bit % 8);
            }
        }
        read(&mp3)
    };
    assert_eq!(silent(true).unwrap(), silent(false).unwrap());
}
