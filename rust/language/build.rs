//! Passes on how TVM is linked.

use charsiug2p_g2p_tvm_build::forward_tvm_link;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    forward_tvm_link();
}
