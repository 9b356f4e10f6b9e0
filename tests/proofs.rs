//! Promise: what an exact answer claims can be checked by others, and a false claim is refuted by the record that shows
//! it.

#![allow(clippy::unwrap_used, clippy::print_stdout)]
use otolith::query::{Proof, Verdict};
use otolith::testing::score::reference;
use otolith::{Collection, Database, ErrorKind, IndexKind, Matrix, Metric, Record, Schema, Snapshot, View};
use std::io::Write;
use std::path::Path;
use std::process::Command;

const METRICS: [Metric; 3] = [Metric::Cosine, Metric::Dot, Metric::L2];

/// Numbers between -1 and 1 from a seed, by splitmix64.
fn noise(seed: u64) -> impl FnMut() -> f32 {
    let mut state = seed;
    move || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    }
}

/// Some matrices of halves, so that scores tie, others of anything.
fn matrix(rows: usize, dim: usize, seed: u64) -> Matrix {
    let mut next = noise(seed);
    let values = (0..rows * dim).map(|_| if seed.is_multiple_of(3) { (next() * 2.0).round() / 2.0 } else { next() });
    Matrix::from_rows(rows, dim, values.collect()).unwrap()
}

/// Forty records, some deleted, some in files and some in the log.
fn collection(db: &Database, metric: Metric) -> Collection {
    let collection = db.create_collection(metric.name(), Schema::new(5).metric(metric)).unwrap();
    let record =
        |n: u64| Record::new(format!("r{n:02}"), matrix(1 + n as usize % 4, 5, n)).field("part", (n % 4) as i64);
    collection.upsert((0..30).map(record)).unwrap();
    db.flush().unwrap();
    collection.delete(["r03", "r17"]).unwrap();
    collection.upsert((30..40).map(record)).unwrap();
    let steps = ["normalise", "pool:mean"].map(|step| step.parse().unwrap());
    collection.create_view("mean", &View::new(steps.to_vec()).metric(metric)).unwrap();
    collection
}

/// Proofs of many kinds of question, with their queries.
fn proofs(snapshot: &Snapshot, count: u64) -> Vec<(Matrix, Proof)> {
    let one = |n: u64| {
        let query = matrix(1 + n as usize % 3, 5, 1_000 + n);
        let mut ask = snapshot.query(&query);
        if n.is_multiple_of(5) {
            ask = ask.view("mean");
        }
        if n % 3 == 1 {
            ask = ask.filter("part != 2");
        }
        ask = match n % 7 {
            0 => ask.min_score(-0.5),
            1 => ask.k(100),
            2 => ask.k(1),
            3 => ask.k(0),
            _ => ask.k(6),
        };
        let proof = ask.run().unwrap().proof().unwrap();
        (query, proof)
    };
    (0..count).map(one).collect()
}

#[test]
fn true_proofs_hold_and_survive_their_text() {
    let folder = tempfile::tempdir().unwrap();
    let db = Database::open(folder.path().join("db")).unwrap();
    for metric in METRICS {
        let collection = collection(&db, metric);
        for (query, proof) in proofs(&collection.snapshot().unwrap(), 70) {
            let read: Proof = proof.to_string().parse().unwrap();
            assert_eq!(read, proof);
            let verdict = collection.check(&query, &read).unwrap();
            assert_eq!(verdict, Verdict::Holds { records: proof.state.records }, "{proof}");
        }
    }
}

