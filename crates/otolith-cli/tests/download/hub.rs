//! Checkpoints by their name on the hub: through the library and through the binary.

use super::common::{error, otolith, samples, text, write_wav};
use super::server::{Reply, Request, Server, quick};

use otolith::Error;
use otolith::download::{Checksum, Hub};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};

const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";
const LATER: &str = "89abcdef0123456789abcdef0123456789abcdef";

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/data/wav2vec2").join(name)
}

/// What the hub calls a file: weights by their SHA-256, small files as git does.
fn etag(path: &Path) -> String {
    let large = path.extension().is_some_and(|ending| ending != "json");
    let kind = if large { Checksum::Sha256(String::new()) } else { Checksum::GitBlob(String::new()) };
    kind.of(path).unwrap().to_string().rsplit(' ').next().unwrap().to_owned()
}

/// A hub with one model, `owner/name`, whose files are those of a folder, and a host beside it for large ones.
struct TestHub {
    hub: Server,
    store: Server,
    /// The commit that `main` is at.
    main: Arc<Mutex<&'static str>>,
}

impl TestHub {
    fn of(folder: PathBuf) -> TestHub {
        let files: BTreeMap<String, PathBuf> = folder
            .read_dir()
            .unwrap()
            .map(|entry| entry.unwrap())
            .filter(|entry| entry.path().is_file())
            .map(|entry| (entry.file_name().into_string().unwrap(), entry.path()))
            .collect();
        let stored = files.clone();
        let store = Server::start(move |request, _| {
            if request.method == "HEAD" {
                return Reply::status(403); // the address is signed for GET
            }
            let name = request.path.trim_start_matches('/').split('?').next().unwrap();
            Reply::ranged(request, &fs::read(&stored[name]).unwrap(), "\"of-the-store\"")
        });
        let elsewhere = store.url("");
        let main = Arc::new(Mutex::new(COMMIT));
        let at = Arc::clone(&main);
        let hub = Server::start(move |request, _| answer(request, &files, &elsewhere, *at.lock().unwrap()));
        TestHub { hub, store, main }
    }

    fn client(&self, cache: &Path) -> Hub {
        let (endpoint, cache) = (self.hub.url(""), cache.to_owned());
        Hub { endpoint, cache, token: Some("secret".into()), offline: false, retries: quick() }
    }

    /// The binary with this hub and nothing of the environment's.
    fn otolith(&self, home: &Path) -> Command {
        let mut command = offline(home);
        command.env("HF_ENDPOINT", self.hub.url("")).env_remove("HF_HUB_OFFLINE");
        command
    }
}

fn offline(home: &Path) -> Command {
    let mut command = otolith();
    for name in ["HF_HUB_CACHE", "HF_TOKEN", "HF_ENDPOINT", "XDG_CACHE_HOME"] {
        command.env_remove(name);
    }
    // a proxy that nobody answers at
    command.env("HF_HOME", home).env("HF_HUB_OFFLINE", "1").env("http_proxy", "http://127.0.0.1:9");
    command
}

fn answer(request: &Request, files: &BTreeMap<String, PathBuf>, store: &str, main: &str) -> Reply {
    let asked = request.path.strip_prefix("/owner/name/resolve/");
    let Some(rest) = asked.or_else(|| request.path.strip_prefix("/cached/")) else { return Reply::status(401) };
    let (revision, name) = rest.split_once('/').unwrap();
    if asked.is_some() && name == "preprocessor_config.json" && files.contains_key(name) {
        return Reply::status(307).with("Location", &format!("/cached/{rest}")); // a redirect within the hub
    }
    let Some(path) = files.get(name) else { return Reply::status(404) };
    let commit = if revision == "main" { main } else { revision };
    let (tag, bytes) = (etag(path), fs::read(path).unwrap());
    let reply = if name.ends_with(".json") {
        Reply::ranged(request, &bytes, &format!("\"{tag}\""))
    } else {
        Reply::status(302)
            .with("Location", &format!("{store}/{name}?signed"))
            .with("ETag", "\"something-else\"")
            .with("X-Linked-Etag", &format!("\"{tag}\""))
            .with("X-Linked-Size", &bytes.len().to_string())
    };
    reply.with("X-Repo-Commit", commit)
}

fn sound(folder: &Path) -> PathBuf {
    let path = folder.join("sound.wav");
    write_wav(&path, 16_000, &samples(1, 8_000));
    path
}

