// Included by the build scripts of packages with programs: what charsiug2p-g2p-tvm's build script
// found out but cargo does not hand on. An app copies these lines (docs/rust.md).

/// Emits run paths and the cfgs that say what is linked: `g2p_tvm_linked` (TVM) and `g2p_tvm_model` (a
/// model, not the smoke archive).
fn forward_tvm_link() {
    println!("cargo:rustc-check-cfg=cfg(g2p_tvm_linked)");
    println!("cargo:rustc-check-cfg=cfg(g2p_tvm_model)");
    for path in std::env::split_paths(&std::env::var_os("DEP_G2P_TVM_RPATHS").unwrap_or_default()) {
        if !path.as_os_str().is_empty() {
            println!("cargo:rustc-link-arg=-Wl,-rpath,{}", path.display());
        }
    }
    if std::env::var_os("DEP_G2P_TVM_LINKED").is_some() {
        println!("cargo:rustc-cfg=g2p_tvm_linked");
    }
    if std::env::var_os("DEP_G2P_TVM_ARCHIVE").is_some_and(|kind| kind == "model") {
        println!("cargo:rustc-cfg=g2p_tvm_model");
    }
}
