//! Long sounds go through in windows whose rows are exactly those of the whole.

use crate::{noise, write_float_wav};
use otolith::audio::Clip;
use otolith::embed::{Embedder, LogMel, Loudness, Window, embed_clip, embed_file};
use otolith::{Error, Matrix, Result};
use proptest::prelude::*;
use std::io::{Seek, SeekFrom, Write};
use tempfile::tempdir;

/// Another embedder with another limit on the rows of a window.
struct Limited<E>(E, Option<usize>);

impl<E: Embedder> Embedder for Limited<E> {
    fn identity(&self) -> &str {
        self.0.identity()
    }
    fn sample_rate(&self) -> u32 {
        self.0.sample_rate()
    }
    fn dim(&self) -> usize {
        self.0.dim()
    }
    fn hop(&self) -> usize {
        self.0.hop()
    }
    fn receptive_field(&self) -> usize {
        self.0.receptive_field()
    }
    fn window_rows(&self) -> Option<usize> {
        self.1
    }
    fn embed(&self, window: Window<'_>) -> Result<Matrix> {
        let matrix = self.0.embed(window)?;
        assert!(self.1.is_none_or(|most| matrix.rows() <= most), "{} rows at once", matrix.rows());
        Ok(matrix)
    }
}

/// First and last sample under each row, and the loudness of the whole.
struct Ends {
    hop: usize,
    field: usize,
}

impl Embedder for Ends {
    fn identity(&self) -> &str {
        "ends"
    }
    fn sample_rate(&self) -> u32 {
        16_000
    }
    fn dim(&self) -> usize {
        4
    }
    fn hop(&self) -> usize {
        self.hop
    }
    fn receptive_field(&self) -> usize {
        self.field
    }
    fn window_rows(&self) -> Option<usize> {
        None
    }
    fn embed(&self, Window { samples, whole, .. }: Window<'_>) -> Result<Matrix> {
        let rows = (samples.len() - self.field) / self.hop + 1;
        let row = |r: usize| {
            let under = &samples[r * self.hop..][..self.field];
            [under[0], under[self.field - 1], whole.mean as f32, whole.deviation as f32]
        };
        Matrix::from_rows(rows, 4, (0..rows).flat_map(row).collect())
    }
}

proptest! {
    #[test]
    fn rows_of_windows_are_the_rows_of_the_whole(
        length in 1_usize..3_000, hop in 1_usize..40, extra in 0_usize..60, most in 1_usize..30,
    ) {
        let field = hop + extra;
        let samples: Vec<f32> = (0..length).map(|n| n as f32).collect();
        let loudness = Loudness::of(&samples);
        let clip = Clip { samples, rate: 16_000 };
        let matrix = embed_clip(&Limited(Ends { hop, field }, Some(most)), &clip).unwrap();
        prop_assert_eq!(&matrix, &embed_clip(&Ends { hop, field }, &clip).unwrap());
        if length < field {
            prop_assert_eq!(matrix.rows(), 1);
            return Ok(());
        }
        prop_assert_eq!(matrix.rows(), (length - field) / hop + 1);
        for (r, row) in matrix.view().iter().enumerate() {
            let ends = [(r * hop) as f32, (r * hop + field - 1) as f32];
            prop_assert_eq!(row, &[ends[0], ends[1], loudness.mean as f32, loudness.deviation as f32]);
        }
    }
}

#[test]
fn windows_are_of_equal_size_so_that_none_is_a_sliver() {
    struct Sizes(Ends, std::sync::Mutex<Vec<usize>>);
    impl Embedder for Sizes {
        fn identity(&self) -> &str {
            "sizes"
        }
        fn sample_rate(&self) -> u32 {
            16_000
        }
        fn dim(&self) -> usize {
            4
        }
        fn hop(&self) -> usize {
            320
        }
        fn receptive_field(&self) -> usize {
            400
        }
        fn window_rows(&self) -> Option<usize> {
            Some(100)
        }
        fn embed(&self, window: Window<'_>) -> Result<Matrix> {
            let matrix = self.0.embed(window)?;
            self.1.lock().unwrap().push(matrix.rows());
            Ok(matrix)
        }
    }
    let sizes = Sizes(Ends { hop: 320, field: 400 }, Default::default());
    let rows = 101;
    embed_clip(&sizes, &Clip { samples: vec![0.0; (rows - 1) * 320 + 400], rate: 16_000 }).unwrap();
    assert_eq!(*sizes.1.lock().unwrap(), [51, 50]);
}

