//! The steps of a view: each equals a plain model in double precision, whatever the shapes, threads and stored form.

#![allow(clippy::unwrap_used)]

use otolith::StoredMatrix;
use otolith::pipeline::{Array, Pipeline, Section, Source, Statistic, Step};
use otolith::{Error, Matrix, MatrixView};
use proptest::prelude::*;
use serde_json::json;

type Rows = Vec<Vec<f64>>;

fn matrix(rows: &[Vec<f64>], dim: usize) -> Matrix {
    Matrix::from_rows(rows.len(), dim, rows.iter().flatten().map(|value| *value as f32).collect()).unwrap()
}

fn rows(matrix: &Matrix) -> Rows {
    matrix.view().iter().map(|row| row.iter().map(|value| f64::from(*value)).collect()).collect()
}

/// Numbers in `-1..1` that look random and are the same in every run.
fn noise(count: usize, seed: u64) -> Vec<f64> {
    let mut state = seed;
    (0..count)
        .map(|_| {
            state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
            let mixed = (state ^ (state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
            ((mixed ^ (mixed >> 31)) >> 11) as f64 / (1u64 << 52) as f64 - 1.0
        })
        .collect()
}

/// `records` matrices with correlated columns and a different number of rows each.
fn records(count: usize, rows: usize, dim: usize) -> Vec<Matrix> {
    (0..count)
        .map(|record| {
            let rows = rows + record % 3;
            let values = noise(rows * dim, record as u64 + 1);
            let mixed = (0..rows * dim).map(|at| {
                let row = &values[at / dim * dim..][..dim];
                (3.0 + row[at % dim] / (1.0 + (at % dim) as f64) + 2.0 * row[0] + row[dim / 2]) as f32
            });
            Matrix::from_rows(rows, dim, mixed.collect()).unwrap()
        })
        .collect()
}

fn mean(column: &[f64]) -> f64 {
    column.iter().sum::<f64>() / column.len() as f64
}

fn std(column: &[f64]) -> f64 {
    let about = mean(column);
    mean(&column.iter().map(|value| (value - about).powi(2)).collect::<Vec<f64>>()).sqrt()
}

fn quantile(column: &[f64], part: f64) -> f64 {
    let mut sorted = column.to_vec();
    sorted.sort_by(f64::total_cmp);
    let at = part * (sorted.len() - 1) as f64;
    let below = sorted[at as usize];
    below + (at - at.floor()) * (sorted[at.ceil() as usize] - below)
}

fn statistic(statistic: Statistic, column: &[f64]) -> f64 {
    let differences: Vec<f64> = column.windows(2).map(|pair| pair[1] - pair[0]).collect();
    match statistic {
        Statistic::Mean => mean(column),
        Statistic::Std => std(column),
        Statistic::Max => column.iter().copied().fold(f64::NEG_INFINITY, f64::max),
        Statistic::Quantile(part) => quantile(column, f64::from(part)),
        Statistic::Median => quantile(column, 0.5),
        _ if differences.is_empty() => 0.0,
        Statistic::StdOfDifferences => std(&differences),
        Statistic::MeanAbsDifference => mean(&differences.iter().map(|value| value.abs()).collect::<Vec<f64>>()),
        other => unreachable!("{other:?}"),
    }
}

fn columns(rows: &[Vec<f64>], dim: usize) -> Rows {
    (0..dim).map(|column| rows.iter().map(|row| row[column]).collect()).collect()
}

/// One step, as its documentation says, on one record; `training` are all training rows in the form they reach the
/// step.
fn model(step: &Step, training: &[Vec<f64>], record: &[Vec<f64>], dim: usize) -> Rows {
    let count = record.len();
    let near = |row: usize, offset: i32| &record[(row as i64 + i64::from(offset)).clamp(0, count as i64 - 1) as usize];
    match step {
        Step::Stack { offsets } => {
            (0..count).map(|row| offsets.iter().flat_map(|offset| near(row, *offset).clone()).collect()).collect()
        }
        Step::Every { n } => record.iter().step_by(*n).cloned().collect(),
        Step::Centre | Step::Standardise => {
            let columns = columns(training, dim);
            let scaled = |(value, column): (&f64, &Vec<f64>)| {
                let (about, spread) = (mean(column), std(column));
                match step {
                    Step::Centre => value - about,
                    _ if spread <= 1e-6 * about.hypot(spread) => 0.0,
                    _ => (value - about) / spread,
                }
            };
            record.iter().map(|row| row.iter().zip(&columns).map(scaled).collect()).collect()
        }
        Step::Normalise => {
            let unit = |row: &Vec<f64>| {
                let length = row.iter().map(|value| value * value).sum::<f64>().sqrt();
                row.iter().map(|value| if length > 0.0 { value / length } else { 0.0 }).collect()
            };
            record.iter().map(unit).collect()
        }
        _ if count == 0 => vec![],
        Step::Concatenate { rows } => {
            let at = |pick: usize| if *rows == 1 { 0 } else { pick * (count - 1) / (rows - 1) };
            vec![(0..*rows).flat_map(|pick| record[at(pick)].clone()).collect()]
        }
        Step::Pool(statistics) => {
            let columns = columns(record, dim);
            let of = |wanted: &Statistic| columns.iter().map(|column| statistic(*wanted, column)).collect::<Vec<f64>>();
            vec![statistics.iter().flat_map(of).collect()]
        }
        // PCA, LDA, contrast and codes have tests of their own.
        other => unreachable!("{other}"),
    }
}

fn assert_close(found: &Matrix, expected: &[Vec<f64>], tolerance: f64) {
    assert_eq!(found.rows(), expected.len());
    for (found, expected) in rows(found).iter().zip(expected) {
        assert_eq!(found.len(), expected.len());
        for (found, expected) in found.iter().zip(expected) {
            assert!((found - expected).abs() <= tolerance * (1.0 + expected.abs()), "{found} for {expected}");
        }
    }
}

fn any_statistic() -> impl Strategy<Value = Statistic> {
    prop_oneof![
        Just(Statistic::Mean),
        Just(Statistic::Std),
        Just(Statistic::Max),
        (0u8..=10).prop_map(|tenths| Statistic::Quantile(f32::from(tenths) / 10.0)),
        Just(Statistic::Median),
        Just(Statistic::StdOfDifferences),
        Just(Statistic::MeanAbsDifference),
    ]
}

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        prop::collection::vec(-5i32..=5, 1..4).prop_map(|offsets| Step::Stack { offsets }),
        (1usize..5).prop_map(|n| Step::Every { n }),
        Just(Step::Centre),
        Just(Step::Standardise),
        Just(Step::Normalise),
        // 1 and powers of two above it, where positions in double precision are exact as the model's are.
        prop_oneof![Just(1), Just(2), Just(3), Just(5), Just(9)].prop_map(|rows| Step::Concatenate { rows }),
        prop::collection::vec(any_statistic(), 1..4).prop_map(Step::Pool),
    ]
}

