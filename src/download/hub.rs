//! Checkpoints from the Hugging Face hub, or from a server that speaks as it does.

use super::cache::{Cache, is_plain, make_parent};
use super::client::{Client, Fault, Reply, Retries, number, text};
use super::{Checksum, Download, HubId, Pace, Progress};
use crate::error::{Error, Result};
use crate::outside;
use serde_json::Value;
use std::collections::BTreeSet;
use std::env;
use std::path::{Path, PathBuf};
use ureq::http::Method;

const ENDPOINT: &str = "https://huggingface.co";
const CONFIG: &str = "config.json";
/// Files that may say how samples are prepared: the one that transformers 5 writes, the one of those before.
const PREPROCESSORS: [&str; 2] = ["processor_config.json", "preprocessor_config.json"];
/// Files that weights may be in, best first; beside each may stand an index of shards.
const WEIGHTS: [&str; 2] = ["model.safetensors", "pytorch_model.bin"];
/// Longest JSON file that is fetched or read: an index of shards has some 100 bytes a tensor.
const JSON_BYTES: u64 = 16 << 20;
/// Longest file of weights whose length the hub does not tell.
const WEIGHT_BYTES: u64 = 32 << 30;
/// Longest file with a token.
const TOKEN_BYTES: u64 = 64 << 10;
/// Most shards that an index may name; published models of this kind have fewer than 10.
const SHARDS: usize = 1_024;

/// A model hub: where checkpoints come from, and where they are kept.
///
/// # Examples
///
/// ```no_run
/// use otolith::download::Hub;
///
/// let hub = Hub::from_env()?; // as HF_HOME, HF_TOKEN and the like say
/// let found = hub.checkpoint(&"facebook/wav2vec2-base".parse()?, &|progress| {
///     eprintln!("{}: {} bytes", progress.what, progress.bytes);
/// })?;
/// println!("{}", found.folder.display());
/// # Ok::<(), otolith::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Hub {
    /// The address in front of the names of models, without a slash at its end.
    pub endpoint: String,
    /// The folder of the cache, which other programs may share.
    pub cache: PathBuf,
    /// The token that tells the hub who asks. Sent to the host of `endpoint` only.
    pub token: Option<String>,
    /// Whether to use the cache only and ask no server.
    pub offline: bool,
    /// How often a failed request is tried again.
    pub retries: Retries,
}

/// A checkpoint that is on disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// The folder that holds its configuration and weights.
    pub folder: PathBuf,
    /// A sentence that its user should read: that the hub could not be asked, say.
    pub remark: Option<String>,
}

/// What the hub says about one file.
struct About {
    commit: String,
    etag: String,
    length: Option<u64>,
}

impl Hub {
    /// Describes the hub as the usual variables set it.
    ///
    /// - The address is `HF_ENDPOINT`, or else that of the Hugging Face hub.
    /// - The cache is `HF_HUB_CACHE`, or else `hub` in `HF_HOME`, which is `$XDG_CACHE_HOME/huggingface` or
    ///   `~/.cache/huggingface` unless it is set.
    /// - The token is `HF_TOKEN`, or else the content of the file `token` in `HF_HOME`.
    /// - `HF_HUB_OFFLINE` set to 1, on, yes or true allows the cache only.
    ///
    /// # Errors
    /// [`Error::Invalid`] when no place for the cache can be found.
    pub fn from_env() -> Result<Hub> {
        let set =
            |name: &str| env::var(name).ok().map(|value| value.trim().to_owned()).filter(|value| !value.is_empty());
        let path = |name: &str| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let home = path("HF_HOME").or_else(|| {
            let caches = path("XDG_CACHE_HOME").or_else(|| Some(env::home_dir()?.join(".cache")));
            Some(caches?.join("huggingface"))
        });
        let token = || {
            let kept = outside::read(&home.as_ref()?.join("token"), TOKEN_BYTES).ok()?;
            Some(str::from_utf8(&kept).ok()?.trim().to_owned()).filter(|token| !token.is_empty())
        };
        Ok(Hub {
            endpoint: set("HF_ENDPOINT").unwrap_or_else(|| ENDPOINT.to_owned()).trim_end_matches('/').to_owned(),
            token: set("HF_TOKEN").or_else(token),
            offline: set("HF_HUB_OFFLINE")
                .is_some_and(|value| ["1", "ON", "YES", "TRUE"].contains(&value.to_ascii_uppercase().as_str())),
            cache: path("HF_HUB_CACHE").or_else(|| Some(home.as_ref()?.join("hub"))).ok_or_else(|| {
                Error::invalid("cache of the hub", "there is no home directory: set HF_HUB_CACHE to a directory")
            })?,
            retries: Retries::default(),
        })
    }

