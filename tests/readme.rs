//! README's library example, compiled and run as it stands there (`tests/tidy.rs` holds the two together).

#[test]
fn the_example_finds_the_dog() -> otolith::Result<()> {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("sounds.otolith");
    let frames: Vec<f32> = (0..249 * 512).map(|x| (x as f32 * 0.37).sin()).collect();

    use otolith::{Database, Matrix, Record, Schema};

    let db = Database::open(path)?; // created when missing; one writer, any number of readers
    let clips = db.create_collection("clips", Schema::new(512))?;
    let dog = Matrix::from_rows(249, 512, frames)?; // five seconds, as wav2vec2 sees them
    clips.upsert([Record::new("dog-1", dog.clone()).field("class", "dog").field("seconds", 5.0)])?; // on disk now

    let hits = clips.query(&dog).k(10).filter("class != 'rain' and seconds >= 2").explain().run()?;
    for hit in &hits {
        println!("{} {:.4} {}", hit.id, hit.score_per_row, hit.fields["class"]);
    }
    assert!(hits.certificate.is_exact());

    assert_eq!(hits.len(), 1);
    Ok(())
}
