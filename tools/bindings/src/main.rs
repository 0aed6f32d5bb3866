//! write-bindings CRATE LIBRARY OUT: writes Kotlin, Swift and a C header of a crate and its library below OUT.
//!
//! `tools/write_bindings.py` builds the library and calls this.

use std::error::Error;
use std::path::Path;
use std::process::ExitCode;

use uniffi_bindgen::bindings::{generate, GenerateOptions, TargetLanguage};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [folder, library, out] = arguments.as_slice() else {
        eprintln!("write-bindings CRATE LIBRARY OUT");
        return ExitCode::from(2);
    };
    match write(Path::new(folder), library, Path::new(out)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("write-bindings: {error}");
            ExitCode::FAILURE
        }
    }
}

fn write(folder: &Path, library: &str, out: &Path) -> Result<(), Box<dyn Error>> {
    let text = |path: &Path| path.to_str().map(str::to_owned).ok_or("a path is not UTF-8");
    for (language, name) in [(TargetLanguage::Kotlin, "kotlin"), (TargetLanguage::Swift, "swift")] {
        generate(GenerateOptions {
            languages: vec![language],
            source: library.into(),
            out_dir: text(&out.join(name))?.into(),
            config_override: Some(text(&folder.join("bindings.toml"))?.into()),
            ..GenerateOptions::default()
        })?;
    }
    let header = out.join("c/charsiug2p.h");
    let config = cbindgen::Config::from_file(folder.join("cbindgen.toml"))?;
    let sources = ["src/ffi.rs", "src/ffi/free.rs", "src/ffi/text.rs"].map(|name| folder.join(name));
    let builder = sources.into_iter().fold(cbindgen::Builder::new(), cbindgen::Builder::with_src);
    builder.with_config(config).generate()?.write_to_file(header);
    Ok(())
}