/// A dimension and 1 to 4 records, one of them not empty.
fn any_records() -> impl Strategy<Value = (usize, Vec<Rows>)> {
    (1usize..4).prop_flat_map(|dim| {
        let row = prop::collection::vec((-8i32..=8).prop_map(f64::from), dim);
        let records = prop::collection::vec(prop::collection::vec(row, 0..12), 1..5);
        (Just(dim), records.prop_filter("needs a row", |records| records.iter().any(|record| !record.is_empty())))
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    #[test]
    fn every_chain_of_steps_equals_the_model((dim, records) in any_records(), steps in prop::collection::vec(any_step(), 1..5)) {
        let source: Vec<Matrix> = records.iter().map(|record| matrix(record, dim)).collect();
        let pipeline = Pipeline::fit(&steps, dim, &source).unwrap();
        let (mut expected, mut width) = (records.clone(), dim);
        for (at, step) in steps.iter().enumerate() {
            // The direction of a row that should be nothing, such as the mean of centred rows, is up to rounding.
            let length = |row: &Vec<f64>| row.iter().map(|value| value * value).sum::<f64>().sqrt();
            let short = || expected.iter().flatten().any(|row| length(row) < 1e-3);
            prop_assume!(at == 0 || *step != Step::Normalise || !short());
            let training = expected.concat();
            expected = expected.iter().map(|record| model(step, &training, record, width)).collect();
            width = expected.iter().flatten().next().map_or(width, Vec::len);
        }
        prop_assert_eq!(pipeline.dim(), width);
        for (record, expected) in source.iter().zip(&expected) {
            let found = pipeline.apply(record.view()).unwrap();
            prop_assert_eq!((found.rows(), found.dim()), (pipeline.rows(record.rows()), width));
            assert_close(&found, expected, 1e-3);
        }
    }

    #[test]
    fn settings_survive_json(step in any_step(), seed in any::<u64>()) {
        let codes = Step::Codes { centroids: 3, sample: 9, rounds: 2, seed };
        let lda = Step::Lda { field: "class".to_owned(), shrinkage: 0.3, dim: (seed % 2 == 0).then_some(4) };
        for step in [step, codes, lda, Step::Pca { dim: 5, whiten: false }] {
            let text = step.to_json().to_string();
            prop_assert_eq!(Step::from_json(&serde_json::from_str(&text).unwrap()).unwrap(), step);
        }
    }

    #[test]
    fn damaged_sections_never_panic(kind in 0u32..10, version in 1u32..3, lengths in prop::collection::vec(0usize..9, 0..3), step in any_step(), value in any::<f32>()) {
        let arrays = lengths.iter().map(|length| Array::F32(vec![value; *length])).collect();
        let section = Section { kind, version, settings: step.to_json(), arrays };
        if let Ok(pipeline) = Pipeline::from_sections(2, &[section]) {
            let _ = pipeline.apply(MatrixView::new(3, 2, &[1.0; 6]).unwrap());
        }
    }
}

/// The steps of the reference methods g and i, small.
fn whitened_codes() -> Vec<Step> {
    let mut steps = vec![Step::Stack { offsets: vec![-2, 0, 2] }, Step::Every { n: 2 }];
    if cfg!(feature = "fit") {
        steps.push(Step::Pca { dim: 9, whiten: true });
    }
    steps.extend([
        Step::Normalise,
        Step::Codes { centroids: 40, sample: 300, rounds: 3, seed: 7 },
        Step::Pool(vec![Statistic::Mean, Statistic::Max, Statistic::Std]),
        Step::Standardise,
    ]);
    if cfg!(feature = "fit") {
        steps.push(Step::Pca { dim: 30, whiten: true });
    }
    steps
}

#[test]
fn long_records_pass_block_by_block_as_short_ones() {
    let record = records(1, 700, 3);
    let steps = [
        Step::Stack { offsets: vec![-3, 0, 400] },
        Step::Every { n: 2 },
        Step::Centre,
        Step::Pool(vec![
            Statistic::Mean,
            Statistic::Std,
            Statistic::Max,
            Statistic::Median,
            Statistic::StdOfDifferences,
        ]),
    ];
    for count in 1..=steps.len() {
        let found = Pipeline::fit(&steps[..count], 3, &record).unwrap().apply(record[0].view()).unwrap();
        let (mut expected, mut dim) = (rows(&record[0]), 3);
        for step in &steps[..count] {
            expected = model(step, &expected, &expected, dim);
            dim = expected[0].len();
        }
        assert_close(&found, &expected, 1e-5);
    }
}

#[test]
fn every_training_row_counts_however_many_batches_they_fill() {
    // 12 records of 1,000 x 512 values: more than one batch, and the last record is unlike the others.
    let (dim, count) = (512, 12);
    let source: Vec<Matrix> = (0..count)
        .map(|record| {
            let values = noise(1_000 * dim, record).into_iter().map(|value| value as f32 + (record / 11) as f32 * 5.0);
            Matrix::from_rows(1_000, dim, values.collect()).unwrap()
        })
        .collect();
    let mut steps = vec![Step::Standardise];
    if cfg!(feature = "fit") {
        steps.push(Step::Pca { dim: 2, whiten: true });
    }
    for step in steps {
        let pipeline = Pipeline::fit(&[step], dim, &source).unwrap();
        let mapped = source.iter().map(|record| pipeline.apply(record.view()).unwrap());
        let first: Vec<f64> =
            mapped.flat_map(|rows| rows.view().iter().map(|row| row[0].into()).collect::<Vec<f64>>()).collect();
        assert!(mean(&first).abs() < 1e-3 && (std(&first) - 1.0).abs() < 1e-3, "{} {}", mean(&first), std(&first));
    }
    // One centroid of all rows is the direction of their sum.
    let codes = Step::Codes { centroids: 1, sample: usize::MAX, rounds: 1, seed: 1 };
    let Array::F32(centroid) = &Pipeline::fit(&[codes], dim, &source).unwrap().sections()[0].arrays[0] else {
        panic!("single precision")
    };
    let mut sum = vec![0.0; dim];
    for row in source.iter().flat_map(|record| record.view().iter()) {
        sum.iter_mut().zip(row).for_each(|(sum, value)| *sum += f64::from(*value));
    }
    let length = sum.iter().map(|value| value * value).sum::<f64>().sqrt();
    for (found, sum) in centroid.iter().zip(&sum) {
        assert!((f64::from(*found) - sum / length).abs() < 1e-6);
    }
}

#[test]
fn a_column_that_did_not_vary_in_training_says_nothing_of_a_query() {
    let training: Vec<f32> = (0..40).flat_map(|row| [row as f32, 5.0, 1e6 + (row % 2) as f32 / 16.0]).collect();
    let source = vec![Matrix::from_rows(40, 3, training).unwrap()];
    let pipeline = Pipeline::fit(&[Step::Standardise], 3, &source).unwrap();
    let query = pipeline.apply(MatrixView::new(1, 3, &[19.5, 6.0, 2e6]).unwrap()).unwrap();
    assert_eq!(query.values(), [0.0; 3]);
}

#[test]
fn a_stored_pipeline_gives_identical_bytes() {
    let source = records(30, 20, 8);
    let fitted = Pipeline::fit(&whitened_codes(), 8, &source).unwrap();
    let stored = Pipeline::from_sections(8, &fitted.sections()).unwrap();
    assert_eq!(stored, fitted);
    for record in &source {
        assert_eq!(stored.apply(record.view()).unwrap(), fitted.apply(record.view()).unwrap());
    }
    assert!(Pipeline::from_sections(7, &fitted.sections()[2..]).is_err(), "fitted for other rows");
}

#[test]
fn fitting_does_not_depend_on_the_number_of_threads() {
    // 12,000 rows of 448 numbers after stacking: more than one batch.
    let source = records(80, 150, 64);
    let mut steps = whitened_codes();
    steps[0] = Step::Stack { offsets: vec![-8, -4, -2, 0, 2, 4, 8] };
    steps[1] = Step::Every { n: 1 };
    let fit = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| Pipeline::fit(&steps, 64, &source).unwrap().sections())
    };
    assert_eq!(fit(1), fit(8));
}

