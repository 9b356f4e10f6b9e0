//! Search among the records that pass a filter: comparisons, lists, missing fields, values from outside, a least
//! score.
//!
//! `cargo run -p otolith --example filtered_search`
#![allow(clippy::print_stdout)] // an example shows what it does

use otolith::filter::Filter;
use otolith::{Database, Error, Hits, Matrix, Record, Result, Schema};

/// Made-up vectors of eight numbers: recordings of one class point roughly the same way.
fn vector(class: usize, n: usize) -> Result<Matrix> {
    let number = |d: usize| ((class * 7 + d * 3) as f32).sin() + 0.3 * ((n * 8 + d) as f32 * 12.9898).sin();
    Matrix::from_vector((0..8).map(number).collect())
}

fn show(what: &str, hits: &Hits) {
    println!("{what}");
    for hit in hits {
        println!("    {:10} {:.3}  {}", hit.id, hit.score, hit.fields.to_json());
    }
    let among: u64 = hits.plan.segments.iter().map(|segment| segment.records).sum();
    println!("    among {among} records that pass; the answer is {}\n", hits.certificate.standing());
}

fn main() -> Result<()> {
    let path = std::env::temp_dir().join(format!("otolith-filtered-search-{}", std::process::id()));
    let db = Database::open(&path)?;
    let clips = db.create_collection("clips", Schema::new(8))?;

    let mut records = Vec::new();
    for n in 0..600 {
        let class = n % 3;
        let record = Record::new(format!("clip-{n}"), vector(class, n)?)
            .field("class", ["dog", "rain", "engine"][class])
            .field("seconds", n % 11);
        // Every fifth recording says where it was made.
        records.push(match n % 10 {
            0 => record.field("place", "Cork"),
            5 => record.field("place", "l'Aquila"),
            _ => record,
        });
    }
    clips.upsert(records)?;
    let query = vector(0, 9_999)?; // a dog that is not in the collection

    let hits = clips.query(&query).k(3).filter("class = 'dog' and seconds >= 8").run()?;
    show("long recordings of dogs", &hits);

    let hits = clips.query(&query).k(3).filter("class in ('rain', 'engine') and not exists(place)").run()?;
    show("the most dog-like of the others, where no place is known", &hits);

    // Text from outside is given beside the expression, so that its quotes cannot change what is asked.
    let typed = "l'Aquila";
    let filter = Filter::parse_with("place = ? and id not in ?", &[typed.into(), vec!["clip-15", "clip-45"].into()])?;
    show(&format!("made in {typed}: {filter}"), &clips.query(&query).k(3).matching(filter).run()?);

    let hits = clips.query(&query).min_score(0.98).filter("seconds < 3").run()?; // without `k`: all of them
    show("short recordings with a cosine of 0.98 and more", &hits);

    match clips.query(&query).filter("class = dog").run() {
        Err(error @ Error::FilterSyntax { .. }) => println!("a mistake is pointed at:\n    {error}"),
        other => println!("{other:?}"),
    }
    drop((hits, clips, db));
    std::fs::remove_dir_all(&path).map_err(|error| Error::io(path, "remove", error))
}
