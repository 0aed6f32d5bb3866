/// On-device models, called through the library that `harness package flutter` builds.
library;

import 'dart:io';

import 'package:flutter_rust_bridge/flutter_rust_bridge_for_generated.dart';

import 'src/rust/frb_generated.dart';

export 'src/rust/api.dart';

/// Loads the library. Call it once, before anything else.
///
/// On iOS the library is a part of the app itself. On other systems it is found by its name, or under [path].
Future<void> initialize({String? path}) async {
  final ExternalLibrary library;
  if (path != null) {
    library = ExternalLibrary.open(path);
  } else if (Platform.isIOS) {
    library = ExternalLibrary.process(iKnowHowToUseIt: true);
  } else {
    library = ExternalLibrary.open('libcharsiug2p_flutter.so');
  }
  await Charsiug2p.init(externalLibrary: library);
}