#[test]
fn a_row_of_a_view_knows_its_place_in_time() {
    let fit = |steps: &[Step]| Pipeline::fit(steps, 2, &records(2, 9, 2)).unwrap().row_step();
    assert_eq!(fit(&[]), Some(1));
    assert_eq!(fit(&[Step::Every { n: 2 }, Step::Normalise, Step::Every { n: 3 }]), Some(6));
    assert_eq!(fit(&[Step::Every { n: 2 }, Step::Pool(vec![Statistic::Mean])]), None);
    assert_eq!(fit(&[Step::Concatenate { rows: 4 }]), None);
}

#[test]
fn rows_are_laid_out_as_numpy_spaces_them() {
    // numpy: linspace(0, 248, 64).astype(int) begins 0, 3, 7, 11 and ends 240, 244, 248.
    let record = Matrix::from_rows(249, 1, (0..249).map(|row| row as f32).collect()).unwrap();
    let laid = |rows| Pipeline::fit(&[Step::Concatenate { rows }], 1, &vec![]).unwrap().apply(record.view()).unwrap();
    let picked = laid(64);
    assert_eq!(picked.values()[..4], [0.0, 3.0, 7.0, 11.0]);
    assert_eq!(picked.values()[61..], [240.0, 244.0, 248.0]);
    assert_eq!(laid(249).values(), record.values());
}

