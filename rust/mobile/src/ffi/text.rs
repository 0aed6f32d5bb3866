//! The C interface of language models.

use std::ffi::{c_char, c_void, CString};
use std::sync::Arc;

use super::convert::{self, answer, array_of, borrow, give, owned_text, text, write_out};
use super::{optional, CancellationHandle, SessionHandle};
use crate::error::MobileError;
use crate::text::{Conversation, Generation, GenerationEnd, GenerationOptions, PromptPart};

/// A part of a prompt: text, a special token by its name, or token ids.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct PromptView {
    /// Text in UTF-8 that ends in a NUL; null for token ids.
    pub text: *const c_char,
    /// Other than 0 if the text is the name of a special token.
    pub special: i32,
    /// Token ids; null for text.
    pub tokens: *const i32,
    /// How many.
    pub count: usize,
}

/// How an answer is generated. `charsiug2p_generation_defaults` fills it.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct GenerationView {
    /// The most tokens of the answer.
    pub max_tokens: u32,
    /// Texts that end the answer, each ending in a NUL; null for none.
    pub stop_strings: *const *const c_char,
    /// How many.
    pub stop_count: usize,
    /// 0: the best token each time.
    pub temperature: f64,
    /// Draws from so many of the most probable tokens only; 0 means all.
    pub top_k: u32,
    /// Draws from the most probable tokens whose probabilities together reach this, 0 to 1.
    pub top_p: f64,
    /// Draws from tokens that are at least this share as probable as the most probable one, 0 to 1.
    pub min_p: f64,
    /// Makes tokens that the text has already less probable if it is above 1.
    pub repetition_penalty: f64,
    /// The same seed draws the same tokens from the same text.
    pub seed: u64,
}

/// Why an answer ended.
#[repr(i32)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum End {
    Length = 0,
    StopToken = 1,
    StopString = 2,
    ContextFull = 3,
}

/// An answer, as long as its handle is not freed.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct AnswerView {
    /// Its text in UTF-8; empty for a model without a tokenizer.
    pub text: *const c_char,
    /// Its tokens.
    pub tokens: *const i32,
    /// How many.
    pub count: usize,
    /// Why it ended.
    pub ended: i32,
    /// The stop string to which it came, or null.
    pub stop_string: *const c_char,
    /// How many tokens were before it.
    pub prompt_tokens: u64,
    /// How many of them were read in this call.
    pub read_tokens: u64,
    /// Until the first token was known.
    pub first_token_nanoseconds: u64,
    /// How long the call took.
    pub nanoseconds: u64,
}

/// Gets a piece of an answer: text of whole characters, and tokens. Anything but 0 ends the call, which then returns
/// `Cancelled`.
pub type OnPiece = Option<
    unsafe extern "C" fn(
        user: *mut c_void,
        text: *const c_char,
        tokens: *const i32,
        count: usize,
    ) -> i32,
>;

/// A text that continues from call to call.
pub struct ConversationHandle(pub(super) Arc<Conversation>);
/// An answer.
pub struct GenerationHandle {
    text: CString,
    stop_string: Option<CString>,
    generation: Generation,
}

/// Writes the options of an answer of 256 tokens at most, each of them the best one.
///
/// # Safety
/// `out` is null or can be written.
#[no_mangle]
pub unsafe extern "C" fn charsiug2p_generation_defaults(out: *mut GenerationView) {
    let GenerationOptions {
        max_tokens,
        stop_strings: _,
        temperature,
        top_k,
        top_p,
        min_p,
        repetition_penalty,
        seed,
    } = GenerationOptions::default();
    let (stop_strings, stop_count) = (std::ptr::null(), 0);
    let view = GenerationView {
        max_tokens,
        stop_strings,
        stop_count,
        temperature,
        top_k,
        top_p,
        min_p,
        repetition_penalty,
        seed,
    };
    // SAFETY: by the caller's promise. Null is nobody who could be told.
    let _ = unsafe { write_out(out, view) };
}

/// Begins a conversation with a language model.
///
/// # Safety
/// `session` is null or a handle of this library; `out` and `message` are null or can be written.
#[no_mangle]
pub unsafe extern "C" fn charsiug2p_conversation(
    session: *const SessionHandle,
    out: *mut *mut ConversationHandle,
    message: *mut *mut c_char,
) -> i32 {
    answer(message, || {
        // SAFETY: by the caller's promise.
        let session = unsafe { borrow(session, "session") }?;
        let conversation = session.0.conversation()?;
        // SAFETY: by the caller's promise.
        unsafe { give(out, ConversationHandle(conversation)) }
    })
}

