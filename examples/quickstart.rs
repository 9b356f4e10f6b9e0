//! The engine alone: records that are matrices, searched exactly, with the rows that matched.
//!
//! `cargo run -p otolith --example quickstart`
#![allow(clippy::print_stdout)] // an example shows what it does

use otolith::{Database, Matrix, Record, Result, Schema};

/// A made-up sound: `rows` moments of four numbers that turn at a speed of their own.
fn turning(rows: usize, speed: f32) -> Result<Matrix> {
    let moment = |row: usize| (1..=4).map(move |n| (row as f32 * speed * n as f32).sin());
    Matrix::from_rows(rows, 4, (0..rows).flat_map(moment).collect())
}

fn main() -> Result<()> {
    let path = std::env::temp_dir().join(format!("otolith-quickstart-{}", std::process::id()));
    let db = Database::open(&path)?; // made when missing
    let clips = db.create_collection("clips", Schema::new(4).rows_per_second(50.0))?;

    clips.upsert([
        Record::new("slow", turning(250, 0.1)?).field("class", "hum"),
        Record::new("fast", turning(250, 1.3)?).field("class", "buzz"),
        Record::new("short", turning(40, 0.1)?).field("class", "hum"),
    ])?; // one commit, on disk now

    let hits = clips.query(&turning(100, 0.1)?).k(2).filter("class = 'hum'").explain().run()?;
    for hit in &hits {
        println!("{:6} {:.4} per row", hit.id, hit.score_per_row);
        for run in hit.explanation.iter().flat_map(|why| &why.runs).take(2) {
            println!("       query rows {:?} match its rows {:?}", run.query_rows, run.record_rows);
        }
    }
    println!("exact: {}", hits.certificate.is_exact());
    drop((hits, clips, db));
    std::fs::remove_dir_all(&path).map_err(|error| otolith::Error::io(path, "remove", error))
}
