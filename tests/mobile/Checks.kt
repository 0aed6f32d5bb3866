// Good and bad calls of the real library with three models: g2p, scaled_model.py's and a small language model. A failed check ends the program.
import charsiug2p.Cancellation
import charsiug2p.Conversation
import charsiug2p.DataType
import charsiug2p.Extent
import charsiug2p.Failure
import charsiug2p.Generation
import charsiug2p.GenerationEnd
import charsiug2p.GenerationOptions
import charsiug2p.ModelKind
import charsiug2p.ModelLibrary
import charsiug2p.MobileException
import charsiug2p.NamedTensor
import charsiug2p.PhonemeListener
import charsiug2p.Phonemes
import charsiug2p.Piece
import charsiug2p.PromptPart
import charsiug2p.Session
import charsiug2p.SessionOptions
import charsiug2p.TextListener
import java.io.File
import java.nio.ByteBuffer
import java.nio.ByteOrder
import java.util.concurrent.CountDownLatch
import java.util.concurrent.LinkedBlockingQueue
import java.util.concurrent.TimeUnit
import kotlin.concurrent.thread

val WORDS = listOf("Char", "siu", "internationalization")

inline fun <reified E : MobileException> refused(text: String, call: () -> Unit) {
    try {
        call()
    } catch (error: MobileException) {
        check(error is E) { "$error instead of ${E::class.simpleName}" }
        check(text in error.message!!) { error.message!! }
        return
    }
    error("no ${E::class.simpleName}")
}

fun bytes(vararg values: Float): ByteArray {
    val buffer = ByteBuffer.allocate(4 * values.size).order(ByteOrder.nativeOrder())
    values.forEach { buffer.putFloat(it) }
    return buffer.array()
}

fun floats(tensor: NamedTensor): List<Float> {
    check(tensor.dataType == DataType.FLOAT32)
    val buffer = ByteBuffer.wrap(tensor.data).order(ByteOrder.nativeOrder()).asFloatBuffer()
    return List(buffer.remaining()) { buffer.get(it) }
}

val X = NamedTensor("x", DataType.FLOAT32, listOf(2UL, 3UL), bytes(1f, 2f, 3f, 4f, 5f, 6f))
val FACTOR = NamedTensor("factor", DataType.FLOAT32, listOf(2UL, 1UL), bytes(2f, 0.5f))

fun goodTensors(session: Session) {
    val (scaled, sums) = session.runInference(listOf(FACTOR, X))
    check(scaled.name == "scaled" && scaled.shape == listOf(2UL, 3UL))
    check(floats(scaled) == listOf(2f, 4f, 6f, 2f, 2.5f, 3f))
    check(floats(sums) == listOf(12f, 7.5f))
}

fun badTensors(session: Session) {
    fun run(vararg inputs: NamedTensor) { session.runInference(inputs.toList()) }
    refused<MobileException.WrongInputs>("the model takes") { run(X) }
    refused<MobileException.WrongInputs>("\"y\"") { run(X.copy(name = "y"), FACTOR) }
    refused<MobileException.WrongInputs>("\"x\", \"x\"") { run(X, X) }
    refused<MobileException.WrongType>("int32") { run(X.copy(dataType = DataType.INT32), FACTOR) }
    refused<MobileException.WrongShape>("[rows, 3]") { run(X.copy(shape = listOf(2UL, 4UL)), FACTOR) }
    refused<MobileException.WrongShape>("[rows, 3]") { run(X.copy(shape = listOf(ULong.MAX_VALUE, 3UL)), FACTOR) }
    refused<MobileException.WrongSize>("its shape needs 36") { run(X.copy(shape = listOf(3UL, 3UL)), FACTOR) }
    refused<MobileException.WrongSize>("23 bytes") { run(X.copy(data = X.data.copyOf(23)), FACTOR) }
    refused<MobileException.WrongKind>("takes tensors") { session.phonemize("eng-us", WORDS) }
}

class Heard(val limit: Int = 9) : PhonemeListener {
    val words = LinkedBlockingQueue<Phonemes>()
    val ended = CountDownLatch(1)
    var failure: Failure? = null

