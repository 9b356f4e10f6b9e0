//! Our decoders agree with others: `tests/data/audio/agree/make.py` says who made the files and who decoded them.

use crate::data;
use otolith::audio::{Clip, Mix, Reader};
use serde_json::Value;

/// By how much a sample may differ where two decoders round differently, full scale being 1: the last of 15 bits.
const NEAR: f64 = 1.0 / 16_384.0;

#[test]
fn every_format_gives_what_another_decoder_gives() {
    let table: Value = serde_json::from_slice(&std::fs::read(data("audio/agree/decoded.json")).unwrap()).unwrap();
    let mut wrong = Vec::new();
    for (name, told) in table.as_object().unwrap() {
        let path = data(&format!("audio/agree/{name}"));
        let number = |field: &str| told[field].as_u64().unwrap();
        let summary = match Reader::open(&path, 16_000).and_then(Reader::finish) {
            Ok(summary) => summary,
            Err(error) => {
                wrong.push(error.to_string());
                continue;
            }
        };
        let found = (u64::from(summary.rate), summary.channels as u64);
        // ffmpeg leaves the encoder's padding at the end of MP4 and Ogg, which say where it begins; WebM has its own
        // way to say so, which ours does not follow.
        let ends_as = match name.as_str() {
            "aac.m4a" | "aac96.m4a" | "odd.m4a" | "opus.mp4" | "stereo.ogg" => number("made"),
            "opus.webm" | "pipe.webm" => number("made") + 648,
            _ => number("samples"),
        };
        if found != (number("rate"), number("channels")) || summary.frames != ends_as {
            wrong.push(format!("{name}: {found:?}, {} samples, not {ends_as}", summary.frames));
            continue;
        }
        for channel in 0..summary.channels {
            let samples = Clip::read_mixed(&path, summary.rate, Mix::Channel(channel + 1)).unwrap().samples;
            if let Some(crc) = told["crc"].get(channel) {
                let ours = crc32fast::hash(&samples.iter().flat_map(|x| x.to_le_bytes()).collect::<Vec<u8>>());
                if u64::from(ours) != crc.as_u64().unwrap() {
                    wrong.push(format!("{name}: channel {channel} differs, beginning {:?}", &samples[..4]));
                }
                continue;
            }
            let list =
                |value: &Value| value.as_array().unwrap().iter().map(|x| x.as_f64().unwrap()).collect::<Vec<_>>();
            let (at, values) = (list(&told["at"]), list(&told["values"][channel]));
            let shared = at.iter().zip(&values).filter(|(at, _)| (**at as usize) < samples.len());
            let worst = shared.map(|(at, value)| (f64::from(samples[*at as usize]) - value).abs());
            let worst = worst.fold(0.0, f64::max);
            println!("{name}, channel {channel}: within {worst:.2e}");
            if worst > NEAR {
                wrong.push(format!("{name}: channel {channel} off by {worst}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(table.as_object().unwrap().len() >= 51);
}

#[test]
fn adpcm_of_quicktime_is_what_it_was_made_of() {
    // Decoders differ in how they go from one block to the next: another is as near.
    let read = |name: &str| Clip::read(data(&format!("audio/agree/{name}")), 8_000).unwrap().samples;
    let (made, found) = (read("s8.mov"), read("ima.mov"));
    assert_eq!((made.len(), found.len()), (400, 448));
    let wide = |samples: &[f32]| samples[..400].iter().map(|x| f64::from(*x)).collect::<Vec<_>>();
    let near = crate::snr(&wide(&made), &wide(&found));
    assert!(near > 14.0, "{near:.1} dB");
}
