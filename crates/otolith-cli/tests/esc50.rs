//! The experiment keeps its word: layouts are read as described, queries and records never mix, results read back.
// helpers of tests are tests too
#![allow(clippy::unwrap_used)]

use otolith_cli::esc50::data_set::DataSet;
use otolith_cli::esc50::measure::{Outcome, evaluate};
use otolith_cli::esc50::prepare::{Prepared, prepare};
use otolith_cli::esc50::procedural::generate;
use otolith_cli::esc50::protocol::{Protocol, Round};
use otolith_cli::esc50::table::{ArmKind, ArmResult, Comparison, Example, ExampleHit, ModelInfo, Moment, Skipped};
use otolith_cli::esc50::{ClipFile, Split, report};
use std::collections::HashSet;
use std::fs;
use std::path::Path;
use tempfile::TempDir;

/// A folder holding empty files of the given names: loading looks at names only.
fn folder(files: &[&str]) -> TempDir {
    let root = TempDir::new().unwrap();
    for file in files {
        let path = root.path().join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, file).unwrap();
    }
    root
}

/// ESC-50's layout with this table and an empty file for each of `sounds`.
fn listed(table: &str, sounds: &[&str]) -> TempDir {
    let sounds: Vec<String> = sounds.iter().map(|sound| format!("audio/{sound}")).collect();
    let root = folder(&sounds.iter().map(String::as_str).collect::<Vec<_>>());
    fs::create_dir_all(root.path().join("meta")).unwrap();
    fs::write(root.path().join("meta/esc50.csv"), table).unwrap();
    root
}

fn refusal(root: &TempDir) -> String {
    DataSet::load(root.path(), 0).unwrap_err().to_string()
}

/// A set in memory: `clips` clips of each class, sources of two clips, folds dealt source by source.
fn invented(classes: usize, clips: usize) -> DataSet {
    let clip = |class: usize, clip: usize| ClipFile {
        path: format!("{class}-{clip}.wav").into(),
        name: format!("{class}-{clip}.wav"),
        class,
        fold: (clip / 2 % 5) as u32 + 1,
        split: None,
        source: format!("{class}-{}", clip / 2),
    };
    DataSet {
        name: "invented".into(),
        classes: (0..classes).map(|class| format!("class {class}")).collect(),
        // interleaved, so that the order of the set is not the order of the classes
        clips: (0..clips).flat_map(|number| (0..classes).map(move |class| clip(class, number))).collect(),
        beside: Default::default(),
    }
}

/// The table of ESC-50 beside the checkout, with empty files for its clips; `None`, said aloud, without it.
fn esc50_by_name() -> Option<TempDir> {
    let table = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/esc50/meta/esc50.csv");
    let Ok(text) = fs::read_to_string(&table) else {
        eprintln!("skipped: {} is missing", table.display());
        return None;
    };
    let names: Vec<&str> = text.lines().skip(1).filter_map(|line| line.split(',').next()).collect();
    Some(listed(&text, &names))
}

fn assert_disjoint(round: &Round) {
    let records: HashSet<_> = round.records.iter().collect();
    assert!(round.queries.iter().all(|query| !records.contains(query)), "{}: a query is among its records", round.name);
    assert!(!round.queries.is_empty() && !round.records.is_empty());
}

fn assert_no_source_on_both_sides(set: &DataSet, round: &Round) {
    let sources: HashSet<_> =
        round.records.iter().map(|&clip| (&set.clips[clip].source, set.clips[clip].class)).collect();
    for &query in &round.queries {
        let ClipFile { source, class, name, .. } = &set.clips[query];
        assert!(!sources.contains(&(source, *class)), "{}: source of {name} is among the records", round.name);
    }
}

