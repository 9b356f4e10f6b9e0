//! The file system of the operating system.

#[cfg(not(unix))]
use super::paths as system;
#[cfg(unix)]
use super::unix as system;
use super::{FileId, FileSystem, Region, Unchanging, Vfs, VfsDir, VfsFile, kind};
use std::fs::{self, File, TryLockError};
use std::io;
use std::path::Path;
use std::thread;

/// Most threads that sync at the same time.
const SYNC_THREADS: usize = 8;

/// Files of the operating system. What differs between systems is in this file, in `unix.rs` or `paths.rs`, and in
/// `kind.rs`.
#[derive(Clone, Copy, Debug, Default)]
pub struct DiskVfs;

impl Vfs for DiskVfs {
    fn create_dir(&self, path: &Path) -> io::Result<()> {
        fs::create_dir(path)
    }

    fn open_dir(&self, path: &Path) -> io::Result<Box<dyn VfsDir>> {
        system::open(path)
    }

    /// Syncs the files at the same time, because a file system's journal then often makes all of them durable in one
    /// go: two files of one commit take hardly longer than one.
    fn sync_files(&self, files: &[&dyn VfsFile]) -> Result<(), (usize, io::Error)> {
        let share = files.len().div_ceil(SYNC_THREADS).max(1);
        let sync = |number: usize, part: &[&dyn VfsFile]| {
            part.iter().enumerate().try_for_each(|(at, file)| file.sync().map_err(|error| (number * share + at, error)))
        };
        thread::scope(|scope| {
            let mut parts = files.chunks(share).enumerate();
            let own = parts.next();
            // If no thread can be started, this one syncs the part.
            let others: Vec<_> = parts
                .map(|(number, part)| {
                    let spawned = thread::Builder::new().spawn_scoped(scope, move || sync(number, part));
                    spawned.map_err(|_| sync(number, part))
                })
                .collect();
            let mut done = own.map_or(Ok(()), |(number, part)| sync(number, part));
            for other in others {
                let panicked = || Err((0, io::Error::other("a thread that synced panicked")));
                done = done.and(match other {
                    Ok(thread) => thread.join().unwrap_or_else(|_| panicked()),
                    Err(synced) => synced,
                });
            }
            done
        })
    }

    fn file_system(&self, path: &Path) -> FileSystem {
        kind::of(path)
    }
}

impl VfsFile for File {
    fn bytes(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        #[cfg(unix)]
        return std::os::unix::fs::FileExt::read_at(self, buffer, offset);
        #[cfg(windows)]
        return std::os::windows::fs::FileExt::seek_read(self, buffer, offset);
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        #[cfg(unix)]
        return std::os::unix::fs::FileExt::write_at(self, bytes, offset);
        #[cfg(windows)]
        return std::os::windows::fs::FileExt::seek_write(self, bytes, offset);
    }

    /// On Linux `fdatasync`, which leaves out times and modes but writes the length, without which the bytes could not
    /// be read back. On ext4 it takes 0.12 ms for 1.5 KB appended, like `fsync`, and 10 ms for 16 MB instead of 11.
    /// Elsewhere `fsync`, because some manuals promise less of `fdatasync`; on Apple's systems both are `F_FULLFSYNC`.
    fn sync(&self) -> io::Result<()> {
        if cfg!(any(target_os = "linux", target_os = "android")) { self.sync_data() } else { self.sync_all() }
    }

    fn try_lock(&self, exclusive: bool) -> io::Result<bool> {
        match if exclusive { File::try_lock(self) } else { File::try_lock_shared(self) } {
            Ok(()) => Ok(true),
            Err(TryLockError::WouldBlock) => Ok(false),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    fn identity(&self) -> io::Result<FileId> {
        system::identity(self)
    }

    /// Reads Linux's list of all locks: number, kind, .., process, file.
    #[cfg(target_os = "linux")]
    fn lock_holder(&self) -> Option<(u32, u32)> {
        use std::os::unix::fs::MetadataExt;
        let FileId { device, number } = VfsFile::identity(self).ok()?;
        let file = format!("{:02x}:{:02x}:{number}", rustix::fs::major(device), rustix::fs::minor(device));
        let locks = fs::read_to_string("/proc/locks").ok()?;
        let process = locks.lines().find_map(|line| {
            let words: Vec<&str> = line.split_whitespace().collect();
            let held = words.get(1) == Some(&"FLOCK") && words.get(5) == Some(&file.as_str());
            held.then(|| words.get(4)?.parse().ok()).flatten()
        })?;
        Some((process, fs::metadata(format!("/proc/{process}")).ok()?.uid()))
    }

    #[cfg(target_os = "linux")]
    fn forget(&self) {
        // Only advice: dirty and mapped pages stay cached.
        let _ = rustix::fs::fadvise(self, 0, None, rustix::fs::Advice::DontNeed);
    }

    fn map(&self, bytes: u64, _: Unchanging) -> io::Result<Region> {
        Region::map(self, bytes)
    }

    /// Removes the write permissions, where there are modes; a read-only file could not be removed on Windows. Read
    /// permissions stay as they were set when the file was made.
    fn protect(&self) -> io::Result<()> {
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            let mut permissions = self.metadata()?.permissions();
            permissions.set_mode(permissions.mode() & !0o222);
            self.set_permissions(permissions)?;
        }
        Ok(())
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn of_files_synced_together_the_one_that_fails_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let dir = DiskVfs.open_dir(folder.path()).unwrap();
        let mut files: Vec<_> = (0..20).map(|n| dir.create(&n.to_string()).unwrap()).collect();
        let sync = |files: &[Box<dyn VfsFile>]| {
            let files: Vec<&dyn VfsFile> = files.iter().map(|file| &**file).collect();
            DiskVfs.sync_files(&files).map_err(|(at, _)| at)
        };
        for count in [0, 1, 2, 9, 20] {
            assert_eq!(sync(&files[..count]), Ok(()), "{count} files");
        }
        for at in [0, 13, 19] {
            // `/dev/null` is not a file on a disk, so it cannot be synced.
            let whole =
                std::mem::replace(&mut files[at], Box::new(File::open("/dev/null").unwrap()) as Box<dyn VfsFile>);
            assert_eq!(sync(&files), Err(at));
            files[at] = whole;
        }
    }
}