/// Answers a prompt, and calls `on_piece` with each piece on the caller's thread, unless it is null. `options`,
/// `conversation`, `cancellation` and `out` may be null.
///
/// # Safety
/// Handles are null or of this library; `prompt` is null or as many parts as `count`, whose pointers are null or lead to
/// values of their types, and so are those of `options`; `on_piece` is null or can be called with `user`, and does not throw;
/// `out` and `message` are null or can be written.
#[no_mangle]
pub unsafe extern "C" fn charsiug2p_generate(
    session: *const SessionHandle,
    prompt: *const PromptView,
    count: usize,
    options: *const GenerationView,
    conversation: *const ConversationHandle,
    cancellation: *const CancellationHandle,
    on_piece: OnPiece,
    user: *mut c_void,
    out: *mut *mut GenerationHandle,
    message: *mut *mut c_char,
) -> i32 {
    answer(message, || {
        // SAFETY: by the caller's promise.
        let (session, parts) =
            unsafe { (borrow(session, "session")?, array_of(prompt, count, "prompt")?) };
        // SAFETY: by the caller's promise.
        let prompt = parts.iter().map(|one| unsafe { part(one) }).collect::<Result<_, _>>()?;
        // SAFETY: by the caller's promise.
        let options = unsafe { options.as_ref().map(|one| self::options(one)).transpose()? };
        // SAFETY: by the caller's promise.
        let (conversation, cancellation) =
            unsafe { (conversation.as_ref().map(|one| one.0.clone()), optional(cancellation)) };
        let options = options.unwrap_or_default();
        let generation = if let Some(on_piece) = on_piece {
            let stream = session.0.stream_text(prompt, options, conversation, cancellation)?;
            for piece in stream.pieces() {
                let piece = piece?;
                let (text, tokens) = (owned_text(&piece.text), piece.tokens);
                // SAFETY: by the caller's promise; both outlive the call.
                let heard = unsafe { on_piece(user, text.as_ptr(), tokens.as_ptr(), tokens.len()) };
                if heard != 0 {
                    return Err(MobileError::Cancelled);
                }
            }
            stream.generation().ok_or(MobileError::Cancelled)?
        } else {
            session.0.generate(prompt, options, conversation, cancellation)?
        };
        if out.is_null() {
            return Ok(());
        }
        let text = owned_text(&generation.text);
        let stop_string = generation.stop_string.as_deref().map(owned_text);
        // SAFETY: by the caller's promise.
        unsafe { give(out, GenerationHandle { text, stop_string, generation }) }
    })
}

/// Writes a view of an answer, which holds until the answer is freed.
///
/// # Safety
/// `generation` is null or a handle of this library; `out` and `message` are null or can be written.
#[no_mangle]
pub unsafe extern "C" fn charsiug2p_generation_get(
    generation: *const GenerationHandle,
    out: *mut AnswerView,
    message: *mut *mut c_char,
) -> i32 {
    answer(message, || {
        // SAFETY: by the caller's promise.
        let handle = unsafe { borrow(generation, "generation") }?;
        let found = &handle.generation;
        let ended = match found.ended {
            GenerationEnd::Length => End::Length,
            GenerationEnd::StopToken => End::StopToken,
            GenerationEnd::StopString => End::StopString,
            GenerationEnd::ContextFull => End::ContextFull,
        };
        let view = AnswerView {
            text: handle.text.as_ptr(),
            tokens: found.tokens.as_ptr(),
            count: found.tokens.len(),
            ended: ended as i32,
            stop_string: handle.stop_string.as_ref().map_or(std::ptr::null(), |one| one.as_ptr()),
            prompt_tokens: found.prompt_tokens,
            read_tokens: found.read_tokens,
            first_token_nanoseconds: found.first_token_nanoseconds,
            nanoseconds: found.nanoseconds,
        };
        // SAFETY: by the caller's promise.
        unsafe { write_out(out, view) }
    })
}

/// # Safety
/// The part's pointers are null or lead to values of their types.
unsafe fn part(view: &PromptView) -> Result<PromptPart, MobileError> {
    if view.text.is_null() {
        // SAFETY: by the caller's promise.
        let tokens = unsafe { array_of(view.tokens, view.count, "a prompt's tokens") }?.to_vec();
        return Ok(PromptPart::Tokens { tokens });
    }
    // SAFETY: not null, and by the caller's promise.
    let given = unsafe { text(view.text, "a prompt's text") }?.to_owned();
    if view.special == 0 {
        Ok(PromptPart::Text { text: given })
    } else {
        Ok(PromptPart::Special { name: given })
    }
}

/// # Safety
/// The stop strings are null or as many texts as their count, each null or ending in a NUL.
unsafe fn options(view: &GenerationView) -> Result<GenerationOptions, MobileError> {
    // SAFETY: by the caller's promise.
    let stop_strings =
        unsafe { convert::texts(view.stop_strings, view.stop_count, "stop_strings") }?;
    Ok(GenerationOptions {
        max_tokens: view.max_tokens,
        stop_strings,
        temperature: view.temperature,
        top_k: view.top_k,
        top_p: view.top_p,
        min_p: view.min_p,
        repetition_penalty: view.repetition_penalty,
        seed: view.seed,
    })
}
