//! Language workloads: token ids in, and the tokens that follow, greedily. Nothing here knows a tokenizer.

mod generator;
mod item;

use std::collections::BTreeMap;

use charsiug2p_g2p_tvm::TvmError;
use charsiug2p_language::{BadStep, CacheDtype, Decoder, Sizes, PREFILL, STEP};
use charsiug2p_workload::{
    nanoseconds, Failure, FailureKind, Measured, Order, Output, Planned, ProbeOptions, Probed,
    Sampler, SamplingOptions, Workload,
};
use serde::Deserialize;

use crate::tensors::SentTensors;
use generator::{Generator, Times};
use item::Item;

/// A language workload as an order has it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LanguageOrder {
    name: String,
    /// The functions `prefill` and `step` to their prefixes.
    functions: BTreeMap<String, String>,
    vocab_size: usize,
    /// The positions of the cache.
    capacity: usize,
    /// The most rows of a prefill.
    block: usize,
    /// How many tokens follow each prompt at most.
    new_tokens: usize,
    /// Tokens that end a generation.
    #[serde(default)]
    stop_tokens: Vec<i32>,
    /// Draws tokens by chance. None: the best one each time.
    #[serde(default)]
    sampling: Option<SamplingOptions>,
    /// Layers, keys and values, elements.
    cache_shape: Vec<usize>,
    #[serde(default)]
    cache_dtype: CacheDtype,
}

impl LanguageOrder {
    fn check(&self) -> Result<(), String> {
        let names: Vec<&str> = self.functions.keys().map(String::as_str).collect();
        if names != [PREFILL, STEP] || self.functions.values().any(String::is_empty) {
            return Err(format!("it needs the functions {PREFILL:?} and {STEP:?} with prefixes"));
        }
        self.sizes().check()?;
        if self.new_tokens == 0 || self.new_tokens > self.capacity {
            let (size, limit) = (self.new_tokens, self.capacity);
            return Err(format!("new_tokens is {size}, it must be from 1 to {limit}"));
        }
        if let Some(token) = self.stop_tokens.iter().find(|&&token| !self.knows(token)) {
            let most = self.vocab_size;
            return Err(format!("the stop token {token} is outside the vocabulary of {most}"));
        }
        Ok(())
    }

    fn sizes(&self) -> Sizes {
        Sizes {
            vocab_size: self.vocab_size,
            capacity: self.capacity,
            block: self.block,
            cache_shape: self.cache_shape.clone(),
            cache_dtype: self.cache_dtype,
        }
    }

    /// Whether a token is in the vocabulary.
    fn knows(&self, token: i32) -> bool {
        usize::try_from(token).is_ok_and(|token| token < self.vocab_size)
    }
}

impl Order for LanguageOrder {
    type Input = SentTensors;

    fn name(&self) -> &str {
        &self.name
    }

    fn plan(self, items: Vec<(String, SentTensors)>) -> Result<Planned, Failure> {
        self.check().map_err(Failure::usage)?;
        let sampler = self.sampling.map(|options| Sampler::new(options, self.vocab_size));
        let sampler = sampler.transpose().map_err(Failure::usage)?;
        let mut prompts = Vec::with_capacity(items.len());
        for (id, sent) in items {
            let item = Item::read(&self, &sent).map_err(|why| Failure::bad_item(&id, &why))?;
            prompts.push(Prompt { ids: [id], item });
        }
        Ok(Planned {
            calls: prompts.len(),
            // Its functions' instruments begin with what the functions have in common.
            prefix: self
                .functions
                .get(STEP)
                .and_then(|one| one.strip_suffix("step_"))
                .map(Into::into),
            load: Box::new(move |on_load| {
                let failed = |error: TvmError| Failure::model(error.to_string());
                let decoder =
                    Decoder::load(&self.functions, self.sizes(), on_load).map_err(failed)?;
                let generator = Generator::new(decoder, &self, sampler).map_err(failed)?;
                Ok(Box::new(Language { generator, prompts }))
            }),
        })
    }
}

/// An item.
struct Prompt {
    /// One id, as a record lists it.
    ids: [String; 1],
    item: Item,
}

/// A loaded model with its items, in the order they run.
struct Language {
    generator: Generator,
    prompts: Vec<Prompt>,
}

impl Language {
    fn generate(&mut self, call: usize, probe: &ProbeOptions) -> Result<(Output, Times), Failure> {
        let prompt = &self.prompts[call];
        self.generator.generate(&prompt.item, probe).map_err(|error| {
            let kind = match error {
                BadStep::Tvm(_)
                | BadStep::Empty
                | BadStep::Full { .. }
                | BadStep::OtherModel { .. } => FailureKind::Model,
                BadStep::NotFinite { .. }
                | BadStep::NoToken { .. }
                | BadStep::NotBest { .. }
                | BadStep::NotDrawn { .. } => FailureKind::Answer,
            };
            Failure::new(kind, error.to_string()).of_item(&prompt.ids[0])
        })
    }
}

