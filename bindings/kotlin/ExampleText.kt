// The answer of a language model that has a tokenizer: MODEL PROMPT
//
// docs/apps.md of the project describes how it is built. On Android call these from a thread that is not the UI's.
import charsiug2p.GenerationOptions
import charsiug2p.MobileException
import charsiug2p.ModelLibrary
import charsiug2p.PromptPart
import charsiug2p.SessionOptions
import kotlin.system.exitProcess

fun main(arguments: Array<String>) {
    if (arguments.size != 2) {
        System.err.println("MODEL PROMPT")
        exitProcess(2)
    }
    try {
        ModelLibrary.open().use { library ->
            library.load(arguments[0], SessionOptions()).use { session ->
                val prompt = listOf(PromptPart.Text(arguments[1]))
                session.streamText(prompt, GenerationOptions(maxTokens = 64U)).use { stream ->
                    generateSequence { stream.next() }.forEach { print(it.text) }
                    println()
                }
            }
        }
    } catch (error: MobileException) {
        System.err.println("${error::class.simpleName}: ${error.message}")
        exitProcess(1)
    }
}
