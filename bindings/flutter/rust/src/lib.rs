//! What Flutter calls: `charsiug2p-mobile` in types that flutter_rust_bridge turns into Dart. `frb_generated.rs` is generated.

pub mod api;
#[rustfmt::skip]
#[allow(missing_docs, unsafe_code, clippy::all, clippy::pedantic)]
mod frb_generated;