impl Workload for Language {
    fn items(&self, call: usize) -> &[String] {
        &self.prompts[call].ids
    }

    fn run(&mut self, call: usize) -> Result<Measured, Failure> {
        let (output, times) = self.generate(call, &ProbeOptions::default())?;
        let mut parts = BTreeMap::from([(STEP, times.steps)]);
        if !times.prefills.is_empty() {
            parts.insert(PREFILL, times.prefills);
        }
        Ok(Measured {
            total_ns: nanoseconds(times.total),
            parts,
            outputs: vec![output],
            prompt_tokens: Some(self.prompts[call].item.prompt.len()),
            ..Measured::default()
        })
    }

    fn probe(&mut self, call: usize, options: &ProbeOptions) -> Result<Probed, Failure> {
        Ok(Probed { outputs: vec![self.generate(call, options)?.0], tensors: None })
    }
}

#[cfg(test)]
mod tests {
    use base64::engine::general_purpose::STANDARD;
    use base64::Engine;
    use safetensors::tensor::TensorView;
    use safetensors::Dtype;
    use serde_json::{json, Value};

    use super::*;
    use crate::tensors::sha256;

    fn described() -> Value {
        json!({
            "name": "lm", "functions": {"prefill": "lm_prefill_", "step": "lm_step_"}, "vocab_size": 8,
            "capacity": 16, "block": 4, "new_tokens": 5, "cache_shape": [2, 2, 64],
        })
    }

    fn order(change: &Value) -> Result<Planned, Failure> {
        planned(change, "prompt", Dtype::I32, &[1, 2, 3])
    }

    fn planned(
        change: &Value,
        name: &str,
        dtype: Dtype,
        tokens: &[i32],
    ) -> Result<Planned, Failure> {
        let mut order = described();
        order.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        let bytes: Vec<u8> = tokens.iter().flat_map(|token| token.to_le_bytes()).collect();
        let view = TensorView::new(dtype, vec![tokens.len()], &bytes).unwrap();
        sent(&order, vec![(name, view)])
    }