    /// Returns the folder of a checkpoint, and fetches what is missing of it: `config.json`; `processor_config.json`
    /// and `preprocessor_config.json` where the hub has them; and the first that it has of `model.safetensors`, its
    /// shards, `pytorch_model.bin`, its shards. `on_progress` is called while a file is fetched.
    ///
    /// A commit that is in the cache is used without asking the hub. For a branch the hub is asked whether it has
    /// moved; where that fails, the copy in the cache is used and the remark says so.
    ///
    /// # Errors
    /// [`Error::Download`] for what the hub or the network did; [`Error::NotFound`] when offline and not in the
    /// cache; [`Error::Unusable`] for a model without weights that can be read, or whose index names anything but
    /// files beside it; [`Error::Io`] and [`Error::DiskFull`] for the cache.
    pub fn checkpoint(&self, id: &HubId, on_progress: &dyn Fn(Progress<'_>)) -> Result<Checkpoint> {
        let cache = Cache::of(&self.cache, id);
        let cached = cache.commit(id).filter(|commit| is_whole(&cache.snapshot(commit)));
        if self.offline {
            return cached.map(|commit| kept(&cache, &commit, None)).ok_or_else(|| {
                let place =
                    format!("in {}, and HF_HUB_OFFLINE is set: unset it to fetch the model", self.cache.display());
                Error::NotFound { what: "model", name: id.to_string(), hint: format!(" {place}") }
            });
        }
        if let Some(commit) = &cached
            && id.is_pinned()
            && PREPROCESSORS.iter().all(|name| cache.is_known(commit, name))
        {
            return Ok(Checkpoint { folder: cache.snapshot(commit), remark: None });
        }
        let fetch = Fetch { hub: self, id, cache: &cache, client: Client::new(), on_progress };
        // Where the cache has a copy to fall back on, one try is enough.
        let retries = if cached.is_some() { Retries { times: 0, ..self.retries } } else { self.retries };
        let url = fetch.url(id.revision(), CONFIG);
        let about = match (retries.run(|| fetch.about(id.revision(), CONFIG)), cached) {
            (Ok(about), _) => about,
            (Err(Fault::Passing(why)), Some(commit)) => return Ok(kept(&cache, &commit, Some(&why))),
            (Err(fault), _) => return Err(fault.into_error(&url)),
        };
        let commit = about.commit.clone();
        fetch.all(about)?;
        cache.set_commit(id, &commit)?;
        Ok(Checkpoint { folder: cache.snapshot(&commit), remark: None })
    }
}

/// Returns a checkpoint from the cache about which the hub was not, or could not be, asked.
fn kept(cache: &Cache, commit: &str, unreachable: Option<&str>) -> Checkpoint {
    let folder = cache.snapshot(commit);
    let mut remarks: Vec<String> =
        unreachable.map(|why| format!("{why}: the copy in the cache is used")).into_iter().collect();
    let [all, own] = PREPROCESSORS;
    if !folder.join(all).exists() && !cache.is_known(commit, own) {
        remarks.push(format!("{own} is not in the cache: 16 kHz and normalised samples are assumed"));
    }
    Checkpoint { folder, remark: Some(remarks.join("; ")).filter(|remark| !remark.is_empty()) }
}

/// Returns whether a folder holds a configuration and all files of some weights.
fn is_whole(folder: &Path) -> bool {
    let weights = || {
        WEIGHTS.iter().find_map(|name| {
            let index = folder.join(format!("{name}.index.json"));
            if folder.join(name).exists() {
                return Some(true);
            }
            index
                .exists()
                .then(|| shards(&index).is_ok_and(|shards| shards.iter().all(|name| folder.join(name).exists())))
        })
    };
    folder.join(CONFIG).exists() && weights() == Some(true)
}

/// Returns the files that an index of shards names.
fn shards(index: &Path) -> Result<BTreeSet<String>> {
    let refuse = |why: &str| Error::unusable(index, why);
    let bytes = outside::read(index, JSON_BYTES)?;
    let json: Value = serde_json::from_slice(&bytes).map_err(|e| refuse(&format!("not JSON: {e}")))?;
    let map = json["weight_map"].as_object().ok_or_else(|| refuse("no object `weight_map`"))?;
    let names: BTreeSet<String> = map.values().map(|name| name.as_str().unwrap_or("").to_owned()).collect();
    if names.len() > SHARDS || !names.iter().all(|name| is_plain(name)) {
        return Err(refuse("names something else than files beside it, or too many"));
    }
    Ok(names)
}

/// A model that is being fetched.
struct Fetch<'a> {
    hub: &'a Hub,
    id: &'a HubId,
    cache: &'a Cache,
    client: Client,
    on_progress: &'a dyn Fn(Progress<'_>),
}

