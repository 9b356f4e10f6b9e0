//! What `bench` found, as tables and as a document.

use super::super::output::table;
use super::super::shown::shown;
use super::asking::Asking;
use otolith::Result;
use serde_json::{Value, json};
use std::path::Path;

/// How fast questions were answered.
#[derive(Clone, Copy, Debug)]
pub(super) struct Speed {
    pub(super) queries_per_second: f64,
    pub(super) p50_ms: f64,
    pub(super) p99_ms: f64,
}

/// All that was measured.
pub(super) struct Report {
    pub(super) input: String,
    pub(super) records: usize,
    pub(super) dim: usize,
    pub(super) metric: &'static str,
    /// Bytes that the rows of a record take.
    pub(super) record_bytes: f64,
    pub(super) queries: usize,
    pub(super) k: usize,
    pub(super) exact: Speed,
    pub(super) ways: Vec<Way>,
    /// What was not measured, and why.
    skipped: Vec<(String, String)>,
}

/// A kind of index.
pub(super) struct Way {
    pub(super) way: String,
    /// None when it was there before.
    pub(super) build_seconds: Option<f64>,
    pub(super) bytes_per_record: f64,
    pub(super) settings: Vec<Setting>,
    pub(super) asked: Vec<Asked>,
}

/// What one setting achieves.
pub(super) struct Setting {
    pub(super) setting: usize,
    pub(super) recall: f64,
    pub(super) speed: Speed,
}

/// What came of asking for a recall.
pub(super) struct Asked {
    pub(super) target: f64,
    pub(super) chosen: String,
    pub(super) promised: Option<(f64, f64)>,
    pub(super) recall: f64,
    pub(super) speed: Speed,
}

impl Speed {
    /// Of one question after another.
    pub(super) fn of(mut seconds: Vec<f64>) -> Speed {
        let total: f64 = seconds.iter().sum();
        seconds.sort_by(f64::total_cmp);
        let quantile = |share: f64| {
            let at = (seconds.len().saturating_sub(1) as f64 * share).round() as usize;
            seconds.get(at).copied().unwrap_or_default() * 1e3
        };
        let queries_per_second = seconds.len() as f64 / total.max(f64::MIN_POSITIVE);
        Speed { queries_per_second, p50_ms: quantile(0.5), p99_ms: quantile(0.99) }
    }

    fn cells(self) -> [String; 3] {
        let Speed { queries_per_second, p50_ms, p99_ms } = self;
        [format!("{queries_per_second:.0}"), format!("{p50_ms:.3}"), format!("{p99_ms:.3}")]
    }

    /// Adds itself to an object.
    fn into_json(self, mut object: Value) -> Value {
        object["queries_per_second"] = round(self.queries_per_second).into();
        object["p50_ms"] = round(self.p50_ms).into();
        object["p99_ms"] = round(self.p99_ms).into();
        object
    }
}

impl Report {
    pub(super) fn new(input: &Path, asking: &Asking, exact: Speed) -> Result<Report> {
        let subject = &asking.subject;
        let (snapshot, schema) = (subject.collection.snapshot()?, subject.collection.schema()?);
        let rows = snapshot.iter().map(|entry| entry.rows()).sum::<Result<usize>>()?;
        let view = (subject.view != otolith::RAW).then(|| subject.collection.view(&subject.view)).transpose()?;
        let (dim, metric) = view.map_or((schema.dim, schema.metric), |view| (view.dim, view.metric));
        Ok(Report {
            input: input.file_name().unwrap_or(input.as_os_str()).to_string_lossy().into_owned(),
            records: snapshot.len(),
            dim,
            metric: metric.name(),
            record_bytes: (rows * schema.dim * schema.precision.bytes()) as f64 / snapshot.len().max(1) as f64,
            queries: subject.questions.len(),
            k: asking.k,
            exact,
            ways: Vec::new(),
            skipped: Vec::new(),
        })
    }

    /// Notes what could not be measured.
    pub(super) fn skip(&mut self, way: &str, why: &str) {
        self.skipped.push((way.to_owned(), why.to_owned()));
    }

