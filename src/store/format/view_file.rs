//! View files: the fitted parameters of one view, one section for each step.

use super::container::{Container, Counts, Expected, Finished, Identity, SectionEntry, Writer};
use super::manifest::{FileEntry, ViewEntry, numbers_of};
use crate::error::{Error, Result};
use crate::limits;
use crate::matrix::{Matrix, MatrixView};
use crate::pipeline::{Array, Pipeline, Section};
use crate::score::Metric;
use crate::store::Access;
use crate::store::files::{File, Files, VIEW};
use crate::store::layout::{self, ALIGN, Kind, Sixteen, array_entry, footer, section, step_header};
use serde_json::{Value, json};
use std::path::Path;
use std::sync::OnceLock;

/// A view of a collection as it is on disk.
#[derive(Clone, Debug)]
pub struct ViewFile {
    /// Its name.
    pub name: String,
    /// Its settings, a small JSON value.
    pub settings: Value,
    /// Its fitted steps.
    pub sections: Vec<Section>,
    /// The root of its file: the sum that stands for the whole content.
    pub(crate) root: Sixteen,
    /// The numbers in the file's name.
    pub(crate) no: u64,
    pub(crate) random: u64,
    /// The bytes of its file, as long as it is in the log only.
    pub(crate) logged: Option<Vec<u8>>,
    /// The steps, ready to be applied; made when they are first asked for.
    pipeline: OnceLock<Pipeline>,
}

impl ViewFile {
    /// Makes a view that is about to be committed, by writing its file in memory and reading it back.
    pub(crate) fn stage(
        database: Sixteen,
        (no, random, identity): (u64, u64, Sixteen),
        name: &str,
        settings: &Value,
        sections: &[Section],
    ) -> Result<ViewFile> {
        let identity = Identity { database, file: identity, ..Identity::default() };
        let files = in_the_log()?;
        let path = format!("{VIEW}/{}", name_of(no, random));
        let written = write(files.create(&path)?, &identity, name, settings, sections)?;
        let bytes = files.open(&path)?.read(0, written.bytes)?.as_bytes().to_vec();
        ViewFile::logged(database, (no, random), name, bytes)
    }

    /// Reads a view whose file is in the log.
    pub(crate) fn logged(database: Sixteen, (no, random): (u64, u64), name: &str, bytes: Vec<u8>) -> Result<ViewFile> {
        let files = in_the_log()?;
        let file = name_of(no, random);
        files.create(&format!("{VIEW}/{file}"))?.write_all_at(&bytes, 0)?;
        let end = bytes.len().checked_sub(footer::BYTES).map(|at| &bytes[at..]);
        let root = end.map(|end| footer::ROOT.sixteen(end)).unwrap_or_default();
        let file = FileEntry { name: file, bytes: bytes.len() as u64, root };
        let view = read(&files, database, &ViewEntry { name: name.to_owned(), file })?;
        Ok(ViewFile { logged: Some(bytes), ..view })
    }

    /// Returns the name of its file.
    pub(crate) fn file_name(&self) -> String {
        name_of(self.no, self.random)
    }

    /// Returns its fitted steps, ready to be applied.
    ///
    /// # Errors
    /// [`Error::Invalid`] when the steps cannot follow each other.
    pub fn pipeline(&self) -> Result<&Pipeline> {
        if let Some(pipeline) = self.pipeline.get() {
            return Ok(pipeline);
        }
        let dim = self.settings["input_dim"].as_u64().and_then(|dim| usize::try_from(dim).ok());
        let dim = dim.ok_or_else(|| Error::invalid(format!("view `{}`", self.name), "has no `input_dim`"))?;
        let pipeline = Pipeline::from_sections(dim, &self.sections)?;
        Ok(self.pipeline.get_or_init(|| pipeline))
    }

    /// Derives the rows of the view from raw ones: these are all that derived files hold.
    ///
    /// # Errors
    /// As [`ViewFile::pipeline`], and [`Error::Mismatch`] for rows of another length.
    pub fn derive(&self, raw: MatrixView<'_>) -> Result<Matrix> {
        self.pipeline()?.apply(raw)
    }

    /// Returns the metric by which its rows are compared.
    ///
    /// # Errors
    /// [`Error::Invalid`] when the settings name none.
    pub fn metric(&self) -> Result<Metric> {
        self.settings["metric"].as_str().unwrap_or("none").parse()
    }
}

fn name_of(no: u64, random: u64) -> String {
    format!("{no:016x}-{random:016x}.oview")
}

/// Makes a directory in memory for a file on its way into the log or out of it.
fn in_the_log() -> Result<Files> {
    Files::in_memory(Path::new("log"), VIEW)
}