    fn sent(order: &Value, views: Vec<(&str, TensorView<'_>)>) -> Result<Planned, Failure> {
        let bytes = safetensors::serialize(views, None).unwrap();
        let sent = json!({"size": bytes.len(), "sha256": sha256([bytes.as_slice()]), "data": STANDARD.encode(&bytes)});
        let sent: SentTensors = serde_json::from_str(&sent.to_string()).unwrap();
        let order: LanguageOrder = serde_json::from_str(&order.to_string()).unwrap();
        order.plan(vec![("p".to_owned(), sent)])
    }

    fn forced(tokens: &[i32]) -> Result<Planned, Failure> {
        let prompt = 1_i32.to_le_bytes();
        let bytes: Vec<u8> = tokens.iter().flat_map(|token| token.to_le_bytes()).collect();
        let view = |shape, bytes| TensorView::new(Dtype::I32, vec![shape], bytes).unwrap();
        sent(
            &described(),
            vec![("prompt", view(1, &prompt)), ("forced", view(tokens.len(), &bytes))],
        )
    }

    #[test]
    fn tokens_that_are_fed_are_as_many_as_it_decodes_at_most() {
        assert!(forced(&[7; 5]).is_ok());
        refused(forced(&[7; 6]), "6 forced tokens, the model decodes 5");
        refused(forced(&[]), "no token is forced");
        refused(forced(&[8]), "token 8 is outside the vocabulary of 8");
    }

    #[test]
    fn a_count_of_tokens_is_one_that_fits() {
        let counted = |count: &[i32]| {
            let [prompt, bytes] = [&[1], count].map(|tokens: &[i32]| -> Vec<u8> {
                tokens.iter().flat_map(|token| token.to_le_bytes()).collect()
            });
            let view = |count, bytes| TensorView::new(Dtype::I32, vec![count], bytes).unwrap();
            let exactly = ("exactly", view(count.len(), &bytes));
            sent(&described(), vec![("prompt", view(1, &prompt)), exactly])
        };
        assert!(counted(&[5]).is_ok());
        for wrong in [&[0][..], &[6], &[-1], &[], &[1, 1]] {
            refused(counted(wrong), "it must be one number from 1 to 5");
        }
        let (one, bytes) = (|bytes| TensorView::new(Dtype::I32, vec![1], bytes).unwrap(), 1_i32);
        let bytes = bytes.to_le_bytes();
        let all = ["prompt", "forced", "exactly"].map(|name| (name, one(&bytes)));
        refused(sent(&described(), all.into()), "do not belong together");
    }

    #[test]
    fn distributions_are_of_every_step_that_is_fed() {
        let given = |shape: &[usize], tokens: &[i32], logarithms: &[f32]| {
            let one = |bytes| TensorView::new(Dtype::I32, vec![1], bytes).unwrap();
            let bytes = 1_i32.to_le_bytes();
            let fed: Vec<u8> = [1_i32, 2].iter().flat_map(|token| token.to_le_bytes()).collect();
            let top: Vec<u8> = tokens.iter().flat_map(|token| token.to_le_bytes()).collect();
            let logs: Vec<u8> = logarithms.iter().flat_map(|one| one.to_le_bytes()).collect();
            let views = vec![
                ("prompt", one(&bytes)),
                ("forced", TensorView::new(Dtype::I32, vec![2], &fed).unwrap()),
                ("top_tokens", TensorView::new(Dtype::I32, shape.to_vec(), &top).unwrap()),
                (
                    "top_logarithms",
                    TensorView::new(Dtype::F32, vec![2, logarithms.len() / 2], &logs).unwrap(),
                ),
            ];
            sent(&described(), views)
        };
        assert!(given(&[2, 1], &[7, 0], &[-1.0; 4]).is_ok());
        assert!(given(&[2, 1], &[7, 0], &[-1.0, -1.0, 0.0, f32::NEG_INFINITY]).is_ok());
        refused(given(&[2, 1], &[8, 0], &[-1.0; 4]), "token 8 is outside the vocabulary");
        refused(given(&[2, 1], &[7, 0], &[-1.0; 6]), "\"top_logarithms\" is no float32 of [2, 2]");
        refused(given(&[2, 1], &[7, 0], &[1.0; 4]), "has 1, which is of no probability");
        refused(given(&[2, 1], &[7, 0], &[f32::NAN; 4]), "of no probability");
        refused(given(&[1, 2], &[7, 0], &[-1.0; 6]), "is of [1, 2] for 2 steps");
        refused(given(&[2, 0], &[], &[-1.0; 2]), "is of [2, 0] for 2 steps");
        refused(given(&[2], &[7, 0], &[-1.0; 4]), "has not two axes");
    }

    fn refused(found: Result<Planned, Failure>, reason: &str) {
        let failure = found.err().unwrap();
        assert_eq!(failure.kind, FailureKind::Usage);
        assert!(failure.message.contains(reason), "{}", failure.message);
    }

    #[test]
    fn a_prompt_that_fits_is_taken() {
        assert_eq!(order(&json!({})).unwrap().calls, 1);
        let most: Vec<i32> = vec![7; 11];
        assert!(planned(&json!({}), "prompt", Dtype::I32, &most).is_ok());
    }

    #[test]
    fn a_wrong_prompt_names_its_item() {
        let one = |tokens: &[i32]| planned(&json!({}), "prompt", Dtype::I32, tokens);
        refused(one(&[]), "item \"p\": the prompt is empty");
        refused(
            one(&[1; 12]),
            "the prompt's 12 tokens with 5 behind them are more than the context of 16",
        );
        refused(one(&[1, 8]), "token 8 is outside the vocabulary of 8");
        refused(one(&[-1]), "token -1 is outside the vocabulary of 8");
        refused(planned(&json!({}), "prompt", Dtype::F32, &[1]), "is no int32 of one axis");
        refused(planned(&json!({}), "words", Dtype::I32, &[1]), "the model takes [\"prompt\"]");
    }

    #[test]
    fn sizes_that_cannot_be_are_refused() {
        refused(order(&json!({"functions": {"step": "lm_step_"}})), "needs the functions");
        refused(order(&json!({"functions": {"prefill": "", "step": "x"}})), "needs the functions");
        refused(order(&json!({"block": 17})), "block is 17, it must be from 1 to 16");
        refused(order(&json!({"vocab_size": 0})), "vocab_size is 0");
        refused(order(&json!({"new_tokens": 0})), "new_tokens is 0");
        refused(order(&json!({"cache_shape": [2, 2]})), "a cache of [2, 2]");
        refused(order(&json!({"stop_tokens": [3, 8]})), "the stop token 8 is outside");
        assert!(order(&json!({"sampling": {"top_k": 3, "seed": 1}})).is_ok());
        refused(order(&json!({"sampling": {"temperature": 0.0}})), "temperature is 0");
        refused(order(&json!({"cache_shape": [1 << 20, 2, 1 << 20]})), "larger than memory");
    }
}