/// Makes a proof false in one way; nothing where that way does not apply.
fn falsified(mut proof: Proof, way: u64, others: &[(String, f64)], draw: u64) -> Option<Proof> {
    let count = proof.hits.len() as u64;
    let at = (draw % count.max(1)) as usize;
    let is_full = proof.question.k == Some(proof.hits.len());
    match way {
        // a hit swapped for a record that is none
        0 if count > 0 && !others.is_empty() => {
            proof.hits[at].id = others[draw as usize % others.len()].0.clone();
        }
        // a score moved by one bit
        1 if count > 0 => {
            let score = &mut proof.hits[at].score;
            *score = if draw.is_multiple_of(2) { score.next_up() } else { score.next_down() };
        }
        // a record left out
        2 if count > 0 => drop(proof.hits.remove(at)),
        // the bound lowered below what is left out
        3 if !others.is_empty() && proof.best_excluded.is_some() => {
            let best = others.iter().map(|(_, score)| *score).fold(f64::NEG_INFINITY, f64::max);
            proof.best_excluded = Some(best.next_down());
        }
        // no bound at all
        4 if !others.is_empty() && proof.question.k != Some(0) => proof.best_excluded = None,
        // two hits exchanged
        5 if count > 1 => proof.hits.swap(at, (at + 1) % count as usize),
        // a hit that there is not
        6 if count > 0 => proof.hits[at].id.push('x'),
        // a hit twice
        7 if count > 0 => proof.hits.insert(at, proof.hits[at].clone()),
        // records forgotten
        8 => proof.state.records -= 1,
        // less asked for than was answered
        9 if is_full && count > 0 => proof.question.k = Some(proof.hits.len() - 1),
        // more asked for than was answered
        10 if is_full && !others.is_empty() => proof.question.k = Some(proof.hits.len() + 1),
        // a kind of bound that left out more than all did, and one that may hide a hit
        12 if !proof.excluded.is_empty() => {
            let kinds = proof.excluded.len();
            proof.excluded[at % kinds].records += 1;
        }
        13 if !proof.excluded.is_empty() => {
            let best = proof.best_excluded?;
            let kinds = proof.excluded.len();
            proof.excluded[at % kinds].most = best.next_up();
        }
        // another metric
        11 => proof.question.metric = if proof.question.metric == "dot" { "l2" } else { "dot" }.to_owned(),
        _ => return None,
    }
    Some(proof)
}

#[test]
fn each_of_ten_thousand_false_proofs_is_refuted() {
    let folder = tempfile::tempdir().unwrap();
    let db = Database::open(folder.path().join("db")).unwrap();
    let (mut cases, mut by_record) = (0u64, 0u64);
    for metric in METRICS {
        let collection = collection(&db, metric);
        let snapshot = collection.snapshot().unwrap();
        for (number, (query, proof)) in (0u64..).zip(proofs(&snapshot, 150)) {
            // What the proof leaves out, by the definition of a score.
            let view = (proof.question.view != "raw").then_some("mean");
            let apply = |rows: &Matrix| view.map_or(rows.clone(), |view| collection.apply_view(view, rows).unwrap());
            let passes = |entry: &otolith::Entry<'_>| {
                proof.question.filter.is_none() || entry.fields().unwrap()["part"].as_i64() != Some(2)
            };
            let others: Vec<(String, f64)> = snapshot
                .iter()
                .filter(passes)
                .map(|entry| {
                    let matrix = entry.to_record().unwrap().matrix;
                    let score = reference(metric, apply(&query).view(), apply(&matrix).view()).unwrap() + 0.0;
                    (entry.id().unwrap().to_owned(), score)
                })
                .filter(|(id, _)| proof.hits.iter().all(|hit| hit.id != *id))
                .collect();
            for draw in 0..35 {
                let way = (number + draw) % 14;
                let Some(false_one) = falsified(proof.clone(), way, &others, number * 31 + draw / 14) else { continue };
                let verdict = snapshot.check(&query, &false_one).unwrap();
                assert!(!verdict.holds(), "way {way}: {false_one}\nof {proof}");
                by_record += u64::from(matches!(verdict, Verdict::Refuted { record: Some(_), .. }));
                cases += 1;
            }
        }
    }
    println!("figure false_proofs = {cases} refuted, {by_record} by a record");
    assert!(cases >= 10_000, "{cases}");
}

