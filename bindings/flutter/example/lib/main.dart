// Choose a model, enter words, see phonemes and how long they took. For a detector: the path of a picture, or none for one
// that is drawn here, and what the model finds in it.
import 'dart:io';
import 'dart:typed_data';
import 'dart:ui' as ui;

import 'package:charsiug2p/charsiug2p.dart';
import 'package:flutter/material.dart';

Future<void> main() async {
  WidgetsFlutterBinding.ensureInitialized();
  await initialize();
  runApp(ExampleApp(library: ModelLibrary.open()));
}

class ExampleApp extends StatelessWidget {
  const ExampleApp({super.key, required this.library});

  final ModelLibrary library;

  @override
  Widget build(BuildContext context) {
    return MaterialApp(
      title: 'On-device models',
      home: ModelPage(library: library),
    );
  }
}

class ModelPage extends StatefulWidget {
  const ModelPage({super.key, required this.library});

  final ModelLibrary library;

  @override
  State<ModelPage> createState() => _ModelPageState();
}

class _ModelPageState extends State<ModelPage> {
  final _words = TextEditingController(text: 'Char siu');
  final _language = TextEditingController(text: 'eng-us');
  final _path = TextEditingController();
  final _prompt = TextEditingController(text: 'The three largest cities of the country are');
  late final List<ModelInfo> _models = widget.library.models();
  late ModelInfo _model = _models.first;
  final Map<String, Session> _sessions = {};
  List<String> _lines = const [];
  bool _busy = false;

  Future<Session> _session() async {
    final name = _model.name;
    return _sessions[name] ??= await widget.library.load(model: name, queueCapacity: 16);
  }

  Future<void> _show(Future<List<String>> Function(Session session) work) async {
    setState(() => _busy = true);
    List<String> lines;
    try {
      lines = await work(await _session());
    } on ModelException catch (error) {
      lines = ['${error.kind.name}: ${error.message}'];
    }
    if (!mounted) return;
    setState(() {
      _lines = lines;
      _busy = false;
    });
  }

  Future<List<String>> _phonemes(Session session) async {
    final words = _words.text.split(RegExp(r'\s+')).where((word) => word.isNotEmpty).toList();
    final found = await session.phonemize(
      language: _language.text,
      words: words,
      cancellation: Cancellation.create(),
    );
    return [for (final one in found) '${one.word}  ${one.phonemes}  ${_milliseconds(one.nanoseconds)}'];
  }

  Future<List<String>> _answer(Session session) async {
    final prompt = session.model().hasTokenizer
        ? PromptPart(text: _prompt.text)
        : PromptPart(tokens: Int32List.fromList([1, 2, 3]));
    const options = GenerationOptions(
      maxTokens: 64,
      stopStrings: [],
      temperature: 0,
      topK: 0,
      topP: 1,
      minP: 0,
      repetitionPenalty: 1,
      seed: 0,
    );
    var answer = '';
    final pieces = session.streamText(prompt: [prompt], options: options, cancellation: Cancellation.create());
    await for (final piece in pieces) {
      answer += piece.text.isEmpty ? ' ${piece.tokens.join(' ')}' : piece.text;
      if (mounted) setState(() => _lines = [answer]);
    }
    return [answer];
  }

  Future<List<String>> _detect(Session session) async {
    final input = session.model().inputs.single;
    final [_, channels, height, width] = [for (final extent in input.shape) extent.size ?? 1];
    final picture = await _pixels(await _picture(_path.text, width, height), width, height);
    final image = NamedTensor(
      name: input.name,
      dataType: DataType.float32,
      shape: Int32List.fromList([1, channels, height, width]),
      data: picture.buffer.asUint8List(),
    );
    final watch = Stopwatch()..start();
    final outputs = await session.runInference(inputs: [image], cancellation: Cancellation.create());
    watch.stop();
    final scores = outputs.firstWhere((one) => one.name == 'scores');
    final boxes = outputs.firstWhere((one) => one.name == 'boxes');
    return [_milliseconds(watch.elapsedMicroseconds * 1000), ..._best(boxes, scores)];
  }