/// Writes a view file. Nothing is synced.
fn write(file: File, identity: &Identity, name: &str, settings: &Value, sections: &[Section]) -> Result<Finished> {
    let mut out = Writer::new(file, Kind::View, identity)?;
    out.section(section::ABOUT, json!({"name": name, "settings": settings}).to_string().as_bytes())?;
    for step in sections {
        out.begin(step.kind, step.version)?;
        let settings = step.settings.to_string();
        let mut head = vec![0; step_header::BYTES];
        step_header::SETTINGS_BYTES.put_number(&mut head, settings.len() as u64);
        step_header::ARRAY_COUNT.put_number(&mut head, step.arrays.len() as u64);
        for array in &step.arrays {
            let (number, count) = match array {
                Array::F32(values) => (layout::F32, values.len()),
                Array::F64(values) => (layout::F64, values.len()),
            };
            let mut entry = [0; array_entry::BYTES];
            array_entry::TYPE.put_number(&mut entry, number);
            array_entry::COUNT.put_number(&mut entry, count as u64);
            head.extend_from_slice(&entry);
        }
        out.append(&head)?;
        out.append(settings.as_bytes())?;
        for array in &step.arrays {
            out.align(ALIGN)?;
            match array {
                Array::F32(values) => out.append(bytemuck::cast_slice(values))?,
                Array::F64(values) => out.append(bytemuck::cast_slice(values))?,
            }
        }
        out.end();
    }
    out.finish(Counts::default())
}

/// Opens a view file and checks every byte of it.
pub(crate) fn read(files: &Files, database: Sixteen, entry: &ViewEntry) -> Result<ViewFile> {
    let expected = Expected { kind: Kind::View, database, sealed: Some((entry.file.bytes, entry.file.root)) };
    let file = Container::open(files, &format!("{VIEW}/{}", entry.file.name), Access::Read, &expected, None)?;
    file.check_all()?;
    let [about, steps @ ..] = file.sections() else {
        return Err(file.corrupt(0, "a view without sections"));
    };
    let settings =
        serde_json::from_slice::<Value>(&file.read_section(*about)?).ok().filter(|_| about.kind == section::ABOUT);
    let mut settings = settings.ok_or_else(|| file.corrupt(about.offset, "settings that are no JSON"))?;
    if settings["name"] != entry.name.as_str() {
        return Err(file.corrupt(about.offset, format!("not the view `{}` that the manifest names", entry.name)));
    }
    let sections: Vec<Section> = steps.iter().map(|place| read_step(&file, place)).collect::<Result<_>>()?;
    check(&sections).map_err(|error| file.corrupt(about.offset, error.to_string()))?;
    let (no, random) = numbers_of(&entry.file.name, ".oview").unwrap_or_default();
    Ok(ViewFile {
        name: entry.name.clone(),
        settings: settings["settings"].take(),
        sections,
        root: entry.file.root,
        no,
        random,
        logged: None,
        pipeline: OnceLock::new(),
    })
}

fn read_step(file: &Container, place: &SectionEntry) -> Result<Section> {
    let bytes = file.read_section(*place)?;
    let wrong = |what: &str| file.corrupt(place.offset, format!("step of kind {}: {what}", place.kind));
    let mut at = 0;
    let mut take = |length: Option<usize>| {
        let taken = length.and_then(|length| bytes.get(at..)?.get(..length));
        at += length.filter(|_| taken.is_some()).unwrap_or(0);
        taken.ok_or_else(|| wrong("it ends too early"))
    };
    let head = take(Some(step_header::BYTES))?;
    let table = take((step_header::ARRAY_COUNT.number(head) as usize).checked_mul(array_entry::BYTES))?;
    let settings = take(usize::try_from(step_header::SETTINGS_BYTES.number(head)).ok())?;
    let settings = serde_json::from_slice(settings).map_err(|_| wrong("settings that are no JSON"))?;
    let mut position = step_header::BYTES + table.len() + step_header::SETTINGS_BYTES.number(head) as usize;
    let mut arrays = Vec::new();
    for entry in table.chunks_exact(array_entry::BYTES) {
        let width = match array_entry::TYPE.number(entry) {
            layout::F32 => 4,
            layout::F64 => 8,
            other => return Err(wrong(&format!("an array of the unknown type {other}"))),
        };
        // Sections start at multiples of the alignment, so positions in them align as offsets in the file do.
        let start = position.next_multiple_of(ALIGN as usize);
        take(Some(start - position))?;
        let length = usize::try_from(array_entry::COUNT.number(entry)).ok().and_then(|count| count.checked_mul(width));
        let values = take(length)?;
        position = start + values.len();
        arrays.push(match width {
            4 => Array::F32(values.as_chunks::<4>().0.iter().map(|value| f32::from_le_bytes(*value)).collect()),
            _ => Array::F64(values.as_chunks::<8>().0.iter().map(|value| f64::from_le_bytes(*value)).collect()),
        });
    }
    if position != bytes.len() {
        return Err(wrong("bytes behind its arrays"));
    }
    Ok(Section { kind: place.kind, version: place.version, settings, arrays })
}

/// Checks the steps of a view: kind 0 is the view's own section, and each step is a section beside that one.
pub(crate) fn check(sections: &[Section]) -> Result<()> {
    if sections.len() as u64 >= limits::SECTIONS {
        let why = format!("{} steps: at most {} are possible", sections.len(), limits::SECTIONS - 1);
        return Err(Error::invalid("view", why));
    }
    match sections.iter().any(|step| step.kind == section::ABOUT) {
        true => Err(Error::invalid("view", "kind 0 is no kind of a step")),
        false => Ok(()),
    }
}
