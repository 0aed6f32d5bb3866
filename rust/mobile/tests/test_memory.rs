//! Exhausted memory, in a process of its own: the limit holds for all of its threads.
#![cfg(target_os = "linux")]

use charsiug2p_mobile::{ModelLibrary, SessionOptions};

#[test]
#[cfg_attr(not(test_models), ignore = "link the models: see tools/test-rust")]
fn more_memory_than_there_is_is_an_error_while_loading() {
    let text = include_str!(concat!(env!("OUT_DIR"), "/metadata.json"));
    let squeezed: String = text.split_whitespace().collect();
    // Four gigabytes of cache for a session, in a process that may have two.
    let greedy = squeezed.replace("[1,2,2,32768]", "[1,1024,1024,1023]");
    assert_ne!(greedy, squeezed);
    let library = ModelLibrary::open_with_metadata(&greedy).unwrap();
    let loaded = with_memory_limit(2 << 30, || library.load("g2p", SessionOptions::default()));
    assert_eq!(loaded.map(drop).unwrap_err().code(), 7);
    // The same process goes on.
    let scaled = ModelLibrary::open().unwrap().load("scaled", SessionOptions::default()).unwrap();
    assert_eq!(scaled.warm_up(), Ok(()));
}

/// Runs with a limit on the process's address space, by a program, since the standard library cannot set one.
fn with_memory_limit<T>(bytes: u64, work: impl FnOnce() -> T) -> T {
    let set = |limit: &str| {
        let pid = std::process::id().to_string();
        let arguments = ["--pid", &pid, limit];
        assert!(std::process::Command::new("prlimit").args(arguments).status().unwrap().success());
    };
    set(&format!("--as={bytes}:"));
    let result = work();
    set("--as=unlimited:");
    result
}
