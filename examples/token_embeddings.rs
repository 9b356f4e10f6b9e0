//! Search texts by the embeddings of their tokens, the shape that ColBERT gives: 128 numbers a token, many tokens a
//! text, queries of 32 tokens. MaxSim is exact; each hit says which tokens matched.
//!
//! The embeddings are made up here: a text is about one subject, and its tokens lie near the directions of the words
//! of that subject.
//!
//! `cargo run -p otolith --example token_embeddings` (with `--release` for times that mean something)
#![allow(clippy::print_stdout)] // an example shows what it does

use otolith::{Database, Matrix, Metric, Precision, Record, Result, Schema};
use std::time::Instant;

const DIM: usize = 128;
const TEXTS: usize = 400;
const QUERY_TOKENS: usize = 32;
const SUBJECTS: [&str; 4] = ["harbours", "glaciers", "bakeries", "comets"];
const WORDS: u64 = 300; // of each subject

/// Numbers from -1 to 1 that are the same every time.
struct Noise(u64);

impl Noise {
    fn next(&mut self) -> f32 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed >> 40) as f32 / (1 << 23) as f32 - 1.0
    }

    fn below(&mut self, most: u64) -> u64 {
        ((self.next() + 1.0) / 2.0 * most as f32) as u64
    }

    /// The embedding of a token: the direction of its word, moved a little by its context, of length 1.
    fn token(&mut self, word: u64) -> Vec<f32> {
        let mut direction = Noise(word << 32);
        let row: Vec<f32> = (0..DIM).map(|_| direction.next() + 0.4 * self.next()).collect();
        let length = row.iter().map(|x| x * x).sum::<f32>().sqrt();
        row.iter().map(|x| x / length).collect()
    }
}

/// The words of a text about a subject, by number.
fn text(number: u64, subject: u64) -> Vec<u64> {
    let mut noise = Noise(number);
    let words = 60 + noise.below(60);
    (0..words).map(|_| subject * WORDS + noise.below(WORDS)).collect()
}

fn embed(words: &[u64], noise: &mut Noise) -> Result<Matrix> {
    Matrix::from_rows(words.len(), DIM, words.iter().flat_map(|word| noise.token(*word)).collect())
}

fn main() -> Result<()> {
    let path = std::env::temp_dir().join(format!("otolith-token-embeddings-{}", std::process::id()));
    let db = Database::open(&path)?;
    // Rows of length 1, so the inner product is the cosine. Half precision halves the files.
    let texts = db.create_collection("texts", Schema::new(DIM).metric(Metric::Dot).precision(Precision::F16))?;

    let mut load = texts.bulk_load()?;
    let mut rows = 0;
    for number in 0..TEXTS as u64 {
        let subject = number % SUBJECTS.len() as u64;
        let words = text(number, subject);
        rows += words.len();
        let matrix = embed(&words, &mut Noise(!number))?;
        load.push(Record::new(format!("text-{number}"), matrix).field("subject", SUBJECTS[subject as usize]))?;
    }
    load.finish()?;
    println!("{TEXTS} texts of {rows} tokens, {} KiB on disk", db.stat()?.bytes() >> 10);

    // A question in the words of text 42, from another context.
    let words: Vec<u64> = text(42, 2).into_iter().take(QUERY_TOKENS).collect();
    let query = embed(&words, &mut Noise(7_777))?;
    let begun = Instant::now();
    let hits = texts.query(&query).k(3).explain().run()?;
    let (milliseconds, proof) = (begun.elapsed().as_secs_f64() * 1e3, &hits.certificate);
    println!("MaxSim in {milliseconds:.0} ms; the answer is {}:", proof.standing());
    println!("{} texts scored in f64, {} left out by a bound of their score", proof.scored, proof.bounded);
    for hit in &hits {
        println!("    {:9} {:.3}, or {:.3} a token; {}", hit.id, hit.score, hit.score_per_row, hit.fields["subject"]);
        for run in hit.explanation.iter().flat_map(|why| &why.runs).take(2) {
            let (tokens, places, percent) = (&run.query_rows, &run.record_rows, 100.0 * run.share);
            println!("        query tokens {tokens:?} match its tokens {places:?}: {percent:.0} % of the score");
        }
    }

    drop((hits, texts, db));
    std::fs::remove_dir_all(&path).map_err(|error| otolith::Error::io(path, "remove", error))
}