fn printed(command: &mut Command) -> (String, String) {
    let output = command.output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    (text(&output.stdout), text(&output.stderr))
}

/// Every path below a folder; of links also where they lead.
fn tree(root: &Path) -> Vec<String> {
    fn walk(root: &Path, folder: &Path, found: &mut Vec<String>) {
        for entry in folder.read_dir().unwrap() {
            let path = entry.unwrap().path();
            let name = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
            match fs::read_link(&path) {
                Ok(to) => found.push(format!("{name} -> {}", to.display())),
                Err(_) if path.is_dir() => walk(root, &path, found),
                Err(_) => found.push(name),
            }
        }
    }
    let mut found = Vec::new();
    walk(root, root, &mut found);
    found.sort();
    found
}

#[cfg(unix)]
#[test]
fn the_cache_is_laid_out_as_the_hubs_own_tools_do() {
    let (home, source) = (tempfile::tempdir().unwrap(), fixture("base_group"));
    let hub = TestHub::of(source.clone());
    fs::write(home.path().join("token"), "from-the-file\n").unwrap();
    let sound = sound(home.path());
    let args = ["embed", text(&sound), "--layer", "2", "--json", "--model"];
    let (here, _) = printed(otolith().args(args).arg(text(&source)));
    let (fetched, remarks) = printed(hub.otolith(home.path()).args(args).arg("owner/name"));
    assert_eq!((here, remarks.as_str()), (fetched, ""));

    let tag = |name: &str| etag(&source.join(name));
    let mut expected = vec!["models--owner--name/refs/main".to_owned()];
    for name in ["config.json", "model.safetensors", "preprocessor_config.json"] {
        let tag = tag(name);
        expected.push(format!("models--owner--name/blobs/{tag}"));
        expected.push(format!("models--owner--name/snapshots/{COMMIT}/{name} -> ../../blobs/{tag}"));
        expected.push(format!(".locks/models--owner--name/{tag}.lock"));
    }
    expected.push(format!("models--owner--name/.no_exist/{COMMIT}/processor_config.json"));
    expected.sort();
    let cache = home.path().join("hub");
    assert_eq!(tree(&cache), expected);
    assert_eq!(fs::read_to_string(cache.join("models--owner--name/refs/main")).unwrap(), COMMIT);

    // The token went to the hub and not to the store.
    assert!(hub.hub.asked().iter().all(|request| request.header("authorization") == Some("Bearer from-the-file")));
    let asked = hub.store.asked();
    assert!(!asked.is_empty() && asked.iter().all(|request| request.header("authorization").is_none()));
}

#[test]
fn what_is_in_the_cache_is_not_fetched_again() {
    let home = tempfile::tempdir().unwrap();
    let hub = TestHub::of(fixture("base_group"));
    let sound = sound(home.path());
    let embed = |mut command: Command, model: &str| printed(command.args(["embed", text(&sound), "--model", model]));
    let first = embed(hub.otolith(home.path()), "owner/name");
    hub.hub.take();
    // One question for a branch, none for a commit, none when offline.
    assert_eq!(embed(hub.otolith(home.path()), "owner/name"), first);
    assert_eq!(hub.hub.take(), ["HEAD /owner/name/resolve/main/config.json"]);
    assert_eq!(embed(hub.otolith(home.path()), &format!("owner/name@{COMMIT}")), first);
    assert_eq!(embed(offline(home.path()), "owner/name"), first);
    assert_eq!(hub.hub.take(), [""; 0]);

    // When nobody answers, the copy will do, and is said to be one.
    let mut alone = hub.otolith(home.path());
    let (rows, remark) = embed(
        {
            alone.env("HF_ENDPOINT", "http://127.0.0.1:9");
            alone
        },
        "owner/name",
    );
    assert_eq!(rows, first.0);
    assert!(remark.contains("no answer from http://127.0.0.1") && remark.contains("the copy in the cache"), "{remark}");

    // A branch that moved brings a new snapshot; blobs that stayed the same are not fetched.
    *hub.main.lock().unwrap() = LATER;
    assert_eq!(embed(hub.otolith(home.path()), "owner/name"), first);
    assert!(hub.hub.take().iter().all(|request| request.starts_with("HEAD ")));
    let kept = home.path().join("hub/models--owner--name");
    assert_eq!(fs::read_to_string(kept.join("refs/main")).unwrap(), LATER);
    assert_eq!(kept.join("snapshots").read_dir().unwrap().count(), 2);
}

