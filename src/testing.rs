//! Opens the library's private rooms to its own tests, benches, tools and fuzz targets. Not for anybody else: it may
//! change at any time.
#![allow(missing_docs)]

/// Exports whole rooms that are private to everybody else.
macro_rules! rooms {
    ($($room:ident)*) => {
        $(pub mod $room {
            pub use crate::$room::*;
        })*
    };
}

rooms! { collection index kernel score store }

#[cfg(feature = "models")]
pub mod embed {
    pub mod checkpoint {
        pub use crate::embed::checkpoint::*;
    }
    pub mod wav2vec2 {
        pub use crate::embed::wav2vec2::*;
    }
    #[cfg(feature = "whisper")]
    pub mod whisper {
        pub use crate::embed::whisper::*;
    }
}
