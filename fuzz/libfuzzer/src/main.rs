//! One program for all decoders: `CURLEW_FUZZ_TARGET` names the one. `cargo xtask fuzz` builds it with
//! the flags that libFuzzer needs, which a stable compiler has, and runs it.
#![no_main]

use fuzz::Target;
use libfuzzer_sys::fuzz_target;
use peak_alloc::PeakAlloc;
use std::sync::LazyLock;

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

static TARGET: LazyLock<&Target> = LazyLock::new(|| {
    let name = std::env::var("CURLEW_FUZZ_TARGET").unwrap_or_default();
    let found = fuzz::TARGETS.iter().find(|target| target.name == name);
    found.unwrap_or_else(|| panic!("CURLEW_FUZZ_TARGET={name} is no decoder"))
});

fuzz_target!(|input: &[u8]| {
    let asked = fuzz::asked(&MEMORY, &TARGET, input);
    assert!(asked <= fuzz::ASKED_MAX, "it asks for {asked} bytes");
});