#[test]
fn codes_before_the_first_round_are_similarities_to_sampled_rows() {
    let source = records(4, 10, 3);
    let all: Rows = source.iter().flat_map(rows).collect();
    let codes = Step::Codes { centroids: 1_000, sample: 1_000, rounds: 0, seed: 1 };
    let pipeline = Pipeline::fit(&[codes], 3, &source).unwrap();
    assert_eq!(pipeline.dim(), all.len(), "as many centroids as there are rows");
    let length = |row: &[f64]| row.iter().map(|value| value * value).sum::<f64>().sqrt();
    let code = |row: &Vec<f64>, other: &Vec<f64>| {
        (row.iter().zip(other).map(|(a, b)| a * b).sum::<f64>() / length(other)).max(0.0)
    };
    let expected: Rows =
        rows(&source[1]).iter().map(|row| all.iter().map(|other| code(row, other)).collect()).collect();
    assert_close(&pipeline.apply(source[1].view()).unwrap(), &expected, 1e-5);
}

#[test]
fn k_means_ends_where_every_centroid_is_the_direction_of_its_rows() {
    let dim = 4;
    let values = noise(250 * dim, 1).iter().map(|value| *value as f32).collect();
    let all = vec![Matrix::from_rows(250, dim, values).unwrap()];
    let steps = [Step::Normalise, Step::Codes { centroids: 6, sample: 1_000, rounds: 60, seed: 3 }];
    let pipeline = Pipeline::fit(&steps, dim, &all).unwrap();
    let Array::F32(centroids) = &pipeline.sections()[1].arrays[0] else { panic!("single precision") };
    assert_eq!(centroids.len(), 6 * dim);
    let unit = Pipeline::fit(&[Step::Normalise], dim, &vec![]).unwrap().apply(all[0].view()).unwrap();
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| f64::from(a * b)).sum::<f64>();
    let mut sums = vec![vec![0.0; dim]; 6];
    for row in unit.view().iter() {
        let best = (0..6)
            .max_by(|a, b| dot(row, &centroids[a * dim..][..dim]).total_cmp(&dot(row, &centroids[b * dim..][..dim])));
        sums[best.unwrap()].iter_mut().zip(row).for_each(|(sum, value)| *sum += f64::from(*value));
    }
    for (centroid, sum) in centroids.chunks_exact(dim).zip(&sums) {
        let length = sum.iter().map(|value| value * value).sum::<f64>().sqrt();
        let cosine: f64 = centroid.iter().zip(sum).map(|(a, b)| f64::from(*a) * b / length).sum();
        assert!(cosine > 0.999_99, "cosine {cosine}");
    }
}