  @override
  void dispose() {
    for (final session in _sessions.values) {
      session.close();
    }
    _words.dispose();
    _language.dispose();
    _path.dispose();
    _prompt.dispose();
    super.dispose();
  }

  @override
  Widget build(BuildContext context) {
    final kind = _model.kind;
    final words = kind == ModelKind.words;
    final (label, work) = switch (kind) {
      ModelKind.words => ('Phonemes', _phonemes),
      ModelKind.text => ('Answer', _answer),
      ModelKind.tensors => ('Detect', _detect),
    };
    return Scaffold(
      appBar: AppBar(title: const Text('On-device models')),
      body: ListView(
        padding: const EdgeInsets.all(16),
        children: [
          DropdownButton<ModelInfo>(
            value: _model,
            items: [for (final one in _models) DropdownMenuItem(value: one, child: Text(one.name))],
            onChanged: (chosen) => setState(() {
              _model = chosen ?? _model;
              _lines = const [];
            }),
          ),
          if (words) TextField(controller: _language, decoration: const InputDecoration(labelText: 'Language')),
          if (words) TextField(controller: _words, decoration: const InputDecoration(labelText: 'Words')),
          if (kind == ModelKind.text)
            TextField(controller: _prompt, decoration: const InputDecoration(labelText: 'Prompt')),
          if (kind == ModelKind.tensors)
            TextField(controller: _path, decoration: const InputDecoration(labelText: 'Path of a picture')),
          const SizedBox(height: 16),
          FilledButton(
            onPressed: _busy ? null : () => _show(work),
            child: Text(label),
          ),
          for (final line in _lines) Padding(padding: const EdgeInsets.only(top: 8), child: Text(line)),
        ],
      ),
    );
  }
}

String _milliseconds(int nanoseconds) => '${(nanoseconds / 1e6).toStringAsFixed(1)} ms';

/// The picture of a file in the model's size, or without a path two rectangles on grey.
Future<ui.Image> _picture(String path, int width, int height) async {
  if (path.isNotEmpty) {
    final bytes = await File(path).readAsBytes();
    final codec = await ui.instantiateImageCodec(bytes, targetWidth: width, targetHeight: height);
    return (await codec.getNextFrame()).image;
  }
  final recorder = ui.PictureRecorder();
  final canvas = ui.Canvas(recorder);
  canvas.drawColor(const ui.Color(0xff808080), ui.BlendMode.src);
  canvas.drawRect(const ui.Rect.fromLTWH(40, 60, 90, 120), ui.Paint()..color = const ui.Color(0xffd03020));
  canvas.drawRect(const ui.Rect.fromLTWH(180, 100, 100, 80), ui.Paint()..color = const ui.Color(0xff2040c0));
  return recorder.endRecording().toImage(width, height);
}

/// The picture's pixels from 0 to 1, a plane for each of red, green and blue.
Future<Float32List> _pixels(ui.Image image, int width, int height) async {
  final colours = (await image.toByteData(format: ui.ImageByteFormat.rawRgba))!.buffer.asUint8List();
  final planes = Float32List(3 * width * height);
  for (var at = 0; at < width * height; at++) {
    for (var plane = 0; plane < 3; plane++) {
      planes[plane * width * height + at] = colours[4 * at + plane] / 255;
    }
  }
  return planes;
}

/// The three best places: the class, its score, and the box.
List<String> _best(NamedTensor boxes, NamedTensor scores) {
  final score = scores.data.buffer.asFloat32List(scores.data.offsetInBytes, scores.data.lengthInBytes ~/ 4);
  final corner = boxes.data.buffer.asFloat32List(boxes.data.offsetInBytes, boxes.data.lengthInBytes ~/ 4);
  final classes = scores.shape.last;
  final places = [for (var at = 0; at < score.length; at++) at]..sort((a, b) => score[b].compareTo(score[a]));
  return [
    for (final at in places.take(3))
      'class ${at % classes}  ${score[at].toStringAsFixed(2)}  '
          '${corner.sublist(at ~/ classes * 4, at ~/ classes * 4 + 4).map((one) => one.round()).join(', ')}',
  ];
}
