//! Results: what an arm gives back, the table for people and the document for programs.

use super::measure::{Confusion, Measures};
use comfy_table::{CellAlignment, ContentArrangement, Table, presets};
use otolith::classify::Epoch;
use serde_json::{Value, json};

/// Whether an arm searches records or names classes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ArmKind {
    /// Ranks records.
    Search,
    /// Ranks classes.
    Classifier,
}

impl ArmKind {
    /// The word in tables and documents.
    pub fn name(self) -> &'static str {
        match self {
            ArmKind::Search => "search",
            ArmKind::Classifier => "classifier",
        }
    }
}

/// A moment of the query and the moment of the record that it matched, in seconds from the starts of the clips.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Moment {
    /// Start and end in the query.
    pub query: (f64, f64),
    /// Start and end in the record.
    pub record: (f64, f64),
    /// Its share of the score, 0 to 1.
    pub share: f64,
}

/// One hit of an [`Example`].
#[derive(Clone, Debug, PartialEq)]
pub struct ExampleHit {
    /// The record, a number into the data set's clips.
    pub clip: usize,
    /// Its score; larger is better.
    pub score: f64,
    /// Where query and record matched, the largest share first; empty for arms that compare clips as wholes.
    pub moments: Vec<Moment>,
}

/// One query with its first hits, to be shown.
#[derive(Clone, Debug, PartialEq)]
pub struct Example {
    /// The query, a number into the data set's clips.
    pub query: usize,
    /// Its hits, best first.
    pub hits: Vec<ExampleHit>,
}

/// What one arm achieved.
#[derive(Clone, Debug, PartialEq)]
pub struct ArmResult {
    /// Its name: `maxsim-white`.
    pub arm: String,
    /// What it does.
    pub kind: ArmKind,
    /// Dimension of what it compares.
    pub dim: usize,
    /// Rows of what it compares; 1 for a vector a clip.
    pub rows: usize,
    /// Queries answered, over all rounds.
    pub queries: usize,
    /// Records that a query was searched in.
    pub records: usize,
    /// How well.
    pub measures: Measures,
    /// What was taken for what.
    pub confusion: Confusion,
    /// Whether each query's first answer was right, in the order of the rounds: the same for every arm.
    pub right: Vec<bool>,
    /// Seconds spent on fitting, over all rounds.
    pub fit_seconds: f64,
    /// Seconds spent on answering, over all queries.
    pub search_seconds: f64,
    /// A few queries with their hits; none for classifiers.
    pub examples: Vec<Example>,
    /// Of a network trained for this, the epochs of each round; else empty.
    pub training: Vec<Training>,
}

/// How the network of a round was trained.
#[derive(Clone, Debug, PartialEq)]
pub struct Training {
    /// The round's name.
    pub round: String,
    /// Its epochs, validated on the round's queries.
    pub epochs: Vec<Epoch>,
}

/// What turned sounds into rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelInfo {
    /// `logmel`, or the checkpoint's name.
    pub name: String,
    /// Which of its layers, where it has any.
    pub layer: Option<String>,
    /// Dimension.
    pub dim: usize,
    /// Rows of a clip.
    pub rows_per_clip: usize,
}

/// An arm that did not run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Skipped {
    /// Its name.
    pub arm: String,
    /// Why, for people.
    pub why: String,
}

/// A whole experiment's result.
#[derive(Clone, Debug, PartialEq)]
pub struct Comparison {
    /// The data set's name.
    pub dataset: String,
    /// Its clips.
    pub clips: usize,
    /// Its classes.
    pub classes: usize,
    /// The protocol's name.
    pub protocol: String,
    /// The model.
    pub model: ModelInfo,
    /// What the arms achieved, in the order they ran.
    pub arms: Vec<ArmResult>,
    /// The arms that did not run.
    pub skipped: Vec<Skipped>,
}

