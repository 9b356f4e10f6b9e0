//! ESC-50's own layout: a table names every clip, its fold, its class and the recording it comes from.

use super::{ClipFile, DataSet, file_name, source_of};
use csv::StringRecord;
use otolith::audio::folder::{Entry, Found, Reason, list};
use otolith::{Error, Result};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

/// Where the table is, below the data set's folder.
pub(in crate::esc50) const TABLE: &str = "meta/esc50.csv";

/// One row of the table, with the line it stands on.
struct Row {
    line: u64,
    file: String,
    fold: u32,
    target: u64,
    category: String,
    source: String,
}

pub(super) fn load(root: &Path) -> Result<DataSet> {
    let table = &root.join(TABLE);
    let rows = read(table)?;
    check_unique(table, &rows)?;
    let categories = categories(table, &rows)?;
    let number_of: HashMap<u64, usize> =
        categories.keys().enumerate().map(|(number, &target)| (target, number)).collect();
    let mut beside = Found::default();
    let paths = locate(table, &root.join("audio"), &rows, &mut beside)?;
    let clips: Vec<ClipFile> = std::iter::zip(rows, paths)
        .map(|(row, path)| ClipFile {
            path,
            name: row.file,
            class: number_of[&row.target],
            fold: row.fold,
            split: None,
            source: row.source,
        })
        .collect();
    // what calls itself esc50.csv need not be ESC-50: only the whole set bears the name
    let name = if (clips.len(), categories.len()) == (2000, 50) { "esc50" } else { file_name(root)? };
    Ok(DataSet { name: name.to_owned(), classes: categories.into_values().collect(), clips, beside })
}

fn read(table: &Path) -> Result<Vec<Row>> {
    let broken = |error: csv::Error| Error::unusable(table, error.to_string());
    let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::All).from_path(table).map_err(broken)?;
    let columns = Columns::find(table, reader.headers().map_err(broken)?)?;
    let rows =
        reader.records().map(|record| columns.row(table, &record.map_err(broken)?)).collect::<Result<Vec<_>>>()?;
    match rows.is_empty() {
        true => Err(Error::unusable(table, "the table has no rows")),
        false => Ok(rows),
    }
}

/// Which column holds what.
struct Columns {
    filename: usize,
    fold: usize,
    target: usize,
    category: usize,
    src_file: Option<usize>,
}

impl Columns {
    fn find(table: &Path, header: &StringRecord) -> Result<Columns> {
        let place = |name: &str| header.iter().position(|column| column == name);
        let need = |name: &str| {
            place(name).ok_or_else(|| {
                let why = format!(
                    "line 1: no column `{name}`: expected filename,fold,target,category and, if known, src_file"
                );
                Error::unusable(table, why)
            })
        };
        Ok(Columns {
            filename: need("filename")?,
            fold: need("fold")?,
            target: need("target")?,
            category: need("category")?,
            src_file: place("src_file"),
        })
    }

    fn row(&self, table: &Path, record: &StringRecord) -> Result<Row> {
        let line = record.position().map_or(0, |position| position.line());
        let bad = |column: &str, value: &str, expected: &str| {
            Error::unusable(table, format!("line {line}: {column} `{value}` is not {expected}"))
        };
        let (file, fold) = (&record[self.filename], &record[self.fold]);
        let (target, category) = (&record[self.target], &record[self.category]);
        // a row must not reach outside the data set
        if file.is_empty() || Path::new(file).file_name().is_none_or(|name| name != file) {
            return Err(bad("filename", file, "a plain file name"));
        }
        if category.is_empty() {
            return Err(bad("category", category, "a name"));
        }
        let stem = file.rsplit_once('.').map_or(file, |(stem, _)| stem);
        Ok(Row {
            line,
            file: file.to_owned(),
            fold: fold
                .parse()
                .ok()
                .filter(|&fold| fold > 0)
                .ok_or_else(|| bad("fold", fold, "a whole number from 1"))?,
            target: target.parse().map_err(|_| bad("target", target, "a whole number"))?,
            category: category.to_owned(),
            source: self.src_file.map_or(source_of(stem), |column| &record[column]).to_owned(),
        })
    }
}

fn check_unique(table: &Path, rows: &[Row]) -> Result<()> {
    let mut first = HashMap::new();
    for row in rows {
        if let Some(line) = first.insert(&row.file, row.line) {
            return Err(Error::unusable(
                table,
                format!("line {}: `{}` stands on line {line} already", row.line, row.file),
            ));
        }
    }
    Ok(())
}

/// The class names by target: a target has one name and a name one target.
fn categories(table: &Path, rows: &[Row]) -> Result<BTreeMap<u64, String>> {
    let (mut name_of, mut target_of) = (BTreeMap::new(), HashMap::new());
    for Row { line, target, category, .. } in rows {
        let name = name_of.entry(*target).or_insert_with(|| category.clone());
        let number = *target_of.entry(category).or_insert(*target);
        if name != category || number != *target {
            let why = format!(
                "line {line}: target {target} is `{category}`, but earlier `{name}` and `{category}` was {number}"
            );
            return Err(Error::unusable(table, why));
        }
    }
    Ok(name_of)
}

/// The file of each row. The table of ESC-50 says `.wav`; a copy in another format has other endings, in either case.
fn locate(table: &Path, audio: &Path, rows: &[Row], beside: &mut Found) -> Result<Vec<PathBuf>> {
    // A folder that cannot be listed has none of the clips, which is told below.
    let (mut sounds, mut folders) = (Vec::new(), Vec::new());
    for (path, entry) in list(audio, beside).unwrap_or_default() {
        let kind = if entry == Entry::Sound { &mut sounds } else { &mut folders };
        kind.push(path);
    }
    let mut by_name: HashMap<OsString, usize> = HashMap::new();
    for (at, path) in sounds.iter().enumerate() {
        for name in [path.file_name(), path.file_stem()].into_iter().flatten() {
            by_name.entry(name.to_owned()).or_insert(at);
        }
    }
    let place = |row: &Row| {
        let stem = Path::new(&row.file).file_stem().unwrap_or_default();
        by_name.get(OsStr::new(&row.file)).or_else(|| by_name.get(stem)).copied()
    };
    let places: Vec<Option<usize>> = rows.iter().map(place).collect();
    let found: Vec<Option<PathBuf>> = places.iter().map(|place| place.map(|at| sounds[at].clone())).collect();
    let taken: HashSet<usize> = places.into_iter().flatten().collect();
    let sounds = sounds.into_iter().enumerate().filter(|(at, _)| !taken.contains(at)).map(|(_, path)| path);
    for path in sounds.chain(folders) {
        beside.left_out.add(Reason::Unlisted, path);
    }
    let missing = found.iter().filter(|path| path.is_none()).count();
    if let Some(first) = found.iter().position(Option::is_none) {
        let Row { line, file, .. } = &rows[first];
        let why = format!(
            "line {line}: `{file}` is not in {}: {missing} of {} clips are missing, unpack the whole data set",
            audio.display(),
            rows.len()
        );
        return Err(Error::unusable(table, why));
    }
    Ok(found.into_iter().flatten().collect())
}