#[test]
fn draws_follow_the_seed() {
    let source = records(5, 40, 3);
    let fit = |seed| Pipeline::fit(&[Step::Codes { centroids: 5, sample: 50, rounds: 2, seed }], 3, &source).unwrap();
    assert_eq!(fit(4), fit(4));
    assert_ne!(fit(4), fit(5));
}

#[test]
fn steps_that_learn_refuse_to_learn_from_nothing() {
    let empty = vec![Matrix::from_rows(0, 2, vec![]).unwrap()];
    let codes = Step::Codes { centroids: 1, sample: 1, rounds: 1, seed: 0 };
    for step in [Step::Centre, Step::Standardise, codes, Step::Pca { dim: 1, whiten: false }] {
        let error = Pipeline::fit(&[step], 2, &empty).unwrap_err();
        assert!(error.to_string().contains("no training rows"), "{error}");
    }
}

#[test]
fn senseless_settings_are_refused() {
    let steps = [
        Step::Stack { offsets: vec![] },
        Step::Every { n: 0 },
        Step::Pca { dim: 0, whiten: true },
        Step::Concatenate { rows: 0 },
        Step::Concatenate { rows: usize::MAX },
        Step::Pool(vec![]),
        Step::Pool(vec![Statistic::Quantile(1.5)]),
        Step::Codes { centroids: 0, sample: 9, rounds: 1, seed: 0 },
        Step::Codes { centroids: 9, sample: 8, rounds: 1, seed: 0 },
    ];
    for step in steps {
        let refused = Pipeline::fit(std::slice::from_ref(&step), 2, &records(2, 3, 2));
        assert!(matches!(refused, Err(Error::Invalid { .. })), "{step:?}");
    }
    for settings in [json!({}), json!([]), json!({"step": "sort"}), json!({"step": "every", "n": -1})] {
        assert!(Step::from_json(&settings).is_err(), "{settings}");
    }
}

#[test]
fn a_matrix_of_another_dimension_is_refused() {
    let pipeline = Pipeline::fit(&[Step::Normalise], 2, &vec![]).unwrap();
    assert!(matches!(pipeline.apply(MatrixView::new(1, 3, &[0.0; 3]).unwrap()), Err(Error::Mismatch { .. })));
    assert!(Pipeline::fit(&[Step::Centre], 3, &records(1, 4, 2)).is_err());
}

#[test]
fn sections_that_do_not_fit_are_refused() {
    let section = |kind, arrays| Section { kind, version: 1, settings: json!({"step": "pca"}), arrays };
    let numbers = |count| Array::F32(vec![1.0; count]);
    let refused = [
        section(4, vec![numbers(2), numbers(0)]),
        section(4, vec![numbers(2), numbers(5)]),
        section(4, vec![numbers(3), numbers(6)]),
        section(4, vec![numbers(2), Array::F64(vec![1.0; 4])]),
        section(4, vec![numbers(2), Array::F32(vec![f32::NAN; 4])]),
        section(3, vec![numbers(2), numbers(1)]),
        section(8, vec![numbers(3)]),
        section(9, vec![]),
        Section { version: 2, ..section(4, vec![numbers(2), numbers(4)]) },
        Section { settings: json!({"step": "every", "n": 0}), ..section(2, vec![]) },
        Section { settings: json!({"step": "every", "n": 2}), ..section(5, vec![]) },
        Section { settings: json!({"step": "concatenate", "rows": u32::MAX}), ..section(6, vec![]) },
    ];
    for section in refused {
        let found = Pipeline::from_sections(2, std::slice::from_ref(&section));
        assert!(matches!(found, Err(Error::Invalid { .. })), "{section:?}");
    }
    assert_eq!(Pipeline::from_sections(2, &[section(4, vec![numbers(2), numbers(6)])]).unwrap().dim(), 3);
}

#[cfg(not(feature = "fit"))]
#[test]
fn without_an_eigensolver_the_error_names_the_feature() {
    let error = Pipeline::fit(&[Step::Pca { dim: 1, whiten: false }], 2, &records(2, 5, 2)).unwrap_err();
    assert!(error.to_string().contains("feature `fit`"), "{error}");
}

#[cfg(feature = "fit")]
mod pca {
    use super::*;

    fn fit(dim: usize, whiten: bool, source: &Vec<Matrix>) -> Pipeline {
        Pipeline::fit(&[Step::Pca { dim, whiten }], source[0].dim(), source).unwrap()
    }

    fn apply(pipeline: &Pipeline, source: &[Matrix]) -> Rows {
        source.iter().flat_map(|record| rows(&pipeline.apply(record.view()).unwrap())).collect()
    }

