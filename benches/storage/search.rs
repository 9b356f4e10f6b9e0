//! An exact search for one of five seconds among others, on all threads.

use super::scan::build;
use super::support::{DIM, RECORD_BYTES, ROWS, figure, folder, forget, frames, id, median, records, rounds, timed};
use otolith::testing::score::{PreparedQuery, Scratch};
use otolith::{Database, Matrix, Metric};
use rayon::prelude::*;

pub(crate) fn run() {
    let count = records();
    let folder = folder();
    let path = folder.path();
    build(path, count);
    let query = frames(count / 2, ROWS, DIM);
    let gigaflop = (2 * ROWS * ROWS * DIM * count) as f64 / 1e9;
    let matrices: Vec<Matrix> = (0..count).map(|number| frames(number, ROWS, DIM)).collect();
    let prepared = PreparedQuery::new(Metric::Cosine, query.view()).unwrap();
    let open = || Database::open_read_only(path.join("db")).unwrap().collection("clips").unwrap();
    let search = |clips: &otolith::Collection| {
        let hits = clips.query(&query).k(10).run().unwrap();
        assert_eq!(hits[0].id, id(count / 2));
    };

    let clips = open();
    search(&clips);
    let (mut kernel, mut warm, mut cold) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..rounds() {
        let score = |scratch: &mut Scratch, matrix: &Matrix| {
            std::hint::black_box(prepared.score(matrix.view(), f64::INFINITY, scratch));
        };
        let (_, time) = timed(|| matrices.par_iter().for_each_init(Scratch::default, score));
        kernel.push(gigaflop / time.as_secs_f64());
        warm.push(gigaflop / timed(|| search(&clips)).1.as_secs_f64());
    }
    drop(clips);
    for _ in 0..rounds() {
        forget(path);
        cold.push(timed(|| search(&open())).1.as_secs_f64());
    }
    figure("search_kernel_in_memory", median(&kernel), "GFLOP/s");
    figure("search_warm", median(&warm), "GFLOP/s");
    figure("search_warm_share_of_kernel", 100.0 * median(&warm) / median(&kernel), "%");
    figure("search_cold", gigaflop / median(&cold), "GFLOP/s");
    figure("search_cold_bytes", (count * RECORD_BYTES) as f64 / 1e6 / median(&cold), "MB/s");
}
