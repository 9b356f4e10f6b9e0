//! What a view consists of: the steps from raw rows to searched ones, its metric, and the records it is fitted on.

use crate::error::{Error, Result};
use crate::pipeline::{Pipeline, Step};
use crate::record::Schema;
use crate::score::Metric;
use crate::store::ViewFile;
use serde_json::{Value, json};

/// Describes a view before it is created: a chain of [`Step`]s, a metric, and the records to fit it on. Created by
/// [`Collection::create_view`](crate::Collection::create_view), searched by [`Query::view`](crate::Query::view).
///
/// # Examples
///
/// ```
/// use otolith::{Metric, Step, View};
///
/// // Every second row, brought to mean 0 and deviation 1, then to length 1; fitted on all records but one fold.
/// let view = View::new([Step::Every { n: 2 }, Step::Standardise, Step::Normalise])
///     .metric(Metric::Dot)
///     .fitted_on("fold != 1");
/// assert_eq!(view.steps().len(), 3);
///
/// // The same steps, written as text.
/// assert_eq!(view.steps(), ["every:2".parse::<Step>()?, "standardise".parse()?, "normalise".parse()?]);
/// # Ok::<(), otolith::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct View {
    pub(super) steps: Vec<Step>,
    pub(super) metric: Option<Metric>,
    pub(super) fitted_on: Option<String>,
}

impl View {
    /// Describes a view with these steps, in this order, compared by the collection's metric and fitted on all
    /// records. No steps at all are fine: such a view has the raw rows, and may have a metric of its own.
    pub fn new(steps: impl IntoIterator<Item = Step>) -> View {
        View { steps: steps.into_iter().collect(), metric: None, fitted_on: None }
    }

    /// Compares the view's rows by `metric` instead of the collection's.
    pub fn metric(mut self, metric: Metric) -> View {
        self.metric = Some(metric);
        self
    }

    /// Fits the view only on the records that pass this filter (see [`filter`](crate::filter)), such as `fold != 1`.
    /// The view still has rows for all records.
    pub fn fitted_on(mut self, filter: impl Into<String>) -> View {
        self.fitted_on = Some(filter.into());
        self
    }

    /// Returns the steps, in order.
    pub fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// Returns the settings that are stored beside the fitted numbers.
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

/// Describes a view that a collection has. Returned by [`Collection::view`](crate::Collection::view) and
/// [`Collection::views`](crate::Collection::views).
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct ViewInfo {
    /// The view's name.
    pub name: String,
    /// The dimension of the rows that it makes.
    pub dim: usize,
    /// The metric by which its rows are compared.
    pub metric: Metric,
    /// The filter that named the records it was fitted on; `None` for all records.
    pub fitted_on: Option<String>,
    /// Its steps, in order.
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