    /// What makes axes the principal ones: lengths are kept, components are uncorrelated and in order of variance.
    fn assert_principal(pipeline: &Pipeline, source: &[Matrix]) {
        let raw: Rows = source.iter().flat_map(rows).collect();
        let (mapped, dim) = (apply(pipeline, source), pipeline.dim());
        let distance = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| (a - b).powi(2)).sum::<f64>().sqrt();
        for (at, other) in (1..raw.len()).zip(noise(raw.len(), 5)) {
            let other = (other.abs() * at as f64) as usize;
            let (before, after) = (distance(&raw[at], &raw[other]), distance(&mapped[at], &mapped[other]));
            assert!((before - after).abs() < 1e-4 * (1.0 + before), "{before} became {after}");
        }
        let columns = columns(&mapped, dim);
        for (at, column) in columns.iter().enumerate() {
            assert!(mean(column).abs() < 1e-4);
            assert!(at == 0 || std(column) <= std(&columns[at - 1]) * (1.0 + 1e-6));
            for other in &columns[..at] {
                let product = mean(&column.iter().zip(other).map(|(a, b)| a * b).collect::<Vec<f64>>());
                assert!(product.abs() < 1e-4 * std(&columns[0]).powi(2), "correlated: {product}");
            }
        }
    }

    #[test]
    fn components_are_uncorrelated_and_keep_distances() {
        let many = records(20, 30, 70);
        let pipeline = fit(70, false, &many);
        assert_eq!(pipeline.dim(), 70);
        assert_principal(&pipeline, &many);
    }

    #[test]
    fn fewer_rows_than_columns_give_all_the_rank_there_is() {
        let few = records(3, 13, 150);
        let pipeline = fit(1_000, false, &few);
        assert_eq!(pipeline.dim(), 13 + 14 + 15 - 1, "centring takes one");
        assert_principal(&pipeline, &few);
    }

    #[test]
    fn rows_or_covariance_give_the_same_axes() {
        let few = records(3, 13, 70);
        let twice: Vec<Matrix> = few.iter().chain(&few).cloned().collect();
        let (by_rows, by_columns) = (fit(20, true, &few), fit(20, true, &twice));
        for record in &few {
            let expected = rows(&by_columns.apply(record.view()).unwrap());
            assert_close(&by_rows.apply(record.view()).unwrap(), &expected, 1e-4);
        }
    }

    #[test]
    fn whitened_components_have_variance_one() {
        let source = records(20, 30, 6);
        for column in columns(&apply(&fit(6, true, &source), &source), 6) {
            assert!((std(&column) - 1.0).abs() < 1e-3, "{}", std(&column));
        }
    }

    #[test]
    fn the_largest_entry_of_each_axis_is_positive() {
        for source in [records(20, 30, 6), records(2, 3, 9)] {
            let pipeline = fit(4, false, &source);
            let Array::F32(matrix) = &pipeline.sections()[0].arrays[1] else { panic!("single precision") };
            for axis in 0..pipeline.dim() {
                let column = matrix[axis..].iter().step_by(pipeline.dim());
                let largest = column.copied().max_by(|a, b| a.abs().total_cmp(&b.abs())).unwrap();
                assert!(largest > 0.0);
            }
        }
    }

    #[test]
    fn rows_that_do_not_vary_have_no_components() {
        let same = vec![Matrix::from_rows(5, 3, [0.1, 2.0, 3.0].repeat(5)).unwrap()];
        let one = vec![Matrix::from_rows(1, 3, vec![0.1, 2.0, 3.0]).unwrap()];
        for source in [same, one] {
            let error = Pipeline::fit(&[Step::Pca { dim: 2, whiten: true }], 3, &source).unwrap_err();
            assert!(error.to_string().contains("all the same"), "{error}");
        }
        // One column varies: one component.
        let line = vec![Matrix::from_rows(4, 2, vec![5.0, 1.0, 5.0, 2.0, 5.0, 3.0, 5.0, 4.0]).unwrap()];
        assert_eq!(fit(2, true, &line).dim(), 1);
    }
}

/// Records of which some have a class.
struct Labelled {
    records: Vec<Matrix>,
    classes: Vec<Option<&'static str>>,
}

impl Source for Labelled {
    fn len(&self) -> usize {
        self.records.len()
    }

    fn matrix(&self, index: usize) -> otolith::Result<StoredMatrix<'_>> {
        self.records.matrix(index)
    }

    fn label(&self, index: usize, field: &str) -> otolith::Result<Option<String>> {
        assert_eq!(field, "class");
        Ok(self.classes[index].map(str::to_owned))
    }
}

