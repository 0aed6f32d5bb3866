//! Phonemes of words: `word<TAB>phonemes`, one line a word.
#![warn(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod words;

use std::error::Error;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use charsiug2p_g2p_core::Language;
use charsiug2p_g2p_pipeline::{ArtifactResolver, Session};
use charsiug2p_g2p_tvm::{ensure_linked, set_num_threads};
use clap::Parser;

const EXAMPLES: &str = "\
Examples:
  charsiug2p-g2p-cli --system-lib --tvm-target llvm --lang eng-us Char siu
  charsiug2p-g2p-cli --lang ger < words.txt
  charsiug2p-g2p-cli --metadata out/system_lib_metadata.json --lang fra bonjour

The model is the one linked in at build time (G2P_TVM_SYSTEM_LIB, see docs/rust.md). Whether it
decodes with a key-value cache is in its metadata.

Exit status: 0 done, 1 the model or the output failed, 2 the words or the command line are wrong.";

/// Prints the phonemes of words, one `word<TAB>phonemes` a line.
#[derive(Debug, Parser)]
#[command(name = "charsiug2p-g2p-cli", version, after_help = EXAMPLES)]
struct Arguments {
    /// Use the model linked into this program; the only source there is, and the default.
    #[arg(long)]
    system_lib: bool,

    /// The target the archive was compiled for; a note is printed when its metadata names another.
    #[arg(long, value_name = "TARGET")]
    tvm_target: Option<String>,

    /// Language of all words, such as eng-us.
    #[arg(long, value_name = "CODE")]
    lang: String,

    /// The metadata beside the archive, or its folder [default: where the archive was at build time]
    #[arg(long, value_name = "PATH")]
    metadata: Option<PathBuf>,

    /// Threads of the model's kernels.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = parse_threads)]
    threads: usize,

    /// The words; read from standard input, one a line, when none are given.
    words: Vec<String>,
}

fn parse_threads(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(threads) if threads > 0 => Ok(threads),
        _ => Err("not a number above 0".to_owned()),
    }
}

/// An error and the exit status that goes with it.
struct Failure {
    status: u8,
    cause: Box<dyn Error>,
}

fn usage(cause: impl Into<Box<dyn Error>>) -> Failure {
    Failure { status: 2, cause: cause.into() }
}

fn failure(cause: impl Into<Box<dyn Error>>) -> Failure {
    Failure { status: 1, cause: cause.into() }
}

fn main() -> ExitCode {
    match run(Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure { status, cause }) => {
            eprintln!("error: {cause}");
            ExitCode::from(status)
        }
    }
}

fn run(arguments: Arguments) -> Result<(), Failure> {
    ensure_linked().map_err(failure)?;
    // Before anything can start a thread.
    set_num_threads(arguments.threads).map_err(failure)?;
    let resolver = match arguments.metadata {
        Some(path) => ArtifactResolver::with_paths([path]),
        None => ArtifactResolver::new(),
    };
    let metadata = resolver.resolve().map_err(failure)?.metadata;
    if let Some(target) = arguments.tvm_target.filter(|target| *target != metadata.target) {
        eprintln!("note: the linked archive was compiled for {}, not {target}", metadata.target);
    }
    let language = Language::new(&arguments.lang, metadata.languages.as_deref()).map_err(usage)?;
    let words = if arguments.words.is_empty() {
        words::read_words(io::stdin().lock()).map_err(usage)?
    } else {
        arguments.words
    };
    metadata.config.check().map_err(failure)?;
    let format = metadata.prompt_format();
    let prompts = words
        .iter()
        .map(|word| format.prompt(&language, word))
        .collect::<Result<Vec<_>, _>>()
        .map_err(usage)?;

    let mut session = Session::from_metadata(&metadata).map_err(failure)?;
    // Answers come as soon as they can, and batches find words of like lengths among so many.
    let batch_size = metadata.config.batch_size;
    let window = if batch_size == 1 { 1 } else { batch_size * 32 };
    let mut output = io::stdout().lock();
    for (words, prompts) in words.chunks(window).zip(prompts.chunks(window)) {
        let answers = session.run_all(prompts).map_err(failure)?;
        for (word, answer) in words.iter().zip(answers) {
            match writeln!(output, "{word}\t{}", answer.text) {
                // The reader has seen enough, as `head` does.
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(()),
                other => other.map_err(failure)?,
            }
        }
    }
    output.flush().map_err(failure)
}
