//! What a view is: the steps from raw rows to searched ones, its metric, and the records it is fitted on.

use crate::error::{Error, Result};
use crate::pipeline::{Pipeline, Step};
use crate::record::Schema;
use crate::score::Metric;
use crate::store::ViewFile;
use serde_json::{Value, json};

/// A view to be created.
#[derive(Clone, Debug, PartialEq)]
pub struct View {
    pub(super) steps: Vec<Step>,
    pub(super) metric: Option<Metric>,
    pub(super) fitted_on: Option<String>,
}

impl View {
    /// A view by these steps, compared by the collection's metric, fitted on all records.
    pub fn new(steps: impl IntoIterator<Item = Step>) -> View {
        View { steps: steps.into_iter().collect(), metric: None, fitted_on: None }
    }

    /// The view with a metric of its own.
    pub fn metric(mut self, metric: Metric) -> View {
        self.metric = Some(metric);
        self
    }

    /// The view fitted on the records that meet this filter only, say `fold != 1`.
    pub fn fitted_on(mut self, filter: impl Into<String>) -> View {
        self.fitted_on = Some(filter.into());
        self
    }

    /// Its steps.
    pub fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// What is kept of it beside the fitted numbers.
    pub(super) fn settings(&self, schema: &Schema, pipeline: &Pipeline) -> Value {
        json!({
            "metric": self.metric.unwrap_or(schema.metric).name(),
            "fitted_on": self.fitted_on,
            "input_dim": schema.dim,
            "dim": pipeline.dim(),
            "steps": self.steps.iter().map(Step::to_json).collect::<Vec<_>>(),
        })
    }
}

/// A view that there is.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct ViewInfo {
    /// Its name.
    pub name: String,
    /// Numbers in a row of it.
    pub dim: usize,
    /// How its rows are compared.
    pub metric: Metric,
    /// The filter that named the records it was fitted on.
    pub fitted_on: Option<String>,
    /// Its steps.
    pub steps: Vec<Step>,
}

impl ViewInfo {
    pub(super) fn read(view: &ViewFile) -> Result<ViewInfo> {
        let settings = &view.settings;
        let steps = settings["steps"].as_array().ok_or_else(|| Error::invalid("view", "has no steps"))?;
        Ok(ViewInfo {
            name: view.name.clone(),
            dim: view.pipeline()?.dim(),
            metric: view.metric()?,
            fitted_on: settings["fitted_on"].as_str().map(str::to_owned),
            steps: steps.iter().map(Step::from_json).collect::<Result<_>>()?,
        })
    }
}