    override fun onWord(word: Phonemes) {
        check(words.size < limit) { "the app's own defect" }
        words.put(word)
    }

    override fun onEnd(failure: Failure?) {
        this.failure = failure
        ended.countDown()
    }

    fun wait(): Heard {
        check(ended.await(30, TimeUnit.SECONDS)) { "the listener heard no end" }
        return this
    }
}

fun words(session: Session) {
    val expected = session.phonemize("eng-us", WORDS).map { it.phonemes }
    expected.forEach(::println)
    refused<MobileException.BadWord>("xxx") { session.phonemize("xxx", WORDS) }
    refused<MobileException.BadWord>("a tab") { session.phonemize("eng-us", listOf("a\tb")) }
    refused<MobileException.WrongKind>("takes words") { session.runInference(listOf(X, FACTOR)) }
    val stream = session.stream("eng-us", WORDS)
    check(generateSequence { stream.next() }.map { it.phonemes }.toList() == expected)
    stream.close()

    val heard = Heard()
    session.listen("eng-us", WORDS, heard)
    check(heard.wait().failure == null && heard.words.map { it.phonemes } == expected)
    val broken = Heard(limit = 1)
    session.listen("eng-us", WORDS, broken)
    check(broken.wait().failure!!.code == 21 && broken.words.size == 1) { "${broken.failure}" }

    // A call that waits behind a stream that nobody reads is cancelled from another thread.
    val many = List(64) { WORDS[it % 3] }
    val held = session.stream("eng-us", many)
    val cancellation = Cancellation()
    thread { cancellation.cancel() }
    refused<MobileException.Cancelled>("cancelled") { session.phonemize("eng-us", WORDS, cancellation) }
    check(cancellation.isCancelled())
    held.close()
    check(session.phonemize("eng-us", WORDS).map { it.phonemes } == expected)
}

fun full(library: ModelLibrary) {
    library.load("g2p", SessionOptions(queueCapacity = 1U)).use { session ->
        val held = session.stream("eng-us", List(64) { WORDS[it % 3] })
        held.next() // it runs now, and nothing else does
        session.listen("eng-us", WORDS, Heard())
        refused<MobileException.QueueFull>("1 calls wait") { session.phonemize("eng-us", WORDS) }
        session.shutDown()
        refused<MobileException.Closed>("closed") { while (held.next() != null) Unit }
    }
}

class TextHeard : TextListener {
    val tokens = LinkedBlockingQueue<Int>()
    val ended = CountDownLatch(1)
    var generation: Generation? = null
    var failure: Failure? = null

    override fun onPiece(piece: Piece) = piece.tokens.forEach(tokens::put)

    override fun onEnd(generation: Generation?, failure: Failure?) {
        this.generation = generation
        this.failure = failure
        ended.countDown()
    }
}

// In one go, piece by piece, by a listener, and in a conversation.
fun generate(library: ModelLibrary, prompt: List<Int>) {
    val session = library.load("tiny_llama", SessionOptions())
    check(session.model().kind == ModelKind.TEXT && session.model().contextTokens == 192UL)
    val part = { tokens: List<Int> -> listOf(PromptPart.Tokens(tokens)) }
    val options = GenerationOptions(maxTokens = 32U)
    val answer = session.generate(part(prompt), options)
    println(answer.tokens.joinToString(" "))
    check(answer.ended == GenerationEnd.LENGTH && answer.text == "" && answer.promptTokens == prompt.size.toULong())
    session.streamText(part(prompt), options).use { stream ->
        check(generateSequence { stream.next() }.flatMap { it.tokens }.toList() == answer.tokens)
        check(stream.generation()!!.tokens == answer.tokens)
    }
    val heard = TextHeard()
    session.listenToText(part(prompt), options, heard)
    check(heard.ended.await(30, TimeUnit.SECONDS) && heard.failure == null)
    check(heard.tokens.toList() == answer.tokens && heard.generation!!.tokens == answer.tokens)

    val talk: Conversation = session.conversation()
    val first = session.generate(part(prompt), GenerationOptions(maxTokens = 3U), talk).tokens
    val second = session.generate(part(listOf(7)), GenerationOptions(maxTokens = 5U), talk)
    check(second.readTokens == 2UL && talk.tokens() == prompt + first + 7 + second.tokens)
    check(session.generate(part(prompt + first + 7), GenerationOptions(maxTokens = 5U)).tokens == second.tokens)

    refused<MobileException.BadPrompt>("the prompt is empty") { session.generate(emptyList(), options) }
    refused<MobileException.BadPrompt>("no tokenizer") { session.generate(listOf(PromptPart.Text("Char")), options) }
    refused<MobileException.BadOption>("min_p is 3") { session.generate(part(prompt), options.copy(minP = 3.0)) }
    refused<MobileException.ContextFull>("the context of 192") { session.generate(part(List(192) { 1 }), options) }
    library.load("tiny_llama", SessionOptions()).use { other ->
        refused<MobileException.OtherConversation>("another session") { other.generate(part(prompt), options, talk) }
    }
    val cancellation = Cancellation()
    session.streamText(part(prompt), GenerationOptions(), cancellation = cancellation).use { stream ->
        stream.next()
        cancellation.cancel()
        refused<MobileException.Cancelled>("cancelled") { while (stream.next() != null) Unit }
    }
    talk.close()
    session.shutDown()
    refused<MobileException.Closed>("closed") { session.generate(part(prompt), options) }
    session.close()
}