#[test]
fn a_proof_of_another_state_or_question_is_not_taken_for_one() {
    let folder = tempfile::tempdir().unwrap();
    let db = Database::open(folder.path().join("db")).unwrap();
    let collection = collection(&db, Metric::Cosine);
    let query = matrix(2, 5, 1_001);
    let proof = collection.query(&query).k(3).run().unwrap().proof().unwrap();
    // Another query, and one of another shape.
    for other in [matrix(2, 5, 9), matrix(3, 5, 9)] {
        assert_eq!(collection.check(&other, &proof).unwrap_err().kind(), ErrorKind::Caller);
    }
    // A record that does not matter, then one that does.
    let far = Matrix::from_rows(2, 5, query.values().iter().map(|value| -value).collect()).unwrap();
    collection.upsert([Record::new("far", far)]).unwrap();
    assert!(collection.check(&query, &proof).unwrap().holds());
    collection.upsert([Record::new("near", query.clone())]).unwrap();
    let verdict = collection.check(&query, &proof).unwrap();
    assert!(
        !verdict.holds() && verdict.to_string().contains("`near`") && verdict.to_string().contains("another state")
    );
    // What is not exact claims nothing.
    let vectors = db.create_collection("vectors", Schema::new(5)).unwrap();
    vectors.upsert((0..1_100).map(|n| Record::new(format!("{n}"), matrix(1, 5, n)))).unwrap();
    vectors.build_index("raw", IndexKind::Ivf).unwrap();
    let hits = vectors.query(&matrix(1, 5, 7)).k(1).nprobe(4).run().unwrap();
    assert!(!hits.certificate.is_exact());
    assert!(hits.proof().unwrap_err().to_string().contains("not exact"));
    // Text that is none, and one of a later version.
    assert!("{}".parse::<Proof>().is_err());
    let later = proof.to_string().replace("\"otolith_proof\": 1", "\"otolith_proof\": 2");
    assert!(later.parse::<Proof>().unwrap_err().to_string().contains("version 2"));
}

/// A python that has numpy, if there is one.
fn python() -> Option<String> {
    let named = std::env::var("OTOLITH_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let has_numpy = Command::new(&named).args(["-c", "import numpy"]).output();
    has_numpy.is_ok_and(|run| run.status.success()).then_some(named)
}

#[test]
fn numpy_says_the_same_from_the_specification_alone() {
    let Some(python) = python() else {
        println!("SKIPPED: no python3 with numpy (OTOLITH_PYTHON names one)");
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("db");
    let db = Database::open(&path).unwrap();
    let mut questions = Vec::new();
    for metric in METRICS {
        let snapshot = collection(&db, metric).snapshot().unwrap();
        for (number, (query, proof)) in (0u64..).zip(proofs(&snapshot, 40)) {
            if proof.question.view != "raw" || proof.question.filter.is_some() {
                continue;
            }
            let scored: Vec<(String, f64)> = snapshot
                .iter()
                .map(|entry| (entry.id().unwrap().to_owned(), entry.to_record().unwrap().matrix))
                .map(|(id, matrix)| (id, reference(metric, query.view(), matrix.view()).unwrap() + 0.0))
                .filter(|(id, _)| proof.hits.iter().all(|hit| hit.id != *id))
                .collect();
            questions.push((query.clone(), proof.clone(), true));
            let ways = (0..14).filter_map(|way| falsified(proof.clone(), way, &scored, number));
            questions.extend(ways.map(|false_one| (query.clone(), false_one, false)));
        }
    }
    db.close().unwrap();
    let mut file = std::fs::File::create(folder.path().join("questions")).unwrap();
    for (query, proof, _) in &questions {
        let bits: Vec<String> = query.values().iter().map(|value| value.to_bits().to_string()).collect();
        let proof = proof.to_string().replace('\n', "");
        writeln!(file, "{{\"query\": [{}], \"proof\": {proof}}}", bits.join(", ")).unwrap();
    }
    drop(file);
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/check_with_numpy.py");
    let run = Command::new(python).arg(program).arg(&path).arg(folder.path().join("questions")).output().unwrap();
    let (text, errors) = (String::from_utf8_lossy(&run.stdout), String::from_utf8_lossy(&run.stderr));
    assert!(run.status.success(), "{errors}");
    let verdicts: Vec<&str> = text.lines().collect();
    assert_eq!(verdicts.len(), questions.len(), "{errors}");
    for (verdict, (_, proof, is_true)) in verdicts.iter().zip(&questions) {
        assert_eq!(verdict.starts_with("holds"), *is_true, "{verdict}: {proof}");
    }
    println!("figure proofs_by_numpy = {} checked", questions.len());
}
