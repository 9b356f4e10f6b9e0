//! Files of chunks are read as the standards say, and no size in them is believed.

use crate::noise;
use otolith::audio::{Clip, Format, Mix, Reader};
use std::path::{Path, PathBuf};
use tempfile::{TempDir, tempdir};

/// Some samples of 16 bits.
fn samples() -> Vec<i16> {
    noise(5).take(801).map(|x| (x * 32_000.0) as i16).collect()
}

/// What they are scaled to.
fn scaled() -> Vec<f32> {
    samples().iter().map(|x| f32::from(*x) / 32_768.0).collect()
}

fn bytes() -> Vec<u8> {
    samples().iter().flat_map(|x| x.to_le_bytes()).collect()
}

/// A description of linear sound of one channel at 16 kHz, as PCM or float has it.
fn fmt(tag: u16, bits: u16) -> Vec<u8> {
    let align = bits.div_ceil(8);
    let words = [tag, 1, 16_000, 0, 0, 0, align, bits];
    let mut fmt: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
    fmt[8..12].copy_from_slice(&(16_000 * u32::from(align)).to_le_bytes());
    fmt
}

/// The same as WAVEFORMATEXTENSIBLE, with so many valid bits.
fn extensible(bits: u16, valid: u16) -> Vec<u8> {
    let mut fmt = fmt(0xfffe, bits);
    fmt.extend([22, 0]);
    fmt.extend(valid.to_le_bytes());
    fmt.extend([0; 4]);
    fmt.extend(b"\x01\0\0\0\0\0\x10\0\x80\0\0\xaa\0\x38\x9b\x71");
    fmt
}

/// A chunk with the size it claims; an odd one is filled up.
fn claiming(name: &[u8; 4], size: u32, contents: &[u8]) -> Vec<u8> {
    let filling = &[0][..contents.len() % 2];
    [&name[..], &size.to_le_bytes(), contents, filling].concat()
}

fn chunk(name: &[u8; 4], contents: &[u8]) -> Vec<u8> {
    claiming(name, contents.len() as u32, contents)
}

fn riff(chunks: &[Vec<u8>]) -> Vec<u8> {
    let contents = chunks.concat();
    [&b"RIFF"[..], &(contents.len() as u32 + 4).to_le_bytes(), b"WAVE", &contents].concat()
}

struct Folder(TempDir);

impl Folder {
    fn new() -> Folder {
        Folder(tempdir().unwrap())
    }

    fn file(&self, bytes: &[u8]) -> PathBuf {
        let path = self.0.path().join("a.bin");
        std::fs::write(&path, bytes).unwrap();
        path
    }

    fn read(&self, bytes: &[u8]) -> Result<Vec<f32>, String> {
        Clip::read(self.file(bytes), 16_000).map(|clip| clip.samples).map_err(|error| error.to_string())
    }
}

#[test]
fn chunks_stand_in_any_order_and_descriptions_have_any_size() {
    let folder = Folder::new();
    let data = chunk(b"data", &bytes());
    let described = |fmt: &[u8]| chunk(b"fmt ", fmt);
    let plain = described(&fmt(1, 16));
    let longer = |size: usize| described(&[fmt(1, 16), vec![0; size - 16]].concat());
    let mut rubbish = chunk(b"bext", &[b'q'; 603]);
    *rubbish.last_mut().unwrap() = b'q';
    let unfilled = {
        let mut chunk = chunk(b"LIST", &[b'x'; 31]);
        chunk.pop();
        chunk
    };
    let files = [
        vec![plain.clone(), data.clone()],
        vec![longer(18), data.clone()],
        vec![longer(20), data.clone()],
        vec![longer(50), data.clone()],
        vec![described(&extensible(16, 16)), data.clone()],
        vec![data.clone(), plain.clone()],
        vec![chunk(b"bext", &[b'q'; 603]), plain.clone(), data.clone()],
        vec![plain.clone(), rubbish, data.clone()],
        vec![plain.clone(), unfilled, data.clone()],
        // Names of any bytes, and zeros where no chunk begins.
        vec![chunk(b"abc\0", b"xy"), plain.clone(), chunk(b"\xa9xyz", b"xyz"), data.clone()],
        vec![plain.clone(), vec![0; 8], data.clone()],
        vec![chunk(b"LIST", &[1; 26]), vec![0; 2], plain.clone(), vec![0; 30], data.clone()],
        vec![plain.clone(), chunk(b"abcd", b""), chunk(b"cue ", &[0; 4]), data.clone(), chunk(b"LIST", &[1; 26])],
        vec![plain.clone(), data.clone(), b"rubbish behind everything".to_vec()],
        vec![plain.clone(), data.clone(), claiming(b"LIST", u32::MAX, b"cut")],
    ];
    for (at, chunks) in files.iter().enumerate() {
        assert_eq!(folder.read(&riff(chunks)).unwrap(), scaled(), "file {at}");
    }
    // The size of the whole does not count.
    for size in [0_u32, 36, u32::MAX, riff(&files[0]).len() as u32 - 16] {
        let mut file = riff(&files[0]);
        file[4..8].copy_from_slice(&size.to_le_bytes());
        assert_eq!(folder.read(&file).unwrap(), scaled(), "{size}");
    }
    // A tag in front or behind is none of its sound, however long its data are said to be.
    for size in [bytes().len() as u32, u32::MAX] {
        let wav = riff(&[plain.clone(), claiming(b"data", size, &bytes())]);
        let tag = [b"TAG".to_vec(), vec![0; 125]].concat();
        assert_eq!(folder.read(&[b"ID3\x04\0\0\0\0\0\x0a0123456789", &wav[..], &tag].concat()).unwrap(), scaled());
    }
}

