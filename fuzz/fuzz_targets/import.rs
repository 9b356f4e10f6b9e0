#![no_main]
#[path = "../bodies/exchange.rs"]
mod exchange;
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| exchange::import(bytes));
