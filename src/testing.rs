//! The inside of the library for its own tests, benches and fuzz targets: no promise, and nothing for anybody else.

/// The rooms that are private to everybody else, whole.
macro_rules! rooms {
    ($($room:ident)*) => {
        $(#[allow(missing_docs)]
        pub mod $room {
            pub use crate::$room::*;
        })*
    };
}

rooms! { collection error index kernel matrix record score store }