#[test]
fn a_size_that_stands_for_unknown_ends_with_the_file() {
    let folder = Folder::new();
    let described = chunk(b"fmt ", &fmt(1, 16));
    let whole = (12 + described.len() + 8 + bytes().len()) as u32;
    for size in [0, 0x7fff_f000, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff, 0xffff_ffd3, whole, whole - 8] {
        let mut file = riff(&[described.clone(), claiming(b"data", size, &bytes())]);
        assert_eq!(folder.read(&file).unwrap(), scaled(), "{size:#x}");
        // The last byte may have been cut off: half a sample is none.
        file.pop();
        if size < whole - 8 || size > whole {
            assert_eq!(folder.read(&file).unwrap(), scaled()[..800], "{size:#x}, cut");
        }
    }
    // Other sizes promise what is not there.
    for size in [bytes().len() as u32 + 2, 1 << 20, 0x7000_0000] {
        let error = folder.read(&riff(&[described.clone(), claiming(b"data", size, &bytes())])).unwrap_err();
        assert!(error.contains("cut short: the file holds 801 samples a channel"), "{error}");
    }
    // Nothing, and then another chunk.
    let empty = riff(&[described.clone(), chunk(b"data", b""), chunk(b"LIST", b"INFO")]);
    assert!(folder.read(&empty).unwrap_err().contains("holds no samples"));
    let twice = riff(&[described, chunk(b"data", &bytes()), chunk(b"data", &bytes())]);
    assert!(folder.read(&twice).unwrap_err().contains("two chunks of sound data"));
}

#[test]
fn large_and_other_kinds_of_wav_give_the_same_samples() {
    let folder = Folder::new();
    let (described, data) = (chunk(b"fmt ", &fmt(1, 16)), bytes());
    for form in [b"RF64", b"BW64"] {
        for stated in [data.len() as u64, 0] {
            let mut sizes = vec![0; 8];
            sizes.extend(stated.to_le_bytes());
            sizes.extend([0; 12]);
            let chunks = [chunk(b"ds64", &sizes), described.clone(), claiming(b"data", u32::MAX, &data)].concat();
            let file = [&form[..], &u32::MAX.to_le_bytes(), b"WAVE", &chunks].concat();
            assert_eq!(folder.read(&file).unwrap(), scaled());
        }
    }
    // RIFX: the same with the highest byte first.
    let mut turned = fmt(1, 16);
    for (at, width) in [(0, 2), (2, 2), (4, 4), (8, 4), (12, 2), (14, 2)] {
        turned[at..at + width].reverse();
    }
    let samples: Vec<u8> = samples().iter().flat_map(|x| x.swap_bytes().to_le_bytes()).collect();
    let mut rifx = riff(&[chunk(b"fmt ", &turned), chunk(b"data", &samples)]);
    rifx[3] = b'X';
    for at in [4, 16, 40] {
        rifx[at..at + 4].reverse();
    }
    assert_eq!(folder.read(&rifx).unwrap(), scaled());
    // Wave64: names of 16 bytes, sizes of 8 that count their heads, filled up to 8.
    let guid = b"\xf3\xac\xd3\x11\x8c\xd1\x00\xc0\x4f\x8e\xdb\x8a";
    let chunk64 = |name: &[u8; 4], contents: &[u8]| {
        let filling = vec![0; contents.len().next_multiple_of(8) - contents.len()];
        [&name[..], guid, &(contents.len() as u64 + 24).to_le_bytes(), contents, &filling].concat()
    };
    let chunks = [chunk64(b"junk", b"odd"), chunk64(b"fmt ", &fmt(1, 16)), chunk64(b"data", &data)].concat();
    let head = b"riff\x2e\x91\xcf\x11\xa5\xd6\x28\xdb\x04\xc1\x00\x00";
    let file = [&head[..], &(chunks.len() as u64 + 40).to_le_bytes(), b"wave", guid, &chunks].concat();
    assert_eq!(folder.read(&file).unwrap(), scaled());
    assert_eq!(Reader::open(folder.file(&file), 16_000).unwrap().format(), Format::Wav);
}

