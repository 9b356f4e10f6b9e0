//! Checksums of files.

use crate::error::{Error, Result};
use crate::outside;
use ring::digest::{self, Context};
use std::fmt::{self, Write};
use std::io::Read;
use std::path::Path;
use std::str::FromStr;

/// The checksum of a whole file, in lower-case hexadecimal digits. Parsed from 64 digits (SHA-256) or 40 (git) by
/// `FromStr`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Checksum {
    /// SHA-256: 64 digits.
    Sha256(String),
    /// The name that git gives a file, the SHA-1 of a header and the bytes: 40 digits. It guards against accidents
    /// only.
    GitBlob(String),
}

impl FromStr for Checksum {
    type Err = Error;

    fn from_str(text: &str) -> Result<Checksum> {
        let text = text.trim().to_ascii_lowercase();
        match (text.len(), text.bytes().all(|byte| byte.is_ascii_hexdigit())) {
            (64, true) => Ok(Checksum::Sha256(text)),
            (40, true) => Ok(Checksum::GitBlob(text)),
            _ => Err(Error::invalid(format!("checksum `{text}`"), "expected the 64 hexadecimal digits of a SHA-256")),
        }
    }
}

impl fmt::Display for Checksum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Checksum::Sha256(digits) => write!(f, "sha256 {digits}"),
            Checksum::GitBlob(digits) => write!(f, "git blob {digits}"),
        }
    }
}

impl Checksum {
    /// Computes the checksum of the file at `path`, of the same kind as this one.
    ///
    /// # Errors
    /// [`Error::Io`] when it cannot be read; [`Error::Unusable`] when it is no regular file.
    pub fn of(&self, path: &Path) -> Result<Checksum> {
        let failed = |source| Error::io(path, "read", source);
        let mut file = outside::open(path)?;
        let mut context = match self {
            Checksum::Sha256(_) => Context::new(&digest::SHA256),
            Checksum::GitBlob(_) => {
                let mut context = Context::new(&digest::SHA1_FOR_LEGACY_USE_ONLY);
                context.update(format!("blob {}\0", file.metadata().map_err(failed)?.len()).as_bytes());
                context
            }
        };
        let mut buffer = vec![0; 64 << 10];
        loop {
            match file.read(&mut buffer).map_err(failed)? {
                0 => break,
                count => context.update(&buffer[..count]),
            }
        }
        let digits = context.finish().as_ref().iter().fold(String::new(), |mut digits, byte| {
            let _ = write!(digits, "{byte:02x}"); // text takes everything
            digits
        });
        Ok(match self {
            Checksum::Sha256(_) => Checksum::Sha256(digits),
            Checksum::GitBlob(_) => Checksum::GitBlob(digits),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_are_those_of_sha256sum_and_git_hash_object() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("hello");
        std::fs::write(&file, "hello\n").unwrap();
        for known in [
            "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03",
            "ce013625030ba8dba906f756967f9e9ca394464a",
        ] {
            let known: Checksum = known.to_uppercase().parse().unwrap();
            assert_eq!(known.of(&file).unwrap(), known);
        }
        assert!("abc".parse::<Checksum>().is_err() && "x".repeat(64).parse::<Checksum>().is_err());
    }
}