#[test]
fn shards_pickles_and_missing_files_are_found_and_noted() {
    let home = tempfile::tempdir().unwrap();
    let sound = sound(home.path());
    for name in ["large_layer", "hubert_base_bin"] {
        let home = home.path().join(name);
        let hub = TestHub::of(fixture(name));
        let args = ["embed", text(&sound), "--layer", "1", "--json", "--model"];
        let (here, _) = printed(otolith().args(args).arg(text(&fixture(name))));
        let (fetched, _) = printed(hub.otolith(&home).args(args).arg("owner/name"));
        assert_eq!(here, fetched, "{name}");
        let absent = home.join("hub/models--owner--name/.no_exist").join(COMMIT).join("model.safetensors");
        assert!(absent.exists(), "{name}");
        hub.hub.take();
        printed(hub.otolith(&home).args(args).arg("owner/name"));
        assert_eq!(hub.hub.take().len(), 1, "{name}: what is not there is not asked for again");
    }
}

/// A cache as the Python library leaves it that loaded the network only, so that nobody has asked for a preprocessor.
#[test]
fn a_cache_that_another_program_filled_is_read() {
    let home = tempfile::tempdir().unwrap();
    let (sound, source) = (sound(home.path()), fixture("base_group"));
    let snapshot = home.path().join("hub/models--owner--name/snapshots").join(COMMIT);
    fs::create_dir_all(&snapshot).unwrap();
    fs::create_dir_all(home.path().join("hub/models--owner--name/refs")).unwrap();
    fs::write(home.path().join("hub/models--owner--name/refs/main"), COMMIT).unwrap();
    for name in ["config.json", "model.safetensors"] {
        fs::copy(source.join(name), snapshot.join(name)).unwrap();
    }
    let args = ["embed", text(&sound), "--model", "owner/name"];
    let (_, remark) = printed(offline(home.path()).args(args));
    assert!(remark.contains("preprocessor_config.json is not in the cache"), "{remark}");
    let hub = TestHub::of(source);
    let (_, remark) = printed(hub.otolith(home.path()).args(args));
    assert_eq!(remark, "");
    assert!(snapshot.join("preprocessor_config.json").exists());
    assert!(hub.store.asked().is_empty(), "the weights were there");
}

#[test]
fn refusals_name_the_model_and_the_way_out() {
    let home = tempfile::tempdir().unwrap();
    let sound = sound(home.path());
    let fails = |command: &mut Command, model: &str, words: &[&str]| {
        let output = command.args(["embed", text(&sound), "--model", model]).output().unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!((output.status.code(), stderr.lines().count()), (Some(1), 1), "{stderr}");
        assert!(words.iter().all(|word| stderr.contains(word)), "{stderr}");
    };
    fails(&mut offline(home.path()), "owner/name", &["`owner/name@main`: not found", "HF_HUB_OFFLINE", "unset"]);
    let hub = TestHub::of(fixture("base_group"));
    fails(
        &mut hub.otolith(home.path()),
        "owner/other",
        &["401", "HF_TOKEN", "/owner/other/resolve/main/config.json", "no directory `owner/other`"],
    );
    let empty = TestHub::of(fixture("inputs"));
    fails(&mut empty.otolith(home.path()), "owner/name", &["404", "config.json"]);
    let weightless = tempfile::tempdir().unwrap();
    fs::write(weightless.path().join("config.json"), "{}").unwrap();
    let weightless = TestHub::of(weightless.path().to_owned());
    fails(&mut weightless.otolith(&home.path().join("other")), "owner/name", &["no weights", "model.safetensors"]);
    for model in ["nowhere", "a/b/c", "../x", "owner/name@"] {
        fails(&mut hub.otolith(home.path()), model, &["not found", "logmel", "owner/name on the Hugging Face hub"]);
    }
    let no_hub = Server::start(|_, _| Reply::body(b"hello"));
    let mut command = hub.otolith(home.path());
    fails(command.env("HF_ENDPOINT", no_hub.url("")), "owner/name", &["X-Repo-Commit", "HF_ENDPOINT"]);
}

