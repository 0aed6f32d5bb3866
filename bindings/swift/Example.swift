// Phonemes of words, and the answer of a language model. docs/apps.md of the project describes how the package is added to an
// app.
//
// Call it from a thread that is not the main one: each call blocks until it is answered.
import Charsiug2p

func phonemes(of words: [String], language: String) throws -> [String] {
  let library = try ModelLibrary.open()
  let session = try library.load(model: "g2p", options: SessionOptions())
  defer { session.shutDown() }
  do {
    return try session.phonemize(language: language, words: words).map { $0.phonemes }
  } catch MobileError.BadWord(let message) {
    print("a word that the model does not take: \(message)")
    return []
  }
}

/// Gives the answer of a language model that has a tokenizer, piece by piece.
func answer(to prompt: String, model: String, onText: (String) -> Void) throws {
  let library = try ModelLibrary.open()
  let session = try library.load(model: model, options: SessionOptions())
  defer { session.shutDown() }
  let options = GenerationOptions(maxTokens: 64)
  let stream = try session.streamText(prompt: [.text(text: prompt)], options: options)
  while let piece = try stream.next() {
    onText(piece.text)
  }
}
