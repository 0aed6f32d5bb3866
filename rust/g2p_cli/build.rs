//! Hands on how TVM is linked.

include!("../g2p_tvm/build/forward.rs");

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed=../g2p_tvm/build/forward.rs");
    forward_tvm_link();
}
