//! `view create|list|drop`.

use super::exit::Failure;
use super::model::Target;
use super::output::Output;
use otolith::Metric;
use otolith::pipeline::Step;
use otolith::{Database, DatabaseOptions};
use otolith::{View, ViewInfo};
use serde_json::{Value, json};

#[derive(clap::Subcommand)]
pub(super) enum Action {
    /// Fit a view on the records there are and derive its rows
    Create(CreateArgs),
    /// List views
    List(ListArgs),
    /// Forget a view
    Drop(DropArgs),
}

const CREATE_HELP: &str = "\
Steps, in order, each NAME or NAME:SETTING:
  stack:-8,-4,-2,0,2,4,8   every row with its neighbours at these distances
  every:N                  every N-th row
  centre, standardise      subtract the mean; also divide by the deviation
  pca:DIM, whiten:DIM      principal components; scaled to equal weight
  lda:FIELD                directions that tell the classes named by a field apart
  contrast:FIELD,N         N numbers by which rows of one class point the same way, those of others elsewhere
  normalise                rows to length one
  concatenate:ROWS         ROWS evenly spaced rows as one long row
  pool:mean,std,max        one row of statistics
  codes:CENTROIDS          similarity to the centroids of k-means

Example (the view `maxsim-white` of the experiment):
  otolith view create sounds.otolith white stack:-8,-4,-2,0,2,4,8 every:2 whiten:96 normalise --metric cosine";

/// Fit a view on the records there are and derive its rows.
#[derive(clap::Args)]
#[command(after_help = CREATE_HELP)]
pub(super) struct CreateArgs {
    #[command(flatten)]
    target: Target,
    /// Name of the new view
    name: String,
    /// Steps from raw rows to the rows of the view
    #[arg(required = true, value_name = "STEP")]
    steps: Vec<Step>,
    /// How its rows are compared (dot, cosine, l2); as the collection's unless given
    #[arg(long)]
    metric: Option<String>,
    /// Fit only on records whose fields meet this expression
    #[arg(long, value_name = "EXPRESSION")]
    fit_on: Option<String>,
}

/// List views.
#[derive(clap::Args)]
pub(super) struct ListArgs {
    #[command(flatten)]
    target: Target,
}

/// Forget a view.
#[derive(clap::Args)]
pub(super) struct DropArgs {
    #[command(flatten)]
    target: Target,
    /// Name of the view
    name: String,
}

pub(super) fn run(action: Action, opening: DatabaseOptions, output: &mut Output) -> Result<(), Failure> {
    match action {
        Action::Create(args) => create(args, opening, output),
        Action::List(args) => list(args, output),
        Action::Drop(args) => {
            let db = opening.must_exist().open(&args.target.db)?;
            db.collection(&args.target.collection)?.drop_view(&args.name)?;
            if output.is_json() { output.document(&json!({ "dropped": args.name })) } else { Ok(()) }
        }
    }
}

fn create(args: CreateArgs, opening: DatabaseOptions, output: &mut Output) -> Result<(), Failure> {
    let db = opening.must_exist().open(&args.target.db)?;
    let mut view = View::new(args.steps);
    if let Some(metric) = &args.metric {
        view = view.metric(metric.parse::<Metric>()?);
    }
    if let Some(filter) = args.fit_on {
        view = view.fitted_on(filter);
    }
    let collection = db.collection(&args.target.collection)?;
    collection.create_view(&args.name, &view)?;
    show(&[collection.view(&args.name)?], output)
}

fn list(args: ListArgs, output: &mut Output) -> Result<(), Failure> {
    let db = Database::open_read_only(&args.target.db)?;
    show(&db.collection(&args.target.collection)?.views()?, output)
}

pub(super) fn describe(view: &ViewInfo) -> Value {
    json!({
        "name": view.name, "dim": view.dim, "metric": view.metric.name(), "fitted_on": view.fitted_on,
        "steps": view.steps.iter().map(Step::to_json).collect::<Vec<_>>(),
    })
}

fn show(views: &[ViewInfo], output: &mut Output) -> Result<(), Failure> {
    if output.is_json() {
        return output.document(&json!({ "views": views.iter().map(describe).collect::<Vec<_>>() }));
    }
    for view in views {
        let steps: Vec<String> = view.steps.iter().map(ToString::to_string).collect();
        let fitted_on = view.fitted_on.as_ref().map(|filter| format!("  fitted on {filter}")).unwrap_or_default();
        output.line(format_args!(
            "{}  dim {}  {}  {}{fitted_on}",
            view.name,
            view.dim,
            view.metric.name(),
            steps.join(" ")
        ))?;
    }
    Ok(())
}