    /// The tables for people.
    pub(super) fn to_text(&self) -> String {
        let Report { records, dim, metric, record_bytes, queries, k, .. } = self;
        let mut text = format!(
            "{}: {records} records of {dim} numbers a row, {record_bytes:.0} bytes each; {metric}; {queries} queries, top {k}, \
             one after another on one thread\n",
            shown(&self.input)
        );
        text.push_str(&self.settings_table());
        if !self.ways.is_empty() {
            text.push_str("\nAsked for a recall:\n");
            text.push_str(&self.asked_table());
        }
        for (way, why) in &self.skipped {
            text.push_str(&format!("skipped {way}: {why}\n"));
        }
        text
    }

    fn settings_table(&self) -> String {
        let recall = format!("recall@{}", self.k);
        let head = ["way", "setting", &recall, "queries/s", "p50 ms", "p99 ms", "build s", "bytes/record"];
        let none = || "-".to_owned();
        let row = |way: &str, setting: String, recall: f64, speed: Speed, build: String, bytes: String| {
            let [rate, p50, p99] = speed.cells();
            vec![way.to_owned(), setting, format!("{recall:.3}"), rate, p50, p99, build, bytes]
        };
        let mut rows = vec![row("exact", none(), 1.0, self.exact, none(), none())];
        for way in &self.ways {
            let build = way.build_seconds.map_or_else(none, |seconds| format!("{seconds:.1}"));
            let bytes = format!("{:.0}", way.bytes_per_record);
            rows.extend(way.settings.iter().map(|setting| {
                let Setting { setting, recall, speed } = setting;
                row(&way.way, setting.to_string(), *recall, *speed, build.clone(), bytes.clone())
            }));
        }
        table(&head, 1, rows)
    }

    fn asked_table(&self) -> String {
        let head = ["way", "chosen", "asked", "promised", "measured", "queries/s", "p50 ms", "p99 ms"];
        let rows = self.ways.iter().flat_map(|way| {
            way.asked.iter().map(|asked| {
                let [rate, p50, p99] = asked.speed.cells();
                let promised = asked.promised;
                let promised = promised.map_or("exact".to_owned(), |(low, high)| format!("{low:.3}..{high:.3}"));
                let (target, recall) = (asked.target.to_string(), format!("{:.3}", asked.recall));
                vec![way.way.clone(), asked.chosen.clone(), target, promised, recall, rate, p50, p99]
            })
        });
        table(&head, 2, rows)
    }

    /// The document for machines. Numbers are rounded to six places.
    pub(super) fn to_json(&self) -> Value {
        let skipped = self.skipped.iter().map(|(way, why)| json!({ "way": way, "why": why }));
        json!({
            "otolith": env!("CARGO_PKG_VERSION"), "input": self.input, "records": self.records, "dim": self.dim,
            "metric": self.metric, "record_bytes": round(self.record_bytes), "queries": self.queries, "k": self.k,
            "exact": self.exact.into_json(json!({})), "ways": self.ways.iter().map(Way::to_json).collect::<Vec<_>>(),
            "skipped": skipped.collect::<Vec<_>>(),
        })
    }
}

impl Way {
    fn to_json(&self) -> Value {
        let settings = self.settings.iter().map(|Setting { setting, recall, speed }| {
            speed.into_json(json!({ "setting": setting, "recall": round(*recall) }))
        });
        let asked = self.asked.iter().map(|asked| {
            let (low, high) = (asked.promised.map(|(low, _)| round(low)), asked.promised.map(|(_, high)| round(high)));
            asked.speed.into_json(json!({
                "target": asked.target, "chosen": asked.chosen, "low": low, "high": high, "recall": round(asked.recall),
            }))
        });
        json!({
            "way": self.way, "build_seconds": self.build_seconds.map(round), "bytes_per_record": round(self.bytes_per_record),
            "settings": settings.collect::<Vec<_>>(), "asked": asked.collect::<Vec<_>>(),
        })
    }
}

fn round(value: f64) -> f64 {
    (value * 1e6).round() / 1e6
}