#[test]
fn log_mel_in_windows_from_disk_equals_the_whole_bit_for_bit() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("long.wav");
    // Five minutes at 16 kHz: more than is kept in memory, so the file is read twice.
    let samples: Vec<f32> = noise(9).take(300 * 16_000).enumerate().map(|(n, x)| x * (n as f32 * 1e-4).sin()).collect();
    write_float_wav(&path, 16_000, 1, samples.iter().copied());
    let whole = embed_clip(&Limited(LogMel::new(), None), &Clip { samples, rate: 16_000 }).unwrap();
    let bits = |matrix: &Matrix| matrix.values().iter().map(|x| x.to_bits()).collect::<Vec<_>>();
    for most in [LogMel::new().window_rows(), Some(1_000), Some(7)] {
        let embedded = embed_file(&Limited(LogMel::new(), most), &path).unwrap();
        assert_eq!((embedded.matrix.rows(), embedded.seconds), (14_999, 300.0));
        assert!(bits(&embedded.matrix) == bits(&whole), "{most:?} rows at once");
    }
}

#[test]
fn a_long_file_that_changes_between_the_passes_is_refused() {
    struct Meddler(LogMel, std::path::PathBuf);
    impl Embedder for Meddler {
        fn identity(&self) -> &str {
            self.0.identity()
        }
        fn sample_rate(&self) -> u32 {
            self.0.sample_rate()
        }
        fn dim(&self) -> usize {
            self.0.dim()
        }
        fn hop(&self) -> usize {
            self.0.hop()
        }
        fn receptive_field(&self) -> usize {
            self.0.receptive_field()
        }
        fn window_rows(&self) -> Option<usize> {
            Some(5_000)
        }
        fn embed(&self, window: Window<'_>) -> Result<Matrix> {
            let mut file = std::fs::OpenOptions::new().write(true).open(&self.1).unwrap();
            file.seek(SeekFrom::End(-4)).unwrap();
            file.write_all(&0.5_f32.to_le_bytes()).unwrap();
            self.0.embed(window)
        }
    }
    let folder = tempdir().unwrap();
    let path = folder.path().join("long.wav");
    write_float_wav(&path, 16_000, 1, noise(6).take(300 * 16_000));
    let error = embed_file(&Meddler(LogMel::new(), path.clone()), &path).unwrap_err();
    assert!(error.to_string().contains("changed while it was read"), "{error}");
}

#[test]
fn a_clip_below_the_receptive_field_gives_one_row() {
    for length in [1, 100, 511] {
        let mut samples: Vec<f32> = noise(4).take(length).map(|x| x + 0.5).collect();
        let matrix = embed_clip(&LogMel::new(), &Clip { samples: samples.clone(), rate: 16_000 }).unwrap();
        // Filled up with its mean, scaled by its own loudness.
        let whole = Loudness::of(&samples);
        samples.resize(512, whole.mean as f32);
        assert_eq!(
            matrix,
            LogMel::new().embed(Window { whole, ..Window::whole(&samples) }).unwrap(),
            "{length} samples"
        );
        assert_eq!(matrix.rows(), 1);
    }
}

#[test]
fn clips_that_do_not_fit_are_refused() {
    let refuse = |samples: Vec<f32>, rate: u32| embed_clip(&LogMel::new(), &Clip { samples, rate }).unwrap_err();
    assert!(matches!(refuse(vec![0.0; 9_000], 44_100), Error::Mismatch { .. }));
    assert!(matches!(refuse(vec![], 16_000), Error::Invalid { .. }));
    assert!(refuse(vec![0.0, f32::NAN], 16_000).to_string().contains("sample 1"));
    let short =
        LogMel::new().embed(Window { whole: Loudness { mean: 0.0, deviation: 1.0 }, ..Window::whole(&[0.0; 511]) });
    assert!(matches!(short, Err(Error::Mismatch { .. })));
}
