//! `label` and `adapt`: say what sounds are, and search by it.

use super::exit::Failure;
use super::model::Target;
use super::output::Output;
use crate::esc50::arms;
use otolith::Collection;
use otolith::Record;
use otolith::filter::Filter;
use otolith::pipeline::recipes;
use otolith::{Database, DatabaseOptions};
use otolith::{Error, Result};
use otolith::{Metric, View, embed};
use serde_json::json;
use std::collections::{BTreeMap, HashSet};

/// Name of the view that `adapt` makes, and what it begins with from the second on.
const ADAPTED: &str = "adapted";

/// Say what class records are of: sets a field and leaves all else as it is.
#[derive(clap::Args)]
#[command(
    override_usage = "otolith label [OPTIONS] <DB> <ID>... <CLASS>",
    after_help = "Examples:
  otolith label sounds.otolith a.wav dog
  otolith label sounds.otolith a.wav b.wav c.wav rain --field weather

All or none of the records are labelled. `otolith adapt` then makes a view that tells the classes apart.
With --json: {\"labelled\", \"field\", \"class\"}"
)]
pub(super) struct LabelArgs {
    #[command(flatten)]
    target: Target,
    /// Ids of the records, then their class
    #[arg(required = true, num_args = 2.., value_name = "ID.. CLASS")]
    ids_and_class: Vec<String>,
    /// The field that holds the class
    #[arg(long, value_name = "NAME", default_value = arms::CLASS)]
    field: String,
}

pub(super) fn label(mut args: LabelArgs, opening: DatabaseOptions, output: &mut Output) -> Result<(), Failure> {
    let class = args.ids_and_class.pop().unwrap_or_default();
    if class.trim().is_empty() {
        return Err(Error::invalid("class", "is empty: the last argument names it").into());
    }
    let mut seen = HashSet::new();
    args.ids_and_class.retain(|id| seen.insert(id.clone()));
    let db = opening.must_exist().open(&args.target.db)?;
    let collection = db.collection(&args.target.collection)?;
    let with_class = |id: &String| -> Result<Record> {
        let record = collection.get(id)?.ok_or_else(|| Error::not_found("record", id, Vec::<String>::new()))?;
        Ok(record.field(args.field.as_str(), class.as_str()))
    };
    let records = args.ids_and_class.iter().map(with_class).collect::<Result<Vec<_>>>()?;
    let labelled = collection.upsert(records)?.len();
    if output.is_json() {
        return output.document(&json!({ "labelled": labelled, "field": args.field, "class": class }));
    }
    output.line(format_args!("{labelled} labelled {} = {class:?}", args.field))
}

/// Make a view that tells the labelled classes apart, and keep those there are.
#[derive(clap::Args)]
#[command(after_help = "\
The view is that of the arm `adapted` of `otolith compare`: one short vector a sound, fitted on all records, then turned so
that the records of one class lie together and the classes apart. It takes at least two classes, and two records of one of them;
more labels make it better. Records without a label are searched by it like any other.

Examples:
  otolith adapt sounds.otolith
  otolith adapt sounds.otolith --field weather --filter \"seconds > 2\"

With --json: {\"view\", \"dim\", \"field\", \"records\", \"labelled\", \"classes\": {class: records}}")]
pub(super) struct AdaptArgs {
    #[command(flatten)]
    target: Target,
    /// Name of the new view; `adapted`, `adapted-2`, .. unless given
    #[arg(long, value_name = "NAME")]
    view: Option<String>,
    /// The field that holds the class
    #[arg(long, value_name = "NAME", default_value = arms::CLASS)]
    field: String,
    /// Learn only from records whose fields meet this expression
    #[arg(long, value_name = "EXPRESSION")]
    filter: Option<String>,
}

pub(super) fn adapt(args: AdaptArgs, opening: DatabaseOptions, output: &mut Output) -> Result<(), Failure> {
    let db: Database = opening.must_exist().open(&args.target.db)?;
    let collection = db.collection(&args.target.collection)?;
    let name = match args.view {
        Some(name) => name,
        None => free_name(&collection)?,
    };
    let (records, classes) = labels(&collection, &args.field, args.filter.as_deref())?;
    let labelled: usize = classes.values().sum();
    if classes.len() < 2 || labelled == classes.len() {
        let found = format!("{labelled} of {records} records have one, classes: {}", classes.len());
        let why = format!("{found}: at least two are needed, and two records of one: `otolith label DB ID CLASS`");
        return Err(Error::invalid(format!("labels in the field `{}`", args.field), why).into());
    }
    let with_context = collection.schema()?.embedder.as_deref().is_some_and(embed::has_short_rows);
    let mut view = View::new(recipes::adapted(with_context, &args.field, 0)).metric(Metric::Cosine);
    if let Some(filter) = args.filter {
        view = view.fitted_on(filter);
    }
    collection.create_view(&name, &view)?;
    let dim = collection.view(&name)?.dim;
    if output.is_json() {
        let (field, view) = (args.field, name);
        return output.document(&json!({
            "view": view, "dim": dim, "field": field, "records": records, "labelled": labelled, "classes": classes,
        }));
    }
    output.line(format_args!(
        "{name}: fitted on {records} records, of which {labelled} have a label, of {} classes; {dim} numbers a record",
        classes.len()
    ))?;
    let db = args.target.db.display();
    output.line(format_args!("search by it: otolith search {db} FILE --view {name}"))
}

/// `adapted`, or the first of `adapted-2`, `adapted-3`, .. that is no view yet.
fn free_name(collection: &Collection) -> Result<String> {
    let taken: Vec<String> = collection.views()?.into_iter().map(|view| view.name).collect();
    let names = std::iter::once(ADAPTED.to_owned()).chain((2..).map(|number| format!("{ADAPTED}-{number}")));
    Ok(names.into_iter().find(|name| !taken.contains(name)).unwrap_or_default())
}

/// How many records a filter chooses, and how many of them are of each class.
fn labels(collection: &Collection, field: &str, filter: Option<&str>) -> Result<(usize, BTreeMap<String, usize>)> {
    let filter = filter.map(Filter::parse).transpose()?;
    let (mut records, mut classes) = (0, BTreeMap::new());
    for entry in collection.snapshot()?.iter() {
        let fields = entry.fields()?;
        let id = entry.id()?;
        if filter.as_ref().is_some_and(|filter| !filter.matches(id, &fields)) {
            continue;
        }
        records += 1;
        let Some(class) = fields.label(field) else { continue };
        *classes.entry(class).or_default() += 1;
    }
    Ok((records, classes))
}
