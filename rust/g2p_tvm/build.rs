//! Links TVM and the model archive as the `G2P_TVM_*` variables ask; see `build/plan.rs`.

#[path = "build/plan.rs"]
#[allow(dead_code, missing_docs)]
mod plan;

use std::collections::BTreeMap;
use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

struct ThisMachine;

impl plan::Machine for ThisMachine {
    fn is_file(&self, path: &Path) -> bool {
        path.is_file()
    }

    fn is_dir(&self, path: &Path) -> bool {
        path.is_dir()
    }

    fn compiler_library(&self, name: &str) -> Option<PathBuf> {
        let compiler = env::var("CXX").ok().filter(|cxx| !cxx.is_empty());
        let compiler = compiler.unwrap_or_else(|| "c++".to_owned());
        // CXX may carry arguments, such as "python -m ziglang c++".
        let mut words = compiler.split_whitespace();
        let output = Command::new(words.next()?)
            .args(words)
            .arg(format!("-print-file-name={name}"))
            .output()
            .ok()?;
        let path = PathBuf::from(String::from_utf8(output.stdout).ok()?.trim());
        // A compiler that does not find the library prints its bare name.
        (path.is_absolute() && path.is_file()).then(|| path.canonicalize().unwrap_or(path))
    }
}

fn main() -> ExitCode {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed=build/plan.rs");
    println!("cargo:rerun-if-env-changed=CXX");
    for name in plan::VARIABLES {
        println!("cargo:rerun-if-env-changed={name}");
    }
    println!("cargo:rustc-check-cfg=cfg(g2p_tvm_linked)");
    println!("cargo:rustc-check-cfg=cfg(g2p_tvm_smoke)");
    println!("cargo:rustc-check-cfg=cfg(g2p_tvm_ffi_testing)");

    let variables: BTreeMap<String, String> = plan::VARIABLES
        .iter()
        .filter_map(|name| Some(((*name).to_owned(), env::var(name).ok()?)))
        .collect();
    let os = env::var("CARGO_CFG_TARGET_OS").unwrap_or_default();
    let target_env = env::var("CARGO_CFG_TARGET_ENV").unwrap_or_default();
    let target = plan::Target { os: &os, env: &target_env };
    match plan::plan(&variables, target, &ThisMachine) {
        Ok(plan) => {
            announce(&plan);
            ExitCode::SUCCESS
        }
        Err(error) => {
            println!("cargo::error={error}");
            ExitCode::FAILURE
        }
    }
}

fn announce(plan: &plan::Plan) {
    for line in &plan.directives {
        println!("{line}");
    }
    println!("cargo:rustc-env=G2P_TVM_COMPILED_PREFIX={}", plan.prefix);
    if plan.linked {
        println!("cargo:rustc-cfg=g2p_tvm_linked");
        println!("cargo:linked=1");
    }
    if plan.testing {
        println!("cargo:rustc-cfg=g2p_tvm_ffi_testing");
    }
    if let Some(dir) = &plan.system_lib_dir {
        println!("cargo:rustc-env=G2P_TVM_COMPILED_DIR={}", dir.display());
        let kind = if plan.prefix == plan::SMOKE_PREFIX { "smoke" } else { "model" };
        println!("cargo:archive={kind}");
        if kind == "smoke" {
            println!("cargo:rustc-cfg=g2p_tvm_smoke");
        }
    }
    for path in &plan.rpaths {
        println!("cargo:rustc-link-arg=-Wl,-rpath,{}", path.display());
    }
    // Link arguments stay with this package's own programs, so dependents read them from here
    // (charsiug2p-g2p-tvm-build).
    if let Ok(joined) = env::join_paths(&plan.rpaths) {
        println!("cargo:rpaths={}", joined.display());
    }
}