#[test]
fn a_table_gives_classes_in_the_order_of_their_targets_and_clips_in_its_own() {
    let table = "\u{feff}filename,fold,target,category,esc10,src_file,take\r\n\
                 2-7-A-9.wav,2,9,wind,True,7,A\r\n1-8-A-3.wav,1,3,rain,False,8,A\r\n1-9-B-9.wav,1,9,wind,False,9,B\r\n";
    let root = listed(table, &["2-7-A-9.wav", "1-8-A-3.ogg", "1-9-B-9.wav"]);
    let set = DataSet::load(root.path(), 0).unwrap();
    assert_eq!(set.classes, ["rain", "wind"]);
    assert_ne!(set.name, "esc50", "only the whole set bears the name");
    let seen: Vec<_> =
        set.clips.iter().map(|clip| (clip.name.as_str(), clip.class, clip.fold, clip.source.as_str())).collect();
    assert_eq!(seen, [("2-7-A-9.wav", 1, 2, "7"), ("1-8-A-3.wav", 0, 1, "8"), ("1-9-B-9.wav", 1, 1, "9")]);
    assert!(set.clips[1].path.ends_with("audio/1-8-A-3.ogg"), "another ending of the same clip is taken");
}

#[test]
fn a_bad_table_is_refused_with_file_and_line() {
    let head = "filename,fold,target,category\n";
    let good = "a.wav,1,0,rain\n";
    for (rows, named) in [
        ("b.wav,0,1,wind\n", "line 3: fold `0`"),
        ("b.wav,x,1,wind\n", "line 3: fold `x`"),
        ("b.wav,1,-1,wind\n", "line 3: target `-1`"),
        ("b.wav,1,1,\n", "line 3: category ``"),
        ("../b.wav,1,1,wind\n", "line 3: filename `../b.wav`"),
        ("a.wav,2,1,wind\n", "line 3: `a.wav` stands on line 2 already"),
        ("b.wav,1,0,wind\n", "line 3: target 0 is `wind`"),
        ("b.wav,1,1,rain\n", "line 3: target 1 is `rain`"),
        ("c.wav,1,1,wind\n", "line 3: `c.wav` is not in"),
        ("b.wav,1\n", "line: 3"),
    ] {
        let root = listed(&format!("{head}{good}{rows}"), &["a.wav", "b.wav"]);
        let message = refusal(&root);
        assert!(message.contains(named) && message.contains("esc50.csv"), "{message}");
    }
    assert!(refusal(&listed("filename,fold,category\n", &[])).contains("no column `target`"));
    assert!(refusal(&listed(head, &[])).contains("no rows"));
}

#[test]
fn folders_of_classes_are_dealt_to_level_folds_that_depend_on_the_seed_only() {
    let files: Vec<String> =
        (0..3).flat_map(|class| (0..12).map(move |clip| format!("c{class}/{clip:02}.wav"))).collect();
    let root = folder(
        &files.iter().map(String::as_str).chain(["notes.txt", "papers/a.pdf", ".git/x.wav"]).collect::<Vec<_>>(),
    );
    let [one, same, other] = [1, 1, 2].map(|seed| DataSet::load(root.path(), seed).unwrap());
    assert_eq!((one.classes.len(), one.clips.len()), (3, 36));
    assert_eq!(one, same);
    assert_ne!(one, other);
    assert_eq!(one.clips[12].name, "c1/00.wav");
    for fold in 1..=5 {
        assert!((6..=8).contains(&one.clips.iter().filter(|clip| clip.fold == fold).count()));
        for class in 0..3 {
            let count = one.clips.iter().filter(|clip| clip.fold == fold && clip.class == class).count();
            assert!((2..=3).contains(&count), "fold {fold} has {count} clips of class {class}");
        }
    }
}

#[test]
fn drawn_folds_keep_the_takes_of_one_recording_together() {
    let files: Vec<String> = (0..2)
        .flat_map(|class| {
            (0..8).flat_map(move |source| ["A", "B"].map(|take| format!("c{class}/1-10{source}-{take}-{class}.wav")))
        })
        .collect();
    let root = folder(&files.iter().map(String::as_str).collect::<Vec<_>>());
    let set = DataSet::load(root.path(), 0).unwrap();
    for round in Protocol::Folds.rounds(&set).unwrap() {
        assert_disjoint(&round);
        assert_no_source_on_both_sides(&set, &round);
    }
}

