//! `search`: the records most like a sound or an array.

use super::exit::Failure;
use super::model::{ModelArgs, Target};
use super::npy::ArrayReader;
use super::output::Output;
use super::sound::{ChannelArgs, tell_remarks};
use otolith::Error;
use otolith::Matrix;
use otolith::embed::Sound;
use otolith::query::{
    Approximation, BoundBy, Certificate, Explanation, Hit, LeftOut, Plan, Run, SegmentPlan, Unreadable,
};
use otolith::{Database, Schema, outside};
use serde_json::{Value, json};
use std::io::Write;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Runs shown for a hit; `--json` has all.
const RUNS_SHOWN: usize = 3;

const HELP: &str = "\
Examples:
  otolith search sounds.otolith bark.wav -k 5 --filter \"class != 'rain'\" --explain
  otolith search sounds.otolith bark.wav --view white --min-score 120
  otolith search sounds.otolith bark.wav --view white --recall 0.95 --plan
  otolith search sounds.otolith bark.wav --proof answer.json
  otolith search sounds.otolith bark.wav --budget-time 0.05

The answer is exact unless --recall (or by hand --ef, --nprobe, --candidates) asks for less and there is an index (see
`otolith index`). Scores are exact in any case.

With --json: {\"hits\": [{\"id\", \"score\", \"score_per_row\", \"fields\", \"runs\", \"alignment\"}],
\"certificate\": {\"exact\", \"standing\", \"kth_score\", \"best_excluded\", \"unread\", \"tiers\", \"excluded\",
\"unsearched\", \"approximation\"},
\"plan\", \"unreadable\", \"milliseconds\"}. `approximation` is null where every record was looked at, else
{\"target\", \"low\", \"high\", \"like\"}: the recall asked for (null by hand), and between which its mean lies nine times
of ten, as the indexes measured with queries like this one (`like`; by hand it may be unlike them, then from 0 to 1 and
`standing` is \"unknown\"; with --recall such a query is answered exactly). `standing`: \"exact\", \"recall\", \"unknown\",
\"readable\" where records could not be read, or \"stopped\" where the time of --budget-time was up before every
record was looked at: `unsearched` is null or says how many were not, and the `most` that any of them can score (null: nothing
is known). `excluded` tells by what bounds records were left out: [{\"by\", \"records\", \"most\"}]. `plan` tells of each segment what was done and why: [{\"segment\",
\"records\", \"way\", \"why\"}]. With --explain, `runs` tell which rows matched which (query_rows, record_rows,
query_seconds, record_seconds, score, share), `alignment` where the query as a whole lies (record_rows, record_seconds,
similarity); seconds are null where rows are no moments.

Exit code 3: the hits are right, but records that might belong among them are damaged and could not be read. They are told
on stderr and in `unreadable` ([{\"id\", \"records\", \"file\", \"offset\", \"what\"}], one entry a record, or one for all records of a
segment that is lost), and `exact` is false.";

/// Find the records most like a sound or an array.
#[derive(clap::Args)]
#[command(after_help = HELP)]
pub(super) struct Args {
    #[command(flatten)]
    target: Target,
    /// A sound file, or a .npy matrix of raw rows
    file: PathBuf,
    #[command(flatten)]
    model: ModelArgs,
    #[command(flatten)]
    channel: ChannelArgs,
    /// Number of hits [default: 10, or all with --min-score]
    #[arg(short, long, value_name = "K")]
    k: Option<usize>,
    /// Least score of a hit
    #[arg(long, value_name = "SCORE", allow_negative_numbers = true)]
    min_score: Option<f64>,
    /// Only records whose fields meet this expression
    #[arg(long, value_name = "EXPRESSION")]
    filter: Option<String>,
    /// Search in this view instead of the raw rows
    #[arg(long, value_name = "NAME")]
    view: Option<String>,
    /// Let indexes leave out what they hold unlikely, if this share of the exact answer is to be expected: 0.95
    #[arg(long, value_name = "SHARE", conflicts_with_all = ["ef", "nprobe", "candidates"])]
    recall: Option<f64>,
    /// Fix how many rows the search of an HNSW index keeps on its way
    #[arg(long, value_name = "ROWS")]
    ef: Option<usize>,
    /// Fix how many lists of an IVF index are looked into
    #[arg(long, value_name = "LISTS")]
    nprobe: Option<usize>,
    /// Fix how many records an index of candidates names
    #[arg(long, value_name = "RECORDS")]
    candidates: Option<usize>,
    /// Stop after this time, say 0.05, and answer with the best found until then
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    budget_time: Option<Duration>,
    /// Tell how each segment was searched, and why so
    #[arg(long)]
    plan: bool,
    /// Tell which moments matched
    #[arg(long)]
    explain: bool,
    /// Write what the answer claims to this file, for `otolith check`; exact answers only
    #[arg(long, value_name = "FILE")]
    proof: Option<PathBuf>,
}

fn seconds(text: &str) -> Result<Duration, String> {
    let wrong = |_| "give a number of seconds, from 0 up".to_owned();
    text.parse().map_err(|_| ()).and_then(|seconds| Duration::try_from_secs_f64(seconds).map_err(drop)).map_err(wrong)
}

pub(super) fn run(args: Args, output: &mut Output) -> Result<(), Failure> {
    let db = Database::open_read_only(&args.target.db)?;
    let collection = db.collection(&args.target.collection)?;
    let rows = query_rows(&args.file, &args.model, &args.channel, &collection.schema()?, output)?;
    let mut query = collection.query(&rows);
    if let Some(k) = args.k {
        query = query.k(k);
    }
    if let Some(score) = args.min_score {
        query = query.min_score(score);
    }
    if let Some(filter) = args.filter {
        query = query.filter(filter);
    }
    if let Some(view) = args.view {
        query = query.view(view);
    }
    if let Some(target) = args.recall {
        query = query.recall(target);
    }
    if let Some(rows) = args.ef {
        query = query.ef(rows);
    }
    if let Some(lists) = args.nprobe {
        query = query.nprobe(lists);
    }
    if let Some(records) = args.candidates {
        query = query.candidates(records);
    }
    if let Some(budget) = args.budget_time {
        query = query.budget_time(budget);
    }
    if args.explain {
        query = query.explain();
    }
    let begin = Instant::now();
    let hits = query.run()?;
    let milliseconds = begin.elapsed().as_secs_f64() * 1000.0;
    if let Some(path) = &args.proof {
        let proof = hits.proof()?;
        let mut file = outside::create(path)?;
        let written = file.write_all(format!("{proof}\n").as_bytes());
        written.map_err(|error| Error::io(path, "write the proof", error))?;
    }

    if output.is_json() {
        let listed: Vec<Value> = hits.iter().map(hit_json).collect();
        output.document(&json!({
            "hits": listed, "certificate": certificate_json(&hits.certificate), "plan": plan_json(&hits.plan),
            "unreadable": hits.unreadable.iter().map(unreadable_json).collect::<Vec<_>>(), "milliseconds": milliseconds,
        }))?;
        return output.damage(&hits.unreadable, hits.certificate.unread);
    }
    for (rank, hit) in hits.iter().enumerate() {
        let class = hit.fields.get("class").and_then(Value::as_str).unwrap_or_default();
        output.line(format_args!("{:>3}  {:>10.4}  {}  {class}", rank + 1, hit.score_per_row, hit.id))?;
        if let Some(whole) = hit.explanation.as_ref().and_then(|why| why.alignment.as_ref()) {
            let at = span(&whole.record_rows, &whole.record_seconds);
            output.line(format_args!("                 as a whole at {at} (similarity {:.3})", whole.similarity))?;
        }
        for run in hit.explanation.iter().flat_map(|why| &why.runs).take(RUNS_SHOWN) {
            output.line(format_args!("                 {}", run_text(run)))?;
        }
    }
    if args.plan {
        output.text(&hits.plan.to_string())?;
    }
    let standing = hits.certificate.standing();
    output.remark(format_args!("{} hits, {standing}, {milliseconds:.1} ms (score per query row)", hits.len()));
    output.damage(&hits.unreadable, hits.certificate.unread)
}

/// The raw rows of the query: an array as it is, a sound through the model that made the collection.
pub(super) fn query_rows(
    file: &Path,
    model: &ModelArgs,
    channel: &ChannelArgs,
    schema: &Schema,
    output: &Output,
) -> Result<Matrix, Error> {
    if file.extension().is_some_and(|ending| ending == "npy") {
        return ArrayReader::open(file)?.into_matrix();
    }
    let embedder = model.open(output)?;
    otolith::ingest::check_same(schema, embedder.as_ref())?;
    let sound = Sound::read_mixed(file, embedder.sample_rate(), channel.channel)?;
    let embedded = sound.embed(embedder.as_ref())?;
    tell_remarks(file, &embedded, output);
    Ok(embedded.matrix)
}

fn span(rows: &Range<usize>, seconds: &Option<Range<f64>>) -> String {
    match seconds {
        Some(seconds) => format!("{:.2}-{:.2} s", seconds.start, seconds.end),
        None => format!("rows {}-{}", rows.start, rows.end),
    }
}

fn run_text(run: &Run) -> String {
    let (query, record) = (span(&run.query_rows, &run.query_seconds), span(&run.record_rows, &run.record_seconds));
    format!("{query} of the query at {record} ({:.0} % of the score)", 100.0 * run.share)
}

pub(super) fn hit_json(hit: &Hit) -> Value {
    let mut value = json!({
        "id": hit.id, "score": hit.score, "score_per_row": hit.score_per_row, "fields": Value::Object((*hit.fields).clone()),
    });
    if let Some(why) = &hit.explanation {
        value["runs"] = runs_json(why);
        value["alignment"] = why.alignment.as_ref().map_or(Value::Null, |whole| {
            json!({
                "record_rows": [whole.record_rows.start, whole.record_rows.end],
                "record_seconds": whole.record_seconds.as_ref().map(pair), "similarity": whole.similarity,
            })
        });
    }
    value
}

fn pair(range: &Range<f64>) -> Value {
    json!([range.start, range.end])
}

fn runs_json(why: &Explanation) -> Value {
    let run = |run: &Run| {
        json!({
            "query_rows": [run.query_rows.start, run.query_rows.end], "record_rows": [run.record_rows.start, run.record_rows.end],
            "query_seconds": run.query_seconds.as_ref().map(pair), "record_seconds": run.record_seconds.as_ref().map(pair),
            "score": run.score, "share": run.share,
        })
    };
    why.runs.iter().map(run).collect()
}

fn certificate_json(certificate: &Certificate) -> Value {
    let tiers = json!({ "bound": certificate.bounded, "exact": certificate.scored });
    let excluded =
        |(by, left): &(BoundBy, LeftOut)| json!({ "by": by.to_string(), "records": left.records, "most": left.most });
    let unsearched = Some(certificate.unsearched).filter(|left| left.records > 0);
    let unsearched = unsearched.map(|left| json!({ "records": left.records, "most": left.most }));
    json!({
        "exact": certificate.is_exact(), "standing": certificate.standing().name(), "kth_score": certificate.kth_score,
        "best_excluded": certificate.best_excluded, "unread": certificate.unread, "tiers": tiers,
        "excluded": certificate.excluded.iter().map(excluded).collect::<Vec<_>>(), "unsearched": unsearched,
        "approximation": certificate.approximation.map(|Approximation { target, low, high, like, .. }| {
            json!({ "target": target, "low": low, "high": high, "like": like })
        }),
    })
}

fn plan_json(plan: &Plan) -> Value {
    let segment = |part: &SegmentPlan| json!({ "segment": part.segment, "records": part.records, "way": part.way.to_string(), "why": part.why });
    plan.segments.iter().map(segment).collect()
}

fn unreadable_json(left: &Unreadable) -> Value {
    json!({ "id": left.id, "records": left.records, "file": left.path.display().to_string(), "offset": left.offset, "what": left.what })
}
