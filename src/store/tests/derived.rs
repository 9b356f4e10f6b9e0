//! Tests that derived rows are built once, kept, and never spoil an answer.

use super::*;

#[test]
fn derived_rows_are_built_once_and_whatever_happens_to_their_file_they_are_right() {
    let vfs = MemoryVfs::default();
    let store = with_view(&vfs);
    assert_eq!((derive(&store), derive(&store)), (50, 0), "remembered");
    let file = files(&vfs, ".odrv").remove(0);
    for access in [Access::Map, Access::Read] {
        assert_eq!(derive(&open(&vfs, Mode::Read, access)), 0, "read from the file");
    }
    let whole = vfs.read(&file).unwrap();
    for at in 0..whole.len() {
        flip(&vfs, &file, at);
        assert_eq!(derive(&open(&vfs, Mode::Read, Access::Map)), 50, "byte {at}");
        vfs.write(&file, &whole).unwrap();
    }
    for length in [0, 100, 4_096, whole.len() - 1] {
        vfs.write(&file, &whole[..length]).unwrap();
        let reader = open(&vfs, Mode::Read, Access::Read);
        assert_eq!((derive(&reader), derive(&reader)), (50, 0), "a reader remembers");
    }
    let store = writer_again(store, &vfs);
    assert_eq!(derive(&store), 50);
    assert!(vfs.read(&file).unwrap() == whole, "a writer mends the file");
    vfs.remove(&file).unwrap();
    assert_eq!(derive(&open(&vfs, Mode::Read, Access::Map)), 50);
    publish(&store, vec![Change::DropView { collection: "c".into(), name: "v".into() }, view("c", "w")]);
    publish(&store, vec![view("c", "v")]);
    assert_eq!(derive(&store), 50, "another view of the same name");
    assert_eq!(files(&vfs, ".odrv").len(), 1, "derived files of a view that is gone are gone");
}

#[test]
fn derived_rows_that_cannot_be_written_are_kept_in_memory_and_poison_nothing() {
    with_each_failing_operation(
        |vfs| drop(with_view(vfs)),
        |store| {
            derive(store);
        },
    );
}

#[test]
fn errors_of_building_rows_are_reported_and_leave_nothing_behind() {
    let vfs = MemoryVfs::default();
    let store = with_view(&vfs);
    let version = store.version();
    let (segment, view) = (&version.collections["c"].segments[0].segment, &version.collections["c"].views["v"]);
    let failing =
        |n| if n == 7 { Err(Error::invalid("row", "no")) } else { segment.matrix(n).map(|m| m.into_matrix()) };
    assert!(matches!(store.rows(segment, view, &failing), Err(Error::Invalid { .. })));
    let uneven = |n: u32| Ok(matrix(1, 1 + n as usize % 2, 0.0));
    assert!(matches!(store.rows(segment, view, &uneven), Err(Error::Mismatch { .. })));
    assert!(files(&vfs, ".odrv").is_empty() && files(&vfs, ".tmp").is_empty());
    assert_eq!(derive(&store), 50);
}

#[test]
fn threads_of_a_pool_that_ask_for_the_same_rows_at_once_all_get_them() {
    use rayon::prelude::*;
    let vfs = MemoryVfs::default();
    let store = with_view(&vfs);
    let version = store.version();
    let (segment, view) = (&version.collections["c"].segments[0].segment, &version.collections["c"].views["v"]);
    let slow = |n: u32| {
        // A build that itself uses the pool could wait for itself.
        let sum: usize = (0..64_usize).into_par_iter().map(|at| at * n as usize).sum();
        Ok(matrix(1, 2, sum as f32))
    };
    let rows: Vec<_> = (0..64).into_par_iter().map(|_| store.rows(segment, view, &slow).unwrap()).collect();
    assert!(rows.iter().all(|rows| rows.all().unwrap() == rows.all().unwrap() && rows.dim() == 2));
}