#[test]
fn valid_bits_fill_their_bytes_from_the_top() {
    let folder = Folder::new();
    for (bits, valid) in [(32, 24), (24, 16), (24, 20), (16, 12), (32, 32), (64, 64), (64, 24), (40, 40), (48, 48)] {
        let width = bits as usize / 8;
        let values: Vec<i64> = noise(7).take(100).map(|x| (f64::from(x) * 2_f64.powi(62)) as i64).collect();
        let values: Vec<i64> = values.iter().map(|x| x >> (64 - valid) << (64 - valid)).collect();
        let data: Vec<u8> = values.iter().flat_map(|x| x.to_le_bytes()[8 - width..].to_vec()).collect();
        let expected: Vec<f32> = values.iter().map(|x| *x as f32 / 2_f32.powi(63)).collect();
        let file = riff(&[chunk(b"fmt ", &extensible(bits, valid)), chunk(b"data", &data)]);
        assert_eq!(folder.read(&file).unwrap(), expected, "{valid} of {bits}");
        // Without the extension, the bits may be those that count, and the frame says how many bytes they take.
        let mut plain = fmt(1, valid);
        plain[12..14].copy_from_slice(&(bits / 8).to_le_bytes());
        let file = riff(&[chunk(b"fmt ", &plain), chunk(b"data", &data)]);
        assert_eq!(folder.read(&file).unwrap(), expected, "{valid} of {bits}, plain");
    }
    let doubles: Vec<u8> = scaled().iter().flat_map(|x| f64::from(*x).to_le_bytes()).collect();
    assert_eq!(folder.read(&riff(&[chunk(b"fmt ", &fmt(3, 64)), chunk(b"data", &doubles)])).unwrap(), scaled());
}

#[test]
fn aiff_and_au_are_read() {
    let folder = Folder::new();
    let turned: Vec<u8> = samples().iter().flat_map(|x| x.swap_bytes().to_le_bytes()).collect();
    let big = |mut bytes: Vec<u8>| {
        bytes.reverse();
        bytes
    };
    let chunk = |name: &[u8; 4], contents: &[u8]| {
        let size = big((contents.len() as u32).to_le_bytes().to_vec());
        [&name[..], &size, contents, &[0][..contents.len() % 2]].concat()
    };
    let common = |frames: u32| {
        let frames = big(frames.to_le_bytes().to_vec());
        [&[0, 1][..], &frames, &[0, 16], b"\x40\x0c\xfa\0\0\0\0\0\0\0"].concat()
    };
    let sound = |offset: u8, data: &[u8]| [&[0, 0, 0, offset, 0, 0, 0, 0][..], &vec![7; offset.into()], data].concat();
    let form = |kind: &[u8], chunks: &[Vec<u8>]| {
        let contents = chunks.concat();
        let size = big((contents.len() as u32 + 4).to_le_bytes().to_vec());
        [b"FORM", &size[..], kind, &contents].concat()
    };
    let named = [chunk(b"NAME", b"odd"), chunk(b"COMM", &common(801)), chunk(b"SSND", &sound(3, &turned))];
    let behind = [chunk(b"SSND", &sound(0, &turned)), chunk(b"COMM", &common(801))];
    let little = [
        chunk(b"FVER", &[0; 4]),
        chunk(b"COMM", &[&common(801)[..], b"sowt\0\0"].concat()),
        chunk(b"SSND", &sound(0, &bytes())),
    ];
    for (kind, chunks) in [(b"AIFF", &named[..]), (b"AIFF", &behind), (b"AIFC", &little)] {
        let file = form(kind, chunks);
        assert_eq!(folder.read(&file).unwrap(), scaled());
        assert_eq!(Reader::open(folder.file(&file), 16_000).unwrap().format(), Format::Aiff);
    }
    // Written to a pipe: the sound is as long as its frames say, or the file.
    let mut streamed = form(b"AIFF", &[chunk(b"COMM", &common(700)), chunk(b"SSND", &sound(0, &turned))]);
    let at = streamed.len() - turned.len() - 12;
    streamed[at..at + 4].fill(0xff);
    assert_eq!(folder.read(&streamed).unwrap(), scaled()[..700]);
    let unknown =
        form(b"AIFC", &[chunk(b"COMM", &[&common(1)[..], b"QDM2\0\0"].concat()), chunk(b"SSND", &sound(0, b""))]);
    assert!(folder.read(&unknown).unwrap_err().contains("AIFF: compression `QDM2`, which is not read"));
    for size in [turned.len() as u32, u32::MAX] {
        let numbers = [28, size, 3, 16_000, 1, 0];
        let head: Vec<u8> = numbers.iter().flat_map(|number| big(number.to_le_bytes().to_vec())).collect();
        assert_eq!(folder.read(&[b".snd", &head[..], &turned].concat()).unwrap(), scaled());
    }
}

