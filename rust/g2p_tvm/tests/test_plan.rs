//! Each of the seven variables, each way to get one wrong, each target: as lines for cargo.

#[path = "../build/plan.rs"]
#[allow(dead_code, missing_docs)]
mod plan;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use plan::{Machine, Plan, PlanError, Target};

const LINUX: Target<'static> = Target { os: "linux", env: "gnu" };
const MUSL: Target<'static> = Target { os: "linux", env: "musl" };
const MACOS: Target<'static> = Target { os: "macos", env: "" };
const IOS: Target<'static> = Target { os: "ios", env: "sim" };
const ANDROID: Target<'static> = Target { os: "android", env: "" };

/// Real files in a folder of the test's own; only the compiler's answer is given.
struct Scene {
    root: PathBuf,
    gcc: bool,
    variables: BTreeMap<String, String>,
}

impl Machine for Scene {
    fn is_file(&self, path: &Path) -> bool {
        path.is_file()
    }

    fn is_dir(&self, path: &Path) -> bool {
        path.is_dir()
    }

    fn compiler_library(&self, name: &str) -> Option<PathBuf> {
        self.gcc.then(|| Path::new("/gcc").join(name))
    }
}

impl Scene {
    fn new(test: &str) -> Self {
        let root = Path::new(env!("CARGO_TARGET_TMPDIR")).join("plan").join(test);
        let _ = fs::remove_dir_all(&root);
        for file in [
            "model/libg2p_system_lib.a",
            "rt/libtvm_runtime.a",
            "rt/libtvm_runtime.so",
            "rt/libtvm_runtime.dylib",
            "ffi/libtvm_ffi.a",
            "ffi/libtvm_ffi_static.a",
            "ffi/libtvm_ffi.so",
            "ffi/libtvm_ffi.dylib",
            "ffi/libtvm_ffi_testing.a",
            "ffi/libtvm_ffi_testing.so",
        ] {
            let path = root.join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
        Self { root, gcc: true, variables: BTreeMap::new() }
    }

    fn path(&self, file: &str) -> String {
        self.root.join(file).to_str().unwrap().to_owned()
    }

    fn set(mut self, name: &str, value: &str) -> Self {
        self.variables.insert(name.to_owned(), value.to_owned());
        self
    }

    fn set_path(self, name: &str, file: &str) -> Self {
        let path = self.path(file);
        self.set(name, &path)
    }

    fn statically(self) -> Self {
        self.set_path(plan::SYSTEM_LIB, "model/libg2p_system_lib.a")
            .set_path(plan::RUNTIME_LIB, "rt/libtvm_runtime.a")
            .set_path(plan::FFI_LIB_DIR, "ffi")
            .set(plan::STATIC_LINK, "1")
    }

    fn dynamically(self) -> Self {
        self.set_path(plan::SYSTEM_LIB, "model/libg2p_system_lib.a")
            .set_path(plan::RUNTIME_LIB, "rt/libtvm_runtime.so")
            .set_path(plan::FFI_LIB_DIR, "ffi")
    }

    fn plan(&self, target: Target<'_>) -> Result<Plan, PlanError> {
        plan::plan(&self.variables, target, self)
    }

    /// The error on Linux: which variable, and the message.
    fn refused(&self) -> (&'static str, String) {
        let error = self.plan(LINUX).unwrap_err();
        (error.variable, error.to_string())
    }
}

/// What is linked, in order, without the folders.
fn linked(plan: &Plan) -> Vec<&str> {
    plan.directives.iter().filter_map(|line| line.strip_prefix("cargo:rustc-link-lib=")).collect()
}

#[test]
fn without_variables_nothing_is_linked() {
    let plan = Scene::new("none").plan(LINUX).unwrap();
    assert_eq!(plan, Plan { prefix: "g2p_".to_owned(), ..Plan::default() });
}

#[test]
fn empty_variables_count_as_unset() {
    let mut scene = Scene::new("empty");
    for name in plan::VARIABLES {
        scene = scene.set(name, "");
    }
    assert!(!scene.plan(LINUX).unwrap().linked);
}

#[test]
fn static_linking_takes_all_archives_whole_and_the_compilers_own_cxx_library() {
    let scene = Scene::new("static").statically();
    let plan = scene.plan(LINUX).unwrap();
    assert_eq!(
        linked(&plan),
        [
            "static:+whole-archive,-bundle=g2p_system_lib",
            "static:+whole-archive,-bundle=tvm_runtime",
            "static:+whole-archive,-bundle=tvm_ffi",
            "static:-bundle=stdc++",
            "static:-bundle=gcc_eh",
        ]
    );
    for dir in ["model", "rt", "ffi"] {
        let line = format!("cargo:rustc-link-search=native={}", scene.path(dir));
        assert!(plan.directives.contains(&line), "{line}");
    }
    for file in ["model/libg2p_system_lib.a", "rt/libtvm_runtime.a", "ffi/libtvm_ffi.a"] {
        let line = format!("cargo:rerun-if-changed={}", scene.path(file));
        assert!(plan.directives.contains(&line), "{line}");
    }
    assert!(plan.directives.contains(&"cargo:rustc-link-search=native=/gcc".to_owned()));
    assert_eq!(plan.system_lib_dir, Some(scene.root.join("model")));
    assert!(plan.linked && plan.rpaths.is_empty());
}

#[test]
fn the_cxx_library_depends_on_the_target() {
    let scene = Scene::new("cxx").statically();
    let tail = |target| linked(&scene.plan(target).unwrap())[3..].join(" ");
    assert_eq!(tail(MUSL), "dylib=c++ dylib=c++abi");
    assert_eq!(tail(ANDROID), "static:-bundle=c++_static static:-bundle=c++abi dylib=log");
    assert_eq!(tail(MACOS), "dylib=c++");
    assert_eq!(tail(IOS), "dylib=c++");
    let error = scene.plan(Target { os: "windows", env: "msvc" }).unwrap_err();
    assert_eq!(error.variable, plan::STATIC_LINK);
}

#[test]
fn a_compiler_without_a_static_cxx_library_is_named() {
    let mut scene = Scene::new("no-gcc").statically();
    scene.gcc = false;
    let (variable, message) = scene.refused();
    assert_eq!(variable, plan::STATIC_LINK);
    assert!(message.contains("libstdc++.a") && message.contains("CXX"), "{message}");
}

#[test]
fn dynamic_linking_searches_the_folders_at_run_time() {
    let scene = Scene::new("dynamic").dynamically();
    let plan = scene.plan(LINUX).unwrap();
    assert_eq!(
        linked(&plan),
        ["static:+whole-archive,-bundle=g2p_system_lib", "dylib=tvm_runtime", "dylib=tvm_ffi"]
    );
    assert_eq!(plan.rpaths, [scene.root.join("rt"), scene.root.join("ffi")]);
    let mac = Scene::new("dynamic-mac").dynamically();
    let mac = mac.set_path(plan::RUNTIME_LIB, "rt/libtvm_runtime.dylib").plan(MACOS).unwrap();
    assert_eq!(linked(&mac)[1..], ["dylib=tvm_runtime", "dylib=tvm_ffi"]);
}

#[test]
fn system_lib_is_optional_for_models_loaded_from_files() {
    let mut scene = Scene::new("no-archive").dynamically();
    scene.variables.remove(plan::SYSTEM_LIB);
    let plan = scene.plan(LINUX).unwrap();
    assert!(plan.linked && plan.system_lib_dir.is_none());
    assert_eq!(linked(&plan), ["dylib=tvm_runtime", "dylib=tvm_ffi"]);
}

#[test]
fn system_lib_must_be_an_existing_absolute_lib_a() {
    let scene = Scene::new("bad-archive").statically();
    fs::write(scene.root.join("model/other.o"), "").unwrap();
    for (value, part) in [
        (scene.path("model/libmissing.a"), "libmissing.a"),
        (scene.path("model"), "no file"),
        ("libg2p_system_lib.a".to_owned(), "absolute"),
        (scene.path("model/other.o"), "lib*.a"),
    ] {
        let scene = Scene::new("bad-archive-again").statically().set(plan::SYSTEM_LIB, &value);
        fs::write(scene.root.join("model/other.o"), "").unwrap();
        let (variable, message) = scene.refused();
        assert_eq!(variable, plan::SYSTEM_LIB, "{message}");
        assert!(message.contains(part) && message.contains(&value), "{message}");
    }
}

#[test]
fn system_lib_prefix_is_compiled_in() {
    let scene = Scene::new("prefix").set(plan::SYSTEM_LIB_PREFIX, "bert_");
    assert_eq!(scene.plan(LINUX).unwrap().prefix, "bert_");
    for prefix in ["g2p-", "1g2p_", "g2p ", "g\u{fc}p_"] {
        let (variable, message) =
            Scene::new("prefix").set(plan::SYSTEM_LIB_PREFIX, prefix).refused();
        assert_eq!(variable, plan::SYSTEM_LIB_PREFIX);
        assert!(message.contains(prefix), "{message}");
    }
}

#[test]
fn runtime_lib_is_required_by_every_other_linking_variable() {
    for (name, value) in
        [(plan::SYSTEM_LIB, "model/libg2p_system_lib.a"), (plan::FFI_LIB_DIR, "ffi")]
    {
        let (variable, message) = Scene::new("no-runtime").set_path(name, value).refused();
        assert_eq!(variable, plan::RUNTIME_LIB);
        assert!(message.contains(name), "{message}");
    }
    for (name, value) in [
        (plan::STATIC_LINK, "1"),
        (plan::FFI_STATIC_NAME, "tvm_ffi"),
        (plan::LINK_FFI_TESTING, "1"),
    ] {
        let (variable, message) = Scene::new("no-runtime").set(name, value).refused();
        assert_eq!(variable, plan::RUNTIME_LIB);
        assert!(message.contains(name), "{message}");
    }
}

#[test]
fn runtime_lib_must_fit_the_kind_of_linking() {
    let scene = Scene::new("kind").statically().set_path(plan::RUNTIME_LIB, "rt/libtvm_runtime.so");
    assert_eq!(scene.refused().0, plan::RUNTIME_LIB);
    let scene = Scene::new("kind").dynamically().set_path(plan::RUNTIME_LIB, "rt/libtvm_runtime.a");
    let (variable, message) = scene.refused();
    assert_eq!(variable, plan::RUNTIME_LIB);
    assert!(message.contains(plan::STATIC_LINK), "{message}");
    let scene = Scene::new("kind").dynamically().set_path(plan::RUNTIME_LIB, "rt/missing.so");
    let (variable, message) = scene.refused();
    assert_eq!(variable, plan::RUNTIME_LIB);
    assert!(message.contains("rt/missing.so"), "{message}");
}

#[test]
fn static_link_and_link_ffi_testing_are_switches() {
    for name in [plan::STATIC_LINK, plan::LINK_FFI_TESTING] {
        let (variable, message) = Scene::new("switch").dynamically().set(name, "yes").refused();
        assert_eq!(variable, name);
        assert!(message.contains("yes"), "{message}");
    }
    assert!(Scene::new("switch").dynamically().set(plan::STATIC_LINK, "0").plan(LINUX).is_ok());
}

#[test]
fn ffi_lib_dir_defaults_to_the_runtimes_folder() {
    let mut scene = Scene::new("ffi-default").statically();
    scene.variables.remove(plan::FFI_LIB_DIR);
    let (variable, message) = scene.refused();
    assert_eq!(variable, plan::FFI_LIB_DIR);
    assert!(message.contains("rt/libtvm_ffi.a"), "{message}");
    fs::write(scene.root.join("rt/libtvm_ffi.a"), "").unwrap();
    assert_eq!(linked(&scene.plan(LINUX).unwrap()).len(), 5);
}

#[test]
fn ffi_lib_dir_must_be_an_existing_absolute_folder() {
    let missing = Scene::new("ffi-dir").statically().set_path(plan::FFI_LIB_DIR, "nowhere");
    let relative = Scene::new("ffi-dir").statically().set(plan::FFI_LIB_DIR, "ffi");
    for (scene, part) in [(missing, "nowhere"), (relative, "absolute")] {
        let (variable, message) = scene.refused();
        assert_eq!(variable, plan::FFI_LIB_DIR);
        assert!(message.contains(part), "{message}");
    }
}

#[test]
fn ffi_static_name_chooses_the_library() {
    let scene = Scene::new("ffi-name").statically().set(plan::FFI_STATIC_NAME, "tvm_ffi_static");
    let plan = scene.plan(LINUX).unwrap();
    assert_eq!(linked(&plan)[2], "static:+whole-archive,-bundle=tvm_ffi_static");
    let scene = Scene::new("ffi-name").statically().set(plan::FFI_STATIC_NAME, "nothing");
    let (variable, message) = scene.refused();
    assert_eq!(variable, plan::FFI_STATIC_NAME);
    assert!(message.contains("ffi/libnothing.a"), "{message}");
}

#[test]
fn link_ffi_testing_adds_the_testing_library() {
    let scene = Scene::new("testing").statically().set(plan::LINK_FFI_TESTING, "1");
    let libraries = scene.plan(LINUX).unwrap();
    assert!(libraries.testing);
    assert!(linked(&libraries).contains(&"static:+whole-archive,-bundle=tvm_ffi_testing"));
    let scene = Scene::new("testing").dynamically().set(plan::LINK_FFI_TESTING, "1");
    assert!(linked(&scene.plan(LINUX).unwrap()).contains(&"dylib=tvm_ffi_testing"));
    fs::remove_file(scene.root.join("ffi/libtvm_ffi_testing.so")).unwrap();
    assert_eq!(scene.refused().0, plan::LINK_FFI_TESTING);
}

#[test]
fn a_library_hidden_by_one_of_the_same_name_is_refused() {
    let scene = Scene::new("shadow").statically();
    fs::write(scene.root.join("model/libtvm_ffi.a"), "").unwrap();
    let (_, message) = scene.refused();
    assert!(message.contains("model/libtvm_ffi.a"), "{message}");
    assert!(message.contains("ffi/libtvm_ffi.a"), "{message}");
}
