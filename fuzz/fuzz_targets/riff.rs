#![no_main]
#[path = "../bodies/mod.rs"]
#[allow(dead_code, unused_imports)] // one body of several
mod bodies;
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| bodies::riff(bytes));