#[test]
fn given_splits_are_kept() {
    let root = folder(&["train/a/1.wav", "train/b/2.wav", "train/b/3.flac", "test/a/4.wav", "val/b/1.wav"]);
    let set = DataSet::load(root.path(), 0).unwrap();
    let rounds = Protocol::Split34_5_1.rounds(&set).unwrap();
    let names = |clips: &[usize]| clips.iter().map(|&clip| set.clips[clip].name.clone()).collect::<Vec<_>>();
    assert_eq!(names(&rounds[0].records), ["train/a/1.wav", "train/b/2.wav", "train/b/3.flac"]);
    assert_eq!(names(&rounds[0].queries), ["val/b/1.wav"]);

    let without_val = folder(&["train/a/1.wav", "train/b/2.wav", "test/a/4.wav"]);
    let set = DataSet::load(without_val.path(), 0).unwrap();
    assert_eq!(Protocol::Split34_5_1.rounds(&set).unwrap()[0].queries.len(), 1);

    let unknown = folder(&["train/a/1.wav", "train/b/2.wav", "test/c/4.wav"]);
    let error = Protocol::Split34_5_1.rounds(&DataSet::load(unknown.path(), 0).unwrap()).unwrap_err();
    assert!(error.to_string().contains("class `c` has a query but no training clip"), "{error}");
    assert!(refusal(&folder(&["train/a/1.wav", "train/b/2.wav"])).contains("one of `test` and `val`"));
}

#[test]
fn anything_else_is_refused_with_what_is_understood_and_what_was_found() {
    for (root, found) in [
        (folder(&[]), "it is empty"),
        (folder(&["a.txt", "b.txt"]), "it has a.txt, b.txt"),
        (folder(&["audio/1.wav", "audio/2.wav"]), "only one folder holds sounds, `audio`"),
        (folder(&["ESC-50-master/meta/esc50.csv"]), "give that folder"),
    ] {
        let message = refusal(&root);
        assert!(message.contains(found) && message.contains("train|test|val/CLASS/*.wav"), "{message}");
    }
    assert!(DataSet::load(Path::new("no such folder"), 0).unwrap_err().to_string().contains("no such folder"));
}

#[test]
fn each_fold_queries_the_others_and_no_recording_is_on_both_sides() {
    let set = invented(4, 20);
    let rounds = Protocol::Folds.rounds(&set).unwrap();
    let mut queried: Vec<usize> = rounds.iter().flat_map(|round| round.queries.clone()).collect();
    queried.sort();
    assert_eq!(queried, (0..80).collect::<Vec<_>>(), "each clip is a query once");
    for round in &rounds {
        assert_disjoint(round);
        assert_no_source_on_both_sides(&set, round);
        assert_eq!((round.queries.len(), round.records.len()), (16, 64));
        assert_eq!(round.fit, round.records);
    }
}

#[test]
fn the_open_set_is_searched_among_classes_that_nothing_was_fitted_on() {
    let set = invented(12, 20);
    let rounds = Protocol::OpenSet.rounds(&set).unwrap();
    assert_eq!(rounds.iter().map(|round| round.queries.len()).sum::<usize>(), 240, "each clip is a query once");
    for round in &rounds {
        assert_disjoint(round);
        assert_no_source_on_both_sides(&set, round);
        let classes = |clips: &[usize]| clips.iter().map(|&clip| set.clips[clip].class).collect::<HashSet<_>>();
        assert_eq!(classes(&round.queries), classes(&round.records));
        assert!(classes(&round.fit).is_disjoint(&classes(&round.queries)));
    }
    assert!(Protocol::OpenSet.rounds(&invented(9, 20)).is_err());
}