impl Comparison {
    /// The document of `compare --json`. Fractions and seconds are rounded to six places.
    pub fn to_json(&self) -> Value {
        let model = &self.model;
        json!({
            "otolith": env!("CARGO_PKG_VERSION"),
            "dataset": {"name": self.dataset, "clips": self.clips, "classes": self.classes},
            "protocol": self.protocol,
            "model": {
                "name": model.name, "layer": model.layer, "dim": model.dim, "rows_per_clip": model.rows_per_clip,
            },
            "arms": self.arms.iter().map(arm_json).collect::<Vec<_>>(),
            "skipped": self.skipped.iter().map(|skipped| json!({"arm": skipped.arm, "why": skipped.why})).collect::<Vec<_>>(),
        })
    }

    /// The table for people, `width` columns wide at most where that is given, and below it what was skipped.
    pub fn to_text(&self, width: Option<u16>) -> String {
        let head = ["arm", "kind", "dim", "rows", "top-1", "95 %", "top-3", "mAP", "fit s", "search s"];
        let mut table = Table::new();
        table
            .load_preset(presets::UTF8_BORDERS_ONLY)
            .set_content_arrangement(ContentArrangement::Dynamic)
            .set_header(head);
        if let Some(width) = width {
            table.set_width(width);
        }
        for column in table.column_iter_mut().skip(2) {
            column.set_cell_alignment(CellAlignment::Right);
        }
        table.add_rows(self.arms.iter().map(cells));
        let Comparison { dataset, clips, classes, protocol, model, .. } = self;
        let mut text =
            format!("{dataset}: {clips} clips, {classes} classes; protocol {protocol}; model {}\n", model.label());
        text.push_str(&format!("{table}\n"));
        for arm in self.arms.iter().filter(|arm| !arm.training.is_empty()) {
            text.push_str(&format!("\n{}: {} queries of {} rounds\n", arm.arm, arm.queries, arm.training.len()));
            for Training { round, epochs } in &arm.training {
                text.push_str(&format!("{round}\n{}\n", Epoch::HEADING));
                epochs.iter().for_each(|epoch| text.push_str(&format!("{}\n", epoch.to_line())));
            }
        }
        for Skipped { arm, why } in &self.skipped {
            text.push_str(&format!("skipped {arm}: {why}\n"));
        }
        text
    }
}

impl ModelInfo {
    /// Name, layer and shape in words.
    pub fn label(&self) -> String {
        let layer = self.layer.as_ref().map(|layer| format!(", layer {layer}")).unwrap_or_default();
        format!("{}{layer}, {} rows of {}", self.name, self.rows_per_clip, self.dim)
    }
}

fn cells(arm: &ArmResult) -> Vec<String> {
    let measures = &arm.measures;
    vec![
        arm.arm.clone(),
        arm.kind.name().to_owned(),
        arm.dim.to_string(),
        arm.rows.to_string(),
        format!("{:.3}", measures.top1),
        format!("{:.3}..{:.3}", measures.top1_low, measures.top1_high),
        format!("{:.3}", measures.top3),
        measures.map.map_or_else(|| "-".to_owned(), |map| format!("{map:.3}")),
        format!("{:.1}", arm.fit_seconds),
        format!("{:.1}", arm.search_seconds),
    ]
}

fn training_json(training: &Training) -> Value {
    json!({"round": training.round, "epochs": training.epochs.iter().map(Epoch::to_json).collect::<Vec<_>>()})
}

fn arm_json(arm: &ArmResult) -> Value {
    let round = |value: f64| (value * 1e6).round() / 1e6;
    let Measures { top1, top1_low, top1_high, top3, top3_low, top3_high, map } = arm.measures;
    let mut json = json!({
        "arm": arm.arm, "kind": arm.kind.name(), "dim": arm.dim, "rows": arm.rows,
        "queries": arm.queries, "records": arm.records,
        "top1": round(top1), "top1_low": round(top1_low), "top1_high": round(top1_high),
        "top3": round(top3), "top3_low": round(top3_low), "top3_high": round(top3_high),
        "map": map.map(round), "fit_seconds": round(arm.fit_seconds), "search_seconds": round(arm.search_seconds),
    });
    if !arm.training.is_empty() {
        json["training"] = arm.training.iter().map(training_json).collect();
    }
    json
}