/// Twelve records of three classes that differ in some columns, and two of none.
#[cfg(feature = "fit")]
fn labelled(dim: usize) -> Labelled {
    let classes: Vec<_> =
        (0..14).map(|record| [Some("dog"), Some("rain"), Some("siren")][record % 3].filter(|_| record < 12)).collect();
    let moved = |(record, matrix): (usize, Matrix)| {
        let values = matrix.values().iter().enumerate().map(|(at, value)| match (record % 3, at % dim) {
            (1, 1) => value + 0.8,
            (2, 2) => value - 0.5,
            _ if record < 12 => *value,
            _ => 100.0 * value,
        });
        Matrix::from_rows(matrix.rows(), dim, values.collect()).unwrap()
    };
    Labelled { records: records(14, 4, dim).into_iter().enumerate().map(moved).collect(), classes }
}

/// `left^-1 right` by Gauss and Jordan.
#[cfg(feature = "fit")]
fn solved(mut left: Rows, mut right: Rows) -> Rows {
    for at in 0..left.len() {
        let pivot = (at..left.len()).max_by(|a, b| left[*a][at].abs().total_cmp(&left[*b][at].abs())).unwrap();
        left.swap(at, pivot);
        right.swap(at, pivot);
        let (above, mapped) = (left[at].clone(), right[at].clone());
        for row in (0..left.len()).filter(|row| *row != at) {
            let times = left[row][at] / above[at];
            left[row].iter_mut().zip(&above).for_each(|(value, above)| *value -= times * above);
            right[row].iter_mut().zip(&mapped).for_each(|(value, above)| *value -= times * above);
        }
    }
    left.iter().zip(&right).enumerate().map(|(at, (left, row))| row.iter().map(|v| v / left[at]).collect()).collect()
}

#[test]
#[cfg(feature = "fit")]
fn discriminants_are_those_of_their_definition() {
    let (dim, shrinkage) = (5, 0.2);
    let source = labelled(dim);
    let lda = |dim| Step::Lda { field: "class".to_owned(), shrinkage, dim };
    let pipeline = Pipeline::fit(&[lda(None)], dim, &source).unwrap();
    let sections = pipeline.sections();
    assert_eq!((sections[0].kind, pipeline.dim()), (4, 2));
    let [Array::F32(mean_found), Array::F32(matrix)] = &sections[0].arrays[..] else { panic!("two arrays") };

    let of = |class| {
        let chosen = source.records.iter().zip(&source.classes).filter(move |(_, found)| **found == Some(class));
        chosen.flat_map(|(record, _)| rows(record)).collect::<Rows>()
    };
    let classes = ["dog", "rain", "siren"].map(of);
    let all = classes.concat();
    let means = |rows: &Rows| columns(rows, dim).iter().map(|column| mean(column)).collect::<Vec<f64>>();
    let middle = means(&all);
    mean_found.iter().zip(&middle).for_each(|(found, expected)| assert!((f64::from(*found) - expected).abs() < 1e-5));
    let (mut within, mut between) = (vec![vec![0.0; dim]; dim], vec![vec![0.0; dim]; dim]);
    for class in &classes {
        let own = means(class);
        for (row, column) in (0..dim * dim).map(|at| (at / dim, at % dim)) {
            let products = class.iter().map(|x| (x[row] - own[row]) * (x[column] - own[column]));
            within[row][column] += products.sum::<f64>() / all.len() as f64;
            between[row][column] += (own[row] - middle[row]) * (own[column] - middle[column]);
        }
    }
    let level = (0..dim).map(|at| within[at][at]).sum::<f64>() / dim as f64;
    for (row, column) in (0..dim * dim).map(|at| (at / dim, at % dim)) {
        let ridge = if row == column { shrinkage * level } else { 0.0 };
        within[row][column] = (1.0 - shrinkage) * within[row][column] + ridge;
    }
    // The axes make `within` the identity and `between` diagonal, and nothing of `between` is left out.
    let form = |matrix_of: &Rows, left: usize, right: usize| {
        let entry = |row: usize, axis: usize| f64::from(matrix[row * 2 + axis]);
        let terms = (0..dim * dim).map(|at| (at / dim, at % dim));
        terms.map(|(row, column)| entry(row, left) * matrix_of[row][column] * entry(column, right)).sum::<f64>()
    };
    let close = |found: f64, expected: f64| assert!((found - expected).abs() < 1e-4, "{found} for {expected}");
    close(form(&within, 0, 0), 1.0);
    close(form(&within, 1, 1), 1.0);
    close(form(&within, 0, 1), 0.0);
    close(form(&between, 0, 1), 0.0);
    let (first, second) = (form(&between, 0, 0), form(&between, 1, 1));
    assert!(first > second);
    let whole = solved(within, between);
    close(first + second, (0..dim).map(|at| whole[at][at]).sum());

    let one = Pipeline::fit(&[lda(Some(1))], dim, &source).unwrap();
    let (one, both) = (one.apply(source.records[0].view()).unwrap(), pipeline.apply(source.records[0].view()).unwrap());
    one.view().iter().zip(both.view().iter()).for_each(|(one, both)| close(one[0].into(), both[0].into()));
}

