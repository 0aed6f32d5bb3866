//! The program as a person runs it.

use std::io::Write;
use std::process::{Command, Output, Stdio};

fn cli(arguments: &[&str], input: &[u8]) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_charsiug2p-g2p-cli"))
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A program that refuses its arguments does not read: the pipe may be closed already.
    let _ = child.stdin.take().unwrap().write_all(input);
    child.wait_with_output().unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

#[test]
fn help_has_examples() {
    let output = cli(&["--help"], b"");
    assert!(output.status.success());
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("--system-lib --tvm-target llvm --lang eng-us Char siu"), "{text}");
}

#[test]
fn a_language_is_required_and_threads_are_counted_from_one() {
    for arguments in [&["Char"][..], &["--lang", "eng-us", "--threads", "0", "Char"]] {
        assert_eq!(cli(arguments, b"").status.code(), Some(2));
    }
}

#[test]
#[cfg(not(g2p_tvm_linked))]
fn built_without_tvm_it_names_the_variables() {
    let output = cli(&["--system-lib", "--lang", "eng-us", "Char", "siu"], b"");
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("G2P_TVM_RUNTIME_LIB"), "{}", stderr(&output));
    assert!(output.stdout.is_empty());
}

#[test]
#[cfg_attr(not(g2p_tvm_model), ignore = "set G2P_TVM_SYSTEM_LIB to a model archive")]
fn words_come_back_with_phonemes_in_order() {
    let arguments = ["--system-lib", "--tvm-target", "llvm", "--lang", "eng-us"];
    let given = cli(&[&arguments[..], &["Char", "siu", "Char"]].concat(), b"");
    assert!(given.status.success(), "{}", stderr(&given));
    let text = String::from_utf8(given.stdout.clone()).unwrap();
    let words: Vec<_> = text.lines().map(|line| line.split_once('\t').unwrap()).collect();
    assert_eq!(words.iter().map(|pair| pair.0).collect::<Vec<_>>(), ["Char", "siu", "Char"]);
    assert_eq!(words[0], words[2]);
    let piped = cli(&arguments, b"Char\nsiu\nChar\n");
    assert_eq!(piped.stdout, given.stdout);
}

#[test]
#[cfg_attr(not(g2p_tvm_model), ignore = "set G2P_TVM_SYSTEM_LIB to a model archive")]
fn bad_words_and_languages_stop_it_before_it_prints() {
    let long = "a".repeat(5000);
    for (arguments, input, part) in [
        (&["--lang", "eng-us", "Char", &long][..], &b""[..], "too long"),
        (&["--lang", "eng-us", "Char", ""], b"", "empty"),
        (&["--lang", "eng-us", "a\tb"], b"", "a tab"),
        (&["--lang", "no language", "Char"], b"", "not a language code"),
        (&["--lang", "eng-us"], b"Char\n\xff\n", "line 2"),
        (&["--lang", "eng-us"], b"", "no words"),
    ] {
        let output = cli(arguments, input);
        assert_eq!(output.status.code(), Some(2), "{part}");
        assert!(stderr(&output).contains(part), "{}", stderr(&output));
        assert!(output.stdout.is_empty());
    }
}

#[test]
#[cfg_attr(not(g2p_tvm_model), ignore = "set G2P_TVM_SYSTEM_LIB to a model archive")]
fn missing_metadata_lists_the_paths() {
    let output = cli(&["--metadata", "/nowhere/at/all.json", "--lang", "eng-us", "Char"], b"");
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("/nowhere/at/all.json"), "{}", stderr(&output));
}
