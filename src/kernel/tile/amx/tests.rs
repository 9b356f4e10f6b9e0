//! What the processor and the system remember of us.

use super::multiply::Shapes;
use super::*;
use crate::kernel::{ByteRows, Lanes, Level, PackedRows, largest};
use std::process::Command;

#[test]
fn shapes_are_left_as_they_were() {
    if Level::current() != Level::Amx {
        return println!("skipped: this needs matrix registers, and the level in use is `{}`", Level::current().name());
    }
    let packed = PackedRows::whole((0..20).map(|row| vec![row; 70]));
    let bytes = vec![130; 72 * 40];
    let mut narrow = [0; 64];
    (narrow[0], narrow[16], narrow[48]) = (1, 4, 1);
    for before in [[0; 64], narrow] {
        let mut best = [Lanes([f32::NEG_INFINITY; LANES]); 2];
        // SAFETY: the machine has the registers.
        let after = unsafe {
            if before[0] > 0 {
                Shapes(before).set();
            }
            largest(&packed, 0..2, ByteRows { bytes: &bytes, stride: 72, count: 40 }, &mut best);
            let after = Shapes::current();
            std::arch::asm!("tilerelease", options(nostack, nomem, preserves_flags));
            after
        };
        assert_eq!(after.0, before);
        assert_eq!(best[1].0[3], 19.0 * 2.0 * 70.0);
    }
}

/// Whether this process may use the registers.
#[cfg(target_os = "linux")]
fn may_use_registers() -> bool {
    const GRANTED: libc::c_ulong = 0x1022; // ARCH_GET_XCOMP_PERM
    let mut components = 0u64;
    // SAFETY: writes one number, if anything.
    let result = unsafe { libc::syscall(libc::SYS_arch_prctl, GRANTED, &raw mut components) };
    result == 0 && components >> 18 & 1 == 1
}

#[cfg(target_os = "linux")]
#[test]
fn the_system_is_asked_only_where_registers_are_used() {
    // This test once more, in a process of its own.
    if std::env::var_os("OTOLITH_TEST_ASKS").is_some() {
        let level = Level::current();
        assert_eq!(may_use_registers(), level == Level::Amx, "{level:?}");
        return;
    }
    let name = "kernel::tile::amx::tests::the_system_is_asked_only_where_registers_are_used";
    for level in ["scalar", "avx2", "vnni", "amx"] {
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", name])
            .env("OTOLITH_TEST_ASKS", "1")
            .env("OTOLITH_KERNEL", level)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&child.stdout);
        assert!(child.status.success() && said.contains("1 passed"), "{level}: {said}");
    }
}
