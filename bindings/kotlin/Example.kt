// Phonemes of words: LANGUAGE WORD...
//
// docs/apps.md of the project describes how it is built. On Android call these from a thread that is not the UI's.
import charsiug2p.ModelLibrary
import charsiug2p.MobileException
import charsiug2p.SessionOptions
import kotlin.system.exitProcess

fun main(arguments: Array<String>) {
    if (arguments.size < 2) {
        System.err.println("LANGUAGE WORD...")
        exitProcess(2)
    }
    try {
        // Each is freed at the end of its block.
        ModelLibrary.open().use { library ->
            library.load("g2p", SessionOptions()).use { session ->
                session.stream(arguments[0], arguments.drop(1)).use { stream ->
                    generateSequence { stream.next() }.forEach { println("${it.word}\t${it.phonemes}") }
                }
            }
        }
    } catch (error: MobileException) {
        System.err.println("${error::class.simpleName}: ${error.message}")
        exitProcess(1)
    }
}