#[test]
fn the_tutorials_split_follows_the_order_of_the_set() {
    let set = invented(3, 41);
    let rounds = Protocol::Split34_5_1.rounds(&set).unwrap();
    let [round] = &rounds[..] else { panic!("one round") };
    assert_disjoint(round);
    let name = |&clip: &usize| set.clips[clip].name.clone();
    assert_eq!(round.queries.iter().map(name).collect::<Vec<_>>(), ["0-39.wav", "1-39.wav", "2-39.wav"]);
    assert_eq!(round.records.len(), 3 * 34);
    assert!(round.records.iter().all(|&clip| clip < 3 * 34));
    let error = Protocol::Split34_5_1.rounds(&invented(3, 39)).unwrap_err().to_string();
    assert!(error.contains("39 of `class 0`") && error.contains("40"), "{error}");
}

#[test]
fn esc50_gives_2000_queries_in_folds_and_50_under_the_tutorials_split() {
    let Some(root) = esc50_by_name() else { return };
    let set = DataSet::load(root.path(), 0).unwrap();
    assert_eq!((set.name.as_str(), set.clips.len(), set.classes.len()), ("esc50", 2000, 50));
    assert_eq!((set.classes[0].as_str(), set.clips[0].source.as_str()), ("dog", "100032"));
    let split = &Protocol::Split34_5_1.rounds(&set).unwrap()[0];
    assert_eq!((split.queries.len(), split.records.len()), (50, 1700));
    assert_eq!(Protocol::Split34_5_1.rounds(&DataSet::load(root.path(), 7).unwrap()).unwrap()[0], *split);
    for round in Protocol::Folds.rounds(&set).unwrap() {
        assert_eq!((round.queries.len(), round.records.len()), (400, 1600));
        assert_disjoint(&round);
        assert_no_source_on_both_sides(&set, &round);
    }
}