#[test]
fn a_directory_of_the_name_wins() {
    let home = tempfile::tempdir().unwrap();
    let sound = sound(home.path());
    let folder = home.path().join("owner/name");
    fs::create_dir_all(&folder).unwrap();
    for entry in fixture("base_group").read_dir().unwrap().map(|entry| entry.unwrap()).filter(|e| e.path().is_file()) {
        fs::copy(entry.path(), folder.join(entry.file_name())).unwrap();
    }
    let mut command = offline(home.path());
    printed(command.current_dir(home.path()).args(["embed", text(&sound), "--model", "owner/name"]));
}

#[test]
fn a_configuration_without_end_is_not_taken() {
    let cache = tempfile::tempdir().unwrap();
    let server = Server::start(|_, _| {
        Reply::body(&[b' '; 50_000]).with("ETag", "\"1\"").with("X-Repo-Commit", COMMIT).endless()
    });
    let (endpoint, cache) = (server.url(""), cache.path().to_owned());
    let hub = Hub { endpoint, cache: cache.clone(), token: None, offline: false, retries: quick() };
    let error = hub.checkpoint(&"owner/name".parse().unwrap(), &|_| {}).unwrap_err().to_string();
    assert!(error.contains("more came than the 16777216 bytes"), "{error}");
    assert_eq!(cache.join("models--owner--name/blobs").read_dir().unwrap().count(), 0);
}

#[cfg(unix)]
#[test]
fn links_and_pipes_in_the_cache_are_neither_written_through_nor_waited_for() {
    let home = tempfile::tempdir().unwrap();
    let hub = TestHub::of(fixture("base_group"));
    let (cache, foreign) = (home.path().join("hub"), home.path().join("foreign"));
    let id = "owner/name".parse().unwrap();
    fs::write(&foreign, "mine").unwrap();
    let repository = cache.join("models--owner--name");
    let tag = etag(&fixture("base_group").join("config.json"));
    let planted = [
        repository.join(".no_exist").join(COMMIT).join("processor_config.json"),
        repository.join("refs/main"),
        repository.join(format!("refs/main.{}.new", std::process::id())),
        repository.join(format!("blobs/{tag}.incomplete")),
    ];
    for path in &planted {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::os::unix::fs::symlink(&foreign, path).unwrap();
    }
    // the mark that a file is missing is only looked for by its name
    fs::remove_file(&planted[0]).unwrap();
    hub.client(&cache).checkpoint(&id, &|_| {}).unwrap();
    assert_eq!(fs::read_to_string(&foreign).unwrap(), "mine");
    assert_eq!(fs::read_to_string(repository.join("refs/main")).unwrap(), COMMIT);

    let lock = cache.join(format!(".locks/models--owner--name/{tag}.lock"));
    fs::remove_dir_all(repository.join("snapshots")).unwrap();
    fs::remove_file(&lock).unwrap();
    std::os::unix::fs::symlink(home.path().join("made"), &lock).unwrap();
    let error = hub.client(&cache).checkpoint(&id, &|_| {}).unwrap_err().to_string();
    assert!(error.contains("a link where none belongs") && !home.path().join("made").exists(), "{error}");
    fs::remove_file(&lock).unwrap();
    assert!(std::process::Command::new("mkfifo").arg(&lock).status().unwrap().success());
    let error = hub.client(&cache).checkpoint(&id, &|_| {}).unwrap_err().to_string();
    assert!(error.contains("not a regular file"), "{error}");
    fs::remove_file(&lock).unwrap();
    fs::remove_file(repository.join("refs/main")).unwrap();
    assert!(std::process::Command::new("mkfifo").arg(repository.join("refs/main")).status().unwrap().success());
    hub.client(&cache).checkpoint(&id, &|_| {}).unwrap();
    assert_eq!(fs::read_to_string(repository.join("refs/main")).unwrap(), COMMIT);
}

/// A limit on the length of files stands for a disk that is full.
#[cfg(unix)]
#[test]
fn a_full_disk_is_told_and_the_next_try_goes_on() {
    let home = tempfile::tempdir().unwrap();
    let hub = TestHub::of(fixture("base_group"));
    let (sound, inner) = (sound(home.path()), hub.otolith(home.path()));
    let embed = |limit: &str| {
        let mut command = Command::new("sh");
        command.args(["-c", &format!("trap '' XFSZ; {limit} exec \"$0\" \"$@\"")]).arg(inner.get_program());
        for (name, value) in inner.get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        command.args(["embed", text(&sound), "--model", "owner/name"]).output().unwrap()
    };
    let output = embed("ulimit -f 64;");
    let told = String::from_utf8(output.stderr).unwrap();
    assert_eq!((output.status.code(), told.lines().count()), (Some(1), 1), "{told}");
    assert!(told.contains("disk full") && told.contains(".incomplete"), "{told}");
    hub.store.take();
    assert!(embed("").status.success());
    let asked = hub.store.asked();
    assert!(asked.len() == 1 && asked[0].range() > Some(0), "{asked:?}");
}