#[test]
#[cfg(feature = "fit")]
fn what_labels_cannot_teach_is_said() {
    let mut source = labelled(5);
    let fit = |source: &dyn Source, shrinkage| {
        Pipeline::fit(&[Step::Lda { field: "class".to_owned(), shrinkage, dim: None }], 5, source)
    };
    let unlabelled = fit(&source.records, 0.1).unwrap_err().to_string();
    assert!(unlabelled.contains("at least two classes") && unlabelled.contains("`class`"), "{unlabelled}");
    let (records, classes) = (source.records.clone(), source.classes.clone());
    source.classes.iter_mut().for_each(|class| *class = class.filter(|class| *class == "dog"));
    assert!(fit(&source, 0.1).unwrap_err().to_string().contains("finds 1"));
    // One row a class: nothing is known of how far the rows of a class lie apart.
    let single = |n: usize| Matrix::from_rows(1, 5, records[n].view().row(0).to_vec()).unwrap();
    let few = Labelled { records: (0..3).map(single).collect(), classes: classes[..3].to_vec() };
    assert!(fit(&few, 0.1).unwrap_err().to_string().contains("label more records"));
    // Fewer rows than columns need shrinkage.
    let few = Labelled { records: (0..6).map(single).collect(), classes: classes[..6].to_vec() };
    assert!(fit(&few, 0.0).unwrap_err().to_string().contains("more shrinkage"));
    assert_eq!(fit(&few, 0.1).unwrap().dim(), 2);
}

#[test]
fn rows_of_a_class_point_the_same_way_after_contrast() {
    // Three classes that differ by little in two columns; the others are loud and say nothing.
    let mut state = 7_u32;
    let mut noise = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / (1 << 23) as f32 - 1.0
    };
    let places = [(1.0, 0.0), (-0.5, 0.9), (-0.5, -0.9)];
    let mut record = |class: usize| {
        let (x, y) = places[class];
        let row = |noise: &mut dyn FnMut() -> f32| {
            let loud: Vec<f32> = (0..8).map(|_| 4.0 * noise()).collect();
            [vec![x + 0.3 * noise(), y + 0.3 * noise()], loud].concat()
        };
        let rows: Vec<f32> = (0..10).flat_map(|_| row(&mut noise)).collect();
        Matrix::from_rows(10, 10, rows).unwrap()
    };
    let records: Vec<Matrix> = (0..60).map(|number| record(number % 3)).collect();
    let fresh: Vec<Matrix> = (0..30).map(|number| record(number % 3)).collect();
    let names = ["dog", "rain", "siren"];
    let source = Labelled { records, classes: (0..60).map(|number| Some(names[number % 3])).collect() };
    let step = Step::Contrast { field: "class".to_owned(), dim: 4, seed: 1 };
    let pipeline = Pipeline::fit(std::slice::from_ref(&step), 10, &source).unwrap();
    assert_eq!((pipeline.sections()[0].kind, pipeline.dim()), (4, 4));

    // The share of fresh rows whose nearest other row, by cosine, is of their class.
    let right = |of: &dyn Fn(&Matrix) -> Matrix| {
        let rows: Vec<(usize, Vec<f32>)> = fresh
            .iter()
            .enumerate()
            .flat_map(|(number, matrix)| {
                of(matrix).view().iter().map(|row| (number % 3, row.to_vec())).collect::<Vec<_>>()
            })
            .collect();
        let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>();
        let cosine = |a: &[f32], b: &[f32]| dot(a, b) / (dot(a, a) * dot(b, b)).sqrt();
        let found = rows.iter().enumerate().filter(|(at, (class, row))| {
            let others = rows.iter().enumerate().filter(|(other, _)| other != at);
            let near = others.max_by(|(_, (_, a)), (_, (_, b))| cosine(row, a).total_cmp(&cosine(row, b)));
            near.is_some_and(|(_, (found, _))| found == class)
        });
        found.count() as f64 / rows.len() as f64
    };
    let before = right(&|matrix| matrix.clone());
    let after = right(&|matrix| pipeline.apply(matrix.view()).unwrap());
    println!("figure contrast_nearest_before = {before:.3}\nfigure contrast_nearest_after = {after:.3}");
    assert!(before < 0.6 && after > 0.9, "{before} {after}");

    let pool = rayon::ThreadPoolBuilder::new().num_threads(3).build().unwrap();
    assert_eq!(pool.install(|| Pipeline::fit(&[step], 10, &source)).unwrap(), pipeline);
    let unlabelled = Labelled { classes: vec![None; 60], records: source.records };
    let step = Step::Contrast { field: "class".to_owned(), dim: 4, seed: 1 };
    let refused = Pipeline::fit(&[step], 10, &unlabelled).unwrap_err().to_string();
    assert!(refused.contains("at least two classes"), "{refused}");
}