#[test]
fn a_prepared_set_reads_back_as_the_tutorials_split() {
    let files: Vec<String> =
        (0..2).flat_map(|class| (0..40).map(move |clip| format!("c{class}/{clip:02}.wav"))).collect();
    let root = folder(&files.iter().map(String::as_str).collect::<Vec<_>>());
    let set = DataSet::load(root.path(), 0).unwrap();
    let target = TempDir::new().unwrap();
    assert_eq!(prepare(&set, target.path()).unwrap(), Prepared { train: 68, test: 10, val: 2 });
    let again = DataSet::load(target.path(), 0).unwrap();
    assert_eq!(again.classes, set.classes);
    assert_eq!(again.clips.iter().filter(|clip| clip.split == Some(Split::Val)).count(), 2);
    assert_eq!(fs::read_to_string(target.path().join("val/c1/39.wav")).unwrap(), "c1/39.wav", "copied byte for byte");
    let ids = |set: &DataSet, clips: &[usize]| {
        clips.iter().map(|&clip| set.clips[clip].path.file_name().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let rounds = [&set, &again].map(|set| Protocol::Split34_5_1.rounds(set).unwrap().remove(0));
    assert_eq!(ids(&set, &rounds[0].records), ids(&again, &rounds[1].records));
    assert!(prepare(&set, target.path()).unwrap_err().to_string().contains("is there already"));
}

fn comparison() -> Comparison {
    let outcomes: Vec<Outcome> =
        (0..4).map(|query| Outcome { truth: query % 2, ranked: vec![query / 2, 1], relevant: Some(1) }).collect();
    let evaluation = evaluate(&outcomes, 2);
    let arm = |arm: &str, kind, map| ArmResult {
        arm: arm.into(),
        kind,
        dim: 96,
        rows: 125,
        queries: 4,
        records: 8,
        measures: otolith_cli::esc50::Measures { map, ..evaluation.measures },
        confusion: evaluation.confusion.clone(),
        right: evaluation.right.clone(),
        fit_seconds: 1.25,
        search_seconds: 60.0,
        examples: Vec::new(),
        training: Vec::new(),
    };
    Comparison {
        dataset: "invented".into(),
        clips: 10,
        classes: 2,
        protocol: Protocol::Folds.name().into(),
        model: ModelInfo { name: "logmel".into(), layer: None, dim: 64, rows_per_clip: 249 },
        arms: vec![arm("maxsim-white", ArmKind::Search, Some(0.5)), arm("linear-probe", ArmKind::Classifier, None)],
        skipped: vec![Skipped { arm: "fine-tune".into(), why: "needs a wav2vec2 model".into() }],
    }
}

#[test]
fn the_json_document_has_the_promised_keys_and_nulls() {
    let document = comparison().to_json();
    let expected = serde_json::json!({
        "otolith": env!("CARGO_PKG_VERSION"),
        "dataset": {"name": "invented", "clips": 10, "classes": 2},
        "protocol": "folds",
        "model": {"name": "logmel", "layer": null, "dim": 64, "rows_per_clip": 249},
        "arms": [
            {"arm": "maxsim-white", "kind": "search", "dim": 96, "rows": 125, "queries": 4, "records": 8,
             "top1": 0.5, "top1_low": 0.150039, "top1_high": 0.849961, "top3": 0.75, "top3_low": 0.300642, "top3_high": 0.954413,
             "map": 0.5, "fit_seconds": 1.25, "search_seconds": 60.0},
            {"arm": "linear-probe", "kind": "classifier", "dim": 96, "rows": 125, "queries": 4, "records": 8,
             "top1": 0.5, "top1_low": 0.150039, "top1_high": 0.849961, "top3": 0.75, "top3_low": 0.300642, "top3_high": 0.954413,
             "map": null, "fit_seconds": 1.25, "search_seconds": 60.0},
        ],
        "skipped": [{"arm": "fine-tune", "why": "needs a wav2vec2 model"}],
    });
    assert_eq!(document, expected);
}

#[test]
fn the_table_names_every_arm_with_its_interval_and_every_skipped_one() {
    let text = comparison().to_text(None);
    for part in
        ["invented: 10 clips", "maxsim-white", "0.500", "0.150..0.850", "linear-probe", "skipped fine-tune: needs"]
    {
        assert!(text.contains(part), "{part} is not in\n{text}");
    }
}

#[test]
fn the_procedural_set_is_balanced_audible_and_the_same_for_any_number_of_threads() {
    let (root, again, other) = (TempDir::new().unwrap(), TempDir::new().unwrap(), TempDir::new().unwrap());
    let set = generate(root.path(), 1).unwrap();
    assert_eq!((set.name.as_str(), set.clips.len(), set.classes.len()), ("procedural", 400, 10));
    for fold in 1..=5 {
        for class in 0..10 {
            assert_eq!(set.clips.iter().filter(|clip| clip.fold == fold && clip.class == class).count(), 8);
        }
    }
    for round in Protocol::Folds.rounds(&set).unwrap() {
        assert_disjoint(&round);
        assert_no_source_on_both_sides(&set, &round);
    }
    assert_eq!(Protocol::Split34_5_1.rounds(&set).unwrap()[0].queries.len(), 10);

    rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap().install(|| generate(again.path(), 1)).unwrap();
    generate(other.path(), 2).unwrap();
    for clip in &set.clips {
        let mut reader = hound::WavReader::open(&clip.path).unwrap();
        assert_eq!((reader.spec().sample_rate, reader.spec().channels, reader.spec().bits_per_sample), (16_000, 1, 16));
        let samples: Vec<i16> = reader.samples().map(Result::unwrap).collect();
        let peak = samples.iter().map(|sample| sample.unsigned_abs()).max().unwrap();
        assert_eq!(samples.len(), 80_000, "{}", clip.name);
        assert!((5_000..32_767).contains(&peak), "{}: peak {peak}", clip.name);
        let bytes = |root: &TempDir| fs::read(root.path().join("audio").join(&clip.name)).unwrap();
        assert!(bytes(&root) == bytes(&again), "{} depends on the threads", clip.name);
        assert!(bytes(&root) != bytes(&other), "{} does not depend on the seed", clip.name);
    }
}

/// Four clips in two classes, one with a name that HTML would read, and a comparison that shows two of their answers.
fn reported(bytes: usize) -> (TempDir, DataSet, Comparison) {
    let root = folder(&[]);
    let clip = |number: usize| {
        let path = root.path().join(format!("{number}.wav"));
        fs::write(&path, vec![number as u8; bytes]).unwrap();
        let (class, fold) = (number % 2, number as u32 / 2 + 1);
        ClipFile { path, name: format!("<i>'{number}'.wav"), class, fold, split: None, source: String::new() }
    };
    let clips = (0..4).map(clip).collect();
    let set = DataSet {
        name: "invented".into(),
        classes: vec!["rain".into(), "<b>&\"wind".into()],
        clips,
        beside: Default::default(),
    };
    let moments = vec![Moment { query: (0.5, 1.0), record: (2.0, 2.5), share: 0.4 }];
    let example =
        |query, clip| Example { query, hits: vec![ExampleHit { clip, score: 1.25, moments: moments.clone() }] };
    let mut comparison = comparison();
    comparison.arms[0].examples = vec![example(0, 2), example(1, 2)];
    (root, set, comparison)
}

/// Reads tags as a browser would and checks that each closes the one opened last.
fn assert_tags_balance(html: &str) {
    let mut open = Vec::new();
    for tag in html.split('<').skip(1).map(|part| part.split('>').next().unwrap()) {
        let name = tag.trim_start_matches('/').split([' ', '\n']).next().unwrap();
        match tag.as_bytes()[0] {
            b'/' => assert_eq!(open.pop(), Some(name), "closed out of turn"),
            b'!' => {}
            _ if tag.ends_with('/') || name == "meta" => {}
            _ => open.push(name),
        }
    }
    assert!(open.is_empty(), "left open: {open:?}");
}

#[test]
fn the_report_needs_nothing_else_and_reads_nothing_into_names() {
    let (_root, set, comparison) = reported(1000);
    let html = report::render(&comparison, &set).unwrap();
    assert_eq!(html, report::render(&comparison, &set).unwrap(), "the same input gives the same bytes");
    assert_tags_balance(&html);
    for foreign in ["http", "<script", "<link", "<img", "url(", "@import", "<b>", "<i>", "&\"wind"] {
        assert!(!html.contains(foreign), "{foreign} is in the page");
    }
    assert_eq!(html.matches("src=").count(), html.matches("src=\"data:audio/wav;base64,").count());
    for part in ["maxsim-white", "linear-probe", "fine-tune", "0.500", "0.150 to 0.850", "&lt;b&gt;&amp;&quot;wind"] {
        assert!(html.contains(part), "{part} is not in the page");
    }
    assert_eq!((html.matches("right</span>").count(), html.matches("wrong</span>").count()), (1, 1));
    assert!(html.contains("0.5 to 1.0 s in the query is 2.0 to 2.5 s (40 %)"));
    assert_eq!(html.matches("<audio").count(), 3, "each clip that is shown, once");
}

#[test]
fn the_report_stays_small_whatever_the_sounds_weigh() {
    let (_root, set, comparison) = reported(4 << 20);
    let html = report::render(&comparison, &set).unwrap();
    assert!(html.len() < 9 << 20, "{} bytes", html.len());
    assert_eq!((html.matches("<audio").count(), html.matches("left out").count()), (1, 2));
}

#[test]
fn a_report_on_another_data_set_is_refused() {
    let (_root, mut set, comparison) = reported(10);
    set.clips.truncate(2);
    assert!(report::render(&comparison, &set).is_err(), "an example names a clip that is not there");
    let (_root, mut set, comparison) = reported(10);
    set.classes.push("third".into());
    assert!(report::render(&comparison, &set).is_err(), "confusions are of other classes");
}