/// A server that lies: sums that do not fit, names that lead elsewhere.
#[test]
fn a_hostile_hub_cannot_write_elsewhere_or_pass_off_other_bytes() {
    let cache = tempfile::tempdir().unwrap();
    let id = "owner/name".parse().unwrap();
    let ask = |server: &Server| {
        let (endpoint, cache) = (server.url(""), cache.path().join("hub"));
        Hub { endpoint, cache, token: None, offline: false, retries: quick() }.checkpoint(&id, &|_| {})
    };
    for (etag, commit) in
        [("\"../../../x\"", COMMIT), ("\"x\"", "../../x"), ("\"..\"", COMMIT), ("", COMMIT), ("\"a\"", "")]
    {
        let server = Server::start(move |_, _| Reply::body(b"{}").with("ETag", etag).with("X-Repo-Commit", commit));
        assert!(matches!(ask(&server), Err(Error::Download { .. })), "{etag} {commit}");
    }
    let wrong = Server::start(|_, _| {
        Reply::body(b"{}").with("ETag", &format!("\"{}\"", "0".repeat(40))).with("X-Repo-Commit", COMMIT)
    });
    assert!(ask(&wrong).unwrap_err().to_string().contains("wrong checksum"));
    let index = Server::start(|request, _| match request.path.rsplit('/').next().unwrap() {
        "config.json" => Reply::body(b"{}").with("ETag", "\"1\"").with("X-Repo-Commit", COMMIT),
        "model.safetensors.index.json" => Reply::body(br#"{"weight_map": {"a": "../../../../x"}}"#)
            .with("ETag", "\"2\"")
            .with("X-Repo-Commit", COMMIT),
        _ => Reply::status(404),
    });
    assert!(matches!(ask(&index), Err(Error::Unusable { .. })));
    assert_eq!(cache.path().read_dir().unwrap().count(), 1);
}

#[test]
fn two_at_once_fetch_each_blob_once() {
    let home = tempfile::tempdir().unwrap();
    let hub = TestHub::of(fixture("base_group"));
    let sound = sound(home.path());
    let mut embed = hub.otolith(home.path());
    embed.args(["embed", text(&sound), "--model", "owner/name"]).stdout(std::process::Stdio::piped());
    let running: Vec<_> = (0..4).map(|_| embed.spawn().unwrap()).collect();
    let mut rows: Vec<Vec<u8>> = Vec::new();
    for process in running {
        let output = process.wait_with_output().unwrap();
        assert!(output.status.success());
        rows.push(output.stdout);
    }
    rows.dedup();
    assert!(rows.len() == 1 && !rows[0].is_empty());
    assert_eq!(hub.store.take(), ["GET /model.safetensors?signed"]);
}

#[test]
fn a_cut_download_of_weights_goes_on() {
    let cache = tempfile::tempdir().unwrap();
    let source = fixture("base_group");
    let hub = TestHub::of(source.clone());
    let tag = etag(&source.join("model.safetensors"));
    let blobs = cache.path().join("models--owner--name/blobs");
    fs::create_dir_all(&blobs).unwrap();
    let weights = fs::read(source.join("model.safetensors")).unwrap();
    fs::write(blobs.join(format!("{tag}.incomplete")), &weights[..100_000]).unwrap();
    let found = hub.client(cache.path()).checkpoint(&"owner/name".parse().unwrap(), &|_| {}).unwrap();
    assert_eq!(fs::read(found.folder.join("model.safetensors")).unwrap(), weights);
    assert_eq!(hub.store.asked().last().unwrap().range(), Some(100_000));
    assert_eq!(found.remark, None);
    let missing = error(&["embed", "no-such.wav", "--model", text(&found.folder)], 1);
    assert!(missing.contains("no-such.wav"), "{missing}");
}
