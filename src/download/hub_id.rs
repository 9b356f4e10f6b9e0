//! The name of a model on the hub.

use crate::error::{Error, Result};
use std::fmt;
use std::str::FromStr;

/// Longest part of a name; the hub's own limit is 96.
const PART: usize = 128;

/// The name of a model on the hub: `owner/name` for its branch `main`, or `owner/name@revision` for a branch, a tag
/// or a commit. Parsed from text by `FromStr`.
///
/// # Examples
///
/// ```
/// use otolith::download::HubId;
///
/// let id: HubId = "facebook/wav2vec2-base@main".parse()?;
/// assert_eq!((id.repository().as_str(), id.revision()), ("facebook/wav2vec2-base", "main"));
/// # Ok::<(), otolith::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HubId {
    owner: String,
    name: String,
    revision: String,
}

impl FromStr for HubId {
    type Err = Error;

    fn from_str(text: &str) -> Result<HubId> {
        let (repository, revision) = text.split_once('@').unwrap_or((text, "main"));
        match repository.split_once('/') {
            Some((owner, name)) if is_part(owner) && is_part(name) && revision.split('/').all(is_part) => {
                Ok(HubId { owner: owner.into(), name: name.into(), revision: revision.into() })
            }
            _ => Err(Error::invalid(format!("model `{text}`"), "expected owner/name or owner/name@revision")),
        }
    }
}

/// Returns whether a text can stand between the slashes of a path without leading anywhere else. Two hyphens join the
/// parts of a name in the cache, so no part may have them.
fn is_part(text: &str) -> bool {
    let known = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    (1..=PART).contains(&text.len())
        && text.bytes().all(known)
        && !text.starts_with(['.', '-'])
        && !text.contains("--")
        && !text.contains("..")
}

impl HubId {
    /// Returns `owner/name`.
    pub fn repository(&self) -> String {
        format!("{}/{}", self.owner, self.name)
    }

    /// Returns the branch, tag or commit; `main` where none was given.
    pub fn revision(&self) -> &str {
        &self.revision
    }

    /// Returns whether the revision is a commit (40 hexadecimal digits), which never changes.
    pub fn is_pinned(&self) -> bool {
        self.revision.len() == 40 && self.revision.bytes().all(|byte| byte.is_ascii_hexdigit())
    }

    /// Returns the name of the model's folder in the cache.
    pub(super) fn folder(&self) -> String {
        format!("models--{}--{}", self.owner, self.name)
    }
}

impl fmt::Display for HubId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}@{}", self.owner, self.name, self.revision)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_the_hub_could_know_is_a_name() {
        let id: HubId = "facebook/wav2vec2-large".parse().unwrap();
        assert_eq!((id.repository().as_str(), id.revision()), ("facebook/wav2vec2-large", "main"));
        assert_eq!(id.folder(), "models--facebook--wav2vec2-large");
        assert!(!id.is_pinned());
        let id: HubId = "a/b@refs/pr/1".parse().unwrap();
        assert_eq!(id.revision(), "refs/pr/1");
        assert!(format!("a/b@{}", "0f".repeat(20)).parse::<HubId>().unwrap().is_pinned());
        for wrong in
            ["", "a", "/a", "a/", "a/b/c", "../b", "a/..", "./a", "a/b@", "a/b@../c", "a/b@/c", "a b/c", "a--b/c"]
        {
            assert!(wrong.parse::<HubId>().is_err(), "{wrong}");
        }
    }
}
