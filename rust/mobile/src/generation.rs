//! A session's calls of a language model.

use std::sync::Arc;

use crossbeam_channel::{bounded, Sender};

use crate::cancel::Cancellation;
use crate::error::MobileError;
use crate::guard::caught;
use crate::metadata::ModelKind;
use crate::model::wrong_kind;
use crate::session::{listened, Session, STREAM_BUFFER};
use crate::stream::{Ends, Failure};
use crate::text::{
    Conversation, Generation, GenerationOptions, Piece, PromptPart, TextListener, TextStream,
};
use crate::text_model::{Consumer, Request};
use crate::worker::After;

impl Session {
    /// A call that is checked as far as it can be before the model is asked.
    fn request(
        &self,
        prompt: Vec<PromptPart>,
        options: GenerationOptions,
        conversation: Option<Arc<Conversation>>,
    ) -> Result<Request, MobileError> {
        self.check_text()?;
        options.check()?;
        if let Some(conversation) = &conversation {
            conversation.check(&self.entry.info.name, self.number)?;
        }
        Ok(Request { prompt, options, conversation })
    }

    fn check_text(&self) -> Result<(), MobileError> {
        self.check_open()?;
        let info = &self.entry.info;
        if info.kind == ModelKind::Text {
            return Ok(());
        }
        Err(wrong_kind(&info.name, info.kind))
    }
}

#[uniffi::export]
impl Session {
    /// A new conversation with a language model, without a token. It ends when nobody has it any more.
    ///
    /// Each has a cache of its own, as large as the model's context asks for, from its first call on.
    ///
    /// # Errors
    /// [`MobileError::WrongKind`], [`MobileError::Closed`].
    pub fn conversation(&self) -> Result<Arc<Conversation>, MobileError> {
        self.check_text()?;
        Ok(Conversation::new(&self.entry.info.name, self.number, self.worker.waker()))
    }

    /// The answer of a language model to a prompt, which follows the texts of the conversation, if there is one.
    ///
    /// # Errors
    /// [`MobileError`]; [`MobileError::ContextFull`] if nothing can follow the prompt.
    #[uniffi::method(default(conversation = None, cancellation = None))]
    pub fn generate(
        &self,
        prompt: Vec<PromptPart>,
        options: GenerationOptions,
        conversation: Option<Arc<Conversation>>,
        cancellation: Option<Arc<Cancellation>>,
    ) -> Result<Generation, MobileError> {
        let request = self.request(prompt, options, conversation)?;
        let cancellation = self.or_never(cancellation);
        let mut nobody = Nobody(self.ends(&cancellation));
        let call = self
            .worker
            .call(&cancellation, move |model| model.text()?.answer(&request, &mut nobody))?;
        call.wait()
    }

    /// The same, piece by piece. The model waits for a consumer that is slow.
    ///
    /// A stream takes the session until the answer is complete or it is dropped.
    ///
    /// # Errors
    /// [`MobileError`]: what can be found before the model is asked. The rest is an error of the stream.
    #[uniffi::method(default(conversation = None, cancellation = None))]
    pub fn stream_text(
        &self,
        prompt: Vec<PromptPart>,
        options: GenerationOptions,
        conversation: Option<Arc<Conversation>>,
        cancellation: Option<Arc<Cancellation>>,
    ) -> Result<Arc<TextStream>, MobileError> {
        let request = self.request(prompt, options, conversation)?;
        let cancellation = self.or_never(cancellation);
        let (pieces, received) = bounded(STREAM_BUFFER);
        let mut taker = Taker { pieces, ends: self.ends(&cancellation) };
        let pending = self
            .worker
            .call(&cancellation, move |model| model.text()?.answer(&request, &mut taker))?;
        Ok(TextStream::new(received, cancellation, pending))
    }

    /// The same, given to a listener on the model's thread. Returns at once, so a UI thread may call it.
    ///
    /// A listener that is slow keeps the model waiting.
    ///
    /// # Errors
    /// [`MobileError`]: what can be found before the call is queued. The rest is given to the listener.
    #[uniffi::method(default(conversation = None, cancellation = None))]
    pub fn listen_to_text(
        &self,
        prompt: Vec<PromptPart>,
        options: GenerationOptions,
        listener: Arc<dyn TextListener>,
        conversation: Option<Arc<Conversation>>,
        cancellation: Option<Arc<Cancellation>>,
    ) -> Result<(), MobileError> {
        let request = self.request(prompt, options, conversation)?;
        let cancellation = self.or_never(cancellation);
        let mut hearer = Hearer { listener: listener.clone(), ends: self.ends(&cancellation) };
        self.worker.post(&cancellation, move |model| {
            let ended =
                model.and_then(|model| caught(|| model.text()?.answer(&request, &mut hearer)));
            let after = After::of(&ended);
            let (generation, failure) = match ended {
                Ok(generation) => (Some(generation), None),
                Err(error) => (None, Some(Failure::from(error))),
            };
            // Of a listener that fails at its end nobody is left to hear.
            let _ = listened(|| listener.on_end(generation, failure));
            after
        })
    }
}

/// Wants the whole answer.
struct Nobody(Ends);

impl Consumer for Nobody {
    fn check(&self) -> Result<(), MobileError> {
        self.0.check()
    }

    fn take(&mut self, _piece: Piece) -> Result<(), MobileError> {
        Ok(())
    }
}

/// Puts pieces where a stream takes them.
struct Taker {
    pieces: Sender<Piece>,
    ends: Ends,
}

impl Consumer for Taker {
    fn check(&self) -> Result<(), MobileError> {
        self.ends.check()
    }

    fn take(&mut self, piece: Piece) -> Result<(), MobileError> {
        if self.ends.send(&self.pieces, piece)? {
            Ok(())
        } else {
            // The consumer dropped the stream, which is as good as a cancellation.
            Err(MobileError::Cancelled)
        }
    }
}

/// Gives pieces to an app's listener.
struct Hearer {
    listener: Arc<dyn TextListener>,
    ends: Ends,
}

impl Consumer for Hearer {
    fn check(&self) -> Result<(), MobileError> {
        self.ends.check()
    }

    fn take(&mut self, piece: Piece) -> Result<(), MobileError> {
        listened(|| self.listener.on_piece(piece))
    }
}
