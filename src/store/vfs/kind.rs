//! Tells which file systems of the operating system are local.
//!
//! Folders that a virtual machine shares with its host are not local: on Linux they are virtiofs (which calls itself
//! FUSE), 9p, vboxsf or vmhgfs. The root of a container is: an overlay writes to a layer that the kernel expects to be
//! local.

use super::FileSystem;
use std::path::Path;

/// Asks the system about the path, or about the nearest directory above it that exists.
#[cfg(any(target_os = "linux", target_vendor = "apple"))]
pub(super) fn of(path: &Path) -> FileSystem {
    use rustix::io::Errno;

    for ancestor in path.ancestors() {
        let asked = if ancestor.as_os_str().is_empty() { Path::new(".") } else { ancestor };
        match rustix::io::retry_on_intr(|| rustix::fs::statfs(asked)) {
            Ok(answer) => return classify(&answer),
            Err(Errno::NOENT) => {}
            Err(error) => return FileSystem::Unknown(format!("a file system that does not answer ({error})")),
        }
    }
    FileSystem::Unknown("a path of which nothing exists".to_owned())
}

/// Takes every file system for local, because other systems are not asked.
#[cfg(not(any(target_os = "linux", target_vendor = "apple")))]
pub(super) fn of(_: &Path) -> FileSystem {
    FileSystem::Local
}

/// Classifies by the number that Linux gives, which `linux/magic.h` and the sources of each file system define.
#[cfg(target_os = "linux")]
fn classify(answer: &rustix::fs::StatFs) -> FileSystem {
    let network = match answer.f_type as u32 {
        // ext2 to ext4, xfs, btrfs, zfs, f2fs, bcachefs
        0xef53 | 0x5846_5342 | 0x9123_683e | 0x2fc1_2fc1 | 0xf2f5_2010 | 0xca45_1a4e => return FileSystem::Local,
        // tmpfs, ramfs, overlay, aufs, ecryptfs
        0x0102_1994 | 0x8584_58f6 | 0x794c_7630 | 0x6175_6673 | 0xf15f => return FileSystem::Local,
        // jfs, reiserfs, nilfs2, vfat, exfat, ntfs3, hfsplus, udf
        0x3153_464a | 0x5265_4973 | 0x3434 | 0x4d44 | 0x2011_bab0 | 0x7366_746e | 0x482b | 0x1501_3346 => {
            return FileSystem::Local;
        }
        // iso9660, squashfs, erofs
        0x9660 | 0x7371_7368 | 0xe0f5_e1e2 => return FileSystem::Local,
        0x6969 => "nfs",
        0x517b => "smb",
        0xff53_4d42 => "cifs",
        0xfe53_4d42 => "smb2",
        0x0102_1997 => "9p",
        0x6573_5546 => "fuse",
        0x00c3_6400 => "ceph",
        0x0bd0_0bd0 => "lustre",
        0x4750_4653 => "gpfs",
        0x1983_0326 => "beegfs",
        0x0116_1970 => "gfs2",
        0x7461_636f => "ocfs2",
        0x2003_0528 => "orangefs",
        0x5346_414f => "afs",
        0x6b41_4653 => "kafs",
        0x7375_7245 => "coda",
        0x564c => "ncp",
        0x786f_4256 => "vboxsf",
        0xbacb_acbc => "vmhgfs",
        other => return FileSystem::Unknown(format!("a file system of unknown type 0x{other:08x}")),
    };
    FileSystem::Network(network.to_owned())
}

/// Classifies by the name that Apple's systems give.
#[cfg(target_vendor = "apple")]
fn classify(answer: &rustix::fs::StatFs) -> FileSystem {
    let name = answer.f_fstypename.iter().map(|byte| *byte as u8).take_while(|byte| *byte != 0);
    let name = String::from_utf8_lossy(&name.collect::<Vec<_>>()).into_owned();
    match name.as_str() {
        "apfs" | "hfs" | "exfat" | "msdos" | "ntfs" | "ufs" | "udf" | "cd9660" | "tmpfs" => FileSystem::Local,
        "nfs" | "smbfs" | "afpfs" | "webdav" | "ftp" | "macfuse" | "osxfuse" | "virtiofs" => FileSystem::Network(name),
        _ => FileSystem::Unknown(format!("a file system of unknown type `{name}`")),
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn a_path_that_does_not_exist_yet_lies_where_its_nearest_ancestor_does() {
        let here = of(Path::new("."));
        assert_eq!(of(Path::new("missing")), here);
        assert_eq!(of(&std::env::current_dir().unwrap().join("missing/database")), here);
        let proc = of(Path::new("/proc/self/missing/database"));
        assert_eq!(proc, FileSystem::Unknown("a file system of unknown type 0x00009fa0".into()));
    }
}