#[test]
fn headers_that_promise_the_world_cost_nothing() {
    let folder = Folder::new();
    let mut wide = fmt(1, 16);
    wide[2..4].copy_from_slice(&u16::MAX.to_le_bytes());
    let error = folder.read(&riff(&[chunk(b"fmt ", &wide), chunk(b"data", &bytes())])).unwrap_err();
    assert!(error.contains("holds no samples"), "{error}");
    for (rate, words) in [(0_u32, "0 Hz"), (4_000_000_000, "4000000000 Hz"), (u32::MAX, "Hz")] {
        let mut fast = fmt(1, 16);
        fast[4..8].copy_from_slice(&rate.to_le_bytes());
        let error = folder.read(&riff(&[chunk(b"fmt ", &fast), chunk(b"data", &bytes())])).unwrap_err();
        assert!(error.contains(words), "{error}");
    }
    let mut sizes = vec![0xff; 28];
    sizes[8..16].copy_from_slice(&(1_u64 << 40).to_le_bytes());
    let chunks = [chunk(b"ds64", &sizes), chunk(b"fmt ", &fmt(1, 16)), claiming(b"data", u32::MAX, &bytes())].concat();
    let error = folder.read(&[b"RF64\xff\xff\xff\xffWAVE", &chunks[..]].concat()).unwrap_err();
    assert!(error.contains("the file holds 801 samples a channel, its header promises 549755813888"), "{error}");
    let lost = riff(&[claiming(b"LIST", u32::MAX - 9, b"cut"), chunk(b"fmt ", &fmt(1, 16)), chunk(b"data", &bytes())]);
    assert!(folder.read(&lost).unwrap_err().contains("chunk `LIST` at byte 12 claims 4294967286 bytes"));
    // More chunks than a file has in practice.
    let many = riff(&vec![chunk(b"junk", b""); 200_000]);
    assert!(folder.read(&many).unwrap_err().contains("no chunk `fmt `"));
}

#[test]
fn high_rates_are_sounds_and_one_sample_is_one() {
    let folder = Folder::new();
    let mut fast = fmt(1, 16);
    fast[4..8].copy_from_slice(&500_000_u32.to_le_bytes());
    let file = folder.file(&riff(&[chunk(b"fmt ", &fast), chunk(b"data", &bytes())]));
    assert_eq!(Clip::read(&file, 500_000).unwrap().samples, scaled());
    let file = folder.file(&riff(&[chunk(b"fmt ", &fmt(1, 16)), chunk(b"data", &bytes()[..2])]));
    assert_eq!(Clip::read(&file, 16_000).unwrap().samples, scaled()[..1]);
}

#[test]
fn a_channel_can_be_chosen_and_opposite_ones_are_told() {
    let folder = Folder::new();
    let mut stereo = fmt(1, 16);
    (stereo[2], stereo[12]) = (2, 4);
    let both: Vec<u8> = samples().iter().flat_map(|x| [*x, -*x]).flat_map(|x| x.to_le_bytes()).collect();
    let file = folder.file(&riff(&[chunk(b"fmt ", &stereo), chunk(b"data", &both)]));
    let read = |mix: Mix| Clip::read_mixed(&file, 16_000, mix).map(|clip| clip.samples);
    assert!(read(Mix::Mean).unwrap().iter().all(|sample| *sample == 0.0));
    assert_eq!(read(Mix::Channel(1)).unwrap(), scaled());
    assert_eq!(read(Mix::Channel(2)).unwrap(), scaled().iter().map(|sample| -sample).collect::<Vec<_>>());
    for none in [0, 3] {
        let error = read(Mix::Channel(none)).unwrap_err().to_string();
        assert!(error.contains(&format!("has 2 channels and no channel {none}")), "{error}");
    }
    let remarks = |mix: Mix| Reader::open_mixed(&file, 8_000, mix).unwrap().finish().unwrap().remarks;
    assert!(remarks(Mix::Mean)[0].contains("the mix of its channels is silent, the channels are not"));
    assert_eq!(remarks(Mix::Channel(2)), Vec::<String>::new());
    assert!(Path::new(&file).is_file());
}