fun main(arguments: Array<String>) {
    if (arguments.firstOrNull() == "generate") {
        ModelLibrary.open().use { generate(it, arguments.drop(1).map(String::toInt)) }
        return
    }
    if (arguments.size == 2) {
        val (orders, out) = arguments
        ModelLibrary.open().use { library ->
            refused<MobileException.NotTested>("no orders") { library.selfTest("", out) }
            val tested = library.selfTest(File(orders).readText(), out)
            println("${tested.orders} ${tested.samples} ${tested.failures}")
        }
        return
    }
    if (arguments.isNotEmpty()) {
        ModelLibrary.open().use { library ->
            refused<MobileException.CorruptModel>("\"scaled\" is damaged") { library.load("scaled", SessionOptions()) }
            library.load("g2p", SessionOptions()).use { it.warmUp() }
        }
        return
    }
    refused<MobileException.BadMetadata>("metadata") { ModelLibrary.openWithMetadata("{") }
    val other = """{"kind": "tensors", "archive_sha256": "0", "target": "llvm", "tvm_version": "1",
        "models": [{"name": "m", "prefix": "m_", "inputs": [], "outputs": []}]}"""
    refused<MobileException.OtherBuild>("of another build") { ModelLibrary.openWithMetadata(other) }
    val library = ModelLibrary.open()
    check(library.models().map { it.name } == listOf("g2p", "tiny_llama", "scaled"))
    check(library.models()[2].inputs[0].shape == listOf(Extent.Named("rows"), Extent.Fixed(3UL)))
    check(library.versions().archiveSha256.length == 64)
    refused<MobileException.UnknownModel>("g2p, tiny_llama, scaled") { library.load("sclaed", SessionOptions()) }
    refused<MobileException.BadOption>("queue_capacity is 0") { library.load("g2p", SessionOptions(0U)) }

    val g2p = library.load("g2p", SessionOptions())
    val scaled = library.load("scaled", SessionOptions())
    val second = library.load("scaled", SessionOptions())
    val threads = listOf(scaled, scaled, second).map { thread { repeat(100) { _ -> goodTensors(it) } } }
    words(g2p)
    threads.forEach { it.join() }
    badTensors(scaled)
    full(library)
    library.releaseMemory()
    goodTensors(scaled)
    g2p.warmUp()
    scaled.shutDown()
    scaled.shutDown()
    check(scaled.isClosed())
    refused<MobileException.Closed>("\"scaled\" is closed") { scaled.runInference(listOf(X, FACTOR)) }
    refused<MobileException.Closed>("closed") { scaled.warmUp() }
    goodTensors(second)
    listOf(g2p, scaled, second).forEach { it.close() }
    library.close()
    // What was given back is no longer an object of the library's.
    check(runCatching { second.warmUp() }.exceptionOrNull() is IllegalStateException)
}