impl Fetch<'_> {
    fn url(&self, revision: &str, file: &str) -> String {
        format!("{}/{}/resolve/{}/{file}", self.hub.endpoint, self.id.repository(), revision.replace('/', "%2F"))
    }

    fn token(&self) -> Option<&str> {
        self.hub.token.as_deref()
    }

    /// Asks the hub about a file.
    fn about(&self, revision: &str, file: &str) -> Result<About, Fault> {
        let reply = self.client.send(&Method::HEAD, &self.url(revision, file), self.token(), &[])?;
        let Reply { said, response, at_home } = &reply;
        let commit = text(said, "x-repo-commit").unwrap_or(if self.id.is_pinned() { revision } else { "" });
        // For a large file the hub's own tag is its checksum; the tag of the host that stores the bytes is not.
        let etag = text(said, "x-linked-etag").or_else(|| text(said, "etag")).unwrap_or("");
        let etag = etag.trim_start_matches("W/").trim_matches('"');
        if !is_plain(commit) || !is_plain(etag) {
            return Err(Fault::Lasting(
                "the answer lacks X-Repo-Commit or ETag: is this a model hub? (HF_ENDPOINT)".into(),
            ));
        }
        let length = || number(response.headers(), "content-length").filter(|_| *at_home);
        Ok(About {
            commit: commit.to_owned(),
            etag: etag.to_owned(),
            length: number(said, "x-linked-size").or_else(length),
        })
    }

    /// Fetches every file of the checkpoint.
    fn all(&self, config: About) -> Result<()> {
        let commit = config.commit.clone();
        let required = |found: bool, name: &str| match found {
            true => Ok(()),
            false => {
                Err(Fault::Missing("not on the hub, though it should be".into()).into_error(&self.url(&commit, name)))
            }
        };
        self.keep(CONFIG, &config)?;
        for name in PREPROCESSORS {
            self.file(&commit, name)?;
        }
        for name in WEIGHTS {
            if self.file(&commit, name)? {
                return Ok(());
            }
            let index = format!("{name}.index.json");
            if self.file(&commit, &index)? {
                for shard in shards(&self.cache.snapshot(&commit).join(index))? {
                    required(self.file(&commit, &shard)?, &shard)?;
                }
                return Ok(());
            }
        }
        let why = format!("no weights that can be read: looked for {} and their .index.json", WEIGHTS.join(", "));
        Err(Error::unusable(self.id.to_string(), why))
    }

    /// Brings one file into the snapshot; false when the hub has none of this name.
    fn file(&self, commit: &str, name: &str) -> Result<bool> {
        if self.cache.snapshot(commit).join(name).exists() {
            return Ok(true);
        }
        if self.cache.is_absent(commit, name) {
            return Ok(false);
        }
        match self.hub.retries.run(|| self.about(commit, name)) {
            Ok(about) => self.keep(name, &About { commit: commit.to_owned(), ..about }).map(|()| true),
            Err(Fault::Missing(_)) => self.cache.set_absent(commit, name).map(|()| false),
            Err(fault) => Err(fault.into_error(&self.url(commit, name))),
        }
    }

    /// Fetches the bytes of a file where they are not here yet, and links the snapshot to them.
    fn keep(&self, name: &str, about: &About) -> Result<()> {
        if self.cache.snapshot(&about.commit).join(name).exists() {
            return Ok(());
        }
        let (url, blob) = (self.url(&about.commit, name), self.cache.blob(&about.etag));
        make_parent(&blob)?;
        let _lock = self.cache.lock(&about.etag)?;
        if !blob.exists() {
            let download = Download {
                url: &url,
                to: &blob,
                what: name,
                token: self.token(),
                length: about.length,
                limit: if name.ends_with(".json") { JSON_BYTES } else { about.length.unwrap_or(WEIGHT_BYTES) },
                checksum: about.etag.parse::<Checksum>().ok(),
                retries: self.hub.retries,
                pace: Pace::default(),
            };
            download.run_with(&self.client, self.on_progress).map_err(|fault| fault.into_error(&url))?;
        }
        self.cache.point(&about.commit, name, &about.etag)
    }
}
