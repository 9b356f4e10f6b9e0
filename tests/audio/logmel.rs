//! Log-mel rows are the ones the definition gives, the same every time.

use crate::{data, noise, npy};
use otolith::audio::Clip;
use otolith::embed::{Embedder, LogMel, embed_clip, embed_file};

#[test]
fn frames_agree_with_the_definition() {
    let embedded = embed_file(&LogMel::new(), data("audio/mel.wav")).unwrap();
    assert_eq!((embedded.matrix.rows(), embedded.matrix.dim()), (49, 64));
    let pairs = embedded.matrix.values().iter().zip(npy(&data("audio/mel.npy")));
    let worst = pairs.map(|(got, expected)| (got - expected).abs()).fold(0.0, f32::max);
    println!("figure logmel_worst_difference = {worst:e} nats");
    assert!(worst < 2e-6, "{worst}");
}

#[test]
fn five_seconds_give_249_rows_of_64_at_50_a_second() {
    let clip = Clip { samples: noise(1).take(80_000).collect(), rate: 16_000 };
    let matrix = embed_clip(&LogMel::new(), &clip).unwrap();
    assert_eq!((matrix.rows(), matrix.dim(), LogMel::new().rows_per_second()), (249, 64, 50.0));
}

#[test]
fn loudness_and_offset_do_not_count() {
    let clip = |scale: f32, offset: f32| {
        let samples = noise(2).take(5_000).map(|x| x * scale + offset).collect();
        embed_clip(&LogMel::new(), &Clip { samples, rate: 16_000 }).unwrap()
    };
    let (plain, quiet) = (clip(1.0, 0.0), clip(0.125, 0.25));
    let worst = plain.values().iter().zip(quiet.values()).map(|(x, y)| (x - y).abs()).fold(0.0, f32::max);
    assert!(worst < 1e-3, "{worst}");
}

#[test]
fn silence_is_the_floor_of_the_scale() {
    for value in [0.0, 0.3] {
        let matrix = embed_clip(&LogMel::new(), &Clip { samples: vec![value; 1_000], rate: 16_000 }).unwrap();
        assert_eq!(matrix.rows(), 2);
        assert!(matrix.values().iter().all(|x| *x == 1e-3_f64.ln() as f32));
    }
}

#[test]
fn a_tone_is_loudest_in_the_band_around_it() {
    // Band b peaks at edge b + 1 of 66 evenly spaced in mel from 50 to 8,000 Hz.
    let mel = |hz: f64| 2_595.0 * (1.0 + hz / 700.0).log10();
    for hz in [200.0, 440.0, 1_000.0, 3_500.0, 7_000.0] {
        let samples = (0..2_000).map(|n| (n as f64 * std::f64::consts::TAU * hz / 16_000.0).sin() as f32).collect();
        let matrix = embed_clip(&LogMel::new(), &Clip { samples, rate: 16_000 }).unwrap();
        let row = matrix.view().row(2);
        let loudest = (0..64).max_by(|a, b| row[*a].total_cmp(&row[*b])).unwrap();
        let band = (mel(hz) - mel(50.0)) / (mel(8_000.0) - mel(50.0)) * 65.0 - 1.0;
        assert!((loudest as f64 - band).abs() <= 1.0, "{hz} Hz: band {loudest}, not {band:.1}");
    }
}

#[test]
fn the_same_file_gives_the_same_bytes_on_every_thread() {
    let (embedder, path) = (LogMel::new(), data("audio/sound.wav"));
    let once = embed_file(&embedder, &path).unwrap();
    std::thread::scope(|scope| {
        let again: Vec<_> = (0..4).map(|_| scope.spawn(|| embed_file(&embedder, &path).unwrap())).collect();
        for thread in again {
            let again = thread.join().unwrap();
            let bits = |values: &[f32]| values.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
            assert_eq!(bits(again.matrix.values()), bits(once.matrix.values()));
            assert_eq!(again, once);
        }
    });
    assert_eq!((once.seconds, once.sample_rate, once.matrix.rows()), (0.5, 44_100, 24));
}
